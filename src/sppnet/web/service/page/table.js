// Results as a table that spreadsheets open: one row a find, one without a find for an image that shows nothing.

const COLUMNS = ["image", "class", "sure", "left", "top", "right", "bottom", "problem"];

// A text that a spreadsheet would run as a formula gets an apostrophe.
function cell(value) {
  const text = typeof value === "number" ? String(value) : String(value ?? "").replace(/^[=+\-@\t\r']/, "'$&");
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csvOf(results) {
  const rows = results.flatMap(({ image, problem, rows: found }) =>
    (found.length ? found : [{}]).map((row) => [image, row.class, row.sure, ...(row.box ?? ["", "", "", ""]), problem]),
  );
  return [COLUMNS, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}
