// The page: an image comes in, the service is asked, and what is chosen is explained.

import { ask, Refused, served } from "./asking.js";
import { drawBins, drawBoxes, element, listRows, rowsOf, showLevels, showSum, showTimes, signed } from "./showing.js";

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
};

const model = () => state.models.find(({ name }) => name === at("model").value);

/** The least confidence of a class that is shown: the slider's, or while nobody moved it the one that was learnt. */
const threshold = (name) => state.threshold ?? model().thresholds[model().classes.indexOf(name)];

async function start() {
  try {
    const { models, limits } = await served();
    Object.assign(state, { models, limits });
  } catch (error) {
    tell(reasonOf(error));
    return;
  }
  at("model").replaceChildren(...state.models.map(({ name }) => element("option", { value: name, textContent: name })));
  at("accepted").textContent =
    `JPEG, PNG, WebP, BMP, GIF or TIFF, up to ${Math.round(state.limits.upload_bytes / 1e6)} MB. ` +
    "It goes to this service and nowhere else.";
  turnTo();
}

/** Show what fits the model that is chosen. */
function turnTo() {
  at("threshold-choice").hidden = model().kind !== "detector";
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
}

async function look(image) {
  if (!image || !model()) {
    return;
  }
  state.asked?.abort();
  const asked = new AbortController();
  Object.assign(state, { image, answer: null, chosen: null, asked });
  tell("");
  at("working").hidden = false;
  showImage(image);
  show();
  try {
    if (image.size > state.limits.upload_bytes) {
      throw new Refused(`The image must have at most ${Math.round(state.limits.upload_bytes / 1e6)} MB.`);
    }
    const answer = await ask(model(), image, FLOOR, asked.signal);
    if (state.asked === asked) {
      state.answer = { ...answer, rows: rowsOf(answer, model()) };
      place(answer.width, answer.height);
    }
  } catch (error) {
    if (error.name !== "AbortError") {
      tell(reasonOf(error));
    }
  }
  if (state.asked === asked) {
    at("working").hidden = true;
    show();
  }
}

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

function visible() {
  const { answer } = state;
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
  if (!answer.detections) {
    return size;
  }
  const counts = new Map();
  for (const { name } of rows) {
    counts.set(name, (counts.get(name) || 0) + 1);
  }
  const found =
    [...counts].map(([name, count]) => `${count} ${name}`).join(", ") || "Nothing above the least confidence";
  return `${found}. ${size}`;
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
  at("why-text").textContent = `${what} The score is linear, so each bin adds exactly what is written in it.`;
  showLevels(at("levels"), contribution, state.level, chooseLevel);
  showSum(at("sum"), contribution);
}

at("file").addEventListener("change", ({ target }) => {
  look(target.files[0]);
  target.value = ""; // so that the same file can be chosen again
});
at("model").addEventListener("change", () => {
  turnTo();
  look(state.image);
});
at("threshold").addEventListener("input", ({ target }) => setThreshold(Number(target.value)));
at("threshold-learnt").addEventListener("click", () => setThreshold(null));
at("image").addEventListener("load", ({ target }) => place(target.naturalWidth, target.naturalHeight));
window.addEventListener("resize", () => {
  const { naturalWidth, naturalHeight } = at("image");
  place(state.answer?.width || naturalWidth, state.answer?.height || naturalHeight);
});
document.addEventListener("paste", ({ clipboardData }) => look(clipboardData.files[0]));
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
      look(event.dataTransfer.files[0]);
    }
  });
}

await start();
