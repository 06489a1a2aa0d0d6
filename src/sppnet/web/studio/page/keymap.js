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
  f: "find more",
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
  if (!mod && own.has(name) && (printed || !event.shiftKey)) return { own: own.get(name) };
  if (!mod && /^[1-9]$/.test(name)) return { digit: Number(name) };
  const shift = event.shiftKey && !printed && !/^[0-9]$/.test(name);
  return COMMANDS[`${mod ? "mod+" : ""}${shift ? "shift+" : ""}${name}`] ?? null;
}

// Letters that ask for nothing else, for classes without a digit and a key of their own.
const LETTERS = [..."abcdefghijklmnopqrstuvwxyz"].filter((letter) => !Object.hasOwn(COMMANDS, letter));

const free = (classes) => LETTERS.filter((letter) => !classes.some((each) => each.key === letter));

// The key of each class, by its id: its own, else the digit of its place, from the tenth on the next letter that is free.
export function keysOf(classes) {
  const letters = free(classes);
  const given = (each, place) => each.key || (place < 9 ? `${place + 1}` : (letters.shift() ?? ""));
  return new Map(classes.map((each, place) => [each.id, given(each, place)]));
}

// Why a class cannot have a key for its own, "" if it can.
export function refusal(key, classes, id) {
  if ([...key].length !== 1 || /\s/.test(key)) return "A key is one letter or sign.";
  const other = classes.find((each) => each.key === key && each.id !== id);
  const reason =
    (/[0-9]/.test(key) && "digits choose classes by their place") ||
    (Object.hasOwn(COMMANDS, key) && `it already means “${COMMANDS[key]}”`) ||
    (other && `it is the key of ${other.name}`);
  if (!reason) return "";
  return `${key.toUpperCase()} is taken: ${reason}. Free are ${free(classes).join(", ").toUpperCase() || "signs"}.`;
}
