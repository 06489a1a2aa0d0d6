"""What is kept of each image while a detector is taught: what a person said, and the examples that came of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sppnet.detection.settings import OURS
from sppnet.errors import check_that
from sppnet.geometry import Boxes, iou

ROWS: Final = 4096  # by which the matrix of examples grows


def no_boxes() -> Boxes:
    """Return an empty list of boxes."""
    return np.zeros((0, 4))


@dataclass(frozen=True)
class Taught:
    """What a person said about one image.

    Args:
        path: of the image.
        boxes: (N, 4) objects, in the image's pixels, ends excluded. classes: the name of each.
        rejected: (M, 4) boxes that hold no object of the class named in ``rejected_classes``.
        complete: all objects of all classes are boxed, so that the rest is background.
    """

    path: Path
    boxes: Boxes
    classes: tuple[str, ...]
    rejected: Boxes = field(default_factory=no_boxes)
    rejected_classes: tuple[str, ...] = ()
    complete: bool = False

    def __post_init__(self) -> None:
        """Raise ArgumentError unless there is one class a box."""
        for name, boxes, classes in (
            ("classes", self.boxes, self.classes),
            ("rejected_classes", self.rejected, self.rejected_classes),
        ):
            fits = len(boxes) == len(classes)
            advice = "Name the class of each box"
            check_that(fits, "Taught", name, f"{len(boxes)} names, one a box", len(classes), advice=advice)


@dataclass(frozen=True)
class Kept:
    """Examples that lie in rows of the matrix.

    Args:
        rows: (n,) int64. regions: (n, 4) where they lie on the image.
        names: of k classes. targets: (n, k) int8 for them. other: (n,) int8 for every other class.
    """

    rows: NDArray[np.int64]
    regions: Boxes
    names: tuple[str, ...]
    targets: NDArray[np.int8]
    other: NDArray[np.int8]

    def target(self, name: str) -> NDArray[np.int8]:
        """Return the targets (n,) of a class."""
        column: NDArray[np.int8] = self.targets[:, self.names.index(name)] if name in self.names else self.other
        return column

    def only(self, chosen: NDArray[np.bool_]) -> "Kept":
        """Return those of the examples that are chosen, (n,) bool."""
        targets, other = self.targets[chosen], self.other[chosen]
        return Kept(self.rows[chosen], self.regions[chosen], self.names, targets, other)


class Moved(NamedTuple):
    """Pooled regions (N, D), exact in half precision, and how to move each onto its object (N, 4)."""

    features: NDArray[np.float16]
    deltas: NDArray[np.float64]


@dataclass
class Image:
    """All that is kept of one image: ``groups`` are examples of the SVMs, ``moved`` of the box regressions, by class.

    The groups: drawn by region_head's rule; rejected by a person; each mining's hard negatives.
    """

    taught: Taught
    size: tuple[int, int]
    drawn: Kept | None = None
    rejected: Kept | None = None
    hard: tuple[Kept, ...] = ()
    moved: dict[str, Moved] = field(default_factory=dict)
    missed: Boxes | None = None
    changed: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The classes of its boxes, each once, in one order."""
        return tuple(sorted(set(self.taught.classes)))

    @property
    def groups(self) -> tuple[Kept, ...]:
        """All examples of the SVMs."""
        return tuple(group for group in (self.drawn, self.rejected, *self.hard) if group is not None)

    def of(self, name: str) -> NDArray[np.bool_]:
        """Tell which boxes are of a class: (N,) bool."""
        return np.array([each == name for each in self.taught.classes], dtype=np.bool_)

    def centred(self, regions: Boxes) -> NDArray[np.bool_]:
        """Tell which regions overlap a box by ``negative_iou`` or have their middle in one: what they show is known."""
        boxes = self.taught.boxes
        overlapping = iou(regions, boxes).max(axis=1, initial=0.0) >= OURS.negative_iou
        middle = ((regions[:, :2] + regions[:, 2:]) / 2)[:, None]
        inside = np.all((middle > boxes[None, :, :2]) & (middle < boxes[None, :, 2:]), axis=2)
        known: NDArray[np.bool_] = overlapping | np.any(inside, axis=1)
        return known


class Matrix:
    """Examples of all images in one matrix (N, D) float32, whose rows are used again when examples are dropped."""

    def __init__(self, features: int) -> None:
        self.values = np.zeros((0, features), dtype=np.float32)
        self.lengths = np.zeros(0)  # of the rows
        self._free: list[int] = []

    def keep(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """Put features (n, D) into free rows, and return which."""
        missing = len(features) - len(self._free)
        if missing > 0:
            known, grown = len(self.values), max(missing, ROWS)
            # In place: no other array shares this memory between two calls, and the system moves pages, not bytes.
            self.values.resize((known + grown, self.values.shape[1]), refcheck=False)
            self.lengths.resize(known + grown, refcheck=False)
            self._free += range(known, known + grown)
        rows, self._free = np.array(self._free[: len(features)], dtype=np.int64), self._free[len(features) :]
        self.values[rows] = features
        self.lengths[rows] = np.sqrt(np.einsum("nd,nd->n", features, features))
        return rows

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Let rows be used again."""
        self._free = sorted([*self._free, *rows.tolist()])
