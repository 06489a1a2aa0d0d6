// What the canvas shows: the image, boxes and suggestions with their names, and the box that is being drawn.

import { HANDLES, shift } from "./edges.js";
import { chosenSuggestion, colourOf, isGuess, model, nameOf, openImage, shownSuggestions } from "./model.js";
import { percent } from "./parts.js";
import { placed, TALL } from "./tags.js";

// `state` says what is not in the model: the bitmap, where boxes on the move are, what is hovered and drawn.
export function drawScene(pen, view, state) {
  pen.clearRect(0, 0, view.stage.width, view.stage.height);
  if (!openImage()) return;
  const [left, top, right, bottom] = view.toStage([0, 0, view.image.width, view.image.height]);
  pen.imageSmoothingEnabled = view.scale < 4;
  pen.fillStyle = "rgb(128 128 128 / 25%)";
  pen.fillRect(left, top, right - left, bottom - top);
  if (state.bitmap) pen.drawImage(state.bitmap, left, top, right - left, bottom - top);
  const tags = [];
  if (!model.hides.boxes) tags.push(...drawBoxes(pen, view, state));
  if (state.marked)
    tags.push(drawBox(pen, view, state.marked.edges, state.marked.label, { dashed: true, chosen: true }));
  if (state.drawing) tags.push(drawBox(pen, view, state.drawing, model.label, { chosen: true }));
  drawTags(pen, view, tags);
  if (state.cross) drawCross(pen, view, state.cross);
}

// Returns the names of the boxes, which are drawn over all of them.
function drawBoxes(pen, view, state) {
  const tags = [];
  for (const box of model.boxes)
    if (box.kind === "rejected" && box.id === model.chosen?.box) drawRejected(pen, view, box);
  for (const each of shownSuggestions()) {
    pen.globalAlpha = isGuess(each) ? 0.65 : 1;
    const tag = drawBox(pen, view, each.edges, each.label, {
      dashed: true,
      chosen: each === chosenSuggestion(),
      score: each.score,
      hovered: state.hovered === each.edges,
    });
    tags.push(tag);
  }
  pen.globalAlpha = 1;
  for (const { image, label, edges } of model.drawn)
    if (image === model.open) tags.push(drawBox(pen, view, edges, label, {}));
  for (const box of model.boxes) {
    if (box.kind !== "object") continue;
    const first = box.id === model.chosen?.box;
    if (box.outline) drawOutline(pen, view, box, state.edgesOf(box));
    const tag = drawBox(pen, view, state.edgesOf(box), box.label, {
      chosen: first || model.also.has(box.id),
      handles: first ? state.handles : 0,
      hovered: state.hovered === box.edges,
      marks: `${box.difficult ? " (difficult)" : ""}${box.crowd ? " (crowd)" : ""}`,
    });
    tags.push(tag);
  }
  return tags;
}

// Returns the box's name and where the box lies, for `drawTags`.
function drawBox(
  pen,
  view,
  edges,
  label,
  { dashed = false, chosen = false, score = null, handles = 0, hovered = false, marks = "" },
) {
  const [left, top, right, bottom] = view.toStage(edges);
  const colour = colourOf(label);
  pen.setLineDash([]);
  pen.lineWidth = chosen ? 5 : 4;
  pen.strokeStyle = `rgb(0 0 0 / ${dashed && !chosen ? 35 : 55}%)`;
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
  if (handles) drawHandles(pen, [left, top, right, bottom], colour, handles);
  const roomy = right - left > 48 && bottom - top > 30;
  return {
    edges: [left, top, right, bottom],
    colour,
    text: `${nameOf(label)}${marks}${score === null ? "" : ` ${percent(score)}`}`,
    first: chosen || hovered,
    shown: chosen || hovered || (!model.hides.names && roomy),
  };
}

// The polygons that came with a label; while its box is resized they are not shown, for they are dropped with it.
function drawOutline(pen, view, { outline, edges, label }, now) {
  const moves = shift(edges, now);
  if (!moves) return;
  pen.beginPath();
  for (const polygon of outline) {
    for (const [place, [x, y]] of polygon.entries()) {
      const at = [(x + moves[0]) * view.scale + view.x, (y + moves[1]) * view.scale + view.y];
      if (place) pen.lineTo(...at);
      else pen.moveTo(...at);
    }
    pen.closePath();
  }
  pen.fillStyle = `${colourOf(label)}33`;
  pen.fill();
  pen.lineWidth = 3;
  pen.strokeStyle = "rgb(0 0 0 / 45%)";
  pen.stroke();
  pen.lineWidth = 1.5;
  pen.strokeStyle = colourOf(label);
  pen.stroke();
}

function drawTags(pen, view, tags) {
  pen.font = "600 12px system-ui, sans-serif";
  const wanted = tags
    .filter((tag) => tag.shown)
    .map((tag) => ({ ...tag, width: Math.min(view.stage.width, pen.measureText(tag.text).width + 12) }));
  for (const { x, y, width, colour, text } of placed(wanted, view.stage)) {
    pen.fillStyle = colour;
    pen.beginPath();
    pen.roundRect(x, y, width, TALL, 4);
    pen.fill();
    pen.fillStyle = isLight(colour) ? "#111" : "#fff";
    pen.fillText(text, x + 6, y + 13, width - 12);
  }
}

function drawHandles(pen, [left, top, right, bottom], colour, side) {
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

function drawRejected(pen, view, box) {
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

// Two lines through the pointer, dark beside light, so that they show on every image.
function drawCross(pen, view, [x, y]) {
  pen.lineWidth = 1;
  for (const [shift, style] of [
    [0.5, "rgb(255 255 255 / 55%)"],
    [1.5, "rgb(0 0 0 / 45%)"],
  ]) {
    pen.strokeStyle = style;
    pen.beginPath();
    pen.moveTo(0, Math.floor(y) + shift);
    pen.lineTo(view.stage.width, Math.floor(y) + shift);
    pen.moveTo(Math.floor(x) + shift, 0);
    pen.lineTo(Math.floor(x) + shift, view.stage.height);
    pen.stroke();
  }
}

function isLight(colour) {
  const [red, green, blue] = [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140;
}
