// The images of the folder, in the order that a person asks for.

import { show } from "./actions.js";
import { model, on, sum } from "./model.js";
import { element, icon } from "./parts.js";

const list = document.getElementById("images");
const sort = document.getElementById("sort");
const count = document.getElementById("gallery-count");
const items = new Map(); // id -> its element
let order = []; // ids as they are shown
let waits = false; // a new order waits until the pointer and the focus have left

const isLabelled = (image) => image.complete || sum(image.objects) > 0;

function sorted() {
  const images = [...model.images.values()];
  const byName = (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true });
  const places = new Map(model.order.map((id, place) => [id, place]));
  const place = (image) => places.get(image.id) ?? (isLabelled(image) ? 2e9 : 1e9);
  const orders = {
    next: (a, b) => place(a) - place(b),
    name: () => 0,
    found: (a, b) => sum(b.found) - sum(a.found),
    unlabelled: (a, b) => isLabelled(a) - isLabelled(b),
  };
  return images.sort((a, b) => orders[sort.value](a, b) || byName(a, b)).map((image) => image.id);
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

function made(image) {
  const item = element("li", { class: "image", role: "option", id: `image-${image.id}`, tabIndex: -1 });
  const thumbnail = element("img", { alt: "", loading: "lazy", decoding: "async", width: 96, height: 72 });
  thumbnail.src = `/api/images/${image.id}/thumbnail`;
  const done = element("span", { class: "done" }, icon("yes"));
  item.append(thumbnail, done, element("span", { class: "name" }, element("bdi")), element("span", { class: "counts" }));
  item.addEventListener("click", () => show(image.id));
  return item;
}

function fill(item, image) {
  const [thumbnail, done, name, counts] = item.children;
  const [objects, found] = [sum(image.objects), sum(image.found)];
  item.classList.toggle("waiting", !image.ready && !image.fault);
  item.setAttribute("aria-selected", image.id === model.open);
  item.tabIndex = image.id === model.open ? 0 : -1;
  done.hidden = !image.complete;
  name.firstElementChild.textContent = image.name.split("/").at(-1);
  item.title = image.fault ? `${image.name}: ${image.fault}` : image.name;
  const told = [objects && `${objects} boxed`, image.complete && "complete", found && `${found} found`].filter(Boolean);
  item.setAttribute("aria-label", `${image.name}: ${image.fault ? "cannot be read" : told.join(", ") || "nothing yet"}`);
  thumbnail.hidden = Boolean(image.fault);
  const parts = image.fault
    ? [element("span", { class: "fault" }, "cannot be read")]
    : [objects ? `${objects} boxed ` : "", element("span", { class: "found" }, found ? `${found} found` : "")];
  const text = parts.map((part) => part.textContent ?? part).join("");
  if (counts.textContent !== text) counts.replaceChildren(...parts);
}

function render() {
  const before = items.size;
  for (const [id, item] of items) {
    if (!model.images.has(id)) {
      item.remove();
      items.delete(id);
    }
  }
  for (const image of model.images.values()) {
    if (!items.has(image.id)) items.set(image.id, made(image));
    fill(items.get(image.id), image);
  }
  if (items.size !== before || !order.length) arrange();
  if (model.open === null && list.firstElementChild) list.firstElementChild.tabIndex = 0;
  const labelled = [...model.images.values()].filter(isLabelled).length;
  count.textContent = `${labelled} of ${model.images.size} labelled`;
}

// Opens the image so many places further on; from the last one it goes to the first.
export function step(places) {
  if (!order.length) return;
  if (waits && !list.contains(document.activeElement)) arrange();
  const here = order.indexOf(model.open);
  const target = order[here < 0 ? 0 : (here + places + order.length) % order.length];
  show(target);
  items.get(target).scrollIntoView({ block: "nearest", inline: "nearest" });
}

// The next image to label: the first in the order of use that is not the open one.
export function openFirst() {
  if (order.length) show(order[0]);
}

list.addEventListener("keydown", (event) => {
  const moves = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
  if (event.key in moves) {
    step(moves[event.key]);
    items.get(model.open)?.focus();
  } else if (event.key === "Enter" && document.activeElement?.id?.startsWith("image-")) {
    document.activeElement.click();
  } else {
    return;
  }
  event.preventDefault();
  event.stopPropagation();
});

on("images open", render);
on("order", arrangeUnlessBusy);
