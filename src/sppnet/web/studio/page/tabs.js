// The panel's tabs: one is open, chosen by click, by arrow keys, or by what asks for it.

import { tell } from "./model.js";

const byId = (id) => document.getElementById(id);
const tabs = [...document.querySelectorAll(".tabs [role=tab]")];

export const isOpen = (name) => !byId(name).hidden;

export function openTab(name) {
  for (const tab of tabs) {
    const open = tab.getAttribute("aria-controls") === name;
    tab.setAttribute("aria-selected", open);
    tab.tabIndex = open ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !open;
  }
  tell("tab");
}

for (const [place, tab] of tabs.entries()) {
  tab.addEventListener("click", () => openTab(tab.getAttribute("aria-controls")));
  tab.addEventListener("keydown", (event) => {
    const places = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!places) return;
    const other = tabs[(place + places + tabs.length) % tabs.length];
    openTab(other.getAttribute("aria-controls"));
    other.focus();
  });
}
