// What a key asks for, on every keyboard: with Caps Lock, in other alphabets, and where digits need Shift.

const COMMANDS = {
  a: "accept",
  "shift+a": "accept all",
  enter: "accept chosen",
  r: "reject",
  "shift+r": "reject rest",
  delete: "remove",
  backspace: "remove",
  j: "next box",
  k: "previous box",
  n: "new box",
  c: "complete",
  d: "done",
  t: "teach",
  h: "hide suggestions",
  b: "hide boxes",
  l: "names",
  x: "difficult",
  "shift+x": "crowd",
  z: "undo",
  y: "redo",
  "mod+z": "undo",
  "mod+shift+z": "redo",
  "mod+y": "redo",
  "mod+c": "copy",
  "mod+v": "paste",
  "mod+d": "duplicate",
  "mod+a": "choose all",
  pagedown: "next image",
  pageup: "previous image",
  escape: "cancel",
  "+": "zoom in",
  "=": "zoom in",
  "-": "zoom out",
  0: "fit",
  ".": "zoom to box",
  "/": "search",
  "?": "help",
  f1: "help",
};

const UNNAMED = ["Process", "Dead", "Unidentified"]; // an input method, or half of an accent

// The key as one name, lower case: a letter of the Latin alphabet by what is printed on it, of another one by its place.
export function nameOf({ key, code = "", shiftKey = false }) {
  if (/^[a-z0-9]$/i.test(key)) return key.toLowerCase();
  if (/^Digit[0-9]$/.test(code) && !shiftKey) return code.at(-1);
  const foreign = UNNAMED.includes(key) || (key.length === 1 && key > "\u007f");
  if (foreign && /^Key[A-Z]$/.test(code)) return code.at(-1).toLowerCase();
  return key.toLowerCase();
}

// A command's name, {digit} for the place of a class, {own} for a key that a class was given, or null.
export function commandOf(event, own = new Map()) {
  if (event.altKey) return null;
  const name = nameOf(event);
  const mod = event.ctrlKey || event.metaKey;
  const printed = name.length === 1 && !/[a-z0-9]/.test(name);
  if (!mod && !event.shiftKey && own.has(name)) return { own: own.get(name) };
  if (!mod && /^[1-9]$/.test(name)) return { digit: Number(name) };
  const shift = event.shiftKey && !printed && !/^[0-9]$/.test(name);
  return COMMANDS[`${mod ? "mod+" : ""}${shift ? "shift+" : ""}${name}`] ?? null;
}

// Keys that a class can have for its own: those that ask for nothing else.
export const isFree = (key) => /^[a-z]$/.test(key) && !Object.hasOwn(COMMANDS, key);
