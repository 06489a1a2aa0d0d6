// Is it good, and what next: the learning curve, and the places where labels and detector disagree.

import { choose, show } from "./actions.js";
import { get } from "./api.js";
import { gain } from "./curve.js";
import { classOf, model, nameOf, on } from "./model.js";
import { element, percent, shape, swatch } from "./parts.js";
import { showPlace } from "./stage.js";

const byId = (id) => document.getElementById(id);
const [WIDTH, HEIGHT, AXIS] = [288, 90, 14];

function renderCurve() {
  const { curve } = model.quality;
  byId("curve-place").hidden = curve.length < 2;
  if (curve.length < 2) return;
  const most = curve.at(-1)[0];
  const x = (images) => (images / most) * (WIDTH - 8) + 4;
  const y = (f1) => HEIGHT - AXIS - f1 * (HEIGHT - AXIS - 8);
  const points = curve.map(([images, f1]) => `${x(images)},${y(f1)}`).join(" ");
  byId("curve").setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  byId("curve").replaceChildren(
    shape("polyline", { points, fill: "none", stroke: "currentColor", "stroke-width": 2 }),
    ...curve.map(([images, f1]) => shape("circle", { cx: x(images), cy: y(f1), r: 3, fill: "currentColor" })),
    shape("text", { x: 0, y: HEIGHT - 3 }, `${curve[0][0]} images`),
    shape("text", { x: WIDTH, y: HEIGHT - 3, "text-anchor": "end" }, `${most} images`),
  );
  const [images, f1] = curve.at(-1);
  const more = gain(curve, 10);
  const next =
    more === null ? "" : more < 0.01 ? " Ten more would change little." : ` Ten more may bring ${percent(more)}.`;
  byId("curve-text").textContent = `F1 ${percent(f1)} on held-out images, from ${images} labelled.${next}`;
}

const WORDS = {
  missed: "boxed, but not found",
  false: "found, but not boxed",
  confused: "found as another class",
  "badly placed": "found in another place",
};

async function open(row) {
  await show(row.image);
  const box = model.boxes.find((each) => each.edges.every((edge, place) => edge === row.edges[place]));
  choose(box ? { box: box.id } : null);
  showPlace(row);
}

byId("review").addEventListener("click", async () => {
  const rows = await get("api/review");
  byId("review-text").textContent = rows.length
    ? "The surest first. A click shows the place: mend the label where the detector is right."
    : "No disagreement in complete images.";
  byId("disagreements").replaceChildren(
    ...rows.map((row) => {
      const picking = element("button", { type: "button", class: "pick", title: row.name });
      picking.append(
        swatch(classOf(row.label)?.colour ?? "gray"),
        element("span", {}, nameOf(row.label)),
        element("span", { class: "where" }, WORDS[row.kind]),
      );
      picking.addEventListener("click", () => open(row));
      return element("li", { class: "box" }, picking);
    }),
  );
});

on("quality", renderCurve);
