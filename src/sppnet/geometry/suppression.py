"""Greedy suppression and what it leaves, compiled: geometry needs no compiler until something is suppressed."""

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True)
def keep_best(boxes: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Tell which of boxes (N, 4), the best first, overlap no better kept one by more than ``threshold`` IoU."""
    kept = np.ones(len(boxes), dtype=np.bool_)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for best in range(len(boxes)):
        if not kept[best]:
            continue
        for other in range(best + 1, len(boxes)):
            if _overlap(boxes[best], boxes[other], areas[best] + areas[other]) > threshold:
                kept[other] = False
    return kept


@numba.njit(cache=True)
def apart_from(boxes: NDArray[np.float64], others: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Tell which of boxes (N, 4) overlap none of others (M, 4) by more than ``threshold`` IoU."""
    apart = np.ones(len(boxes), dtype=np.bool_)
    for row in range(len(boxes)):
        area = _area(boxes[row])
        for other in others:
            if _overlap(boxes[row], other, area + _area(other)) > threshold:
                apart[row] = False
                break
    return apart


@numba.njit(cache=True)
def rivals_of(
    boxes: NDArray[np.float64],
    labels: NDArray[np.int64],
    scores: NDArray[np.float64],
    surest: NDArray[np.int64],
    shared: float,
) -> NDArray[np.float64]:
    """Return (N, 2) as ``geometry.rivals`` does; of other classes those at the places ``surest`` count."""
    found = np.zeros((len(boxes), 2))
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for row in range(len(boxes)):
        for other in range(len(boxes)):
            if labels[other] == labels[row] and scores[other] > scores[row]:
                overlap = _overlap(boxes[row], boxes[other], areas[row] + areas[other])
                found[row, 0] += (overlap / shared) ** 3
        for other in surest:
            if labels[other] != labels[row] and scores[other] > scores[row]:
                overlap = _overlap(boxes[row], boxes[other], areas[row] + areas[other])
                found[row, 1] = max(found[row, 1], overlap**2 * max(scores[other] + 1, 0.0))
    return found


@numba.njit(cache=True)
def _area(box: NDArray[np.float64]) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


@numba.njit(cache=True)
def _overlap(box: NDArray[np.float64], other: NDArray[np.float64], areas: float) -> float:
    """Return the IoU of two boxes whose areas sum to ``areas``."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return float(both / (areas - both))
