import assert from "node:assert/strict";
import { test } from "node:test";

import { cropped, merged, progressText } from "../../src/sppnet/web/studio/page/likeness.js";

const rows = (...cosines) => cosines.map((cosine) => ({ cosine }));

test("what comes is merged, the best first, and bounded", () => {
  assert.deepEqual(merged(rows(0.9, 0.5), rows(0.7)), rows(0.9, 0.7, 0.5));
  assert.deepEqual(merged(rows(0.9, 0.5), rows(0.7, 0.8), 3), rows(0.9, 0.8, 0.7));
});

test("a tile shows the middle of a box, and no more than the image", () => {
  const tile = { width: 80, height: 60 };
  const image = { width: 800, height: 600 };
  for (const edges of [
    [400, 300, 480, 360],
    [0, 0, 40, 40],
    [700, 500, 800, 600],
    [0, 0, 800, 600],
    [390, 0, 400, 600],
  ]) {
    const { width, height, x, y } = cropped(edges, image, tile);
    const scale = width / image.width;
    assert.ok(Math.abs(height / image.height - scale) < 1e-9); // nothing is stretched
    const shown = [edges[0] * scale + x, edges[1] * scale + y, edges[2] * scale + x, edges[3] * scale + y];
    assert.ok(shown[0] >= -1e-9 && shown[1] >= -1e-9 && shown[2] <= 80 + 1e-9 && shown[3] <= 60 + 1e-9, `${shown}`);
  }
  const middle = cropped([380, 280, 420, 320], image, tile);
  assert.ok(Math.abs(400 * (middle.width / 800) + middle.x - 40) < 1e-9);
});

test("how far the search is, is said in words", () => {
  const state = { looked: 3, total: 9, missing: 0, found: 0, searching: true, what: "this ace" };
  assert.equal(progressText(state), "Looked at 3 of 9 images: nothing yet.");
  assert.equal(
    progressText({ ...state, looked: 9, searching: false, found: 4 }),
    "Looked at 9 images: the 4 most like this ace, best first.",
  );
  assert.equal(
    progressText({ ...state, looked: 9, searching: false, missing: 1 }),
    "Looked at 9 images: nothing like it is left to answer. Features of 1 image are not computed yet: look again later.",
  );
  assert.match(progressText({ ...state, searching: false }), /^Looked at 3 of 9 images: nothing like it/); // stopped
});
