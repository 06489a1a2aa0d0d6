import assert from "node:assert/strict";
import { test } from "node:test";

import { Catalogue, filter } from "../../src/sppnet/web/studio/page/catalogue.js";

const image = (id, name, rest = {}) => ({
  id,
  name,
  complete: false,
  fault: "",
  note: "",
  objects: {},
  found: {},
  ...rest,
});

function catalogue(...images) {
  const made = new Catalogue();
  for (const each of images) made.set(each);
  return made;
}

// What the totals are by counting all images anew.
function counted(held) {
  const totals = { labelled: 0, complete: 0, learnable: 0, faulty: 0, objects: {}, found: {} };
  for (const each of held.images.values()) {
    const number = Object.values(each.objects).reduce((a, b) => a + b, 0);
    totals.labelled += each.complete || number > 0 ? 1 : 0;
    totals.complete += each.complete ? 1 : 0;
    totals.learnable += each.complete && !each.fault && number > 0 ? 1 : 0;
    totals.faulty += each.fault ? 1 : 0;
    for (const kind of ["objects", "found"])
      for (const [label, n] of Object.entries(each[kind])) totals[kind][label] = (totals[kind][label] ?? 0) + n;
  }
  return totals;
}

const without0 = (counts) => Object.fromEntries(Object.entries(counts).filter(([, number]) => number));

test("totals kept image by image are those of counting all", () => {
  const held = new Catalogue();
  let seed = 1;
  const chance = (below) => {
    seed = (seed * 48271) % 2147483647;
    return seed % below;
  };
  for (let turn = 0; turn < 500; turn++) {
    const objects = chance(3) ? { 1: chance(4), 2: chance(2) } : {};
    held.set(
      image(chance(20), `${chance(20)}.png`, {
        objects,
        found: { 1: chance(3) },
        complete: chance(4) === 0,
        fault: chance(9) ? "" : "broken",
      }),
    );
  }
  const [is, wanted] = [held.totals, counted(held)];
  assert.deepEqual(
    { ...is, objects: without0(is.objects), found: without0(is.found) },
    { ...wanted, objects: without0(wanted.objects), found: without0(wanted.found) },
  );
});

test("names sort as people count", () => {
  const held = catalogue(image(1, "b10.png"), image(2, "b9.png"), image(3, "a.png"));
  assert.deepEqual(held.arranged({ sort: "name" }), [3, 2, 1]);
  held.set(image(4, "b9a.png"));
  assert.deepEqual(held.arranged({ sort: "name" }), [3, 2, 4, 1]);
});

test("the most useful order puts what is done last", () => {
  const held = catalogue(
    image(1, "1"),
    image(2, "2", { complete: true }),
    image(3, "3", { objects: { 1: 2 } }),
    image(4, "4"),
    image(5, "5"),
  );
  assert.deepEqual(held.arranged({ sort: "next", order: [5, 4, 2] }), [5, 4, 1, 3, 2]);
});

test("searches, states and classes filter", () => {
  const held = catalogue(
    image(1, "farm/Cow 1.jpg", { objects: { 7: 2 } }),
    image(2, "farm/cow 2.jpg", { complete: true, note: "blurred" }),
    image(3, "town/car.jpg", { found: { 7: 1 } }),
  );
  const passing = (asked) => held.arranged({ passes: filter(asked) });
  assert.deepEqual(passing({ text: "COW farm" }), [1, 2]);
  assert.deepEqual(passing({ state: "unlabelled" }), [3]);
  assert.deepEqual(passing({ state: "open" }), [1]);
  assert.deepEqual(passing({ state: "noted" }), [2]);
  assert.deepEqual(passing({ label: 7 }), [1, 3]);
});

test("unsure are those of more doubt than most, complete ones never", () => {
  const held = catalogue(
    image(1, "1", { doubt: 0.2 }),
    image(2, "2", { doubt: 3 }),
    image(3, "3", { doubt: 9, complete: true }),
    image(4, "4", { doubt: 0.1 }),
    image(5, "5", { doubt: 2 }),
  );
  assert.deepEqual([...held.unsure()], [2, 5]);
  assert.deepEqual(held.arranged({ passes: filter({ state: "unsure", among: held.unsure() }) }), [2, 5]);
  assert.deepEqual([...catalogue(image(1, "1"), image(2, "2")).unsure()], []);
});

test("20,000 images are arranged in a moment", () => {
  const held = new Catalogue();
  for (let id = 1; id <= 20_000; id++) held.set(image(id, `folder/${id}.jpg`));
  const order = held.arranged({ sort: "next", order: [20_000, 5] });
  assert.deepEqual(order.slice(0, 4), [20_000, 5, 1, 2]);
});

test("a search finds numbers of boxes beside parts of names, and images among some", () => {
  const images = [
    image(1, "a.png", { objects: { 1: 3 } }),
    image(2, "b.png", { objects: { 1: 2, 2: 2 } }),
    image(3, "ab"),
  ];
  const passing = (asked) => images.filter(filter(asked)).map((each) => each.id);
  assert.deepEqual(passing({ text: ">2" }), [1, 2]);
  assert.deepEqual(passing({ text: "=0" }), [3]);
  assert.deepEqual(passing({ text: "b <5" }), [2, 3]);
  assert.deepEqual(passing({ among: new Set([3]) }), [3]);
});
