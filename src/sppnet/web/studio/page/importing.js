// Labels, predictions and models that are brought into the folder: sent, read, looked at, then taken in or not.

import { takeImport } from "./actions.js";
import { get, post, Refused, send } from "./api.js";
import { chosen } from "./dropped.js";
import { model, on } from "./model.js";
import { element } from "./parts.js";
import { say } from "./saying.js";

const byId = (id) => document.getElementById(id);
const dialog = byId("import-dialog");
const ENDINGS = byId("import-files").accept.split(",");
const AT_ONCE = 200; // images that one request tells of
const AGAIN = 300; // milliseconds between two questions how far reading is

let token = null; // of what is being brought
let differing = 0; // boxes that are there otherwise

export const isImport = ({ name }) => ENDINGS.some((ending) => name.toLowerCase().endsWith(ending));

const counted = (number, one, many) => `${number} ${number === 1 ? one : many}`;

function tellProgress(text, { done = 0, of = 0 } = {}) {
  byId("import-progress").hidden = !text;
  byId("import-text").textContent = text;
  if (of) Object.assign(byId("import-bar"), { max: of, value: done });
  else byId("import-bar").removeAttribute("value");
}

function tellFault(text) {
  byId("import-said").hidden = !text;
  byId("import-said").textContent = text;
}

function begin() {
  tellFault("");
  tellProgress("");
  byId("import-preview").hidden = true;
  if (!dialog.open) dialog.showModal();
}

// What is not taken in leaves nothing behind.
function forget() {
  if (token !== null) post("api/imports/drop", { token }).catch(() => null);
  token = null;
}

// Runs one import from its files to what it would change; a fault is told in the dialog.
async function through(sent) {
  forget();
  begin();
  try {
    token = await sent();
    const mine = token;
    let state = await post("api/imports/read", { token });
    while (state.state === "reading") {
      tellProgress(state.of ? `Looking at image ${state.done + 1} of ${state.of}…` : "Reading…", state);
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
      if (token !== mine) return;
      state = await get(`api/imports/${token}`);
    }
    tellProgress("");
    if (state.state === "failed") tellFault(state.detail);
    else preview(state);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    tellProgress("");
    tellFault(error.message);
  }
}

// Brings files in, each { path, file }; of images that came with them, { path, image }, it tells which they are here.
export const bring = (files, images = []) =>
  through(async () => {
    let known = "";
    for (let first = 0; first < images.length; first += AT_ONCE) {
      const some = images.slice(first, first + AT_ONCE);
      known = (await post("api/imports/images", { token: known, images: some })).token;
    }
    for (const [place, { path, file }] of files.entries()) {
      tellProgress(`Sending ${place + 1} of ${files.length}: ${path}…`, { done: place, of: files.length });
      known = (await send(`api/imports?name=${encodeURIComponent(path)}&token=${known}`, file)).token;
    }
    return known;
  });

function list(id, title, rows, number = rows.length) {
  const place = byId(id);
  place.hidden = !number;
  place.open = false;
  place.firstElementChild.textContent = title;
  const more = number > rows.length ? [`and ${number - rows.length} more`] : [];
  place.lastElementChild.replaceChildren(...[...rows, ...more].map((text) => element("li", {}, text)));
}

const part = ({ name, new: fresh, changed }) =>
  `${name}: ${[fresh && `${fresh} new`, changed && `${changed} different`].filter(Boolean).join(", ")}`;

function preview({ saw, predicted, classes, totals, images, unmatched, problems }) {
  const { new: fresh, same, changed } = totals;
  differing = changed;
  byId("import-facts").textContent =
    `${saw}. ${counted(totals.images, "image of this folder", "images of this folder")}: ` +
    `${counted(fresh, "new box", "new boxes")}, ${same} there already, ${changed} different.` +
    (totals.empty ? ` ${totals.empty} without an object, say their labels.` : "");
  const added = classes.filter((each) => each.fresh).map((each) => each.name);
  byId("import-classes").textContent = added.length ? `New classes: ${added.join(", ")}.` : "";
  list("import-images", "Image by image", images.map(part));
  list("import-unmatched", `${unmatched.number} not for images of this folder`, unmatched.first, unmatched.number);
  list("import-problems", counted(problems.number, "problem", "problems"), problems.first, problems.number);
  for (const choice of document.getElementsByName("import-into"))
    choice.checked = choice.value === (predicted ? "suggestions" : "labels");
  byId("import-complete").checked = !predicted;
  byId("import-theirs").checked = false;
  byId("import-theirs-place").lastElementChild.textContent =
    `${counted(changed, "box that differs becomes", "boxes that differ become")} as the import has ${changed === 1 ? "it" : "them"}; otherwise yours stay`;
  byId("import-preview").hidden = false;
  byId("import-take").disabled = !(fresh + same + changed + totals.empty);
  renderChoice();
  byId("import-take").focus();
}

const into = () => [...document.getElementsByName("import-into")].find((choice) => choice.checked).value;

function renderChoice() {
  const labels = into() === "labels";
  byId("import-complete-place").hidden = !labels;
  byId("import-theirs-place").hidden = !labels || !differing;
}

for (const choice of document.getElementsByName("import-into")) choice.addEventListener("change", renderChoice);
byId("import").addEventListener("click", begin);
byId("import-choose").addEventListener("click", () => byId("import-files").click());
byId("import-files").addEventListener("change", (event) => {
  const files = chosen(event.target.files);
  event.target.value = "";
  if (files.length) bring(files);
});
byId("import-path-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const path = byId("import-path").value.trim();
  through(async () => (await post("api/imports/path", { path })).token);
});
byId("import-cancel").addEventListener("click", () => dialog.close());
byId("import-take").addEventListener("click", async () => {
  const asked = {
    token,
    into: into(),
    theirs: byId("import-theirs").checked,
    complete: byId("import-complete").checked,
  };
  token = null;
  dialog.close();
  if (await takeImport(asked)) say("Imported. Z takes it back.");
});
// The browser tells of the closing later, maybe when files were dropped again: these stay.
dialog.addEventListener("close", () => {
  if (!dialog.open) forget();
});

on("status", () => (byId("import-path-form").hidden = !model.local));
