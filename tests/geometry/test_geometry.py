"""Coordinate rules against literal brute force, torchvision, fractions and the authors' released windows."""

import re
from fractions import Fraction
from math import ceil, floor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from torchvision.ops import box_iou

from sppnet.errors import ArgumentError, BoxError, ShapeError
from sppnet.geometry import (
    AxisGrid,
    Boxes,
    CellGrid,
    Layer,
    Size,
    WindowRule,
    apply_deltas,
    area,
    axis_grid,
    best_iou,
    bin_edges,
    box_deltas,
    check_boxes,
    clip_boxes,
    flip_boxes,
    iou,
    nearest_scale,
    nms,
    regions_of_windows,
    scale_boxes,
    shorter_side_size,
    windows_from_regions,
)

GOLDEN = np.load(Path(__file__).parents[1] / "ops" / "authors_pooling.npz")
NETS = ["zf5", "overfeat"]
SCALES = (480, 576, 688, 864, 1200)

Whole = NDArray[np.int64]


def quarters(low: int, high: int) -> SearchStrategy[float]:
    """Multiples of a quarter, on which the sums and products of these tests are exact."""
    return st.integers(4 * low, 4 * high).map(lambda value: value / 4)


@st.composite
def boxes(draw: DrawFn, least: int = 1, most: int = 8, side: int = 60) -> Boxes:
    rows = draw(
        st.lists(st.tuples(*[quarters(-side, side)] * 2, *[quarters(1, side)] * 2), min_size=least, max_size=most)
    )
    corners = np.array(rows, dtype=np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return corners


# Boxes


@given(boxes(), boxes())
def test_iou_is_symmetric_and_a_share(first: Boxes, second: Boxes) -> None:
    shares = iou(first, second)
    assert shares.shape == (len(first), len(second))
    assert_array_equal(shares, iou(second, first).T)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert_array_equal(np.diagonal(iou(first, first)), 1)


@given(boxes(), boxes(), quarters(-1000, 1000), quarters(-1000, 1000))
def test_iou_stays_when_both_boxes_move(first: Boxes, second: Boxes, across: float, down: float) -> None:
    move = np.array([across, down, across, down])
    assert_array_equal(iou(first + move, second + move), iou(first, second))


@settings(deadline=None)
@given(boxes(), boxes())
def test_iou_is_torchvisions(first: Boxes, second: Boxes) -> None:
    expected = box_iou(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    assert_allclose(iou(first, second), expected, rtol=1e-12)


def test_iou_by_hand() -> None:
    first = np.array([[0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 1.0, 1.0]])
    second = np.array([[2.0, 0.0, 6.0, 4.0], [4.0, 0.0, 8.0, 4.0], [1.0, 1.0, 1.0, 1.0]])
    assert_array_equal(iou(first, second), [[1 / 3, 0, 0], [0, 0, 0]])


@given(boxes(), boxes())
def test_iou_some_at_a_time_is_that_of_all(first: Boxes, second: Boxes) -> None:
    whole = iou(first, second)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sppnet.geometry.boxes.PAIRS", 3)
        assert_array_equal(iou(first, second), whole)
        assert_array_equal(best_iou(first, second), whole.max(axis=1, initial=0.0))


@given(boxes())
def test_area_counts_pixels(found: Boxes) -> None:
    assert area(np.array([[3.0, 5.0, 7.0, 15.0]])).tolist() == [40]
    assert (area(found) > 0).all()


BAD_ROWS = {
    "inverted across": [5.0, 2.0, 3.0, 8.0],
    "inverted down": [3.0, 8.0, 5.0, 2.0],
    "no width": [4.0, 2.0, 4.0, 8.0],
    "no height": [2.0, 4.0, 8.0, 4.0],
    "left of the image": [-9.0, 2.0, 0.0, 8.0],
    "right of the image": [30.0, 2.0, 40.0, 8.0],
    "above the image": [2.0, -9.0, 8.0, 0.0],
    "below the image": [2.0, 20.0, 8.0, 25.0],
} | {f"NaN in column {column}": [np.nan if column == i else 2.0 + i for i in range(4)] for column in range(4)}


@pytest.mark.parametrize("bad", BAD_ROWS.values(), ids=BAD_ROWS.keys())
@pytest.mark.parametrize("row", [0, 2])
def test_check_boxes_names_the_first_bad_row(bad: list[float], row: int) -> None:
    rows = [[1.0, 1.0, 9.0, 9.0]] * 5
    rows[row] = rows[4] = bad
    with pytest.raises(BoxError) as caught:
        check_boxes("score", rows, (20, 30))
    assert caught.value.row == row
    assert str(caught.value) == (
        f"score: regions[{row}] must be a box that holds some of the image of 20 x 30 pixels (height x width), "
        f"got {bad}. Give left < right and top < bottom inside the image."
    )


@pytest.mark.parametrize(
    ("given_boxes", "shape"), [([1.0, 2.0, 3.0, 4.0], (4,)), ([[1.0] * 5], (1, 5)), ([[[1.0] * 4]], (1, 1, 4))]
)
def test_check_boxes_wants_four_columns(given_boxes: list[float], shape: Size) -> None:
    expected = f"score: regions must be (R, 4), got {shape}. Give left, top, right, bottom a region."
    with pytest.raises(ShapeError, match=re.escape(expected)):
        check_boxes("score", given_boxes, (20, 30))


@pytest.mark.parametrize("nothing", [[], (), np.zeros((0, 4), np.float32)])
def test_check_boxes_takes_an_empty_list(nothing: list[float]) -> None:
    checked = check_boxes("score", nothing, (20, 30))
    assert checked.shape == (0, 4)
    assert checked.dtype == np.float64


def test_check_boxes_clips_a_copy() -> None:
    given_boxes = np.array([[-5.0, -1.0, 99.0, 99.0], [0.5, 1.5, 2.5, 3.5], [29.0, 19.0, np.inf, 20.0]])
    before = given_boxes.copy()
    checked = check_boxes("score", given_boxes, (20, 30))
    assert_array_equal(checked, [[0, 0, 30, 20], [0.5, 1.5, 2.5, 3.5], [29, 19, 30, 20]])
    assert_array_equal(given_boxes, before)
    assert check_boxes("score", [[1, 2, 3, 4]], (20, 30)).dtype == np.float64


@given(boxes(), st.tuples(st.integers(1, 50), st.integers(1, 50)))
def test_clipped_boxes_stay_inside_and_are_clipped_once(found: Boxes, size: Size) -> None:
    clipped = clip_boxes(found, size)
    assert (clipped >= 0).all()
    assert (clipped <= [size[1], size[0]] * 2).all()
    assert_array_equal(clip_boxes(clipped, size), clipped)


def test_clipping_keeps_nan() -> None:
    assert np.isnan(clip_boxes(np.full((1, 4), np.nan), (20, 30))).all()


@given(boxes(), st.integers(1, 100))
def test_a_box_flipped_twice_is_the_box(found: Boxes, width: int) -> None:
    flipped = flip_boxes(found, width)
    assert_array_equal(flip_boxes(flipped, width), found)
    assert_array_equal(area(flipped), area(found))


def test_a_flipped_box_holds_the_flipped_pixels() -> None:
    pixels = np.arange(70).reshape(7, 10)
    left, top, right, bottom = flip_boxes(np.array([[1.0, 2.0, 4.0, 6.0]]), 10)[0].astype(int)
    assert_array_equal(pixels[:, ::-1][top:bottom, left:right], pixels[2:6, 1:4][:, ::-1])


SIDES = st.tuples(st.integers(1, 5000), st.integers(1, 5000))


@given(boxes(), SIDES, SIDES)
def test_boxes_scaled_there_and_back_are_the_boxes(
    found: Boxes, size: tuple[int, int], scaled: tuple[int, int]
) -> None:
    back = scale_boxes(scale_boxes(found, size, scaled), scaled, size)
    assert_allclose(back, found, rtol=1e-14, atol=0)


@given(SIDES, SIDES)
def test_the_edge_of_an_image_is_scaled_to_the_edge(size: tuple[int, int], scaled: tuple[int, int]) -> None:
    whole, whole_scaled = (np.array([[0.0, 0.0, width, height]]) for height, width in (size, scaled))
    assert_array_equal(scale_boxes(whole, size, scaled), whole_scaled)


def test_scale_boxes_takes_rows_before_columns() -> None:
    assert_array_equal(scale_boxes(np.array([[1.0, 2.0, 3.0, 4.0]]), (1, 1), (10, 100)), [[100, 20, 300, 40]])


# Scales


@given(st.tuples(st.integers(1, 10_000), st.integers(1, 10_000)), st.integers(1, 2000))
def test_the_shorter_side_is_exact_and_the_aspect_kept_to_half_a_pixel(size: Size, short_side: int) -> None:
    scaled = shorter_side_size(size, short_side)
    assert min(scaled) == short_side
    for side, result in zip(size, scaled, strict=True):
        assert abs(Fraction(side * short_side, min(size)) - result) <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((1, 10_000), 224, (224, 2_240_000)),
        ((10_000, 1), 1, (10_000, 1)),
        ((375, 500), 688, (688, 917)),
        ((500, 375), 688, (917, 688)),
        ((2, 3), 1, (1, 2)),  # 1.5 rounds up
        ((2, 5), 1, (1, 3)),  # 2.5 too: half up, not to even
        ((640, 640), 224, (224, 224)),
    ],
)
def test_shorter_side_size_by_hand(size: Size, short_side: int, expected: Size) -> None:
    assert shorter_side_size(size, short_side) == expected


def squares(*sides: float) -> Boxes:
    return np.array([[10.0, 20.0, 10.0 + side, 20.0 + side] for side in sides])


@pytest.mark.parametrize(
    ("side", "scales", "expected"),
    [
        (224, (50, 100, 200), 1),  # already the view
        (112, (50, 100, 200), 2),
        (448, (50, 100, 200), 0),
        (1, (50, 100, 200), 2),  # ever larger is ever nearer
        (9999, (50, 100, 200), 0),
    ],
)
def test_the_papers_scale_by_hand(side: float, scales: tuple[int, ...], expected: int) -> None:
    found = nearest_scale(squares(side), (100, 300), scales)
    assert found.tolist() == [expected]
    assert found.dtype == np.int64


def test_the_papers_scale_counts_pixels_and_not_sides() -> None:
    # Regions of 100 and 300 pixels a side for views of 210: 300 is nearer in sides, 100 in pixels.
    assert nearest_scale(squares(100), (100, 100), (100, 300), view_side=210).tolist() == [0]


def test_of_two_scales_as_near_the_papers_rule_takes_the_first() -> None:
    # 1 x 1 and 7 x 7 pixels are both 24 from 5 x 5.
    assert nearest_scale(squares(1), (10, 10), (10, 70), view_side=5).tolist() == [0]
    assert nearest_scale(squares(1), (10, 10), (70, 10), view_side=5).tolist() == [0]


@pytest.mark.parametrize(
    ("side", "view_side", "scales", "expected"),
    [
        (208, 208, (100, 200), 0),  # expected scale 100
        (104, 208, (100, 200), 1),  # 200
        (139, 208, (100, 200), 0),  # 149.6 rounds to 150, as near to both: the first
        (139, 208, (200, 100), 0),
        (138, 208, (100, 200), 1),  # 150.7 rounds to 151
        (144, 216, (100, 200), 0),  # exactly 150
    ],
)
def test_the_released_scale_by_hand(side: float, view_side: float, scales: tuple[int, ...], expected: int) -> None:
    found = nearest_scale(squares(side), (300, 100), scales, rule="released", view_side=view_side)
    assert found.tolist() == [expected]


def test_the_released_scale_rounds_halves_up_as_matlab_does() -> None:
    # 208 * 1057 / 416 = 528.5 is 529 in MATLAB, nearer 576; rounding to even would make it a tie at 528.
    found = nearest_scale(squares(416), (1057, 1057), (480, 576), rule="released", view_side=208)
    assert found.tolist() == [1]


@pytest.mark.parametrize("rule", ["paper", "released"])
@given(sides=st.lists(st.integers(1, 500), min_size=1, max_size=9), size=st.tuples(*[st.integers(50, 900)] * 2))
def test_many_regions_are_each_given_what_they_get_alone(rule: WindowRule, sides: list[int], size: Size) -> None:
    together = nearest_scale(squares(*sides), size, SCALES, rule=rule)
    alone = [nearest_scale(squares(side), size, SCALES, rule=rule).item() for side in sides]
    assert together.tolist() == alone
    assert nearest_scale(np.zeros((0, 4)), size, SCALES, rule=rule).shape == (0,)


# Where cells lie


def zf5(*pads: int) -> list[Layer]:
    shapes = [(7, 2), (3, 2), (5, 2), (3, 2), (3, 1), (3, 1), (3, 1)]
    return [Layer(kernel, stride, pad) for (kernel, stride), pad in zip(shapes, pads, strict=True)]


def overfeat(*pads: int) -> list[Layer]:
    shapes = [(7, 2), (3, 3), (5, 1), (2, 2), (3, 1), (3, 1), (3, 1)]
    return [Layer(kernel, stride, pad) for (kernel, stride), pad in zip(shapes, pads, strict=True)]


def test_the_released_offsets_follow_from_the_layers() -> None:
    assert axis_grid(zf5(1, 0, 0, 0, 1, 1, 1)) == AxisGrid(16, 21 - 1)
    assert axis_grid(overfeat(0, 0, 1, 0, 1, 1, 1)) == AxisGrid(12, 15 - 1)
    for net in NETS:
        stride, offset, _ = GOLDEN[f"{net}_stride_offset0_offset"]
        assert (stride, offset) == {"zf5": (16, 21), "overfeat": (12, 15)}[net]


def test_padding_by_half_the_kernel_gives_the_papers_offset() -> None:
    assert axis_grid(zf5(3, 1, 2, 1, 1, 1, 1)) == AxisGrid(16, 0)
    # Overfeat's 2 x 2 pooling is even, and half a cell of six pixels goes too far.
    assert axis_grid(overfeat(3, 1, 2, 1, 1, 1, 1)) == AxisGrid(12, -3)


layer_lists = st.lists(st.builds(Layer, st.integers(1, 11), st.integers(1, 4), st.integers(0, 6)), max_size=6)


@given(layer_lists, st.integers(-20, 20))
def test_a_cell_lies_in_the_middle_of_the_pixels_that_it_sees(layers: list[Layer], cell: int) -> None:
    first = last = cell
    for layer in reversed(layers):
        first, last = (end * layer.stride - layer.pad_before for end in (first, last))
        last += layer.kernel - 1
    grid = axis_grid(layers)
    assert grid.offset + grid.stride * cell == (first + last) / 2


# Regions to windows


def one_grid(stride: float, offset: float) -> CellGrid:
    return CellGrid(AxisGrid(stride, offset), AxisGrid(stride, offset))


grids = st.builds(CellGrid, *[st.builds(AxisGrid, st.integers(1, 40), quarters(-30, 30))] * 2)
map_sizes = st.tuples(st.integers(1, 20), st.integers(1, 20))


def strictly_inside(start: float, end: float, axis: AxisGrid, cells: int) -> tuple[int, int]:
    """The paper's rule, literally: look at every cell, also those past the border of the map, then cut."""
    every = range(-300, 300)
    inside = [i for i in every if start < axis.offset + axis.stride * i < end - 1]
    if not inside:
        middle = (start + end - 1) / 2
        distance = {i: abs(axis.offset + axis.stride * i - middle) for i in every}
        nearest = min(distance.values())
        inside = [max(i for i in every if distance[i] == nearest)]
    first, last = (min(max(i, 0), cells - 1) for i in (inside[0], inside[-1]))
    return first, last + 1


@settings(max_examples=60, deadline=None)
@given(boxes(most=3, side=100), grids, map_sizes)
def test_the_papers_window_holds_the_cells_with_centres_strictly_inside(
    regions: Boxes, grid: CellGrid, map_size: Size
) -> None:
    windows = windows_from_regions(regions, grid, map_size)
    assert windows.dtype == np.int64
    for (left, top, right, bottom), window in zip(regions, windows, strict=True):
        first, last = strictly_inside(left, right, grid.across, map_size[1])
        above, below = strictly_inside(top, bottom, grid.down, map_size[0])
        assert window.tolist() == [first, above, last, below]


@pytest.mark.parametrize("rule", ["paper", "released"])
@given(regions=boxes(least=0, side=500), grid=grids, map_size=map_sizes)
def test_windows_are_inside_the_map_and_hold_a_cell(
    rule: WindowRule, regions: Boxes, grid: CellGrid, map_size: Size
) -> None:
    left, top, right, bottom = windows_from_regions(regions, grid, map_size, rule=rule).T
    assert ((left >= 0) & (left < right) & (right <= map_size[1])).all()
    assert ((top >= 0) & (top < bottom) & (bottom <= map_size[0])).all()


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        (0, 224, 1, 13),  # centres at 16 .. 208: the one at 0 is on the first pixel, the one at 224 past the last
        (-1, 226, 0, 14),
        (15, 34, 1, 2),  # strictly between 15 and 33: 16 and 32
        (16, 33, 2, 2),  # neither 16 nor 32 is strictly inside; the middle, 24, is as near to both: the second
        (17, 25, 1, 1),  # crossed: the middle, 20.5, is nearest 16
        (18, 33, 2, 2),  # 25: nearest 32
        (-100, -50, 0, 0),  # wholly before the map
        (900, 999, 14, 14),  # wholly past it
        (-100, 999, 0, 14),
        (-60, -59, 0, 0),  # crossed and before
    ],
)
def test_crossed_and_hanging_regions_by_hand_in_the_paper_rule(start: int, end: int, first: int, last: int) -> None:
    region = np.array([[start, start, end, end]], dtype=np.float64)
    window = windows_from_regions(region, one_grid(16, 0), (15, 15))[0]
    assert window.tolist() == [first, first, last + 1, last + 1]


def test_each_axis_has_its_own_grid_and_its_own_border() -> None:
    grid = CellGrid(down=AxisGrid(10, 5), across=AxisGrid(20, 0))
    region = np.array([[10.0, 10.0, 92.0, 92.0]])  # centres across 20 .. 80, down 15 .. 85
    assert windows_from_regions(region, grid, (50, 50)).tolist() == [[1, 1, 5, 9]]
    assert windows_from_regions(region, grid, (6, 3)).tolist() == [[1, 1, 3, 6]]


def golden_regions(net: str) -> Boxes:
    """The authors' boxes, 1-based with both ends, as regions."""
    regions: Boxes = GOLDEN[f"{net}_boxes"] - np.array([1.0, 1.0, 0.0, 0.0])
    return regions


@pytest.mark.parametrize("net", NETS)
def test_the_released_rule_gives_the_authors_windows(net: str) -> None:
    stride, offset, shrink = GOLDEN[f"{net}_stride_offset0_offset"]
    assert shrink == 6.5
    grid, map_size = one_grid(stride, offset - 1), GOLDEN[f"{net}_map_chw"].shape[1:]
    expected = GOLDEN[f"{net}_windows_end_exclusive"]
    assert_array_equal(windows_from_regions(golden_regions(net), grid, map_size, rule="released"), expected)
    assert (windows_from_regions(golden_regions(net), grid, map_size) != expected).any()


def authors_ends(start: int, end: int, stride: int, offset0: int) -> tuple[int, int]:
    """The authors' lines with 1-based pixels and cells, both ends counted."""
    first = floor(Fraction(2 * (start - offset0) + 13, 2 * stride) + Fraction(1, 2)) + 1
    last = ceil(Fraction(2 * (end - offset0) - 13, 2 * stride) - Fraction(1, 2)) + 1
    return (first, last) if first <= last else (int((first + last) / 2),) * 2


@given(st.integers(-99, 400), st.integers(1, 300), st.sampled_from([(16, 21), (12, 15)]), st.integers(1, 20))
def test_the_released_rule_is_the_authors_line_by_line(
    start: int, length: int, net: tuple[int, int], cells: int
) -> None:
    stride, offset0 = net
    region = np.array([[start - 1, start - 1, start + length - 1, start + length - 1]], dtype=np.float64)
    window = windows_from_regions(region, one_grid(stride, offset0 - 1), (cells, cells), rule="released")[0]
    first, last = (min(max(i, 1), cells) for i in authors_ends(start, start + length - 1, stride, offset0))
    assert window.tolist() == [first - 1, first - 1, last, last]


def test_an_unknown_window_rule_is_named() -> None:
    expected = "windows_from_regions: rule must be paper or released, got 'v1'. Name one of these."
    with pytest.raises(ArgumentError, match=re.escape(expected)):
        windows_from_regions(squares(9), one_grid(16, 0), (9, 9), rule="v1")  # type: ignore[arg-type]


def test_an_unknown_scale_rule_is_named() -> None:
    expected = "nearest_scale: rule must be paper or released, got 'v1'. Name one of these."
    with pytest.raises(ArgumentError, match=re.escape(expected)):
        nearest_scale(squares(9), (9, 9), SCALES, rule="v1")  # type: ignore[arg-type]


@st.composite
def windows_in(draw: DrawFn, map_size: Size) -> list[int]:
    left, top = draw(st.integers(0, map_size[1] - 1)), draw(st.integers(0, map_size[0] - 1))
    return [left, top, draw(st.integers(left + 1, map_size[1])), draw(st.integers(top + 1, map_size[0]))]


@given(grids, map_sizes.flatmap(lambda size: st.tuples(st.just(size), st.lists(windows_in(size), min_size=1))))
def test_the_region_of_a_window_has_that_window(grid: CellGrid, case: tuple[Size, list[list[int]]]) -> None:
    map_size, windows = case[0], np.array(case[1], dtype=np.int64)
    assert_array_equal(windows_from_regions(regions_of_windows(windows, grid), grid, map_size), windows)


@given(grids, st.integers(1, 9))
def test_the_region_of_a_window_is_the_middle_one(grid: CellGrid, cells: int) -> None:
    window = np.array([[3, 3, 3 + cells, 3 + cells]], dtype=np.int64)
    region = regions_of_windows(window, grid)
    half = np.array([grid.across.stride, grid.down.stride]) / 2
    outer, inner = np.concatenate([-half, half]), np.concatenate([half, -half])
    assert_array_equal(windows_from_regions(region + outer, grid, (99, 99)), window)
    assert_array_equal(windows_from_regions(region + 0.99 * inner, grid, (99, 99)), window)
    wider = np.array([[2, 2, 4 + cells, 4 + cells]])
    assert_array_equal(windows_from_regions(region + 1.01 * outer, grid, (99, 99)), wider)


@given(grids, st.integers(2, 9))
def test_the_released_rules_region_of_a_window_is_its_middle_one(grid: CellGrid, cells: int) -> None:
    window = np.array([[3, 3, 3 + cells, 3 + cells]], dtype=np.int64)
    region = regions_of_windows(window, grid, rule="released")
    half = np.array([grid.across.stride, grid.down.stride]) / 2
    outer, inner = np.concatenate([-half, half]), np.concatenate([half, -half])
    for share in (0.99 * outer, 0.99 * inner, 0.0):
        assert_array_equal(windows_from_regions(region + share, grid, (99, 99), rule="released"), window)
    wider = np.array([[2, 2, 4 + cells, 4 + cells]])
    assert_array_equal(windows_from_regions(region + 1.01 * outer, grid, (99, 99), rule="released"), wider)
    with pytest.raises(ArgumentError, match=r"regions_of_windows: rule must be paper or released, got 'mine'\."):
        regions_of_windows(window, grid, rule="mine")  # type: ignore[arg-type]


# Bins


@pytest.mark.parametrize("level", range(1, 9))
def test_bin_edges_are_the_papers_fractions(level: int) -> None:
    lengths = np.arange(1, 201)
    starts, ends = bin_edges(lengths, level)
    assert starts.dtype == ends.dtype == np.int64
    share = [[Fraction(i * length, level) for i in range(level + 1)] for length in lengths.tolist()]
    assert starts.tolist() == [[floor(edge) for edge in row[:-1]] for row in share]
    assert ends.tolist() == [[ceil(edge) for edge in row[1:]] for row in share]


@pytest.mark.parametrize("level", range(1, 9))
def test_bins_cover_every_cell_and_none_is_empty(level: int) -> None:
    lengths = np.arange(1, 201)
    starts, ends = bin_edges(lengths, level)
    assert (starts < ends).all()
    assert (starts[:, 1:] <= ends[:, :-1]).all()
    assert (starts[:, 0] == 0).all()
    assert (ends[:, -1] == lengths).all()
    divides = lengths % level == 0
    assert_array_equal(starts[divides, 1:], ends[divides, :-1])


@pytest.mark.parametrize("length", [2**31 - 1, 2**31 + 5, 2**53 + 1, 2**59 + 7])
def test_bin_edges_of_giant_lengths_are_exact(length: int) -> None:
    for level in range(1, 9):
        starts, ends = bin_edges(length, level)
        assert starts.shape == ends.shape == (level,)
        assert starts.tolist() == [i * length // level for i in range(level)]
        assert ends.tolist() == [-(-(i + 1) * length // level) for i in range(level)]


def test_bin_edges_widen_small_whole_numbers() -> None:
    starts, ends = bin_edges(np.array([100], dtype=np.int8), 8)
    assert starts.tolist() == [[0, 12, 25, 37, 50, 62, 75, 87]]
    assert ends.tolist() == [[13, 25, 38, 50, 63, 75, 88, 100]]


# Box regression


def test_box_deltas_by_hand() -> None:
    region, target = np.array([[0.0, 0.0, 10.0, 20.0]]), np.array([[5.0, 0.0, 25.0, 20.0]])
    assert_allclose(box_deltas(region, target), [[1.0, 0.0, np.log(2), 0.0]], atol=1e-15)


@given(boxes(least=4, most=4), boxes(least=4, most=4))
def test_deltas_applied_are_the_targets(regions: Boxes, targets: Boxes) -> None:
    assert_allclose(apply_deltas(regions, box_deltas(regions, targets)), targets, rtol=1e-10, atol=1e-10)
    assert_allclose(box_deltas(regions, apply_deltas(regions, np.full((4, 4), 0.25))), 0.25, rtol=1e-10)


def test_deltas_do_not_grow_a_side_without_end() -> None:
    region = np.array([[0.0, 0.0, 16.0, 32.0]])
    left, top, right, bottom = apply_deltas(region, np.array([[0.0, 0.0, 50.0, -50.0]]))[0]
    assert_allclose([right - left, bottom - top], [1000, 32 / 62.5])
    assert_allclose([left + right, top + bottom], [16, 32])


# Suppression


def kept_one_by_one(found: Boxes, scores: list[float], threshold: float) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda row: -scores[row]):
        if all(iou(found[[index]], found[[other]]).item() <= threshold for other in kept):
            kept.append(index)
    return kept


@settings(deadline=None)
@given(
    boxes(least=0, most=15, side=12).flatmap(
        lambda found: st.tuples(
            st.just(found), st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=len(found), max_size=len(found))
        )
    ),
    st.sampled_from([0.0, 0.25, 0.3, 0.5, 1.0]),
)
def test_nms_keeps_what_a_plain_loop_keeps(case: tuple[Boxes, list[float]], threshold: float) -> None:
    found, scores = case
    kept = nms(found, np.array(scores), threshold)
    assert kept.tolist() == kept_one_by_one(found, scores, threshold)
    assert kept.dtype == np.int64


def test_of_equal_scores_the_first_box_comes_first() -> None:
    apart = np.array([[10.0 * i, 0.0, 10.0 * i + 5, 5.0] for i in range(500)])
    assert nms(apart, np.zeros(500), 0.3).tolist() == list(range(500))
    scores = np.arange(500) % 2
    assert nms(apart, scores.astype(np.float32), 0.3).tolist() == [*range(1, 500, 2), *range(0, 500, 2)]
    assert nms(np.repeat(apart[:1], 500, axis=0), np.zeros(500), 0.3).tolist() == [0]


def test_nms_drops_only_above_the_threshold() -> None:
    halves = np.array([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 2.0]])  # IoU exactly 0.5
    assert nms(halves, np.array([1.0, 2.0]), 0.5).tolist() == [1, 0]
    assert nms(halves, np.array([1.0, 2.0]), 0.49).tolist() == [1]
