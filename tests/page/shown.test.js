import assert from "node:assert/strict";
import { test } from "node:test";

import { shown } from "../../src/sppnet/web/studio/page/shown.js";

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

test("suggestions can be hidden", () => {
  assert.deepEqual(scores({ suggestions: [suggestion(1, 0.9)], hides: { suggestions: true } }), []);
});
