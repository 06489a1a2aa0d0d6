// What a person can do. Each is one request; the page shows what the answer says.

import { get, post, Refused } from "./api.js";
import { isLabelled } from "./catalogue.js";
import { moved, nearlySame, shift } from "./edges.js";
import {
  chosenBox,
  chosenBoxes,
  chosenSuggestion,
  isGuess,
  model,
  nameOf,
  objects,
  openAnew,
  openImage,
  shownSuggestions,
  takeIn,
  tell,
} from "./model.js";
import { ask, say, worked } from "./saying.js";
import { acceptable } from "./shown.js";

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

export const change = (what, changes, image = model.open) =>
  inTurn(async () => {
    const answer = await post("api/changes", { what, changes, image });
    worked();
    takeIn(answer);
    return answer;
  });

export async function refresh() {
  const state = await get("api/state");
  const before = state.folder === model.folder ? openImage() : null;
  model.images.clear();
  model.revision = state.revision;
  takeIn(state);
  if (model.images.has(model.open)) await show(model.open, { again: true });
  else {
    model.open = null;
    if (before) await gone(before);
  }
}

// The open image went away: another one of its name took its place, or there is none.
async function gone(image) {
  const other = [...model.images.images.values()].find(({ name }) => name === image.name);
  if (other) return show(other.id);
  const labels = isLabelled(image) ? " Its labels come back with it." : "";
  return say(`${image.name} is no longer in the folder.${labels}`, { bad: true, fails: false });
}

const seen = []; // images that were open before, the last one last

export function show(image, { again = false } = {}) {
  if (!again) {
    if (model.open !== null && model.open !== image) seen.push(model.open);
    openAnew(image);
    localStorage.setItem(`sppnet-open ${model.folder}`, image);
    tell("open", "chosen");
  } else {
    model.round = 0;
  }
  return inTurn(async () => {
    if (model.open === image) takeIn({ opened: await get(`api/images/${image}`) });
  });
}

export function showBefore() {
  while (seen.length) {
    const image = seen.pop();
    if (!model.images.has(image) || image === model.open) continue;
    model.open = null;
    return show(image);
  }
  return null;
}

// The image whose labels would help most, of those that nobody has done or has open.
export const showNext = () =>
  inTurn(async () => {
    const { image } = await post("api/next", { image: model.open });
    if (image !== null) show(image);
    else if (model.images.size) say("Every image is complete.");
    return image;
  });

export async function lookAgain() {
  const image = model.open;
  if (image === null) return;
  try {
    takeIn({ opened: await get(`api/images/${image}`) });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
  }
}

export function choose(chosen, { also = false } = {}) {
  if (!also) model.also = new Set();
  else if (model.chosen?.box) model.also.add(model.chosen.box);
  model.chosen = chosen;
  tell("chosen");
}

export function chooseAll() {
  const [first, ...rest] = objects();
  if (!first) return;
  model.also = new Set(rest.map((box) => box.id));
  model.chosen = { box: first.id };
  tell("chosen");
}

export function hide(what) {
  model.hides[what] = !model.hides[what];
  tell("open", "chosen");
}

// Boxes

// An image that cannot be read shows nothing that a box could be drawn around.
export function isDrawable() {
  if (!openImage()?.fault) return Boolean(openImage());
  say("This image cannot be read: no box can be drawn in it.", { bad: true });
  return false;
}

export async function addBox(edges, { label = model.label, image = model.open } = {}) {
  const twin = image === model.open && objects().find((box) => box.label === label && nearlySame(box.edges, edges));
  if (twin) {
    say("There is such a box already.");
    return choose({ box: twin.id });
  }
  const drawn = { image, label, edges };
  model.drawn = [...model.drawn, drawn];
  const answer = await change(`Draw a ${nameOf(label)}`, [{ do: "add", image, label, edges }], image);
  model.drawn = model.drawn.filter((each) => each !== drawn);
  if (answer && model.open === image) choose({ box: answer.added[0] });
  tell("chosen");
  return answer;
}

const several = (number) => (number === 1 ? "a box" : `${number} boxes`);

// Moves boxes, or resizes them; `edges` holds by their ids where they are to lie.
export async function moveBoxes(edges, image = model.open) {
  const resized = model.boxes.filter((box) => box.outline && edges.has(box.id) && !shift(box.edges, edges.get(box.id)));
  const answer = await change(
    `Move ${several(edges.size)}`,
    [...edges].map(([box, to]) => ({ do: "edit", box, edges: to })),
    image,
  );
  if (answer && resized.length) say("The outline no longer fits and is left out. Z brings it back.", { bad: true });
  return answer;
}

export function removeBoxes(boxes) {
  const isRejection = boxes.length === 1 && boxes[0].kind === "rejected";
  return change(
    isRejection ? "Take a rejection back" : `Remove ${several(boxes.length)}`,
    boxes.map((box) => ({ do: "remove", box: box.id })),
  );
}

export function toggleFlag(flag) {
  const boxes = chosenBoxes().filter((box) => box.kind === "object");
  if (!boxes.length) return null;
  const on = !boxes[0][flag];
  return change(
    `Mark ${several(boxes.length)} ${on ? "" : "not "}${flag}`,
    boxes.map((box) => ({ do: "edit", box: box.id, [flag]: on })),
  );
}

export const noteOnBox = (box, note) => change("Write a note", [{ do: "edit", box, note }]);

export const noteOnImage = (note) => change("Write a note", [{ do: "note", image: model.open, note }]);

let copied = []; // {label, edges, difficult, crowd}

const copyOf = ({ label, edges, difficult, crowd }) => ({
  label,
  edges,
  difficult: Boolean(difficult),
  crowd: Boolean(crowd),
});

export function copy() {
  const boxes = chosenBoxes();
  copied = (boxes.length ? boxes : objects()).map(copyOf);
  if (copied.length) say(`Copied ${several(copied.length)}.`);
}

export const paste = () => addBoxes(copied, `Paste ${several(copied.length)}`);

export const duplicate = () => addBoxes(chosenBoxes().map(copyOf), `Duplicate ${several(chosenBoxes().length)}`);

const ASIDE = 8; // pixels

// Boxes moved aside, as far as there are none of these yet.
function besideOthers(boxes, image) {
  const isThere = (box) => objects().some((each) => each.label === box.label && nearlySame(each.edges, box.edges));
  let free = boxes;
  for (let far = ASIDE; free.some(isThere) && far < image.width; far += ASIDE)
    free = boxes.map((box) => ({ ...box, edges: moved(box.edges, far, far, image) }));
  return free;
}

async function addBoxes(boxes, what) {
  const image = openImage();
  if (!isDrawable()) return;
  const within = boxes.filter(({ edges: [left, top] }) => left < image.width && top < image.height);
  const inside = besideOthers(within, image);
  if (!inside.length) return;
  const answer = await change(
    what,
    inside.map((box) => ({ do: "add", image: image.id, ...box })),
  );
  if (!answer) return;
  model.also = new Set(answer.added.slice(1));
  model.chosen = { box: answer.added[0] };
  tell("chosen");
}

// Suggestions

const answerTo = (suggestion, kind, image = model.open) => ({
  do: "add",
  image,
  label: suggestion.label,
  edges: suggestion.edges,
  kind,
});

function answer(suggestion, kind, what, label = suggestion.label) {
  const rest = shownSuggestions();
  const place = rest.indexOf(suggestion);
  const next = rest[place + 1] ?? rest[place - 1];
  model.suggestions = model.suggestions.filter((each) => each !== suggestion);
  model.boxes = [...model.boxes, { ...suggestion, label, kind, id: -model.boxes.length - 1 }];
  model.chosen = next ? { suggestion: next.edges } : null;
  tell("open", "chosen");
  return change(what, [{ ...answerTo(suggestion, kind), label }]);
}

export const accept = (suggestion, label = suggestion.label) =>
  answer(suggestion, "object", `Accept a ${nameOf(label)}`, label);

export const reject = (suggestion) => answer(suggestion, "rejected", `Reject a ${nameOf(suggestion.label)}`);

const counting = () => shownSuggestions().filter((each) => !isGuess(each));

export async function acceptAll() {
  const open = counting();
  const all = acceptable(open);
  if (!all.length) return;
  const answer = await change(
    `Accept ${all.length} suggestions`,
    all.map((each) => answerTo(each, "object")),
  );
  const doubled = open.length - all.length;
  if (answer && doubled)
    say(`${all.length} accepted. ${twice(doubled)} on the same object as another class: the surer counts.`);
}

const twice = (doubled) => (doubled === 1 ? "One more lay" : `${doubled} more lay`);

export function rejectRest() {
  const all = shownSuggestions();
  if (all.length)
    change(
      `Reject ${all.length} suggestions`,
      all.map((each) => answerTo(each, "rejected")),
    );
}

// What a person points to when more of it is to be found: a box or a suggestion.
export function chosenForLike() {
  const box = chosenBox();
  return chosenSuggestion() ?? (box?.kind === "object" ? box : null);
}

// Has places in other images, {image, edges}, suggested there.
export const suggestPlaces = (places, label) =>
  change(
    `Suggest ${places.length} of ${nameOf(label)}`,
    places.map(({ image, edges }) => ({ do: "suggest", image, label, edges })),
    null,
  );

// A key answers the chosen suggestion; where none is chosen, it chooses the most certain one.
export function answerChosen(kind) {
  const suggestion = chosenSuggestion();
  if (suggestion) return kind === "object" ? accept(suggestion) : reject(suggestion);
  if (kind === "rejected" && chosenBox()) return removeBoxes(chosenBoxes());
  const [first] = shownSuggestions();
  if (first) choose({ suggestion: first.edges });
  return null;
}

// Images

let always = null; // what is done with open suggestions, once a person has chosen it for all that follow

export const acceptsAtDone = () => always;

export function askAtDone() {
  always = null;
  tell("status");
}

export async function setComplete(complete) {
  const image = openImage();
  if (!image || image.fault) return null;
  const accepted = complete ? await acceptedFirst() : [];
  if (accepted === null) return null;
  const answers = accepted.map((each) => answerTo(each, "object", image.id));
  const changes = [...answers, { do: "complete", image: image.id, complete }];
  return change(complete ? "Image complete" : "Image not complete", changes, image.id);
}

// What becomes of the labels of the image that this file replaced.
export const takeOver = (keep) =>
  change(keep ? "Keep the old labels" : "Clear the old labels", [{ do: "take over", image: model.open, keep }]);

export const toggleComplete = () => setComplete(!openImage()?.complete);

// Completing makes background of all that has no box: what is still suggested is asked about first. Guesses are not, as
// they lie below the threshold.
async function acceptedFirst() {
  const open = acceptable(counting());
  if (!open.length) return [];
  if (always) return always === "accept" ? open : [];
  const one = open.length === 1;
  model.asked = model.suggestions; // these are counted, shown and accepted, whatever is found while a person decides
  const answered = await ask(
    "Is this image complete?",
    `${open.length} ${one ? "suggestion is" : "suggestions are"} not answered. Whatever has no box counts as background.`,
    [
      { name: `Accept ${one ? "it" : `all ${open.length}`}, reject the rest`, value: "accept", style: "first" },
      { name: one ? "It is wrong" : "They are all wrong", value: "reject" },
      { name: "Go back", value: null },
    ],
    { always: "Do the same from now on" },
  );
  model.asked = null;
  lookAgain();
  if (answered.value === null) return null;
  if (answered.always) always = answered.value;
  return answered.value === "accept" ? open : [];
}

// One key for an image that is done: complete, and on to the next most useful one. One that cannot be read is passed over.
export async function done() {
  const image = openImage();
  if (!image?.fault && !image?.complete && !(await setComplete(true))) return;
  await showNext();
}

// Classes

let choices = 0;

// The new class is chosen, unless another one was while the studio answered.
export async function addClass(name) {
  choices += 1;
  const mine = choices;
  const added = await change(`Add the class ${name}`, [{ do: "add class", name }]);
  if (added && mine === choices) chooseClass(added.added[0]);
  return added;
}

export const editClass = (label, edits) =>
  change(`Change the class ${nameOf(label)}`, [{ do: "edit class", label, ...edits }]);

export async function mergeClass(label, into) {
  const question = `All ${model.images.totals.objects[label] ?? 0} boxes of ${nameOf(label)} become ${nameOf(into)}.`;
  const { value } = await ask("Merge the classes?", question, [
    { name: "Merge", value: true, style: "first" },
    { name: "Cancel", value: null },
  ]);
  if (value) change(`Merge ${nameOf(label)} into ${nameOf(into)}`, [{ do: "merge class", label, into }]);
}

export async function removeClass(label) {
  const number = model.images.totals.objects[label] ?? 0;
  const boxes = `${number} ${number === 1 ? "box" : "boxes"}`;
  const images = [...model.images.images.values()].filter((image) => image.objects[label]).length;
  const question = number
    ? `Its ${boxes} in ${images} ${images === 1 ? "image" : "images"} are removed too.`
    : "No box is of this class.";
  const answers = [
    { name: number ? `Remove it and ${boxes}` : "Remove it", value: true, style: "bad" },
    { name: "Cancel", value: null },
  ];
  const { value } = await ask(`Remove the class ${nameOf(label)}?`, question, answers);
  if (value) change(`Remove the class ${nameOf(label)}`, [{ do: "remove class", label }]);
}

// Chooses what is drawn next. Of chosen boxes it changes the class; a chosen suggestion gets it and is accepted.
export function chooseClass(label) {
  choices += 1;
  model.label = label;
  const suggestion = chosenSuggestion();
  const boxes = chosenBoxes().filter((box) => box.kind === "object" && box.label !== label);
  if (suggestion) accept(suggestion, label);
  else if (boxes.length)
    change(
      `Make ${boxes.length === 1 ? "it" : "them"} a ${nameOf(label)}`,
      boxes.map((box) => ({ do: "edit", box: box.id, label })),
    );
  tell("classes");
}

// Steps and settings

export const turn = (way) =>
  inTurn(async () => {
    const answer = await post(`api/${way}`);
    worked();
    const elsewhere = answer.image && answer.image !== model.open;
    if (elsewhere) {
      openAnew(answer.image);
      tell("chosen");
    }
    takeIn(answer);
    tell("open", "images", "chosen");
    const where = elsewhere ? ` In ${openImage()?.name}, which is open now.` : "";
    if (!answer.what) say(`There is nothing to ${way === "undo" ? "undo" : "do again"}.`);
    else say(`${way === "undo" ? "Undone" : "Done again"}: ${answer.what}.${where}`);
  });

export const teach = () => inTurn(async () => takeIn({ status: await post("api/teach") }));

export const measure = () => inTurn(async () => takeIn({ status: await post("api/measure") }));

// Has the network tuned, or what was begun of it stopped, gone on with, or taken back.
export const tune = (wish) => inTurn(async () => takeIn({ tuning: await post("api/tuning", { do: wish }) }));

export const signOut = () =>
  inTurn(async () => {
    await post("api/logout");
    location.reload();
  });

export const keep = (settings) => inTurn(async () => takeIn(await post("api/settings", settings)));

// Takes in what was brought, and looks at the open image again, which it may concern.
export const takeImport = (asked) =>
  inTurn(async () => {
    const answer = await post("api/imports/take", asked);
    takeIn(answer);
    if (model.open !== null) takeIn({ opened: await get(`api/images/${model.open}`) });
    tell("open", "images", "chosen");
    return answer;
  });

export const refreshQuality = () => inTurn(async () => takeIn({ quality: await get("api/quality") }));
