// The open image on its canvas: drawn on, by pointer and by key.

import { addBox, choose, isDrawable, moveBoxes } from "./actions.js";
import { area, between, HANDLES, inside, largeEnough, moved, resized } from "./edges.js";
import { chosenBox, chosenBoxes, chosenSuggestion, model, objects, on, openImage, shownSuggestions } from "./model.js";
import { say } from "./saying.js";
import { drawScene } from "./scene.js";
import { fitted } from "./shown.js";
import { isTrackpad, View } from "./view.js";

const canvas = document.getElementById("stage");
const pen = canvas.getContext("2d");
const zoomText = document.getElementById("zoom-text");
const view = new View();
const bitmap = new Image();
const coarse = matchMedia("(pointer: coarse)");

let shown = null; // what is loaded or on its way: the image's id and its size
let act = null; // what the pointer is at: {kind, image, from, edges, ...}
let sent = null; // where a box was dragged to, {box, edges}, until the studio has answered
let hovered = null;
let marked = null; // a place that a person is sent to
let at = null; // where the pointer is, for the cross hair
let waiting = false;
let spaceHeld = false;
let keyed = null; // boxes on the move by keys: {image, edges: id -> where, timer}
const pointers = new Map();

export const isDragging = () => ["draw", "move", "resize"].includes(act?.kind);

// Drawing

export function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
}

function draw() {
  const density = devicePixelRatio || 1;
  pen.setTransform(density, 0, 0, density, 0, 0);
  zoomText.textContent = `${Math.round(view.scale * 100)} %`;
  const ready = bitmap.complete && bitmap.naturalWidth > 0 && shown?.id === model.open;
  const cross = at && !act && !coarse.matches && model.label !== null && !openImage()?.fault ? at : null;
  drawScene(pen, view, {
    bitmap: ready ? bitmap : null,
    edgesOf,
    hovered,
    cross,
    drawing: act?.kind === "draw" ? act.edges : null,
    marked: marked?.image === model.open ? marked : null,
    handles: coarse.matches ? 14 : 9,
  });
}

const edgesOf = (box) => {
  if (keyed?.edges.has(box.id)) return keyed.edges.get(box.id);
  if (act?.box === box.id && act.edges) return act.edges;
  return sent?.box === box.id ? sent.edges : box.edges;
};

// Finding what lies under the pointer

const place = (event) => {
  const frame = canvas.getBoundingClientRect();
  return [event.clientX - frame.left, event.clientY - frame.top];
};

function handleAt(point) {
  const box = chosenBox();
  if (box?.kind !== "object") return null;
  const [left, top, right, bottom] = view.toStage(edgesOf(box));
  const reach = coarse.matches ? 20 : 8;
  return HANDLES.find(([u, v]) => {
    const [x, y] = [left + u * (right - left), top + v * (bottom - top)];
    return Math.abs(point[0] - x) <= reach && Math.abs(point[1] - y) <= reach;
  });
}

// The smallest box or suggestion around a point of the image.
function under(point) {
  const margin = 4 / view.scale;
  const boxes = model.hides.boxes ? [] : objects();
  const found = [
    ...boxes.map((box) => ({ edges: box.edges, chosen: { box: box.id } })),
    ...shownSuggestions().map((each) => ({ edges: each.edges, chosen: { suggestion: each.edges } })),
  ].filter(({ edges }) => inside(edges, point, margin));
  return found.sort((a, b) => area(a.edges) - area(b.edges))[0] ?? null;
}

// The pointer

canvas.addEventListener("pointerdown", (event) => {
  const start = place(event);
  pointers.set(event.pointerId, start);
  if (!openImage()) return;
  canvas.setPointerCapture(event.pointerId);
  canvas.focus({ preventScroll: true });
  if (pointers.size === 2) {
    act = { kind: "pinch", span: span(), middle: middle() };
  } else if (event.button === 1 || event.button === 2 || spaceHeld) {
    act = { kind: "pan", last: start };
  } else if (event.button === 0) {
    act = {
      ...begun(start, event.shiftKey),
      exact: event.shiftKey,
      image: model.open,
      also: event.ctrlKey || event.metaKey,
    };
  }
  event.preventDefault();
  redraw();
});

canvas.addEventListener("contextmenu", (event) => event.preventDefault());

function begun(start, drawAnyway) {
  const from = view.toImage(...start);
  const box = chosenBox();
  const handle = drawAnyway ? null : handleAt(start);
  const before = box && edgesOf(box);
  if (handle) return { kind: "resize", from, handle, box: box.id, before };
  if (box?.kind === "object" && !drawAnyway && inside(before, from)) return { kind: "move", from, box: box.id, before };
  return isDrawable() ? { kind: "draw", from } : { kind: "none" };
}

canvas.addEventListener("pointermove", (event) => {
  at = place(event);
  if (pointers.has(event.pointerId)) pointers.set(event.pointerId, at);
  if (act) follow();
  else hover();
});

canvas.addEventListener("pointerleave", () => {
  at = null;
  redraw();
});

function follow() {
  if (act.kind === "none") return;
  const point = view.toImage(...at);
  if (act.kind === "pinch") {
    if (pointers.size < 2) return;
    const [was, now] = [act.middle, middle()];
    view.pan(now[0] - was[0], now[1] - was[1]);
    view.zoom(span() / act.span, ...now);
    Object.assign(act, { span: span(), middle: now });
  } else if (act.kind === "pan") {
    view.pan(at[0] - act.last[0], at[1] - act.last[1]);
    act.last = at;
  } else {
    const [across, down] = [point[0] - act.from[0], point[1] - act.from[1]];
    if (act.kind === "move") act.edges = moved(act.before, across, down, view.image);
    if (act.kind === "resize") act.edges = resized(act.before, act.handle, across, down, view.image);
    if (act.kind === "draw" && model.label !== null) {
      const edges = between(act.from, point, view.image);
      act.edges = largeEnough(edges) ? edges : null;
    }
  }
  redraw();
}

function hover() {
  const cursors = { 0: "nwse-resize", 0.5: "ns-resize", 1: "nesw-resize" };
  const handle = handleAt(at);
  const point = view.toImage(...at);
  if (handle)
    canvas.style.cursor =
      handle[1] === 0.5 ? "ew-resize" : cursors[handle[0] === 0.5 ? 0.5 : Math.abs(handle[0] - handle[1])];
  else if (spaceHeld) canvas.style.cursor = "grab";
  else canvas.style.cursor = chosenBox()?.kind === "object" && inside(chosenBox().edges, point) ? "move" : "crosshair";
  hovered = under(point)?.edges ?? null;
  redraw();
}

canvas.addEventListener("pointerup", (event) => finish(event, true));
canvas.addEventListener("pointercancel", (event) => finish(event, false));

async function finish(event, done) {
  pointers.delete(event.pointerId);
  const ended = act;
  if (!ended) return;
  if (ended.kind === "pinch" && pointers.size) {
    act = { kind: "none" };
    return;
  }
  act = null; // what was drawn or dragged is on its way from here on, and follows the pointer no more
  if (done && ended.kind === "draw" && ended.edges) await addBox(placed(ended), { image: ended.image });
  else if (done && (ended.kind === "move" || ended.kind === "resize") && ended.edges) await sendDragged(ended);
  else if (done && ended.kind !== "pan" && ended.kind !== "none")
    choose(under(view.toImage(...place(event)))?.chosen ?? null, { also: ended.also });
  redraw();
}

async function sendDragged({ box, edges, image }) {
  const mine = { box, edges };
  sent = mine;
  await moveBoxes(new Map([[box, edges]]), image);
  if (sent === mine) sent = null;
}

// Where a drawn box is to lie: with Shift exactly as drawn, otherwise on the object that the detector is sure of.
function placed({ edges, exact }) {
  const fit = exact ? edges : fitted(edges, model.label, model);
  if (fit !== edges) say("Fitted to the object. Shift held while drawing keeps your own edges.");
  return fit;
}

const span = () => {
  const [a, b] = [...pointers.values()];
  return Math.max(10, Math.hypot(a[0] - b[0], a[1] - b[1]));
};

const middle = () => {
  const [a, b] = [...pointers.values()];
  return [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
};

canvas.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    if (isTrackpad(event)) view.pan(-event.deltaX, -event.deltaY);
    else view.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : event.ctrlKey ? 0.01 : 0.0015)), ...place(event));
    redraw();
  },
  { passive: false },
);

// Keys

export function holdSpace(held) {
  spaceHeld = held;
  canvas.style.cursor = held ? "grab" : "crosshair";
}

export function cancel() {
  act = null;
  marked = null;
  choose(null);
}

// Moves the chosen boxes, or resizes one; what keys do within half a second is one change.
export function nudge(across, down, resize) {
  const boxes = chosenBoxes().filter((box) => box.kind === "object");
  if (!boxes.length) return false;
  clearTimeout(keyed?.timer);
  const edges = new Map(keyed?.edges);
  for (const box of boxes) {
    const before = edgesOf(box);
    edges.set(
      box.id,
      resize && boxes.length === 1
        ? resized(before, [1, 1], across, down, view.image)
        : moved(before, across, down, view.image),
    );
  }
  keyed = { image: model.open, edges, timer: setTimeout(storeKeyed, 500) };
  redraw();
  return true;
}

async function storeKeyed() {
  const now = keyed;
  await moveBoxes(now.edges, now.image);
  if (keyed === now) keyed = null;
  redraw();
}

export function newBox() {
  if (!openImage() || model.label === null || !isDrawable()) return;
  const [x, y] = view.toImage(view.stage.width / 2, view.stage.height / 2);
  const half = Math.max(4, Math.min(view.image.width, view.image.height) / 10);
  addBox(between([x - half, y - half], [x + half, y + half], view.image));
}

export function zoom(factor) {
  if (factor) view.zoom(factor);
  else view.fit();
  redraw();
}

export function zoomToBox() {
  const chosen = chosenSuggestion() ?? chosenBox();
  if (!chosen) return say("Choose a box first.");
  view.show(chosen.edges);
  return redraw();
}

// Zooms to a place that is no box: it is marked until something else is shown.
export function showPlace({ edges, label }) {
  marked = { image: model.open, edges, label };
  view.show(edges);
  redraw();
}

// What is shown

function load() {
  const image = openImage();
  const name = image && `${image.id} ${image.width} ${image.height}`;
  if (image && shown?.name !== name) {
    if (shown?.id !== image.id) act = sent = null;
    shown = { id: image.id, name };
    view.image = { width: image.width, height: image.height };
    view.fit();
    reload();
  }
  redraw();
}

// Loads the image, also again where a studio that was away could not give it.
export function reload() {
  const image = openImage();
  if (!image) return;
  bitmap.src = image.fault ? "" : `api/images/${image.id}/image?${image.width}x${image.height}`;
}

bitmap.addEventListener("load", redraw);

new ResizeObserver(() => {
  const frame = canvas.getBoundingClientRect();
  const density = devicePixelRatio || 1;
  const fitted = Math.abs(view.scale - view.fitting) < 1e-6 || view.stage.width === 1;
  view.stage = { width: frame.width, height: frame.height };
  canvas.width = Math.round(frame.width * density);
  canvas.height = Math.round(frame.height * density);
  if (fitted) view.fit();
  draw();
}).observe(canvas);

on("open chosen classes images limits", load);
