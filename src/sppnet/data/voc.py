"""Pascal VOC: Annotations/*.xml, JPEGImages/, ImageSets/Main/<split>.txt.

Its corners count from 1 and both are part of the box; they are converted here and nowhere else.
"""

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from sppnet.data.gathering import Listing, RawBox, RawImage, answer_rows, check_found, unique_stems
from sppnet.data.rules import LEADS_OUT, broken, files_in, find_image, has_suffix, lies_within, read_text
from sppnet.data.samples import DetectionData, Sample, ScoredBoxes
from sppnet.data.voc_xml import Node, read_xml
from sppnet.errors import DataError, check_that
from sppnet.images import is_image
from sppnet.storage import write_file

LAYOUT: Final = "VOC (Annotations/*.xml, JPEGImages/, ImageSets/Main/<split>.txt)"
MAX_SET_BYTES: Final = 100_000_000
# Beside the splits, VOC lists who shows a class: "2008_000008 -1", "2008_000015  1".
_CLASS_LINE: Final = re.compile(r" (-1| 0| 1)\s*$")


def matches(root: Path) -> bool:
    """Tell whether a folder has this layout."""
    return bool(_annotations(root))


def splits(root: Path) -> tuple[str, ...]:
    """Return the names of the splits, sorted; empty if there are none."""
    return tuple(path.stem for path in files_in(root / "ImageSets" / "Main", has_suffix(".txt")) if _is_split(path))


def listing(root: Path, split: str | None) -> Listing:
    """List the images of a split, None for all; the classes are those that the boxes name."""
    images = {path.stem: path for path in reversed(files_in(root / "JPEGImages", is_image))}
    annotations = {path.stem: path for path in _annotations(root)}
    if split is None:
        return Listing(None, [partial(_read, root, path, images) for path in annotations.values()])
    names = root / "ImageSets" / "Main" / f"{split}.txt"
    lines = {text.strip(): line for line, text in enumerate(_lines(root, names), start=1) if text.strip()}

    def read(name: str) -> RawImage:
        if name not in annotations:
            broken(names, f"the annotation of {name!r} is missing in Annotations", line=lines[name])
        return _read(root, annotations[name], images)

    return Listing(None, [partial(read, name) for name in lines])


def _annotations(root: Path) -> list[Path]:
    return files_in(root / "Annotations", has_suffix(".xml"))


def _lines(root: Path, path: Path) -> list[str]:
    return read_text(root, path, limit=MAX_SET_BYTES).splitlines()


def _is_split(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return not _CLASS_LINE.search(file.readline(1000))


def _read(root: Path, annotation: Path, images: dict[str, Path]) -> RawImage:
    if not lies_within(root, annotation):
        broken(annotation, LEADS_OUT)
    tree = read_xml(annotation)
    if tree.tag != "annotation":
        broken(annotation, f"must hold an <annotation>, got <{tree.tag}>", line=tree.line)
    # The tag often names another file than the one it came with: the annotation's own name goes first.
    tag = tree.find("filename")
    name = tag.text.strip() if tag and tag.text.strip() else annotation.stem
    candidates = [images[annotation.stem]] if annotation.stem in images else [root / "JPEGImages" / name]
    path, size = find_image(root, candidates, source=annotation, name=name, line=tag.line if tag else None)
    boxes = [_box(annotation, node) for node in tree.children if node.tag == "object"]
    return RawImage(path, size, annotation, boxes)


def _box(annotation: Path, node: Node) -> RawBox:
    name, box, difficult = (
        _child(annotation, node, "name"),
        _child(annotation, node, "bndbox"),
        node.find("difficult"),
    )
    left, top, right, bottom = (_number(annotation, box, edge) for edge in ("xmin", "ymin", "xmax", "ymax"))
    return RawBox(
        name=name.text.strip(),
        edges=(left - 1, top - 1, right, bottom),
        line=box.line,
        difficult=difficult is not None and difficult.text.strip() == "1",
    )


def _child(annotation: Path, node: Node, tag: str) -> Node:
    child = node.find(tag)
    if child is None:
        broken(annotation, f"<{node.tag}> must hold <{tag}>", line=node.line)
    return child


def _number(annotation: Path, box: Node, tag: str) -> float:
    node = _child(annotation, box, tag)
    try:
        return float(node.text)
    except ValueError:
        broken(annotation, f"<{tag}> must be a number, got {node.text.strip()[:40]!r}", line=node.line)


def write_voc(folder: Path | str, data: DetectionData) -> None:
    """Write ``Annotations/*.xml`` and ``ImageSets/Main/<split>.txt``; no images are copied.

    VOC counts whole pixels: other boxes grow to the pixels they touch. It knows no crowds.

    Raises:
        DataError: two images of the same name.
    """
    folder = Path(folder)
    stems = unique_stems(data)
    for stem, sample in zip(stems, data.samples, strict=True):
        document = _document(sample, data.classes)
        indent(document)
        write_file(folder / "Annotations" / f"{stem}.xml", tostring(document, encoding="utf-8"))
    names = "".join(f"{stem}\n" for stem in stems)
    write_file(folder / "ImageSets" / "Main" / f"{data.split}.txt", names)


def _document(sample: Sample, classes: tuple[str, ...]) -> Element:
    document = Element("annotation")
    SubElement(document, "filename").text = sample.path.name
    size = SubElement(document, "size")
    for tag, pixels in zip(("width", "height", "depth"), (sample.size[1], sample.size[0], 3), strict=True):
        SubElement(size, tag).text = str(pixels)
    for (left, top, right, bottom), label, difficult in zip(
        sample.boxes.tolist(), sample.labels.tolist(), sample.difficult.tolist(), strict=True
    ):
        found = SubElement(document, "object")
        SubElement(found, "name").text = classes[label]
        SubElement(found, "difficult").text = str(int(difficult))
        box = SubElement(found, "bndbox")
        edges = (math.floor(left) + 1, math.floor(top) + 1, math.ceil(right), math.ceil(bottom))
        for tag, edge in zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True):
            SubElement(box, tag).text = str(edge)
    return document


def write_voc_results(
    folder: Path | str,
    data: DetectionData,
    found: Sequence[ScoredBoxes],
    *,
    competition: Literal["comp3", "comp4"] = "comp4",
) -> None:
    """Write detections as VOC's development kit reads them: ``<competition>_det_<split>_<class>.txt``, one a class.

    A line is ``<image> <score> <left> <top> <right> <bottom>``. Boxes are not rounded: VOC's evaluation takes
    parts of pixels as they are.

    Args:
        folder: to write to; made where it is missing. data: the images. found: one an image; labels are indices
            into ``data.classes``.
        competition: "comp4", or "comp3" for what learnt from VOC's own images only: no network that has seen
            ImageNet did.
    Raises:
        ArgumentError: another number of answers than images, or another competition.
        DataError: two images of the same name, an image's name with a space, or a class's with a slash.
    """
    known = competition in ("comp3", "comp4")
    advice = "Name one of these"
    check_that(known, "write_voc_results", "competition", "comp3 or comp4", repr(competition), advice=advice)
    check_found("write_voc_results", found, data)
    stems = unique_stems(data)
    for name, allowed in [*((stem, r"\S+") for stem in stems), *((name, r"[^/\\\0]+") for name in data.classes)]:
        if not re.fullmatch(allowed, name):
            raise DataError(f"{data.root}: VOC's result files have no place for the name {name!r}. Write COCO's.")
    lines: dict[str, list[str]] = {name: [] for name in data.classes}
    for stem, answer in zip(stems, found, strict=True):
        for name, (left, top, right, bottom), score in answer_rows(answer, data.classes):
            lines[name].append(f"{stem} {score} {left + 1} {top + 1} {right} {bottom}\n")
    for name, mine in lines.items():
        write_file(Path(folder) / f"{competition}_det_{data.split}_{name}.txt", "".join(mine))
