// The report: counts with their intervals, as a chart and a table, and how good the detector is.

import { get, Refused } from "./api.js";
import { element, percent, shape } from "./parts.js";

const byId = (id) => document.getElementById(id);
const [WIDTH, ROW, NAMES, NUMBERS] = [760, 28, 160, 160];
const CHARTED = 40; // groups that are drawn; the table has all

function interval(counts) {
  const [expected, low, high] = [counts.expected, counts.low, counts.high].map(Math.round); // objects are whole ones
  return low === high ? `${expected}` : `${expected} (${low} to ${high})`;
}

function draw({ classes, groups }) {
  const counts = groups
    .slice(0, CHARTED)
    .flatMap(({ group, classes: numbers }) => [
      ...(groups.length > 1 ? [{ title: group }] : []),
      ...classes.map((each) => ({ ...each, ...numbers[each.id] })),
    ]);
  const most = Math.max(1, ...counts.map((each) => each.high ?? 0));
  const x = (value) => NAMES + (value / most) * (WIDTH - NAMES - NUMBERS);
  byId("chart").setAttribute("viewBox", `0 0 ${WIDTH} ${Math.max(1, counts.length) * ROW}`);
  byId("chart").replaceChildren(
    ...counts.flatMap((each, row) => {
      const [top, middle] = [row * ROW + 4, row * ROW + ROW / 2];
      if (each.title) return [shape("text", { x: 0, y: middle + 4, class: "group" }, each.title)];
      return [
        shape("text", { x: 0, y: middle + 4 }, each.name.slice(0, 24)),
        shape("rect", { x: NAMES, y: top, width: x(each.expected) - NAMES, height: ROW - 8, fill: each.colour }),
        shape("path", { d: `M${x(each.low)} ${middle}H${x(each.high)}`, stroke: "currentColor", "stroke-width": 2 }),
        shape("text", { x: x(each.high) + 8, y: middle + 4 }, interval(each)),
      ];
    }),
  );
}

// What the numbers leave out, as far as it is known.
function limits(unseen) {
  const images = unseen === 1 ? "1 image" : `${unseen} images`;
  byId("limits").hidden = !unseen;
  byId("limits").textContent = `The detector has not looked at ${images} yet: only boxes of a person count there.`;
}

function fill({ classes, groups, quality, complete, folder, unseen }) {
  limits(unseen);
  byId("title").textContent = `Objects in ${folder}`;
  byId("facts").textContent =
    `${groups[0].images} images, ${complete} of them complete. ${new Date().toLocaleDateString()}`;
  const cells = (texts) => texts.map((text) => element("td", { class: "number" }, text));
  byId("counts").tHead.replaceChildren(
    element(
      "tr",
      {},
      element("th", {}, "Group"),
      element("th", { class: "number" }, "Images"),
      ...classes.map((each) => element("th", { class: "number" }, each.name)),
    ),
  );
  byId("counts").tBodies[0].replaceChildren(
    ...groups.map((group) =>
      element(
        "tr",
        {},
        element("td", {}, group.group),
        ...cells([`${group.images}`, ...classes.map((each) => interval(group.classes[each.id]))]),
      ),
    ),
  );
  byId("quality").hidden = !quality.length;
  byId("quality-text").textContent = quality.length
    ? "On images that the detector did not learn from; how many boxes they hold is the last column."
    : "Not measured yet: label two images, and press Measure in the studio.";
  byId("quality").tBodies[0].replaceChildren(
    ...quality.map((row) =>
      element(
        "tr",
        {},
        element("td", {}, row.name),
        ...cells([percent(row.precision), percent(row.recall), `${row.objects}`]),
      ),
    ),
  );
}

async function count() {
  const query = `?groups=${encodeURIComponent(byId("groups").value.trim())}`;
  try {
    const report = await get(`api/report${query}`);
    draw(report);
    fill(report);
    byId("problem").hidden = true;
    byId("csv").href = `api/export/report${query}`;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    byId("problem").textContent = error.message;
    byId("problem").hidden = false;
  }
}

byId("print").addEventListener("click", () => print());
byId("group-form").addEventListener("submit", (event) => {
  event.preventDefault();
  count();
});
await count();
