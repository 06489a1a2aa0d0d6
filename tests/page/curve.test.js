import assert from "node:assert/strict";
import { test } from "node:test";

import { gain } from "../../src/sppnet/web/studio/page/curve.js";

test("a power law is continued", () => {
  const error = (images) => 0.8 * images ** -0.5;
  const curve = [4, 8, 16, 32].map((images) => [images, 1 - error(images)]);
  assert.ok(Math.abs(gain(curve, 10) - (error(32) - error(42))) < 1e-9);
});

test("nothing is foretold from two points, and never a loss", () => {
  assert.equal(
    gain(
      [
        [2, 0.5],
        [4, 0.6],
      ],
      10,
    ),
    null,
  );
  assert.equal(
    gain(
      [
        [2, 0.7],
        [4, 0.6],
        [8, 0.5],
      ],
      10,
    ),
    0,
  );
  assert.equal(
    gain(
      [
        [4, 0.7],
        [4, 0.6],
        [4, 0.5],
      ],
      10,
    ),
    null,
  );
});
