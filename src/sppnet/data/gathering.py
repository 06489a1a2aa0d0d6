"""Raw boxes, as a layout has them -> samples: the only place that says which boxes are bad."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from sppnet.data.contents import normal
from sppnet.data.names import own_name
from sppnet.data.problems import BrokenSampleError, Problem, broken, code_of, printable
from sppnet.data.samples import DetectionData, OnBad, Outline, Sample
from sppnet.errors import DataError, ImageDecodeError, check_that
from sppnet.geometry import SIDEWAYS, Boxes, ScoredBoxes, Size, clip_boxes, clip_polygon
from sppnet.images import read_header

DECIMALS: Final = 4  # of a pixel that boxes keep: so the same boxes have the same bits in every layout
MAX_NAME: Final = 1000  # letters of a class's name
SLOPPY: Final = 1  # pixels that boxes may reach out of their image without a word
TWICE: Final = "is there twice"

Points = Sequence[tuple[float, float]]  # x, y in 0-based pixels


class RawBox(NamedTuple):
    """A box as its labels have it, in this package's convention but unchecked.

    Args:
        name: of its class.
        edges: left, top, right, bottom in 0-based pixels, ends excluded.
        line: in the file of labels. where: names the box where lines cannot be told.
        fault: why it cannot be used, where the layout knows; otherwise empty.
        code: of the problem that the fault is.
        outline: polygons of the object, unchecked too; one without points is an outline that is no polygon.
    """

    name: str
    edges: tuple[float, float, float, float]
    line: int | None = None
    where: str = ""
    difficult: bool = False
    crowd: bool = False
    fault: str = ""
    code: str = "box-dropped"
    outline: Sequence[Points] = ()


class RawImage(NamedTuple):
    """An image whose labels could be read.

    Args:
        path: of the image. size: (height, width), as it is seen.
        source: the file of labels. boxes: of the image, bad ones too.
        number: of the image in that file, where it has one.
        problems: rows that are no boxes, and what else is wrong with the labels.
    """

    path: Path
    size: Size
    source: Path
    boxes: Sequence[RawBox]
    number: int | None = None
    problems: Sequence[Problem] = ()


class Listing(NamedTuple):
    """The images of a split, each read when called; reading one raises BrokenSampleError where it cannot be used.

    Args:
        classes: that the layout declares; None: those that the boxes name.
        images: to read. numbers: of the classes in the data set's own file.
        scope: the images that should have labels: one that none of ``images`` reads is named.
        problems: of the split as a whole.
        check: returns what all that was read shows together; raises BrokenSampleError where it was read wrongly.
    """

    classes: Sequence[str] | None
    images: Sequence[Callable[[], RawImage]]
    numbers: Mapping[str, int] = MappingProxyType({})
    scope: Sequence[Path] = ()
    problems: Sequence[Problem] = ()
    check: Callable[[Sequence[RawImage]], Sequence[Problem]] = lambda _: ()


class Row(NamedTuple):
    """Where a row of labels stands: its file, its line or what else names it."""

    source: Path
    line: int | None = None
    where: str = ""

    def problem(self, what: str, code: str) -> Problem:
        """Return a problem of this row."""
        return Problem(self.source, self.line, f"{self.where}: {what}" if self.where else what, code)


class BadRowError(Exception):
    """A row of labels that holds no box; only that row is lost. ``code`` is the problem's."""

    def __init__(self, what: str, code: str = "row-unreadable") -> None:
        super().__init__(what)
        self.code = code


def read_rows(rows: Iterable[tuple[Row, Callable[[], RawBox | None]]]) -> tuple[list[RawBox], list[Problem]]:
    """Read rows; one that cannot be understood becomes a problem, and costs nothing but itself."""
    boxes: list[RawBox] = []
    problems: list[Problem] = []
    for row, read in rows:
        try:
            box = read()
        except BadRowError as error:
            problems.append(row.problem(str(error), error.code))
        else:
            boxes += [] if box is None else [box]
    return boxes, problems


def header_of(path: Path) -> tuple[Size, int]:
    """Return (height, width) of an image, as it is seen, and its EXIF orientation.

    Raises:
        BrokenSampleError: its header cannot be read.
    """
    try:
        return read_header(path)
    except ImageDecodeError as error:
        broken(path, f"cannot be read: {error.reason}", code=code_of(error))


def unsure_of_turn(path: Path, orientation: int, size: Size, told: Size | None) -> list[Problem]:
    """Return a problem where labels may be of an image as it is stored, which is seen turned or mirrored.

    Args:
        path: of the image. size: (height, width) as it is seen. told: by its labels; None: they tell none.
    """
    sure = orientation in SIDEWAYS and told is not None and size[0] != size[1]
    why = "which tell no size" if told is None else "whose size is that of either"
    what = f"is turned by its EXIF data; its labels, {why}, are taken to be of the image as it is seen"
    return [Problem(path, None, what, "turned-unsure")] if orientation in range(2, 9) and not sure else []


def gather(root: Path, listing: Listing, *, split: str, on_bad: OnBad, classes: Sequence[str] | None) -> DetectionData:
    """Read the images of a listing and check every box.

    Images are in the order of their names and classes in the order of theirs, whatever the layout: so the same boxes
    make the same data.

    Raises:
        BrokenSampleError: an image that cannot be used, or an unreadable row, unless ``on_bad`` is "skip"; all of them,
            where they were plainly read wrongly.
        DataError: a class that ``classes`` does not hold.
    """
    read = [_read(image, on_bad) for image in listing.images]
    raws, doubles = _merged([raw for raw in read if isinstance(raw, RawImage)])
    odd = listing.check(raws)
    raws.sort(key=lambda raw: by_name(raw.path))
    found = sorted({*(listing.classes or ()), *_names_used(raws)}) if classes is None else list(dict.fromkeys(classes))
    checked = [_checked(raw, found) for raw in raws]
    problems = [*listing.problems, *odd, *(raw for raw in read if isinstance(raw, Problem)), *doubles]
    problems += [problem for raw in raws for problem in raw.problems]
    problems += [problem for _, faults in checked for problem in faults]
    named = {raw.path for raw in raws} | {problem.path for problem in problems}
    left_out = "has no labels: it is left out"
    problems += [Problem(path, None, left_out, "image-without-labels") for path in listing.scope if path not in named]
    samples = tuple(sample for sample, _ in checked)
    return DetectionData(root, tuple(found), samples, tuple(problems), split, dict(listing.numbers))


def by_name(path: Path) -> tuple[str, str, Path]:
    """Return what images are sorted by: the names that they had before a tool exported them."""
    return own_name(path.name), normal(path.name), path


def _read(image: Callable[[], RawImage], on_bad: OnBad) -> RawImage | Problem:
    try:
        raw = image()
    except BrokenSampleError as error:
        if on_bad == "fail":
            raise
        return error.problem
    worst = next((problem for problem in raw.problems if problem.level == "error"), None)
    if worst is not None and on_bad == "fail":
        raise BrokenSampleError(worst)
    return raw


def _merged(raws: Sequence[RawImage]) -> tuple[list[RawImage], list[Problem]]:
    """Make one of what stands for one image; two different sets of labels are put together, and named."""
    by_path: dict[Path, list[RawImage]] = defaultdict(list)
    for raw in raws:
        by_path[raw.path].append(raw)
    merged, problems = [], []
    for same in by_path.values():
        first = same[0]
        other = next((raw for raw in same[1:] if _labels_of(raw) != _labels_of(first)), None)
        if other is not None:
            also = "twice" if other.source == first.source else f"too, as {first.source.name} does"
            what = f"labels the image {first.path.name} {also}: all boxes are taken"
            problems.append(Problem(other.source, None, what, "image-twice"))
            boxes = {(box.name, box.edges): box for raw in reversed(same) for box in raw.boxes}
            first = first._replace(boxes=list(boxes.values()), problems=[each for raw in same for each in raw.problems])
        merged.append(first)
    return merged, problems


def _labels_of(raw: RawImage) -> list[tuple[str, tuple[float, float, float, float]]]:
    return sorted((box.name, box.edges) for box in raw.boxes)


def _names_used(raws: Iterable[RawImage]) -> set[str]:
    return {box.name for raw in raws for box in raw.boxes if not box.fault and not name_fault(box.name)}


def _checked(raw: RawImage, classes: Sequence[str]) -> tuple[Sample, list[Problem]]:
    """Make a sample of the good boxes, and a problem of each bad one."""
    edges = np.array([box.edges for box in raw.boxes], dtype=np.float64).reshape(-1, 4).round(DECIMALS)
    clipped = clip_boxes(edges, raw.size)
    faults = _faults(raw, edges, clipped)
    kept = np.array([not fault for fault in faults], dtype=np.bool_)
    good = [box for box, fault in zip(raw.boxes, faults, strict=True) if not fault]
    outlines = [_outline(box, after, raw.size) for box, after in zip(good, clipped[kept], strict=True)]
    problems = [
        _of_box(raw, box, f"the box {_edges(box)} {fault}; it is dropped", _code(box, fault))
        for box, fault in zip(raw.boxes, faults, strict=True)
        if fault
    ]
    problems += _cut(raw, good, edges[kept], clipped[kept])
    what = "the outline is no polygon of three points or more: it is left out, and the box is used"
    problems += [
        _of_box(raw, box, what, "outline-left-out")
        for box, (_, broken_ones) in zip(good, outlines, strict=True)
        if broken_ones
    ]
    sample = _sample(raw, good, clipped[kept], classes)
    kept_outlines = tuple(outline for outline, _ in outlines)
    return replace(sample, outlines=kept_outlines if any(kept_outlines) else ()), problems


def _faults(raw: RawImage, edges: Boxes, clipped: Boxes) -> list[str]:
    """Return why each box of an image cannot be used, "" where it can."""
    faults = []
    seen = set()
    for box, before, after in zip(raw.boxes, edges, clipped, strict=True):
        same = (box.name, box.difficult, box.crowd, *before.tolist())
        fault = box.fault or name_fault(box.name) or _fault(before, after, raw.size)
        faults.append(fault or (TWICE if same in seen else ""))
        seen.add(same)
    return faults


def _cut(raw: RawImage, good: Sequence[RawBox], edges: Boxes, clipped: Boxes) -> list[Problem]:
    """Return a problem of each box that reaches out of its image further than rounding explains."""
    beyond = np.abs(edges - clipped).max(axis=1, initial=0)
    image = f"an image of {raw.size[1]} x {raw.size[0]} pixels"
    return [
        _of_box(raw, box, f"the box {_edges(box)} reaches {far:g} pixels out of {image}; it is cut", "box-cut")
        for box, far in zip(good, beyond.tolist(), strict=True)
        if far > SLOPPY
    ]


def _of_box(raw: RawImage, box: RawBox, what: str, code: str) -> Problem:
    return Row(raw.source, box.line, box.where).problem(what, code)


def _outline(box: RawBox, edges: Boxes, size: Size) -> tuple[Outline, int]:
    """Return a box's polygons, cut to the image, and how many of them are none; one that is the box says nothing."""
    polygons = [np.array(points, dtype=np.float64).reshape(-1, 2).round(DECIMALS) for points in box.outline]
    whole = [points for points in polygons if len(points) > 2 and np.isfinite(points).all()]
    cut = [part for points in whole if len(part := clip_polygon(points, size).round(DECIMALS)) > 2]
    corners = {(x, y) for x in edges[[0, 2]].tolist() for y in edges[[1, 3]].tolist()}
    is_box = len(cut) == 1 and len(cut[0]) <= 5 and set(map(tuple, cut[0].tolist())) == corners
    return () if is_box else tuple(cut), len(polygons) - len(whole)


def _code(box: RawBox, fault: str) -> str:
    if fault == TWICE:
        return "box-twice"
    return "class-name" if not box.fault and name_fault(box.name) else box.code


def _sample(raw: RawImage, good: Sequence[RawBox], boxes: Boxes, classes: Sequence[str]) -> Sample:
    return Sample(
        path=raw.path,
        boxes=boxes,
        labels=np.array([_label(raw.source, box, classes) for box in good], dtype=np.int64),
        difficult=np.array([box.difficult for box in good], dtype=np.bool_),
        crowd=np.array([box.crowd for box in good], dtype=np.bool_),
        size=raw.size,
        number=raw.number,
    )


def _fault(edges: Boxes, clipped: Boxes, size: Size) -> str:
    left, top, right, bottom = edges
    if not np.isfinite(edges).all():
        return "is not finite"
    if left >= right or top >= bottom:
        return "is empty or inverted"
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        return f"lies outside the image of {size[0]} x {size[1]} pixels (height x width)"
    return ""


def name_fault(name: str) -> str:
    """Return why a text can be no class's name, "" if it can: files of other layouts must be able to hold it."""
    if not name.strip():
        return "has no class"
    if len(name) > MAX_NAME:
        return f"has a class with a name of {len(name):,} letters, more than {MAX_NAME:,}"
    odd = not name.isprintable() and printable(name) != name
    return f"has a class named {printable(name)[:60]!r}, with letters that no file can hold" if odd else ""


def _edges(box: RawBox) -> str:
    return f"[{', '.join(f'{edge:g}' for edge in box.edges)}]"


def _label(source: Path, box: RawBox, classes: Sequence[str]) -> int:
    if box.name not in classes:
        expected = f"one of {', '.join(map(printable, classes))}"
        advice = "Correct the label, or use data of these classes"
        what = f"the class must be {expected}, got {printable(box.name)!r}. {advice}."
        raise DataError(str(Row(source, box.line, box.where).problem(what, "row-unreadable")))
    return classes.index(box.name)


def classes_twice(source: Path, names: Sequence[str], line: int | None = None) -> list[Problem]:
    """Return a problem of each name that a file has for several classes."""
    return [
        Problem(source, line, f"{times} classes are named {printable(name)!r}: they are one", "class-twice")
        for name, times in Counter(names).items()
        if times > 1
    ]


# What writers ask


def unique_stems(data: DetectionData) -> list[str]:
    """Return the images' names without suffix, which annotation files are named after.

    Raises:
        DataError: two images have the same.
    """
    stems = [sample.path.stem for sample in data.samples]
    name, times = Counter(stems).most_common(1)[0] if stems else ("", 0)
    if times > 1:
        raise DataError(f"{data.root}: {times} images are named {name!r}. Rename them, or write COCO.")
    return stems


def check_found(function: str, found: Sequence[ScoredBoxes], data: DetectionData) -> None:
    """Raise ArgumentError unless there is one answer an image."""
    advice, expected = "Detect in every image, in their order", f"one for each of the {len(data.samples)} images"
    check_that(len(found) == len(data.samples), function, "found", expected, len(found), advice=advice)


def answer_rows(answer: ScoredBoxes, classes: Sequence[str]) -> Iterable[tuple[str, list[float], float]]:
    """Yield the class, edges and score of each detection in an image."""
    columns = (answer.labels, answer.boxes, answer.confidence)
    for label, box, sure in zip(*(column.tolist() for column in columns), strict=True):
        yield classes[label], box, sure
