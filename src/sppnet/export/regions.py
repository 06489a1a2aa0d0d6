"""The coordinate rules of ``sppnet.geometry`` and the grid of proposals as graphs, in the same order of operations.

Boxes are (N, 4) float64 in pixels, windows (N, 4) int64 in cells, sizes (2,) int64 ``(height, width)``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from sppnet.backbones.protocol import Backbone
from sppnet.errors import check_that
from sppnet.export.graph import Graph, Value
from sppnet.export.pooling import BlockTable, block_table
from sppnet.geometry import LARGE, MAX_LOG_RATIO, RELEASED_SHRINK, RIVAL_IOU, VOTE_SHARPNESS, WindowRule
from sppnet.proposals.grid import OVERHANG

TABULATED: Final = 1024  # lengths in pixels for which a grid's offset is looked up; past them it repeats
PERIOD: Final = 64  # a whole number of strides


def images_in(size: Value, short_side: int) -> Value:
    """Return as how many images one of ``size`` (2,) float64 counts, () float64; see ``geometry.images_in``."""
    longer, shorter = (size.over(kind, 0) for kind in ("ReduceMax", "ReduceMin"))
    return (longer * short_side**2 / shorter / LARGE).larger(1.0)


@dataclass(frozen=True)
class AxisCells:
    """Where a map's cells lie along one axis of the image, and how many there are: () each.

    Args:
        stride, offset: float64, in pixels of the scaled image. count: int64 cells.
        length, scaled: float64, of the image and of the scaled image in pixels.
    """

    stride: float
    offset: Value
    count: Value
    length: Value
    scaled: Value


@dataclass(frozen=True)
class MapCells:
    """A map (H, W, C) float16 of an image, where its cells lie, and by which rule windows are taken."""

    cells: Value
    down: AxisCells
    across: AxisCells
    rule: WindowRule
    _tables: dict[tuple[int, ...], BlockTable] = field(default_factory=dict)

    def table(self, levels: Sequence[int]) -> BlockTable:
        """Return the table that bins of these levels are looked up in, which is made once."""
        wanted = tuple(levels)
        if wanted not in self._tables:
            self._tables[wanted] = block_table(self.cells.graph, self.cells, wanted)
        return self._tables[wanted]


def scaled_size(graph: Graph, size: Value, short_side: int, *, multiple: int = 1) -> Value:
    """(2,) -> (2,): ``geometry.shorter_side_size``."""
    shortest = size.over("ReduceMin", 0, keep=True)
    unit = shortest * multiple
    longer = ((size * (2 * short_side) + unit) // (unit * 2) * multiple).larger(short_side)
    return graph.where(size > shortest, longer, graph.constant(np.array([short_side] * 2)))


def map_cells(cells: Value, backbone: Backbone, layer: str, sizes: tuple[Value, Value], rule: WindowRule) -> MapCells:
    """Tell where the cells of a map (H, W, C) lie; ``sizes`` are the image's and the scaled image's."""
    graph = cells.graph
    axes = []
    for axis in range(2):
        offsets, stride = _offsets(backbone, layer, axis)
        length, scaled = (size.take(axis) for size in sizes)
        repeated = graph.op("Mod", scaled, graph.constant(np.array(PERIOD))) + TABULATED
        offset = graph.constant(offsets).take(graph.where(scaled < TABULATED, scaled, repeated))
        axes.append(AxisCells(stride, offset, cells.shape(axis), length.to(np.float64), scaled.to(np.float64)))
    return MapCells(cells, axes[0], axes[1], rule)


def _offsets(backbone: Backbone, layer: str, axis: int) -> tuple[np.ndarray, float]:
    """Tabulate by the length in pixels where a network's first cell lies along an axis, and return the stride."""
    grids = [backbone.grid(layer, (length, length)) for length in range(1, TABULATED + PERIOD)]
    of_axis = [(grid.down, grid.across)[axis] for grid in grids]
    offsets, strides = (np.array([getattr(each, name) for each in of_axis]) for name in ("offset", "stride"))
    repeats = np.array_equal(offsets[-PERIOD:], offsets[-2 * PERIOD : -PERIOD]) and len(set(strides.tolist())) == 1
    advice = "Use a network of torchvision, timm or this package"
    check_that(repeats, "export", "model", "on a network whose cells repeat every 64 pixels", layer, advice=advice)
    return np.concatenate([offsets[:1], offsets]), float(strides[0])


def windows_of(regions: Value, place: MapCells) -> Value:
    """(R, 4) regions of the image -> (R, 4) windows: ``FeatureMap.windows``."""
    axis_ends = _paper_ends if place.rule == "paper" else _released_ends
    left, top, right, bottom = regions.columns()
    ends = []
    for first, end, axis in ((left, right, place.across), (top, bottom, place.down)):
        # Some engines divide by multiplying: what ends at the edge would end past it, in another cell.
        start, stop = ((side * axis.scaled / axis.length).smaller(axis.scaled) for side in (first, end))
        inclusive = [each.to(np.int64) for each in axis_ends(start, stop, axis)]
        ends.append([each.larger(0).smaller(axis.count - 1) for each in inclusive])
    (left, right), (top, bottom) = ends
    return regions.graph.stack(left, top, right + 1, bottom + 1, axis=1)


def _paper_ends(start: Value, end: Value, axis: AxisCells) -> tuple[Value, Value]:
    first = _floor((start - axis.offset) / axis.stride) + 1
    last = _ceil((end - 1 - axis.offset) / axis.stride) - 1
    middle = _floor(((start + end - 1) / 2 - axis.offset) / axis.stride + 0.5)
    crossed = last < first
    return start.graph.where(crossed, middle, first), start.graph.where(crossed, middle, last)


def _released_ends(start: Value, end: Value, axis: AxisCells) -> tuple[Value, Value]:
    first = _floor((start - axis.offset + RELEASED_SHRINK) / axis.stride + 0.5) + 1
    last = _ceil((end - 1 - axis.offset - RELEASED_SHRINK) / axis.stride - 0.5) + 1
    half = (first + last) / 2
    middle = start.graph.where(half < 0, _ceil(half), _floor(half))
    crossed = last < first
    return start.graph.where(crossed, middle, first) - 1, start.graph.where(crossed, middle, last) - 1


def regions_of(windows: Value, place: MapCells) -> Value:
    """(R, 4) windows -> (R, 4) regions of the image that they stand for: ``FeatureMap.align_to_cells``."""
    left, top, right, bottom = windows.columns()
    ends = {}
    for name, first, end, axis in (("x", left, right, place.across), ("y", top, bottom, place.down)):
        inset = 0.0 if place.rule == "paper" else axis.stride / 2 - RELEASED_SHRINK
        before_first, before_end = (cells.to(np.float64) - 0.5 for cells in (first, end))
        begin = axis.offset + before_first * axis.stride + inset
        stop = axis.offset + before_end * axis.stride + 1.0 - inset
        if inset < 0:
            over = (stop - axis.scaled).larger(begin * -1.0).larger(0.0)
            over = windows.graph.where((end - first).equals(1), over, over * 0.0)
            begin, stop = (begin + over).smaller(axis.scaled - 1.0), (stop - over).larger(1.0)
        ends[name] = [(side * axis.length / axis.scaled).larger(0.0).smaller(axis.length) for side in (begin, stop)]
    return windows.graph.stack(ends["x"][0], ends["y"][0], ends["x"][1], ends["y"][1], axis=1)


def unique_windows(windows: Value) -> tuple[Value, Value]:
    """(R, 4) -> the different windows (U, 4), rising, and which of them each is: ``geometry.unique_windows``."""
    order, begins = _sorted(windows)
    turns = begins.to(np.int64).running() - 1
    return windows.take(order.take(_places(begins))), windows.graph.op("ScatterElements", order, order, turns, axis=0)


def first_of_each_window(windows: Value) -> Value:
    """(R, 4) -> the place of the first of each different window, (U,), rising."""
    order, begins = _sorted(windows)
    return _places(windows.graph.op("ScatterElements", order, order, begins.to(np.int64), axis=0) > 0)


def _sorted(windows: Value) -> tuple[Value, Value]:
    """Return the places (R,) of windows by their edges, of equal ones the first first, and where others begin.

    Sorted by two edges and then by the other two: numbers of all four would be more than 24 bits, which some engines
    compute with. By ONNX Runtime's operator for unique numbers it takes three times as long.
    """
    graph = windows.graph
    base = graph.join(windows.reshape(-1), graph.constant(np.zeros(1, dtype=np.int64))).over("ReduceMax", 0) + 1
    left, top, right, bottom = windows.columns()
    ends = right * base + bottom
    order = graph.order(ends)
    firsts = left * base + top
    order = order.take(graph.order(firsts.take(order)))
    number = graph.range(windows.shape(0))
    before = (number - 1).larger(0)
    same = number > 0
    for edges in (firsts.take(order), ends.take(order)):
        same = same & edges.equals(edges.take(before))
    return order, graph.op("Not", same)


def _places(holds: Value) -> Value:
    return holds.graph.op("NonZero", holds).reshape(-1)


def grid_regions(
    graph: Graph, size: Value, shapes: Sequence[tuple[float, float]], short_side: int, step: float
) -> Value:
    """Return the regions of ``GridProposals`` for an image of ``size`` (2,) float64: (R, 4)."""
    factor = size.over("ReduceMin", 0) / short_side
    sides = graph.constant(np.array(shapes, dtype=np.float64).T) * factor  # (2, S)
    first = sides * -OVERHANG
    last = size.insert(1) - sides * (1 - OVERHANG)
    alone = last <= first
    steps = _ceil((last - first) / (sides * step)).to(np.int64)
    counts = graph.where(alone, graph.constant(np.array(1)), steps + 1)
    apart = (last - first) / steps.larger(1).to(np.float64)
    middle = (size.insert(1) - sides) / 2
    sums = (counts.take(0) * counts.take(1)).running()
    number = graph.range(sums.take(len(shapes) - 1))
    shape = (number.insert(1) >= sums.insert(0)).to(np.int64).over("ReduceSum", 1)
    before = sums - counts.take(0) * counts.take(1)
    beside = counts.take(1).take(shape)
    within = number - before.take(shape)
    row = within // beside
    starts = []
    for axis, place in enumerate((row, within - row * beside)):
        begin, end, distance, single, centre, count = (
            each.take(axis).take(shape) for each in (first, last, apart, alone, middle, counts)
        )
        placed = graph.where(place.equals(count - 1), end, place.to(np.float64) * distance + begin)
        starts.append(graph.where(single, centre, placed))
    (top, left), (tall, wide) = starts, (sides.take(axis).take(shape) for axis in range(2))
    return clip_boxes(graph.stack(left, top, left + wide, top + tall, axis=1), size)


def clip_boxes(boxes: Value, size: Value) -> Value:
    """Cut off what hangs out of an image of ``size`` (2,) float64."""
    return boxes.larger(0.0).smaller(size.take([1, 0, 1, 0]))


def apply_deltas(regions: Value, deltas: Value) -> Value:
    """Move regions (N, 4) by deltas (N, 4): ``geometry.apply_deltas``."""
    graph = regions.graph
    first, end = regions.part(0, 2, 1), regions.part(2, 4, 1)
    sides, centres = end - first, (first + end) / 2
    moved = centres + deltas.part(0, 2, 1) * sides
    growth = deltas.part(2, 4, 1).larger(-MAX_LOG_RATIO).smaller(MAX_LOG_RATIO)
    half = sides * graph.op("Exp", growth) / 2
    return graph.join(moved - half, moved + half, axis=1)


def inside(boxes: Value, size: Value) -> Value:
    """Clip boxes to the image and keep each at least a pixel wide and high."""
    left, top, right, bottom = boxes.columns()
    height, width = size.take(0), size.take(1)
    left, top = left.larger(0.0).smaller(width - 1), top.larger(0.0).smaller(height - 1)
    right = right.larger(0.0).smaller(width).larger(left + 1)
    return boxes.graph.stack(left, top, right, bottom.larger(0.0).smaller(height).larger(top + 1), axis=1)


def overlaps(one: Value, others: Value) -> Value:
    """(M, 4) and (M, N, 4) -> (M, N) intersection over union; 0 where both are empty: ``geometry.iou``."""
    graph = one.graph
    first = one.insert(1)
    shared = first.part(2, 4, 2).smaller(others.part(2, 4, 2)) - first.part(0, 2, 2).larger(others.part(0, 2, 2))
    together = shared.larger(0.0).over("ReduceProd", 2)
    areas = [(boxes.part(2, 4, 2) - boxes.part(0, 2, 2)).over("ReduceProd", 2) for boxes in (first, others)]
    union = areas[0] + areas[1] - together
    some = union > 0.0
    ratio = together / graph.where(some, union, graph.constant(np.array(1.0)))
    return graph.where(some, ratio, graph.constant(np.array(0.0)))


def vote(kept: Value, boxes: Value, scores: Value, own: Value, threshold: float) -> Value:
    """Place kept boxes by those that overlap them: ``geometry.vote``.

    Args:
        kept: (M, 4). boxes: (M, N, 4) the boxes of each one's class. scores: (M, N) of them, minus infinity for none.
        own: (M, N) bool, which of them it is.
        threshold: IoU from which a box has a vote.
    """
    graph = kept.graph
    voters = graph.op("Or", overlaps(kept, boxes) >= threshold, own)
    logarithms = graph.where(voters, scores * VOTE_SHARPNESS, graph.constant(np.array(-np.inf)))
    weights = graph.op("Exp", logarithms - logarithms.over("ReduceMax", 1, keep=True))
    total = (weights.insert(2) * boxes).over("ReduceSum", 1)
    return total / weights.over("ReduceSum", 1, keep=True)


def rivals(boxes: Value, scores: Value, same: Sequence[Value], others: Sequence[Value]) -> Value:
    """Tell what speaks against each box beside its score, (M, 2) float64: ``geometry.rivals``.

    Args:
        boxes: (M, 4). scores: (M,) float32.
        same: boxes (M, N, 4) and scores (M, N) of each one's class, minus infinity for none.
        others: boxes (1, T, 4) of all classes, and scores (M, T), minus infinity for those of each one's own.
    """
    graph, own = boxes.graph, scores.insert(1)
    nothing = graph.constant(np.array(0.0))
    around = overlaps(boxes, same[0]) / RIVAL_IOU
    near = graph.where(same[1] > own, around * around * around, nothing).over("ReduceSum", 1)
    on = overlaps(boxes, others[0])
    against = on * on * (others[1].to(np.float64) + 1.0).larger(0.0)
    worst = graph.where(others[1] > own, against, nothing)
    without = graph.join(own.to(np.float64) * 0.0, worst, axis=1)  # nothing found has no largest
    return graph.stack(near, without.over("ReduceMax", 1), axis=1)


def _floor(numbers: Value) -> Value:
    return numbers.graph.op("Floor", numbers)


def _ceil(numbers: Value) -> Value:
    return numbers.graph.op("Ceil", numbers)
