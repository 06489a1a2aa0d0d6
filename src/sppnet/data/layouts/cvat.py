"""CVAT's XML: for images, and for video whose frames lie there as images. Boxes in pixels from 0, ends excluded."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from sppnet.data.gathering import BadRowError, RawBox, Row
from sppnet.data.layouts.records import Parsed, Reader, Record, SetFiles
from sppnet.data.layouts.values import angle_in, number_in, outlined, size_in, turned
from sppnet.data.layouts.xml_files import Node, read_xml
from sppnet.data.problems import Problem, broken
from sppnet.geometry import Size
from sppnet.storage import open_file

SHAPE: Final = "CVAT (its XML for images, and images)"
MAX_BYTES: Final = 500_000_000
NO_OBJECTS: Final = frozenset({"tag", "attribute"})


def _fits(path: Path) -> bool:
    try:
        with open_file(path) as file:
            return re.search(rb"<annotations[\s>]", file.read(4096).replace(b"\0", b"")) is not None  # of UTF-16
    except OSError:
        return False


def _parse(path: Path) -> Parsed:
    tree = read_xml(path, limit=MAX_BYTES)
    if tree.tag != "annotations":
        broken(path, f"must hold <annotations>, got <{tree.tag}>", line=tree.line)
    records, strays = [], []
    for node in tree.children:
        if node.tag == "image" and node.attributes.get("name"):
            records.append(_record(path, node))
        elif node.tag == "image":
            strays.append(Problem(path, node.line, "<image> must have a name", "labels-unreadable"))
    tracks = list(_of_tracks(path, tree))
    other = next((node for node in tree.children if node.tag not in ("version", "meta", "image", "track")), None)
    if other is not None and not (records or tracks or strays):
        broken(path, f"<annotations> must hold <image> or <track>, got <{other.tag}>", line=other.line)
    return Parsed([*records, *tracks], _labels(tree), strays=strays)


def _record(path: Path, node: Node) -> Record:
    told = size_in(node.attributes.get("height"), node.attributes.get("width"))
    rows: list[tuple[Row, Reader]] = [
        (Row(path, child.line), partial(_box, child, child.attributes.get("label", "")))
        for child in node.children
        if child.tag not in NO_OBJECTS
    ]
    subset = node.attributes.get("subset", "").lower()
    split = "" if subset == "default" else subset
    return Record(node.attributes["name"], rows, told, line=node.line, split=split)


def _of_tracks(path: Path, tree: Node) -> Iterator[Record]:
    """Yield the frames of a video: CVAT calls their images frame_000000.PNG, or .jpg; what is outside is not seen."""
    frames: dict[str, list[tuple[Row, Reader]]] = defaultdict(list)
    for track in (node for node in tree.children if node.tag == "track"):
        for box in track.children:
            number = box.attributes.get("frame", "")
            if number.isdecimal() and box.attributes.get("outside") != "1":
                read = partial(_box, box, track.attributes.get("label", ""))
                frames[f"frame_{int(number):06d}"].append((Row(path, box.line), read))
    for name, rows in sorted(frames.items()):
        yield Record(name, rows)


def _labels(tree: Node) -> list[str] | None:
    """Return the classes that the task lists."""
    nodes = [tree]
    for tag in ("meta", "task|job|project", "labels", "label"):
        nodes = [child for node in nodes for child in node.children if child.tag in tag.split("|")]
    return [name for node in nodes if (name := node.text_of("name"))] or None


def _box(node: Node, name: str, _: Size) -> RawBox:
    told = node.attributes
    if node.tag == "box":
        edges = [number_in(told.get(key), key) for key in ("xtl", "ytl", "xbr", "ybr")]
        turn = angle_in(told.get("rotation", 0), "rotation")
        if turn:
            return outlined(name.strip(), turned(edges, math.radians(turn)), line=node.line)
        left, top, right, bottom = edges
    elif node.tag == "polygon":
        return outlined(name.strip(), _points(told.get("points", "")), line=node.line)
    elif node.tag == "ellipse":
        x, y, across, down = (number_in(told.get(key), key) for key in ("cx", "cy", "rx", "ry"))
        left, top, right, bottom = x - across, y - down, x + across, y + down
    elif node.tag == "mask":
        left, top, width, height = (number_in(told.get(key), key) for key in ("left", "top", "width", "height"))
        right, bottom = left + width, top + height
    else:
        raise BadRowError(f"<{node.tag}> is no box or polygon; it is left out", "shape-left-out")
    return RawBox(name.strip(), (left, top, right, bottom), node.line)


def _points(text: str) -> list[tuple[float, float]]:
    pairs = [pair.split(",") for pair in text.split(";") if pair]
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise BadRowError(f"points must be x,y;x,y;..., got {text!r:.60}")
    return [(number_in(x, "points"), number_in(y, "points")) for x, y in pairs]


FILES: Final = SetFiles("cvat", (".xml",), "CVAT's XML", _fits, _parse, inner=True)
look = FILES.look
