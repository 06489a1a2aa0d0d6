import assert from "node:assert/strict";
import { test } from "node:test";

import { commandOf, isFree, nameOf } from "../../src/sppnet/web/studio/page/keymap.js";

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

test("a class's own key is asked first, and cannot be a command's", () => {
  const own = new Map([["q", 7]]);
  assert.deepEqual(commandOf(key("Q", "KeyQ"), own), { own: 7 });
  assert.equal(commandOf(key("q", "KeyQ", { ctrlKey: true }), own), null);
  assert.equal(isFree("q"), true);
  assert.equal(isFree("a"), false);
  assert.equal(isFree("1"), false);
});
