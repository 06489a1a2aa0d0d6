// The network tuned on the labels: begun, watched, stopped and taken back in the panel's side for quality.

import { tune } from "./actions.js";
import { model, on } from "./model.js";
import { ask, say } from "./saying.js";
import { tuningWords } from "./tuned.js";

const byId = (id) => document.getElementById(id);

function render() {
  if (!model.tuning) return;
  const words = tuningWords(model.tuning, model.images.totals.learnable);
  byId("tuning-about").textContent = words.about;
  byId("tuning-report").textContent = words.report;
  byId("tuning-report").hidden = !words.report;
  byId("tuning-progress").hidden = !words.running;
  byId("tuning-now").textContent = words.now;
  if (words.share === null) byId("tuning-bar").removeAttribute("value");
  else byId("tuning-bar").value = words.share;
  byId("tune").hidden = !words.begin;
  byId("tune").textContent = words.begin?.name ?? "";
  byId("tune").disabled = !words.begin?.enabled;
  byId("tune-on").hidden = !words.goOn;
  byId("tune-stop").hidden = !words.running;
  byId("tune-back").hidden = !words.back;
  byId("tuning-said").textContent = model.tuning.said;
  byId("tuning-said").classList.toggle("bad", model.tuning.failed);
  const shown = words.report && model.tuning.said.includes(words.report);
  byId("tuning-said").hidden = shown || !model.tuning.said;
}

// It ends while a person does something else: the line of news tells.
let said = null;

function tellEnd() {
  if (!model.tuning) return;
  const fresh = said !== null && model.tuning.said && model.tuning.said !== said;
  said = model.tuning.said;
  if (fresh) say(said, { bad: model.tuning.failed, fails: false });
}

async function goBack() {
  const { value } = await ask(
    "Use the network as it came?",
    "Your labels are learnt again on it; suggestions stay until that is done. The tuned network is removed: to have one again takes a tuning.",
    [
      { name: "Use it as it came", value: true, style: "first" },
      { name: "Cancel", value: null },
    ],
  );
  if (value) tune("as it came");
}

byId("tune").addEventListener("click", () => tune("begin"));
byId("tune-on").addEventListener("click", () => tune("go on"));
byId("tune-stop").addEventListener("click", () => tune("stop"));
byId("tune-back").addEventListener("click", goBack);

on("tuning images", render);
on("tuning", tellEnd);
