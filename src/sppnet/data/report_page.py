"""A data set as one page to look at: what is wrong, counts, sizes, images with their boxes. No scripts, no links."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from sppnet.data.inspection import RECALL_AT, Inspection
from sppnet.data.problems import CODES, LEVELS, Problem, printable
from sppnet.data.samples import Outline
from sppnet.errors import ImageDecodeError
from sppnet.geometry import Boxes, longer_side_size
from sppnet.images import encode, read_image, resize

SHOWN: Final = 48  # images on the page: those with problems first
NAMED: Final = 20  # problems of one code that are named
SIDE: Final = 320  # pixels of the longer side
EDGES: Final = (0, 16, 32, 64, 128, 256, 512, np.inf)  # pixels: shorter sides of boxes are counted between these
# Told apart with any colour vision (Okabe and Ito 2008), on light and dark images.
COLOURS: Final = ("#d55e00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#0072b2", "#e69f00")
Drawn = tuple[str, Boxes, Outline]  # class, box, outline
STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1c1c1c; }
h1, p { overflow-wrap: anywhere; } .wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .2rem .8rem; text-align: right; }
th:first-child, td:first-child { text-align: left; } tr { border-bottom: 1px solid #ddd; }
.images { display: flex; flex-wrap: wrap; gap: 1rem; } svg { width: 100%; }
figure { margin: 0; width: min(20rem, 100%); }
figcaption { overflow-wrap: anywhere; font-size: 13px; } rect, polygon { fill: none; }
span { display: inline-block; margin-right: 1.2em; }
b { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
.error { color: #b00020; } .warning { color: #8a5a00; } li { overflow-wrap: anywhere; }
"""


def report_page(title: str, found: Inspection) -> str:
    """Return the page as HTML, with everything in it."""
    parts = [
        f"<h1>{_text(title)}</h1><p>{_text(found.saw)} ({_text(found.layout)}).</p>",
        "<h2>Problems</h2>" + _problems(found.problems),
        "<h2>Classes</h2>" + _classes(found),
        *_boxes(found),
        *_images(found),
    ]
    head = f'<meta charset="utf-8"><title>{_text(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _text(text: object) -> str:
    return html.escape(printable(text))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    titles = "".join(f"<th>{_text(cell)}</th>" for cell in head)
    return f'<div class="wide"><table><tr>{titles}</tr>{body}</table></div>'


def _problems(problems: Sequence[Problem]) -> str:
    if not problems:
        return "<p>None.</p>"
    lists = []
    for code in sorted({problem.code for problem in problems}, key=lambda code: LEVELS.index(CODES[code][0])):
        mine = [problem for problem in problems if problem.code == code]
        level, meaning = CODES[code]
        items = "".join(f"<li>{_text(problem)}</li>" for problem in mine[:NAMED])
        more = f"<li>and {len(mine) - NAMED} more</li>" if len(mine) > NAMED else ""
        lists.append(f'<h3 class="{level}">{len(mine)} x {level}: {_text(meaning)}</h3><ul>{items}{more}</ul>')
    return "".join(lists)


def _classes(found: Inspection) -> str:
    head = ["class", *found.images, *(f"proposal recall at {iou}" for iou in RECALL_AT if found.proposal_recall)]
    rows = [
        [name, *counts.values(), *(f"{share:.1%}" for share in found.proposal_recall.get(name, ()))]
        for name, counts in found.objects.items()
    ]
    return _table(head, [["images", *found.images.values()], *rows])


def _boxes(found: Inspection) -> list[str]:
    # Each image once: VOC's trainval holds those of train and val again.
    samples = list({sample.path: sample for part in found.parts.values() for sample in part.samples}.values())
    if not samples:
        return []
    sides = np.concatenate([(each.boxes[:, 2:] - each.boxes[:, :2]).min(axis=1) for each in samples])
    counts, _ = np.histogram(sides, EDGES)
    names = [f"{low:g} to {high:g} pixels" if high < np.inf else f"{low:g} and more" for low, high in pairwise(EDGES)]
    return ["<h2>Shorter sides of boxes</h2>" + _table(["side", "boxes"], zip(names, counts.tolist(), strict=True))]


def _images(found: Inspection) -> list[str]:
    """Return the images with their boxes in the colours of their classes: those with problems first."""
    named = {problem.path for problem in found.problems}
    shown: dict[Path, list[Drawn]] = {}
    for part in found.parts.values():
        shown |= {path: [] for path in part.paths}
        for sample in part.samples:
            rows = zip(sample.labels, sample.boxes, sample.all_outlines, strict=True)
            shown[sample.path] = [(part.classes[label], box, outline) for label, box, outline in rows]
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(found.objects)}
    first = sorted(shown, key=lambda path: path not in named)[:SHOWN]
    of_all = f"{len(first)} of {len(shown)} images, those with problems first." if len(first) < len(shown) else ""
    boxed = any(shown.values())
    legend = "".join(
        f'<span><b style="background: {colours[name]}"></b>{_text(name)}</span> ' for name in found.objects
    )
    figures = "".join(_figure(path, shown[path], colours) for path in first)
    return [f"<h2>Images</h2><p>{of_all}</p><p>{legend if boxed else ''}</p>", f'<div class="images">{figures}</div>']


def _figure(path: Path, boxes: Sequence[Drawn], colours: Mapping[str, str]) -> str:
    try:
        pixels = read_image(path)
    except ImageDecodeError as error:
        return f'<figure><figcaption class="error">{_text(error)}</figcaption></figure>'
    height, width = pixels.shape[:2]
    small = encode(resize(pixels, longer_side_size((height, width), SIDE)), "JPEG", quality=80)
    data = base64.b64encode(small).decode()
    line = max(height, width) / 160
    shapes = "".join(_shapes(each, f'stroke="{colours[each[0]]}" stroke-width="{line:g}"') for each in boxes)
    shown = f'<image href="data:image/jpeg;base64,{data}" width="{width}" height="{height}"/>'
    number = f"{len(boxes)} box{'' if len(boxes) == 1 else 'es'}"
    label = _text(f"{path.name}: {number}" if boxes else path.name)
    drawing = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{shown}{shapes}</svg>'
    return f"<figure>{drawing}<figcaption>{label}</figcaption></figure>"


def _shapes(drawn: Drawn, stroke: str) -> str:
    """Return a box, and its outline if there is one, as SVG."""
    name, (left, top, right, bottom), outline = drawn
    sides = f'x="{left:g}" y="{top:g}" width="{right - left:g}" height="{bottom - top:g}"'
    polygons = [" ".join(f"{x:g},{y:g}" for x, y in points) for points in outline]
    drawings = "".join(f'<polygon points="{points}" {stroke}/>' for points in polygons)
    return f"<rect {sides} {stroke}><title>{_text(name)}</title></rect>{drawings}"
