"""Which bins of which window made a score: a linear head's score is a sum over the bins of its pyramid.

``score = bias + sum over bins (sum over channels of weight x pooled value)``. Nothing is approximated: the terms add
up to the score to float precision.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sppnet.geometry import Boxes, bin_edges, clip_boxes, flip_boxes, regions_of_windows, scale_boxes
from sppnet.ops import bins

if TYPE_CHECKING:
    from sppnet.features.maps import FeatureMap


@dataclass(frozen=True)
class Contributions:
    """What each bin of one window adds to one score.

    Args:
        window: (4,) int64 [left, top, right, bottom] in cells of the feature map, ends excluded.
        levels: bins per side of each level of the pyramid.
        bins: (B,) float64, level by level and row by row in it.
        boxes: (B, 4) float64, where each bin lies on the image, in its pixels, ends excluded.
        bias: of the class.
    """

    window: NDArray[np.int64]
    levels: tuple[int, ...]
    bins: NDArray[np.float64]
    boxes: Boxes
    bias: float

    @property
    def score(self) -> float:
        """The score that the bins and the bias add up to."""
        return float(self.bins.sum()) + self.bias


def window_contributions(
    feature_map: "FeatureMap", regions: Boxes, levels: Sequence[int], weights: Tensor, bias: Tensor
) -> list[Contributions]:
    """Split the score of each region's window of one map; see ``Maps.explain``."""
    products = feature_map.pool(regions, levels).cpu().double() * weights.double()
    sums = products.reshape(len(regions), bins(levels), products.shape[1] // bins(levels)).sum(2).numpy()
    windows = feature_map.windows(regions)
    return [
        Contributions(window, tuple(levels), row, _bin_boxes(feature_map, window, levels), float(constant))
        for window, row, constant in zip(windows, sums, bias, strict=True)
    ]


def join_contributions(parts: Sequence[Contributions]) -> Contributions:
    """Put the bins of several maps under each other: the window is that of the first, the finest."""
    levels = tuple(level for part in parts for level in part.levels)
    sums, boxes = (np.concatenate([getattr(part, name) for part in parts]) for name in ("bins", "boxes"))
    return Contributions(parts[0].window, levels, sums, boxes, parts[0].bias)


def turned(part: Contributions, width: int) -> Contributions:
    """Return a mirror image's bins where they lie on the image, ``width`` pixels wide."""
    return replace(part, boxes=flip_boxes(part.boxes, width))


def image_contributions(
    feature_map: "FeatureMap", vector: Tensor, levels: Sequence[int], weights: Tensor, bias: Tensor
) -> list[Contributions]:
    """Split the scores of a whole image.

    Square roots and scaling to length 1 happen before the weights: the score is linear in what they leave, and each
    of its values belongs to one bin.

    Args:
        vector: (C * B,) what the weights were multiplied with, as ``ImageEncoder`` orders it.
        weights: (K, C * B), a row for each class. bias: (K,).
    """
    products = vector.double() * weights.double()
    sums = products.reshape(len(weights), len(vector) // bins(levels), bins(levels)).sum(1).numpy()
    height, width = feature_map.values.shape[1:]
    whole = np.array([0, 0, width, height])
    boxes = _bin_boxes(feature_map, whole, levels)
    return [
        Contributions(whole, tuple(levels), row, boxes, float(constant))
        for row, constant in zip(sums, bias, strict=True)
    ]


def _bin_boxes(feature_map: "FeatureMap", window: NDArray[np.int64], levels: Sequence[int]) -> Boxes:
    """Return where the bins of a window lie on the image, (B, 4), in the order of the pooled features.

    What touches a border of the map reaches that of the image: its cells are the nearest to what lies between.
    """
    left, top, right, bottom = window.tolist()
    parts = []
    for level in levels:
        (y0, y1), (x0, x1) = bin_edges(bottom - top, level), bin_edges(right - left, level)
        rows, columns = np.divmod(np.arange(level * level), level)
        parts.append(np.stack([left + x0[columns], top + y0[rows], left + x1[columns], top + y1[rows]], axis=1))
    cells = np.concatenate(parts)
    middle = regions_of_windows(cells, feature_map.grid)
    boxes = clip_boxes(scale_boxes(middle, feature_map.scaled, feature_map.size), feature_map.size)
    (map_height, map_width), (height, width) = feature_map.values.shape[1:], feature_map.size
    boxes[:, :2][cells[:, :2] == 0] = 0.0
    at_end = cells[:, 2:] == (map_width, map_height)
    boxes[:, 2:] = np.where(at_end, (width, height), boxes[:, 2:])
    return boxes
