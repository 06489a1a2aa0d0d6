// Where the names of boxes stand, so that each can be read: over its box, else below it, else inside, or nowhere.

export const TALL = 18; // pixels of a name
const GAP = 3; // between a name and its box, and between two names

const covers = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + TALL && b.y < a.y + TALL;

// `tags` hold {edges, width, first}: the edges of a box on the stage, the width of its name, and whether it is shown
// whatever it covers, as that of the chosen box is. Returns those that are shown, each with its corner {x, y}.
export function placed(tags, stage) {
  const shown = [];
  const seen = tags.filter(({ edges: [left, top, right, bottom] }) => {
    return right > 0 && bottom > 0 && left < stage.width && top < stage.height;
  });
  for (const tag of [...seen.filter((each) => each.first), ...seen.filter((each) => !each.first)]) {
    const places = candidates(tag, stage);
    const free = places.find((place) => !shown.some((other) => covers(place, other)));
    if (free) shown.push(free);
    else if (tag.first) shown.push(places[0]);
  }
  return shown;
}

function candidates(tag, stage) {
  const [left, top, right, bottom] = tag.edges;
  const inside = (value, most) => Math.max(0, Math.min(value, most));
  const x = inside(left - 2, stage.width - tag.width);
  const tops = [top - TALL - GAP, bottom + GAP, top + GAP];
  const fitting = tops.filter((y) => y >= 0 && y + TALL <= stage.height);
  const along = (y) => [x, inside(right + 2 - tag.width, stage.width - tag.width)].map((at) => ({ ...tag, x: at, y }));
  const places = fitting.flatMap(along);
  return places.length ? places : along(inside(top + GAP, stage.height - TALL));
}
