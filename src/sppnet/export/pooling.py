"""Pooling thousands of windows of one map in standard operators: the bits of the kernels, at any size.

A bin of any size is the maximum of four looked-up maxima: of blocks whose sides are powers of two, at its four corners,
overlapping. The table of such blocks, which the processor's kernel makes too, is as deep as the largest bin of a map
asks, and made by one maximum for each power of two. (``sppnet.ops.export`` pools whole maps, as a module for PyTorch's
own exporters.)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sppnet.export.graph import Graph, Value
from sppnet.ops import bins
from sppnet.ops.planning import nested_plan

LONGEST: Final = 1024  # cells: no side of a bin may have twice as many


@dataclass(frozen=True)
class BlockTable:
    """The maxima of all blocks of a map whose sides are powers of two.

    Args:
        maxima: (T, C): for each power of two of columns all blocks of that many columns; of these, for each power of
            two of rows all blocks of that many rows, row by row.
        row_of: (P,) the first row of the blocks of each power of two of rows.
        place_of: (P,) where the blocks of each power of two of columns begin. width_of: (P,) how many are beside
            each other.
    """

    maxima: Value
    row_of: Value
    place_of: Value
    width_of: Value


def block_table(graph: Graph, cells: Value, levels: Sequence[int]) -> BlockTable:
    """Make the table of a map for the bins of all its windows: once, however often it is asked.

    Args:
        cells: (H, W, C) float32, or float16 where they are rounded to it: half the memory is read in less time.
        levels: bins per side of each level of the pyramid.
    """
    coarsest = min(level for level in levels if not any(other > level and other % level == 0 for other in levels))
    lengths = [cells.shape(axis) for axis in (0, 1)]
    # Rounded down and up, the bins of a window of n times k cells or fewer have k cells, or one more.
    tallest, widest = ((((length + (coarsest - 1)) // coarsest) + 1).smaller(length) for length in lengths)
    tall = _doubled(cells + 0.0, 0, tallest)  # + 0: both zeros are one
    both = _doubled(graph.join(*tall), 1, widest)
    maxima = graph.join(*(_flat(graph, blocks) for blocks in both))
    rows = graph.stack(*(blocks.shape(0) for blocks in tall))
    widths = graph.stack(*(blocks.shape(1) for blocks in both))
    sizes = widths * both[0].shape(0)
    return BlockTable(maxima, rows.running() - rows, sizes.running() - sizes, widths)


def pooled_windows(table: BlockTable, windows: Value, levels: Sequence[int]) -> Value:
    """Pool every window into a row, as ``ops.pool_windows`` does.

    Args:
        table: of these levels. windows: (R, 4) int64 inside the map, at least one cell each; none is allowed.
    Returns:
        (R, B * C) float32, bin by bin and in it channel by channel.
    """
    made = dict(_bins(table, windows, tuple(levels)))
    return windows.graph.join(*(made[number] for number in range(len(made))), axis=1)


def window_scores(table: BlockTable, windows: Value, levels: Sequence[int], weights: NDArray[np.float32]) -> Value:
    """Compute pooled rows times ``weights.T``, (R, K), bin after bin, so that the rows are never held whole.

    Args:
        table, windows, levels: as in ``pooled_windows``.
        weights: (K, B * C), bin by bin and in it channel by channel.
    """
    count = bins(levels)
    parts = weights.reshape(len(weights), count, weights.shape[1] // count).transpose(1, 2, 0)
    products = (maxima @ parts[number] for number, maxima in _bins(table, windows, tuple(levels)))
    scores: Value = reduce(add, products)
    return scores


def averaged_scores(
    graph: Graph, cells: Value, windows: Value, levels: Sequence[int], weights: NDArray[np.float32]
) -> Value:
    """Compute rows of averaged bins times ``weights.T``, (R, K) float32, as ``FeatureMap.score_averages`` does.

    Args:
        cells: (H, W, C) float16 or float32. windows, levels, weights: as in ``window_scores``.
    """
    count = bins(levels)
    parts = iter(weights.reshape(len(weights), count, weights.shape[1] // count).transpose(1, 2, 0))
    left, top, right, bottom = windows.columns()
    scores: list[Value] = []
    for level in levels:
        rows, columns = _edges(graph, top, bottom, level), _edges(graph, left, right, level)
        for row in range(level):
            for column in range(level):
                ends = [side.take(row) for side in rows] + [side.take(column) for side in columns]
                scores.append(_bin_means(graph, cells, next(parts), *ends))
    total: Value = reduce(add, scores)
    return total


def _bin_means(
    graph: Graph, cells: Value, weights: NDArray[np.float32], top: Value, bottom: Value, left: Value, right: Value
) -> Value:
    """Weigh cells (H, W, C) by (C, K) and average one bin of R windows: (R, K), by sums over the map."""
    size = graph.stack(cells.shape(0), cells.shape(1), graph.constant(np.array(weights.shape[1])))
    weighed = graph.op("Reshape", _flat(graph, cells).to(np.float32) @ weights, size, allowzero=1).to(np.float64)
    for axis in (0, 1):
        weighed = graph.op("CumSum", weighed, graph.constant(np.array(axis)))
    sums = _flat(graph, graph.op("Pad", weighed, graph.constant(np.array([1, 1, 0, 0, 0, 0]))))
    wide = cells.shape(1) + 1
    below = sums.take(bottom * wide + right) - sums.take(bottom * wide + left)
    total = below - sums.take(top * wide + right) + sums.take(top * wide + left)
    return (total / ((bottom - top) * (right - left)).to(np.float64).insert(1)).to(np.float32)


def _bins(table: BlockTable, windows: Value, levels: tuple[int, ...]) -> Iterator[tuple[int, Value]]:
    """Yield each bin's number and its maxima (R, C), in the order of ``nested_plan``: coarse ones from finer ones."""
    plan = nested_plan(levels)
    direct = plan[plan[:, 3] == 0]
    places = _places(table, windows, levels, direct[:, 1:3])
    corners_of = dict(zip(direct[:, 0].tolist(), range(len(direct)), strict=True))
    made: dict[int, Value] = {}
    for number, _, _, group, first, stride in plan.tolist():
        if group:
            parts = [made[first + y * stride + x] for y in range(group) for x in range(group)]
        else:
            corners = places.take(corners_of[number])
            parts = [table.maxima.take(corners.take(corner)) for corner in range(4)]
        made[number] = reduce(Value.larger, parts)
        yield number, made[number].to(np.float32)


def _places(table: BlockTable, windows: Value, levels: tuple[int, ...], edges: NDArray[np.int64]) -> Value:
    """Return where in the table the four blocks of bins are, (B, 4, R), by the bins' row and column edges (B, 2)."""
    graph, (left, top, right, bottom) = windows.graph, windows.columns()
    down, across = (
        _blocks(graph, *(graph.join(*ends) for ends in zip(*axis, strict=True)))
        for axis in (
            [_edges(graph, top, bottom, level) for level in levels],
            [_edges(graph, left, right, level) for level in levels],
        )
    )
    upper, lower, high = (side.take(edges[:, 0]) for side in down)
    begin, end, wide = (side.take(edges[:, 1]) for side in across)
    row, first, width = table.row_of.take(high), table.place_of.take(wide), table.width_of.take(wide)
    lines = [(row + side) * width + first for side in (upper, lower)]
    return graph.stack(*(line + side for line in lines for side in (begin, end)), axis=1)


def _edges(graph: Graph, first: Value, end: Value, level: int) -> tuple[Value, Value]:
    """(R,) ends of windows -> (level, R) firsts and ends of their bins: ``geometry.bin_edges``."""
    number, length = graph.constant(np.arange(level)[:, None]), end - first
    return first + number * length // level, first + ((number + 1) * length + (level - 1)) // level


def _flat(graph: Graph, blocks: Value) -> Value:
    """(H, W, C) -> (H * W, C), also where H or W is 0."""
    height, width, channels = (blocks.shape(axis) for axis in range(3))
    shape = graph.stack(height * width, channels)
    return graph.op("Reshape", blocks, shape, allowzero=1)


def _doubled(cells: Value, axis: int, largest: Value) -> list[Value]:
    """Return the maxima of 1, 2, 4, ... neighbours along an axis; none of more than ``largest``."""
    spans = 2 ** np.arange(1, LONGEST.bit_length())
    asked = (largest >= cells.graph.constant(spans)).to(np.int64)
    counts, apart = asked * (cells.shape(axis) + (1 - spans)), asked * (spans // 2)
    ends, nothing = counts + apart, cells.graph.constant(np.zeros(1, dtype=np.int64))
    made = [cells]
    for power in range(len(spans)):
        first, last, end = (each.take([power]) for each in (apart, counts, ends))
        made.append(made[-1].part(nothing, last, axis).larger(made[-1].part(first, end, axis)))
    return made


def _blocks(graph: Graph, first: Value, end: Value) -> tuple[Value, Value, Value]:
    """(n, R) ends of bins -> where their first and their last block begin, and which power of two these span."""
    spans = 2 ** np.arange(LONGEST.bit_length())
    longer = (end - first).insert(0) >= graph.constant(spans[1:, None, None])
    power = longer.to(np.int64).over("ReduceSum", 0)
    return first, end - graph.constant(spans).take(power), power
