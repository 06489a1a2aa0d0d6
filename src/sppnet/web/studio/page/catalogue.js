// The images of the folder and what there is in all of them together, kept up to date image by image.

const collator = new Intl.Collator(undefined, { numeric: true });

export const sum = (counts) => Object.values(counts).reduce((total, number) => total + number, 0);

export const isLabelled = (image) => image.complete || sum(image.objects) > 0;

export class Catalogue {
  constructor() {
    this.clear();
  }

  clear() {
    this.images = new Map(); // id -> what the gallery shows
    this.totals = { labelled: 0, complete: 0, learnable: 0, faulty: 0, objects: {}, found: {} };
    this.ranks = null; // id -> its place by name
  }

  get size() {
    return this.images.size;
  }

  get(id) {
    return this.images.get(id);
  }

  has(id) {
    return this.images.has(id);
  }

  set(image) {
    const before = this.images.get(image.id);
    if (before) this.count(before, -1);
    if (before?.name !== image.name) this.ranks = null;
    this.images.set(image.id, image);
    this.count(image, 1);
  }

  count(image, sign) {
    const { totals } = this;
    totals.labelled += sign * isLabelled(image);
    totals.complete += sign * Boolean(image.complete);
    totals.learnable += sign * Boolean(image.complete && !image.fault && sum(image.objects)); // by the network
    totals.faulty += sign * Boolean(image.fault);
    for (const kind of ["objects", "found"]) {
      for (const [label, number] of Object.entries(image[kind]))
        totals[kind][label] = (totals[kind][label] ?? 0) + sign * number;
    }
  }

  rankOf(id) {
    if (!this.ranks) {
      const sorted = [...this.images.values()].sort((a, b) => collator.compare(a.name, b.name));
      this.ranks = new Map(sorted.map((image, rank) => [image.id, rank]));
    }
    return this.ranks.get(id);
  }

  // Ids of the images that the detector is less sure of than of most that are not complete.
  unsure() {
    const open = [...this.images.values()].filter((image) => !image.complete && !image.fault);
    const mean = open.reduce((total, image) => total + (image.doubt ?? 0), 0) / Math.max(1, open.length);
    return new Set(open.filter((image) => (image.doubt ?? 0) > mean).map((image) => image.id));
  }

  // Ids in the order asked for, of the images that pass. `order` holds the most useful to label, the first first.
  arranged({ sort = "name", order = [], passes = () => true }) {
    const places = new Map(order.map((id, place) => [id, place]));
    const last = order.length;
    const weights = {
      next: (image) => (image.complete ? last + 2 : (places.get(image.id) ?? last + isLabelled(image))),
      name: () => 0,
      found: (image) => -sum(image.found),
      boxed: (image) => -sum(image.objects),
      unlabelled: (image) => Number(isLabelled(image)),
      unsure: (image) => (image.complete ? 1 : -(image.doubt ?? 0)),
    };
    const weight = weights[sort];
    const rows = [];
    for (const image of this.images.values())
      if (passes(image)) rows.push([weight(image), this.rankOf(image.id), image.id]);
    rows.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    return rows.map((row) => row[2]);
  }
}

const STATES = {
  all: () => true,
  unlabelled: (image) => !isLabelled(image),
  labelled: isLabelled,
  complete: (image) => image.complete,
  open: (image) => isLabelled(image) && !image.complete,
  found: (image) => sum(image.found) > 0,
  noted: (image) => Boolean(image.note),
  faulty: (image) => Boolean(image.fault),
  wrong: (image) => image.complete,
  unsure: (image) => !image.complete,
};

const COMPARED = { "<": (a, b) => a < b, ">": (a, b) => a > b, "=": (a, b) => a === b };

// Whether an image fits a word of a search: a part of its name, or as ">3" a number of its boxes.
function fits(image, word) {
  const [, sign, number] = /^([<>=])(\d+)$/.exec(word) ?? [];
  return sign ? COMPARED[sign](sum(image.objects), Number(number)) : image.name.toLowerCase().includes(word);
}

// Whether an image passes a search, a state, a class that it must hold, and is `among` some.
export function filter({ text = "", state = "all", label = null, among = null }) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return (image) =>
    STATES[state](image) &&
    (among?.has(image.id) ?? true) &&
    (label === null || (image.objects[label] ?? 0) + (image.found[label] ?? 0) > 0) &&
    words.every((word) => fits(image, word));
}
