"""Where the cells of any convolutional network's maps lie, derived from the operations that it really runs.

The network runs once on tensors without values (torch's ``meta`` device), and every operation tells how it moves and
spaces the cells: so padding that depends on the size, dilation, pooling and blurring are all counted, and nothing
about a family of networks is assumed.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sppnet.geometry import AxisGrid, CellGrid

MAP: Final = 4  # axes of a map
EXACT: Final = 9  # decimals of an offset; what is beyond comes from sums of floating-point numbers
_GRID: Final = "_sppnet_cells"  # the attribute that carries a tensor's grid along
_aten = torch.ops.aten


class CellMap(NamedTuple):
    """A map's cells: where they lie on the pixels, and (channels, height, width)."""

    grid: CellGrid
    shape: tuple[int, int, int]


def meta_copy(network: nn.Module) -> nn.Module:
    """Return a copy of a network without the values of its weights: it tells shapes, and computes nothing."""
    memo: dict[int, Any] = {}
    memo |= {id(each): nn.Parameter(each.to("meta"), requires_grad=False) for each in network.parameters()}
    memo |= {id(each): each.to("meta") for each in network.buffers()}
    return copy.deepcopy(network, memo).eval()


def cell_maps(run: Callable[[Tensor], Mapping[Any, Tensor]], size: tuple[int, int]) -> dict[Any, CellMap]:
    """Return the cells of every map that ``run`` takes out of a network from ``meta_copy``.

    Args:
        run: pixels (1, 3, H, W) -> maps (1, C, H', W') by name.
        size: (height, width) of the pixels.
    """
    # Inference mode would hide convolutions from the dispatcher.
    with torch.inference_mode(False), torch.no_grad():
        pixels = torch.empty(1, 3, *size, device="meta")
        setattr(pixels, _GRID, CellGrid(AxisGrid(1.0, 0.0), AxisGrid(1.0, 0.0)))
        with _Cells():  # type: ignore[no-untyped-call]
            maps = run(pixels)
    found = {}
    for name, values in maps.items():
        grid = getattr(values, _GRID, None)
        if values.ndim == MAP and grid is not None:
            _, channels, height, width = values.shape
            found[name] = CellMap(grid, (channels, height, width))
    return found


class _Cells(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Carries the grid of every tensor on to what is computed from it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        first = out[0] if isinstance(out, tuple | list) and out else out
        grids = [grid for each in _tensors(args) if (grid := getattr(each, _GRID, None)) is not None]
        if isinstance(first, Tensor) and grids:
            moved = _moved(func.overloadpacket, args, grids, first)
            for each in out if isinstance(out, tuple | list) else (out,):
                if isinstance(each, Tensor):
                    setattr(each, _GRID, moved)
        return out


def _tensors(args: Sequence[Any]) -> list[Tensor]:
    found = []
    for each in args:
        if isinstance(each, Tensor):
            found.append(each)
        elif isinstance(each, tuple | list):
            found += [one for one in each if isinstance(one, Tensor)]
    return found


def _moved(operation: Any, args: Sequence[Any], grids: Sequence[CellGrid], out: Tensor) -> CellGrid:
    """Return the grid of what an operation gives, from those of what it was given."""
    if operation in (_aten.convolution, _aten.cudnn_convolution):
        kernel, stride, padding, dilation = args[1].shape[2:], args[3], args[4], args[5]
        return _slid(grids[0], kernel, stride, padding, dilation)
    if operation in (_aten.max_pool2d_with_indices, _aten.avg_pool2d):
        kernel = args[1]
        stride = args[2] if len(args) > 2 and args[2] else kernel
        return _slid(grids[0], kernel, stride, args[3] if len(args) > 3 else (0, 0), (1, 1))
    if operation in (_aten.constant_pad_nd, _aten.reflection_pad2d, _aten.replication_pad2d):
        before = [*args[1][::2], 0, 0]
        return _slid(grids[0], (1, 1), (1, 1), (before[1], before[0]), (1, 1))
    if operation is _aten.slice and out.ndim == MAP and len(args) > 4 and args[4] > 1:
        return _sliced(grids[0], args)
    if str(operation).removeprefix("aten.").startswith("upsample"):
        return _enlarged(grids[0], args[0], out)
    # What is added, joined or multiplied: branches whose cells lie apart meet in the middle.
    wide = [grid for grid in grids if grid.down.stride == grids[0].down.stride]
    down, across = ([getattr(grid, axis) for grid in wide] for axis in ("down", "across"))
    return CellGrid(_mean(down), _mean(across))


def _mean(axes: Sequence[AxisGrid]) -> AxisGrid:
    return AxisGrid(axes[0].stride, sum(axis.offset for axis in axes) / len(axes))


def _slid(
    grid: CellGrid, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> CellGrid:
    kernel, stride, padding, dilation = (_pair(each) for each in (kernel, stride, padding, dilation))
    axes = []
    for axis, size, step, pad, apart in zip((grid.down, grid.across), kernel, stride, padding, dilation, strict=True):
        axes.append(AxisGrid(axis.stride * step, axis.offset + ((size - 1) * apart / 2 - pad) * axis.stride))
    return CellGrid(*axes)


def _pair(value: Sequence[int]) -> tuple[int, int]:
    return (value[0], value[-1])


def _sliced(grid: CellGrid, args: Sequence[Any]) -> CellGrid:
    """Return the grid of every ``step``-th row or column, which networks take to merge four cells into one.

    The axis of rows is 2, or 1 with channels last; then 2 is that of columns, and the rows were sliced before.
    """
    dimension, start, step = args[1], args[2] or 0, args[4]
    if dimension == 1 or (dimension == 2 and grid.down.stride == grid.across.stride):
        return CellGrid(AxisGrid(grid.down.stride * step, grid.down.offset + start * grid.down.stride), grid.across)
    return CellGrid(grid.down, AxisGrid(grid.across.stride * step, grid.across.offset + start * grid.across.stride))


def _enlarged(grid: CellGrid, small: Tensor, large: Tensor) -> CellGrid:
    axes = []
    for axis, before, after in zip((grid.down, grid.across), small.shape[2:], large.shape[2:], strict=True):
        axes.append(AxisGrid(axis.stride * before / after, axis.offset + (before / after - 1) / 2 * axis.stride))
    return CellGrid(*axes)


def merged_cells(cells: CellMap, size: tuple[int, int]) -> int:
    """Return how many cells a side were reshaped into one, where a map is as much smaller than its operations say.

    Args:
        cells: of a map on pixels of ``size``, which should be many cells.
    """
    down = size[0] / cells.grid.down.stride / max(1, cells.shape[1])
    across = size[1] / cells.grid.across.stride / max(1, cells.shape[2])
    return max(1, round(min(down, across)))


def merge(grid: CellGrid, times: int) -> CellGrid:
    """Return the grid of cells that are ``times`` x ``times`` of these."""
    down, across = (
        AxisGrid(axis.stride * times, round(axis.offset + (times - 1) / 2 * axis.stride, EXACT))
        for axis in (grid.down, grid.across)
    )
    return CellGrid(down, across)
