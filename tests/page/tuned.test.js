import assert from "node:assert/strict";
import { test } from "node:test";

import { duration, tuningWords } from "../../src/sppnet/web/studio/page/tuned.js";

const idle = {
  state: "idle",
  text: "",
  done: 0,
  of: 0,
  seconds: null,
  said: "",
  failed: false,
  report: null,
  fewest: 10,
  minutes: 15,
};

test("how long something takes", () => {
  assert.deepEqual([5, 59.9, 61, 100, 900].map(duration), [
    "less than a minute",
    "less than a minute",
    "about 1 minute",
    "about 2 minutes",
    "about 15 minutes",
  ]);
});

test("before there are enough images it says what it does, how long it takes, and what is missing", () => {
  const words = tuningWords(idle, 9);
  assert.match(words.about, /in the background, in about 15 minutes/);
  assert.match(words.about, /For this 10 images with objects must be complete: 9 are\.$/);
  assert.deepEqual(words.begin, { name: "Tune the network", enabled: false });
  assert.match(tuningWords(idle, 1).about, /: 1 is\.$/);
  const enough = tuningWords(idle, 10);
  assert.deepEqual(enough.begin, { name: "Tune the network", enabled: true });
  assert.doesNotMatch(enough.about, /must be complete/);
  assert.deepEqual([enough.running, enough.goOn, enough.back, enough.share], [false, false, false, null]);
});

test("while it runs it says how far it is, and can be stopped only", () => {
  const text = "Tuning, round 2 of 6. How well objects are found so far: 81.2 %";
  const words = tuningWords({ ...idle, state: "running", text, done: 30, of: 120, seconds: 310 }, 12);
  assert.equal(words.now, `${text}; about 5 minutes left`);
  assert.match(words.about, /^Go on labelling meanwhile: it takes about 15 minutes/);
  assert.equal(words.share, 0.25);
  assert.deepEqual([words.running, words.begin, words.goOn, words.back], [true, null, false, false]);
  assert.equal(tuningWords({ ...idle, state: "running", text: "Getting ready" }, 12).share, null);
});

test("interrupted it can go on, or begin anew with the labels of now", () => {
  const words = tuningWords({ ...idle, state: "stopped" }, 12);
  assert.match(words.about, /^A tuning was interrupted\. It goes on from where it was/);
  assert.deepEqual([words.goOn, words.begin.name], [true, "Begin anew"]);
});

test("in use, it shows what it was measured by and the way back", () => {
  const words = tuningWords({ ...idle, report: "kept." }, 12);
  assert.match(words.about, /^The tuned network is in use\./);
  assert.deepEqual([words.report, words.back, words.begin.name], ["kept.", true, "Tune it again"]);
});
