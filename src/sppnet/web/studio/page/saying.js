// One line of news, read out by screen readers: what came of what a person did, and what the machine did by itself.
// And questions, which wait for an answer.

import { element } from "./parts.js";

const line = document.getElementById("said");
const dialog = document.getElementById("ask-dialog");
const [READ, READ_FAULT] = [3000, 6000]; // milliseconds that a person's news stay before the machine's follow
let waits = null; // until then
let fault = false; // something that a person wanted did not work, and nothing worked since
let later = { text: "" }; // what the machine told last

function put({ text, bad = false, busy = false }) {
  line.classList.toggle("no", bad);
  line.classList.toggle("busy", busy);
  line.textContent = text;
  line.title = text;
}

function follow() {
  clearTimeout(waits);
  waits = null;
  fault = false;
  put(later);
}

// Says what came of what a person did, or must not be missed; `fails`: it did not work, which what works next ends.
export function say(text, { bad = false, busy = false, fails = bad } = {}) {
  clearTimeout(waits);
  waits = busy ? 0 : setTimeout(follow, bad ? READ_FAULT : READ); // what is at work says itself how it ended
  fault = fails;
  put({ text, bad, busy });
}

// Says what the machine did by itself: at once, or when a person's own news were there long enough to be read.
export function tellNews(text, { bad = false, busy = false } = {}) {
  later = { text, bad, busy };
  if (waits === null) put(later);
}

export const isLast = (text) => later.text === text;

// What a person did worked: what went wrong before is over.
export const worked = () => fault && follow();

// Asks, and returns the answer's value, null if the question is closed. The last answer is the one that changes nothing,
// and what Enter gives: to go on without reading is no answer.
export function ask(title, text, answers, { always = "" } = {}) {
  document.getElementById("ask-title").textContent = title;
  document.getElementById("ask-text").textContent = text;
  const box = document.getElementById("ask-always");
  box.checked = false;
  box.parentElement.hidden = !always;
  box.nextElementSibling.textContent = always;
  return new Promise((resolve) => {
    const finish = (value) => {
      dialog.onclose = null;
      dialog.close();
      resolve({ value, always: box.checked });
    };
    const buttons = answers.map(({ name, value, style = "" }) => {
      const button = element("button", { type: "button", class: style }, name);
      button.addEventListener("click", () => finish(value));
      return button;
    });
    document.getElementById("ask-answers").replaceChildren(...buttons);
    dialog.onclose = () => resolve({ value: null, always: false });
    dialog.showModal();
    buttons.at(-1).focus();
  });
}
