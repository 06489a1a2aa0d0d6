// Keys, wherever the focus is but in a field.

import {
  acceptAll,
  answerChosen,
  chooseAll,
  chooseClass,
  copy,
  done,
  duplicate,
  hide,
  paste,
  rejectRest,
  removeBoxes,
  teach,
  toggleComplete,
  toggleFlag,
  turn,
} from "./actions.js";
import { findMore } from "./alike.js";
import { step } from "./gallery.js";
import { commandOf, keysOf } from "./keymap.js";
import { chosenBoxes, chosenSuggestion, model } from "./model.js";
import { chooseNext } from "./objects.js";
import { element } from "./parts.js";
import { cancel, holdSpace, isDragging, newBox, nudge, zoom, zoomToBox } from "./stage.js";

const byId = (id) => document.getElementById(id);
const stage = byId("stage");

const onStage = () => document.activeElement === stage || document.activeElement === document.body;

const COMMANDS = {
  accept: () => answerChosen("object"),
  "accept all": acceptAll,
  "accept chosen": () => chosenSuggestion() && answerChosen("object"),
  reject: () => answerChosen("rejected"),
  "reject rest": rejectRest,
  remove: () => (chosenSuggestion() ? answerChosen("rejected") : chosenBoxes().length && removeBoxes(chosenBoxes())),
  "next box": () => chooseNext(1),
  "previous box": () => chooseNext(-1),
  "new box": newBox,
  complete: toggleComplete,
  done,
  teach,
  "find more": findMore,
  "hide suggestions": () => hide("suggestions"),
  "hide boxes": () => hide("boxes"),
  names: () => hide("names"),
  difficult: () => toggleFlag("difficult"),
  crowd: () => toggleFlag("crowd"),
  undo: () => turn("undo"),
  redo: () => turn("redo"),
  copy,
  paste,
  duplicate,
  "choose all": chooseAll,
  "next image": () => step(1),
  "previous image": () => step(-1),
  cancel,
  "zoom in": () => zoom(1.4),
  "zoom out": () => zoom(1 / 1.4),
  fit: () => zoom(0),
  "zoom to box": zoomToBox,
  search: () => byId("search").focus(),
  help: () => byId("help-dialog").showModal(),
};

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const HELP = [
  [
    "Drag",
    "draw a box, which fits itself to an object that the detector is sure of; inside the chosen box: move it; with Shift: draw, exactly so",
  ],
  ["Ctrl click", "choose one more box"],
  ["1 … 9, own keys", "choose the class; of chosen boxes: change it; of a suggestion: change it and accept"],
  ["A, Enter", "accept the chosen suggestion, or choose the most certain one"],
  ["R, Delete", "reject the suggestion, or remove the chosen boxes"],
  ["Shift A, Shift R", "accept all suggestions from the threshold up; reject all that are shown"],
  ["D", "done: image complete, and on to the next most useful one"],
  ["C", "image complete: all else in it is background"],
  ["J, K", "next and previous suggestion or box"],
  ["N", "new box in the middle, for the arrow keys"],
  ["Arrows", "move the chosen boxes by a pixel, with Ctrl by ten; with Shift resize one"],
  ["X, Shift X", "mark the chosen boxes as difficult, as a crowd"],
  ["Ctrl C, V, D, A", "copy, paste, duplicate boxes; choose all"],
  ["F", "find more: what looks like the chosen box in other images"],
  ["H, B, L", "hide suggestions, boxes, the names on them"],
  ["Page ↓ ↑", "next and previous image"],
  ["Z, Y", "undo and redo; with Ctrl too"],
  [
    "Wheel, + −, 0, .",
    "zoom, fit, zoom to the chosen box; move the image with Space held, by the right button or by two fingers",
  ],
  ["T", "teach now"],
  ["/", "search images"],
  ["Esc", "choose nothing; from a field, back to the image"],
  ["Enter, 1 … 9", "right after the name of a class: back to the image"],
];

byId("keys").replaceChildren(
  ...HELP.map(([keys, what]) =>
    element("tr", {}, element("td", {}, element("kbd", {}, keys)), element("td", {}, what)),
  ),
);

const writing = (target) => target.closest("input:not([type=checkbox], [type=range]), select, textarea");

// Escape leaves a field. That for classes keeps the focus after a name, for the next one: as long as that is not begun,
// a digit means a class, and Enter that it was the last name.
function leaves(event) {
  if (event.isComposing) return false;
  const isLast = "entered" in event.target.dataset && !event.target.value;
  return event.key === "Escape" || (isLast && (event.key === "Enter" || Boolean(commandOf(event)?.digit)));
}

function nudged(event) {
  const [across, down] = ARROWS[event.key];
  const far = event.ctrlKey || event.metaKey ? 10 : 1;
  return nudge(across * far, down * far, event.shiftKey);
}

function run(command) {
  if (command?.digit) {
    const chosen = model.classes[command.digit - 1];
    if (chosen) chooseClass(chosen.id);
    return Boolean(chosen);
  }
  if (command?.own) {
    chooseClass(command.own);
    return true;
  }
  if (!Object.hasOwn(COMMANDS, command)) return false;
  COMMANDS[command]();
  return true;
}

const ownKeys = () =>
  new Map([...keysOf(model.classes)].map(([id, key]) => [key, id]).filter(([key]) => !/^[0-9]?$/.test(key)));

document.addEventListener("keydown", (event) => {
  if (event.target.closest("dialog[open]")) return;
  if (writing(event.target)) {
    if (!leaves(event)) return;
    stage.focus();
    if (!commandOf(event)?.digit) return event.preventDefault();
  }
  // A drag goes on in the image in which it began.
  if (isDragging() && event.key !== "Escape") return event.preventDefault();
  if (event.key in ARROWS) {
    if (event.target.closest("[role=tablist], [type=range]") || !nudged(event)) return;
  } else if (event.key === " ") {
    if (!onStage()) return;
    holdSpace(true);
  } else if (event.key === "Enter" && !onStage()) {
    return;
  } else if (!run(commandOf(event, ownKeys()))) {
    return;
  }
  event.preventDefault();
});

document.addEventListener("keyup", (event) => event.key === " " && holdSpace(false));
