"""The pooling on a GPU, compiled by Triton: one program a window and a block of channels, channels last.

The plan is the processor's: a level that divides a finer one is the maximum of its bins, which the same program
has just written, so each cell is read about once. Half precision is computed in float32. The gradient is added
with atomics in float32 (float64 for float64), whose order a GPU does not promise: sums may differ in the last bits
from run to run.
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sppnet.ops.contract import bins
from sppnet.ops.planning import direct_plan, edge_tables, nested_plan

WIDEST = 128  # channels a program


def forward(features: Tensor, windows: Tensor, levels: Sequence[int], mode: str, pooled: Tensor) -> None:
    """Pool windows (R, 5) of (N, C, H, W) into ``pooled`` (R, B, C)."""
    cells = features.detach().permute(0, 2, 3, 1).contiguous()
    plan = nested_plan(tuple(levels)) if mode == "max" else direct_plan(tuple(levels))
    kernel = _pool_max if mode == "max" else _pool_average
    _launch(kernel, cells, windows, tuple(levels), plan, pooled)


def backward(gradient: Tensor, features: Tensor, windows: Tensor, levels: Sequence[int], mode: str) -> Tensor:
    """(R, B, C) -> (N, C, H, W) in the memory layout of the features; which cell was the maximum is found again."""
    cells = features.detach().permute(0, 2, 3, 1).contiguous()
    sums = torch.float64 if cells.dtype == torch.float64 else torch.float32
    found = torch.zeros(cells.shape, dtype=sums, device=cells.device)
    kernel = _max_gradient if mode == "max" else _average_gradient
    wanted = gradient.detach().to(sums).contiguous()
    _launch(kernel, cells, windows, tuple(levels), direct_plan(tuple(levels)), wanted, found)
    return torch.empty_like(features).copy_(found.permute(0, 3, 1, 2))


def _launch(kernel: Any, cells: Tensor, windows: Tensor, levels: tuple[int, ...], plan: Any, *more: Tensor) -> None:
    """Run a kernel once for every window and block of channels."""
    _, height, width, channels = cells.shape
    starts, ends = (torch.from_numpy(table).to(cells.device) for table in edge_tables(max(height, width), levels))
    steps = torch.from_numpy(plan).to(cells.device)
    if len(windows) == 0 or channels == 0:
        return
    block = min(WIDEST, triton.next_power_of_2(channels))
    shape = (len(steps), height, width, channels, starts.shape[1], bins(levels))
    kernel[(len(windows), triton.cdiv(channels, block))](
        cells,
        windows.contiguous(),
        starts,
        ends,
        steps,
        *more,
        *shape,
        block=block,
        wide=tl.float64 if cells.dtype == torch.float64 else tl.float32,
    )


@triton.jit
def _larger(best, value):  # type: ignore[no-untyped-def]  # pragma: no cover
    return tl.maximum(best, value, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _program(windows, channels, block: tl.constexpr):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return this program's window: its number, its map, where its five numbers lie; its channels, which exist."""
    number = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1).to(tl.int64) * block + tl.arange(0, block)
    return number, tl.load(windows + number * 5), windows + number * 5, channel, channel < channels


@triton.jit
def _bin(window, starts, ends, edges, step):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return first and end row, first and end column, on the map, of the bin that a plan's step makes."""
    left, top = tl.load(window + 1), tl.load(window + 2)
    across = (tl.load(window + 3) - left) * edges + tl.load(step + 2)
    down = (tl.load(window + 4) - top) * edges + tl.load(step + 1)
    return (
        top + tl.load(starts + down),
        top + tl.load(ends + down),
        left + tl.load(starts + across),
        left + tl.load(ends + across),
    )


@triton.jit
def _pool_max(  # type: ignore[no-untyped-def]  # pragma: no cover
    cells, windows, starts, ends, plan, pooled, steps, height, width, channels, edges, bins,
    block: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    number, index, window, channel, mine = _program(windows, channels, block)
    table = cells + index * height * width * channels + channel
    out = pooled + number * bins * channels + channel
    for at in range(steps):
        step = plan + at * 6
        group = tl.load(step + 3)
        if group > 0:
            finer, side = out + tl.load(step + 4) * channels, tl.load(step + 5)
            best = tl.load(finer, mask=mine).to(wide)
            for part in range(group * group):
                other = part // group * side + part % group
                best = _larger(best, tl.load(finer + other * channels, mask=mine).to(wide))
        else:
            y0, y1, x0, x1 = _bin(window, starts, ends, edges, step)
            best = tl.load(table + (y0 * width + x0) * channels, mask=mine).to(wide)
            for y in range(y0, y1):
                for x in range(x0, x1):
                    best = _larger(best, tl.load(table + (y * width + x) * channels, mask=mine).to(wide))
        best += 0.0  # both zeros are one
        tl.store(out + tl.load(step) * channels, best.to(out.dtype.element_ty), mask=mine)


@triton.jit
def _pool_average(  # type: ignore[no-untyped-def]  # pragma: no cover
    cells, windows, starts, ends, plan, pooled, steps, height, width, channels, edges, bins,
    block: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    number, index, window, channel, mine = _program(windows, channels, block)
    table = cells + index * height * width * channels + channel
    out = pooled + number * bins * channels + channel
    for at in range(steps):
        y0, y1, x0, x1 = _bin(window, starts, ends, edges, plan + at * 6)
        total = tl.zeros([block], dtype=tl.float64)
        for y in range(y0, y1):
            for x in range(x0, x1):
                total += tl.load(table + (y * width + x) * channels, mask=mine).to(tl.float64)
        mean = total / ((y1 - y0) * (x1 - x0)).to(tl.float64)
        tl.store(out + tl.load(plan + at * 6) * channels, mean.to(out.dtype.element_ty), mask=mine)


@triton.jit
def _max_gradient(  # type: ignore[no-untyped-def]  # pragma: no cover
    cells, windows, starts, ends, plan, gradient, found, steps, height, width, channels, edges, bins,
    block: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    number, index, window, channel, mine = _program(windows, channels, block)
    table = cells + index * height * width * channels + channel
    into = found + index * height * width * channels + channel
    given = gradient + number * bins * channels + channel
    for at in range(steps):
        y0, y1, x0, x1 = _bin(window, starts, ends, edges, plan + at * 6)
        best = tl.load(table + (y0 * width + x0) * channels, mask=mine).to(wide)
        place = tl.zeros([block], dtype=tl.int64) + (y0 * width + x0)
        for y in range(y0, y1):
            for x in range(x0, x1):
                here = tl.load(table + (y * width + x) * channels, mask=mine).to(wide)
                larger = (here > best) | ((here != here) & (best == best))
                best = tl.where(larger, here, best)
                place = tl.where(larger, y * width + x, place)
        share = tl.load(given + tl.load(plan + at * 6) * channels, mask=mine)
        tl.atomic_add(into + place * channels, share, mask=mine)


@triton.jit
def _average_gradient(  # type: ignore[no-untyped-def]  # pragma: no cover
    cells, windows, starts, ends, plan, gradient, found, steps, height, width, channels, edges, bins,
    block: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    number, index, window, channel, mine = _program(windows, channels, block)
    into = found + index * height * width * channels + channel
    given = gradient + number * bins * channels + channel
    for at in range(steps):
        y0, y1, x0, x1 = _bin(window, starts, ends, edges, plan + at * 6)
        cells_of_bin = ((y1 - y0) * (x1 - x0)).to(found.dtype.element_ty)
        share = tl.load(given + tl.load(plan + at * 6) * channels, mask=mine) / cells_of_bin
        for y in range(y0, y1):
            for x in range(x0, x1):
                tl.atomic_add(into + (y * width + x) * channels, share, mask=mine)
