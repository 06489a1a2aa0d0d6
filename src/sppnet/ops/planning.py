"""Whole numbers that every compiled kernel reads: where bins begin and end, and in which order they are made."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.geometry import bin_edges

Whole = NDArray[np.int64]


@lru_cache(maxsize=64)
def edge_tables(longest: int, levels: tuple[int, ...]) -> tuple[Whole, Whole]:
    """Return for every length up to ``longest`` the starts and ends of all levels' bins, (longest + 1, edges)."""
    lengths = np.arange(longest + 1)
    edges = [bin_edges(lengths, level) for level in levels]
    starts, ends = (np.concatenate(side, axis=1) for side in zip(*edges, strict=True))
    return np.ascontiguousarray(starts), np.ascontiguousarray(ends)


def window_edges(windows: Whole, levels: tuple[int, ...]) -> NDArray[np.int32]:
    """Return (R, 4, edges): the first row and end row, first and end column, on the map, of all levels' bins."""
    _, left, top, right, bottom = windows.T
    high, wide = bottom - top, right - left
    starts, ends = edge_tables(int(max(high.max(initial=1), wide.max(initial=1))), levels)
    edges = np.empty((len(windows), 4, starts.shape[1]), dtype=np.int32)
    for axis, (first, length) in enumerate([(top, high), (left, wide)]):
        np.add(starts[length], first[:, None], out=edges[:, 2 * axis])
        np.add(ends[length], first[:, None], out=edges[:, 2 * axis + 1])
    return edges


def moved(table: Tensor, device: torch.device) -> Tensor:
    """Return a table on a device; from the processor's memory without waiting for what a GPU has in hand."""
    pinned = table.device.type == "cpu" and device.type == "cuda"
    return (table.pin_memory() if pinned else table).to(device, non_blocking=pinned)


@lru_cache(maxsize=64)
def bin_places(levels: tuple[int, ...]) -> Whole:
    """Return of every bin (B, 3): its level, and its row and its column there."""
    return np.array([(n, row, column) for n in levels for row in range(n) for column in range(n)], dtype=np.int64)


@lru_cache(maxsize=64)
def direct_plan(levels: tuple[int, ...]) -> Whole:
    """Return of every bin (B, 6): its number, its row's and its column's edge, and 0, 0, 0: made from the cells."""
    steps, first_bin, first_edge = [], 0, 0
    for level in levels:
        for number in range(level * level):
            row, column = divmod(number, level)
            steps.append((first_bin + number, first_edge + row, first_edge + column, 0, 0, 0))
        first_bin, first_edge = first_bin + level * level, first_edge + level
    return np.array(steps, dtype=np.int64)


@lru_cache(maxsize=64)
def nested_plan(levels: tuple[int, ...]) -> Whole:
    """As ``direct_plan``, finest level first; where a level divides a finer one, its bins are made from the finer's.

    Then the last three are: how many of the finer level's bins a side make one, the first of them, and how many of
    them lie in a row. Under the floor/ceil rule the bins of such a level are *exactly* unions of the finer's.
    """
    first_bins = np.cumsum([0, *(level * level for level in levels)])
    order = sorted(range(len(levels)), key=lambda index: -levels[index])
    steps = []
    for position, index in enumerate(order):
        level = levels[index]
        part = direct_plan(levels)[first_bins[index] : first_bins[index + 1]].copy()
        finer = [other for other in order[:position] if levels[other] % level == 0]
        if finer:
            side, first_bin = levels[finer[-1]], first_bins[finer[-1]]
            row, column = np.divmod(np.arange(level * level), level)
            group = side // level
            part[:, 3], part[:, 5] = group, side
            part[:, 4] = first_bin + row * group * side + column * group
        steps.append(part)
    return np.concatenate(steps)


def window_groups(windows: Whole, *, alone: bool) -> tuple[Whole, Whole]:
    """Gather windows (R, 5) that share what is computed on the way, those of one map, or each alone.

    Returns:
        (G, 7): map, first row, first column, end row, end column of all cells of the group, its first window and
        the end of its windows in the second, (R,), the windows' numbers group by group.
    """
    order = np.argsort(windows[:, 0], kind="stable")
    index, left, top, right, bottom = windows[order].T
    new = np.ones(len(windows), dtype=bool)
    if not alone:
        np.not_equal(index[1:], index[:-1], out=new[1:])
    first = np.flatnonzero(new)
    if len(first) == 0:
        return np.zeros((0, 7), dtype=np.int64), order
    least = [np.minimum.reduceat(side, first) for side in (top, left)]
    most = [np.maximum.reduceat(side, first) for side in (bottom, right)]
    return np.stack([index[first], *least, *most, first, np.append(first[1:], len(windows))], axis=1), order
