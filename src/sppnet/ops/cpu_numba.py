"""The pooling on the processor, compiled by numba: a block of channels of one map at a time, window after window.

A block of channels is first copied, as ranks (``lanes``), into a small table that lies cell by cell and stays in the
processor's cache, whatever the layout of the map. Where windows overlap much, further *tables* follow: maxima of the
2 x 2, 4 x 4 and 8 x 8 cells from each cell on. Four blocks of a table, which may overlap, then cover a bin of any
size up to twice the block's.
Levels that divide a finer one are maxima of its bins: under the floor/ceil rule 3 x 3, 2 x 2 and 1 x 1 are
*exactly* maxima of groups of the 6 x 6 bins, so a window's cells are read once however many levels there are.
Threads share blocks and windows; each kernel runs without Python's lock.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from math import gcd
from typing import Any, Final, NamedTuple

import numba
import numpy as np
import torch
from llvmlite.binding import get_host_cpu_features
from numpy.typing import NDArray
from torch import Tensor

from sppnet.ops.contract import bins
from sppnet.ops.lanes import LINE, larger, load, numbers_of, place_of_larger, ranks, settle, spread, store, stream
from sppnet.ops.planning import Whole, direct_plan, nested_plan, window_edges, window_groups

# Bytes of channels a block: as many as registers hold of one bin and the next; narrower where places are held too.
WIDE: Final = 512 if get_host_cpu_features().get("avx512f") else 256
NARROW: Final = 128
MOST_TABLES: Final = 3  # blocks of up to 8 x 8 cells
WORTH_TABLES: Final = 8.0  # how many times windows must cover their cells for a first table; each further: its power
WORTH_SHARING: Final = 1.0  # the same, before cells are copied once for all windows
WORTH_THREADS: Final = 1 << 21  # numbers read and written before a second thread pays
WORTH_STREAMING: Final = 1 << 23  # bytes written before they go past the cache

Strides = tuple[int, ...]


class _Work(NamedTuple):
    """What a kernel reads of maps and windows, and how channels are cut into blocks."""

    cells: NDArray[Any]  # all memory of the maps, flat, as whole numbers
    strides: Strides
    groups: Whole
    rows: Whole  # where the results of the groups' windows go
    edges: NDArray[np.int32]
    plan: Whole
    channels: int
    lanes: int  # channels a block
    blocks: int
    depth: int  # tables of maxima beside the cells themselves
    infinity: int


def forward(features: Tensor, windows: Tensor, levels: Sequence[int], mode: str, pooled: Tensor) -> None:
    """Pool windows (R, 5) of (N, C, H, W) into ``pooled`` (R, B, C)."""
    if pooled.numel() == 0:
        return
    if mode == "average":
        _average(features, windows.numpy(), tuple(levels), pooled)
        return
    work = _work(features, windows.numpy(), tuple(levels), width=WIDE, apart=True)
    pairs = len(work.groups) * work.blocks
    threads = _threads(features.numel() + pooled.numel())
    parts = 1 if pairs >= 4 * threads else threads // gcd(pairs, threads)

    def some(first: int, end: int) -> None:
        _pool(work, (parts, 1, True), _tables(work, features.dtype), pooled, first, end)

    _share(some, pairs * parts, threads)


def chunks(features: Tensor, windows: Tensor, levels: Sequence[int], *, size: int) -> Iterator[Tensor]:
    """Pool windows as ``forward`` does, by their maxima, ``size`` at a time, into one buffer."""
    buffer = torch.empty(min(size, len(windows)), bins(levels), features.shape[1], dtype=features.dtype)
    if buffer.numel() == 0:
        yield buffer
        return
    work = _work(features, windows.numpy(), tuple(levels), width=WIDE)
    tables = _tables(work, features.dtype, slots=work.blocks)
    for first in range(0, len(windows), size):
        part = buffer[: min(size, len(windows) - first)]
        groups = work.groups.copy()
        groups[:, 5:] = first, first + len(part)
        now, options = work._replace(groups=groups, rows=work.rows - first), (1, work.blocks, first == 0)
        _share(partial(_pool, now, options, tables, part), work.blocks, _threads(part.numel()))
        yield part


def backward(gradient: Tensor, features: Tensor, windows: Tensor, levels: Sequence[int], mode: str) -> Tensor:
    """(R, B, C) -> (N, C, H, W) in the memory layout of the features; which cell was the maximum is found again."""
    wide = features.detach() if features.dtype in (torch.float32, torch.float64) else features.detach().float()
    found = torch.zeros_like(features, dtype=wide.dtype)
    given = gradient.detach().to(wide.dtype)
    if gradient.numel() > 0:
        backward_of = _max_gradient if mode == "max" else _average_gradient
        backward_of(given, wide, windows.numpy(), tuple(levels), found)
    return found.to(features.dtype)


# What kernels read


def _work(features: Tensor, windows: Whole, levels: tuple[int, ...], *, width: int, apart: bool = False) -> _Work:
    """Lay out the pooling of windows (R, 5) in blocks of ``width`` bytes of channels at most.

    Windows of one map share its cells, unless they may be kept ``apart`` and hold fewer cells than they would share.
    """
    groups, rows = window_groups(windows, alone=False)
    areas = _areas(windows)
    coverage = areas.sum() / _areas(groups[:, [0, 2, 1, 4, 3]]).sum()
    if apart and coverage < WORTH_SHARING:
        groups, rows = window_groups(windows, alone=True)
    side = max(float(np.sqrt(areas.mean())) / max(levels), 1.0)
    depth = min(int(np.log2(side)), int(np.log(max(coverage, 1.0)) / np.log(WORTH_TABLES)), MOST_TABLES)
    size, channels = features.element_size(), features.shape[1]
    line = LINE // size
    lanes = min(width // size, -(-channels // line) * line)
    cells, strides = _flat(_bits(features.detach()))
    return _Work(
        cells=cells,
        strides=strides,
        groups=groups,
        rows=rows,
        edges=window_edges(windows[rows], levels),
        plan=nested_plan(levels),
        channels=channels,
        lanes=lanes,
        blocks=-(-channels // lanes),
        depth=depth,
        infinity=_infinity(features.dtype),
    )


@cache
def _infinity(dtype: torch.dtype) -> int:
    return int(_bits(torch.tensor(torch.inf, dtype=dtype)).item())


def _bits(numbers: Tensor) -> Tensor:
    """View floating-point numbers as whole ones of the same size."""
    return numbers.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[numbers.element_size()])


def _flat(array: Tensor) -> tuple[NDArray[Any], Strides]:
    """Return all memory that an array spans as one dimension, and the array's strides: one type for every layout."""
    span = 1 + sum((size - 1) * stride for size, stride in zip(array.shape, array.stride(), strict=True))
    return torch.as_strided(array, (span,), (1,), array.storage_offset()).numpy(), array.stride()


def _tables(work: _Work, dtype: torch.dtype, *, slots: int = 1) -> NDArray[Any]:
    """Take memory for ``slots`` blocks' tables of the largest group; vectors are read past the last cell."""
    cells = int(_areas(work.groups[:, [0, 2, 1, 4, 3]]).max())
    size = (1 + work.depth) * cells * work.lanes
    return np.asarray(_bits(torch.empty(slots * size + WIDE, dtype=dtype)).numpy())


def _areas(windows: Whole) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = (windows[:, 3] - windows[:, 1]).astype(np.float64) * (windows[:, 4] - windows[:, 2])
    return areas


# Threads


def _threads(numbers: int) -> int:
    return torch.get_num_threads() if numbers >= WORTH_THREADS else 1


def _share(some: Callable[[int, int], None], tasks: int, threads: int) -> None:
    """Call ``some(first, end)`` on parts of as many tasks, in threads that end with the call: none outlives a fork."""
    threads = min(threads, tasks)
    if threads <= 1:
        some(0, tasks)
        return
    ends = [tasks * number // threads for number in range(threads + 1)]
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(some, *ends[number : number + 2]) for number in range(1, threads)]
        some(ends[0], ends[1])
    for other in others:
        other.result()


# Maxima


def _pool(
    work: _Work, options: tuple[int, int, bool], tables: NDArray[Any], pooled: Tensor, first: int, end: int
) -> None:
    """Run the kernel on some tasks: a group of windows, a block of channels, a part of the windows."""
    size, count = pooled.element_size(), pooled.shape[1]
    whole = pooled.data_ptr() % LINE == 0 and work.channels * size % LINE == 0
    streaming = whole and pooled.numel() * size >= WORTH_STREAMING
    own = _bits(torch.empty((count + 1) * WIDE // size, dtype=pooled.dtype)).numpy()
    sizes = (work.channels, work.lanes, work.blocks, work.infinity)
    arrays = (work.cells, work.strides, work.groups, work.rows, work.edges, work.plan)
    out = _bits(pooled).view(-1).numpy()
    _pool_max(*arrays, sizes, (work.depth, *options, streaming), tables, own, out, first, end)


@numba.njit(cache=True)
def _bin(edges, window, plan, at):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return first and end row, first and end column, on the map, of the bin that a plan's step makes."""
    down, across = plan[at, 1], plan[at, 2]
    return edges[window, 0, down], edges[window, 1, down], edges[window, 2, across], edges[window, 3, across]


@numba.njit(cache=True)
def _rank_cells(cells, origin, strides, shape, infinity, table, base):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Copy the block of channels that begins at ``origin`` to table[base] and on, cell by cell, as ranks."""
    high, wide, count, lanes = shape
    between, down, across = strides
    line = LINE // cells.itemsize
    direct = between == 1 and count == lanes
    for y in range(high):
        row, into = origin + y * down, base + y * wide * lanes
        for x0 in range(0, wide, line):  # a line of cells at a time, for maps where neighbours are those
            x1 = min(x0 + line, wide)
            if direct:
                for x in range(x0, x1):
                    for c in range(0, lanes, line):
                        vector = load(cells, row + x * across + c, LINE)
                        store(table, into + x * lanes + c, ranks(vector, infinity))
                continue
            if between == 1:
                for x in range(x0, x1):
                    for c in range(count):
                        table[into + x * lanes + c] = cells[row + x * across + c]
            else:
                for c in range(count):
                    for x in range(x0, x1):
                        table[into + x * lanes + c] = cells[row + x * across + c * between]
            for place in range(into + x0 * lanes, into + x1 * lanes, line):
                store(table, place, ranks(load(table, place, LINE), infinity))


@numba.njit(cache=True)
def _double(table, once, twice, side, shape):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write from table[twice] on maxima of 2 x 2 blocks of ``side``, a block apart, that begin at table[once]."""
    high, wide, _, lanes = shape
    line = LINE // table.itemsize
    for y in range(high):
        row, below = y * wide, min(y + side, high - 1) * wide
        for x in range(wide):
            beside = min(x + side, wide - 1)
            for c in range(0, lanes, line):
                above = larger(
                    load(table, once + (row + x) * lanes + c, LINE),
                    load(table, once + (row + beside) * lanes + c, LINE),
                )
                under = larger(
                    load(table, once + (below + x) * lanes + c, LINE),
                    load(table, once + (below + beside) * lanes + c, LINE),
                )
                store(table, twice + (row + x) * lanes + c, larger(above, under))


@numba.njit(cache=True)
def _block_max(table, base, shape, depth, limits):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return the maximum over [y0, y1) x [x0, x1) from the largest blocks that fit."""
    high, wide, _, lanes = shape
    y0, y1, x0, x1 = limits
    side = 1
    while depth > 0 and 2 * side <= min(y1 - y0, x1 - x0):
        depth, side, base = depth - 1, 2 * side, base + high * wide * lanes
    bottom, right = y1 - side, x1 - side
    best = load(table, base + (y0 * wide + x0) * lanes, WIDE)
    if bottom == y0 and right == x0:
        return best
    y = y0
    while True:
        x = x0
        while x < right:
            best = larger(best, load(table, base + (y * wide + x) * lanes, WIDE))
            x += side
        best = larger(best, load(table, base + (y * wide + right) * lanes, WIDE))
        if y == bottom:
            return best
        y = min(y + side, bottom)


@numba.njit(cache=True)
def _bins_max(found, plan, at):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return the maximum of the bins of a finer level that a plan's step names."""
    group, first, side = plan[at, 3], plan[at, 4], plan[at, 5]
    lanes = WIDE // found.itemsize
    best = load(found, first * lanes, WIDE)
    for row in range(group):
        for column in range(group):
            best = larger(best, load(found, (first + row * side + column) * lanes, WIDE))
    return best


@numba.njit(cache=True)
def _write_part(pooled, place, count, own, streaming):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write to pooled[place] and on the ``count`` numbers that lie at the end of ``own``, fewer than a vector's."""
    first = len(own) - WIDE // own.itemsize
    if streaming:
        for c in range(0, count, LINE // own.itemsize):
            stream(pooled, place + c, load(own, first + c, LINE))
    else:
        for c in range(count):
            pooled[place + c] = own[first + c]


@numba.njit(cache=True, nogil=True)
def _pool_max(  # type: ignore[no-untyped-def]  # pragma: no cover
    cells, strides, groups, rows, edges, plan, sizes, options, tables, own, pooled, first_task, end_task
):
    channels, lanes, blocks, infinity = sizes
    depth, parts, slots, fresh, streaming = options
    own_lanes = WIDE // own.itemsize
    slot_size = (len(tables) - WIDE) // slots
    for task in range(first_task, end_task):
        pair, part = task // parts, task % parts
        block = pair % blocks
        index, top, left, bottom, right, first, end = groups[pair // blocks]
        high, wide = bottom - top, right - left
        count = min(lanes, channels - block * lanes)
        shape = (high, wide, count, lanes)
        base = pair % slots * slot_size
        if fresh and (part == 0 or task == first_task):
            origin = index * strides[0] + block * lanes * strides[1] + top * strides[2] + left * strides[3]
            _rank_cells(cells, origin, strides[1:], shape, infinity, tables, base)
            for level in range(depth):
                once = base + level * high * wide * lanes
                _double(tables, once, once + high * wide * lanes, 1 << level, shape)
        for window in range(first + (end - first) * part // parts, first + (end - first) * (part + 1) // parts):
            out = rows[window] * len(plan) * channels + block * lanes
            for at in range(len(plan)):
                number = plan[at, 0]
                if plan[at, 3] > 0:
                    best = _bins_max(own, plan, at)
                else:
                    y0, y1, x0, x1 = _bin(edges, window, plan, at)
                    best = _block_max(tables, base, shape, depth, (y0 - top, y1 - top, x0 - left, x1 - left))
                store(own, number * own_lanes, best)
                if count < own_lanes:
                    store(own, len(own) - own_lanes, numbers_of(best))
                    _write_part(pooled, out + number * channels, count, own, streaming)
                elif streaming:
                    stream(pooled, out + number * channels, numbers_of(best))
                else:
                    store(pooled, out + number * channels, numbers_of(best))
    settle()


def _max_gradient(given: Tensor, cells: Tensor, windows: Whole, levels: tuple[int, ...], found: Tensor) -> None:
    """Add what is ``given`` (R, B, C) to ``found`` (N, C, H, W) at the cells that are the bins' maxima."""
    work = _work(cells, windows, levels, width=NARROW)._replace(depth=0)
    sizes = (work.channels, work.lanes, work.blocks, work.infinity)
    gradient, gradient_strides = _flat(given)
    into, into_strides = _flat(found)
    steps = (work.strides, gradient_strides, into_strides)
    lanes = NARROW // cells.element_size()

    def some(first: int, end: int) -> None:
        # Each thread has blocks of its own, so that no two add to one cell, and sums have one order.
        table = _tables(work, cells.dtype)
        sums = torch.empty(len(table), dtype=cells.dtype).numpy()
        maxima, places = (np.empty(given.shape[1] * lanes, dtype=table.dtype) for _ in range(2))
        arrays = (work.cells, work.groups, work.rows, work.edges, work.plan, gradient, into)
        _add_to_maxima(*arrays, steps, sizes, table, sums, maxima, places, first, end)

    _share(some, len(work.groups) * work.blocks, _threads(cells.numel() + given.numel()))


@numba.njit(cache=True)
def _first_place(table, shape, limits):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return the maxima over [y0, y1) x [x0, x1) and the numbers of the first cells, row by row, that have them."""
    _, wide, _, lanes = shape
    y0, y1, x0, x1 = limits
    best = load(table, (y0 * wide + x0) * lanes, NARROW)
    place = spread(y0 * wide + x0, best)
    for y in range(y0, y1):
        for x in range(x0, x1):
            here = load(table, (y * wide + x) * lanes, NARROW)
            place = place_of_larger(here, best, spread(y * wide + x, here), place)
            best = larger(here, best)
    return best, place


@numba.njit(cache=True)
def _first_place_of_bins(best_found, place_found, plan, at):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The same from the bins of a finer level: of equal ones, the smaller number."""
    group, first, side = plan[at, 3], plan[at, 4], plan[at, 5]
    lanes = NARROW // best_found.itemsize
    best, place = load(best_found, first * lanes, NARROW), load(place_found, first * lanes, NARROW)
    for row in range(group):
        for column in range(group):
            other = (first + row * side + column) * lanes
            here = load(best_found, other, NARROW)
            place = place_of_larger(here, best, load(place_found, other, NARROW), place)
            best = larger(here, best)
    return best, place


@numba.njit(cache=True, nogil=True)
def _add_to_maxima(  # type: ignore[no-untyped-def]  # pragma: no cover
    cells, groups, rows, edges, plan, gradient, found, steps, sizes, table, sums, maxima, places, first_task, end_task
):
    strides, gradient_strides, found_strides = steps
    channels, lanes, blocks, infinity = sizes
    own_lanes = NARROW // table.itemsize
    for task in range(first_task, end_task):
        block = task % blocks
        index, top, left, bottom, right, first, end = groups[task // blocks]
        count = min(lanes, channels - block * lanes)
        shape = (bottom - top, right - left, count, lanes)
        origin = index * strides[0] + block * lanes * strides[1] + top * strides[2] + left * strides[3]
        _rank_cells(cells, origin, strides[1:], shape, infinity, table, 0)
        sums[: shape[0] * shape[1] * lanes] = 0
        for window in range(first, end):
            for at in range(len(plan)):
                if plan[at, 3] > 0:
                    best, place = _first_place_of_bins(maxima, places, plan, at)
                else:
                    y0, y1, x0, x1 = _bin(edges, window, plan, at)
                    best, place = _first_place(table, shape, (y0 - top, y1 - top, x0 - left, x1 - left))
                store(maxima, plan[at, 0] * own_lanes, best)
                store(places, plan[at, 0] * own_lanes, place)
            for number in range(len(plan)):
                at = rows[window] * gradient_strides[0] + number * gradient_strides[1]
                at += block * lanes * gradient_strides[2]
                for c in range(count):
                    sums[places[number * own_lanes + c] * lanes + c] += gradient[at + c * gradient_strides[2]]
        into = index * found_strides[0] + block * lanes * found_strides[1]
        into += top * found_strides[2] + left * found_strides[3]
        for y in range(shape[0]):
            for c in range(count):
                for x in range(shape[1]):
                    place = into + y * found_strides[2] + x * found_strides[3] + c * found_strides[1]
                    found[place] = sums[(y * shape[1] + x) * lanes + c]


# Averages


def _average(features: Tensor, windows: Whole, levels: tuple[int, ...], pooled: Tensor) -> None:
    cells = _channels_last(features)
    wide = pooled if pooled.dtype == cells.dtype else torch.empty(pooled.shape, dtype=cells.dtype)
    maps, edges = np.ascontiguousarray(windows[:, 0]), window_edges(windows, levels)
    arrays = (cells.numpy(), maps, edges, direct_plan(levels), wide.numpy())
    _share(partial(_pool_average, *arrays), len(windows), _threads(features.numel() + pooled.numel()))
    if wide is not pooled:
        pooled.copy_(wide)


def _average_gradient(given: Tensor, cells: Tensor, windows: Whole, levels: tuple[int, ...], found: Tensor) -> None:
    """Add to every cell of a bin its share of what is ``given`` (R, B, C)."""
    sums = torch.zeros_like(_channels_last(cells))
    maps, edges = np.ascontiguousarray(windows[:, 0]), window_edges(windows, levels)
    arrays = (given.contiguous().numpy(), maps, edges, direct_plan(levels))
    # Each thread has channels of its own, so that no two add to one cell, and sums have one order.
    _share(partial(_add_shares, *arrays, sums.numpy()), cells.shape[1], _threads(cells.numel() + given.numel()))
    found.copy_(sums.permute(0, 3, 1, 2))


def _channels_last(features: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C) float32 or float64, contiguous; a view where memory is so already."""
    wide = features.detach() if features.dtype in (torch.float32, torch.float64) else features.detach().float()
    return wide.permute(0, 2, 3, 1).contiguous()


@numba.njit(cache=True, nogil=True)
def _pool_average(cells, maps, edges, plan, pooled, first, end):  # type: ignore[no-untyped-def]  # pragma: no cover
    total = np.empty(cells.shape[3], dtype=np.float64)
    for window in range(first, end):
        for at in range(len(plan)):
            y0, y1, x0, x1 = _bin(edges, window, plan, at)
            total[:] = 0.0
            for y in range(y0, y1):
                for x in range(x0, x1):
                    total += cells[maps[window], y, x]
            pooled[window, plan[at, 0]] = total / ((y1 - y0) * (x1 - x0))


@numba.njit(cache=True, nogil=True)
def _add_shares(gradient, maps, edges, plan, found, c0, c1):  # type: ignore[no-untyped-def]  # pragma: no cover
    for window in range(len(maps)):
        for at in range(len(plan)):
            y0, y1, x0, x1 = _bin(edges, window, plan, at)
            share = gradient[window, plan[at, 0], c0:c1] / ((y1 - y0) * (x1 - x0))
            for y in range(y0, y1):
                for x in range(x0, x1):
                    found[maps[window], y, x, c0:c1] += share
