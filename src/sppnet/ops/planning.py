"""Whole numbers that every compiled kernel reads: bin edges by length, and in which order levels are made."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sppnet.geometry import bin_edges

Whole = NDArray[np.int64]


@lru_cache(maxsize=64)
def edge_tables(longest: int, levels: tuple[int, ...]) -> tuple[Whole, Whole]:
    """Return for every length up to ``longest`` the starts and ends of all levels' bins, (longest + 1, edges)."""
    lengths = np.arange(longest + 1)
    edges = [bin_edges(lengths, level) for level in levels]
    starts, ends = (np.concatenate(side, axis=1) for side in zip(*edges, strict=True))
    return np.ascontiguousarray(starts), np.ascontiguousarray(ends)


@lru_cache(maxsize=64)
def direct_plan(levels: tuple[int, ...]) -> Whole:
    """Return for every level: its bins per side, its first bin, its first edge, and 0, 0: made from the cells."""
    steps, first_bin, first_edge = [], 0, 0
    for level in levels:
        steps.append((level, first_bin, first_edge, 0, 0))
        first_bin, first_edge = first_bin + level * level, first_edge + level
    return np.array(steps, dtype=np.int64)


@lru_cache(maxsize=64)
def nested_plan(levels: tuple[int, ...]) -> Whole:
    """As ``direct_plan``, finest level first, with the smallest finer level that each divides and its first bin.

    Under the floor/ceil rule the bins of such a level are *exactly* unions of groups of the finer level's bins.
    """
    steps = direct_plan(levels).copy()
    steps = steps[np.argsort(-steps[:, 0], kind="stable")]
    for index, step in enumerate(steps):
        finer = [other for other in steps[:index] if other[0] % step[0] == 0]
        if finer:
            step[3:] = finer[-1][:2]
    return steps
