"""Small images with squares, and labels of them as many tools write them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (160, 120)  # width, height
NAMES = ("a", "b")
Box = tuple[int, int, int, int, int]  # class, left, top, right, bottom


def image(path: Path, seed: int = 0, *, objects: int = 2, form: str | None = None) -> list[Box]:
    """Write an image with squares, red ones "a" and blue ones "b"; return their boxes."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(90, 150, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    boxes = []
    for k in range(objects):
        left, top = int(rng.integers(0, SIZE[0] - 30)), int(rng.integers(0, SIZE[1] - 30))
        pixels[top : top + 30, left : left + 30] = ((220, 30, 30), (30, 30, 220))[k % 2]
        boxes.append((k % 2, left, top, left + 30, top + 30))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format=form)
    return boxes


def text(path: Path, content: str | bytes) -> Path:
    """Write a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def voc(boxes: Sequence[Box], name: str, names: Sequence[str] = NAMES) -> str:
    """Return labels as XML."""
    objects = "".join(
        f"<object><name>{names[c]}</name><bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax>"
        f"<ymax>{bottom}</ymax></bndbox></object>\n"
        for c, left, top, right, bottom in boxes
    )
    size = f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height></size>"
    return f"<annotation><filename>{name}</filename>{size}\n{objects}</annotation>\n"


def yolo(boxes: Sequence[Box]) -> str:
    """Return labels as lines of parts of the image."""
    width, height = SIZE
    rows = (
        (c, (x + r) / 2 / width, (y + b) / 2 / height, (r - x) / width, (b - y) / height) for c, x, y, r, b in boxes
    )
    return "".join(" ".join(map(str, row)) + "\n" for row in rows)


def coco(rows: Mapping[str, Sequence[Box]], *, first: int = 1, names: Sequence[str] = NAMES) -> dict[str, Any]:
    """Return labels of images, by their names in the file, as one document."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, boxes) in enumerate(rows.items(), start=1):
        images.append({"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
        for c, left, top, right, bottom in boxes:
            box = [left, top, right - left, bottom - top]
            number_of = len(annotations) + 1
            row = {"id": number_of, "image_id": number, "category_id": c + first, "bbox": box, "iscrowd": 0}
            annotations.append(row)
    categories = [{"id": k + first, "name": name} for k, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": categories}


def dump(path: Path, document: object) -> Path:
    """Write JSON."""
    return text(path, json.dumps(document, ensure_ascii=False))
