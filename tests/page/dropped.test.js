import assert from "node:assert/strict";
import test from "node:test";

import { filesOf } from "../../src/sppnet/web/studio/page/dropped.js";

const file = (name, type = "") => ({ name, type });
const fileEntry = (name, type) => ({ name, isDirectory: false, file: (resolve) => resolve(file(name, type)) });

// A folder as browsers give it: its entries come in parts, the last of which is empty.
function folder(name, ...entries) {
  const parts = [entries.slice(0, 2), entries.slice(2), []].filter((part, place) => part.length || place === 2);
  return { name, isDirectory: true, createReader: () => ({ readEntries: (resolve) => resolve(parts.shift()) }) };
}

const item = (dropped) =>
  dropped.isDirectory
    ? { kind: "file", webkitGetAsEntry: () => dropped, getAsFile: () => null }
    : { kind: "file", webkitGetAsEntry: () => null, getAsFile: () => dropped };

const isLabels = ({ name }) => name.endsWith(".xml");

test("of folders all images, videos and labels are taken, of files each", async () => {
  const inner = folder("deep", fileEntry("img10.PNG"), fileEntry("img2.png"), fileEntry("notes.pdf"));
  const outer = folder("set", inner, fileEntry(".hidden.png"), fileEntry("a.xml"), fileEntry("clip.mp4"));
  const items = [item(outer), item(file("odd.pdf")), { kind: "string" }];
  const names = (await filesOf(items, isLabels)).map(({ file }) => file.name);
  assert.deepEqual(names, ["a.xml", "clip.mp4", "img2.png", "img10.PNG", "odd.pdf"]);
});

test("a folder without any of these gives nothing", async () => {
  assert.deepEqual(await filesOf([item(folder("papers", fileEntry("a.pdf", "application/pdf")))], isLabels), []);
});

const pathsOf = async (...dropped) => (await filesOf(dropped.map(item), isLabels)).map(({ path }) => path);

test("files of one name keep the folders that they lie in", async () => {
  const plate = (name) => folder(name, fileEntry("001.png"), fileEntry("001.xml"));
  const inside = ["plate1/001.png", "plate1/001.xml", "plate2/001.png", "plate2/001.xml"];
  assert.deepEqual(await pathsOf(folder("plates", plate("plate1"), plate("plate2"))), inside);
  assert.deepEqual(await pathsOf(plate("plate1"), plate("plate2")), inside);
  assert.deepEqual(await pathsOf(plate("plate1")), ["001.png", "001.xml"]);
});
