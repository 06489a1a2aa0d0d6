import assert from "node:assert/strict";
import { test } from "node:test";

import { acceptable, fitted, isGuess, shown } from "../../src/sppnet/web/studio/page/shown.js";

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

test("guesses are few in all, and hardly anything is shown only where nothing else is", () => {
  const many = Array.from({ length: 20 }, (_, label) => suggestion(label + 3, 0.4 - label / 100));
  assert.deepEqual(scores({ suggestions: many }), [0.4, 0.39, 0.38, 0.37]);
  assert.deepEqual(scores({ suggestions: many, boxes: [rejected(3)] }), [0.4, 0.39, 0.38]);
  const poor = [suggestion(1, 0.03), suggestion(2, 0.02), suggestion(3, 0.01)];
  assert.deepEqual(scores({ suggestions: poor }), [0.03, 0.02, 0.01]);
  assert.deepEqual(scores({ suggestions: [suggestion(1, 0.2), ...poor] }), [0.2]);
  assert.deepEqual(scores({ suggestions: poor, boxes: [{ label: 9, kind: "object" }] }), []);
});

test("of suggestions of one object as several classes the surer is accepted", () => {
  const at = (label, score, left) => ({ label, score, edges: [left, 0, left + 10, 10] });
  const [ace, king, near, far] = [at(1, 0.6, 0), at(2, 0.9, 0.5), at(1, 0.7, 4), at(1, 0.5, 30)];
  assert.deepEqual(acceptable([ace, king, near, far]), [king, near, far]);
  assert.deepEqual(acceptable([at(1, 0.8, 0), at(1, 0.7, 0.5)]).length, 2); // of one class they are not in question
  assert.deepEqual(acceptable([]), []);
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
