"""Means over bins by sums over the map, whatever the size of the bins (Viola and Jones 2001)."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.geometry import bin_edges

Edges = tuple[Tensor, Tensor, Tensor, Tensor]  # top, bottom, left, right of one bin of R windows, (R,) int64, in cells


def integral(cells: Tensor) -> Tensor:
    """Return the sums (H + 1, W + 1, K) of all cells (H, W, K) above and left of each corner, in float64."""
    sums = torch.zeros(cells.shape[0] + 1, cells.shape[1] + 1, cells.shape[2], dtype=torch.float64)
    torch.cumsum(cells, 0, dtype=torch.float64, out=sums[1:, 1:])
    sums[1:, 1:] = sums[1:, 1:].cumsum(1)
    return sums


def bins_of_windows(windows: NDArray[np.int64], levels: Sequence[int]) -> Iterator[Edges]:
    """Yield the bins of windows (R, 4), level by level and row by row, by the same edges as pooled maxima have."""
    left, top, right, bottom = windows.T
    for level in levels:
        rows, columns = (bin_edges(last - first, level) for first, last in ((top, bottom), (left, right)))
        for row in range(level):
            for column in range(level):
                first, last = (torch.from_numpy(top + side[:, row]) for side in rows)
                start, end = (torch.from_numpy(left + side[:, column]) for side in columns)
                yield first, last, start, end


def bin_means(sums: Tensor, edges: Edges) -> Tensor:
    """Return the mean (R, K) float32 over one bin of R windows, of the sums that ``integral`` made."""
    top, bottom, left, right = edges
    flat, wide = sums.flatten(0, 1), sums.shape[1]
    total = (
        flat[bottom * wide + right] - flat[top * wide + right] - flat[bottom * wide + left] + flat[top * wide + left]
    )
    return (total / ((bottom - top) * (right - left))[:, None]).float()
