// "Find more of this": what looks like the chosen box, or like the open image, in all other images.

import { chosenForLike, show, suggestPlaces } from "./actions.js";
import { post, Refused } from "./api.js";
import { cropped, merged, progressText } from "./likeness.js";
import { model, nameOf, on, openImage } from "./model.js";
import { element, icon } from "./parts.js";
import { say } from "./saying.js";
import { showPlace } from "./stage.js";
import { isOpen, openTab } from "./tabs.js";

const byId = (id) => document.getElementById(id);
const TILE = { width: 82, height: 64 };
const TOGETHER = 20; // places that are suggested at once: further down fewer are right

let search = null; // {asked, what, rows, taken, looked, total, missing, searching}

const isWhole = () => search.asked.edges === undefined;

async function look(asked, what) {
  search?.stop?.();
  const mine = { asked, what, rows: [], taken: new Set(), looked: 0, total: 0, missing: 0, searching: true };
  search = mine;
  mine.stop = () => (mine.searching = false);
  openTab("alike");
  render();
  let start = 0;
  while (mine.searching && start !== null) {
    try {
      const { rows, next, total, missing } = await post("api/alike", { ...asked, start });
      mine.rows = merged(mine.rows, rows);
      Object.assign(mine, { total, looked: next ?? total, missing: mine.missing + missing });
      start = next;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      say(error.message, { bad: true });
      start = null;
    }
    if (start === null) mine.searching = false;
    if (mine === search) render();
  }
}

export function findMore() {
  const chosen = chosenForLike();
  if (!chosen) return say("Choose a box first: what looks like it is then found in all images.");
  return look({ image: model.open, edges: chosen.edges, label: chosen.label }, `this ${nameOf(chosen.label)}`);
}

function findImages() {
  const image = openImage();
  if (!image || image.fault) return say("Open an image first.");
  return look({ image: image.id }, image.name.split("/").at(-1));
}

const keyOf = ({ image, edges }) => `${image} ${edges.join()}`;

async function open(row) {
  await show(row.image);
  if (!isWhole()) showPlace({ edges: row.edges, label: search.asked.label });
}

const openRows = () => search.rows.filter((row) => !search.taken.has(keyOf(row)) && model.images.has(row.image));

async function take(rows) {
  const mine = search;
  if (!rows.length || !(await suggestPlaces(rows, mine.asked.label))) return;
  for (const row of rows) mine.taken.add(keyOf(row));
  if (mine === search) render();
}

function tile(row, place) {
  const image = model.images.get(row.image);
  const name = image.name.split("/").at(-1);
  const { width, height, x, y } = cropped(row.edges, image, TILE, isWhole() ? 1 : 1.25);
  const crop = element("span", { class: "crop" });
  crop.style.width = `${TILE.width}px`;
  crop.style.height = `${TILE.height}px`;
  crop.style.backgroundImage = `url("api/images/${image.id}/thumbnail?${image.width}x${image.height}")`;
  crop.style.backgroundSize = `${width}px ${height}px`;
  crop.style.backgroundPosition = `${x}px ${y}px`;
  const opening = element("button", {
    type: "button",
    class: "plain open",
    id: `alike-${place}`,
    title: `${image.name}: open it`,
    "aria-label": `${place + 1}: ${isWhole() ? "" : `${nameOf(search.asked.label)} in `}${name}`,
  });
  opening.append(crop, element("span", { class: "name" }, name));
  opening.addEventListener("click", () => open(row));
  const item = element("li", {}, opening);
  if (isWhole()) return item;
  const taken = search.taken.has(keyOf(row));
  const taking = element(
    "button",
    {
      type: "button",
      class: "icon yes take",
      id: `alike-take-${place}`,
      title: taken ? "It is suggested there" : "Suggest it there",
      "aria-label": `Suggest it in ${name}`,
      disabled: taken,
    },
    icon("yes"),
  );
  taking.addEventListener("click", () => take([row]));
  item.append(taking);
  return item;
}

function render() {
  byId("alike-box").disabled = !chosenForLike();
  byId("alike-image").disabled = !openImage() || Boolean(openImage().fault);
  byId("alike-found").hidden = !search;
  if (!search) return;
  const rows = search.rows.filter((row) => model.images.has(row.image));
  const open = openRows().length;
  byId("alike-text").textContent = progressText({ ...search, found: rows.length });
  byId("alike-stop").hidden = !search.searching;
  byId("alike-all").hidden = isWhole() || search.searching || !open;
  byId("alike-all").textContent = open === 1 ? "Suggest it" : `Suggest the first ${Math.min(open, TOGETHER)}`;
  const focused = document.activeElement?.id ?? "";
  byId("alike-rows").replaceChildren(...rows.map(tile));
  if (focused.startsWith("alike-")) byId(focused)?.focus({ preventScroll: true });
}

byId("alike-box").addEventListener("click", findMore);
byId("alike-image").addEventListener("click", findImages);
byId("alike-stop").addEventListener("click", () => {
  search.stop();
  render();
});
byId("alike-all").addEventListener("click", () => take(openRows().slice(0, TOGETHER)));

// A search that nobody looks at ends.
on("tab", () => isOpen("alike") || search?.stop());
on("chosen open", () => {
  byId("alike-box").disabled = !chosenForLike();
  byId("alike-image").disabled = !openImage() || Boolean(openImage().fault);
});
