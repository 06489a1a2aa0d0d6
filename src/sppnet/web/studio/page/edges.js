// Boxes [left, top, right, bottom] in pixels of the image.

export const SMALLEST = 3;

export const HANDLES = [
  [0, 0],
  [0.5, 0],
  [1, 0],
  [0, 0.5],
  [1, 0.5],
  [0, 1],
  [0.5, 1],
  [1, 1],
];

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

const rounded = (edges) => edges.map((edge) => Math.round(edge * 10) / 10);

export function between([x1, y1], [x2, y2], { width, height }) {
  const across = [clamp(x1, 0, width), clamp(x2, 0, width)].sort((a, b) => a - b);
  const down = [clamp(y1, 0, height), clamp(y2, 0, height)].sort((a, b) => a - b);
  return rounded([across[0], down[0], across[1], down[1]]);
}

export function moved([left, top, right, bottom], across, down, { width, height }) {
  const dx = clamp(across, -left, width - right);
  const dy = clamp(down, -top, height - bottom);
  return rounded([left + dx, top + dy, right + dx, bottom + dy]);
}

// Moves the edges that a handle holds; they never pass the opposite ones.
export function resized([left, top, right, bottom], [u, v], across, down, { width, height }) {
  const edges = [left, top, right, bottom];
  if (u === 0) edges[0] = clamp(left + across, 0, right - SMALLEST);
  if (u === 1) edges[2] = clamp(right + across, left + SMALLEST, width);
  if (v === 0) edges[1] = clamp(top + down, 0, bottom - SMALLEST);
  if (v === 1) edges[3] = clamp(bottom + down, top + SMALLEST, height);
  return rounded(edges);
}

export const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);

export const inside = ([left, top, right, bottom], [x, y], margin = 0) =>
  x >= left - margin && x <= right + margin && y >= top - margin && y <= bottom + margin;

export const largeEnough = ([left, top, right, bottom]) => right - left >= SMALLEST && bottom - top >= SMALLEST;

// By how much a box lies elsewhere in the same size, null where it was resized.
export function shift(from, to) {
  const [left, top, right, bottom] = to.map((edge, place) => edge - from[place]);
  return Math.max(Math.abs(left - right), Math.abs(top - bottom)) > 0.3 ? null : [left, top];
}

// Two boxes that a person would call one.
export const nearlySame = (a, b) => a.every((edge, place) => Math.abs(edge - b[place]) < 1);

// Intersection over union.
export function overlap(a, b) {
  const [width, height] = [0, 1].map((side) => Math.min(a[side + 2], b[side + 2]) - Math.max(a[side], b[side]));
  if (width <= 0 || height <= 0) return 0;
  return (width * height) / (area(a) + area(b) - width * height);
}
