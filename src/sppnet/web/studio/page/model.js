// What the page knows. Views listen to "all", "images", "open", "classes", "status", "quality", "chosen", "order".

export const model = {
  folder: "",
  problems: [],
  images: new Map(), // id -> what the gallery shows
  order: [], // ids, the most useful to label next first
  classes: [], // {id, name, colour}
  label: null, // id of the class that is drawn next
  status: {},
  threshold: 0,
  by_itself: true,
  undo: "",
  redo: "",
  quality: { histogram: { counts: {} }, measured: [] },
  open: null, // id of the open image
  boxes: [], // of it: {id, label, kind, edges}
  suggestions: [], // of it: {label, edges, score}
  revision: 0,
  round: 0,
  chosen: null, // {box: id} or {suggestion: its edges}
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

export const colourOf = (id) => classOf(id)?.colour ?? "#82899a";

export const openImage = () => model.images.get(model.open);

const FEW = 10; // boxes of a class, from which on the threshold alone decides
const GUESSES = 2;

export const isGuess = (suggestion) => suggestion.score < model.threshold;

// What counts, the best first. A detector that has seen a few boxes scores everything low: until it has seen more, its
// best guesses of a class are shown too, so that there is something to answer.
export function shownSuggestions() {
  const shown = new Map();
  return model.suggestions.filter((each) => {
    const before = shown.get(each.label) ?? 0;
    if (isGuess(each) && (before >= GUESSES || boxed(each.label) >= FEW)) return false;
    shown.set(each.label, before + 1);
    return true;
  });
}

export const boxed = (label) => sum([...model.images.values()].map((image) => image.objects[label] ?? 0));

export const chosenBox = () => model.boxes.find((box) => box.id === model.chosen?.box);

export const chosenSuggestion = () =>
  model.chosen?.suggestion && shownSuggestions().find((each) => sameEdges(each.edges, model.chosen.suggestion));

export const sameEdges = (a, b) => a.every((edge, place) => edge === b[place]);

export const sum = (counts) => Object.values(counts).reduce((total, number) => total + number, 0);

// Takes in an answer or an event; what is not in it stays.
export function takeIn(content) {
  const changed = [];
  for (const name of ["folder", "problems", "threshold", "by_itself", "undo", "redo", "status"]) {
    if (name in content) {
      model[name] = content[name];
      changed.push("status");
    }
  }
  if (content.classes) {
    model.classes = content.classes;
    if (!classOf(model.label)) model.label = model.classes[0]?.id ?? null;
    changed.push("classes");
  }
  if (content.images) {
    for (const image of content.images) model.images.set(image.id, image);
    changed.push("images");
  }
  if (content.order) {
    model.order = content.order;
    changed.push("order");
  }
  if (content.quality) {
    model.quality = content.quality;
    changed.push("quality");
  }
  if (content.opened && takeInOpened(content.opened)) changed.push("open");
  tell(...changed);
}

// An answer that was on its way while a later one came is outdated.
function takeInOpened(opened) {
  const outdated = opened.revision < model.revision || (opened.revision === model.revision && opened.round < model.round);
  if (opened.id !== model.open || outdated) return false;
  Object.assign(model, {
    boxes: opened.boxes,
    suggestions: opened.suggestions,
    revision: opened.revision,
    round: opened.round,
  });
  if (model.chosen && !chosenBox() && !chosenSuggestion()) model.chosen = null;
  return true;
}
