// Which items of a long list can be seen, so that only these are made. Lengths in pixels of the screen.

export const columnsOf = (width, least) => Math.max(1, Math.floor(width / least));

// Items lie in rows of `columns`, each `row` high. First and last (excluded) item to make, with a few rows to spare.
export function visible({ offset, extent, row, columns, count, spare = 3 }) {
  const rows = Math.ceil(count / columns);
  const first = Math.max(0, Math.floor(offset / row) - spare);
  const last = Math.min(rows, Math.ceil((offset + extent) / row) + spare);
  return { first: Math.min(count, first * columns), last: Math.min(count, last * columns), height: rows * row };
}

// Where to scroll so that an item is seen; the offset itself if it is.
export function revealing(index, { offset, extent, row, columns }) {
  const top = Math.floor(index / columns) * row;
  if (top < offset) return top;
  return Math.max(offset, top + row - extent);
}
