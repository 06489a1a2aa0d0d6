import assert from "node:assert/strict";
import { test } from "node:test";

import { fitted, isGuess, shown } from "../../src/sppnet/web/studio/page/shown.js";

const suggestion = (label, score) => ({ label, score, edges: [0, 0, 1, 1] });
const rejected = (label) => ({ label, kind: "rejected" });
const model = (rest) => ({
  threshold: null,
  thresholds: { 1: 0.6, 2: 0.3 },
  boxes: [],
  status: { trusted: [] },
  hides: {},
  suggestions: [],
  ...rest,
});

const scores = (rest) => shown(model(rest)).map((each) => each.score);

test("each class counts from its own threshold, all from the one that a person chose", () => {
  const suggestions = [suggestion(1, 0.7), suggestion(2, 0.4), suggestion(1, 0.5)];
  const status = { trusted: [1, 2] };
  assert.deepEqual(scores({ suggestions, status }), [0.7, 0.4]);
  assert.deepEqual(scores({ suggestions, status, threshold: 0.45 }), [0.7, 0.5]);
});

test("until a class is trusted its two best guesses are shown", () => {
  const suggestions = [suggestion(1, 0.5), suggestion(1, 0.4), suggestion(1, 0.3), suggestion(2, 0.1)];
  assert.deepEqual(scores({ suggestions }), [0.5, 0.4, 0.1]);
  assert.deepEqual(scores({ suggestions, status: { trusted: [1] } }), [0.1]);
});

test("a guess that was rejected is not replaced by a worse one", () => {
  const suggestions = [suggestion(1, 0.4), suggestion(1, 0.3), suggestion(1, 0.2)];
  assert.deepEqual(scores({ suggestions, boxes: [rejected(1)] }), [0.4]);
  assert.deepEqual(scores({ suggestions, boxes: [rejected(1), rejected(1)] }), []);
  assert.deepEqual(scores({ suggestions, boxes: [rejected(2), rejected(2)] }), [0.4, 0.3]);
});

test("what is expected counts below the threshold, unless a person chose that", () => {
  const best = { ...suggestion(1, 0.4), expected: true };
  assert.equal(isGuess(best, model({})), false);
  assert.equal(isGuess(best, model({ threshold: 0.5 })), true);
  assert.deepEqual(scores({ suggestions: [best], status: { trusted: [1] } }), [0.4]);
});

test("suggestions can be hidden", () => {
  assert.deepEqual(scores({ suggestions: [suggestion(1, 0.9)], hides: { suggestions: true } }), []);
});

test("a drawn box fits itself to an object that the detector is sure of, and to no other", () => {
  const drawn = [0, 0, 10, 10];
  const near = { label: 1, score: 0.9, edges: [1, 0, 10, 10] };
  const asked = (rest) => fitted(drawn, 1, model({ status: { trusted: [1] }, suggestions: [near], ...rest }));
  assert.deepEqual(asked({}), near.edges);
  assert.deepEqual(asked({ status: { trusted: [] } }), drawn);
  assert.deepEqual(asked({ hides: { suggestions: true } }), drawn);
  assert.deepEqual(asked({ threshold: 0.95 }), drawn);
  for (const other of [{ label: 2 }, { score: 0.7 }, { edges: [5, 0, 15, 10] }])
    assert.deepEqual(asked({ suggestions: [{ ...near, ...other }] }), drawn);
});
