"""Means over bins by sums over the map, whatever the size of the bins (Viola and Jones 2001)."""

from collections.abc import Sequence
from typing import Final

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.ops.planning import direct_plan, moved, window_edges

BLOCK: Final = 16_000_000  # numbers of a map at a time: more than those of any that is not made in tiles


def integral(cells: Tensor) -> Tensor:
    """Return the sums (H + 1, W + 1, K) of all cells (H, W, K) above and left of each corner, in float64."""
    height, width, channels = cells.shape
    sums = torch.zeros(height + 1, width + 1, channels, dtype=torch.float64, device=cells.device)
    torch.cumsum(cells, 0, dtype=torch.float64, out=sums[1:, 1:])
    sums[1:, 1:] = sums[1:, 1:].cumsum(1)
    return sums


def window_means(cells: Tensor, windows: NDArray[np.int64], levels: Sequence[int]) -> Tensor:
    """Return the means (R, B, K) float32 of cells (H, W, K) over windows (R, 4), by the bins that maxima have."""
    edges, bins = _edges(windows, levels, cells.device)
    height, width, channels = cells.shape
    means = torch.zeros(len(windows), len(bins), channels, dtype=torch.float64, device=cells.device)
    at_once = max(BLOCK // (height * width), 1)
    for some, its_means in zip(torch.split(cells, at_once, dim=2), torch.split(means, at_once, dim=2), strict=True):
        sums = integral(some)
        for number, (row, column) in enumerate(bins):
            _add_means(sums, edges, row, column, its_means[:, number])
    return means.float().cpu()


def weighed_means(cells: Tensor, windows: NDArray[np.int64], levels: Sequence[int], weights: Tensor) -> Tensor:
    """Return ``window_means(...).flatten(1) @ weights.T``, (R, K) float32: the map is weighed first, then summed.

    Args:
        cells: (H, W, C). windows: (R, 4). weights: (K, B * C) float32, bin by bin and in it channel by channel.
    """
    edges, bins = _edges(windows, levels, cells.device)
    height, width, channels = cells.shape
    parts = weights.to(cells.device).reshape(len(weights), len(bins), channels).permute(1, 0, 2).flatten(0, 1)
    some = torch.split(cells, max(BLOCK // (width * channels), 1))  # rows of cells
    weighed = torch.cat([rows.reshape(-1, channels).float() @ parts.T for rows in some])
    weighed = weighed.reshape(height, width, len(bins), len(weights))
    scores = torch.zeros(len(windows), len(weights), dtype=torch.float64, device=cells.device)
    for number, (row, column) in enumerate(bins):
        _add_means(integral(weighed[:, :, number]), edges, row, column, scores)
    return scores.float().cpu()


def _edges(
    windows: NDArray[np.int64], levels: Sequence[int], device: torch.device
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Return the edges of all bins on a device, see ``window_edges``, and of each bin its row's and its column's."""
    of_one_map = np.concatenate([np.zeros((len(windows), 1), np.int64), windows], axis=1)
    edges = torch.from_numpy(window_edges(of_one_map, tuple(levels)))
    return moved(edges, device), [(row, column) for _, row, column, *_ in direct_plan(tuple(levels))]


def _add_means(sums: Tensor, edges: Tensor, row: int, column: int, means: Tensor) -> None:
    """Add the mean of one bin of each window to its row of ``means`` (R, K)."""
    if means.device.type == "cpu":
        _add_means_one_by_one(sums.numpy(), edges.numpy(), row, column, means.numpy())
        return
    top, bottom, left, right = edges[:, 0, row], edges[:, 1, row], edges[:, 2, column], edges[:, 3, column]
    total = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    means += total / ((bottom - top).double() * (right - left))[:, None]


@numba.njit(cache=True, nogil=True)
def _add_means_one_by_one(  # pragma: no cover
    sums: NDArray[np.float64], edges: NDArray[np.int32], row: int, column: int, means: NDArray[np.float64]
) -> None:
    for window in range(len(edges)):
        top, bottom = edges[window, 0, row], edges[window, 1, row]
        left, right = edges[window, 2, column], edges[window, 3, column]
        area = np.float64(bottom - top) * np.float64(right - left)
        for k in range(means.shape[1]):
            total = sums[bottom, right, k] - sums[top, right, k] - sums[bottom, left, k] + sums[top, left, k]
            means[window, k] += total / area
