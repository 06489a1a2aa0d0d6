"""What every proposal method does: image -> regions, always in the same order."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sppnet.errors import check_shape
from sppnet.geometry import Boxes, iou


class Proposals(Protocol):
    """What every proposal method does."""

    def __call__(self, image: NDArray[np.uint8], name: str) -> Boxes:
        """Return the regions of an image (H, W, 3) as (R, 4) boxes in its pixels."""

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``from_description`` makes the same method again."""


def covered(regions: Boxes, ground_truth: Boxes, *, threshold: float) -> NDArray[np.bool_]:
    """Tell for every ground-truth box whether some region overlaps it by ``threshold`` IoU: (N,) bool."""
    check_shape("reached", "ground_truth", ground_truth.shape, ("N", 4), advice="Give one row a box")
    best: NDArray[np.bool_] = iou(ground_truth, regions).max(axis=1, initial=0.0) >= threshold
    return best
