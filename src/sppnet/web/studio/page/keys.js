// Keys, wherever the focus is but in a field.

import { acceptAll, answerChosen, chooseClass, removeBox, teach, toggleComplete, turn } from "./actions.js";
import { step } from "./gallery.js";
import { chosenBox, chosenSuggestion, model } from "./model.js";
import { chooseNext } from "./objects.js";
import { cancel, holdSpace, newBox, nudge, zoom } from "./stage.js";

const removeOrReject = () => (chosenSuggestion() ? answerChosen("rejected") : chosenBox() && removeBox(model.chosen.box));

const onStage = () => document.activeElement?.id === "stage" || document.activeElement === document.body;

const KEYS = {
  a: () => answerChosen("object"),
  A: acceptAll,
  Enter: () => onStage() && chosenSuggestion() && answerChosen("object"),
  r: () => answerChosen("rejected"),
  Delete: removeOrReject,
  Backspace: removeOrReject,
  j: () => chooseNext(1),
  k: () => chooseNext(-1),
  n: newBox,
  c: toggleComplete,
  t: teach,
  z: () => turn("undo"),
  y: () => turn("redo"),
  PageDown: () => step(1),
  PageUp: () => step(-1),
  Escape: cancel,
  "+": () => zoom(1.4),
  "=": () => zoom(1.4),
  "-": () => zoom(1 / 1.4),
  0: () => zoom(0),
  "?": () => document.getElementById("help-dialog").showModal(),
};

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const HELP = [
  ["Drag", "draw a box; from inside the chosen box: move it (with Shift: draw)"],
  ["1 … 9", "choose the class; of the chosen box: change it"],
  ["A, Enter", "accept the chosen suggestion, or choose the most certain one"],
  ["R, Delete", "reject the suggestion, or remove the chosen box"],
  ["Shift A", "accept all suggestions shown"],
  ["J, K", "next and previous suggestion or box"],
  ["N", "new box in the middle, for the arrow keys"],
  ["Arrows", "move the chosen box by a pixel, with Ctrl by ten; with Shift resize it"],
  ["C", "image complete: all else in it is background"],
  ["T", "teach now"],
  ["Page ↓ ↑", "next and previous image"],
  ["Z, Y", "undo and redo; with Ctrl too"],
  ["Wheel, + −, 0", "zoom, fit; hold Space and drag to move the image"],
  ["Esc", "choose nothing"],
];

const rows = HELP.map(([keys, what]) => {
  const row = document.createElement("tr");
  const key = Object.assign(document.createElement("kbd"), { textContent: keys });
  row.insertCell().append(key);
  row.insertCell().textContent = what;
  return row;
});
document.getElementById("keys").replaceChildren(...rows);

const writing = (target) => target.closest("input:not([type=checkbox]), select, textarea, dialog[open]");

function nudged(event) {
  const [across, down] = ARROWS[event.key];
  const far = event.ctrlKey || event.metaKey ? 10 : 1;
  return nudge(across * far, down * far, event.shiftKey);
}

document.addEventListener("keydown", (event) => {
  if (writing(event.target) || event.altKey) return;
  const undoes = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
  if (undoes) turn(event.shiftKey ? "redo" : "undo");
  else if (event.key in ARROWS) {
    if (event.target.closest("[role=tablist]") || !nudged(event)) return;
  } else if ((event.ctrlKey || event.metaKey) && event.key !== "y") return;
  else if (event.key === " ") {
    if (!onStage()) return;
    holdSpace(true);
  } else if (/^[1-9]$/.test(event.key)) {
    const chosen = model.classes[Number(event.key) - 1];
    if (!chosen) return;
    chooseClass(chosen.id);
  } else if (Object.hasOwn(KEYS, event.key)) {
    if (event.key === "Enter" && !onStage()) return;
    KEYS[event.key]();
  } else return;
  event.preventDefault();
});

document.addEventListener("keyup", (event) => event.key === " " && holdSpace(false));
