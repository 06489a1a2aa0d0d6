// Small parts of the page, made from code.

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") made.className = value;
    else if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

const NAMESPACE = "http://www.w3.org/2000/svg";

export function shape(name, attributes, ...children) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const PATHS = {
  yes: "m5 12 5 5 9-10",
  no: "m7 7 10 10M17 7 7 17",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  bin: "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13",
};

export const icon = (name) =>
  shape("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, shape("path", { d: PATHS[name] }));

export function swatch(colour) {
  const made = element("span", { class: "swatch" });
  made.style.background = colour;
  made.style.setProperty("--own", colour);
  return made;
}

// Keeps what has the focus, by its id, while a list is made anew.
export function replaceChildren(list, children) {
  const focused = list.contains(document.activeElement) ? document.activeElement.id : "";
  list.replaceChildren(...children);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

export const percent = (share) => (share === null ? "–" : `${Math.round(share * 100)} %`);
