"""Regions that miss nothing, lie inside the image, and come in the same order each time."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage import data

from sppnet.detection.detections import Detections
from sppnet.detection.output import ImageDetections, write_detections
from sppnet.errors import ArgumentError, DataError, MissingExtraError, ShapeError
from sppnet.features.scene import Scene
from sppnet.geometry import Boxes, area, iou
from sppnet.proposals.files import FileProposals, read_regions
from sppnet.proposals.grid import ASPECT_STEP, SIZE_STEP, GridProposals, fitting_shapes
from sppnet.proposals.kinds import proposals_from_description
from sppnet.proposals.opencv import EdgeBoxes, SelectiveSearch, edge_map
from sppnet.proposals.protocol import covered

Size = tuple[int, int]

SHORT_SIDE = 100
SIDES = st.floats(0.1 * SHORT_SIDE, 2 * SHORT_SIDE)
SHAPES = st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=2).map(tuple)
SHARES = st.floats(0, 1)
HEADER = "image,left,top,right,bottom\n"


@st.composite
def _sizes(draw: st.DrawFn) -> Size:
    short, aspect = draw(st.integers(1, 400)), draw(st.floats(1, 5))
    return draw(st.sampled_from([(short, round(short * aspect)), (round(short * aspect), short)]))


def _image(size: Size) -> NDArray[np.uint8]:
    return np.zeros((*size, 3), dtype=np.uint8)


def _scene(image: NDArray[np.uint8], name: str = "") -> Scene:
    no_network: Any = None  # these methods look at pixels, size and name alone
    return Scene(image, no_network, name=name)


def _assert_inside(boxes: Boxes, size: Size) -> None:
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= [size[1], size[0]]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


# The grid


@settings(max_examples=400, deadline=None)
@given(
    shapes=SHAPES,
    size=_sizes(),
    steps=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    place=st.tuples(SHARES, SHARES),
)
def test_the_grid_misses_no_box_within_half_a_step_of_a_shape(
    shapes: tuple[tuple[float, float], ...],
    size: Size,
    steps: tuple[float, float],
    place: tuple[float, float],
) -> None:
    grow, stretch = SIZE_STEP ** steps[0], ASPECT_STEP ** (steps[1] / 2)
    factor = min(size) / SHORT_SIDE
    tall, wide = shapes[-1][0] * factor * grow * stretch, shapes[-1][1] * factor * grow / stretch
    assume(tall <= size[0] and wide <= size[1])
    top, left = place[0] * (size[0] - tall), place[1] * (size[1] - wide)
    truth = np.array([[left, top, left + wide, top + tall]])
    assert covered(GridProposals(shapes, SHORT_SIDE).of_size(size), truth, threshold=0.5).all()


@settings(max_examples=100, deadline=None)
@given(size=_sizes(), sides=st.tuples(SHARES, SHARES), place=st.tuples(SHARES, SHARES))
def test_the_grid_of_fitting_shapes_reaches_the_box_that_they_were_chosen_for(
    size: Size, sides: tuple[float, float], place: tuple[float, float]
) -> None:
    lengths = np.maximum(0.05, sides) * size
    top, left = place * (size - lengths)
    truth = np.array([[left, top, left + lengths[1], top + lengths[0]]])
    grid = GridProposals(fitting_shapes(truth, np.array([0])), min(size))
    assert covered(grid.of_size(size), truth, threshold=0.5).all()


@settings(max_examples=200, deadline=None)
@given(shapes=SHAPES, size=_sizes())
def test_regions_of_the_grid_lie_inside_the_image(shapes: tuple[tuple[float, float], ...], size: Size) -> None:
    grid = GridProposals(shapes, SHORT_SIDE)
    regions = grid.of_size(size)
    assert (regions.dtype, regions.shape[1]) == (np.float64, 4)
    _assert_inside(regions, size)
    np.testing.assert_array_equal(grid.regions(_scene(_image(size))), regions)


def test_regions_come_shape_by_shape_and_row_by_row() -> None:
    both = GridProposals(((10, 10), (10, 20)), short_side=10, step=0.5)
    regions = both.of_size((10, 20))
    rows = [(0, 7), (0, 10), (3, 10)]
    columns = [(0, 7), (1, 11), (5, 15), (9, 19), (13, 20)]
    first = [[left, top, right, bottom] for top, bottom in rows for left, right in columns]
    np.testing.assert_allclose(regions[:15], first, rtol=0, atol=1e-12)
    second = GridProposals(((10, 20),), short_side=10, step=0.5).of_size((10, 20))
    np.testing.assert_array_equal(regions[15:], second)


def test_regions_grow_with_the_image() -> None:
    grid = GridProposals(((40, 30), (90, 20)), short_side=100)
    np.testing.assert_allclose(grid.of_size((300, 420)), 3 * grid.of_size((100, 140)), rtol=1e-12)


def test_a_finer_step_gives_more_regions() -> None:
    coarse, fine = (len(GridProposals(((40, 40),), 100, step).of_size((100, 100))) for step in (0.5, 0.125))
    assert (coarse, fine) == (6**2, 18**2)  # 84 pixels in steps of at most 20 and 5


def test_a_region_larger_than_the_image_becomes_the_image() -> None:
    regions = GridProposals(((1000, 1000),), short_side=100).of_size((100, 130))
    np.testing.assert_array_equal(regions, [[0, 0, 130, 100]])


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_the_smallest_images_have_regions(size: Size) -> None:
    regions = GridProposals(((100, 100), (20, 60)), short_side=100).of_size(size)
    assert len(regions) > 0
    _assert_inside(regions, size)


def test_no_shapes_give_no_regions() -> None:
    assert GridProposals((), short_side=100).of_size((50, 60)).shape == (0, 4)


# Shapes


def _box(tall: float, wide: float) -> list[float]:
    return [5, 7, 5 + wide, 7 + tall]


def test_a_large_grid_comes_in_parts_of_some_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = GridProposals(((40, 40), (20, 30), (60, 20), (9, 9)), short_side=100)
    whole = grid.of_size((150, 200))
    monkeypatch.setattr("sppnet.proposals.grid.CHUNK", 500)
    parts = list(grid.chunks((150, 200)))
    assert [len(part) >= 500 for part in parts] == [True, True]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert grid.count((150, 200)) == len(whole)


def test_shapes_are_rounded_to_the_two_ladders() -> None:
    boxes = np.array([_box(100, 100), _box(104, 98), _box(20, 90), _box(200, 50)])
    for (tall, wide), box in zip(fitting_shapes(boxes[2:], np.zeros(2)), [(20, 90), (200, 50)], strict=True):
        assert abs(np.log(tall * wide / (box[0] * box[1]))) / 2 <= np.log(SIZE_STEP) / 2 + 1e-3
        assert abs(np.log(tall / wide / (box[0] / box[1]))) <= np.log(ASPECT_STEP) / 2 + 1e-3
    assert len(fitting_shapes(boxes[:2], np.zeros(2))) == 1


def test_a_rare_class_keeps_its_shapes() -> None:
    boxes = np.array([_box(100, 100)] * 999 + [_box(20, 90)])
    (rare,) = fitting_shapes(boxes[999:], np.zeros(1))
    assert rare in fitting_shapes(boxes, np.array([0] * 999 + [1]))
    assert rare not in fitting_shapes(boxes, np.zeros(1000, dtype=np.int64))


def test_a_class_whose_boxes_all_differ_keeps_its_shapes() -> None:
    sides = SIZE_STEP ** np.arange(2, 22)
    stretches = ASPECT_STEP ** (np.arange(-2, 3) / 2)
    boxes = np.array([_box(side * stretch, side / stretch) for side in sides for stretch in stretches])
    assert len(fitting_shapes(boxes, np.zeros(100, dtype=np.int64))) == 100


def test_a_class_keeps_its_less_common_shapes() -> None:
    boxes = np.array([_box(100, 100)] * 95 + [_box(20, 90)] * 5)
    assert len(fitting_shapes(boxes, np.zeros(100, dtype=np.int64))) == 2


def test_shapes_are_distinct_plain_numbers_in_the_order_of_their_size() -> None:
    sides = np.random.default_rng(0).uniform(5, 200, (300, 2))
    boxes = np.concatenate([np.zeros((300, 2)), sides], axis=1)
    shapes = fitting_shapes(boxes, np.arange(300) % 3)
    areas = [tall * wide for tall, wide in shapes]
    np.testing.assert_allclose(areas, sorted(areas), rtol=2e-3)  # shapes are rounded to hundredths of a pixel
    assert len(set(shapes)) == len(shapes)
    assert {type(side) for shape in shapes for side in shape} == {float}
    order = np.random.default_rng(1).permutation(300)
    assert fitting_shapes(boxes[order], order % 3) == shapes


def test_shapes_need_a_box() -> None:
    with pytest.raises(ArgumentError) as caught:
        fitting_shapes(np.zeros((0, 4)), np.zeros(0, dtype=np.int64))
    assert str(caught.value) == "fitting_shapes: boxes must be at least one box, got none. Label an object."


# Descriptions


@pytest.mark.parametrize(
    "method",
    [
        GridProposals(((10.5, 20), (7, 7)), 256, 0.3),
        GridProposals((), 100),
        SelectiveSearch(quality=True, limit=77),
        SelectiveSearch(),
        FileProposals(Path("folder") / "regions.csv"),
    ],
)
def test_a_method_is_made_again_from_its_description(method: Any) -> None:
    again = proposals_from_description(json.loads(json.dumps(method.describe())), method.tensors())
    assert again == method
    assert type(again) is type(method)
    assert again.describe() == method.describe()


@pytest.mark.parametrize("description", [{"method": "magic"}, {}])
def test_an_unknown_method_is_refused(description: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError) as caught:
        proposals_from_description(description, {})
    assert str(caught.value) == (
        "proposals_from_description: method must be one of grid, learnt, selective-search, edge-boxes, file, "
        f"got {description.get('method')!r}. Name one of these."
    )


# Selective search


def test_selective_search_gives_the_same_regions_by_area() -> None:
    image = data.astronaut()[:110, 160:290]
    regions = SelectiveSearch().regions(_scene(image))
    np.testing.assert_array_equal(SelectiveSearch().regions(_scene(image)), regions)
    assert (regions.dtype, regions.ndim) == (np.float64, 2)
    assert len(regions) > 50
    assert len(np.unique(regions, axis=0)) == len(regions)
    assert (np.diff(area(regions)) <= 0).all()
    _assert_inside(regions, (110, 130))


def test_selective_search_is_opencvs_in_the_right_order_of_colours() -> None:
    image = data.astronaut()[:60, 180:250]
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    search.switchToSelectiveSearchFast()
    expected = {(x, y, x + width, y + height) for x, y, width, height in search.process().tolist()}
    assert {tuple(box) for box in SelectiveSearch().regions(_scene(image)).astype(int).tolist()} == expected


def test_a_limit_chooses_evenly_from_the_largest_to_the_smallest() -> None:
    image = np.stack([data.coins()[:100, :120]] * 3, axis=2)
    every, some = (SelectiveSearch(limit=limit).regions(_scene(image)) for limit in (10_000, 12))
    places = np.flatnonzero((every[:, None] == some[None]).all(axis=2).any(axis=1))
    assert len(some) == len(places) == 12
    assert (places[0], places[-1]) == (0, len(every) - 1)
    assert np.ptp(np.diff(places)) <= 1


def test_the_slower_mode_finds_more() -> None:
    image = data.astronaut()[:60, 180:250]
    assert len(SelectiveSearch(quality=True).regions(_scene(image))) > len(SelectiveSearch().regions(_scene(image)))


def test_selective_search_sees_an_object_in_its_place() -> None:
    image = np.full((80, 120, 3), 30, dtype=np.uint8)
    image[20:50, 60:110] = [200, 40, 40]
    assert covered(SelectiveSearch().regions(_scene(image)), np.array([[60.0, 20, 110, 50]]), threshold=0.8).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (2, 2)])
def test_selective_search_takes_the_smallest_images(size: Size) -> None:
    _assert_inside(SelectiveSearch().regions(_scene(_image(size))), size)


@pytest.mark.parametrize("module", [None, ModuleType("cv2")], ids=["no OpenCV", "OpenCV without contributed modules"])
def test_what_selective_search_needs_is_named(module: ModuleType | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", module)
    with pytest.raises(MissingExtraError, match=r"pip install 'sppnet\[proposals\]'"):
        SelectiveSearch().regions(_scene(_image((20, 20))))


# Files


def _written(folder: Path, text: str | bytes) -> Path:
    path = folder / "regions.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_file_gives_the_regions_of_each_image_in_its_order(tmp_path: Path) -> None:
    lines = ["b.png,5,6,7,8", "a.png,0,0,2.5,1e2", "b.png,1,2,3,4", '"c, d.png",-1,0,1,1']
    regions = read_regions(_written(tmp_path, HEADER + "\n".join(lines)))
    assert {name: boxes.tolist() for name, boxes in regions.items()} == {
        "b.png": [[5, 6, 7, 8], [1, 2, 3, 4]],
        "a.png": [[0, 0, 2.5, 100]],
        "c, d.png": [[-1, 0, 1, 1]],
    }


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + HEADER.encode() + b"a,1,2,3,4\n",
        HEADER.replace("\n", "\r\n") + "a,1,2,3,4\r\n\r\n",
        "bottom,note,right,image,top,left\n4,good,3,a,2,1",
    ],
    ids=["byte order mark", "Windows lines and an empty one", "other order"],
)
def test_files_of_other_programs_are_read(tmp_path: Path, text: str | bytes) -> None:
    regions = read_regions(_written(tmp_path, text))
    assert {name: boxes.tolist() for name, boxes in regions.items()} == {"a": [[1, 2, 3, 4]]}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("a,1,2,x,4", "could not convert string to float: 'x'. Write the box as four numbers."),
        ("a,1,2,,4", "could not convert string to float: ''. Write the box as four numbers."),
        ("a,1,2,3", "[1.0, 2.0, 3.0] is no box. Write left < right and top < bottom."),
        ("a", "[] is no box. Write left < right and top < bottom."),
        (",1,2,3,4", "names no image. Write its name, or its path."),
        (",,,,", "names no image. Write its name, or its path."),
        ("a,3,2,3,4", "[3.0, 2.0, 3.0, 4.0] is no box. Write left < right and top < bottom."),
        ("a,1,4,3,2", "[1.0, 4.0, 3.0, 2.0] is no box. Write left < right and top < bottom."),
        ("a,nan,2,3,4", "[nan, 2.0, 3.0, 4.0] is no box. Write left < right and top < bottom."),
        ("a,1,2,inf,4", "[1.0, 2.0, inf, 4.0] is no box. Write left < right and top < bottom."),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = _written(tmp_path, f"{HEADER}a,1,2,3,4\n\n{line}\na,1,2,3,4\n")
    with pytest.raises(DataError) as caught:
        read_regions(path)
    assert str(caught.value) == f"{path}:4: {complaint}"


def test_a_line_without_a_image_is_named(tmp_path: Path) -> None:
    path = _written(tmp_path, "left,top,right,bottom,image\n1,2,3,4,a\n1,2,3,4\n")
    with pytest.raises(DataError, match=r"regions\.csv:3: "):
        read_regions(path)


@pytest.mark.parametrize("header", ["image,left,top,right\n", "image;left;top;right;bottom\n", ""])
def test_missing_columns_are_told_beside_what_there_is(tmp_path: Path, header: str) -> None:
    path = _written(tmp_path, header)
    with pytest.raises(DataError) as caught:
        read_regions(path)
    expected, got = "the columns image, left, top, right, bottom, with commas between them", header.strip() or "nothing"
    assert str(caught.value) == f"{path}:1: must name {expected}, got {got!r}. Write them into line 1."


@pytest.mark.parametrize("text", [b"\xff\xfe\x00\x00", HEADER.encode() + b"\xe9,1,2,3,4\n"])
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, text: bytes) -> None:
    path = _written(tmp_path, text)
    with pytest.raises(DataError, match=r"regions\.csv: regions cannot be read: .* Give a CSV file with a header\."):
        read_regions(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match=f"{path.name}: regions cannot be read: "):
            read_regions(path)


def test_regions_of_a_file_are_clipped_to_the_image(tmp_path: Path) -> None:
    method = FileProposals(_written(tmp_path, HEADER + "a.png,-5,2,30,8\na.png,1,1,2,99\n"))
    assert method.regions(_scene(_image((10, 20)), "a.png")).tolist() == [[0, 2, 20, 8], [1, 1, 2, 10]]
    assert method.regions(_scene(_image((4, 6)), "a.png")).tolist() == [[0, 2, 6, 4], [1, 1, 2, 4]]


def test_a_image_that_the_file_lacks_is_named(tmp_path: Path) -> None:
    method = FileProposals(_written(tmp_path, HEADER + "a.png,1,2,3,4\n"))
    with pytest.raises(DataError) as caught:
        method.regions(_scene(_image((9, 9)), "b.png"))
    assert str(caught.value) == (f"{method.path}: holds no regions for the image 'b.png'. Add rows for it.")


def test_regions_of_a_file_go_by_the_folders_too(tmp_path: Path) -> None:
    method = FileProposals(_written(tmp_path, HEADER + "1.png,0,0,1,1\na/1.png,0,0,2,2\n"))
    no_network: Any = None
    for name, side in (("1.png", 1), ("a/1.png", 2)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 9)).save(path)
        assert method.regions(Scene(path, no_network)).tolist() == [[0, 0, side, side]]
    method.check([str(tmp_path / "1.png"), str(tmp_path / "a/1.png"), str(tmp_path / "1.png")])
    with pytest.raises(ArgumentError) as ambiguous:
        method.check(["x/1.png", "x/a/1.png", "x/b/1.png"])
    assert str(ambiguous.value) == f"{method.path}: '1.png' may mean x/1.png and x/b/1.png. Write their paths."
    with pytest.raises(DataError) as caught:
        method.check(["x/1.png", "x/2.png", "x/3.png"])
    told = "holds no regions for 2 of 3 images, the first x/2.png. Add rows, or name other images."
    assert str(caught.value) == f"{method.path}: {told}"


def test_a_method_of_a_file_reads_it_when_it_is_used(tmp_path: Path) -> None:
    method = FileProposals(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"none\.csv"):
        method.regions(_scene(_image((9, 9)), "a.png"))


# Recall


def test_a_box_is_reached_when_some_region_overlaps_it_enough() -> None:
    regions = np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    ground_truth = np.array([[0.0, 0, 10, 5], [20, 20, 30, 30], [50, 50, 60, 60]])
    assert covered(regions, ground_truth, threshold=0.5).tolist() == [True, True, False]
    assert covered(regions, ground_truth, threshold=0.51).tolist() == [False, True, False]
    assert covered(regions[:0], ground_truth, threshold=0.5).tolist() == [False, False, False]
    assert covered(regions, ground_truth[:0], threshold=0.5).shape == (0,)


def test_truths_of_another_shape_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"covered: ground_truth must be \(N, 4\), got \(4,\)\. Give one row a box"):
        covered(np.zeros((1, 4)), np.zeros(4), threshold=0.5)


def test_regions_are_read_from_coco_results(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    rows = [
        {"image_id": 139, "category_id": 1, "bbox": [5, 6, 7, 8], "score": 0.2},
        {"image_id": 139, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.9},
    ]
    path.write_text(json.dumps(rows))
    found = FileProposals(path).of("000000000139.jpg", (50, 50))
    np.testing.assert_array_equal(found, [[1, 2, 4, 6], [5, 6, 12, 14]])
    path.write_text(json.dumps({"images": [{"id": 139, "file_name": "a.png"}], "annotations": rows}))
    np.testing.assert_array_equal(FileProposals(path).of("a.png", (50, 50)), found)
    path.write_text('{"images": []}')
    with pytest.raises(DataError, match=r"must be COCO results: KeyError\('annotations'\)\. Give each an image_id"):
        FileProposals(path).of("a.png", (50, 50))
    path.write_text(json.dumps([rows[0] | {"bbox": [1, 2, 0, 4]}]))
    with pytest.raises(DataError, match=r"of the image '139', is no box\. Write left < right and top < bottom\."):
        FileProposals(path).of("139", (50, 50))


@pytest.mark.parametrize("form", ["csv", "coco"])
def test_an_image_that_shows_nothing_has_no_regions_and_is_not_missing(tmp_path: Path, form: str) -> None:
    found = Detections(np.array([[1.0, 2, 9, 8]]), np.array([0]), np.array([0.9]), ("cell",))
    none = Detections(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0), ("cell",))
    names = [str(tmp_path / name) for name in ("a.png", "b.png")]
    answers = [ImageDetections(Path(name), (20, 30), each) for name, each in zip(names, (found, none), strict=True)]
    regions = FileProposals(str(write_detections(tmp_path, form, answers)))
    regions.check(names)
    np.testing.assert_array_equal(regions.of(names[0], (20, 30)), [[1, 2, 9, 8]])
    assert regions.of(names[1], (20, 30)).shape == (0, 4)
    with pytest.raises(DataError, match=r"holds no regions for 1 of 3 images, the first c\.png\. Add rows"):
        regions.check([*names, "c.png"])


def _disc(size: tuple[int, int], box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    image = Image.new("RGB", size[::-1], (90, 120, 90))
    ImageDraw.Draw(image).ellipse(box, fill=(200, 60, 60))
    return np.asarray(image)


def test_edges_lie_on_the_crest_and_face_outwards() -> None:
    edges, normals = edge_map(_disc((100, 120), (30, 20, 80, 70)))
    rows, columns = np.nonzero(edges > 0.5)
    distance = np.hypot(rows - 45, columns - 55)
    assert len(rows) > 100
    assert np.abs(distance - 25).max() < 2
    outwards = np.arctan2(rows - 45, columns - 55) % np.pi
    turned = np.abs(normals[rows, columns] - outwards)
    assert np.minimum(turned, np.pi - turned).max() < 0.3


def test_edge_boxes_find_an_object_first_and_always_the_same() -> None:
    image = _disc((100, 120), (30, 20, 80, 70))
    found = EdgeBoxes(limit=50).regions(_scene(image))
    assert 0 < len(found) <= 50
    assert iou(found[:5], np.array([[30.0, 20, 81, 71]])).max() > 0.8
    np.testing.assert_array_equal(found, EdgeBoxes(limit=50).regions(_scene(image)))
    assert proposals_from_description(EdgeBoxes(7).describe(), {}) == EdgeBoxes(7)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (9, 9), (40, 40)])
def test_edge_boxes_of_an_empty_image_are_none(size: tuple[int, int]) -> None:
    assert EdgeBoxes().regions(_scene(np.full((*size, 3), 7, np.uint8))).shape == (0, 4)
