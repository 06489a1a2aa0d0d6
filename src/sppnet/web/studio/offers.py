"""Labels and predictions that lie in files -> what they say of the images of a folder, and how that is taken in.

The labels that lie in a folder at its first opening go this way, and so does every import later.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sppnet.data import DetectionData, Outline, Problem, Sample, open_dataset, printable
from sppnet.data.contents import Contents
from sppnet.data.layouts.values import read_json
from sppnet.data.names import Finder, stem_of
from sppnet.detection.drawing import colour_of
from sppnet.errors import DataError, ImageDecodeError, message
from sppnet.geometry import clip_boxes, iou
from sppnet.progress import Progress, silent
from sppnet.storage import open_file
from sppnet.web.studio.store import Box, Step, Store, StoredImage, Values
from sppnet.web.studio.suggestions import SAME_OBJECT, SAME_PLACE

if TYPE_CHECKING:
    from sppnet.detection.detector import Detector

SAME_EDGES: Final = 1.0  # pixels that the edges of one box differ by at most when it is drawn twice
SAME_BOX: Final = 0.9  # overlap from which on two of a class are one: formats round, and count pixels from 0 or 1
CORNERS: Final = ("left", "top", "right", "bottom")
UNMATCHED: Final = frozenset({"image-missing", "labels-without-image"})  # problems: labels of images that are not here
EXPECTED: Final = frozenset({"image-without-labels", "labels-empty"})  # labels need not be of all, nor of an object


@dataclass
class Offer:
    """What files say of the images of a folder.

    Args:
        saw: what was read, as a person would say it.
        classes: names, in the order of the files.
        boxes: of each image by its name in the folder: columns of a box, its class by name; predictions have a "score".
        empty: names of images whose own labels say that they show no object. Where one file lists all images, one
            without a box may be one that nobody has labelled yet.
        unmatched: labels of images that the folder does not hold. problems: what else is wrong, with file and line.
    """

    saw: str = ""
    classes: tuple[str, ...] = ()
    boxes: dict[str, list[Values]] = field(default_factory=dict)
    empty: set[str] = field(default_factory=set)
    unmatched: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


# Reading


def read_labels(root: Path, names: Mapping[Path, str]) -> Offer:
    """Read the labels that lie below a folder in any layout that is known, of all its splits.

    Args:
        names: what an image is called in the studio, by its path; links are followed.
    Raises:
        DataError: no labels with boxes lie there, or those of two layouts.
    """
    dataset = open_dataset(root, "studio")
    if not dataset.has_boxes:
        files = ", ".join(map(printable, dataset.listed.others[:3])) or "none"
        expected, advice = "boxes in a layout that is known", "docs/data.md lists what is read"
        raise DataError(message("studio", "the labels", expected, files, advice))
    offer = Offer(dataset.found.saw)
    classes: dict[str, None] = {}
    problems: dict[Problem, None] = {}
    for split in dataset.splits:
        try:
            part = dataset.boxes("studio", split=split, on_bad="skip")
        except DataError as error:
            offer.problems.append(printable(error))
            continue
        classes |= dict.fromkeys(part.classes)
        problems |= dict.fromkeys(part.problems)
        of_one = dataset.found.layout == "labelstudio"  # whose tasks that nobody has done are left out
        empty = {stem_of(each.path.name) for each in part.problems if each.code == "labels-empty"}
        bare = {each.path for each in part.problems if each.code == "image-without-labels"}
        for sample in part.samples:
            name = names.get(sample.path) or names.get(sample.path.resolve())
            if name is not None:
                mine = offer.boxes.setdefault(name, [])
                mine += [values for values in _boxes_of(part, sample) if values not in mine]
                if not mine and (of_one or (stem_of(sample.path.name) in empty and sample.path not in bare)):
                    offer.empty.add(name)
    offer.classes = tuple(classes)
    offer.unmatched = [str(each) for each in problems if each.code in UNMATCHED]
    offer.problems += [str(each) for each in problems if each.code not in UNMATCHED | EXPECTED]
    return offer


def _boxes_of(part: DetectionData, sample: Sample) -> Iterable[Values]:
    columns = sample.boxes.tolist(), sample.labels, sample.difficult, sample.crowd, sample.all_outlines
    for edges, label, difficult, crowd, outline in zip(*columns, strict=True):
        flags = {"difficult": int(difficult), "crowd": int(crowd)}
        drawn = {"outline": text_of(outline)} if outline else {}
        yield dict(zip(CORNERS, edges, strict=True)) | flags | drawn | {"class": part.classes[label]}


def text_of(outline: Outline) -> str:
    """Return an outline as the store keeps it, "" for none."""
    return json.dumps([polygon.tolist() for polygon in outline]) if outline else ""


def outline_of(text: str) -> Outline:
    """Return the outline that the store keeps as a text."""
    return tuple(np.array(points, dtype=np.float64).reshape(-1, 2) for points in json.loads(text)) if text else ()


def is_predictions(file: Path) -> bool:
    """Tell whether a file is the ``detections.json`` that ``sppnet predict`` writes."""
    if file.suffix.lower() != ".json":
        return False
    with open_file(file) as opened:
        start = "".join(opened.read(2000).decode("utf-8", errors="replace").split())
    return start.startswith('[{"image":') and '"counts":' in start


def read_predictions(file: Path, images: Mapping[str, StoredImage]) -> Offer:
    """Read what ``sppnet predict`` wrote, for images by the names that it may have for them.

    Raises:
        DataError: a file that is no such list.
    """
    records = read_json(file)
    if not isinstance(records, list):
        raise DataError(message("studio", "predictions", "a list", type(records).__name__, "Choose another file"))
    offer, finder = Offer(f"Predictions: {file.name}"), finder_of(images)
    classes: dict[str, None] = {}
    for number, record in enumerate(records, start=1):
        where = f"{file.name}: record {number}"
        try:
            rows = [_predicted(each) for each in record["detections"]]
            told = (int(record["height"]), int(record["width"]))
            written = str(record["image"])
            classes |= dict.fromkeys(map(str, record["counts"]))
        except (KeyError, TypeError, ValueError) as error:
            offer.problems.append(f"{where}: cannot be understood: {printable(repr(error))[:80]}")
            continue
        name = finder.find(written, [""])
        if name is None:
            offer.unmatched.append(f"{where}: the image {printable(written)!r} is missing")
            continue
        image = images[name]
        size = (image.height, image.width)
        if told != size:
            made = f"was made for an image of {told[1]} x {told[0]} pixels"
            offer.problems.append(f"{where}: {made}, {image.name} has {size[1]} x {size[0]}")
        classes |= dict.fromkeys(row["class"] for row in rows)
        offer.boxes[image.name] = _within(rows, size)
    offer.classes = tuple(classes)
    return offer


def _predicted(row: Any) -> Values:
    left, top, right, bottom = map(float, row["box"])
    score = min(1.0, max(0.0, float(row["confidence"])))
    return {"left": left, "top": top, "right": right, "bottom": bottom, "class": str(row["class"]), "score": score}


def _within(rows: Sequence[Values], size: tuple[int, int]) -> list[Values]:
    """Return rows cut to an image; those outside it, or of no area, are none."""
    edges = _edges_of(rows)
    cut = clip_boxes(edges, size)
    good = np.isfinite(edges).all(axis=1) & (cut[:, 0] < cut[:, 2]) & (cut[:, 1] < cut[:, 3])
    return [
        row | dict(zip(CORNERS, box, strict=True))
        for row, box, fits in zip(rows, cut.tolist(), good.tolist(), strict=True)
        if fits
    ]


def finder_of(names: Iterable[str]) -> Finder:
    """Return what finds an image of the folder by how a file of labels writes its name."""
    return Finder(Contents(Path(), tuple(names), (), frozenset()))


def detect_with(detector: "Detector", paths: Mapping[str, Path], *, progress: Progress = silent) -> Offer:
    """Find with a detector what the images of these names show; images that cannot be read are named."""
    offer = Offer("A detector", detector.classes_)
    for name in progress("Looking at images", list(paths)):
        try:
            found = detector.detect(paths[name])
        except ImageDecodeError as error:
            offer.problems.append(f"{name}: {error.reason}")
            continue
        columns = found.boxes.tolist(), found.labels.tolist(), found.confidence.tolist()
        offer.boxes[name] = [
            dict(zip(CORNERS, edges, strict=True)) | {"class": found.classes[label], "score": round(score, 4)}
            for edges, label, score in zip(*columns, strict=True)
        ]
    return offer


def _edges_of(rows: Sequence[Values]) -> NDArray[np.float64]:
    return np.array([[row[name] for name in CORNERS] for row in rows], dtype=np.float64).reshape(-1, 4)


# Comparing


class Compared(NamedTuple):
    """How the boxes that are offered for an image stand to those that are there.

    Args:
        new: are not there. same: how many are there as they are.
        changed: stand for an object that is there otherwise: in another place, of another class, or rejected.
        empty: no object is there, and none is, say the labels.
    """

    image: StoredImage
    new: list[Values]
    same: int
    changed: list[tuple[Box, Values]]
    empty: bool = False

    @property
    def boxes(self) -> int:
        """How many are offered."""
        return len(self.new) + self.same + len(self.changed)


def compare(offer: Offer, store: Store, images: Mapping[str, StoredImage]) -> list[Compared]:
    """Compare what is offered with what people said, image by image, in the order of their names."""
    names = {each.id: each.name for each in store.classes()}
    there: dict[int, list[Box]] = defaultdict(list)
    for box in store.boxes():
        there[box.image].append(box)
    return [
        _compared(images[name], offer.boxes[name], there[images[name].id], names)._replace(
            empty=name in offer.empty and not any(box.kind == "object" for box in there[images[name].id])
        )
        for name in sorted(offer.boxes)
        if name in images
    ]


def _compared(image: StoredImage, rows: Sequence[Values], boxes: Sequence[Box], names: Mapping[int, str]) -> Compared:
    if not boxes or not rows:
        return Compared(image, list(rows), 0, [])
    left = {box.id: box for box in boxes}
    overlaps = iou(_edges_of(rows), np.array([box.edges for box in boxes]))
    rest = []
    for row, overlap in zip(rows, overlaps.tolist(), strict=True):
        twins = [
            (share, box.id)
            for share, box in zip(overlap, boxes, strict=True)
            if box.id in left and _is_same(row, box, names, overlap=share)
        ]
        if twins:
            del left[max(twins)[1]]
        else:
            rest.append(row)
    result = Compared(image, [], len(rows) - len(rest), [])
    for row in rest:
        other = _other(row, list(left.values()), names)
        if other is None:
            result.new.append(row)
        else:
            result.changed.append((other, row))
            del left[other.id]
    return result


def _is_same(row: Values, box: Box, names: Mapping[int, str], *, overlap: float) -> bool:
    apart = max(abs(row[name] - edge) for name, edge in zip(CORNERS, box.edges, strict=True))
    near = apart < SAME_EDGES or overlap >= SAME_BOX
    flags = (row.get("difficult", int(box.difficult)), row.get("crowd", int(box.crowd)))
    told = flags == (int(box.difficult), int(box.crowd)) and row.get("outline", box.outline) == box.outline
    return told and box.kind == "object" and names[box.label] == row["class"] and near


def _other(row: Values, boxes: Sequence[Box], names: Mapping[int, str]) -> Box | None:
    """Return the box that stands for the same object as a row, None if there is none."""
    if not boxes:
        return None
    overlap = iou(_edges_of([row]), np.array([box.edges for box in boxes]))[0]
    fits = [
        share >= (SAME_OBJECT if names[box.label] == row["class"] else SAME_PLACE)
        and (box.kind == "object" or names[box.label] == row["class"])
        for share, box in zip(overlap.tolist(), boxes, strict=True)
    ]
    best = int(np.argmax(np.where(fits, overlap, -1.0)))
    return boxes[best] if fits[best] else None


# Taking in


def write_labels(
    store: Store, step: Step, offer: Offer, compared: Sequence[Compared], *, theirs: bool = False, complete: bool = True
) -> set[int]:
    """Write what is offered as labels, within a step; return the images that it concerns.

    Args:
        theirs: boxes that are there otherwise become as they are offered; False leaves them.
        complete: an image with boxes, or said to show no object, counts as complete.
    """
    labels = _class_ids(store, step, offer.classes)
    touched = set()
    for each in compared:
        for row in each.new:
            step.add("box", _columns(row, labels) | {"image": each.image.id, "kind": "object"})
        for box, row in each.changed if theirs else ():
            step.change("box", box.id, {"outline": ""} | _columns(row, labels) | {"kind": "object"})
        done = complete and (each.boxes > 0 or each.empty) and not each.image.complete
        if done:
            step.change("image", each.image.id, {"complete": 1})
        if each.new or (theirs and each.changed) or done:
            touched.add(each.image.id)
    return touched


def write_suggestions(store: Store, step: Step, offer: Offer, compared: Sequence[Compared]) -> set[int]:
    """Write what is offered and new as suggestions, within a step; return the images that it concerns.

    Suggestions that were imported for these images before are replaced.
    """
    labels = _class_ids(store, step, offer.classes)
    images = {each.image.id for each in compared}
    before = [each for each in store.offered() if each.image in images]
    for old in before:
        step.remove("suggestion", old.id)
    for each in compared:
        for row in each.new:
            values = {name: row[name] for name in CORNERS} | {"score": row.get("score", 1.0)}
            step.add("suggestion", values | {"image": each.image.id, "class": labels[row["class"]]})
    return {each.image.id for each in compared if each.new} | {old.image for old in before}


def _class_ids(store: Store, step: Step, names: Sequence[str]) -> dict[str, int]:
    """Return the ids of classes by name; those that there are not are added."""
    classes = store.classes()
    ids = {each.name: each.id for each in classes}
    place = 1 + max((each.place for each in classes), default=-1)
    fresh = [name for name in names if name not in ids]
    for number, name in enumerate(fresh):
        row = {"name": name, "colour": colour_of(len(classes) + number), "place": place + number}
        ids[name] = step.add("class", row)
    return ids


def _columns(row: Values, labels: Mapping[str, int]) -> Values:
    return {name: value for name, value in row.items() if name != "score"} | {"class": labels[row["class"]]}
