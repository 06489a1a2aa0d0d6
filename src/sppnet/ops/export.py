"""The pooling in operators that exporters know, with free batch, height and width.

Custom operators mean nothing to ONNX, and ``adaptive_max_pool2d`` cannot be exported at a free size. Masks over
rows and columns and maxima can: slower than the kernels, the same bits. It pools whole maps, for networks of your own;
what ``sppnet export`` writes pools thousands of windows of one map, by ``sppnet.export.pooling``.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sppnet.ops.contract import check_options


class ExportableSpatialPyramidPool(nn.Module):
    """``SpatialPyramidPool`` with maxima, for ``torch.export`` and ``torch.onnx.export``.

    Args:
        levels: bins per side of each level of the pyramid.

    >>> from sppnet.ops import SpatialPyramidPool
    >>> features = torch.rand(2, 4, 9, 7)
    >>> torch.equal(ExportableSpatialPyramidPool((3, 1))(features), SpatialPyramidPool((3, 1))(features))
    True
    """

    def __init__(self, levels: Sequence[int] = (6, 3, 2, 1)) -> None:
        super().__init__()
        check_options("ExportableSpatialPyramidPool", levels, "max", None)
        self.levels = tuple(levels)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C * B), channel by channel, in each the bins of all levels."""
        return torch.cat([_level(features, level).flatten(2) for level in self.levels], dim=2).flatten(1)


def _level(features: Tensor, level: int) -> Tensor:
    """(N, C, H, W) -> (N, C, level, level)."""
    rows = torch.stack([_masked(features, row, level, 2).amax(2) for row in range(level)], dim=2)
    return torch.stack([_masked(rows, column, level, 3).amax(3) for column in range(level)], dim=3)


def _masked(features: Tensor, part: int, level: int, axis: int) -> Tensor:
    """Return minus infinity outside bin ``part`` of an axis: ``geometry.bin_edges`` at a length not yet known."""
    length = features.shape[axis]
    cells = torch.arange(length, device=features.device)
    inside = (cells >= part * length // level) & (cells < (part * length + length + level - 1) // level)
    shape = [1] * features.ndim
    shape[axis] = -1
    return torch.where(inside.reshape(shape), features, -torch.inf)
