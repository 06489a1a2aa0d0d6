// The pictures of the folder, in the order that a person asks for.

import { show } from "./actions.js";
import { model, on, sum } from "./model.js";
import { element, icon } from "./parts.js";

const list = document.getElementById("pictures");
const sort = document.getElementById("sort");
const count = document.getElementById("gallery-count");
const items = new Map(); // id -> its element
let order = []; // ids as they are shown
let waits = false; // a new order waits until the pointer and the focus have left

const isLabelled = (picture) => picture.complete || sum(picture.objects) > 0;

function sorted() {
  const pictures = [...model.pictures.values()];
  const byName = (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true });
  const places = new Map(model.order.map((id, place) => [id, place]));
  const place = (picture) => places.get(picture.id) ?? (isLabelled(picture) ? 2e9 : 1e9);
  const orders = {
    next: (a, b) => place(a) - place(b),
    name: () => 0,
    found: (a, b) => sum(b.found) - sum(a.found),
    unlabelled: (a, b) => isLabelled(a) - isLabelled(b),
  };
  return pictures.sort((a, b) => orders[sort.value](a, b) || byName(a, b)).map((picture) => picture.id);
}

export function arrange() {
  waits = false;
  order = sorted();
  const wanted = order.map((id) => items.get(id));
  if (wanted.some((item, index) => list.children[index] !== item)) list.replaceChildren(...wanted);
}

function arrangeUnlessBusy() {
  if (list.matches(":hover") || list.contains(document.activeElement)) waits = true;
  else arrange();
}

list.addEventListener("pointerleave", () => waits && arrange());
list.addEventListener("focusout", (event) => waits && !list.contains(event.relatedTarget) && arrange());
sort.addEventListener("change", arrange);

function made(picture) {
  const item = element("li", { class: "picture", role: "option", id: `picture-${picture.id}`, tabIndex: -1 });
  const image = element("img", { alt: "", loading: "lazy", decoding: "async", width: 96, height: 72 });
  image.src = `/api/pictures/${picture.id}/thumbnail`;
  const done = element("span", { class: "done" }, icon("yes"));
  item.append(image, done, element("span", { class: "name" }, element("bdi")), element("span", { class: "counts" }));
  item.addEventListener("click", () => show(picture.id));
  return item;
}

function fill(item, picture) {
  const [image, done, name, counts] = item.children;
  const [objects, found] = [sum(picture.objects), sum(picture.found)];
  item.classList.toggle("waiting", !picture.ready && !picture.fault);
  item.setAttribute("aria-selected", picture.id === model.open);
  item.tabIndex = picture.id === model.open ? 0 : -1;
  done.hidden = !picture.complete;
  name.firstElementChild.textContent = picture.name.split("/").at(-1);
  item.title = picture.fault ? `${picture.name}: ${picture.fault}` : picture.name;
  const told = [objects && `${objects} boxed`, picture.complete && "complete", found && `${found} found`].filter(Boolean);
  item.setAttribute("aria-label", `${picture.name}: ${picture.fault ? "cannot be read" : told.join(", ") || "nothing yet"}`);
  image.hidden = Boolean(picture.fault);
  const parts = picture.fault
    ? [element("span", { class: "fault" }, "cannot be read")]
    : [objects ? `${objects} boxed ` : "", element("span", { class: "found" }, found ? `${found} found` : "")];
  const text = parts.map((part) => part.textContent ?? part).join("");
  if (counts.textContent !== text) counts.replaceChildren(...parts);
}

function render() {
  const before = items.size;
  for (const [id, item] of items) {
    if (!model.pictures.has(id)) {
      item.remove();
      items.delete(id);
    }
  }
  for (const picture of model.pictures.values()) {
    if (!items.has(picture.id)) items.set(picture.id, made(picture));
    fill(items.get(picture.id), picture);
  }
  if (items.size !== before || !order.length) arrange();
  if (model.open === null && list.firstElementChild) list.firstElementChild.tabIndex = 0;
  const labelled = [...model.pictures.values()].filter(isLabelled).length;
  count.textContent = `${labelled} of ${model.pictures.size} labelled`;
}

// Opens the picture so many places further on; from the last one it goes to the first.
export function step(places) {
  if (!order.length) return;
  if (waits && !list.contains(document.activeElement)) arrange();
  const here = order.indexOf(model.open);
  const target = order[here < 0 ? 0 : (here + places + order.length) % order.length];
  show(target);
  items.get(target).scrollIntoView({ block: "nearest", inline: "nearest" });
}

// The next picture to label: the first in the order of use that is not the open one.
export function openFirst() {
  if (order.length) show(order[0]);
}

list.addEventListener("keydown", (event) => {
  const moves = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
  if (event.key in moves) {
    step(moves[event.key]);
    items.get(model.open)?.focus();
  } else if (event.key === "Enter" && document.activeElement?.id?.startsWith("picture-")) {
    document.activeElement.click();
  } else {
    return;
  }
  event.preventDefault();
  event.stopPropagation();
});

on("pictures open", render);
on("order", arrangeUnlessBusy);
