"""The specification of the pooling, in plain PyTorch: slow, short, differentiable, on any device."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sppnet.geometry import bin_edges
from sppnet.ops.contract import check_windows


def pool_reference(features: Tensor, windows: Tensor, levels: Sequence[int], mode: str) -> Tensor:
    """Pool windows (R, 5) int64 ``[map, left, top, right, bottom]`` of (N, C, H, W) into (R, B, C)."""
    check_windows(windows, features.shape)
    pool_cells = _first_maximum if mode == "max" else _average
    pooled = []
    for index, left, top, right, bottom in windows.tolist():
        window = features[index, :, top:bottom, left:right]
        for level in levels:
            rows = zip(*bin_edges(bottom - top, level), strict=True)
            columns = list(zip(*bin_edges(right - left, level), strict=True))
            pooled += [pool_cells(window[:, y0:y1, x0:x1].flatten(1)) for y0, y1 in rows for x0, x1 in columns]
    bins = sum(level * level for level in levels)
    none = features.sum((2, 3))[:0]  # of no windows too, the gradient is a map of zeros
    return (torch.stack(pooled) if pooled else none).reshape(len(windows), bins, features.shape[1])


def _first_maximum(cells: Tensor) -> Tensor:
    """(C, cells) -> (C,): the maximum; its gradient goes to the first of equals, and NaN counts as largest."""
    return cells.gather(1, cells.detach().argmax(dim=1, keepdim=True))[:, 0]


def _average(cells: Tensor) -> Tensor:
    return cells.mean(dim=1)
