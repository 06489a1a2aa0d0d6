"""Greedy suppression, compiled. On its own so that geometry needs no compiler until something is suppressed."""

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
            width = min(boxes[best, 2], boxes[other, 2]) - max(boxes[best, 0], boxes[other, 0])
            height = min(boxes[best, 3], boxes[other, 3]) - max(boxes[best, 1], boxes[other, 1])
            if width > 0 and height > 0:
                shared = width * height
                if shared / (areas[best] + areas[other] - shared) > threshold:
                    kept[other] = False
    return kept
