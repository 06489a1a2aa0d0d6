import assert from "node:assert/strict";
import { test } from "node:test";

import { gain } from "../../src/sppnet/web/studio/page/curve.js";

test("a power law is continued", () => {
  const error = (images) => 0.8 * images ** -0.5;
  const curve = [4, 8, 16, 32].map((images) => [images, 1 - error(images)]);
  assert.ok(Math.abs(gain(curve, 10) - (error(32) - error(42))) < 1e-9);
});

test("nothing is foretold from a curve that is not one of learning", () => {
  const curves = {
    "two points": [
      [2, 0.5],
      [4, 0.6],
    ],
    "it falls": [
      [2, 0.7],
      [4, 0.6],
      [8, 0.5],
    ],
    "a class came in between": [
      [2, 0.3],
      [4, 0.8],
      [8, 0.6],
    ],
    "it stays": [
      [2, 0.6],
      [4, 0.6],
      [8, 0.6],
    ],
    "images of one number": [
      [4, 0.7],
      [4, 0.69],
      [4, 0.68],
    ],
  };
  for (const [why, curve] of Object.entries(curves)) assert.equal(gain(curve, 10), null, why);
});

test("a small fall on the way up is chance", () => {
  const curve = [
    [2, 0.5],
    [4, 0.7],
    [8, 0.69],
    [16, 0.8],
  ];
  assert.ok(gain(curve, 10) > 0);
});
