"""What of an image a network sees at a time: its views, a region at the scale that suits it, a warped crop."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sppnet.errors import check_that
from sppnet.geometry.boxes import Boxes, Size, area, clip_boxes, sides_and_centres
from sppnet.geometry.windows import WindowRule, check_rule

VIEW_SIDE: Final = 224  # the side of the view that the paper's networks were trained on


def nearest_scale(
    regions: Boxes,
    size: Size,
    scales: Sequence[int],
    *,
    rule: WindowRule = "paper",
    view_side: float = VIEW_SIDE,
) -> NDArray[np.int64]:
    """Choose for each region the scale at which it looks most like the views of training (paper, Sec. 4.1).

    Args:
        regions: (R, 4) in the image's pixels. size: of the image.
        scales: shorter sides in pixels.
        rule: "paper": the pixel count of the scaled region is nearest ``view_side`` squared. "released": the
            scale itself is nearest the one at which the region's side is ``view_side`` (208 for ZF-5, 216 for
            Overfeat), rounded to a whole pixel, with the region's area counted with both ends.
        view_side: the side in pixels of the views that the network knows.
    Returns:
        (R,) int64 indices into ``scales``; of two as near, the first.
    """
    check_rule("nearest_scale", rule)
    sides, shorter = np.asarray(scales, dtype=np.float64), min(size)
    if rule == "paper":
        pixels = area(regions)[:, None] * (sides[None, :] / shorter) ** 2
        return _smallest(np.abs(pixels - view_side**2))
    expected = np.floor(view_side * shorter / np.sqrt(area(regions)) + 0.5)  # half away from zero, as MATLAB rounds
    return _smallest(np.abs(sides[None, :] - expected[:, None]))


def _smallest(distances: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.asarray(distances.argmin(axis=1), dtype=np.int64)


def view_regions(size: Size, places: int, *, side: int = VIEW_SIDE) -> Boxes:
    """Return the distinct views of an image, as networks are tested on several (paper, Sec. 3.1.4 and 3.1.5).

    Args:
        size: (height, width) of the scaled image, each at least ``side``.
        places: 1 the centre; 5 and the corners; 9 and the middles of the sides.
        side: of the square views.
    Returns:
        (V, 4) in whole pixels, the centre first; V is less than ``places`` where views coincide, as they do
        along a side that is no longer than a view.
    """
    check_that(places in (1, 5, 9), "view_regions", "places", "1, 5 or 9", places, advice="Choose one of these")
    holds = min(size) >= side
    expected = f"at least {side} pixels a side"
    check_that(holds, "view_regions", "size", expected, size, advice="Scale the shorter side to this or more")
    (top, middle, bottom), (left, centre, right) = ((0, (length - side) // 2, length - side) for length in size)
    corners = [(top, left), (top, right), (bottom, left), (bottom, right)]
    sides = [(top, centre), (middle, left), (middle, right), (bottom, centre)]
    starts = dict.fromkeys([(middle, centre), *corners, *sides][:places])
    return np.array([[x, y, x + side, y + side] for y, x in starts], dtype=np.float64)


def warp_places(regions: Boxes, size: Size, *, side: int, context: int) -> tuple[Boxes, NDArray[np.int64]]:
    """Tell what R-CNN's crop of each region shows: the region itself in the middle, what lies around it beyond.

    A crop is a square of ``side`` pixels that the region fills up to ``context`` pixels from each border, its
    aspect lost. What lies outside the image stays empty.

    Args:
        regions: (R, 4) in the pixels of an image of ``size``.
    Returns:
        (R, 4) float64 what is seen of the image, and (R, 4) int64 ``[left, top, right, bottom]`` where in the
        crop it goes, at least one pixel.
    """
    sides, centres = sides_and_centres(regions)
    half = sides * (side / (side - 2 * context)) / 2
    around = np.concatenate([centres - half, centres + half], axis=1)
    seen = clip_boxes(around, size)
    origin, stretch = np.tile(around[:, :2], 2), side / np.tile(2 * half, 2)
    places = np.floor((seen - origin) * stretch + 0.5).astype(np.int64)
    places[:, :2] = np.minimum(places[:, :2], side - 1)
    places[:, 2:] = np.maximum(places[:, 2:], places[:, :2] + 1)
    return seen, places
