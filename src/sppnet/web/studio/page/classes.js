// The classes: chosen, searched, added; and the dialog that renames, recolours, reorders, merges and removes one.

import { addClass, chooseClass, editClass, mergeClass, removeClass } from "./actions.js";
import { keysOf, nameOf, refusal } from "./keymap.js";
import { boxed, classOf, model, on } from "./model.js";
import { element, icon, replaceChildren, swatch } from "./parts.js";

const byId = (id) => document.getElementById(id);
const MANY = 12; // classes, from which on there is a search

function classRow(each, key) {
  const choosing = element("button", {
    type: "button",
    class: "choose",
    id: `class-${each.id}`,
    "aria-pressed": each.id === model.label,
  });
  choosing.append(
    swatch(each.colour),
    element("span", {}, each.name),
    element("span", { class: "soft number small" }, `${boxed(each.id)}`),
  );
  if (key) {
    choosing.append(element("kbd", {}, key.toUpperCase()));
    choosing.setAttribute("aria-keyshortcuts", key.toUpperCase());
  }
  choosing.addEventListener("click", () => chooseClass(each.id));
  const editing = element(
    "button",
    {
      type: "button",
      class: "icon plain",
      id: `edit-class-${each.id}`,
      "aria-label": `Change ${each.name}`,
      title: "Name, colour, key, order",
    },
    icon("edit"),
  );
  editing.addEventListener("click", () => openDialog(each.id));
  return element("li", { class: "class" }, choosing, editing);
}

function render() {
  byId("class-search").hidden = model.classes.length < MANY;
  const wanted = byId("class-search").hidden ? "" : byId("class-search").value.trim().toLowerCase();
  const keys = keysOf(model.classes);
  const found = model.classes.filter((each) => each.name.toLowerCase().includes(wanted));
  replaceChildren(
    byId("classes"),
    found.map((each) => classRow(each, keys.get(each.id))),
  );
  const begins = model.classes.length === 0 && model.images.size > 0;
  if (begins && byId("first-class").hidden) setTimeout(() => byId("first-class-name").focus());
  byId("first-class").hidden = !begins;
}

// A name is taken at once, so that the next one can be typed while the studio answers. The focus stays in a field:
// what is typed after Enter is another name, no command; `keys.js` has how it is left.
function adding(form, field) {
  byId(form).addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = byId(field).value.trim();
    if (!name) return;
    byId(field).value = "";
    const byKeys = document.activeElement === byId(field);
    if (byKeys) byId("new-class-name").focus();
    if (byKeys) byId("new-class-name").dataset.entered = "";
    const added = await addClass(name);
    if (!added && !byId("new-class-name").value) byId("new-class-name").value = name;
    if (added && !byKeys) byId("stage").focus();
  });
}

for (const what of ["input", "blur"])
  byId("new-class-name").addEventListener(what, (event) => delete event.target.dataset.entered);

adding("new-class", "new-class-name");
adding("first-class", "first-class-name");
byId("class-search").addEventListener("input", render);

// The dialog

let edited = null;

function openDialog(id) {
  edited = id;
  const each = classOf(id);
  byId("rename-name").value = each.name;
  byId("rename-colour").value = each.colour;
  byId("rename-key").value = each.key;
  byId("rename-key").placeholder = keysOf(model.classes).get(id);
  tellKey("");
  const others = model.classes.filter((other) => other.id !== id);
  byId("merge-into").replaceChildren(
    element("option", { value: "" }, "Merge into…"),
    ...others.map((other) => element("option", { value: other.id }, other.name)),
  );
  byId("merge-into").disabled = !others.length;
  byId("rename-dialog").showModal();
}

// The key is the one that is pressed, as `keymap.js` names it on every keyboard; a keyboard on the screen writes it.
function takeKey(key) {
  const why = key && refusal(key, model.classes, edited);
  byId("rename-key").value = why ? classOf(edited).key : key;
  tellKey(why);
}

function tellKey(text) {
  byId("rename-said").hidden = !text;
  byId("rename-said").textContent = text;
}

byId("rename-key").addEventListener("keydown", (event) => {
  const name = nameOf(event);
  const clears = ["backspace", "delete"].includes(name);
  if (event.ctrlKey || event.metaKey || event.altKey || !(clears || [...name].length === 1)) return;
  event.preventDefault();
  takeKey(clears ? "" : name);
});
byId("rename-key").addEventListener("input", (event) => takeKey(event.target.value.trim().toLowerCase()));

byId("rename").addEventListener("submit", () => {
  const [name, colour, key] = ["rename-name", "rename-colour", "rename-key"].map((id) => byId(id).value.trim());
  editClass(edited, { name, colour, key });
});

function move(places) {
  const here = model.classes.findIndex((each) => each.id === edited);
  const place = here + places;
  if (place >= 0 && place < model.classes.length) editClass(edited, { place });
}

byId("class-up").addEventListener("click", () => move(-1));
byId("class-down").addEventListener("click", () => move(1));
byId("merge-into").addEventListener("change", (event) => {
  byId("rename-dialog").close();
  if (event.target.value) mergeClass(edited, Number(event.target.value));
});
byId("remove-class").addEventListener("click", () => {
  byId("rename-dialog").close();
  removeClass(edited);
});

on("classes images", render);
