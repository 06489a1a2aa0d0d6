// What the page knows. Views listen to "images", "open", "classes", "status", "limits", "quality", "chosen", "order",
// "people", "tuning".

import { Catalogue } from "./catalogue.js";
import { overlap } from "./edges.js";
import { isGuess as guessed, shown } from "./shown.js";

export const model = {
  folder: "",
  problems: [],
  away: "", // why the folder is not where it was
  images: new Catalogue(),
  order: [], // ids, the most useful to label next first
  classes: [], // {id, name, colour, key}
  label: null, // id of the class that is drawn next
  status: {},
  people: [],
  me: "", // who signed in, by the name given with the password
  threshold: null, // the confidence from which a suggestion counts, where a person chose one
  thresholds: {}, // otherwise each class has its own, by id
  by_itself: true,
  undo: "",
  redo: "",
  local: false, // whether paths of the studio's machine may be named
  quality: { histogram: { counts: {} }, measured: [], curve: [] },
  tuning: null, // what goes on of the network's tuning, and what came of it
  open: null, // id of the open image
  boxes: [], // of it: {id, label, kind, edges}
  drawn: [], // boxes on their way to the studio: {image, label, edges}
  suggestions: [], // of it: {label, edges, score}
  asked: null, // those that a person is asked about just now: until the answer no others are shown
  replaced: null, // of it: the image that its file replaced and whose labels are kept aside, {width, height, boxes}
  revision: 0,
  round: 0,
  chosen: null, // {box: id} or {suggestion: its edges}
  also: new Set(), // ids of more boxes that are chosen
  hides: { suggestions: false, boxes: false, names: false },
};

const views = new Map();

export function on(names, view) {
  for (const name of names.split(" ")) views.set(name, [...(views.get(name) ?? []), view]);
}

export function tell(...names) {
  const told = new Set(names.flatMap((name) => views.get(name) ?? []));
  for (const view of told) view();
}

export const classOf = (id) => model.classes.find((each) => each.id === id);

export const nameOf = (id) => classOf(id)?.name ?? "";

export const colourOf = (id) => classOf(id)?.colour ?? "#82899a";

export const openImage = () => model.images.get(model.open);

export const boxed = (label) => model.images.totals.objects[label] ?? 0;

export const isGuess = (suggestion) => guessed(suggestion, model);

export const shownSuggestions = () => shown(model);

export const objects = () => model.boxes.filter((box) => box.kind === "object");

export const chosenBox = () => model.boxes.find((box) => box.id === model.chosen?.box);

// All boxes that are chosen, the one with the handles first.
export const chosenBoxes = () => {
  const first = chosenBox();
  return [...(first ? [first] : []), ...objects().filter((box) => model.also.has(box.id) && box !== first)];
};

export const chosenSuggestion = () =>
  model.chosen?.suggestion && shownSuggestions().find((each) => sameEdges(each.edges, model.chosen.suggestion));

export const sameEdges = (a, b) => a.every((edge, place) => edge === b[place]);

const nothing = () => ({
  replaced: null,
  boxes: [],
  suggestions: [],
  chosen: null,
  also: new Set(),
  round: 0,
});

export const openAnew = (image) => Object.assign(model, nothing(), { open: image });

// What decides which suggestions are shown. Nearly every event tells of the status: what it leaves as it was is not drawn.
const limits = () => JSON.stringify([model.threshold, model.thresholds, model.status.trusted]);

// Takes in an answer or an event; what is not in it stays.
export function takeIn(content) {
  const [changed, before] = [[], limits()];
  for (const name of [
    "folder",
    "problems",
    "away",
    "threshold",
    "thresholds",
    "by_itself",
    "undo",
    "redo",
    "local",
    "me",
    "status",
  ]) {
    if (name in content) {
      model[name] = content[name];
      changed.push("status");
    }
  }
  if (limits() !== before) changed.push("limits");
  if (content.classes) {
    model.classes = content.classes;
    if (!classOf(model.label)) model.label = model.classes[0]?.id ?? null;
    changed.push("classes");
  }
  if (content.images) {
    for (const image of content.images) model.images.set(image);
    changed.push("images");
  }
  for (const name of ["order", "quality", "people", "tuning"]) {
    if (content[name]) {
      model[name] = content[name];
      changed.push(name);
    }
  }
  if (content.opened && takeInOpened(content.opened)) changed.push("open");
  tell(...changed);
}

// An answer that was on its way while a later one came is outdated.
function takeInOpened(opened) {
  const outdated =
    opened.revision < model.revision || (opened.revision === model.revision && opened.round < model.round);
  if (opened.id !== model.open || outdated) return false;
  const { boxes, suggestions, revision, round, replaced } = opened;
  Object.assign(model, { boxes, suggestions: model.asked ?? suggestions, revision, round, replaced });
  const here = new Set(boxes.map((box) => box.id));
  model.also = new Set([...model.also].filter((id) => here.has(id)));
  if (model.chosen?.suggestion) model.chosen = chosenAfter(model.chosen.suggestion);
  else if (!chosenBox()) model.chosen = null;
  return true;
}

// A detector that learnt again places its suggestions a little differently: the choice stays on the same object, or goes
// to the most certain suggestion, so that answering goes on.
function chosenAfter(edges) {
  const now = shownSuggestions();
  const same = now.find((each) => sameEdges(each.edges, edges)) ?? nearest(now, edges) ?? now[0];
  return same ? { suggestion: same.edges } : null;
}

function nearest(suggestions, edges) {
  const overlaps = suggestions.map((each) => overlap(each.edges, edges));
  const most = Math.max(0, ...overlaps);
  return most > 0 ? suggestions[overlaps.indexOf(most)] : undefined;
}
