"""The specification of the pooling and of its gradient, in plain PyTorch: slow, short, on any device."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sppnet.geometry import bin_edges


def forward(features: Tensor, windows: Tensor, levels: Sequence[int], mode: str, pooled: Tensor) -> None:
    """Pool windows (R, 5) int64 ``[map, left, top, right, bottom]`` of (N, C, H, W) into ``pooled`` (R, B, C)."""
    for row, number, index, rows, columns in _bins(windows, levels):
        cells = features[index, :, rows, columns].flatten(1)
        if mode == "max":
            pooled[row, number] = cells.gather(1, _first_maximum(cells)[:, None])[:, 0] + 0.0  # both zeros are one
        else:
            pooled[row, number] = cells.mean(1)


def backward(gradient: Tensor, features: Tensor, windows: Tensor, levels: Sequence[int], mode: str) -> Tensor:
    """(R, B, C) -> (N, C, H, W), laid out as the features: each bin's goes to its maximum, or to all its cells."""
    found = torch.zeros_like(features)
    channels = torch.arange(features.shape[1], device=features.device)
    for row, number, index, rows, columns in _bins(windows, levels):
        part, given = found[index, :, rows, columns], gradient[row, number]
        if mode == "max":
            place = _first_maximum(features[index, :, rows, columns].flatten(1))
            part[channels, place // part.shape[2], place % part.shape[2]] += given
        else:
            part += (given / (part.shape[1] * part.shape[2]))[:, None, None]
    return found


def _bins(windows: Tensor, levels: Sequence[int]) -> Iterator[tuple[int, int, int, slice, slice]]:
    """Yield of every bin: its window, its number, its map, and the rows and columns that it covers there."""
    for row, (index, left, top, right, bottom) in enumerate(windows.tolist()):
        number = 0
        for level in levels:
            for y0, y1 in zip(*bin_edges(bottom - top, level), strict=True):
                for x0, x1 in zip(*bin_edges(right - left, level), strict=True):
                    yield row, number, index, slice(top + y0, top + y1), slice(left + x0, left + x1)
                    number += 1


def _first_maximum(cells: Tensor) -> Tensor:
    """(C, cells) -> (C,): where the maximum is, the first of equals; NaN counts as largest."""
    return cells.argmax(dim=1)
