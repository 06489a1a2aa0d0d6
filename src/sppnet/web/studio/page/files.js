// Files that come and go: exports to save, images and labels that are dropped onto the page.

import { show } from "./actions.js";
import { download, Refused, send } from "./api.js";
import { chosen, filesOf, isImage, isVideo } from "./dropped.js";
import { bring, isImport } from "./importing.js";
import { model, on } from "./model.js";
import { ask, say } from "./saying.js";

const byId = (id) => document.getElementById(id);

// Exports

const told = byId("export-said");

function tellExport(text, bad) {
  told.hidden = !text;
  told.classList.toggle("bad", bad);
  told.textContent = text;
}

byId("export").addEventListener("click", () => {
  tellExport("", false);
  tellOpen();
  byId("export-dialog").showModal();
});

function tellOpen() {
  const { labelled, complete } = model.images.totals;
  const open = labelled - complete;
  byId("export-open").hidden = !open;
  byId("export-open").firstElementChild.textContent =
    `${open} of these ${labelled} ${open === 1 ? "is" : "are"} not complete: what has no box there may be an object too.`;
}

on("images", tellOpen); // also while the dialog is open: what was just completed is answered a little later

function splits() {
  const shares = ["val", "test"].map((split) => [
    split,
    Math.min(0.5, Math.max(0, byId(`share-${split}`).value / 100)),
  ]);
  const complete = byId("export-complete").checked && !byId("export-open").hidden;
  return `?${new URLSearchParams([...shares, ["complete", complete]])}`;
}

// A download that is refused would leave the page: it is asked for first.
for (const link of document.querySelectorAll("#export-dialog a")) {
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    tellExport("Preparing the file…", false);
    try {
      const { name, content, leftOut } = await download(link.href + ("splits" in link.dataset ? splits() : ""));
      const url = URL.createObjectURL(content);
      Object.assign(document.createElement("a"), { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      tellExport(
        leftOut
          ? `${leftOut} ${leftOut === 1 ? "image" : "images"} could not be read and are left out; left-out.txt in the file names them.`
          : "",
        false,
      );
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      tellExport(error.message, true);
    }
  });
}

// Images that are dropped anywhere on the page, or chosen, are copied into the folder; of videos as many frames as asked.

// Seconds between two frames; null where a person thinks better of it.
async function stepFor(videos) {
  const names = videos.length === 1 ? videos[0].name : `${videos.length} videos`;
  const { value } = await ask(`Frames of ${names}`, "How many of its frames shall be images to label?", [
    { name: "One a second", value: 1, style: "first" },
    { name: "Five a second", value: 0.2 },
    { name: "Every frame", value: 0.001 },
    { name: "One in ten seconds", value: 10 },
    { name: "Cancel", value: null },
  ]);
  return value;
}

// Returns, of each image's path, which image it is; null if it was refused.
async function add(rows) {
  const videos = rows.map(({ file }) => file).filter(isVideo);
  const every = videos.length ? await stepFor(videos) : null;
  const files = videos.length && every === null ? rows.filter(({ file }) => !isVideo(file)) : rows;
  let last = null;
  let added = 0;
  const here = []; // names of files that were in the folder before
  const faults = [];
  const images = [];
  for (const [place, { path, file }] of files.entries()) {
    const frames = isVideo(file);
    let image = null;
    say(`${frames ? "Taking frames of" : "Adding"} ${place + 1} of ${files.length}: ${file.name}…`, { busy: true });
    try {
      const query = `name=${encodeURIComponent(file.name)}${frames ? `&every=${every}` : ""}`;
      const answer = await send(`api/uploads?${query}`, file);
      image = answer.image;
      last = image;
      added += answer.fresh;
      if (!answer.fresh) here.push(file.name);
      if (answer.cut) faults.push(`${file.name} has more frames than the first ${answer.files}: take fewer a second.`);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      faults.push(error.message);
    }
    if (isImage(file)) images.push({ path, image });
  }
  if (files.length) say(addedWords(added, here, faults), { bad: faults.length > 0 });
  if (last !== null) show(last);
  return images;
}

function addedWords(added, here, faults) {
  const news = added === 1 ? "One image is added." : added ? `${added} images are added.` : "";
  const known =
    here.length === 1 ? `${here[0]} is here already.` : here.length ? `${here.length} are here already.` : "";
  return [news, known, ...faults].filter(Boolean).join(" ");
}

addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dropping"));
addEventListener("drop", async (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const files = await filesOf(event.dataTransfer.items, isImport).catch(() => null);
  if (files === null) return say("What was dropped cannot be read.", { bad: true });
  if (!files.length) return say("No image, video or file of labels was dropped.", { bad: true });
  const isLabels = ({ file }) => isImport(file);
  const [labels, others] = [files.filter(isLabels), files.filter((each) => !isLabels(each))];
  const images = others.length ? await add(others) : []; // first, as the labels may be theirs
  if (labels.length) bring(labels, images);
});
byId("add-images").addEventListener("click", () => byId("add-files").click());
byId("add-files").addEventListener("change", (event) => {
  add(chosen(event.target.files));
  event.target.value = "";
});
