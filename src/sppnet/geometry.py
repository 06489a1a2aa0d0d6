"""Every coordinate rule, once: boxes, regions to windows, bin edges, box deltas, suppression.

Boxes are (N, 4) float64 ``[left, top, right, bottom]`` in 0-based pixels, ends excluded: the pixels of a box
are ``left .. right - 1``. Sizes are ``(height, width)``. Windows are the same in whole cells of a feature map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sppnet.errors import BoxError, check_shape, check_that, message

Boxes = NDArray[np.float64]
Size = tuple[int, int]
WindowRule = Literal["paper", "released"]


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
        """(N,) float, higher for the more certain: 0..1, or any score where only the order is asked for."""


VIEW_SIDE: Final = 224  # the side of the view that the paper's networks were trained on
RELEASED_SHRINK: Final = 6.5  # the released code's second constant, the same for both of its networks
VOTE_SHARPNESS: Final = 2.0  # a box that scores higher by 1 weighs e^2 = 7.4 times as much
MAX_LOG_RATIO: Final = float(np.log(1000 / 16))  # a box regression never enlarges a side more than this


# Boxes


def check_boxes(function: str, boxes: ArrayLike, size: Size) -> Boxes:
    """Return boxes (N, 4) float64 clipped to an image of ``size``; an empty list gives (0, 4).

    Raises:
        ShapeError: not (N, 4). BoxError: naming the first row that is NaN, empty, inverted or wholly outside.
    """
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return np.zeros((0, 4))
    check_shape(function, "regions", array.shape, ("R", 4), advice="Give left, top, right, bottom a region")
    clipped = clip_boxes(array, size)
    # Comparisons with NaN are false, so one test finds every kind of bad row.
    inside = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    if not inside.all():
        row = int(np.argmin(inside))
        advice = "Give left < right and top < bottom inside the image"
        expected = f"a box that holds some of the image of {size[0]} x {size[1]} pixels (height x width)"
        raise BoxError(message(function, f"regions[{row}]", expected, array[row].tolist(), advice), row)
    return clipped


def clip_boxes(boxes: Boxes, size: Size) -> Boxes:
    """Cut off what hangs out of an image of ``size``; NaN stays NaN."""
    height, width = size
    limits = np.array([width, height, width, height], dtype=np.float64)
    return np.minimum(np.maximum(boxes, 0.0), limits)


def clip_polygon(points: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
    """Cut off what hangs out of an image (Sutherland and Hodgman 1974).

    Args:
        points: (K, 2) float64 [x, y] in pixels, finite; the last is joined to the first. size: (height, width).
    Returns:
        (L, 2) float64, empty where nothing lies inside.
    """
    height, width = size
    for axis, limit, side in ((0, 0, 1), (0, width, -1), (1, 0, 1), (1, height, -1)):
        depth = side * (points[:, axis] - limit)
        if (depth >= 0).all():
            continue
        kept = []
        for place, before in enumerate(range(-1, len(points) - 1)):
            if (depth[place] >= 0) != (depth[before] >= 0):  # the edge that leads here crosses the border
                share = depth[before] / (depth[before] - depth[place])
                crossing = points[before] + share * (points[place] - points[before])
                crossing[axis] = limit
                kept.append(crossing)
            kept += [points[place]] if depth[place] >= 0 else []
        points = np.array(kept, dtype=np.float64).reshape(-1, 2)
    return points


def scale_boxes(boxes: Boxes, factors: tuple[float, float]) -> Boxes:
    """Multiply rows by ``factors[0]`` and columns by ``factors[1]``."""
    down, across = factors
    scaled: Boxes = boxes * np.array([across, down, across, down])
    return scaled


def flip_boxes(boxes: Boxes, width: float) -> Boxes:
    """Mirror boxes left to right in an image of ``width`` pixels; twice gives them back."""
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)


def area(boxes: Boxes) -> NDArray[np.float64]:
    """Return the areas (N,) in pixels."""
    areas: NDArray[np.float64] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def iou(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """Return intersection over union (N, M) of boxes (N, 4) and (M, 4); 0 where both are empty."""
    shared = _overlap(first, second, 0) * _overlap(first, second, 1)
    union = area(first)[:, None] + area(second)[None, :] - shared
    ratio: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


def _overlap(first: Boxes, second: Boxes, axis: int) -> NDArray[np.float64]:
    end = np.minimum(first[:, None, axis + 2], second[None, :, axis + 2])
    shared: NDArray[np.float64] = np.maximum(end - np.maximum(first[:, None, axis], second[None, :, axis]), 0.0)
    return shared


# Scales

SHORT_SIDES: Final = (256, 640)  # in pixels: below, objects are a few cells; above, images take too long


def shorter_side_size(size: Size, short_side: int, *, multiple: int = 1) -> Size:
    """Return (height, width) when the shorter side becomes ``short_side``; the other rounds half up.

    Args:
        size: (height, width). short_side: in pixels.
        multiple: the longer side rounds to a multiple of this, at least ``short_side``: its aspect changes a
            little, and images of a hundred shapes come in a dozen, for which networks are compiled once.

    >>> shorter_side_size((300, 451), 224), shorter_side_size((300, 451), 224, multiple=32)
    ((224, 337), (224, 352))
    """
    unit = min(size) * multiple
    height, width = (
        max(short_side, multiple * ((2 * side * short_side + unit) // (2 * unit))) if side > min(size) else short_side
        for side in size
    )
    return height, width


def usual_short_side(sizes: Sequence[Size]) -> int:
    """Return the shorter side that images are scaled to unless the user chooses: their median, within limits.

    >>> usual_short_side([(300, 451), (375, 500), (90, 80)]), usual_short_side([(4000, 3000)])
    (300, 640)
    """
    return int(np.clip(np.median([min(size) for size in sizes]), *SHORT_SIDES))


def longer_side_size(size: Size, longer_side: int) -> Size:
    """Return (height, width) when the longer side becomes at most ``longer_side``; the other rounds half up.

    >>> longer_side_size((300, 451), 225), longer_side_size((300, 451), 1000), longer_side_size((1, 9000), 100)
    ((150, 225), (300, 451), (1, 100))
    """
    longest = max(size)
    limit = min(longer_side, longest)
    height, width = (max(1, (2 * side * limit + longest) // (2 * longest)) for side in size)
    return height, width


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
    _check_rule("nearest_scale", rule)
    sides, shorter = np.asarray(scales, dtype=np.float64), min(size)
    if rule == "paper":
        pixels = area(regions)[:, None] * (sides[None, :] / shorter) ** 2
        return _smallest(np.abs(pixels - view_side**2))
    expected = np.floor(view_side * shorter / np.sqrt(area(regions)) + 0.5)  # half away from zero, as MATLAB rounds
    return _smallest(np.abs(sides[None, :] - expected[:, None]))


def _check_rule(function: str, rule: str) -> None:
    known = rule in ("paper", "released")
    check_that(known, function, "rule", "paper or released", repr(rule), advice="Name one of these")


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


# Regions to windows


class Layer(NamedTuple):
    """A convolution or pooling along one axis: its kernel, its stride and the cells padded before the first.

    ``ceil``: a last cell whose kernel hangs out past the end counts too, as Caffe pools. It moves no centre.
    """

    kernel: int
    stride: int
    pad_before: int
    ceil: bool = False


class AxisGrid(NamedTuple):
    """Where cells lie along one axis: the centre of cell i is at pixel ``offset + stride * i``, 0-based."""

    stride: float
    offset: float


def axis_grid(layers: Sequence[Layer]) -> AxisGrid:
    """Derive from a network's layers where the centres of its cells lie.

    >>> axis_grid([Layer(7, 2, 1), Layer(3, 2, 0)])
    AxisGrid(stride=4.0, offset=4.0)
    """
    stride, offset = 1.0, 0.0
    for layer in layers:
        offset += ((layer.kernel - 1) / 2 - layer.pad_before) * stride
        stride *= layer.stride
    return AxisGrid(stride, offset)


def cells_along(layers: Sequence[Layer], length: int) -> int:
    """Return how many cells an axis of ``length`` pixels has after layers that pad as much after as before.

    0 where some kernel does not fit. A cell that would begin in the padding past the end is not one.

    >>> cells_along([Layer(7, 2, 1), Layer(3, 2, 0, ceil=True)], 224), cells_along([Layer(7, 2, 1)], 4)
    (55, 0)
    """
    for layer in layers:
        room = length + 2 * layer.pad_before - layer.kernel
        if room < 0:
            return 0
        steps = -(-room // layer.stride) if layer.ceil else room // layer.stride
        if layer.ceil and steps * layer.stride >= length + layer.pad_before:
            steps -= 1
        length = steps + 1
    return length


@dataclass(frozen=True)
class CellGrid:
    """Where the cells of a feature map lie on the network's input, down and across.

    Padding that depends on the size ("SAME") can give the two axes different offsets.
    """

    down: AxisGrid
    across: AxisGrid


def windows_from_regions(
    regions: Boxes, grid: CellGrid, map_size: Size, *, rule: WindowRule = "paper"
) -> NDArray[np.int64]:
    """Map regions of the network's input to windows of its feature map.

    Args:
        regions: (R, 4) in pixels of the network's input.
        grid: where the cells lie.
        map_size: (height, width) of the map in cells.
        rule: "paper" (Appendix A of the fourth version): the cells whose centres lie strictly inside the
            region's first and last pixel. "released": the authors' code, which reaches about a quarter of a
            cell further; its first constant is the grid's offset, its second ``RELEASED_SHRINK``.
    Returns:
        (R, 4) int64 ``[left, top, right, bottom]``, ends excluded; inside the map, at least one cell each.

    Small regions *cross*: no centre lies inside, and the last cell comes before the first. The paper is
    silent; under "paper" the window is then the cell nearest the middle of the region, under "released" both
    ends become their mean, rounded towards zero, as in the authors' code. After that, windows past a border
    of the map are cut to it, and one that lies wholly past it becomes the cell at the border.
    """
    _check_rule("windows_from_regions", rule)
    axis_windows = _paper_windows if rule == "paper" else _released_windows
    top, bottom = axis_windows(regions[:, 1], regions[:, 3], grid.down)
    left, right = axis_windows(regions[:, 0], regions[:, 2], grid.across)
    last = np.array([map_size[1], map_size[0]] * 2) - 1
    inclusive = np.stack([left, top, right, bottom], axis=1).clip(0, last).astype(np.int64)
    inclusive[:, 2:] += 1
    return inclusive


def regions_of_windows(windows: NDArray[np.int64], grid: CellGrid, *, rule: WindowRule = "paper") -> Boxes:
    """Return the middle one of all regions that a rule maps to each window (R, 4).

    ``windows_from_regions`` gives the windows back, by the same grid and rule.
    """
    _check_rule("regions_of_windows", rule)
    left, right = _middle_ends(windows[:, 0], windows[:, 2], grid.across, rule)
    top, bottom = _middle_ends(windows[:, 1], windows[:, 3], grid.down, rule)
    return np.stack([left, top, right, bottom], axis=1)


def unique_windows(windows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct rows of windows (R, 4) in ascending order, (U, 4), and which of them each row is, (R,)."""
    base = int(windows.max(initial=0)) + 1
    if base**4 >= 2**63:
        rows, which = np.unique(windows, axis=0, return_inverse=True)
        return rows, which.reshape(-1)
    # One whole number a row sorts ten times faster than rows do.
    keys, which = np.unique(windows @ base ** np.arange(3, -1, -1), return_inverse=True)
    return np.stack(np.unravel_index(keys, (base,) * 4), axis=1).astype(np.int64), which


Ends = tuple[NDArray[np.float64], NDArray[np.float64]]


def _paper_windows(start: NDArray[np.float64], end: NDArray[np.float64], axis: AxisGrid) -> Ends:
    first = np.floor((start - axis.offset) / axis.stride) + 1
    last = np.ceil((end - 1 - axis.offset) / axis.stride) - 1
    middle = np.floor(((start + end - 1) / 2 - axis.offset) / axis.stride + 0.5)
    crossed = last < first
    return np.where(crossed, middle, first), np.where(crossed, middle, last)


def _released_windows(start: NDArray[np.float64], end: NDArray[np.float64], axis: AxisGrid) -> Ends:
    # Theirs counts cells from 1, which matters for the mean of a crossed window; here they are counted from 0.
    first = np.floor((start - axis.offset + RELEASED_SHRINK) / axis.stride + 0.5) + 1
    last = np.ceil((end - 1 - axis.offset - RELEASED_SHRINK) / axis.stride - 0.5) + 1
    middle = np.trunc((first + last) / 2)
    crossed = last < first
    return np.where(crossed, middle, first) - 1, np.where(crossed, middle, last) - 1


def _middle_ends(first: NDArray[np.int64], end: NDArray[np.int64], axis: AxisGrid, rule: WindowRule) -> Ends:
    # The released rule's windows reach further, so that the regions that have them are smaller.
    inset = 0.0 if rule == "paper" else axis.stride / 2 - RELEASED_SHRINK
    before_first, before_end = (cells.astype(np.float64) - 0.5 for cells in (first, end))
    return axis.offset + axis.stride * before_first + inset, axis.offset + axis.stride * before_end + 1.0 - inset


# Bins


def bin_edges(length: NDArray[np.int64] | int, level: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first cell and the end (excluded) of each of ``level`` bins along ``length`` cells.

    Bin i covers ``floor(i * length / level)`` to ``ceil((i + 1) * length / level)``: bins overlap where the
    level does not divide the length, and none is ever empty (paper, Appendix A). In 64-bit whole numbers.

    Args:
        length: () or (R,) cells, at least 1. level: bins, at least 1.
    Returns:
        Two int64 arrays of shape (level,) or (R, level).
    """
    cells = np.asarray(length, dtype=np.int64)[..., None]
    bins = np.arange(level, dtype=np.int64)
    return bins * cells // level, -(-(bins + 1) * cells // level)


# Crops


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
    sides, centres = _sides_and_centres(regions)
    half = sides * (side / (side - 2 * context)) / 2
    around = np.concatenate([centres - half, centres + half], axis=1)
    seen = clip_boxes(around, size)
    origin, stretch = np.tile(around[:, :2], 2), side / np.tile(2 * half, 2)
    places = np.floor((seen - origin) * stretch + 0.5).astype(np.int64)
    places[:, :2] = np.minimum(places[:, :2], side - 1)
    places[:, 2:] = np.maximum(places[:, 2:], places[:, :2] + 1)
    return seen, places


# Box regression


def box_deltas(regions: Boxes, targets: Boxes) -> NDArray[np.float64]:
    """Return what moves regions onto targets, (N, 4): shift of the centre in sides, logarithm of the growth.

    The parametrisation of R-CNN, as the paper uses it; ``apply_deltas`` is its inverse.
    """
    sides, centres = _sides_and_centres(regions)
    target_sides, target_centres = _sides_and_centres(targets)
    return np.concatenate([(target_centres - centres) / sides, np.log(target_sides / sides)], axis=1)


def apply_deltas(regions: Boxes, deltas: NDArray[np.float64]) -> Boxes:
    """Move regions (N, 4) by deltas (N, 4); a side grows or shrinks 62.5 times at most."""
    sides, centres = _sides_and_centres(regions)
    moved = centres + deltas[:, :2] * sides
    half = sides * np.exp(np.clip(deltas[:, 2:], -MAX_LOG_RATIO, MAX_LOG_RATIO)) / 2
    return np.concatenate([moved - half, moved + half], axis=1)


def _sides_and_centres(boxes: Boxes) -> tuple[Boxes, Boxes]:
    return boxes[:, 2:] - boxes[:, :2], (boxes[:, :2] + boxes[:, 2:]) / 2


# Suppression


def nms(boxes: Boxes, scores: NDArray[np.floating], threshold: float) -> NDArray[np.int64]:
    """Keep boxes that overlap no better one by more than ``threshold`` IoU.

    Args:
        boxes: (N, 4). scores: (N,). threshold: IoU.
    Returns:
        Indices of the kept, by descending score; of equal scores, the first comes first.
    """
    from sppnet.suppression import keep_best  # compiled: whoever suppresses nothing does not wait for it

    order = np.argsort(-scores, kind="stable")
    return np.asarray(order[keep_best(boxes[order], threshold)], dtype=np.int64)


def vote(boxes: Boxes, scores: NDArray[np.floating], kept: NDArray[np.int64], threshold: float) -> Boxes:
    """Place each kept box by all those that overlap it: where many regions agree, their mean is nearer the truth.

    After Gidaris and Komodakis (2015), "box voting". Weights grow exponentially with the score, so that signed
    scores need no floor.

    Args:
        boxes: (N, 4). scores: (N,) of them. kept: (M,) indices, from ``nms``.
        threshold: IoU from which a box has a vote; a kept box always has its own.
    Returns:
        (M, 4) means of the voters, inside their hull.
    """
    voters = iou(boxes[kept], boxes) >= threshold
    voters[np.arange(len(kept)), kept] = True
    logarithms = np.where(voters, VOTE_SHARPNESS * np.asarray(scores, dtype=np.float64)[None], -np.inf)
    weights = np.exp(logarithms - logarithms.max(axis=1, initial=-np.inf, keepdims=True))
    placed: Boxes = (weights @ boxes) / weights.sum(axis=1, keepdims=True)
    return placed
