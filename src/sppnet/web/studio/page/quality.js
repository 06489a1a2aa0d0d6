// The panel's other side: how scores spread and where the threshold lies, precision and recall, counts.

import { keep, measure, show } from "./actions.js";
import { classOf, colourOf, model, on, tell } from "./model.js";
import { element, shape } from "./parts.js";

const byId = (id) => document.getElementById(id);
const chart = byId("histogram");
const slider = byId("threshold");
const [WIDTH, HEIGHT] = [288, 120];
let waits = null;

function renderHistogram() {
  const { counts, from, step } = model.quality.histogram;
  const classes = model.classes.filter((each) => counts[each.id]);
  const bins = classes.length ? counts[classes[0].id].length : 0;
  chart.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  chart.setAttribute("preserveAspectRatio", "none");
  const totals = Array.from({ length: bins }, (_, bin) => classes.reduce((all, each) => all + counts[each.id][bin], 0));
  const most = Math.max(1, ...totals);
  const wide = WIDTH / Math.max(1, bins);
  const bars = totals.flatMap((_, bin) => {
    let top = HEIGHT;
    return classes.map((each) => {
      // Square roots, so that a few certain detections are seen beside a thousand doubtful ones.
      const tall = (Math.sqrt(totals[bin] / most) * (HEIGHT - 12) * counts[each.id][bin]) / Math.max(1, totals[bin]);
      top -= tall;
      const weak = from + (bin + 0.5) * step < model.threshold;
      return shape("rect", { x: bin * wide + 0.5, y: top, width: wide - 1, height: tall, fill: colourOf(each.id), opacity: weak ? 0.35 : 1 });
    });
  });
  const at = bins ? ((model.threshold - from) / step) * wide : 0;
  const line = shape("rect", { x: at - 1, y: 0, width: 2, height: HEIGHT, fill: "currentColor" });
  chart.replaceChildren(...bars, ...(bins ? [line] : []));
  slider.min = from ?? -1.2;
  slider.max = (from ?? -1.2) + (step ?? 0.1) * (bins || 36);
  slider.step = 0.05;
  if (document.activeElement !== slider) slider.value = model.threshold;
  const above = [...model.images.values()].flatMap((image) => Object.values(image.found)).reduce((all, n) => all + n, 0);
  byId("threshold-text").textContent = `Threshold ${model.threshold.toFixed(2)}: ${above} found beside your boxes.`;
  slider.setAttribute("aria-valuetext", byId("threshold-text").textContent);
}

// The open image follows at once, the counts of all as soon as the hand rests.
slider.addEventListener("input", () => {
  model.threshold = Number(slider.value);
  tell("status", "quality");
  clearTimeout(waits);
  waits = setTimeout(() => keep({ threshold: Number(slider.value) }), 120);
});

const percent = (share) => (share === null ? "–" : `${Math.round(share * 100)} %`);

function renderMeasured() {
  const rows = model.quality.measured;
  byId("measured").hidden = !rows.length;
  byId("measure").disabled = !model.status.taught;
  byId("measured").tBodies[0].replaceChildren(
    ...rows.map((row) => element("tr", {}, element("td", {}, row.name), ...[percent(row.precision), percent(row.recall), `${row.objects}`].map((text) => element("td", { class: "number" }, text)))),
  );
}

function renderCounts() {
  if (byId("quality").hidden) return;
  const head = element("tr", {}, element("th", {}, "Image"), ...model.classes.map((each) => element("th", { class: "number" }, each.name)));
  const counted = (image, id) => (image.objects[id] ?? 0) + (image.found[id] ?? 0);
  const images = [...model.images.values()].filter((image) => !image.fault);
  const all = element("tr", {}, element("th", {}, "All"), ...model.classes.map((each) => element("th", { class: "number" }, `${images.reduce((sum, image) => sum + counted(image, each.id), 0)}`)));
  const rows = images.map((image) => {
    const link = element("a", { href: `#${image.id}` }, image.name.split("/").at(-1));
    link.addEventListener("click", (event) => {
      event.preventDefault();
      show(image.id);
    });
    return element("tr", {}, element("td", {}, link), ...model.classes.map((each) => element("td", { class: "number" }, `${counted(image, each.id)}`)));
  });
  byId("counts").tHead.replaceChildren(head, all);
  byId("counts").tBodies[0].replaceChildren(...rows);
}

byId("measure").addEventListener("click", () => {
  byId("measured-text").textContent = "Measuring…";
  measure();
});

export function measured() {
  byId("measured-text").textContent = "By cross-validation: each labelled image is judged by a detector that did not learn from it.";
}

// Tabs

const tabs = [byId("tab-objects"), byId("tab-quality")];

function chooseTab(chosen) {
  for (const tab of tabs) {
    const open = tab === chosen;
    tab.setAttribute("aria-selected", open);
    tab.tabIndex = open ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !open;
  }
  renderCounts();
}

for (const tab of tabs) {
  tab.addEventListener("click", () => chooseTab(tab));
  tab.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const other = tabs[1 - tabs.indexOf(tab)];
    chooseTab(other);
    other.focus();
  });
}

on("quality status images classes", renderHistogram);
on("quality status", renderMeasured);
on("images classes", renderCounts);
