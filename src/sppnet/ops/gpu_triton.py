"""The pooling on a GPU, compiled by Triton: one program a window, some bins and a block of channels, channels last.

A bin is the maximum of a few squares that overlap: what squares of 2, 4 and 8 cells a side hold is computed once for
all windows. Edges of bins are those of ``geometry.bin_edges``, in whole numbers. Half precision is computed in
float32. The gradient is added with atomics in float32 (float64 for float64), whose order a GPU does not promise: sums
may differ in the last bits from run to run.

Nothing here waits for the GPU, and all of it can be captured in a graph. So windows that lie on the GPU are checked
there: one that is not inside its map is pooled to NaN and has no gradient.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from sppnet.ops.contract import bins
from sppnet.ops.planning import bin_places, moved

GROUP: Final = 4  # bins a program
WIDEST: Final = 128  # channels a program
WARPS: Final = 2  # a program
SQUARES: Final = 3  # of 2, 4 and 8 cells a side
CELLS: Final = 8  # a program that makes squares
# Numbers that change from image to image and from call to call: compiled once for all of them.
SIZES: Final = ["maps", "height", "width", "bins"]
MAKING: Final = ["number", "total", "height", "width"]
FEW: Final = 256  # cells of a map, which are read one by one in the time that squares take


def forward(features: Tensor, windows: Tensor, levels: Sequence[int], mode: str, pooled: Tensor) -> None:
    """Pool windows (R, 5) of (N, C, H, W) into ``pooled`` (R, B, C)."""
    cells = _channels_last(features)
    if mode == "average":
        _launch(_pool_average, cells, windows, tuple(levels), cells, pooled)
        return
    squares = _squares(cells, windows, tuple(levels))
    tables = _tables(cells, squares)
    _launch(_pool_max, cells, windows, tuple(levels), tables, pooled, squares=squares)


def backward(gradient: Tensor, features: Tensor, windows: Tensor, levels: Sequence[int], mode: str) -> Tensor:
    """(R, B, C) -> (N, C, H, W) in the memory layout of the features; which cell was the maximum is found again."""
    cells = _channels_last(features)
    sums = torch.float64 if cells.dtype == torch.float64 else torch.float32
    found = torch.zeros(cells.shape, dtype=sums, device=cells.device)
    wanted = gradient.detach().to(sums).contiguous()
    if mode == "average":
        _launch(_average_gradient, cells, windows, tuple(levels), wanted, found)
    else:
        squares = _squares(cells, windows, tuple(levels))
        places = torch.empty((squares, *cells.shape), dtype=torch.int32, device=cells.device)
        tables = _tables(cells, squares, places)
        _launch(_max_gradient, cells, windows, tuple(levels), tables, places, wanted, found, squares=squares)
    return torch.empty_like(features).copy_(found.permute(0, 3, 1, 2))


def _channels_last(features: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C), without a copy where that is how it lies."""
    return features.detach().permute(0, 2, 3, 1).contiguous()


def _squares(cells: Tensor, windows: Tensor, levels: tuple[int, ...]) -> int:
    """Return how many sizes of squares are worth making: none for few windows of small maps."""
    maps, height, width, _ = cells.shape
    pays = height * width > FEW or len(windows) * bins(levels) > maps * height * width
    if len(windows) == 0 or cells.shape[3] == 0:
        return 0
    return min(SQUARES, min(height, width).bit_length() - 1) if pays else 0


def _tables(cells: Tensor, squares: int, places: Tensor | None = None) -> Tensor:
    """Return (1 + S, N, H, W, C): the cells, and the maxima of squares of 2, 4, ... cells a side from each on.

    Args:
        places: (S, N, H, W, C) int32, to write to which cell of its map is the first of each square's maxima.
    """
    if squares == 0:
        return cells[None]
    tables = torch.empty((1 + squares, *cells.shape), dtype=cells.dtype, device=cells.device)
    tables[0] = cells
    maps, height, width, channels = cells.shape
    block = min(WIDEST, triton.next_power_of_2(channels))
    grid = (triton.cdiv(maps * height * width, CELLS), triton.cdiv(channels, block))
    for number in range(squares):
        _make_squares[grid](
            tables, tables if places is None else places, number, maps * height * width, height, width, channels,
            side=2**number, asked=places is not None, size=CELLS, block=block, wide=_wide(cells),
        )  # fmt: skip
    return tables


def _launch(
    kernel: Any, cells: Tensor, windows: Tensor, levels: tuple[int, ...], *arrays: Tensor, squares: int | None = None
) -> None:
    """Run a kernel once for every window, group of bins and block of channels."""
    maps, height, width, channels = cells.shape
    if len(windows) == 0 or channels == 0:
        return
    block = min(WIDEST, triton.next_power_of_2(channels))
    grid = (len(windows), triton.cdiv(bins(levels), GROUP), triton.cdiv(channels, block))
    own = {} if squares is None else {"squares": squares, "wide": _wide(cells)}
    kernel[grid](
        moved(windows.contiguous(), cells.device), _plan(levels, cells.device), *arrays,
        maps, height, width, channels, bins(levels), size=GROUP, block=block, num_warps=WARPS, **own,
    )  # fmt: skip


def _wide(cells: Tensor) -> Any:
    return tl.float64 if cells.dtype == torch.float64 else tl.float32


@lru_cache(maxsize=64)
def _plan(levels: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.from_numpy(bin_places(levels)).to(device, torch.int32)


@triton.jit
def _larger(best, value):  # type: ignore[no-untyped-def]  # pragma: no cover
    return tl.maximum(best, value, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _replaces(value, place, best, first):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Tell where a value is larger, or as large and of an earlier cell; NaN is largest."""
    nan, best_nan = value != value, best != best
    return (value > best) | (nan & ~best_nan) | (((value == best) | (nan & best_nan)) & (place < first))


@triton.jit(do_not_specialize=MAKING)
def _make_squares(  # type: ignore[no-untyped-def]  # pragma: no cover
    tables, places, number, total, height, width, channels,
    side: tl.constexpr, asked: tl.constexpr, size: tl.constexpr, block: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    """Make squares of twice ``side`` from four of ``side``; those that leave their map are never looked up."""
    cell = tl.program_id(0) * size + tl.arange(0, size)
    channel = tl.program_id(1) * block + tl.arange(0, block)
    inside = (cell < total)[:, None] & (channel < channels)[None, :]
    y, x = cell // width % height, cell % width
    across, down = tl.where(x + side < width, side, 0), tl.where(y + side < height, side, 0)
    layer = total.to(tl.int64) * channels
    start = layer * number
    best = tl.full([size, block], float("-inf"), wide)
    first = tl.full([size, block], 2**31 - 1, tl.int32)
    for part in tl.static_range(4):
        rows, columns = down * (part // 2), across * (part % 2)
        here = (cell + rows * width + columns).to(tl.int64)[:, None] * channels + channel[None, :]
        value = tl.load(tables + start + here, mask=inside, other=float("-inf")).to(wide)
        if asked:
            if side == 1:
                place = tl.zeros([size, block], tl.int32) + ((y + rows) * width + x + columns)[:, None]
            else:
                place = tl.load(places + start - layer + here, mask=inside, other=0)
            better = _replaces(value, place, best, first)
            first = tl.where(better, place, first)
            best = tl.where(better, value, best)
        else:
            best = _larger(best, value)
    here = cell.to(tl.int64)[:, None] * channels + channel[None, :]
    tl.store(tables + start + layer + here, best.to(tables.dtype.element_ty), mask=inside)
    if asked:
        tl.store(places + start + here, first, mask=inside)


@triton.jit
def _bins(windows, plan, maps, height, width, bins, size: tl.constexpr):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return of this program's bins: numbers in all windows, which exist, whether their window lies inside its map,
    the first row of that map among the rows of all, and first and end row, first and end column on it.
    """
    window = tl.program_id(0).to(tl.int64)
    number = tl.program_id(1) * size + tl.arange(0, size)
    real = number < bins
    level = tl.load(plan + number * 3, mask=real, other=1)
    row, column = tl.load(plan + number * 3 + 1, mask=real, other=0), tl.load(plan + number * 3 + 2, mask=real, other=0)
    at = windows + window * 5
    index, left, top, right, bottom = tl.load(at), tl.load(at + 1), tl.load(at + 2), tl.load(at + 3), tl.load(at + 4)
    sound = (index >= 0) & (index < maps) & (left >= 0) & (left < right) & (right <= width)
    sound = sound & (top >= 0) & (top < bottom) & (bottom <= height)
    index = tl.where(sound, index, 0)
    left, wide = tl.where(sound, left, 0).to(tl.int32), tl.where(sound, right - left, 1).to(tl.int32)
    top, high = tl.where(sound, top, 0).to(tl.int32), tl.where(sound, bottom - top, 1).to(tl.int32)
    return (
        window * bins + number, real, sound, index * height,
        top + row * high // level, top + ((row + 1) * high + level - 1) // level,
        left + column * wide // level, left + ((column + 1) * wide + level - 1) // level,
    )  # fmt: skip


@triton.jit
def _channels(channels, block: tl.constexpr):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return this program's channels, (1, block), and which exist."""
    channel = (tl.program_id(2) * block + tl.arange(0, block))[None, :]
    return channel, channel < channels


@triton.jit
def _cover(y0, y1, x0, x1, real, sound, squares: tl.constexpr):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return the table and the side of the squares that cover each bin, and how many do: none of an unsound window."""
    least = tl.minimum(y1 - y0, x1 - x0)
    table, side = tl.zeros_like(least), tl.zeros_like(least) + 1
    for number in tl.static_range(squares):
        fits = least >= 2 << number
        table, side = tl.where(fits, number + 1, table), tl.where(fits, 2 << number, side)
    count = ((y1 - y0 + side - 1) // side) * ((x1 - x0 + side - 1) // side)
    return table, side, tl.where(sound, tl.where(real, count, 0), 0)


@triton.jit
def _next(y, x, x0, x1, side):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Step to the next square of a bin: to the right, or to the beginning of the next row of squares."""
    ends = x + side >= x1
    return tl.where(ends, y + side, y), tl.where(ends, x0, x + side)


@triton.jit(do_not_specialize=SIZES)
def _pool_max(  # type: ignore[no-untyped-def]  # pragma: no cover
    windows, plan, tables, pooled, maps, height, width, channels, bins,
    squares: tl.constexpr, size: tl.constexpr, block: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    number, real, sound, first, y0, y1, x0, x1 = _bins(windows, plan, maps, height, width, bins, size)
    channel, mine = _channels(channels, block)
    table, side, count = _cover(y0, y1, x0, x1, real, sound, squares)
    start = table.to(tl.int64) * maps * height + first
    best = tl.full([size, block], float("-inf"), wide)
    y, x = y0, x0
    for turn in range(tl.max(count, 0)):
        row, column = start + tl.minimum(y, y1 - side), tl.minimum(x, x1 - side)
        here = ((row * width + column) * channels)[:, None] + channel
        value = tl.load(tables + here, mask=(turn < count)[:, None] & mine, other=float("-inf"))
        best = _larger(best, value.to(wide))
        y, x = _next(y, x, x0, x1, side)
    best = tl.where(sound, best + 0.0, float("nan"))  # both zeros are one
    tl.store(pooled + (number * channels)[:, None] + channel, best.to(pooled.dtype.element_ty), real[:, None] & mine)


@triton.jit(do_not_specialize=SIZES)
def _pool_average(  # type: ignore[no-untyped-def]  # pragma: no cover
    windows, plan, cells, pooled, maps, height, width, channels, bins, size: tl.constexpr, block: tl.constexpr
):
    number, real, sound, first, y0, y1, x0, x1 = _bins(windows, plan, maps, height, width, bins, size)
    channel, mine = _channels(channels, block)
    count = tl.where(sound, tl.where(real, (y1 - y0) * (x1 - x0), 0), 0)
    total = tl.zeros([size, block], dtype=tl.float64)
    y, x = y0, x0
    for turn in range(tl.max(count, 0)):
        here = (((first + y) * width + x) * channels)[:, None] + channel
        value = tl.load(cells + here, mask=(turn < count)[:, None] & mine, other=0.0)
        total += value.to(tl.float64)
        y, x = _next(y, x, x0, x1, 1)
    mean = tl.where(sound, total / tl.maximum(count, 1).to(tl.float64)[:, None], float("nan"))
    tl.store(pooled + (number * channels)[:, None] + channel, mean.to(pooled.dtype.element_ty), real[:, None] & mine)


@triton.jit(do_not_specialize=SIZES)
def _max_gradient(  # type: ignore[no-untyped-def]  # pragma: no cover
    windows, plan, tables, places, gradient, found, maps, height, width, channels, bins,
    squares: tl.constexpr, size: tl.constexpr, block: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    number, real, sound, first, y0, y1, x0, x1 = _bins(windows, plan, maps, height, width, bins, size)
    channel, mine = _channels(channels, block)
    table, side, count = _cover(y0, y1, x0, x1, real, sound, squares)
    start = table.to(tl.int64) * maps * height + first
    marked = start - maps * height  # the cells themselves have no table of places
    best = tl.full([size, block], float("-inf"), wide)
    chosen = tl.full([size, block], 2**31 - 1, tl.int32)
    y, x = y0, x0
    for turn in range(tl.max(count, 0)):
        row, column = tl.minimum(y, y1 - side), tl.minimum(x, x1 - side)
        here = (((start + row) * width + column) * channels)[:, None] + channel
        look = (turn < count)[:, None] & mine
        value = tl.load(tables + here, mask=look, other=float("-inf")).to(wide)
        known = tl.load(
            places + (((marked + row) * width + column) * channels)[:, None] + channel,
            mask=look & (table > 0)[:, None],
            other=0,
        )
        place = tl.where((table > 0)[:, None], known, (row * width + column)[:, None])
        better = look & _replaces(value, place, best, chosen)
        best, chosen = tl.where(better, value, best), tl.where(better, place, chosen)
        y, x = _next(y, x, x0, x1, side)
    given = (count > 0)[:, None] & mine
    share = tl.load(gradient + (number * channels)[:, None] + channel, mask=given, other=0.0)
    cell = first * width + chosen
    tl.atomic_add(found + cell * channels + channel, share, mask=given)


@triton.jit(do_not_specialize=SIZES)
def _average_gradient(  # type: ignore[no-untyped-def]  # pragma: no cover
    windows, plan, gradient, found, maps, height, width, channels, bins, size: tl.constexpr, block: tl.constexpr
):
    number, real, sound, first, y0, y1, x0, x1 = _bins(windows, plan, maps, height, width, bins, size)
    channel, mine = _channels(channels, block)
    count = tl.where(sound, tl.where(real, (y1 - y0) * (x1 - x0), 0), 0)
    given = (count > 0)[:, None] & mine
    share = tl.load(gradient + (number * channels)[:, None] + channel, mask=given, other=0.0)
    share = share / tl.maximum(count, 1).to(share.dtype)[:, None]
    y, x = y0, x0
    for turn in range(tl.max(count, 0)):
        here = (((first + y) * width + x) * channels)[:, None] + channel
        tl.atomic_add(found + here, share, mask=(turn < count)[:, None] & mine)
        y, x = _next(y, x, x0, x1, 1)
