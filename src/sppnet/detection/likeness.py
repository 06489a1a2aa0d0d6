"""What looks like one example: regions of other images by the cosine of their pooled rows with the example's.

Not in the paper, whose features it takes. Nothing is learnt: it finds the like of a single box before a detector can.
Of the maps that detectors pool, the last but one tells kinds best while its cells still tell the place; means over two
by two bins beat both one bin and maxima. A random projection of the channels keeps cosines nearly as they are (Johnson
and Lindenstrauss 1984) and makes the search several times as fast.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.backbones.protocol import Backbone
from sppnet.features.maps import FeatureMap
from sppnet.geometry import Boxes, area, iou
from sppnet.proposals.grid import GridProposals

LEVELS: Final = (2,)
AXES: Final = 64  # that channels are projected onto
SCALES: Final = (0.7, 1.0, 1.4)  # of the example's sides, at which its like is looked for
STEP: Final = 0.3  # of a region's side, between neighbours
LARGEST: Final = 1.7  # shorter sides of the image, from which on a scale is left out
SAME: Final = 0.5  # share of the smaller of two regions, from which on the most alike stands for both
CHUNK: Final = 1024  # regions at a time


def likeness_layer(backbone: Backbone) -> str:
    """Return the feature map that likeness is told by."""
    return backbone.detector_layers[-2:][0]


@dataclass(frozen=True)
class Example:
    """One box, or one image as a whole, whose like is looked for.

    Args:
        row: (D,) float32, of length 1.
        grid: where a box of its shape may lie; None for a whole image.
    """

    row: NDArray[np.float32]
    grid: GridProposals | None

    @classmethod
    def of(cls, feature_map: FeatureMap, box: Boxes | None = None) -> "Example":
        """Take a box (4,) in the image's pixels, or the image as a whole."""
        feature_map = _projected(feature_map)
        if box is None:
            return cls(_rows(feature_map, _whole(feature_map))[0], None)
        side = min(feature_map.size)
        tall, wide = float(box[3] - box[1]), float(box[2] - box[0])
        scales = [scale for scale in SCALES if scale == 1 or max(tall, wide) * scale <= LARGEST * side]
        grid = GridProposals(tuple((tall * scale, wide * scale) for scale in scales), side, STEP)
        return cls(_rows(feature_map, box[None])[0], grid)

    def find(self, feature_map: FeatureMap, most: int) -> tuple[Boxes, NDArray[np.float32]]:
        """Return the regions (N, 4) of an image that are most alike, and their cosines (N,), the best first."""
        feature_map = _projected(feature_map)
        regions = _whole(feature_map) if self.grid is None else feature_map.unique(self.grid.of_size(feature_map.size))
        chunks = (regions[start : start + CHUNK] for start in range(0, len(regions), CHUNK))
        cosines = np.concatenate([_rows(feature_map, chunk) @ self.row for chunk in chunks])
        kept = _apart(regions, cosines, most)
        return regions[kept], cosines[kept]


def _apart(regions: Boxes, cosines: NDArray[np.float32], most: int) -> NDArray[np.int64]:
    """Return the rows of the best, of which none covers another by ``SAME`` of the smaller one."""
    kept: list[int] = []
    left = np.argsort(-cosines, kind="stable")
    while len(left) and len(kept) < most:
        best, left = left[:1], left[1:]
        kept += best.tolist()
        one, others = area(regions[best]), area(regions[left])
        share = iou(regions[best], regions[left])[0]
        left = left[share * (one + others) / (1 + share) < SAME * np.minimum(one, others)]
    return np.array(kept)


def _whole(feature_map: FeatureMap) -> Boxes:
    height, width = feature_map.size
    return np.array([[0.0, 0.0, width, height]])


def _rows(feature_map: FeatureMap, regions: Boxes) -> NDArray[np.float32]:
    """Return one row a region (R, D), of length 1."""
    means = feature_map.averages(regions, LEVELS).numpy()
    rows: NDArray[np.float32] = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return rows


def _projected(feature_map: FeatureMap) -> FeatureMap:
    """Return the map (AXES, H, W) of the channels' projection."""
    cells = feature_map.values.permute(1, 2, 0).float()  # as they lie in memory
    return replace(feature_map, values=(cells @ axes_of(cells.shape[2])).permute(2, 0, 1))


@lru_cache(maxsize=1)
def axes_of(channels: int) -> Tensor:
    """Return random axes (channels, K) at right angles, K at most ``AXES``, the same each time."""
    drawn = torch.randn(channels, min(channels, AXES), generator=torch.Generator().manual_seed(0))
    axes: Tensor = torch.linalg.qr(drawn)[0]
    return axes
