// Opens the page: state first, then events as they come.

import { lookAgain, refresh } from "./actions.js";
import "./alike.js";
import { listen } from "./api.js";
import "./classes.js";
import "./files.js";
import { openFirst } from "./gallery.js";
import { tellLearnt, tellProblems } from "./head.js";
import "./importing.js";
import "./keys.js";
import { model, on, takeIn } from "./model.js";
import { measured, qualityChanged } from "./quality.js";
import "./reviewing.js";
import { reload } from "./stage.js";
import "./tuning.js";

const lost = document.getElementById("lost");
const SILENT = lost.textContent;
const concernsOpen = (content) => content.images?.some((image) => image.id === model.open);

let silent = false; // the studio does not answer

function renderLost() {
  lost.hidden = !silent && !model.away;
  lost.textContent = silent ? SILENT : model.away;
}

function setSilent(is) {
  silent = is;
  renderLost();
}

const told = {
  async open() {
    setSilent(false);
    await refresh();
    if (model.open === null) openFirst();
    else reload();
    tellProblems();
    if (model.status.taught) tellLearnt();
  },
  lost: () => setSilent(true),
  status(content) {
    takeIn(content);
    if (content.status.reason) tellLearnt();
  },
  async image(content) {
    takeIn(content);
    if (concernsOpen(content)) await lookAgain();
  },
  changed(content) {
    takeIn(content);
    if (content.revision > model.revision && concernsOpen(content)) lookAgain();
  },
  async learnt(content) {
    takeIn(content);
    await lookAgain();
    tellLearnt({ here: true });
    qualityChanged();
  },
  order(content) {
    takeIn(content);
    qualityChanged();
  },
  measured(content) {
    takeIn(content);
    measured();
  },
  async folder() {
    await refresh();
    if (model.open === null) openFirst();
    tellProblems();
  },
  people: takeIn,
  tuning: takeIn,
};

on("status", renderLost);

listen((name, content) => told[name](content));
