import assert from "node:assert/strict";
import { test } from "node:test";

import { placed, TALL } from "../../src/sppnet/web/studio/page/tags.js";

const stage = { width: 200, height: 150 };
const tag = (name, edges, rest = {}) => ({ name, edges, width: 60, ...rest });
const names = (shown) => shown.map((each) => each.name);

function apart(shown) {
  return shown.every((a, place) =>
    shown.slice(place + 1).every((b) => {
      return a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + TALL <= b.y || b.y + TALL <= a.y;
    }),
  );
}

test("a name stands over its box, at the top edge of the stage below it", () => {
  const [over, below] = placed([tag("over", [20, 50, 60, 90]), tag("below", [120, 5, 180, 60])], stage);
  assert.deepEqual([over.x, over.y + TALL <= 50], [18, true]);
  assert.ok(below.y >= 60);
});

test("no name leaves the stage, and none of a box outside it is shown", () => {
  const tags = [tag("corner", [190, 2, 199, 148]), tag("larger", [-50, -50, 400, 400]), tag("gone", [300, 0, 400, 90])];
  const shown = placed(tags, stage);
  assert.deepEqual(names(shown).sort(), ["corner", "larger"]);
  for (const { x, y, width } of shown)
    assert.ok(x >= 0 && y >= 0 && x + width <= stage.width && y + TALL <= stage.height);
});

test("names of boxes that lie close do not cover one another", () => {
  const tags = Array.from({ length: 12 }, (_, place) => tag(place, [20 + place * 3, 40, 90 + place * 3, 110]));
  const shown = placed(tags, stage);
  assert.ok(apart(shown) && shown.length >= 3 && shown.length < 12);
});

test("the chosen box's name is shown whatever is around it", () => {
  const others = Array.from({ length: 40 }, (_, place) => tag(place, [(place % 8) * 25, 25 + place * 3, 199, 140]));
  const shown = placed([...others, tag("chosen", [60, 60, 120, 100], { first: true })], stage);
  assert.equal(shown[0].name, "chosen");
  assert.ok(apart(shown));
});
