"""Raw boxes, as a layout has them -> samples: the only place that says which boxes are bad."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from sppnet.data.samples import BrokenSampleError, DetectionData, OnBad, Problem, Sample, ScoredBoxes
from sppnet.errors import DataError, check_that
from sppnet.geometry import Boxes, Size, clip_boxes


class RawBox(NamedTuple):
    """A box as its annotation has it, in this package's convention but unchecked.

    Args:
        name: of its class.
        edges: left, top, right, bottom in 0-based pixels, ends excluded.
        line: in the annotation file. where: names the box where lines cannot be told.
        fault: why it cannot be used, where the layout knows; otherwise empty.
    """

    name: str
    edges: tuple[float, float, float, float]
    line: int | None = None
    where: str = ""
    difficult: bool = False
    crowd: bool = False
    fault: str = ""


class RawImage(NamedTuple):
    """An image whose annotation could be read; ``source`` is the annotation's file, ``number`` the image's there."""

    path: Path
    size: Size
    source: Path
    boxes: Sequence[RawBox]
    number: int | None = None


class Listing(NamedTuple):
    """The images of a split, each read when called, and the classes' names and numbers if the layout declares them.

    Reading one raises BrokenSampleError where it cannot be used.
    """

    classes: Sequence[str] | None
    images: Sequence[Callable[[], RawImage]]
    numbers: Mapping[str, int] = MappingProxyType({})


def gather(root: Path, listing: Listing, *, split: str, on_bad: OnBad, classes: Sequence[str] | None) -> DetectionData:
    """Read the images of a listing and check every box.

    Raises:
        BrokenSampleError: an image that cannot be used, unless ``on_bad`` is "skip".
        DataError: a class that ``classes`` does not hold.
    """
    read = [_read(image, on_bad) for image in listing.images]
    raws = [raw for raw in read if isinstance(raw, RawImage)]
    names = tuple(dict.fromkeys(classes or listing.classes or _names_used(raws)))
    checked = [_checked(raw, names) for raw in raws]
    problems = [raw for raw in read if isinstance(raw, Problem)]
    problems += [problem for _, found in checked for problem in found]
    return DetectionData(root, names, tuple(each for each, _ in checked), tuple(problems), split, dict(listing.numbers))


def _read(image: Callable[[], RawImage], on_bad: OnBad) -> RawImage | Problem:
    try:
        return image()
    except BrokenSampleError as error:
        if on_bad == "fail":
            raise
        return error.problem


def _names_used(raws: Iterable[RawImage]) -> list[str]:
    return sorted({box.name for raw in raws for box in raw.boxes if not box.fault})


def _checked(raw: RawImage, classes: Sequence[str]) -> tuple[Sample, list[Problem]]:
    """Make a sample of the good boxes, and a problem of each bad one."""
    edges = np.array([box.edges for box in raw.boxes], dtype=np.float64).reshape(-1, 4)
    clipped = clip_boxes(edges, raw.size)
    faults = [
        box.fault or _fault(before, after, raw.size)
        for box, before, after in zip(raw.boxes, edges, clipped, strict=True)
    ]
    kept = np.array([not fault for fault in faults], dtype=np.bool_)
    good = [box for box, fault in zip(raw.boxes, faults, strict=True) if not fault]
    problems = [
        Problem(raw.source, box.line, f"{_where(box)}the box {_edges(box)} {fault}; it is dropped", "box")
        for box, fault in zip(raw.boxes, faults, strict=True)
        if fault
    ]
    return _sample(raw, good, clipped[kept], classes), problems


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


def _edges(box: RawBox) -> str:
    return f"[{', '.join(f'{edge:g}' for edge in box.edges)}]"


def _where(box: RawBox) -> str:
    return f"{box.where}: " if box.where else ""


def _label(source: Path, box: RawBox, classes: Sequence[str]) -> int:
    if box.name not in classes:
        what = f"{_where(box)}the class must be one of {', '.join(classes)}, got {box.name!r}. Correct the label."
        raise DataError(str(Problem(source, box.line, what, "box")))
    return classes.index(box.name)


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
