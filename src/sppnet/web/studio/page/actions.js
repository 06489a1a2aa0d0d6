// What a person can do. Each is one request; the page shows what the answer says.

import { get, post, Refused } from "./api.js";
import { chosenBox, chosenSuggestion, classOf, isGuess, model, openImage, shownSuggestions, takeIn, tell } from "./model.js";
import { say } from "./saying.js";

// Requests follow each other, so that the last answer is the last word.
let queue = Promise.resolve();

function inTurn(work) {
  const done = queue.then(work).catch((error) => {
    if (!(error instanceof Refused)) throw error;
    say(error.message, { bad: true });
    return null;
  });
  queue = done.catch(() => null);
  return done;
}

const change = (what, changes, image = model.open) =>
  inTurn(async () => {
    const answer = await post("/api/changes", { what, changes, image });
    takeIn(answer);
    return answer;
  });

export async function refresh() {
  const state = await get("/api/state");
  model.images.clear();
  model.revision = state.revision;
  takeIn(state);
  if (model.images.has(model.open)) await show(model.open, { again: true });
}

export function show(image, { again = false } = {}) {
  if (!again) Object.assign(model, { open: image, boxes: [], suggestions: [], chosen: null, round: 0 });
  else model.round = 0;
  if (!again) tell("open", "images", "chosen");
  return inTurn(async () => {
    if (model.open === image) takeIn({ opened: await get(`/api/images/${image}`) });
  });
}

export async function lookAgain() {
  const image = model.open;
  if (image === null) return;
  try {
    takeIn({ opened: await get(`/api/images/${image}`) });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
  }
}

export function choose(chosen) {
  model.chosen = chosen;
  tell("chosen");
}

// Boxes

export async function addBox(edges, label = model.label) {
  const answer = await change(`Draw a ${classOf(label).name}`, [{ do: "add", image: model.open, label, edges }]);
  if (answer) choose({ box: answer.added[0] });
  return answer;
}

export const moveBox = (box, edges) => change("Move a box", [{ do: "edit", box, edges }]);

export const relabel = (box, label) => change(`Make it a ${classOf(label).name}`, [{ do: "edit", box, label }]);

export function removeBox(box) {
  return change("Remove a box", [{ do: "remove", box }]);
}

// Suggestions

const answerTo = (suggestion, kind) => ({
  do: "add",
  image: model.open,
  label: suggestion.label,
  edges: suggestion.edges,
  kind,
});

function answer(suggestion, kind, what) {
  const rest = shownSuggestions();
  const place = rest.indexOf(suggestion);
  const next = rest[place + 1] ?? rest[place - 1];
  model.suggestions = model.suggestions.filter((each) => each !== suggestion);
  model.chosen = next ? { suggestion: next.edges } : null;
  tell("open", "chosen");
  return change(what, [answerTo(suggestion, kind)]);
}

export const accept = (suggestion) => answer(suggestion, "object", `Accept a ${classOf(suggestion.label).name}`);

export const reject = (suggestion) => answer(suggestion, "rejected", `Reject a ${classOf(suggestion.label).name}`);

export function acceptAll() {
  const all = shownSuggestions().filter((each) => !isGuess(each));
  if (all.length) change(`Accept ${all.length} suggestions`, all.map((each) => answerTo(each, "object")));
}

// A key answers the chosen suggestion; where none is chosen, it chooses the most certain one.
export function answerChosen(kind) {
  const suggestion = chosenSuggestion();
  if (suggestion) return kind === "object" ? accept(suggestion) : reject(suggestion);
  if (kind === "rejected" && chosenBox()) return removeBox(model.chosen.box);
  const [first] = shownSuggestions();
  if (first) choose({ suggestion: first.edges });
  return null;
}

// Images and classes

export function toggleComplete() {
  const image = openImage();
  if (!image) return null;
  const complete = !image.complete;
  return change(complete ? "Image complete" : "Image not complete", [{ do: "complete", image: image.id, complete }]);
}

export async function addClass(name) {
  const added = await change(`Add the class ${name}`, [{ do: "add class", name }]);
  if (added) chooseClass(added.added[0]);
  return added;
}

export const editClass = (label, name, colour) =>
  change(`Change the class ${classOf(label).name}`, [{ do: "edit class", label, name, colour }]);

export const removeClass = (label) =>
  change(`Remove the class ${classOf(label).name}`, [{ do: "remove class", label }]);

export function chooseClass(label) {
  model.label = label;
  const box = chosenBox();
  if (box && box.kind === "object" && box.label !== label) relabel(box.id, label);
  tell("classes");
}

// Steps and settings

export const turn = (way) =>
  inTurn(async () => {
    const answer = await post(`/api/${way}`);
    if (answer.image && answer.image !== model.open) {
      Object.assign(model, { open: answer.image, boxes: [], suggestions: [], chosen: null, round: 0 });
    }
    takeIn(answer);
    tell("open", "images", "chosen");
    if (answer.what) say(`${way === "undo" ? "Undone" : "Done again"}: ${answer.what}.`);
  });

export const teach = () => inTurn(async () => takeIn({ status: await post("/api/teach") }));

export const measure = () => inTurn(async () => takeIn({ status: await post("/api/measure") }));

export const keep = (settings) => inTurn(async () => takeIn(await post("/api/settings", settings)));
