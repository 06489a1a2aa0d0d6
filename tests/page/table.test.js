import assert from "node:assert/strict";
import { test } from "node:test";
import { csvOf } from "../../src/sppnet/web/service/page/table.js";

test("every find has a row, and so has an image that shows nothing or cannot be read", () => {
  const text = csvOf([
    { image: "a.jpg", problem: "", rows: [{ class: "cat", sure: 0.5, box: [-1, 2.5, 3, 4] }] },
    { image: "b.jpg", problem: "", rows: [] },
    { image: "c.jpg", problem: "no image", rows: [] },
  ]);
  assert.deepEqual(text.split("\r\n"), [
    "image,class,sure,left,top,right,bottom,problem",
    "a.jpg,cat,0.5,-1,2.5,3,4,",
    "b.jpg,,,,,,,",
    "c.jpg,,,,,,,no image",
    "",
  ]);
});

test("names are quoted where they must be, and are never formulas", () => {
  const [, row] = csvOf([{ image: '=1,"x".jpg', problem: "", rows: [] }]).split("\r\n");
  assert.equal(row, `"'=1,""x"".jpg",,,,,,,`);
});
