import assert from "node:assert/strict";
import { test } from "node:test";

import { between, moved, nearlySame, overlap, resized, shift } from "../../src/sppnet/web/studio/page/edges.js";
import { isTrackpad, View } from "../../src/sppnet/web/studio/page/view.js";

const size = { width: 200, height: 100 };

test("a drag in any direction gives a box within the image", () => {
  assert.deepEqual(between([50, 60], [10, 20], size), [10, 20, 50, 60]);
  assert.deepEqual(between([-50, 60], [300, 120], size), [0, 60, 200, 100]);
});

test("a box that is moved keeps its size, one that is resized never turns over", () => {
  assert.deepEqual(moved([150, 10, 190, 30], 100, -50, size), [160, 0, 200, 20]);
  assert.deepEqual(resized([10, 10, 50, 50], [0, 0.5], 500, 0, size), [47, 10, 50, 50]);
  assert.deepEqual(resized([10, 10, 50, 50], [1, 1], 500, 500, size), [10, 10, 200, 100]);
});

test("overlap is intersection over union", () => {
  assert.equal(overlap([0, 0, 10, 10], [0, 0, 10, 10]), 1);
  assert.equal(overlap([0, 0, 10, 10], [5, 0, 15, 10]), 50 / 150);
  assert.equal(overlap([0, 0, 10, 10], [20, 0, 30, 10]), 0);
});

test("boxes within a pixel of each other are one", () => {
  assert.ok(nearlySame([1, 2, 3, 4], [1.9, 2, 2.1, 4]));
  assert.ok(!nearlySame([1, 2, 3, 4], [2.1, 2, 3, 4]));
});

function view() {
  const made = new View();
  Object.assign(made, { image: size, stage: { width: 824, height: 624 } });
  made.fit();
  return made;
}

test("the screen and the image are each other's inverse at every zoom", () => {
  const made = view();
  for (const factor of [1, 3, 0.7, 5]) {
    made.zoom(factor, 300, 200);
    const [left, top] = made.toStage([40, 30, 60, 50]);
    const [x, y] = made.toImage(left, top);
    assert.ok(Math.hypot(x - 40, y - 30) < 1e-9);
  }
});

test("zooming keeps what lies under the pointer", () => {
  const made = view();
  const before = made.toImage(412, 312);
  made.zoom(2, 412, 312);
  const after = made.toImage(412, 312);
  assert.ok(Math.hypot(before[0] - after[0], before[1] - after[1]) < 1e-9);
});

test("zooming to a box brings it to the middle", () => {
  const made = view();
  made.show([10, 10, 20, 20]);
  const [left, top, right, bottom] = made.toStage([10, 10, 20, 20]);
  assert.ok(Math.abs((left + right) / 2 - 412) < 1e-9);
  assert.ok(Math.abs((top + bottom) / 2 - 312) < 1e-9);
  assert.ok(right - left > 300);
});

test("two fingers are told from a mouse's wheel", () => {
  const wheel = (rest) => ({ ctrlKey: false, deltaMode: 0, deltaX: 0, deltaY: 0, ...rest });
  assert.equal(isTrackpad(wheel({ deltaY: 120 })), false);
  assert.equal(isTrackpad(wheel({ deltaY: 100 })), false);
  assert.equal(isTrackpad(wheel({ deltaY: 4 })), true);
  assert.equal(isTrackpad(wheel({ deltaX: 3, deltaY: 90 })), true);
  assert.equal(isTrackpad(wheel({ deltaY: 3, deltaMode: 1 })), false); // Firefox counts lines
  assert.equal(isTrackpad(wheel({ deltaY: 4, ctrlKey: true })), false); // a pinch
});

test("a box that lies elsewhere in its size was moved, any other was resized", () => {
  assert.deepEqual(shift([1, 2, 11, 12], [3, 1, 13, 11]), [2, -1]);
  assert.deepEqual(shift([1, 2, 11, 12], [1, 2, 11, 12]), [0, 0]);
  assert.equal(shift([1, 2, 11, 12], [1, 2, 12, 12]), null);
});
