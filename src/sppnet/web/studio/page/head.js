// The head of the page and of the open image: progress, news, steps, settings, dialogs.

import { keep, teach, toggleComplete, turn } from "./actions.js";
import { openFirst, step } from "./gallery.js";
import { classOf, isGuess, model, on, openImage, shownSuggestions, sum } from "./model.js";
import { counted } from "./objects.js";
import { say } from "./saying.js";
import { zoom } from "./stage.js";

const byId = (id) => document.getElementById(id);

function renderStatus() {
  const { ready, total, learning, behind } = model.status;
  byId("folder").textContent = model.folder.split(/[\\/]/).at(-1);
  byId("folder").title = model.folder;
  byId("progress").hidden = !(ready < total);
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
  if (learning) say("Learning…", { busy: true });
}

export function tellLearnt({ here: tellsHere = false } = {}) {
  const { seconds, taught, reason } = model.status;
  if (reason) return say(reason, { bad: true });
  if (!taught) return say("Draw a box: the detector learns from it.");
  const labelled = [...model.images.values()].filter((image) => sum(image.objects) > 0).length;
  const shown = shownSuggestions();
  const guesses = shown.filter(isGuess).length;
  const here = tellsHere && openImage() ? ` ${counted(shown.length - guesses, guesses)} in this image.` : "";
  return say(`Learnt from ${labelled} ${labelled === 1 ? "image" : "images"} in ${seconds.toFixed(1)} s.${here}`);
}

export function tellProblems() {
  const { length } = model.problems;
  if (length) say(`${length} labels could not be read: ${model.problems[0]}`, { bad: true });
}

function renderImage() {
  const image = openImage();
  byId("image-name").textContent = image?.name ?? "No image";
  byId("image-facts").textContent = image ? (image.fault || `${image.width} × ${image.height} pixels`) : "Choose one on the left";
  byId("complete").disabled = !image;
  byId("complete").setAttribute("aria-pressed", Boolean(image?.complete));
  const hint = image && hinted(image);
  byId("hint").hidden = !hint;
  byId("hint").textContent = hint ?? "";
}

function hinted(image) {
  if (!model.classes.length || image.fault) return null;
  const boxed = [...model.images.values()].some((each) => sum(each.objects) > 0);
  if (!boxed) return `Drag a box around one ${classOf(model.label).name}`;
  if (!image.ready && !model.status.learning) return "Computing this image's features…";
  return null;
}

for (const way of ["undo", "redo"]) byId(way).addEventListener("click", () => turn(way));
byId("teach").addEventListener("click", teach);
byId("by-itself").addEventListener("change", (event) => keep({ by_itself: event.target.checked }));
byId("complete").addEventListener("click", toggleComplete);
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("zoom-in").addEventListener("click", () => zoom(1.4));
byId("zoom-out").addEventListener("click", () => zoom(1 / 1.4));
byId("zoom-fit").addEventListener("click", () => zoom(0));

// Dark and light: as the system asks until a person chooses.

const kept = localStorage.getItem("sppnet-theme");
if (kept) document.documentElement.dataset.theme = kept;

byId("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const theme = dark === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("sppnet-theme", theme);
});

// Dialogs

byId("help").addEventListener("click", () => byId("help-dialog").showModal());
byId("export").addEventListener("click", () => {
  byId("export-said").hidden = true;
  byId("export-dialog").showModal();
});
for (const closing of document.querySelectorAll("[data-close]")) {
  closing.addEventListener("click", () => closing.closest("dialog").close());
}

// A download that is refused would leave the page: it is asked for first.
for (const link of document.querySelectorAll("#export-dialog a")) {
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    const response = await fetch(link.href).catch(() => null);
    byId("export-said").hidden = Boolean(response?.ok);
    if (!response?.ok) {
      byId("export-said").textContent = response ? (await response.json()).detail : "The studio does not answer.";
      return;
    }
    const name = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition"))?.[1] ?? "export";
    const url = URL.createObjectURL(await response.blob());
    const saving = Object.assign(document.createElement("a"), { href: url, download: name });
    saving.click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  });
}

on("status", renderStatus);
on("open images classes status", renderImage);

export { openFirst };
