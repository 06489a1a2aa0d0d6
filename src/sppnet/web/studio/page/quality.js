// The panel's other side: how scores spread and where the threshold lies, precision and recall, counts.

import { keep, measure, refreshQuality, show } from "./actions.js";
import { sum } from "./catalogue.js";
import { colourOf, model, on, tell } from "./model.js";
import { element, percent, shape } from "./parts.js";
import { thresholdOf } from "./shown.js";
import { isOpen } from "./tabs.js";

const byId = (id) => document.getElementById(id);
const chart = byId("histogram");
const slider = byId("threshold");
const [WIDTH, HEIGHT, AXIS, HEAD] = [288, 134, 14, 16];
const JUDGED = byId("measured-text").textContent;
const COUNTED = 200; // images whose counts are listed; the file has them all
let waits = null;

const isShown = () => isOpen("quality");

function renderHistogram() {
  if (!isShown()) return;
  const { counts, step = 0.025 } = model.quality.histogram;
  const classes = model.classes.filter((each) => counts[each.id]);
  const bins = Math.round(1 / step);
  const totals = Array.from({ length: bins }, (_, bin) => classes.reduce((all, each) => all + counts[each.id][bin], 0));
  const highest = Math.max(0, ...totals);
  const most = Math.max(1, highest);
  const wide = WIDTH / bins;
  const bars = totals.flatMap((_, bin) => {
    let top = HEIGHT - AXIS;
    return classes.map((each) => {
      // Logarithms, so that a few certain detections are seen beside thousands of doubtful ones.
      const share = counts[each.id][bin] / Math.max(1, totals[bin]);
      const tall = (Math.log1p(totals[bin]) / Math.log1p(most)) * (HEIGHT - AXIS - HEAD) * share;
      top -= tall;
      const weak = (bin + 0.5) * step < thresholdOf(each.id, model);
      return shape("rect", {
        x: bin * wide + 0.5,
        y: top,
        width: wide - 1,
        height: tall,
        fill: colourOf(each.id),
        opacity: weak ? 0.35 : 1,
      });
    });
  });
  const lines = classes.map((each) => {
    const fill = model.threshold === null ? each.colour : "currentColor";
    return shape("rect", {
      x: thresholdOf(each.id, model) * WIDTH - 1,
      y: HEAD,
      width: 2,
      height: HEIGHT - AXIS - HEAD,
      fill,
    });
  });
  const said = highest
    ? `highest bar: ${highest} found; a bar of half its height: ${Math.round(Math.sqrt(highest + 1) - 1)}`
    : "nothing found yet";
  chart.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  chart.replaceChildren(...bars, ...lines, ...axis(), shape("text", { x: 2, y: 10 }, said));
  Object.assign(slider, { min: 0, max: 1, step: 0.01 });
  if (document.activeElement !== slider || model.threshold === null)
    slider.value = model.threshold ?? mean(classes.map((each) => thresholdOf(each.id, model)));
  const own = classes.map((each) => `${each.name} ${percent(thresholdOf(each.id, model))}`).join(", ");
  const chosen =
    model.threshold === null
      ? `Each class from the threshold that serves it best: ${own}`
      : `Shown from ${percent(model.threshold)} sure`;
  byId("threshold-text").textContent = `${chosen}. ${sum(model.images.totals.found)} found beside your boxes.`;
  byId("automatic").hidden = model.threshold === null;
  slider.setAttribute("aria-valuetext", byId("threshold-text").textContent);
}

const mean = (values) => (values.length ? values.reduce((total, value) => total + value, 0) / values.length : 0.5);

const axis = () =>
  [0, 0.25, 0.5, 0.75, 1].map((value) =>
    shape(
      "text",
      { x: value * WIDTH, y: HEIGHT - 3, "text-anchor": value === 0 ? "start" : value === 1 ? "end" : "middle" },
      percent(value),
    ),
  );

byId("automatic").addEventListener("click", () => keep({ threshold: null }));

// The open image follows at once, the counts of all as soon as the hand rests.
slider.addEventListener("input", () => {
  model.threshold = Number(slider.value);
  tell("limits", "quality");
  clearTimeout(waits);
  waits = setTimeout(() => keep({ threshold: Number(slider.value) }), 120);
});

function renderMeasured() {
  const rows = model.quality.measured;
  byId("measured").hidden = !rows.length;
  byId("measure").disabled = !model.status.taught;
  byId("measured").tBodies[0].replaceChildren(
    ...rows.map((row) =>
      element(
        "tr",
        {},
        element("td", {}, row.name),
        ...[percent(row.precision), percent(row.recall), `${row.objects}`].map((text) =>
          element("td", { class: "number" }, text),
        ),
      ),
    ),
  );
}

function renderCounts() {
  if (!isShown()) return;
  const { totals } = model.images;
  const counted = ({ objects, found }, id) => (objects[id] ?? 0) + (found[id] ?? 0);
  const numbers = (held) =>
    model.classes.map((each) => element("td", { class: "number" }, `${counted(held, each.id)}`));
  const head = element(
    "tr",
    {},
    element("th", {}, "Image"),
    ...model.classes.map((each) => element("th", { class: "number" }, each.name)),
  );
  const all = element("tr", {}, element("th", {}, "All"), ...numbers(totals));
  const ids = model.images.arranged({ sort: "name", passes: (image) => !image.fault });
  const rows = ids.slice(0, COUNTED).map((id) => {
    const image = model.images.get(id);
    const link = element("a", { href: `#${id}` }, image.name.split("/").at(-1));
    link.addEventListener("click", (event) => {
      event.preventDefault();
      show(id);
    });
    return element("tr", {}, element("td", {}, link), ...numbers(image));
  });
  const more =
    ids.length > COUNTED
      ? [
          element(
            "tr",
            {},
            element("td", { colSpan: 1 + model.classes.length }, `and ${ids.length - COUNTED} more: Export has all`),
          ),
        ]
      : [];
  byId("counts").tHead.replaceChildren(head, all);
  byId("counts").tBodies[0].replaceChildren(...rows, ...more);
}

byId("measure").addEventListener("click", () => {
  byId("measured-text").textContent = "Measuring…";
  measure();
});

export function measured() {
  byId("measured-text").textContent = JUDGED;
  refreshQuality();
}

// What concerns all images is asked for only while it is shown, and no more than once a second.
let asked = null;

export function qualityChanged() {
  if (!isShown() || asked) return;
  asked = setTimeout(() => {
    asked = null;
    refreshQuality();
  }, 1000);
}

on("tab", () => {
  if (!isShown()) return;
  tell("quality", "images");
  refreshQuality();
});

let drawing = false;

function soon() {
  if (drawing) return;
  drawing = true;
  setTimeout(() => {
    drawing = false;
    renderHistogram();
    renderCounts();
  }, 200);
}

on("quality status", renderMeasured);
on("quality limits", renderHistogram);
on("images classes", soon);
