"""Which size images are scaled to: their usual one, or a larger one where that would leave objects too small."""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sppnet.data import DetectionData
from sppnet.errors import check_that
from sppnet.geometry import Boxes, Size, area, shorter_side_size, usual_short_side
from sppnet.images import MAX_SCALED_PIXELS, MAX_WHOLE_PIXELS

# Sides in pixels of the square that measures as much as half of a class's objects at least.
GOOD: Final = 56.0  # for which images are enlarged a little: cells and small defects are found and placed better
LEAST: Final = 24.0  # for which they are scaled down less, whatever it costs
ENLARGED: Final = 1.5  # times the usual scale, at most
LONGEST: Final = 1.6  # an image's longer side over its shorter one, for which there is always room


def fitting_short_side(
    sizes: Sequence[Size],
    boxes: Sequence[Boxes] = (),
    labels: Sequence[NDArray[np.int64]] = (),
    *,
    tiles: bool = True,
) -> int:
    """Return the shorter side that images are scaled to unless the user chooses.

    It is the median, within limits; up to a half more where some class's objects measure less than ``GOOD`` pixels;
    and as large as images are where they would measure less than ``LEAST``. Large ones go through the network in tiles.

    Args:
        sizes: (height, width) of images. boxes: (N, 4) of each, in its pixels. labels: (N,) the class of each.
        tiles: whether images may be scaled to more than goes through the network at once.

    >>> box = np.array([[9, 9, 29, 29]])
    >>> [fitting_short_side([size], [box], [np.zeros(1)]) for size in ((100, 150), (400, 500), (2000, 3000))]
    [280, 600, 2000]
    """
    usual = usual_short_side(sizes)
    most = max(_room(sizes, MAX_SCALED_PIXELS), usual) if tiles else untiled_short_side(sizes)
    shares = _shares(sizes, boxes, labels)
    if not shares:
        return int(min(usual, most))
    has = float(np.median([min(size) for size in sizes]))
    wanted = max(usual, min(GOOD / min(shares), ENLARGED * usual), min(LEAST / min(shares), has))
    return int(min(wanted, most))


def scales_for(
    data: DetectionData, short_side: int | Sequence[int] | None = None, *, tiles: bool = True
) -> tuple[int, ...]:
    """Return the shorter sides that a detector scales a data set's images to: the user's, or the fitting one."""
    samples = data.samples
    fitting = [each.size for each in samples], [each.boxes for each in samples], [each.labels for each in samples]
    return as_scales(fitting_short_side(*fitting, tiles=tiles) if short_side is None else short_side)


def tiled(sizes: Sequence[Size], scales: Sequence[int]) -> int:
    """Return how many images of these (height, width) go through the network in tiles at some scale."""
    return sum(math.prod(shorter_side_size(size, max(scales))) > MAX_WHOLE_PIXELS for size in sizes)


def untiled_short_side(sizes: Sequence[Size]) -> int:
    """Return the largest shorter side at which no image needs tiles: the other side is rounded, up perhaps."""
    side = max(1, int(_room(sizes, MAX_WHOLE_PIXELS)))
    while side > 1 and tiled(sizes, (side,)):
        side -= 1
    return side


def _room(sizes: Sequence[Size], pixels: int) -> float:
    """Return the shorter side at which no image has more than so many pixels."""
    return float((pixels / max([LONGEST, *(max(size) / min(size) for size in sizes)])) ** 0.5)


def as_scales(short_side: int | Sequence[int]) -> tuple[int, ...]:
    """Return one shorter side or several as several.

    Raises:
        ArgumentError: none, or what is no whole number from 1.
    """
    sides: tuple[Any, ...] = tuple(short_side) if isinstance(short_side, Sequence) else (short_side,)
    fits = len(sides) > 0 and all(isinstance(side, Integral) and int(side) >= 1 for side in sides)
    expected, advice = "a whole number of pixels from 1, or several", "Leave it out to have it chosen"
    check_that(fits, "Detector", "short_side", expected, short_side, advice=advice)
    return tuple(map(int, sides))


def _shares(sizes: Sequence[Size], boxes: Sequence[Boxes], labels: Sequence[NDArray[np.int64]]) -> list[float]:
    """Return of each class the median side of its objects, as a share of the image's shorter side."""
    if not sum(map(len, boxes)):
        return []
    sides = np.concatenate([np.sqrt(area(each)) / min(size) for each, size in zip(boxes, sizes, strict=True)])
    owners = np.concatenate(labels)
    return [float(np.median(sides[owners == label])) for label in np.unique(owners)]
