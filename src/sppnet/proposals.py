"""Picture -> regions, always in the same order: a dense grid, selective search, or a file of your own.

A proposal method is an object that is called with a picture and its name and returns its regions, and that
describes itself in JSON, so that a saved detector proposes again what it was trained on.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sppnet.errors import ArgumentError, DataError, MissingExtraError, check_shape, check_that, message
from sppnet.geometry import Boxes, check_boxes, clip_boxes, iou

# How far a region of the grid may reach out of the picture, as a share of its side: objects are cut by borders.
OVERHANG: Final = 0.3
# Neighbouring sizes and aspects of the grid's shapes: a box half a step away still overlaps by more than 0.6.
SIZE_STEP: Final = 1.3
ASPECT_STEP: Final = 2.5
SHARE: Final = 0.05


class Proposals(Protocol):
    """What every proposal method does."""

    def __call__(self, picture: NDArray[np.uint8], name: str) -> Boxes:
        """Return the regions of a picture (H, W, 3) as (R, 4) boxes in its pixels."""

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``from_description`` makes the same method again."""


@dataclass(frozen=True)
class GridProposals:
    """Every shape at every place of a regular grid: nothing to compute, nothing missed between touching objects.

    Args:
        shapes: (height, width) of the regions, in pixels of a picture whose shorter side is ``short_side``.
        short_side: shapes grow and shrink with the picture's shorter side.
        step: distance of neighbours, as a share of the region's side.
    """

    shapes: tuple[tuple[float, float], ...]
    short_side: int
    step: float = 0.25

    def __post_init__(self) -> None:
        """Raise ArgumentError for a side or a step that is not above 0."""
        sides = [side for shape in self.shapes for side in shape]
        least = min([*sides, self.short_side, self.step])
        advice = "Give sides in pixels, and the step as a share of the side"
        check_that(least > 0, "GridProposals", "every side and the step", "above 0", least, advice=advice)

    def __call__(self, picture: NDArray[np.uint8], name: str) -> Boxes:  # noqa: ARG002
        """Return the regions shape by shape, each row by row; those at a border are clipped."""
        return self.regions((picture.shape[0], picture.shape[1]))

    def regions(self, size: tuple[int, int]) -> Boxes:
        """Return the regions of any picture of ``size`` (height, width)."""
        factor = min(size) / self.short_side
        placed = [_placed((tall * factor, wide * factor), size, self.step) for tall, wide in self.shapes]
        return clip_boxes(np.concatenate([*placed, np.zeros((0, 4))]), size)

    def describe(self) -> dict[str, Any]:
        """Return the shapes, the shorter side that they are for, and the step."""
        shapes = [list(shape) for shape in self.shapes]
        return {"method": "grid", "shapes": shapes, "short_side": self.short_side, "step": self.step}


def _placed(shape: tuple[float, float], size: tuple[int, int], step: float) -> Boxes:
    tops, lefts = (_starts(side, length, step) for side, length in zip(shape, size, strict=True))
    top, left = (axis.ravel() for axis in np.meshgrid(tops, lefts, indexing="ij"))
    return np.stack([left, top, left + shape[1], top + shape[0]], axis=1)


def _starts(side: float, length: int, step: float) -> NDArray[np.float64]:
    """Spread regions of one side evenly along an axis, the first and the last hanging over the border."""
    first, last = -OVERHANG * side, length - (1 - OVERHANG) * side
    if last <= first:
        return np.array([(length - side) / 2])
    return np.linspace(first, last, int(np.ceil((last - first) / (step * side))) + 1)


def fitting_shapes(boxes: Boxes, labels: NDArray[np.int64]) -> tuple[tuple[float, float], ...]:
    """Choose the shapes that the boxes of a data set call for.

    Sizes and aspects are rounded to the steps of two geometric ladders (``SIZE_STEP``, ``ASPECT_STEP``); a
    shape is taken when ``SHARE`` of some class's boxes round to it. Counting by class keeps the shapes of a
    rare class, which clustering all boxes together would not.

    Args:
        boxes: (N, 4), the ground truth of the training pictures, in pixels of the pictures as scaled.
        labels: (N,) the class of each.
    Returns:
        (height, width) pairs in pixels, from small to large.
    Raises:
        ArgumentError: no boxes.

    >>> fitting_shapes(np.array([[0, 0, 100, 100], [0, 0, 104, 98], [5, 5, 25, 85]]), np.array([0, 0, 1]))
    ((98.43, 15.75), (112.46, 112.46))
    """
    check_that(len(boxes) > 0, "fitting_shapes", "boxes", "at least one box", "none", advice="Label an object")
    height, width = boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]
    sound = bool((np.minimum(height, width) > 0).all())
    check_that(sound, "fitting_shapes", "boxes", "of some area", "an empty one", advice="Drop empty boxes")
    logs = np.stack([np.log(height * width) / (2 * np.log(SIZE_STEP)), np.log(height / width) / np.log(ASPECT_STEP)])
    rungs = np.rint(logs).T.astype(np.int64)
    taken = [_common(rungs[labels == label]) for label in np.unique(labels)]
    size, aspect = np.unique(np.concatenate(taken), axis=0).T
    side, stretch = SIZE_STEP ** size.astype(np.float64), np.sqrt(ASPECT_STEP ** aspect.astype(np.float64))
    shapes = np.stack([side * stretch, side / stretch], axis=1).round(2).tolist()
    return tuple((tall, wide) for tall, wide in shapes)


def _common(rungs: NDArray[np.int64]) -> NDArray[np.int64]:
    shapes, counts = np.unique(rungs, axis=0, return_counts=True)
    common: NDArray[np.int64] = shapes[counts >= min(SHARE * len(rungs), counts.max())]
    return common


@dataclass(frozen=True)
class SelectiveSearch:
    """Selective search (Uijlings et al. 2013) by OpenCV, as the paper uses it: fast mode, about 2,000 regions.

    OpenCV returns its boxes in another order each call. They are re-ranked here by size and place, so that
    the same picture always gives the same regions in the same order. Needs ``pip install 'sppnet[proposals]'``.

    Args:
        quality: the slower mode with more colour spaces.
        limit: at most this many regions, the largest and the smallest alike: an even choice over the ranking.
    """

    quality: bool = False
    limit: int = 2000

    def __call__(self, picture: NDArray[np.uint8], name: str) -> Boxes:  # noqa: ARG002
        """Return the regions by area, the largest first."""
        search = _opencv().ximgproc.segmentation.createSelectiveSearchSegmentation()
        search.setBaseImage(np.ascontiguousarray(picture[:, :, ::-1]))  # OpenCV's order is blue, green, red
        (search.switchToSelectiveSearchQuality if self.quality else search.switchToSelectiveSearchFast)()
        found = np.unique(np.asarray(search.process(), dtype=np.int64).reshape(-1, 4), axis=0)
        left, top, width, height = found.T
        order = np.lexsort((left, top, -width * height))
        ranked = np.stack([left, top, left + width, top + height], axis=1)[order].astype(np.float64)
        if len(ranked) <= self.limit:
            return ranked
        return ranked[np.linspace(0, len(ranked) - 1, self.limit).round().astype(np.int64)]

    def describe(self) -> dict[str, Any]:
        """Return the mode and the limit."""
        return {"method": "selective-search", "quality": self.quality, "limit": self.limit}


def _opencv() -> Any:
    try:
        import cv2

        cv2.ximgproc  # noqa: B018 (plain OpenCV lacks it)
    except (ImportError, AttributeError) as error:
        raise MissingExtraError(
            message(
                "SelectiveSearch",
                "OpenCV with its contributed modules",
                "installed",
                str(error),
                "Install it with: pip install 'sppnet[proposals]'",
            )
        ) from error
    return cv2


@dataclass(frozen=True)
class FileProposals:
    """Regions of your own, from a CSV file with the columns picture, left, top, right, bottom.

    ``picture`` is the picture's file name; boxes are 0-based pixels with the ends excluded.
    """

    path: Path

    def __call__(self, picture: NDArray[np.uint8], name: str) -> Boxes:
        """Return the regions of the picture of that name in the file's order, clipped to the picture."""
        return self.of(name, (picture.shape[0], picture.shape[1]))

    def of(self, name: str, size: tuple[int, int]) -> Boxes:
        """Return the regions of the picture of that name and ``size`` (height, width).

        Raises:
            DataError: the file holds none for it. BoxError: one lies wholly outside the picture.
        """
        if name not in self._regions:
            raise DataError(f"{self.path}: holds no regions for the picture {name!r}. Add rows for it.")
        return check_boxes(str(self.path), self._regions[name], size)

    def describe(self) -> dict[str, Any]:
        """Return the file's path."""
        return {"method": "file", "path": str(self.path)}

    @cached_property
    def _regions(self) -> Mapping[str, Boxes]:
        return read_regions(self.path)


def read_regions(path: Path) -> dict[str, Boxes]:
    """Read a CSV file of regions: picture name -> (R, 4) boxes in the file's order.

    Raises:
        DataError: naming file and line, for a missing column, or a number that is none.
    """
    columns = ("left", "top", "right", "bottom")
    rows: dict[str, list[list[float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = {"picture", *columns} - set(reader.fieldnames or ())
            if missing:
                raise DataError(f"{path}:1: the columns {', '.join(sorted(missing))} are missing. Name them in line 1.")
            for row in reader:
                numbers = _numbers(path, reader.line_num, [row[column] for column in columns], row["picture"])
                rows.setdefault(row["picture"], []).append(numbers)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: regions cannot be read: {error}. Give a CSV file with a header.") from error
    return {name: np.array(boxes, dtype=np.float64) for name, boxes in rows.items()}


def _numbers(path: Path, line: int, texts: Sequence[str | None], name: str | None) -> list[float]:
    try:
        numbers = [float(text) for text in texts if text is not None]
    except ValueError as error:
        raise DataError(f"{path}:{line}: {error}. Write the box as four numbers.") from error
    if (
        name is None
        or len(numbers) != 4
        or not np.isfinite(numbers).all()
        or numbers[2] <= numbers[0]
        or numbers[3] <= numbers[1]
    ):
        raise DataError(f"{path}:{line}: {numbers} is no box. Write left < right and top < bottom.")
    return numbers


def from_description(description: Mapping[str, Any]) -> Proposals:
    """Make the proposal method that ``describe`` told of.

    Raises:
        ArgumentError: an unknown method.
    """
    match description:
        case {"method": "grid", "shapes": shapes, "short_side": short_side, "step": step}:
            pairs = tuple((float(height), float(width)) for height, width in shapes)
            return GridProposals(pairs, int(short_side), float(step))
        case {"method": "selective-search", "quality": quality, "limit": limit}:
            return SelectiveSearch(bool(quality), int(limit))
        case {"method": "file", "path": path}:
            return FileProposals(Path(path))
    raise ArgumentError(
        message(
            "from_description",
            "method",
            "grid, selective-search or file",
            dict(description),
            "Name one of these",
        )
    )


def reached(regions: Boxes, truths: Boxes, *, threshold: float) -> NDArray[np.bool_]:
    """Tell for every ground-truth box whether some region overlaps it by ``threshold`` IoU: (N,) bool."""
    check_shape("reached", "truths", truths.shape, ("N", 4), advice="Give one row a box")
    best: NDArray[np.bool_] = iou(truths, regions).max(axis=1, initial=0.0) >= threshold
    return best
