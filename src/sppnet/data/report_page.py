"""A data set as one page to look at: what is wrong, counts, sizes, images with their boxes. No scripts, no links."""

import base64
import html
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from sppnet.data.inspection import RECALL_AT, Inspection
from sppnet.data.problems import CODES, LEVELS, Problem, printable
from sppnet.data.samples import DetectionData
from sppnet.errors import ImageDecodeError
from sppnet.geometry import Boxes, longer_side_size
from sppnet.images import encode, read_image, resize

SHOWN: Final = 48  # images on the page: those with problems first
NAMED: Final = 20  # problems of one code that are named
SIDE: Final = 320  # pixels of the longer side
EDGES: Final = (0, 16, 32, 64, 128, 256, 512, np.inf)  # pixels: shorter sides of boxes are counted between these
STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1c1c1c; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .2rem .8rem; text-align: right; }
th:first-child, td:first-child { text-align: left; } tr { border-bottom: 1px solid #ddd; }
.images { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; width: 20rem; } img, svg { width: 100%; }
figcaption { overflow-wrap: anywhere; font-size: 13px; } rect { fill: none; stroke: #d6006c; }
.error { color: #b00020; } .warning { color: #8a5a00; } li { overflow-wrap: anywhere; }
"""


def report_page(title: str, found: Inspection) -> str:
    """Return the page as HTML, with everything in it."""
    parts = [
        f"<h1>{_text(title)}</h1><p>{_text(found.saw)} ({_text(found.layout)}).</p>",
        "<h2>Problems</h2>" + _problems(found.problems),
        "<h2>Classes</h2>" + _classes(found),
        *_boxes(found),
        '<h2>Images</h2><div class="images">' + "".join(_figures(found)) + "</div>",
    ]
    head = f'<meta charset="utf-8"><title>{_text(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _text(text: object) -> str:
    return html.escape(printable(text))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return "<table><tr>" + "".join(f"<th>{_text(cell)}</th>" for cell in head) + f"</tr>{body}</table>"


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
    samples = [sample for part in found.parts.values() if isinstance(part, DetectionData) for sample in part.samples]
    if not samples:
        return []
    sides = np.concatenate([(each.boxes[:, 2:] - each.boxes[:, :2]).min(axis=1) for each in samples])
    counts, _ = np.histogram(sides, EDGES)
    names = [f"{low:g} to {high:g} pixels" for low, high in pairwise(EDGES)]
    return ["<h2>Shorter sides of boxes</h2>" + _table(["side", "boxes"], zip(names, counts.tolist(), strict=True))]


def _figures(found: Inspection) -> list[str]:
    named = {problem.path for problem in found.problems}
    shown: list[tuple[Path, list[tuple[str, Boxes]]]] = [
        (sample.path, [(part.classes[label], box) for label, box in zip(sample.labels, sample.boxes, strict=True)])
        for part in found.parts.values()
        if isinstance(part, DetectionData)
        for sample in part.samples
    ]
    shown += [(path, []) for part in found.parts.values() if not isinstance(part, DetectionData) for path in part.paths]
    shown.sort(key=lambda each: each[0] not in named)
    return [_figure(path, boxes) for path, boxes in shown[:SHOWN]]


def _figure(path: Path, boxes: Sequence[tuple[str, Boxes]]) -> str:
    try:
        pixels = read_image(path)
    except ImageDecodeError as error:
        return f'<figure><figcaption class="error">{_text(error)}</figcaption></figure>'
    height, width = pixels.shape[:2]
    small = encode(resize(pixels, longer_side_size((height, width), SIDE)), "JPEG", quality=80)
    data = base64.b64encode(small).decode()
    rects = "".join(
        f'<rect x="{left:g}" y="{top:g}" width="{right - left:g}" height="{bottom - top:g}" '
        f'stroke-width="{max(height, width) / 160:g}"><title>{_text(name)}</title></rect>'
        for name, (left, top, right, bottom) in boxes
    )
    shown = f'<image href="data:image/jpeg;base64,{data}" width="{width}" height="{height}"/>'
    label = _text(f"{path.name}: {len(boxes)} boxes" if boxes else path.name)
    drawing = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{shown}{rects}</svg>'
    return f"<figure>{drawing}<figcaption>{label}</figcaption></figure>"
