// Draws answers: boxes and bins on the image, lists and tables beside it.

const SVG = "http://www.w3.org/2000/svg";
// Okabe and Ito's palette, as sppnet draws: people with any colour vision can tell them apart.
const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"];
const STAGES = ["#8a93a6", "#c3c8d2", "#56b4e9", "#7a8cf0", "#3a55d9", "#2fa37c", "#e69f00", "#e58bc0", "#b0663c"];

export const colourOf = (index) => COLOURS[index % COLOURS.length];

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

export function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  if (text !== undefined) {
    made.textContent = text;
  }
  return made;
}

const rectangle = (box, attributes) =>
  shape("rect", { x: box[0], y: box[1], width: box[2] - box[0], height: box[3] - box[1], ...attributes });

export const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

/** Rows to show: {name, sure, score, box, colour, contribution}; of a classifier the box is the image. */
export function rowsOf(answer, model) {
  const whole = [0, 0, answer.width, answer.height];
  return (answer.detections || answer.best).map((row) => ({
    name: row.class,
    sure: row.confidence ?? row.score,
    score: row.score,
    box: row.box || whole,
    colour: colourOf(model.classes.indexOf(row.class)),
    contribution: row.contribution,
  }));
}

export function drawBoxes(overlay, rows, chosen, onChoose) {
  overlay.replaceChildren();
  overlay.classList.toggle("chosen", chosen !== null);
  // The smallest last, so that none lies unreachable under a larger one.
  const area = ({ box }) => (box[2] - box[0]) * (box[3] - box[1]);
  for (const row of [...rows].sort((a, b) => area(b) - area(a))) {
    const mark = row === chosen ? " this" : "";
    overlay.append(rectangle(row.box, { class: `halo${mark}` }));
    const box = rectangle(row.box, { class: `box${mark}`, stroke: row.colour });
    box.append(shape("title", {}, `${row.name} ${row.sure.toFixed(2)}`));
    box.addEventListener("click", () => onChoose(row));
    overlay.append(box);
  }
}

/** The bins of one level of the chosen row's window, as heat on the image. */
export function drawBins(overlay, contribution, level) {
  const most = strongest(contribution);
  const [start, count] = placeOf(contribution, level);
  for (let index = start; index < start + count; index += 1) {
    const value = contribution.bins[index];
    overlay.append(
      rectangle(contribution.boxes[index], {
        class: `bin ${value < 0 ? "minus" : "plus"}`,
        "fill-opacity": (0.75 * Math.abs(value)) / most,
      }),
    );
  }
}

const strongest = (contribution) => Math.max(...contribution.bins.map(Math.abs), 1e-9);

function placeOf({ levels }, level) {
  const before = levels.slice(0, level).reduce((sum, side) => sum + side * side, 0);
  return [before, levels[level] * levels[level]];
}

/** A level's bins, and of which map where there are several: levels that no longer fall are of the next one. */
function nameOf({ levels }, level) {
  const map = levels.filter((side, index) => index > 0 && index <= level && side >= levels[index - 1]).length;
  return `${levels[level]} × ${levels[level]}${map ? `, map ${map + 1}` : ""}`;
}

export function listRows(list, rows, chosen, onChoose) {
  const focused = [...list.querySelectorAll("button")].indexOf(document.activeElement);
  list.replaceChildren(
    ...rows.map((row) => {
      const dot = element("span", { className: "dot" });
      dot.style.background = row.colour;
      const button = element(
        "button",
        { type: "button" },
        dot,
        element("span", { className: "name", textContent: row.name }),
        element("span", { className: "number", textContent: row.sure.toFixed(2) }),
      );
      button.setAttribute("aria-pressed", String(row === chosen));
      button.addEventListener("click", () => onChoose(row));
      return element("li", {}, button);
    }),
  );
  list.querySelectorAll("button")[focused]?.focus();
}

/** A small map of each level, to choose which one lies on the image. */
export function showLevels(holder, contribution, chosen, onLevel) {
  const most = strongest(contribution);
  const focused = [...holder.children].indexOf(document.activeElement);
  holder.replaceChildren(
    ...contribution.levels.map((side, level) => {
      const [start] = placeOf(contribution, level);
      const map = shape("svg", { viewBox: "0 0 90 90", "aria-hidden": "true" });
      const size = 90 / side;
      for (let index = 0; index < side * side; index += 1) {
        const value = contribution.bins[start + index];
        const [x, y] = [(index % side) * size, Math.floor(index / side) * size];
        const strength = Math.abs(value) / most;
        const kind = value < 0 ? "minus" : "plus";
        map.append(shape("rect", { x, y, width: size, height: size, class: `cell ${kind}`, "fill-opacity": strength }));
        if (side <= 3) {
          const strong = strength > 0.55 ? " strong" : "";
          const text = Math.abs(value) < 10 ? signed(value).slice(0, 4) : signed(value).split(".")[0];
          map.append(shape("text", { x: x + size / 2, y: y + size / 2, class: `cell-text${strong}` }, text));
        }
      }
      const button = element("button", { type: "button", className: "level" }, map, nameOf(contribution, level));
      button.setAttribute("aria-pressed", String(level === chosen));
      button.setAttribute("aria-label", `Show the bins of ${nameOf(contribution, level)} on the image`);
      button.addEventListener("click", () => onLevel(level));
      return button;
    }),
  );
  holder.children[focused]?.focus();
}

export function showSum(table, contribution) {
  const rows = contribution.levels.map((_, level) => {
    const [start, count] = placeOf(contribution, level);
    const sum = contribution.bins.slice(start, start + count).reduce((total, value) => total + value, 0);
    return [`${count} bin${count > 1 ? "s" : ""} of ${nameOf(contribution, level)}`, sum];
  });
  const bias = contribution.bias;
  const total = contribution.bins.reduce((sum, value) => sum + value, bias);
  fill(table, [
    ...rows.map(([name, value]) => [name, signed(value)]),
    ["constant", signed(bias)],
    ["sum", signed(total)],
  ]);
}

function fill(table, rows) {
  table.tBodies[0].replaceChildren(
    ...rows.map(([name, value]) =>
      element(
        "tr",
        {},
        element("td", {}, ...[name].flat()),
        element("td", { className: "number", textContent: value }),
      ),
    ),
  );
}

export function showTimes(bar, table, seconds, whole) {
  const known = Object.values(seconds).reduce((sum, value) => sum + value, 0);
  const stages = [...Object.entries(seconds), ["to the page and back", Math.max(whole - known, 0)]];
  const parts = stages.map(([name, value], index) => [name, value, STAGES[index % STAGES.length]]);
  bar.replaceChildren(
    ...parts.map(([, value, colour]) => {
      const part = element("span");
      part.style.background = colour;
      part.style.flexGrow = String(1e6 * value);
      return part;
    }),
  );
  const rows = parts.map(([name, value, colour]) => {
    const dot = element("span", { className: "dot" });
    dot.style.background = colour;
    return [[dot, name], milliseconds(value)];
  });
  fill(table, [...rows, ["in all", milliseconds(whole)]]);
}

const milliseconds = (seconds) => `${(1000 * seconds).toFixed(1)} ms`;
