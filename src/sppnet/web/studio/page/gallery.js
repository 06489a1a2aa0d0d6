// The images of the folder, in the order that a person asks for. Only those in sight are made.

import { show, showBefore, showNext } from "./actions.js";
import { get } from "./api.js";
import { filter, sum } from "./catalogue.js";
import { model, on } from "./model.js";
import { element, icon } from "./parts.js";
import { columnsOf, revealing, visible } from "./window.js";

const byId = (id) => document.getElementById(id);
const list = byId("images");
const sort = byId("sort");
const [search, state] = [byId("search"), byId("filter")];
const length = element("li", { class: "length", role: "presentation" });
const items = new Map(); // id -> its element, of those in sight
const LEAST = 92; // pixels that an image is wide at least
const [PAD, BELOW] = [8, 42]; // between images; of the text below them
const LANDED = 80; // milliseconds after the last leap

let order = []; // ids as they are shown
let wrong = new Set(); // ids of images whose labels and detector disagree, when that was asked last
let waits = false; // a new order waits until the pointer and the focus have left
let geometry = null; // of the list; none while it is not shown
let offset = 0; // by which it is scrolled
let flies = false; // past more than can be seen: what each image shows is asked for when that has ended
let landing; // when

sort.value = localStorage.getItem("sppnet-sort") ?? sort.value;
if (!sort.value) sort.value = "next";

export function arrange() {
  waits = false;
  const passes = filter({
    text: search.value,
    state: state.value.startsWith("class ") ? "all" : state.value,
    label: state.value.startsWith("class ") ? Number(state.value.slice(6)) : null,
    among: state.value === "wrong" ? wrong : state.value === "unsure" ? model.images.unsure() : null,
  });
  order = model.images.arranged({ sort: sort.value, order: model.order, passes });
  byId("none-pass").hidden = order.length > 0 || !model.images.size;
  tellCount();
  draw();
}

function arrangeUnlessBusy() {
  if (list.matches(":hover") || list.contains(document.activeElement)) waits = true;
  else arrange();
}

list.addEventListener("pointerleave", () => waits && arrange());
list.addEventListener("focusout", (event) => waits && !list.contains(event.relatedTarget) && arrange());
search.addEventListener("input", arrange);
state.addEventListener("change", async () => {
  if (state.value === "wrong") wrong = new Set((await get("api/review")).images);
  arrange();
});
sort.addEventListener("change", () => {
  localStorage.setItem("sppnet-sort", sort.value);
  arrange();
});

// Asked of the page only when it changed: while elements change, each answer has the page laid out anew.
function measure() {
  const [width, extent] = [list.clientWidth, list.clientHeight];
  const columns = columnsOf(width - PAD, LEAST);
  const wide = (width - PAD * (columns + 1)) / columns;
  geometry = extent ? { columns, wide, row: Math.round(wide * 0.75) + BELOW + PAD, extent } : null;
}

function draw() {
  if (!geometry) return;
  const { columns, row, extent } = geometry;
  const { first, last, height } = visible({ offset, extent, row, columns, count: order.length });
  length.style.height = `${height + PAD}px`;
  const wanted = new Map();
  for (let place = first; place < last; place++) {
    if (model.images.has(order[place])) wanted.set(order[place], place); // what is gone is soon gone from the order too
  }
  const spare = [];
  for (const [id, item] of items) {
    if (wanted.has(id) || (item === document.activeElement && model.images.has(id))) continue;
    spare.push(item);
    items.delete(id);
  }
  for (const [id, place] of wanted) {
    const item = items.get(id) ?? given(id, spare.pop());
    put(item, place);
    fillChanged(item, model.images.get(id), place);
  }
  for (const item of spare) item.remove();
  if (model.open === null || !items.has(model.open)) items.get(order[first])?.setAttribute("tabindex", 0);
}

function put(item, place) {
  const { columns, wide, row } = geometry;
  item.style.width = `${wide}px`;
  item.style.transform = `translate(${PAD + (place % columns) * (wide + PAD)}px, ${PAD + Math.floor(place / columns) * row}px)`;
}

// Elements that went out of sight serve for images that come into it: to make new ones at each frame takes too long.
function given(id, item = made()) {
  item.id = `image-${id}`;
  item.firstElementChild.replaceWith(unseen()); // an element would go on showing the other image until this one is there
  items.set(id, item);
  return item;
}

const unseen = () => element("img", { alt: "", decoding: "async", width: 96, height: 72 });

function made() {
  const item = element("li", { class: "image", role: "option", tabIndex: -1 });
  item.append(
    unseen(),
    element("span", { class: "done", hidden: true }, icon("yes")),
    element("span", { class: "name" }, element("bdi")),
    element("span", { class: "counts" }),
  );
  item.addEventListener("click", () => show(Number(item.id.slice("image-".length))));
  list.append(item);
  return item;
}

const filled = new WeakMap(); // element -> what it shows

function fillChanged(item, image, place) {
  const now = JSON.stringify([image, place, order.length, image.id === model.open, isTaken(image), flies]);
  if (filled.get(item) === now) return;
  filled.set(item, now);
  fill(item, image, place);
}

const isTaken = (image) => model.people.some((person) => person.image === image.id && image.id !== model.open);

function fill(item, image, place) {
  const [thumbnail, done, name, counts] = item.children;
  const [objects, found] = [sum(image.objects), sum(image.found)];
  item.classList.toggle("waiting", !image.ready && !image.fault);
  item.classList.toggle("taken", isTaken(image));
  item.setAttribute("aria-selected", image.id === model.open);
  item.setAttribute("aria-setsize", order.length);
  item.setAttribute("aria-posinset", place + 1);
  item.tabIndex = image.id === model.open ? 0 : -1;
  done.hidden = !image.complete;
  const shown = image.name.split("/").at(-1);
  if (name.firstElementChild.textContent !== shown) name.firstElementChild.textContent = shown;
  item.title = [image.name, image.fault, image.note].filter(Boolean).join(": ");
  const address = image.fault ? "" : `api/images/${image.id}/thumbnail?${image.width}x${image.height}`;
  if (!flies && (thumbnail.getAttribute("src") ?? "") !== address) {
    if (address) thumbnail.src = address;
    else thumbnail.removeAttribute("src");
  }
  const text = image.fault
    ? "cannot be read"
    : [objects && `${objects} boxed`, found && `${found} found`].filter(Boolean).join(" ");
  if (counts.dataset.text === text + image.complete) return;
  counts.dataset.text = text + image.complete;
  counts.replaceChildren(
    ...(image.fault
      ? [element("span", { class: "fault" }, text)]
      : [
          objects ? `${objects} boxed ` : "",
          element("span", { class: "found" }, found ? `${found} found` : ""),
          element("span", { class: "for-readers" }, image.complete ? " complete" : ""),
        ]),
  );
}

function tellCount() {
  const all = `${model.images.totals.labelled} of ${model.images.size} labelled`;
  byId("gallery-count").textContent = order.length < model.images.size ? `${all}, ${order.length} listed` : all;
}

function render() {
  if (order.length && model.images.size === known) {
    tellCount();
    return draw();
  }
  known = model.images.size;
  return arrange();
}

let known = 0; // how many images there were when they were arranged

function renderClasses() {
  const names = model.classes.map((each) => element("option", { value: `class ${each.id}` }, `With ${each.name}`));
  const chosen = state.value;
  byId("filter-classes").replaceChildren(...names);
  state.value = chosen;
  if (!state.value) state.value = "all";
}

const due = new Set(); // what is to be done before the next frame

function soon(work) {
  if (!due.size) {
    requestAnimationFrame(() => {
      const works = [...due];
      due.clear();
      for (const each of works) each();
    });
  }
  due.add(work);
}

function land() {
  flies = false;
  draw();
}

list.addEventListener(
  "scroll",
  () =>
    soon(() => {
      const before = offset;
      offset = list.scrollTop;
      clearTimeout(landing);
      flies = geometry !== null && Math.abs(offset - before) > geometry.extent;
      if (flies) landing = setTimeout(land, LANDED);
      draw();
    }),
  { passive: true },
);
new ResizeObserver(() => {
  const wasHidden = !geometry;
  measure();
  draw();
  if (wasHidden) reveal();
}).observe(list);
list.append(length);

// Moving on. The most useful order leads to what helps most, as long as there is; every other one to the neighbour.

export async function step(places) {
  if (sort.value === "next" && places > 0) return (await showNext()) === null ? neighbour(places) : undefined;
  if (sort.value === "next") return showBefore() ?? neighbour(places);
  return neighbour(places);
}

// The image so many places further on; from the last one it goes to the first.
function neighbour(places) {
  if (!order.length) return null;
  if (waits && !list.contains(document.activeElement)) arrange();
  const here = order.indexOf(model.open);
  const place = here < 0 ? 0 : (here + places + order.length) % order.length;
  return show(order[place]);
}

function reveal() {
  const place = order.indexOf(model.open);
  if (place < 0 || !geometry) return;
  const { columns, row, extent } = geometry;
  offset = revealing(place, { offset, extent, row, columns });
  list.scrollTop = offset;
}

// The image that was open last, or else the most useful one that nobody else has open, or else the first.
export async function openFirst() {
  const last = Number(localStorage.getItem(`sppnet-open ${model.folder}`));
  if (model.images.has(last)) show(last);
  else if ((await showNext()) === null && order.length) show(order[0]);
}

list.addEventListener("keydown", async (event) => {
  const { columns } = geometry ?? { columns: 1 };
  const moves = { ArrowDown: columns, ArrowRight: 1, ArrowUp: -columns, ArrowLeft: -1 };
  if (!(event.key in moves)) return;
  event.preventDefault();
  event.stopPropagation();
  const opened = neighbour(moves[event.key]);
  draw();
  items.get(model.open)?.focus({ preventScroll: true });
  await opened;
});

let revealed = null;

on("images", () => soon(render));
on("people", () => soon(draw));
on("open", () => {
  draw();
  if (revealed !== model.open) reveal();
  revealed = model.open;
});
on("classes", renderClasses);
on("order", () => soon(arrangeUnlessBusy));
