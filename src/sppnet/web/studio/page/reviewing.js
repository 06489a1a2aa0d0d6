// Is it good, and what next: the learning curve, and the places where labels and detector disagree.

import { change, choose, show } from "./actions.js";
import { get } from "./api.js";
import { gain } from "./curve.js";
import { classOf, model, nameOf, on } from "./model.js";
import { element, icon, percent, replaceChildren, shape, swatch } from "./parts.js";
import { say } from "./saying.js";
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
  byId("curve-text").textContent =
    `Precision and recall together ${percent(f1)} (F1), having learnt from ${images} images. ${foretold(more)}`;
}

function foretold(more) {
  if (more === null) return "What ten more would bring is not known yet.";
  return more < 0.01 ? "Ten more would change little." : `Ten more may bring ${percent(more)}.`;
}

// Errors, class by class: which are listed is chosen by the table of their counts.

const KINDS = ["missed", "false", "confused", "misplaced"];
const WORDS = {
  missed: () => "boxed, but not found",
  false: () => "found, but not boxed",
  confused: ({ other }) => `boxed as ${nameOf(other)}`,
  misplaced: () => "found in another place",
};

let asked = { kind: null, label: null }; // what is listed; null is all

let looked = null; // the row whose place is shown

async function open(row) {
  looked = row;
  await show(row.image);
  const box = model.boxes.find((each) => each.edges.every((edge, place) => edge === row.edges[place]));
  choose(box ? { box: box.id } : null);
  showPlace(row);
}

// What makes the label as the detector has it.
const MENDS = {
  missed: { icon: "bin", says: () => "Remove the box", change: ({ box }) => ({ do: "remove", box }) },
  false: {
    icon: "yes",
    says: ({ label }) => `Box it as ${nameOf(label)}`,
    change: ({ image, label, edges }) => ({ do: "add", image, label, edges }),
  },
  confused: {
    icon: "yes",
    says: ({ label }) => `Make it ${nameOf(label)}`,
    change: ({ box, label }) => ({ do: "edit", box, label }),
  },
  misplaced: {
    icon: "yes",
    says: () => "Move the box there",
    change: ({ box, edges }) => ({ do: "edit", box, edges }),
  },
};

// Nothing is changed that was not looked at: the first click on another row only shows it.
async function mend(row) {
  if (looked !== row || model.open !== row.image) return open(row);
  const { says, change: made } = MENDS[row.kind];
  if (!(await change(says(row), [made(row)], row.image))) return;
  say(`Done: ${says(row)}. Z takes it back.`);
  await review(asked);
}

function mending(row, place) {
  const { icon: which, says } = MENDS[row.kind];
  const text = `${says(row)}, as the detector has it`;
  const button = element(
    "button",
    {
      type: "button",
      class: `icon plain ${which === "yes" ? "yes" : ""}`,
      id: `mend-${place}`,
      title: text,
      "aria-label": text,
    },
    icon(which),
  );
  button.addEventListener("click", () => mend(row));
  return button;
}

function errorRow(row, place) {
  const picking = element("button", { type: "button", class: "pick", id: `error-${place}`, title: row.name });
  picking.append(
    swatch(classOf(row.label)?.colour ?? "gray"),
    element("span", {}, nameOf(row.label)),
    element("span", { class: "where" }, WORDS[row.kind](row)),
  );
  picking.addEventListener("click", () => open(row));
  return element("li", { class: "box" }, picking, mending(row, place));
}

// A number of the table lists what it counts.
function countCell(counts, kind, label, name) {
  const fits = (each) => (kind === null || each.kind === kind) && (label === null || each.label === label);
  const number = counts.filter(fits).reduce((total, each) => total + each.number, 0);
  const chosen = asked.kind === kind && asked.label === label;
  const button = element(
    "button",
    {
      type: "button",
      class: "plain number",
      id: `errors-${kind ?? "all"}-${label ?? "all"}`,
      "aria-pressed": chosen,
      "aria-label": `${number} ${name}, ${kind ?? "all errors"}`,
      disabled: !number && !chosen,
    },
    `${number}`,
  );
  button.addEventListener("click", () => review({ kind, label }));
  return element("td", { class: "number" }, button);
}

function renderCounts(counts) {
  const classes = [...model.classes.map(({ id, name }) => ({ id, name })), { id: null, name: "All" }];
  const focused = document.activeElement?.id;
  byId("errors").hidden = !counts.length;
  byId("errors").tBodies[0].replaceChildren(
    ...classes.map(({ id, name }) =>
      element(
        "tr",
        {},
        element("th", { scope: "row", title: name }, name),
        ...KINDS.map((kind) => countCell(counts, kind, id, name)),
        countCell(counts, null, id, name),
      ),
    ),
  );
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

async function review(wanted) {
  asked = wanted;
  const query = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value !== null));
  const { counts, rows, looked_at, held_out, waiting } = await get(`api/review?${query}`);
  renderCounts(counts);
  const total = counts
    .filter((each) => [null, each.kind].includes(wanted.kind) && [null, each.label].includes(wanted.label))
    .reduce((all, each) => all + each.number, 0);
  const which = `${wanted.label === null ? "" : `${nameOf(wanted.label)}, `}${wanted.kind ?? "all"}`;
  const listed = rows.length < total ? `the first ${rows.length} of ${total}` : `${total}`;
  const more = waiting ? ` ${waiting} more ${waiting === 1 ? "is" : "are"} not looked at yet.` : "";
  const judged = looked_at
    ? ` Of ${looked_at} complete images, ${held_out} were looked at by a detector that had not learnt from them.${more}`
    : "";
  byId("review-text").textContent = counts.length
    ? `Listed: ${which}, ${listed}, the surest first. A click shows the place; where the detector is right, the sign beside it mends the label.${judged}`
    : looked_at
      ? `No disagreement in complete images.${judged}`
      : "The detector has looked at no complete image yet.";
  replaceChildren(byId("disagreements"), rows.map(errorRow));
}

byId("review").addEventListener("click", () => review({ kind: null, label: null }));

on("quality", renderCurve);
