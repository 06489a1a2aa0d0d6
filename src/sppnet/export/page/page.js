// One page, one model, no server behind it: an image is read, shown to the model, and drawn with what was found.

import * as ort from "./runtime/ort.wasm.min.mjs";

const COLOURS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000"];
const MOST_ROWS = 200;

const part = (name) => document.querySelector(name);
const [status, file, drop, shown, table] = ["#status", "#file", "#drop", "#shown", "table"].map(part);

ort.env.wasm.wasmPaths = new URL("./runtime/", import.meta.url).href;
ort.env.wasm.numThreads = self.crossOriginIsolated ? 0 : 1;

let labels, session;
try {
  labels = await (await fetch("labels.json")).json();
  session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
  file.disabled = false;
  const names = labels.classes.slice(0, 8).join(", ");
  status.textContent = `Ready: knows ${names}${labels.classes.length > 8 ? " ..." : ""}.`;
} catch (error) {
  status.textContent = `The model could not be loaded: ${error.message}`;
  throw error;
}

/** Draw an image file upright, over white, and return its pixels as the model takes them: RGB, row by row. */
async function pixels(blob) {
  const image = await createImageBitmap(blob, { imageOrientation: "from-image" });
  [shown.width, shown.height] = [image.width, image.height];
  const pen = shown.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "white";
  pen.fillRect(0, 0, image.width, image.height);
  pen.drawImage(image, 0, 0);
  const { data } = pen.getImageData(0, 0, image.width, image.height);
  const rgb = new Uint8Array((data.length / 4) * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    rgb[to++] = data[from];
    rgb[to++] = data[from + 1];
    rgb[to++] = data[from + 2];
  }
  return new ort.Tensor("uint8", rgb, [image.height, image.width, 3]);
}

/** Return what the model finds: class, confidence or score, and for detectors the box. */
async function answer(image) {
  const given = await session.run({ image });
  if (labels.kind === "detector") {
    return Array.from(given.labels.data, (label, row) => ({
      label: Number(label),
      sure: given.confidence.data[row],
      box: Array.from(given.boxes.data.subarray(4 * row, 4 * row + 4)),
    }));
  }
  const scored = Array.from(given.scores.data, (sure, label) => ({ label, sure, box: null }));
  return scored.sort((first, second) => second.sure - first.sure).slice(0, 5);
}

/** Draw boxes on the image, the most certain on top. */
function draw(found) {
  const pen = shown.getContext("2d");
  pen.lineWidth = Math.max(2, shown.width / 300);
  for (const { label, box } of found.filter((each) => each.box).reverse()) {
    const [left, top, right, bottom] = box;
    pen.strokeStyle = COLOURS[label % COLOURS.length];
    pen.strokeRect(left, top, right - left, bottom - top);
  }
}

/** List what was found, one row each. */
function list(found) {
  const rows = found.slice(0, MOST_ROWS).map(({ label, sure, box }) => {
    const row = document.createElement("tr");
    for (const text of [
      labels.classes[label],
      sure.toFixed(3),
      box ? box.map((edge) => edge.toFixed(1)).join(", ") : "",
    ]) {
      row.insertCell().textContent = text;
    }
    return row;
  });
  table.tBodies[0].replaceChildren(...rows);
}

/** Show the model one file, and tell what came of it. */
async function show(blob) {
  if (!blob) return;
  status.textContent = "Looking ...";
  try {
    const image = await pixels(blob);
    const start = performance.now();
    const found = await answer(image);
    draw(found);
    list(found);
    shown.hidden = table.hidden = false;
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    const unknown = labels.kind === "classifier" && found[0].sure < labels.thresholds[0];
    const count = found.length ? `${found.length} found` : "Nothing found";
    status.textContent = `${unknown ? "None of these" : count} in ${seconds} s.`;
  } catch (error) {
    status.textContent = `This image could not be looked at: ${error.message}`;
  }
}

part("#sure").textContent = labels.kind === "detector" ? "Confidence" : "Score";
file.addEventListener("change", () => show(file.files[0]));
drop.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  show(event.dataTransfer.files[0]);
});
