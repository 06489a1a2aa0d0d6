// The boxes and suggestions of the open image, each with its answers; and the bar below the image.

import {
  accept,
  acceptAll,
  answerChosen,
  choose,
  noteOnBox,
  noteOnImage,
  reject,
  rejectRest,
  removeBoxes,
} from "./actions.js";
import {
  chosenBox,
  chosenBoxes,
  chosenSuggestion,
  classOf,
  isGuess,
  model,
  nameOf,
  objects,
  on,
  openImage,
  sameEdges,
  shownSuggestions,
} from "./model.js";
import { element, icon, percent, replaceChildren, swatch } from "./parts.js";
import { acceptable } from "./shown.js";

const byId = (id) => document.getElementById(id);
const LISTED = 200; // boxes and suggestions that are listed

const where = ([left, top, right, bottom]) =>
  `${Math.round(right - left)} × ${Math.round(bottom - top)} at ${Math.round(left)}, ${Math.round(top)}`;

function row(kind, key, { label, edges, score, difficult, crowd, note, outline }, chosen, pick, ...answers) {
  const picking = element("button", { type: "button", class: "pick", id: `pick-${key}`, "aria-pressed": chosen });
  const sure = kind === "suggested" && `${percent(score)} sure`;
  const marks = [sure, difficult && "difficult", crowd && "crowd", outline && "outline", note && "note"]
    .filter(Boolean)
    .join(", ");
  picking.append(
    swatch(classOf(label)?.colour ?? "gray"),
    element("span", {}, nameOf(label)),
    element("span", { class: "where number" }, marks || where(edges)),
  );
  picking.title = note || where(edges);
  picking.addEventListener("click", pick);
  const item = element("li", { class: `box ${kind}${chosen ? " chosen" : ""}` }, picking, ...answers);
  item.style.setProperty("--own", classOf(label)?.colour ?? "gray");
  return item;
}

function button(key, name, text, style, action) {
  const made = element(
    "button",
    { type: "button", class: `icon plain ${style}`, id: `${name}-${key}`, "aria-label": text, title: text },
    icon(name),
  );
  made.addEventListener("click", action);
  return made;
}

function boxRow(box) {
  const chosen = box.id === model.chosen?.box || model.also.has(box.id);
  const removing = button(`b${box.id}`, "bin", box.kind === "object" ? "Remove" : "Take the rejection back", "", () =>
    removeBoxes([box]),
  );
  return row(
    box.kind,
    `b${box.id}`,
    box,
    chosen,
    (event) => choose({ box: box.id }, { also: event.ctrlKey || event.metaKey }),
    removing,
  );
}

function suggestionRow(each, place) {
  const chosen = each === chosenSuggestion();
  const yes = button(`s${place}`, "yes", `Accept, ${percent(each.score)} sure`, "yes", () => accept(each));
  const no = button(`s${place}`, "no", "Reject", "no", () => reject(each));
  return row("suggested", `s${place}`, each, chosen, () => choose({ suggestion: each.edges }), yes, no);
}

function renderBoxes() {
  const suggested = shownSuggestions().slice(0, LISTED).map(suggestionRow);
  const kinds = ["object", "rejected"].flatMap((kind) => model.boxes.filter((box) => box.kind === kind).reverse());
  const rows = [...suggested, ...kinds.slice(0, LISTED).map(boxRow)]; // the newest first, what is rejected last
  const more =
    kinds.length > LISTED ? [element("li", { class: "soft small" }, `and ${kinds.length - LISTED} more`)] : [];
  const nothing = element("li", { class: "soft small" }, openImage() ? "Nothing yet." : "Open an image.");
  replaceChildren(byId("boxes"), rows.length ? [...rows, ...more] : [nothing]);
  byId("boxes").querySelector(".chosen")?.scrollIntoView({ block: "nearest" });
  renderNote();
}

function renderNote() {
  const box = chosenBox();
  const note = byId("note");
  if (document.activeElement === note) return;
  note.value = (box?.kind === "object" ? box.note : openImage()?.note) ?? "";
  note.disabled = !openImage();
  byId("note-label").textContent = box?.kind === "object" ? "Note on the chosen box" : "Note on this image";
}

byId("note").addEventListener("change", (event) => {
  const box = chosenBox();
  if (box?.kind === "object") noteOnBox(box.id, event.target.value);
  else noteOnImage(event.target.value);
});
byId("note").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing) byId("stage").focus(); // which writes it
});

function renderAnswers() {
  const [shown, suggestion, boxes] = [shownSuggestions(), chosenSuggestion(), chosenBoxes()];
  byId("accept").disabled = !shown.length;
  byId("reject").firstChild.textContent = boxes.length ? "Remove " : "Reject ";
  byId("reject").disabled = !shown.length && !boxes.length;
  const guesses = shown.filter(isGuess).length;
  const found = shown.length - guesses;
  const accepted = acceptable(shown.filter((each) => !isGuess(each))).length;
  byId("accept-all").disabled = !found;
  byId("accept-all").textContent = found ? `Accept all ${accepted}` : "Accept all";
  byId("reject-rest").disabled = !shown.length;
  const facts = openImage() ? `${objects().length} boxed, ${counted(found, guesses)}` : "";
  const chosen = suggestion ?? boxes[0];
  const what = suggestion ? `${nameOf(suggestion.label)}, ${percent(suggestion.score)} sure` : nameOf(chosen?.label);
  const one = chosen ? `${what} · ${where(chosen.edges)}` : facts;
  byId("answer-text").textContent = boxes.length > 1 ? `${boxes.length} boxes chosen` : one;
  byId("answer-text").title = byId("answer-text").textContent;
}

export const counted = (found, guesses) => `${found} suggested${guesses ? ` and ${guesses} guessed` : ""}`;

byId("accept").addEventListener("click", () => answerChosen("object"));
byId("reject").addEventListener("click", () => answerChosen("rejected"));
byId("accept-all").addEventListener("click", acceptAll);
byId("reject-rest").addEventListener("click", rejectRest);

// Goes through suggestions, then boxes.
export function chooseNext(places) {
  const all = [
    ...shownSuggestions().map((each) => ({ suggestion: each.edges })),
    ...objects().map((box) => ({ box: box.id })),
  ];
  if (!all.length) return;
  const { box, suggestion } = model.chosen ?? {};
  const here = all.findIndex((each) =>
    box ? each.box === box : suggestion && each.suggestion && sameEdges(each.suggestion, suggestion),
  );
  choose(all[here < 0 ? (places > 0 ? 0 : all.length - 1) : (here + places + all.length) % all.length]);
}

on("open chosen classes limits", renderBoxes);
on("open chosen classes limits", renderAnswers);
