// Which suggestions of an image are shown: those from the threshold up, and a few guesses below it.

import { overlap } from "./edges.js";

const GUESSES = 2; // of a class in an image
const GUESSED = 4; // of all classes
const HARDLY = 0.05; // confidence below which a guess shows nothing but noise

export const thresholdOf = (label, { threshold, thresholds }) => threshold ?? thresholds[label] ?? 0.5;

// What every complete image holds is expected of the others too: the best suggestion of it counts, if it is not far off.
export const isGuess = ({ score, label, expected }, model) =>
  score < thresholdOf(label, model) && !(expected && model.threshold === null);

const SURE = 0.8; // confidence from which on a drawn box takes the edges of what is found there
const SAME = 0.7; // overlap from which on two boxes are of one object, whatever their classes

// The edges that a drawn box gets: those of the suggestion for the same object, where the detector is sure of it and its
// suggestions of the class are right mostly; otherwise as they were drawn.
export function fitted(edges, label, model) {
  if (model.hides.suggestions || !model.status.trusted?.includes(label)) return edges;
  const sure = Math.max(SURE, thresholdOf(label, model));
  const near = model.suggestions
    .filter((each) => each.label === label && each.score >= sure)
    .map((each) => ({ edges: each.edges, same: overlap(each.edges, edges) }))
    .sort((a, b) => b.same - a.same)[0];
  return near?.same >= SAME ? near.edges : edges;
}

// A detector that has seen a few boxes is sure of little. Until its suggestions of a class are known to be right mostly
// (`status.trusted`), its best guesses are shown too, so that there is something to answer. A guess that was rejected is
// not replaced by a worse one.
export function shown(model) {
  const { suggestions, boxes, status, hides } = model;
  if (hides.suggestions) return [];
  const trusted = new Set(status.trusted);
  const rejected = boxes.filter(({ kind }) => kind === "rejected");
  const room = new Map();
  for (const { label } of rejected) room.set(label, (room.get(label) ?? GUESSES) - 1);
  let all = GUESSED - rejected.length;
  const chosen = (least) =>
    suggestions.filter((each) => {
      if (!isGuess(each, model)) return true;
      const left = room.get(each.label) ?? GUESSES;
      if (all <= 0 || left <= 0 || each.score < least || trusted.has(each.label)) return false;
      room.set(each.label, left - 1);
      all -= 1;
      return true;
    });
  const found = chosen(HARDLY);
  return found.length || boxes.length ? found : chosen(0); // there is something to answer, however poor
}

// What accepting all of these accepts. Two that lie on one object as different classes cannot both be right: the surer.
export function acceptable(suggestions) {
  const surest = suggestions.toSorted((a, b) => b.score - a.score);
  const kept = [];
  for (const each of surest)
    if (!kept.some((other) => other.label !== each.label && overlap(other.edges, each.edges) >= SAME)) kept.push(each);
  return suggestions.filter((each) => kept.includes(each));
}
