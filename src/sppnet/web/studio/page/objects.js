// The panel's first side: the classes, and the boxes and suggestions of the open image, each with its answers.

import { accept, acceptAll, addClass, answerChosen, choose, chooseClass, editClass, reject, removeBox, removeClass } from "./actions.js";
import { boxed, chosenBox, chosenSuggestion, classOf, isGuess, model, on, openImage, sameEdges, shownSuggestions, sum } from "./model.js";
import { element, icon, replaceChildren, swatch } from "./parts.js";

const byId = (id) => document.getElementById(id);
const LISTED = 200; // boxes and suggestions that are listed

// Classes

function renderClasses() {
  const rows = model.classes.map((each, index) => {
    const pressed = each.id === model.label;
    const choosing = element("button", { type: "button", class: "choose", id: `class-${each.id}`, "aria-pressed": pressed });
    choosing.append(swatch(each.colour), element("span", {}, each.name), element("span", { class: "soft number small" }, `${boxed(each.id)}`));
    if (index < 9) choosing.append(element("kbd", {}, `${index + 1}`));
    choosing.addEventListener("click", () => chooseClass(each.id));
    const editing = element("button", { type: "button", class: "icon plain", id: `edit-class-${each.id}`, "aria-label": `Rename, colour or remove ${each.name}` }, icon("edit"));
    editing.addEventListener("click", () => openRename(each));
    return element("li", { class: "class" }, choosing, editing);
  });
  replaceChildren(byId("classes"), rows);
  const begins = model.classes.length === 0 && model.images.size > 0;
  if (begins && byId("first-class").hidden) setTimeout(() => byId("first-class-name").focus());
  byId("first-class").hidden = !begins;
}

function adding(form, field) {
  byId(form).addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = byId(field).value.trim();
    if (name && (await addClass(name))) {
      byId(field).value = "";
      byId("stage").focus();
    }
  });
}

adding("new-class", "new-class-name");
adding("first-class", "first-class-name");

let renamed = null;

function openRename(each) {
  renamed = each.id;
  byId("rename-name").value = each.name;
  byId("rename-colour").value = each.colour;
  byId("rename-dialog").showModal();
}

byId("rename").addEventListener("submit", () => editClass(renamed, byId("rename-name").value.trim(), byId("rename-colour").value));
byId("remove-class").addEventListener("click", () => {
  byId("rename-dialog").close();
  removeClass(renamed);
});

// Boxes and suggestions

const where = ([left, top, right, bottom]) => `${Math.round(right - left)} × ${Math.round(bottom - top)} at ${Math.round(left)}, ${Math.round(top)}`;

function row(kind, key, label, edges, chosen, pick, ...answers) {
  const name = classOf(label)?.name ?? "";
  const picking = element("button", { type: "button", class: "pick", id: `pick-${key}`, "aria-pressed": chosen });
  picking.append(swatch(classOf(label)?.colour ?? "gray"), element("span", {}, name), element("span", { class: "where number" }, where(edges)));
  picking.addEventListener("click", pick);
  const item = element("li", { class: `box ${kind}${chosen ? " chosen" : ""}` }, picking, ...answers);
  item.style.setProperty("--own", classOf(label)?.colour ?? "gray");
  return item;
}

function button(key, name, text, style, action) {
  const made = element("button", { type: "button", class: `icon plain ${style}`, id: `${name}-${key}`, "aria-label": text, title: text }, icon(name));
  made.addEventListener("click", action);
  return made;
}

function boxRow(box) {
  const removing = button(box.id, "bin", box.kind === "object" ? "Remove this box" : "Take back the rejection", "", () => removeBox(box.id));
  return row(box.kind, box.id, box.label, box.edges, model.chosen?.box === box.id, () => choose({ box: box.id }), removing);
}

function suggestionRow(each, place) {
  const chosen = Boolean(model.chosen?.suggestion && sameEdges(each.edges, model.chosen.suggestion));
  const yes = button(`s${place}`, "yes", `Accept: ${each.score.toFixed(1)}`, "yes", () => accept(each));
  const no = button(`s${place}`, "no", "Reject", "no", () => reject(each));
  return row("suggested", `s${place}`, each.label, each.edges, chosen, () => choose({ suggestion: each.edges }), yes, no);
}

function renderBoxes() {
  const suggested = shownSuggestions().slice(0, LISTED).map(suggestionRow);
  const kinds = ["object", "rejected"].flatMap((kind) => model.boxes.filter((box) => box.kind === kind));
  const rows = [...suggested, ...kinds.slice(-LISTED).reverse().map(boxRow)];
  const nothing = element("li", { class: "soft small" }, openImage() ? "Nothing yet." : "Open an image.");
  replaceChildren(byId("boxes"), rows.length ? rows : [nothing]);
  byId("boxes").querySelector(".chosen")?.scrollIntoView({ block: "nearest" });
}

function renderAnswers() {
  const [shown, suggestion, box] = [shownSuggestions(), chosenSuggestion(), chosenBox()];
  byId("accept").disabled = !shown.length;
  byId("reject").disabled = !shown.length && !box;
  const guesses = shown.filter(isGuess).length;
  const found = shown.length - guesses;
  byId("accept-all").disabled = !found;
  byId("accept-all").textContent = found ? `Accept all ${found}` : "Accept all found";
  const facts = openImage() ? `${sum(openImage().objects)} boxed, ${counted(found, guesses)}` : "";
  const chosen = suggestion ?? box;
  const what = suggestion ? `${classOf(suggestion.label)?.name}, score ${suggestion.score.toFixed(2)}` : classOf(chosen?.label)?.name;
  byId("answer-text").textContent = chosen ? `${what} · ${where(chosen.edges)}` : facts;
}

export const counted = (found, guesses) => `${found} suggested${guesses ? ` and ${guesses} guessed` : ""}`;

byId("accept").addEventListener("click", () => answerChosen("object"));
byId("reject").addEventListener("click", () => answerChosen("rejected"));
byId("accept-all").addEventListener("click", acceptAll);

// Goes through suggestions, then boxes.
export function chooseNext(places) {
  const all = [
    ...shownSuggestions().map((each) => ({ suggestion: each.edges })),
    ...model.boxes.filter((box) => box.kind === "object").map((box) => ({ box: box.id })),
  ];
  if (!all.length) return;
  const { box, suggestion } = model.chosen ?? {};
  const here = all.findIndex((each) => (box ? each.box === box : suggestion && each.suggestion && sameEdges(each.suggestion, suggestion)));
  choose(all[here < 0 ? (places > 0 ? 0 : all.length - 1) : (here + places + all.length) % all.length]);
}

on("classes images", renderClasses);
on("open chosen classes status", renderBoxes);
on("open chosen classes status images", renderAnswers);
