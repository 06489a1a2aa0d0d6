// What looks like one box, or like one image, as it comes from the studio: the best first, no more than can be looked at.

export const MOST = 60;

export const merged = (rows, more, most = MOST) =>
  [...rows, ...more].sort((a, b) => b.cosine - a.cosine).slice(0, most);

// Which part of an image to show in a tile so that a box, with some of its surroundings, fills it: the background's size
// and position in pixels of the tile. `edges` and the image are in pixels of the image.
export function cropped(edges, image, tile, around = 1.25) {
  const [left, top, right, bottom] = edges;
  const scale = Math.min(tile.width / (right - left), tile.height / (bottom - top)) / around;
  const whole = { width: image.width * scale, height: image.height * scale };
  const at = (middle, side, length) => {
    const start = side / 2 - middle * scale;
    return length <= side ? (side - length) / 2 : Math.min(0, Math.max(side - length, start));
  };
  return {
    ...whole,
    x: at((left + right) / 2, tile.width, whole.width),
    y: at((top + bottom) / 2, tile.height, whole.height),
  };
}

// How far the search is, in words.
export function progressText({ looked, total, missing, found, searching, what }) {
  const images = (number) => `${number} ${number === 1 ? "image" : "images"}`;
  const far = searching || looked < total ? `Looked at ${looked} of ${images(total)}` : `Looked at ${images(total)}`;
  const those = found ? `the ${found} most like ${what}, best first` : "nothing like it is left to answer";
  const rest = missing ? ` Features of ${images(missing)} are not computed yet: look again later.` : "";
  return `${far}: ${searching && !found ? "nothing yet" : those}.${rest}`;
}
