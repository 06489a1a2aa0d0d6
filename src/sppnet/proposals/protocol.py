"""What every proposal method does: image -> regions, always in the same order."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sppnet.errors import check_shape
from sppnet.features.scene import Scene
from sppnet.geometry import Boxes, best_iou


class Proposals(Protocol):
    """What every proposal method does."""

    def regions(self, scene: Scene) -> Boxes:
        """Return the regions of an image as (R, 4) boxes in its pixels; a scene makes what the method looks at."""

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``proposals.kinds`` makes the same method again: its "method", and more."""

    def tensors(self) -> dict[str, Tensor]:
        """Return what it has learnt, for a model file."""


def covered(regions: Boxes, ground_truth: Boxes, *, threshold: float | NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell for every ground-truth box whether some region overlaps it by ``threshold`` IoU, of each its own: (N,)."""
    check_shape("covered", "ground_truth", ground_truth.shape, ("N", 4), advice="Give one row a box")
    return best_iou(ground_truth, regions) >= threshold
