// The page: an image comes in, the service is asked, and what is chosen is explained.

import { ask, KeyNeeded, keepKey, Refused, served } from "./asking.js";
import { drawBins, drawBoxes, element, listRows, rowsOf, showLevels, showSum, showTimes, signed } from "./showing.js";
import { csvOf } from "./table.js";

const FLOOR = 0; // least confidence that is asked for; the slider hides more
const at = (id) => document.getElementById(id);

const state = {
  models: [],
  limits: null,
  image: null,
  answer: null,
  chosen: null,
  level: 0,
  asked: null,
  threshold: null,
  waiting: [], // images that were given before the models were known
  looked: [], // {image, answer, problem} of all images that were given last, in their order
};

const model = () => state.models.find(({ name }) => name === at("model").value);

/** The least confidence of a class that is shown: the slider's, or while nobody moved it the one that was learnt. */
const threshold = (name) => state.threshold ?? model().thresholds[model().classes.indexOf(name)];

async function start() {
  try {
    const { models, limits } = await served();
    Object.assign(state, { models, limits });
  } catch (error) {
    tell(error instanceof KeyNeeded ? "" : reasonOf(error));
    at("key-form").hidden = !(error instanceof KeyNeeded);
    return;
  }
  at("key-form").hidden = true;
  at("model").replaceChildren(...state.models.map(({ name }) => element("option", { value: name, textContent: name })));
  at("accepted").textContent =
    `JPEG, PNG, WebP, BMP, GIF or TIFF, up to ${Math.round(state.limits.upload_bytes / 1e6)} MB. ` +
    "It goes to this service and nowhere else.";
  turnTo();
  look(state.waiting.splice(0));
}

/** Show what fits the model that is chosen. */
function turnTo() {
  const { kind, classes, untrained, thresholds, exported, sha256, date } = model();
  at("threshold-choice").hidden = kind !== "detector";
  const written = new Date(date).toLocaleString();
  const note = exported ? " It is an export: it does not explain, nor tell what is below its thresholds." : "";
  at("facts").textContent =
    `Knows: ${classes.join(", ")}. Model of ${written}, SHA-256 ${sha256.slice(0, 12)}….${note}`;
  const own = thresholds.filter((_, index) => !untrained.includes(classes[index]));
  at("threshold").min = exported ? Math.ceil(100 * Math.max(...own)) / 100 : 0; // what is less sure did not come
  at("facts").title = sha256;
  setThreshold(null);
}

/** Show what is at least so certain; null shows of each class what the model was learnt to show. */
function setThreshold(value) {
  state.threshold = value;
  at("threshold-value").textContent = value === null ? "as learnt" : value.toFixed(2);
  at("threshold-learnt").hidden = value === null;
  if (state.answer) {
    show();
  }
  listBatch();
}

/** Look at images, one after the other; the first is shown, then whichever is chosen. */
async function look(images) {
  const given = [...images].filter(Boolean);
  if (!given.length) {
    return;
  }
  if (!model()) {
    state.waiting = given;
    return;
  }
  state.asked?.abort();
  const asked = new AbortController();
  const looked = given.map((image) => ({ image, answer: null, problem: "" }));
  Object.assign(state, { asked, looked });
  turn(looked[0]);
  for (const one of looked) {
    await answer(one, asked);
    if (state.asked !== asked) {
      return;
    }
    if (one.image === state.image) {
      turn(one);
    }
    listBatch();
  }
}

async function answer(one, asked) {
  try {
    if (one.image.size > state.limits.upload_bytes) {
      throw new Refused(`The image must have at most ${Math.round(state.limits.upload_bytes / 1e6)} MB.`);
    }
    const answer = await ask(model(), one.image, FLOOR, asked.signal);
    one.answer = { ...answer, rows: rowsOf(answer, model()) };
  } catch (error) {
    one.problem = error.name === "AbortError" ? "" : reasonOf(error);
  }
}

/** Show one of the images that were given. */
function turn(one) {
  if (state.image !== one.image) {
    showImage(one.image);
  }
  Object.assign(state, { image: one.image, answer: one.answer, chosen: null });
  tell(one.problem);
  at("working").hidden = Boolean(one.answer || one.problem);
  if (one.answer) {
    place(one.answer.width, one.answer.height);
  }
  show();
  listBatch();
}

function listBatch() {
  const { looked } = state;
  at("batch").hidden = looked.length < 2;
  const done = looked.filter((one) => one.answer || one.problem).length;
  at("batch-count").textContent = done < looked.length ? `${done} of ${looked.length}` : `${looked.length}`;
  at("save-csv").disabled = at("save-json").disabled = done < looked.length;
  const focused = [...at("batch-list").querySelectorAll("button")].indexOf(document.activeElement);
  at("batch-list").replaceChildren(
    ...looked.map((one) => {
      const name = element("span", { className: "name", textContent: one.image.name || "pasted" });
      const said = one.problem ? "cannot be read" : one.answer ? found(one.answer) : "…";
      const button = element(
        "button",
        { type: "button" },
        name,
        element("span", { className: "soft", textContent: said }),
      );
      button.setAttribute("aria-pressed", String(one.image === state.image));
      button.addEventListener("click", () => turn(one));
      return element("li", {}, button);
    }),
  );
  at("batch-list").querySelectorAll("button")[focused]?.focus();
}

/** What an image shows, as a person would say it: "2 raccoon, 1 cat", or the best class. */
function found(answer) {
  if (!answer.detections) {
    return answer.label;
  }
  const counts = new Map();
  for (const { name } of visible(answer)) {
    counts.set(name, (counts.get(name) || 0) + 1);
  }
  return [...counts].map(([name, count]) => `${count} ${name}`).join(", ") || "nothing";
}

function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Results as they are shown: from the threshold up. */
const results = () =>
  state.looked.map(({ image, answer, problem }) => ({
    image: image.name,
    problem,
    rows: answer ? visible(answer).map(({ name, sure, box }) => ({ class: name, sure, box })) : [],
  }));

const reasonOf = (error) =>
  error instanceof Refused ? error.message : "The service cannot be reached. See whether it still runs.";

function tell(problem) {
  at("problem").textContent = problem;
  at("problem").hidden = !problem;
}

function showImage(image) {
  URL.revokeObjectURL(at("image").src);
  at("image").src = URL.createObjectURL(image);
  at("image").alt = image.name || "the image that was pasted";
  at("drop").hidden = true;
  at("shown").hidden = false;
}

/** Size the figure to the stage, at the image's own aspect. */
function place(width, height) {
  if (!width) {
    return;
  }
  const stage = at("stage");
  const room = Math.max(stage.clientHeight - 32, 240);
  const scale = Math.min((stage.clientWidth - 32) / width, room / height);
  at("shown").style.width = `${Math.floor(width * scale)}px`;
  at("shown").style.height = `${Math.floor(height * scale)}px`;
  at("overlay").setAttribute("viewBox", `0 0 ${width} ${height}`);
}

function choose(row) {
  state.chosen = state.chosen === row ? null : row;
  show();
}

function chooseLevel(level) {
  state.level = level;
  show();
}

function visible(answer = state.answer) {
  return answer.detections ? answer.rows.filter(({ name, sure }) => sure >= threshold(name)) : answer.rows;
}

/** Bring everything in line with the state. */
function show() {
  const { answer } = state;
  for (const id of ["found", "time"]) {
    at(id).hidden = !answer;
  }
  if (!answer) {
    at("overlay").replaceChildren();
    at("why").hidden = true;
    at("summary").textContent = at("working").hidden ? "No answer." : "The image is looked at.";
    return;
  }
  const rows = visible();
  if (!rows.includes(state.chosen)) {
    state.chosen = answer.detections ? null : rows[0];
  }
  at("summary").textContent = summary(answer, rows);
  at("found-title").textContent = answer.detections ? "Found" : "Best classes";
  listRows(at("list"), rows, state.chosen, choose);
  drawBoxes(at("overlay"), answer.detections ? rows : [], state.chosen, choose);
  explain(state.chosen);
  showTimes(at("time-bar"), at("time-table"), answer.seconds, answer.whole);
}

function summary(answer, rows) {
  const size = `${answer.width} × ${answer.height} pixels, ${Math.round(answer.whole * 1000)} ms.`;
  const what = rows.length ? found(answer) : "Nothing that it is so sure of";
  return `${what}. ${size}`;
}

function explain(row) {
  at("why").hidden = !row?.contribution;
  if (!row?.contribution) {
    return;
  }
  const { contribution } = row;
  state.level = Math.min(state.level, contribution.levels.length - 1);
  drawBins(at("overlay"), contribution, state.level);
  const [left, top, right, bottom] = contribution.window;
  const what = state.answer.detections
    ? `${row.name} was scored ${signed(row.score)} in a window of ${right - left} × ${bottom - top} cells of the feature map, then its box was moved.`
    : `${row.name} was scored ${signed(row.score)} in the whole map of ${right - left} × ${bottom - top} cells.`;
  const sure = `${Math.round(row.sure * 100)} %`;
  at("why-plain").textContent =
    `It is ${sure} sure that this is ${row.name}. The coloured parts speak for it, or against it.`;
  at("why-text").textContent = `${what} The score is linear, so each bin adds exactly what is written in it.`;
  showLevels(at("levels"), contribution, state.level, chooseLevel);
  showSum(at("sum"), contribution);
}

at("file").addEventListener("change", ({ target }) => {
  look(target.files);
  target.value = ""; // so that the same file can be chosen again
});
at("model").addEventListener("change", () => {
  turnTo();
  look(state.looked.map((one) => one.image));
});
at("save-csv").addEventListener("click", () => save("results.csv", "text/csv", csvOf(results())));
at("save-json").addEventListener("click", () =>
  save("results.json", "application/json", `${JSON.stringify(results(), null, 1)}\n`),
);
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(at("key").value.trim());
  start();
});
at("threshold").addEventListener("input", ({ target }) => setThreshold(Number(target.value)));
at("threshold-learnt").addEventListener("click", () => setThreshold(null));
at("image").addEventListener("load", ({ target }) => place(target.naturalWidth, target.naturalHeight));
window.addEventListener("resize", () => {
  const { naturalWidth, naturalHeight } = at("image");
  place(state.answer?.width || naturalWidth, state.answer?.height || naturalHeight);
});
document.addEventListener("paste", ({ clipboardData }) => look(clipboardData.files));
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape" && state.chosen && state.answer?.detections) {
    choose(state.chosen);
  }
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("stage").classList.toggle("over", kind === "dragover");
    if (kind === "drop") {
      look(event.dataTransfer.files);
    }
  });
}

await start();
