"""A dense grid of regions of the shapes that the labelled boxes have."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sppnet.errors import check_that
from sppnet.features.scene import Scene
from sppnet.geometry import Boxes, Size, clip_boxes

# How far a region of the grid may reach out of the image, as a share of its side: objects are cut by borders.
OVERHANG: Final = 0.3
# Neighbouring sizes and aspects of the grid's shapes: a box half a step away still overlaps by more than 0.6.
SIZE_STEP: Final = 1.3
ASPECT_STEP: Final = 2.5
SHARE: Final = 0.05
CHUNK: Final = 200_000  # regions; images of a megapixel have fewer


@dataclass(frozen=True)
class GridProposals:
    """Every shape at every place of a regular grid: nothing to compute, nothing missed between touching objects.

    Args:
        shapes: (height, width) of the regions, in pixels of an image whose shorter side is ``short_side``.
        short_side: shapes grow and shrink with the image's shorter side.
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

    def regions(self, scene: Scene) -> Boxes:
        """Return the regions shape by shape, each row by row; those at a border are clipped."""
        return self.of_size(scene.size)

    def of_size(self, size: Size) -> Boxes:
        """Return the regions of any image of ``size`` (height, width)."""
        return np.concatenate([*self.chunks(size), np.zeros((0, 4))])

    def count(self, size: Size) -> int:
        """Return how many regions an image of ``size`` has."""
        factor = min(size) / self.short_side
        return sum(
            len(_starts(tall * factor, size[0], self.step)) * len(_starts(wide * factor, size[1], self.step))
            for tall, wide in self.shapes
        )

    def chunks(self, size: Size) -> Iterator[Boxes]:
        """Yield what ``of_size`` returns, some shapes at a time: of a large image there are millions."""
        factor = min(size) / self.short_side
        waiting: list[Boxes] = []
        for tall, wide in self.shapes:
            waiting.append(clip_boxes(_placed((tall * factor, wide * factor), size, self.step), size))
            if sum(map(len, waiting)) >= CHUNK:
                yield np.concatenate(waiting)
                waiting = []
        if waiting:
            yield np.concatenate(waiting)

    def describe(self) -> dict[str, Any]:
        """Return the shapes, the shorter side that they are for, and the step."""
        shapes = [list(shape) for shape in self.shapes]
        return {"method": "grid", "shapes": shapes, "short_side": self.short_side, "step": self.step}

    def tensors(self) -> dict[str, Tensor]:
        """Return nothing: nothing is learnt."""
        return {}


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
        boxes: (N, 4), the ground truth of the training images, in pixels of the images as scaled.
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


def fitting_grid(
    boxes: Sequence[Boxes], labels: Sequence[NDArray[np.int64]], sizes: Sequence[Size], short_side: int
) -> GridProposals:
    """Make a grid of the shapes that labelled boxes need, for images scaled to ``short_side``.

    Args:
        boxes: (N, 4) of each image, in its pixels. labels: (N,) of each. sizes: (height, width) of each.
        short_side: what the images' shorter sides are scaled to.
    Raises:
        ArgumentError: no boxes.
    """
    scaled = [each * (short_side / min(size)) for each, size in zip(boxes, sizes, strict=True)]
    return GridProposals(fitting_shapes(np.concatenate(scaled), np.concatenate(labels)), short_side)


def _common(rungs: NDArray[np.int64]) -> NDArray[np.int64]:
    shapes, counts = np.unique(rungs, axis=0, return_counts=True)
    common: NDArray[np.int64] = shapes[counts >= min(SHARE * len(rungs), counts.max())]
    return common
