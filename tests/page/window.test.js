import assert from "node:assert/strict";
import { test } from "node:test";

import { columnsOf, revealing, visible } from "../../src/sppnet/web/studio/page/window.js";

test("what is in sight is made, and a few rows more", () => {
  const seen = visible({ offset: 1000, extent: 500, row: 100, columns: 2, count: 20_000, spare: 3 });
  assert.deepEqual(seen, { first: 14, last: 36, height: 1_000_000 });
});

test("neither end is passed", () => {
  assert.deepEqual(visible({ offset: 0, extent: 500, row: 100, columns: 2, count: 5 }), {
    first: 0,
    last: 5,
    height: 300,
  });
  assert.deepEqual(visible({ offset: 0, extent: 500, row: 100, columns: 2, count: 0 }), {
    first: 0,
    last: 0,
    height: 0,
  });
  const end = visible({ offset: 10_000, extent: 500, row: 100, columns: 1, count: 20 });
  assert.equal(end.last, 20);
  assert.ok(end.first <= 20);
});

test("an item is scrolled into sight by as little as it takes", () => {
  const list = { offset: 1000, extent: 500, row: 100, columns: 2 };
  assert.equal(revealing(24, list), 1000); // is in sight
  assert.equal(revealing(4, list), 200);
  assert.equal(revealing(60, list), 2600);
});

test("there is always a column", () => {
  assert.equal(columnsOf(10, 92), 1);
  assert.equal(columnsOf(200, 92), 2);
});
