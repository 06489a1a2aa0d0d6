"""Means over bins by sums over the map, whatever the size of the bins (Viola and Jones 2001)."""

from collections.abc import Sequence

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.ops.planning import direct_plan, window_edges


def integral(cells: Tensor) -> Tensor:
    """Return the sums (H + 1, W + 1, K) of all cells (H, W, K) above and left of each corner, in float64."""
    sums = torch.zeros(cells.shape[0] + 1, cells.shape[1] + 1, cells.shape[2], dtype=torch.float64)
    torch.cumsum(cells, 0, dtype=torch.float64, out=sums[1:, 1:])
    sums[1:, 1:] = sums[1:, 1:].cumsum(1)
    return sums


def window_means(cells: Tensor, windows: NDArray[np.int64], levels: Sequence[int]) -> Tensor:
    """Return the means (R, B, K) float32 of cells (H, W, K) over windows (R, 4), by the bins that maxima have."""
    edges, bins = _edges(windows, levels)
    sums, means = integral(cells).numpy(), np.zeros((len(windows), len(bins), cells.shape[2]))
    for number, (row, column) in enumerate(bins):
        _add_means(sums, edges, row, column, means[:, number])
    return torch.from_numpy(means).float()


def weighed_means(cells: Tensor, windows: NDArray[np.int64], levels: Sequence[int], weights: Tensor) -> Tensor:
    """Return ``window_means(...).flatten(1) @ weights.T``, (R, K) float32: the map is weighed first, then summed.

    Args:
        cells: (H, W, C) float32. windows: (R, 4). weights: (K, B * C), bin by bin and in it channel by channel.
    """
    edges, bins = _edges(windows, levels)
    height, width, channels = cells.shape
    parts = weights.reshape(len(weights), len(bins), channels).permute(1, 0, 2).flatten(0, 1)
    weighed = (cells.reshape(-1, channels) @ parts.T).reshape(height, width, len(bins), len(weights))
    scores = np.zeros((len(windows), len(weights)))
    for number, (row, column) in enumerate(bins):
        _add_means(integral(weighed[:, :, number]).numpy(), edges, row, column, scores)
    return torch.from_numpy(scores).float()


def _edges(windows: NDArray[np.int64], levels: Sequence[int]) -> tuple[NDArray[np.int32], list[tuple[int, int]]]:
    """Return the edges of all bins, see ``window_edges``, and of each bin its row's and its column's."""
    of_one_map = np.concatenate([np.zeros((len(windows), 1), np.int64), windows], axis=1)
    return window_edges(of_one_map, tuple(levels)), [(row, column) for _, row, column, *_ in direct_plan(tuple(levels))]


@numba.njit(cache=True, nogil=True)
def _add_means(  # pragma: no cover
    sums: NDArray[np.float64], edges: NDArray[np.int32], row: int, column: int, means: NDArray[np.float64]
) -> None:
    """Add the mean of one bin of each window to its row of ``means`` (R, K)."""
    for window in range(len(edges)):
        top, bottom = edges[window, 0, row], edges[window, 1, row]
        left, right = edges[window, 2, column], edges[window, 3, column]
        area = np.float64(bottom - top) * np.float64(right - left)
        for k in range(means.shape[1]):
            total = sums[bottom, right, k] - sums[top, right, k] - sums[bottom, left, k] + sums[top, left, k]
            means[window, k] += total / area
