"""Regions of an image to windows of its feature map, windows to bins: the only place that rounds to cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sppnet.errors import check_that
from sppnet.geometry.boxes import Boxes, Size

WindowRule = Literal["paper", "released"]
RELEASED_SHRINK: Final = 6.5  # the released code's second constant, the same for both of its networks


def check_rule(function: str, rule: str) -> None:
    """Raise ArgumentError for a rule that is neither the paper's nor that of the released code."""
    known = rule in ("paper", "released")
    check_that(known, function, "rule", "paper or released", repr(rule), advice="Name one of these")


class Layer(NamedTuple):
    """A convolution or pooling along one axis: its kernel, its stride and the cells padded before the first.

    ``ceil``: a last cell whose kernel hangs out past the end counts too, as Caffe pools. It moves no centre.
    """

    kernel: int
    stride: int
    pad_before: int
    ceil: bool = False


class AxisGrid(NamedTuple):
    """Where cells lie along one axis: the centre of cell i is at pixel ``offset + stride * i``, 0-based."""

    stride: float
    offset: float


def axis_grid(layers: Sequence[Layer]) -> AxisGrid:
    """Derive from a network's layers where the centres of its cells lie.

    >>> axis_grid([Layer(7, 2, 1), Layer(3, 2, 0)])
    AxisGrid(stride=4.0, offset=4.0)
    """
    stride, offset = 1.0, 0.0
    for layer in layers:
        offset += ((layer.kernel - 1) / 2 - layer.pad_before) * stride
        stride *= layer.stride
    return AxisGrid(stride, offset)


def cells_along(layers: Sequence[Layer], length: int) -> int:
    """Return how many cells an axis of ``length`` pixels has after layers that pad as much after as before.

    0 where some kernel does not fit. A cell that would begin in the padding past the end is not one.

    >>> cells_along([Layer(7, 2, 1), Layer(3, 2, 0, ceil=True)], 224), cells_along([Layer(7, 2, 1)], 4)
    (55, 0)
    """
    for layer in layers:
        room = length + 2 * layer.pad_before - layer.kernel
        if room < 0:
            return 0
        steps = -(-room // layer.stride) if layer.ceil else room // layer.stride
        if layer.ceil and steps * layer.stride >= length + layer.pad_before:
            steps -= 1
        length = steps + 1
    return length


@dataclass(frozen=True)
class CellGrid:
    """Where the cells of a feature map lie on the network's input, down and across.

    Padding that depends on the size ("SAME") can give the two axes different offsets.
    """

    down: AxisGrid
    across: AxisGrid


def windows_from_regions(
    regions: Boxes, grid: CellGrid, map_size: Size, *, rule: WindowRule = "paper"
) -> NDArray[np.int64]:
    """Map regions of the network's input to windows of its feature map.

    Args:
        regions: (R, 4) in pixels of the network's input.
        grid: where the cells lie.
        map_size: (height, width) of the map in cells.
        rule: "paper" (Appendix A of the fourth version): the cells whose centres lie strictly inside the
            region's first and last pixel. "released": the authors' code, which reaches about a quarter of a
            cell further; its first constant is the grid's offset, its second ``RELEASED_SHRINK``.
    Returns:
        (R, 4) int64 ``[left, top, right, bottom]``, ends excluded; inside the map, at least one cell each.

    Small regions *cross*: no centre lies inside, and the last cell comes before the first. The paper is
    silent; under "paper" the window is then the cell nearest the middle of the region, under "released" both
    ends become their mean, rounded towards zero, as in the authors' code. After that, windows past a border
    of the map are cut to it, and one that lies wholly past it becomes the cell at the border.
    """
    check_rule("windows_from_regions", rule)
    axis_windows = _paper_windows if rule == "paper" else _released_windows
    top, bottom = axis_windows(regions[:, 1], regions[:, 3], grid.down)
    left, right = axis_windows(regions[:, 0], regions[:, 2], grid.across)
    last = np.array([map_size[1], map_size[0]] * 2) - 1
    inclusive = np.stack([left, top, right, bottom], axis=1).clip(0, last).astype(np.int64)
    inclusive[:, 2:] += 1
    return inclusive


def regions_of_windows(
    windows: NDArray[np.int64], grid: CellGrid, size: Size | None = None, *, rule: WindowRule = "paper"
) -> Boxes:
    """Return the middle one of all regions that a rule maps to each window (R, 4).

    ``windows_from_regions`` gives the windows back, by the same grid and rule.

    Args:
        size: (height, width) of the network's input, which regions are cut to; None leaves what hangs out.
    """
    check_rule("regions_of_windows", rule)
    height, width = size or (None, None)
    left, right = _middle_ends(windows[:, 0], windows[:, 2], grid.across, rule, width)
    top, bottom = _middle_ends(windows[:, 1], windows[:, 3], grid.down, rule, height)
    return np.stack([left, top, right, bottom], axis=1)


def unique_windows(windows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct rows of windows (R, 4) in ascending order, (U, 4), and which of them each row is, (R,)."""
    base = int(windows.max(initial=0)) + 1
    if base**4 >= 2**63:
        rows, which = np.unique(windows, axis=0, return_inverse=True)
        return rows, which.reshape(-1)
    # One whole number a row sorts ten times faster than rows do.
    keys, which = np.unique(windows @ base ** np.arange(3, -1, -1), return_inverse=True)
    return np.stack(np.unravel_index(keys, (base,) * 4), axis=1).astype(np.int64), which


Ends = tuple[NDArray[np.float64], NDArray[np.float64]]


def _paper_windows(start: NDArray[np.float64], end: NDArray[np.float64], axis: AxisGrid) -> Ends:
    first = np.floor((start - axis.offset) / axis.stride) + 1
    last = np.ceil((end - 1 - axis.offset) / axis.stride) - 1
    middle = np.floor(((start + end - 1) / 2 - axis.offset) / axis.stride + 0.5)
    crossed = last < first
    return np.where(crossed, middle, first), np.where(crossed, middle, last)


def _released_windows(start: NDArray[np.float64], end: NDArray[np.float64], axis: AxisGrid) -> Ends:
    # Theirs counts cells from 1, which matters for the mean of a crossed window; here they are counted from 0.
    first = np.floor((start - axis.offset + RELEASED_SHRINK) / axis.stride + 0.5) + 1
    last = np.ceil((end - 1 - axis.offset - RELEASED_SHRINK) / axis.stride - 0.5) + 1
    middle = np.trunc((first + last) / 2)
    crossed = last < first
    return np.where(crossed, middle, first) - 1, np.where(crossed, middle, last) - 1


def _middle_ends(
    first: NDArray[np.int64], end: NDArray[np.int64], axis: AxisGrid, rule: WindowRule, length: int | None
) -> Ends:
    # The released rule's windows reach further, so that the regions that have them are smaller.
    inset = 0.0 if rule == "paper" else axis.stride / 2 - RELEASED_SHRINK
    before_first, before_end = (cells.astype(np.float64) - 0.5 for cells in (first, end))
    start, stop = (
        axis.offset + axis.stride * before_first + inset,
        axis.offset + axis.stride * before_end + 1.0 - inset,
    )
    if length is None:
        return start, stop
    if inset < 0:
        # The region of one cell is larger than the cell: cut on one side alone, it would cross, onto the cell before.
        over = np.where(end - first == 1, np.maximum(np.maximum(stop - length, -start), 0.0), 0.0)
        start, stop = np.minimum(start + over, length - 1.0), np.maximum(stop - over, 1.0)
    return start.clip(0.0, length), stop.clip(0.0, length)


def bin_edges(length: NDArray[np.int64] | int, level: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first cell and the end (excluded) of each of ``level`` bins along ``length`` cells.

    Bin i covers ``floor(i * length / level)`` to ``ceil((i + 1) * length / level)``: bins overlap where the
    level does not divide the length, and none is ever empty (paper, Appendix A). In 64-bit whole numbers.

    Args:
        length: () or (R,) cells, at least 1. level: bins, at least 1.
    Returns:
        Two int64 arrays of shape (level,) or (R, level).
    """
    cells = np.asarray(length, dtype=np.int64)[..., None]
    bins = np.arange(level, dtype=np.int64)
    return bins * cells // level, -(-(bins + 1) * cells // level)
