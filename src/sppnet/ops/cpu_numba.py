"""The pooling on the processor, compiled by numba: channels last, coarse levels from fine ones, one parallel call.

Levels that divide a finer one are maxima of its bins: under the floor/ceil rule 3 x 3, 2 x 2 and 1 x 1 are
*exactly* maxima of groups of the 6 x 6 bins, so a window's cells are read once however many levels there are.
Where windows overlap much, *tables* are made first: maxima of the 2 x 2, 4 x 4 and 8 x 8 cells from each cell on.
Four blocks of a table, which may overlap, then cover a bin of any size up to twice the block's.
Half precision is computed in float32, which changes no maximum.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.ops.contract import bins
from sppnet.ops.planning import direct_plan, edge_tables, nested_plan

Cells = NDArray[np.floating]

MOST_TABLES: Final = 3  # blocks of up to 8 x 8 cells
WORTH_TABLES: Final = 3.0  # how many times windows must cover the map before tables are made: chosen, not tuned
MOST_THREADS: Final[int] = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
# numba's simplest threading layer, the only one on some machines, ends the process if two threads enter it.
_ONE_AT_A_TIME = Lock()


def forward(features: Tensor, windows: Tensor, levels: Sequence[int], mode: str, pooled: Tensor) -> None:
    """Pool windows (R, 5) of (N, C, H, W) into ``pooled`` (R, B, C)."""
    cells = _channels_last(features)
    wide = pooled if pooled.dtype == cells.dtype else torch.empty(pooled.shape, dtype=cells.dtype)
    kernel, *arrays = _prepared(cells, windows, tuple(levels), mode)
    with _threads():
        kernel(windows.numpy(), *arrays, wide.numpy())
    if wide is not pooled:
        pooled.copy_(wide)


def chunks(features: Tensor, windows: Tensor, levels: Sequence[int], *, size: int) -> Iterator[Tensor]:
    """Pool windows as ``forward`` does, by their maxima, ``size`` at a time, into one buffer."""
    cells = _channels_last(features)
    buffer = torch.empty(min(size, len(windows)), bins(levels), features.shape[1], dtype=cells.dtype)
    kernel, *arrays = _prepared(cells, windows, tuple(levels), "max")
    for part in torch.split(windows, size):
        with _threads():
            kernel(part.numpy(), *arrays, buffer[: len(part)].numpy())
        yield buffer[: len(part)]


def _prepared(cells: Tensor, windows: Tensor, levels: tuple[int, ...], mode: str) -> tuple[Any, ...]:
    """Return the kernel and what it reads beside the windows."""
    edges = edge_tables(max(cells.shape[1:3]), levels)
    if mode == "max":
        return _pool_max, _tables(cells, windows, max(levels)), *edges, nested_plan(levels)
    return _pool_average, cells.numpy(), *edges, direct_plan(levels)


def _tables(cells: Tensor, windows: Tensor, finest: int) -> Cells:
    """Return (T, N, H, W, C): entry t of a cell is the maximum of 2^t x 2^t cells from it on, as far as they exist.

    T is 1, the cells themselves, where making more costs more than reading cells over and over.
    """
    count, height, width, _ = cells.shape
    areas = ((windows[:, 3] - windows[:, 1]) * (windows[:, 4] - windows[:, 2])).double()
    side = float(areas.mean().sqrt()) / finest if len(windows) else 1.0
    depth = min(int(np.log2(max(side, 1.0))), MOST_TABLES)
    if depth == 0 or float(areas.sum()) < WORTH_TABLES * depth * count * height * width:
        return cells.numpy()[None]
    tables = torch.empty(1 + depth, *cells.shape, dtype=cells.dtype)
    tables[0] = cells
    with _threads():
        for index in range(depth):
            _double(tables[index].numpy(), 1 << index, tables[index + 1].numpy())
    return np.asarray(tables.numpy())


def backward(gradient: Tensor, features: Tensor, windows: Tensor, levels: Sequence[int], mode: str) -> Tensor:
    """(R, B, C) -> (N, C, H, W), channels last in memory; which cell was the maximum is found again."""
    cells = _channels_last(features)
    starts, ends = edge_tables(max(features.shape[2:]), tuple(levels))
    wanted = gradient.detach().to(cells.dtype).contiguous()
    found = torch.zeros_like(cells)
    kernel = _max_gradient if mode == "max" else _average_gradient
    arrays = (
        wanted.numpy(),
        cells.numpy(),
        windows.numpy(),
        starts,
        ends,
        direct_plan(tuple(levels)),
        found.numpy(),
    )
    with _threads() as threads:
        kernel(*arrays, threads)
    return found.to(features.dtype).permute(0, 3, 1, 2)


@contextmanager
def _threads() -> Iterator[int]:
    """Take the kernels for one thread of the caller's, with as many threads of their own as torch has; yield those."""
    with _ONE_AT_A_TIME:
        wanted = torch.get_num_threads()
        threads = min(wanted, MOST_THREADS)
        numba.set_num_threads(threads)
        if torch.get_num_threads() != wanted:  # the first call starts numba's threads, and changes OpenMP's number
            torch.set_num_threads(wanted)
        yield threads


def _channels_last(features: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C) float32 or float64, contiguous; a view where memory is so already."""
    wide = features.detach() if features.dtype in (torch.float32, torch.float64) else features.detach().float()
    return wide.permute(0, 2, 3, 1).contiguous()


@numba.njit(inline="always")
def _larger(best, value):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return the larger; NaN is larger than all, and the first NaN stays."""
    return value if value > best or value != value else best


@numba.njit(parallel=True, cache=True, nogil=True)
def _double(table, side, doubled):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write maxima of 2 x 2 blocks of ``side``, a block apart, of (N, H, W, C) from each cell on."""
    count, height, width, _ = table.shape
    for row in numba.prange(count * height):
        index, y = row // height, row % height
        below = min(y + side, height - 1)
        for x in range(width):
            beside = min(x + side, width - 1)
            _four(
                table[index, y, x],
                table[index, y, beside],
                table[index, below, x],
                table[index, below, beside],
                doubled[index, y, x],
            )


@numba.njit(cache=True)
def _four(first, second, third, fourth, best):  # type: ignore[no-untyped-def]  # pragma: no cover
    for c in range(len(best)):
        best[c] = _larger(_larger(first[c], second[c]), _larger(third[c], fourth[c]))


@numba.njit(cache=True)
def _block_max(tables, index, y0, y1, x0, x1, pooled, r, place):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write the maximum over [y0, y1) x [x0, x1) into pooled[r, place], from the largest blocks that fit."""
    depth, side = 0, 1
    while depth + 1 < len(tables) and 2 * side <= min(y1 - y0, x1 - x0):
        depth, side = depth + 1, 2 * side
    bottom, right = y1 - side, x1 - side
    for c in range(pooled.shape[2]):  # elements, not rows: making views of arrays costs as much as the maxima
        above = _larger(tables[depth, index, y0, x0, c], tables[depth, index, y0, right, c])
        below = _larger(tables[depth, index, bottom, x0, c], tables[depth, index, bottom, right, c])
        pooled[r, place, c] = _larger(above, below)
    if y1 - y0 <= 2 * side and x1 - x0 <= 2 * side:
        return
    y = y0
    while y < y1:
        row = min(y, bottom)
        x = x0
        while x < x1:  # two blocks a pass: half as many reads and writes of the maximum so far
            first, second = min(x, right), min(x + side, right)
            for c in range(pooled.shape[2]):
                two = _larger(tables[depth, index, row, first, c], tables[depth, index, row, second, c])
                pooled[r, place, c] = _larger(pooled[r, place, c], two)
            x += 2 * side
        y += side


@numba.njit(cache=True)
def _bins_max(finer, level, group, pooled):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write maxima of group x group bins of a finer level (its bins row by row, C) into pooled (bins, C)."""
    side = level * group
    for row in range(level):
        for column in range(level):
            best = pooled[row * level + column]
            best[:] = finer[row * group * side + column * group]
            for y in range(row * group, (row + 1) * group):
                for x in range(column * group, (column + 1) * group):
                    other = finer[y * side + x]
                    for c in range(len(best)):
                        best[c] = _larger(best[c], other[c])


@numba.njit(parallel=True, cache=True, nogil=True)
def _pool_max(windows, tables, starts, ends, plan, pooled):  # type: ignore[no-untyped-def]  # pragma: no cover
    for r in numba.prange(len(windows)):
        index, left, top, right, bottom = windows[r]
        for step in plan:
            level, first_bin, edge, finer, finer_bin = step
            out = pooled[r, first_bin : first_bin + level * level]
            if finer:
                _bins_max(pooled[r, finer_bin : finer_bin + finer * finer], level, finer // level, out)
                continue
            for row in range(level):
                y0, y1 = top + starts[bottom - top, edge + row], top + ends[bottom - top, edge + row]
                for column in range(level):
                    x0, x1 = (
                        left + starts[right - left, edge + column],
                        left + ends[right - left, edge + column],
                    )
                    _block_max(tables, index, y0, y1, x0, x1, pooled, r, first_bin + row * level + column)


@numba.njit(parallel=True, cache=True, nogil=True)
def _pool_average(windows, features, starts, ends, plan, pooled):  # type: ignore[no-untyped-def]  # pragma: no cover
    for r in numba.prange(len(windows)):
        index, left, top, right, bottom = windows[r]
        total = np.empty(features.shape[3], dtype=np.float64)
        for level, first_bin, edge, _, _ in plan:
            for row in range(level):
                y0, y1 = top + starts[bottom - top, edge + row], top + ends[bottom - top, edge + row]
                for column in range(level):
                    x0, x1 = (
                        left + starts[right - left, edge + column],
                        left + ends[right - left, edge + column],
                    )
                    total[:] = 0.0
                    for y in range(y0, y1):
                        for x in range(x0, x1):
                            total += features[index, y, x]
                    pooled[r, first_bin + row * level + column] = total / ((y1 - y0) * (x1 - x0))


@numba.njit(parallel=True, cache=True, nogil=True)
def _max_gradient(  # type: ignore[no-untyped-def]  # pragma: no cover
    gradient, features, windows, starts, ends, plan, found, parts
):
    # Each thread has channels of its own, so that no two add to one cell, and sums have one order.
    channels = features.shape[3]
    for part in numba.prange(parts):
        c0, c1 = part * channels // parts, (part + 1) * channels // parts
        best, place = np.empty(c1 - c0, dtype=features.dtype), np.empty(c1 - c0, dtype=np.int32)
        for r in range(len(windows)):
            index, left, top, right, bottom = windows[r]
            cells = features[index, :, :, c0:c1]
            for level, first_bin, edge, _, _ in plan:
                for row in range(level):
                    y0, y1 = top + starts[bottom - top, edge + row], top + ends[bottom - top, edge + row]
                    for column in range(level):
                        x0 = left + starts[right - left, edge + column]
                        x1 = left + ends[right - left, edge + column]
                        _first_places(cells, y0, y1, x0, x1, best, place)
                        given = gradient[r, first_bin + row * level + column, c0:c1]
                        for c in range(c1 - c0):
                            y, x = y0 + place[c] // (x1 - x0), x0 + place[c] % (x1 - x0)
                            found[index, y, x, c0 + c] += given[c]


@numba.njit(cache=True)
def _first_places(cells, y0, y1, x0, x1, best, place):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write where in [y0, y1) x [x0, x1), counted row by row, each channel first has its maximum."""
    best[:] = cells[y0, x0]
    place[:] = 0
    for y in range(y0, y1):
        for x in range(x0, x1):
            here, number = cells[y, x], np.int32((y - y0) * (x1 - x0) + x - x0)
            for c in range(len(best)):
                larger = here[c] > best[c] or (here[c] != here[c] and best[c] == best[c])
                best[c] = here[c] if larger else best[c]
                place[c] = number if larger else place[c]


@numba.njit(parallel=True, cache=True, nogil=True)
def _average_gradient(  # type: ignore[no-untyped-def]  # pragma: no cover
    gradient, features, windows, starts, ends, plan, found, parts
):
    channels = features.shape[3]
    for part in numba.prange(parts):
        c0, c1 = part * channels // parts, (part + 1) * channels // parts
        for r in range(len(windows)):
            index, left, top, right, bottom = windows[r]
            for level, first_bin, edge, _, _ in plan:
                for row in range(level):
                    y0, y1 = top + starts[bottom - top, edge + row], top + ends[bottom - top, edge + row]
                    for column in range(level):
                        x0 = left + starts[right - left, edge + column]
                        x1 = left + ends[right - left, edge + column]
                        share = gradient[r, first_bin + row * level + column, c0:c1] / ((y1 - y0) * (x1 - x0))
                        for y in range(y0, y1):
                            for x in range(x0, x1):
                                found[index, y, x, c0:c1] += share
