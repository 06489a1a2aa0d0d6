// The open image on its canvas: drawn with its boxes and suggestions; drawn on, by pointer and by key.

import { addBox, choose, moveBox } from "./actions.js";
import { area, between, HANDLES, inside, largeEnough, moved, resized } from "./edges.js";
import { chosenBox, chosenSuggestion, classOf, colourOf, isGuess, model, on, openImage, shownSuggestions } from "./model.js";
import { View } from "./view.js";

const canvas = document.getElementById("stage");
const pen = canvas.getContext("2d");
const zoomText = document.getElementById("zoom-fit");
const view = new View();
const bitmap = new Image();
const coarse = matchMedia("(pointer: coarse)");

let shown = null; // id of the image whose bitmap is loaded or on its way
let act = null; // what the pointer is at: {kind, from, edges, ...}
let hovered = null;
let waiting = false;
let spaceHeld = false;
let keyed = null; // a box on the move by keys: {box, edges, timer}
const pointers = new Map();

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
  pen.clearRect(0, 0, view.stage.width, view.stage.height);
  zoomText.textContent = `${Math.round(view.scale * 100)} %`;
  if (!openImage()) return;
  const [left, top, right, bottom] = view.toStage([0, 0, view.image.width, view.image.height]);
  pen.imageSmoothingEnabled = view.scale < 4;
  pen.fillStyle = "rgb(128 128 128 / 25%)";
  pen.fillRect(left, top, right - left, bottom - top);
  if (bitmap.complete && bitmap.naturalWidth && shown === model.open) pen.drawImage(bitmap, left, top, right - left, bottom - top);
  for (const box of model.boxes) if (box.kind === "rejected" && box.id === model.chosen?.box) drawRejected(box);
  for (const each of shownSuggestions()) {
    pen.globalAlpha = isGuess(each) ? 0.65 : 1;
    drawBox(each.edges, each.label, { dashed: true, chosen: each === chosenSuggestion(), score: each.score });
  }
  pen.globalAlpha = 1;
  for (const box of model.boxes) {
    if (box.kind === "object") drawBox(edgesOf(box), box.label, { chosen: box.id === model.chosen?.box });
  }
  if (act?.kind === "draw" && act.edges) drawBox(act.edges, model.label, { chosen: true });
}

const edgesOf = (box) => {
  if (keyed?.box === box.id) return keyed.edges;
  return act?.box === box.id && act.edges ? act.edges : box.edges;
};

function drawBox(edges, label, { dashed = false, chosen = false, score = null }) {
  const [left, top, right, bottom] = view.toStage(edges);
  const colour = colourOf(label);
  const weak = dashed && !chosen;
  pen.setLineDash([]);
  pen.lineWidth = chosen ? 5 : 4;
  pen.strokeStyle = `rgb(0 0 0 / ${weak ? 35 : 55}%)`;
  pen.strokeRect(left, top, right - left, bottom - top);
  pen.setLineDash(dashed ? [7, 5] : []);
  pen.lineWidth = chosen ? 3 : 2;
  pen.strokeStyle = colour;
  pen.strokeRect(left, top, right - left, bottom - top);
  pen.setLineDash([]);
  if (chosen) {
    pen.fillStyle = `${colour}26`;
    pen.fillRect(left, top, right - left, bottom - top);
  }
  if (chosen || hovered === edges) drawTag(left, top, bottom, colour, classOf(label)?.name + (score === null ? "" : ` ${score.toFixed(1)}`));
  if (chosen && !dashed) drawHandles(left, top, right, bottom, colour);
}

function drawTag(left, top, bottom, colour, text) {
  pen.font = "600 12px system-ui, sans-serif";
  const width = pen.measureText(text).width + 12;
  const above = top > 22 ? top - 21 : bottom + 3;
  pen.fillStyle = colour;
  pen.beginPath();
  pen.roundRect(left - 2, above, width, 18, 4);
  pen.fill();
  pen.fillStyle = isLight(colour) ? "#111" : "#fff";
  pen.fillText(text, left + 4, above + 13);
}

function drawHandles(left, top, right, bottom, colour) {
  const side = coarse.matches ? 14 : 9;
  pen.fillStyle = "#fff";
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  for (const [u, v] of HANDLES) {
    const x = left + u * (right - left) - side / 2;
    const y = top + v * (bottom - top) - side / 2;
    pen.fillRect(x, y, side, side);
    pen.strokeRect(x, y, side, side);
  }
}

function drawRejected(box) {
  const [left, top, right, bottom] = view.toStage(box.edges);
  pen.lineWidth = 2;
  pen.strokeStyle = "#ff8f8a";
  pen.strokeRect(left, top, right - left, bottom - top);
  pen.beginPath();
  pen.moveTo(left, top);
  pen.lineTo(right, bottom);
  pen.moveTo(right, top);
  pen.lineTo(left, bottom);
  pen.stroke();
}

function isLight(colour) {
  const [red, green, blue] = [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140;
}

// Finding what lies under the pointer

const place = (event) => {
  const frame = canvas.getBoundingClientRect();
  return [event.clientX - frame.left, event.clientY - frame.top];
};

function handleAt(at) {
  const box = chosenBox();
  if (!box || box.kind !== "object") return null;
  const [left, top, right, bottom] = view.toStage(edgesOf(box));
  const reach = coarse.matches ? 20 : 8;
  return HANDLES.find(([u, v]) => {
    const [x, y] = [left + u * (right - left), top + v * (bottom - top)];
    return Math.abs(at[0] - x) <= reach && Math.abs(at[1] - y) <= reach;
  });
}

// The smallest box or suggestion around a point of the image.
function under(point) {
  const margin = 4 / view.scale;
  const found = [
    ...model.boxes.filter((box) => box.kind === "object").map((box) => ({ edges: box.edges, chosen: { box: box.id } })),
    ...shownSuggestions().map((each) => ({ edges: each.edges, chosen: { suggestion: each.edges } })),
  ].filter(({ edges }) => inside(edges, point, margin));
  return found.sort((a, b) => area(a.edges) - area(b.edges))[0] ?? null;
}

// The pointer

canvas.addEventListener("pointerdown", (event) => {
  const at = place(event);
  pointers.set(event.pointerId, at);
  if (!openImage()) return;
  canvas.setPointerCapture(event.pointerId);
  canvas.focus({ preventScroll: true });
  if (pointers.size === 2) {
    act = { kind: "pinch", span: span(), middle: middle() };
  } else if (event.button === 1 || spaceHeld) {
    act = { kind: "pan", last: at };
  } else if (event.button === 0) {
    act = begun(at, event.shiftKey);
  }
  event.preventDefault();
  redraw();
});

function begun(at, drawAnyway) {
  const from = view.toImage(...at);
  const box = chosenBox();
  const handle = drawAnyway ? null : handleAt(at);
  if (handle) return { kind: "resize", from, handle, box: box.id, before: box.edges };
  if (box?.kind === "object" && !drawAnyway && inside(box.edges, from)) return { kind: "move", from, box: box.id, before: box.edges };
  return { kind: "draw", from };
}

canvas.addEventListener("pointermove", (event) => {
  const at = place(event);
  if (pointers.has(event.pointerId)) pointers.set(event.pointerId, at);
  if (act) follow(at);
  else hover(at);
});

function follow(at) {
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

function hover(at) {
  const cursors = { 0: "nwse-resize", 0.5: "ns-resize", 1: "nesw-resize" };
  const handle = handleAt(at);
  const point = view.toImage(...at);
  const found = under(point);
  if (handle) canvas.style.cursor = handle[1] === 0.5 ? "ew-resize" : cursors[handle[0] === 0.5 ? 0.5 : Math.abs(handle[0] - handle[1])];
  else if (spaceHeld) canvas.style.cursor = "grab";
  else canvas.style.cursor = chosenBox()?.kind === "object" && inside(chosenBox().edges, point) ? "move" : "crosshair";
  if (hovered !== (found?.edges ?? null)) {
    hovered = found?.edges ?? null;
    redraw();
  }
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
  if (done && ended.kind === "draw" && ended.edges) await addBox(ended.edges);
  else if (done && (ended.kind === "move" || ended.kind === "resize") && ended.edges) await moveBox(ended.box, ended.edges);
  else if (done && ended.kind !== "pan" && ended.kind !== "none") choose(under(view.toImage(...place(event)))?.chosen ?? null);
  if (act === ended) act = null;
  redraw();
}

const span = () => {
  const [a, b] = [...pointers.values()];
  return Math.max(10, Math.hypot(a[0] - b[0], a[1] - b[1]));
};

const middle = () => {
  const [a, b] = [...pointers.values()];
  return [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
};

canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  view.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...place(event));
  redraw();
}, { passive: false });

// Keys

export function holdSpace(held) {
  spaceHeld = held;
  canvas.style.cursor = held ? "grab" : "crosshair";
}

export function cancel() {
  act = null;
  choose(null);
}

// Moves the chosen box, or resizes it; what keys do within half a second is one change.
export function nudge(across, down, resize) {
  const box = chosenBox();
  if (!box || box.kind !== "object") return false;
  const before = keyed?.box === box.id ? keyed.edges : box.edges;
  const edges = resize ? resized(before, [1, 1], across, down, view.image) : moved(before, across, down, view.image);
  clearTimeout(keyed?.timer);
  keyed = { box: box.id, edges, timer: setTimeout(keepKeyed, 500) };
  redraw();
  return true;
}

async function keepKeyed() {
  const { box, edges } = keyed;
  await moveBox(box, edges);
  if (keyed?.edges === edges) keyed = null;
  redraw();
}

export function newBox() {
  if (!openImage() || model.label === null) return;
  const [x, y] = view.toImage(view.stage.width / 2, view.stage.height / 2);
  const half = Math.max(4, Math.min(view.image.width, view.image.height) / 10);
  addBox(between([x - half, y - half], [x + half, y + half], view.image));
}

export function zoom(factor) {
  if (factor) view.zoom(factor);
  else view.fit();
  redraw();
}

// What is shown

function load() {
  const image = openImage();
  if (image && shown !== image.id) {
    shown = image.id;
    view.image = { width: image.width, height: image.height };
    view.fit();
    bitmap.src = image.fault ? "" : `/api/images/${image.id}/image`;
  }
  redraw();
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

on("open chosen classes status", load);
