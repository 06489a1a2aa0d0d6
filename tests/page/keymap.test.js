import assert from "node:assert/strict";
import { test } from "node:test";

import { commandOf, keysOf, nameOf, refusal } from "../../src/sppnet/web/studio/page/keymap.js";

const key = (key, code, held = {}) => ({
  key,
  code,
  shiftKey: false,
  ctrlKey: false,
  metaKey: false,
  altKey: false,
  ...held,
});

test("Caps Lock changes nothing, Shift does", () => {
  assert.equal(commandOf(key("a", "KeyA")), "accept");
  assert.equal(commandOf(key("A", "KeyA")), "accept"); // Caps Lock
  assert.equal(commandOf(key("A", "KeyA", { shiftKey: true })), "accept all");
  assert.equal(commandOf(key("a", "KeyA", { shiftKey: true })), "accept all"); // Caps Lock and Shift
  for (const [letter, command] of [
    ["R", "reject"],
    ["C", "complete"],
    ["D", "done"],
    ["N", "new box"],
    ["Z", "undo"],
  ]) {
    assert.equal(commandOf(key(letter, `Key${letter}`)), command);
  }
});

test("letters go by what is printed on the key where it is Latin", () => {
  assert.equal(commandOf(key("z", "KeyY")), "undo"); // German: Z lies where English has Y
  assert.equal(commandOf(key("y", "KeyZ")), "redo");
  assert.equal(commandOf(key("a", "KeyQ")), "accept"); // French
});

test("letters of other alphabets, input methods and dead keys go by the key's place", () => {
  assert.equal(commandOf(key("ф", "KeyA")), "accept"); // Russian
  assert.equal(commandOf(key("я", "KeyZ")), "undo");
  assert.equal(commandOf(key("Process", "KeyR")), "reject");
  assert.equal(commandOf(key("Dead", "KeyN")), "new box");
  assert.equal(nameOf(key("ä", "Quote")), "ä"); // no letter's place: no command
});

test("digits work without Shift where the keyboard asks for it", () => {
  assert.deepEqual(commandOf(key("1", "Digit1")), { digit: 1 });
  assert.deepEqual(commandOf(key("&", "Digit1")), { digit: 1 }); // French
  assert.deepEqual(commandOf(key("-", "Digit6")), { digit: 6 }); // French
  assert.deepEqual(commandOf(key("1", "Digit1", { shiftKey: true })), { digit: 1 }); // French with Shift
  assert.deepEqual(commandOf(key("5", "Numpad5")), { digit: 5 });
  assert.equal(commandOf(key("!", "Digit1", { shiftKey: true })), null);
  assert.equal(commandOf(key("0", "Digit0")), "fit");
});

test("signs go by the sign, whatever is held for it", () => {
  assert.equal(commandOf(key("?", "Minus", { shiftKey: true })), "help");
  assert.equal(commandOf(key("+", "BracketRight")), "zoom in");
  assert.equal(commandOf(key("-", "Minus")), "zoom out");
  assert.equal(commandOf(key("=", "Digit0", { shiftKey: true })), "zoom in"); // German
});

test("with Ctrl or Command only what is meant so; with Alt nothing", () => {
  assert.equal(commandOf(key("z", "KeyZ", { ctrlKey: true })), "undo");
  assert.equal(commandOf(key("Z", "KeyZ", { metaKey: true, shiftKey: true })), "redo");
  assert.equal(commandOf(key("c", "KeyC", { ctrlKey: true })), "copy");
  assert.equal(commandOf(key("r", "KeyR", { ctrlKey: true })), null); // the browser's: reload
  assert.equal(commandOf(key("a", "KeyA", { altKey: true })), null);
});

const classes = (...keys) => keys.map((key, place) => ({ id: place + 1, name: `class ${place + 1}`, key }));

test("a class's own key is asked first, on every keyboard", () => {
  const own = new Map([
    ["q", 7],
    ["ö", 8],
    [";", 9],
  ]);
  assert.deepEqual(commandOf(key("q", "KeyQ"), own), { own: 7 });
  assert.deepEqual(commandOf(key("Q", "KeyQ"), own), { own: 7 }); // Caps Lock
  assert.deepEqual(commandOf(key("й", "KeyQ"), own), { own: 7 }); // Russian
  assert.deepEqual(commandOf(key("q", "KeyA"), own), { own: 7 }); // French
  assert.deepEqual(commandOf(key("Ö", "Semicolon"), own), { own: 8 }); // German, Caps Lock
  assert.deepEqual(commandOf(key(";", "Comma", { shiftKey: true }), own), { own: 9 }); // German
  assert.equal(commandOf(key("q", "KeyQ", { ctrlKey: true }), own), null);
  assert.equal(commandOf(key("Q", "KeyQ", { shiftKey: true }), own), null);
});

test("from the tenth class on letters follow the digits, and leave out own keys and commands", () => {
  const keys = keysOf(classes("", "", "q", "", "", "", "", "", "", "", "", "e", "", ""));
  assert.deepEqual([...keys.values()].slice(0, 3), ["1", "2", "q"]);
  assert.deepEqual([...keys.values()].slice(9), ["g", "i", "e", "m", "o"]);
  const many = keysOf(classes(...Array(40).fill("")));
  const given = [...many.values()].filter(Boolean);
  assert.equal(new Set(given).size, given.length);
  for (const letter of given.slice(9)) assert.equal(commandOf(key(letter, "")), null);
  assert.equal(many.get(40), ""); // there are no more
});

test("a key that is taken is refused in words that say by what, and which are free", () => {
  const all = classes("", "q");
  assert.equal(refusal("e", all, 1), "");
  assert.equal(refusal("q", all, 2), ""); // its own
  assert.match(refusal("q", all, 1), /^Q is taken: it is the key of class 2\. Free are E, G, I, /);
  assert.match(refusal("a", all, 1), /^A is taken: it already means “accept”\. /);
  assert.match(refusal("3", all, 1), /^3 is taken: digits choose classes by their place\. /);
  assert.equal(refusal("shift", all, 1), "A key is one letter or sign.");
  assert.equal(refusal(" ", all, 1), "A key is one letter or sign.");
});
