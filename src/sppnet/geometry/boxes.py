"""Boxes: overlap, clipping, what moves one onto another, suppression and voting."""

from typing import Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sppnet.errors import BoxError, check_shape, message

Boxes = NDArray[np.float64]
Size = tuple[int, int]


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


PAIRS: Final = 1_000_000  # of boxes that are compared at a time
VOTE_SHARPNESS: Final = 2.0  # a box that scores higher by 1 weighs e^2 = 7.4 times as much
RIVAL_IOU: Final = 0.42  # IoU with a surer box of its class that speaks against a box as much as a margin of 1
MAX_LOG_RATIO: Final = float(np.log(1000 / 16))  # a box regression never enlarges a side more than this


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


def scale_boxes(boxes: Boxes, size: tuple[int, int], scaled: tuple[int, int]) -> Boxes:
    """Map boxes of an image of ``size`` (height, width) onto it scaled: what ends at its edge ends at the edge exactly.

    The quotient of both sides times a side is not always the other side: 600 * (701 / 600) > 701, in another cell.
    """
    made: Boxes = boxes * np.tile(scaled[::-1], 2) / np.tile(size[::-1], 2)
    return made


def flip_boxes(boxes: Boxes, width: float) -> Boxes:
    """Mirror boxes left to right in an image of ``width`` pixels; twice gives them back."""
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)


def area(boxes: Boxes) -> NDArray[np.float64]:
    """Return the areas (N,) in pixels."""
    areas: NDArray[np.float64] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def iou(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """Return intersection over union (N, M) of boxes (N, 4) and (M, 4); 0 where both are empty."""
    ratio = np.zeros((len(first), len(second)))
    step = max(1, PAIRS // max(len(second), 1))  # a large image has 50,000 regions and a thousand objects
    for start in range(0, len(first), step):
        some = first[start : start + step]
        shared = _overlap(some, second, 0) * _overlap(some, second, 1)
        union = area(some)[:, None] + area(second)[None, :] - shared
        np.divide(shared, union, out=ratio[start : start + step], where=union > 0)
    return ratio


def best_iou(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """Return of each of boxes (N, 4) the largest IoU with any of (M, 4), (N,); 0 where there is none."""
    best, step = np.zeros(len(first)), max(1, PAIRS // max(len(first), 1))
    for start in range(0, len(second), step):
        best = np.maximum(best, iou(first, second[start : start + step]).max(axis=1))
    return best


def _overlap(first: Boxes, second: Boxes, axis: int) -> NDArray[np.float64]:
    end = np.minimum(first[:, None, axis + 2], second[None, :, axis + 2])
    shared: NDArray[np.float64] = np.maximum(end - np.maximum(first[:, None, axis], second[None, :, axis]), 0.0)
    return shared


def box_deltas(regions: Boxes, targets: Boxes) -> NDArray[np.float64]:
    """Return what moves regions onto targets, (N, 4): shift of the centre in sides, logarithm of the growth.

    The parametrisation of R-CNN, as the paper uses it; ``apply_deltas`` is its inverse.
    """
    sides, centres = sides_and_centres(regions)
    target_sides, target_centres = sides_and_centres(targets)
    return np.concatenate([(target_centres - centres) / sides, np.log(target_sides / sides)], axis=1)


def apply_deltas(regions: Boxes, deltas: NDArray[np.float64]) -> Boxes:
    """Move regions (N, 4) by deltas (N, 4); a side grows or shrinks 62.5 times at most."""
    sides, centres = sides_and_centres(regions)
    moved = centres + deltas[:, :2] * sides
    half = sides * np.exp(np.clip(deltas[:, 2:], -MAX_LOG_RATIO, MAX_LOG_RATIO)) / 2
    return np.concatenate([moved - half, moved + half], axis=1)


def sides_and_centres(boxes: Boxes) -> tuple[Boxes, Boxes]:
    """Return widths and heights (N, 2), and the middles (N, 2) as x, y."""
    return boxes[:, 2:] - boxes[:, :2], (boxes[:, :2] + boxes[:, 2:]) / 2


def nms(boxes: Boxes, scores: NDArray[np.floating], threshold: float) -> NDArray[np.int64]:
    """Keep boxes that overlap no better one by more than ``threshold`` IoU.

    Args:
        boxes: (N, 4). scores: (N,). threshold: IoU.
    Returns:
        Indices of the kept, by descending score; of equal scores, the first comes first.
    """
    from sppnet.geometry.suppression import keep_best  # compiled: whoever suppresses nothing does not wait for it

    order = np.argsort(-scores, kind="stable")
    return np.asarray(order[keep_best(boxes[order], threshold)], dtype=np.int64)


def second_turn(
    boxes: Boxes, scores: NDArray[np.floating], kept: NDArray[np.int64], *, threshold: float, apart: float
) -> NDArray[np.int64]:
    """Keep the best of the boxes that suppression took, but that overlap none of the kept by more than ``apart``.

    Two objects side by side overlap by more than ``threshold`` now and then; two boxes of one object seldom by less
    than ``apart``. What this keeps is less sure: ``rivals`` tells by how much.

    Args:
        boxes: (N, 4). scores: (N,). kept: (M,) indices, from ``nms``. threshold: IoU, as for ``nms``. apart: IoU.
    Returns:
        Further indices, by descending score.
    """
    from sppnet.geometry.suppression import apart_from

    left = np.flatnonzero(apart_from(boxes, boxes[kept], apart))
    left = left[~np.isin(left, kept)]  # a box without area overlaps nothing, not even itself
    return left[nms(boxes[left], scores[left], threshold)]


def rivals(boxes: Boxes, labels: NDArray[np.int64], scores: NDArray[np.floating], *, most: int) -> NDArray[np.float64]:
    """Tell what speaks against each box: surer ones of its class around it, a surer one of another class on it.

    Soft suppression (after Bodla et al. 2017), by terms that a curve weighs: a cube of the overlap, 1 at ``RIVAL_IOU``,
    summed over its class; a square of the overlap, times the other's margin above -1, the largest of other classes.

    Args:
        boxes: (N, 4). labels: (N,). scores: (N,) signed distances. most: so many boxes, the surest of all classes, are
            asked of for others: with many classes it bounds the work.
    Returns:
        (N, 2) float64, at least 0: of its own class, of others. Of equal scores none is surer.
    """
    from sppnet.geometry.suppression import rivals_of

    signed = scores.astype(np.float64)
    surest = np.argsort(-signed, kind="stable")[:most]
    return np.asarray(rivals_of(boxes, labels, signed, surest, RIVAL_IOU), dtype=np.float64)


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
    step = max(1, PAIRS // max(len(boxes), 1))  # a large image has thousands of either
    parts = [_voted(boxes, scores, kept[start : start + step], threshold) for start in range(0, len(kept), step)]
    return np.concatenate([np.zeros((0, 4)), *parts])


def _voted(boxes: Boxes, scores: NDArray[np.floating], kept: NDArray[np.int64], threshold: float) -> Boxes:
    voters = iou(boxes[kept], boxes) >= threshold
    voters[np.arange(len(kept)), kept] = True
    logarithms = np.where(voters, VOTE_SHARPNESS * np.asarray(scores, dtype=np.float64)[None], -np.inf)
    weights = np.exp(logarithms - logarithms.max(axis=1, initial=-np.inf, keepdims=True))
    placed: Boxes = (weights @ boxes) / weights.sum(axis=1, keepdims=True)
    return placed
