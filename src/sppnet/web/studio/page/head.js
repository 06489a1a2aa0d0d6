// The head of the page and of the open image: progress, news, steps, settings, dialogs.

import {
  acceptsAtDone,
  askAtDone,
  done,
  hide,
  keep,
  signOut,
  takeOver,
  teach,
  toggleComplete,
  turn,
} from "./actions.js";
import { sum } from "./catalogue.js";
import { step } from "./gallery.js";
import { isGuess, model, nameOf, on, openImage, shownSuggestions } from "./model.js";
import { counted } from "./objects.js";
import { ask, isLast, say, tellNews } from "./saying.js";
import { zoom } from "./stage.js";

const byId = (id) => document.getElementById(id);

function renderStatus() {
  const { ready, total, side, learning, behind } = model.status;
  byId("folder").textContent = model.folder.split(/[\\/]/).at(-1);
  byId("folder").title = model.folder;
  byId("progress").hidden = !(ready < total);
  byId("progress").title = `At a shorter side of ${side} pixels; small objects have images looked at again, larger.`;
  byId("progress-bar").max = total || 1;
  byId("progress-bar").value = ready || 0;
  byId("progress-text").textContent = `Computing features: ${ready} of ${total}`;
  for (const way of ["undo", "redo"]) {
    byId(way).disabled = !model[way];
    byId(way).title = model[way] ? `${way === "undo" ? "Undo" : "Do again"}: ${model[way]}` : "";
  }
  byId("by-itself").checked = model.by_itself;
  byId("teach").toggleAttribute("data-behind", Boolean(behind));
  byId("teach").disabled = Boolean(learning);
  if (learning) tellNews("Learning…", { busy: true });
}

export function tellLearnt({ here: tellsHere = false } = {}) {
  const { seconds, taught, reason } = model.status;
  if (reason) return tellNews(reason, { bad: true });
  if (!taught) return tellNews("Draw a box: the detector learns from it.");
  const { labelled, complete, faulty } = model.images.totals;
  const looked = openImage() && model.round >= model.status.round; // by the detector that was just learnt
  const here = tellsHere && looked ? ` ${countedHere()} in this image.` : "";
  const all = model.images.size && complete + faulty === model.images.size ? " Every image is complete." : here;
  const text = `Learnt from ${labelled} ${labelled === 1 ? "image" : "images"} in ${seconds.toFixed(1)} s.${all}`;
  toldHere = here && { text, holds: countedHere() };
  return tellNews(text);
}

function countedHere() {
  const shown = shownSuggestions();
  const guesses = shown.filter(isGuess).length;
  return counted(shown.length - guesses, guesses);
}

let toldHere = null; // news with a count, and which

// Nothing is said of the open image that is true no more.
function forgetHere() {
  if (toldHere && toldHere.holds !== countedHere() && isLast(toldHere.text)) tellLearnt();
}

let told = 0; // problems that were told of

export function tellProblems() {
  const fresh = model.problems.slice(told);
  told = model.problems.length;
  if (fresh.length)
    say(fresh.length === 1 ? fresh[0] : `${fresh.length} problems: ${fresh[0]}`, { bad: true, fails: false });
}

function renderImage() {
  const image = openImage();
  byId("image-name").textContent = image?.name ?? "No image";
  byId("image-name").title = image?.name ?? "";
  byId("image-facts").textContent = image
    ? image.fault
      ? "cannot be read"
      : `${image.width} × ${image.height} pixels`
    : isEmpty()
      ? ""
      : "Choose one on the left";
  byId("done").disabled = !image;
  byId("complete").disabled = !image || Boolean(image.fault);
  byId("complete").setAttribute("aria-pressed", Boolean(image?.complete));
  for (const what of ["suggestions", "boxes", "names"]) byId(`hide-${what}`).checked = !model.hides[what];
  renderReplaced(image);
  const without = acceptsAtDone();
  byId("asks").parentElement.hidden = !without;
  byId("asks").checked = false;
  byId("asks-text").textContent =
    `Ask again at Done: now open suggestions are ${without === "accept" ? "accepted" : "wrong"} without a question`;
  const hint = image ? hinted(image) : isEmpty() && EMPTY;
  byId("hint").hidden = !hint;
  byId("hint").textContent = hint || "";
}

// A file that was replaced by another image: its labels are the person's to keep or to clear.
function renderReplaced(image) {
  const old = image && !image.fault ? model.replaced : null;
  byId("replaced").hidden = !old;
  if (!old) return;
  const scaled = old.width !== image.width || old.height !== image.height;
  const boxes = `${old.boxes} ${old.boxes === 1 ? "box" : "boxes"}${old.complete ? ", complete" : ""}`;
  byId("replaced-text").textContent =
    `This file was replaced by another image. What was said of the one before (${old.width} × ${old.height} pixels: ${boxes}) is kept aside.`;
  byId("replaced-keep").textContent = scaled ? "Keep it here, scaled" : "Keep it here";
}

const EMPTY = "This folder holds no images yet: drop images, videos or folders of them here";

const isEmpty = () => Boolean(model.folder) && !model.images.size;

// What there is to do, or why nothing is suggested: the image is never bare without a word.
function hinted(image) {
  const { images, status, suggestions, hides, label } = model;
  if (image.fault) return `${sentence(image.fault)} D goes on to the next image.`;
  if (!model.classes.length) return null;
  if (!sum(images.totals.objects) && !suggestions.length) return `Drag a box around one ${nameOf(label)}`;
  if (hides.boxes && (model.boxes.length || suggestions.length)) return "Boxes are hidden: B shows them";
  if (shownSuggestions().length) return null;
  if (image.complete) return "Complete: nothing more is suggested here";
  if (!image.ready) return "Computing this image's features…";
  if (!status.taught) {
    if (status.reason) return status.reason;
    return model.by_itself ? "Learning…" : "Press T: the detector learns from your boxes";
  }
  if (status.learning || !model.round) return "Looking at this image…";
  if (hides.suggestions) return "Suggestions are hidden: H shows them";
  if (suggestions.length) return "Nothing more is sure enough to show: draw what is missing, or press D";
  return "Nothing more is found here: draw what is missing, or press D";
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;

function renderPeople() {
  const others = model.people.length > 1 && `${model.people.length} at work`;
  byId("people").hidden = !others && !model.me;
  byId("people").textContent = [model.me, others].filter(Boolean).join(" · ");
}

async function tellPeople() {
  const names = model.people.map((person) => person.name || "somebody").join(", ");
  const leaving = model.me ? [{ name: "Sign out", value: true }] : [];
  const { value } = await ask(model.me ? `You are ${model.me}` : "Who is at work", `At work: ${names}.`, [
    ...leaving,
    { name: "Go back", value: null },
  ]);
  if (value) signOut();
}

for (const way of ["undo", "redo"]) byId(way).addEventListener("click", () => turn(way));
for (const what of ["suggestions", "boxes", "names"]) byId(`hide-${what}`).addEventListener("change", () => hide(what));
byId("asks").addEventListener("change", askAtDone);
byId("people").addEventListener("click", tellPeople);
byId("teach").addEventListener("click", teach);
byId("by-itself").addEventListener("change", (event) => keep({ by_itself: event.target.checked }));
byId("complete").addEventListener("click", toggleComplete);
byId("done").addEventListener("click", done);
byId("replaced-keep").addEventListener("click", () => takeOver(true));
byId("replaced-clear").addEventListener("click", () => takeOver(false));
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("zoom-in").addEventListener("click", () => zoom(1.4));
byId("zoom-out").addEventListener("click", () => zoom(1 / 1.4));
byId("zoom-fit").addEventListener("click", () => zoom(0));

// On a small screen the images and the panel are drawers over the image, one open at a time.

const drawers = ["images", "panel"];

function openDrawer(name) {
  for (const each of drawers) {
    const open = each === name && !document.body.classList.contains(`shows-${each}`);
    document.body.classList.toggle(`shows-${each}`, open);
    byId(`toggle-${each}`).setAttribute("aria-expanded", open);
  }
}

for (const name of drawers) byId(`toggle-${name}`).addEventListener("click", () => openDrawer(name));
byId("stage").addEventListener("pointerdown", () => openDrawer(null));

// Dark and light: as the system asks until a person chooses.

const chosenTheme = localStorage.getItem("sppnet-theme");
if (chosenTheme) document.documentElement.dataset.theme = chosenTheme;

byId("theme").addEventListener("click", () => {
  const dark =
    document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const theme = dark === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("sppnet-theme", theme);
});

// Dialogs

byId("help").addEventListener("click", () => byId("help-dialog").showModal());
for (const closing of document.querySelectorAll("[data-close]")) {
  closing.addEventListener("click", () => closing.closest("dialog").close());
}

on("status", renderStatus);
on("open images classes status limits chosen", renderImage);
on("open limits quality", forgetHere);
on("people status", renderPeople);
