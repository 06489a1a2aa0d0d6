// One line of news, read out by screen readers; and questions, which wait for an answer.

import { element } from "./parts.js";

const line = document.getElementById("said");
const dialog = document.getElementById("ask-dialog");
let until = 0;

export function say(text, { bad = false, busy = false, stays = bad } = {}) {
  // What went wrong, or nobody waited for, stays for a while, whatever comes next.
  if (!stays && Date.now() < until) return;
  until = stays ? Date.now() + 6000 : 0;
  line.classList.toggle("no", bad);
  line.classList.toggle("busy", busy);
  line.textContent = text;
  line.title = text;
}

// Asks, and returns the answer's value, null if the question is closed. The first answer is what Enter gives.
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
    buttons[0].focus();
  });
}
