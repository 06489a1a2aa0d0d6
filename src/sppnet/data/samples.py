"""What every layout is read into: typed samples, and the problems found on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sppnet.errors import DataError
from sppnet.geometry import Boxes, Size
from sppnet.images import read_bytes

OnBad = Literal["fail", "skip"]


@dataclass(frozen=True)
class Problem:
    """Something in a data set that cannot be used.

    Args:
        path: the file at fault.
        line: in that file, from 1; None where it has no lines or they cannot be told.
        what: is wrong, and what became of it.
        kind: "image": a whole image, or a class without any. "box": one box.
    """

    path: Path
    line: int | None
    what: str
    kind: Literal["image", "box"]

    def __str__(self) -> str:
        """Return ``path:line: what``, or ``path: what``."""
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.what}"


class BrokenSampleError(DataError):
    """An image that cannot be used, or its annotation; ``problem`` says where and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True)
class Sample:
    """One image and the objects in it.

    Args:
        path: of the image.
        boxes: (N, 4) float64 [left, top, right, bottom] in 0-based pixels, ends excluded, within the image.
        labels: (N,) int64, indices into the data's classes.
        difficult: (N,) bool: finding it is not asked for (VOC).
        crowd: (N,) bool: the box holds a crowd, not one object (COCO).
        size: (height, width) in pixels, as the image is seen.
        number: of the image in the data set's own file (COCO); None where it has none.
    """

    path: Path
    boxes: Boxes
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    crowd: NDArray[np.bool_]
    size: Size
    number: int | None = None


class ScoredBoxes(Protocol):
    """What was found in one image: N objects, in any order."""

    @property
    def boxes(self) -> Boxes:
        """(N, 4) float64 in the image's pixels, ends excluded."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) int64 indices of classes."""

    @property
    def confidence(self) -> NDArray[np.floating]:
        """(N,) float, higher for the more certain."""


@dataclass(frozen=True)
class DetectionData:
    """Images with boxes, in a stable order.

    Args:
        root: the data set's folder. classes: names, in the order of the labels.
        samples: the usable images. problems: what was left out.
        split: its name, "all" when every image was asked for.
        numbers: of the classes that the data set's own file numbers (COCO), by name.
    """

    root: Path
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...]
    split: str
    numbers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FolderData:
    """Images with one label each, in a stable order.

    Args:
        root: the data set's folder. classes: names, in the order of the labels.
        paths: of the N images. labels: (N,) int64, indices into ``classes``.
        problems: what was left out, and classes without images.
    """

    root: Path
    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    problems: tuple[Problem, ...]


class Duplicate(NamedTuple):
    """One image that two splits hold, byte for byte."""

    split: str
    path: Path
    other_split: str
    other_path: Path


def duplicates(splits: Mapping[str, Sequence[Path]]) -> list[Duplicate]:
    """Find the images that lie in more than one split: measured on them, a model looks better than it is.

    Args:
        splits: the images of each split by its name.
    Returns:
        Every pair of identical files from two splits, in the order of ``splits``.
    Raises:
        ImageDecodeError: a file that cannot be read.
    """
    seen: dict[bytes, list[tuple[str, Path]]] = {}
    pairs: list[Duplicate] = []
    for split, paths in splits.items():
        for path in paths:
            twins = seen.setdefault(sha256(read_bytes(path)).digest(), [])
            pairs += [Duplicate(*twin, split, path) for twin in twins if twin[0] != split]
            twins.append((split, path))
    return pairs
