"""Polygons that come with labels: kept beside their boxes, cut as these are, and written back where a layout can."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.data.drawing import SIZE, coco, dump, image, text

from sppnet.data import DetectionData, Outline, load_detection
from sppnet.data.converting import convert
from sppnet.geometry import clip_polygon

POLYGON = [(10.0, 20.0), (50.5, 12.25), (60.0, 70.0), (30.0, 40.0)]
AROUND = [10.0, 12.25, 60.0, 70.0]
FLAT = [number for point in POLYGON for number in point]


def coco_of(*rows: dict[str, object]) -> Callable[[Path], object]:
    def build(root: Path) -> None:
        document = coco({"0.jpg": []})
        document["annotations"] = [{"id": k, "image_id": 1, "category_id": 1, **row} for k, row in enumerate(rows)]
        dump(root / "instances.json", document)

    return build


def label_studio(root: Path) -> None:
    points = [[100 * x / SIZE[0], 100 * y / SIZE[1]] for x, y in POLYGON]
    result = {"type": "polygonlabels", "value": {"points": points, "polygonlabels": ["a"]}}
    dump(root / "export.json", [{"id": 1, "data": {"image": "0.jpg"}, "annotations": [{"result": [result]}]}])


def labelme(root: Path) -> None:
    dump(root / "0.json", {"shapes": [{"label": "a", "shape_type": "polygon", "points": POLYGON}]})


def supervisely(root: Path) -> None:
    shape = {"classTitle": "a", "geometryType": "polygon", "points": {"exterior": POLYGON, "interior": []}}
    size = {"height": SIZE[1], "width": SIZE[0]}
    dump(root / "ann/0.jpg.json", {"size": size, "objects": [shape]})


def via(root: Path) -> None:
    form = {"name": "polygon", "all_points_x": FLAT[::2], "all_points_y": FLAT[1::2]}
    region = {"shape_attributes": form, "region_attributes": {"kind": "a"}}
    dump(root / "via.json", {"0.jpg1": {"filename": "0.jpg", "size": 1, "regions": [region]}})


def cvat(root: Path) -> None:
    points = ";".join(f"{x},{y}" for x, y in POLYGON)
    shape = f'<polygon label="a" points="{points}"></polygon>'
    text(root / "annotations.xml", f'<annotations><image name="0.jpg">{shape}</image></annotations>')


def yolo(root: Path) -> None:
    numbers = " ".join(f"{x / SIZE[0]} {y / SIZE[1]}" for x, y in POLYGON)
    text(root / "0.txt", f"0 {numbers}\n")
    text(root / "classes.txt", "a\n")


LAYOUTS = {
    "COCO": coco_of({"bbox": [10, 12.25, 50, 57.75], "segmentation": [FLAT]}),
    "COCO without boxes": coco_of({"segmentation": [FLAT]}),
    "COCO, one list": coco_of({"bbox": [], "segmentation": FLAT}),
    "Label Studio": label_studio,
    "LabelMe": labelme,
    "Supervisely": supervisely,
    "VGG Image Annotator": via,
    "CVAT": cvat,
    "YOLO": yolo,
}


def plain(outlines: tuple[Outline, ...]) -> list[list[list[list[float]]]]:
    return [[points.tolist() for points in outline] for outline in outlines]


@pytest.mark.parametrize("build", LAYOUTS.values(), ids=LAYOUTS)
def test_a_polygon_stays_with_its_box(tmp_path: Path, build: Callable[[Path], object]) -> None:
    image(tmp_path / "0.jpg")
    build(tmp_path)
    data = load_detection(tmp_path)
    (sample,) = data
    assert (data.problems, sample.boxes.tolist()) == ((), [AROUND])
    assert plain(sample.outlines) == [[[list(point) for point in POLYGON]]]
    assert sample.outlined.tolist() == [True]


@pytest.mark.parametrize("kind", ["cvat", "labelstudio"])
def test_the_corners_of_a_turned_box_are_its_outline(tmp_path: Path, kind: str) -> None:
    image(tmp_path / "0.jpg")
    if kind == "cvat":
        shape = '<box label="a" xtl="40" ytl="50" xbr="80" ybr="70" rotation="90"></box>'
        text(tmp_path / "a.xml", f'<annotations><image name="0.jpg">{shape}</image></annotations>')
    else:
        value = {"x": 43.75, "y": 33.33333333, "width": 25, "height": 16.66666667, "rotation": 90}
        result = {"type": "rectanglelabels", "value": {**value, "rectanglelabels": ["a"]}}
        dump(tmp_path / "a.json", [{"data": {"image": "0.jpg"}, "annotations": [{"result": [result]}]}])
    (sample,) = load_detection(tmp_path)
    np.testing.assert_allclose(sample.boxes, [[50, 40, 70, 80]], atol=1e-3)
    assert sample.outlines == ()  # turned by a quarter it is an upright box again


@pytest.mark.parametrize(
    "mask", [{"counts": [1, 2], "size": [120, 160]}, [[1, 2, 3, 4]], [[1, 2, 3, "x", 5, 6]], [[1, 2, 3, 4, 5, 6, 7]]]
)
def test_what_is_no_polygon_is_named_and_costs_no_box(tmp_path: Path, mask: object) -> None:
    image(tmp_path / "0.jpg")
    coco_of({"bbox": [10, 20, 30, 40], "segmentation": mask})(tmp_path)
    data = load_detection(tmp_path)
    assert (data[0].boxes.tolist(), data[0].outlines) == ([[10, 20, 40, 60]], ())
    (problem,) = data.problems
    assert (problem.code, problem.level) == ("outline-left-out", "note")
    assert "annotation 0: the outline is no polygon of three points or more: it is left out" in str(problem)


def test_a_polygon_that_is_the_box_itself_says_nothing(tmp_path: Path) -> None:
    image(tmp_path / "0.jpg")
    corners = [10, 20, 40, 20, 40, 60, 10, 60]
    coco_of({"bbox": [10, 20, 30, 40], "segmentation": [corners]}, {"bbox": [1, 2, 3, 4]})(tmp_path)
    assert load_detection(tmp_path)[0].outlines == ()


def polygons_of_all_kinds(root: Path) -> DetectionData:
    image(root / "0.jpg")
    image(root / "1.jpg", 1)
    two = [FLAT, [1.0, 2.0, 9.0, 2.0, 5.5, 8.0]]
    coco_of(
        {"bbox": [10, 12.25, 50, 57.75], "segmentation": [FLAT], "difficult": 1},
        {"bbox": [1, 1, 99, 99], "segmentation": [FLAT]},
        {"bbox": [1, 2, 59, 68], "segmentation": two},
        {"bbox": [30, 30, 20, 20]},
        {"bbox": [100, 20, 60, 100], "segmentation": [[100, 20, 200, 20, 200, 200, 120, 100]]},
    )(root)
    return load_detection(root, on_bad="skip")


@pytest.mark.parametrize(("first", "second"), list(itertools.product(("coco", "labelstudio"), repeat=2)))
def test_outlines_are_written_back(tmp_path: Path, first: str, second: str) -> None:
    data = polygons_of_all_kinds(tmp_path / "in")
    assert [len(outline) for outline in data[0].outlines] == [1, 1, 2, 0, 1]
    done = convert([data], first, tmp_path / "one")
    again = load_detection(tmp_path / "one", split="all")
    convert([again], second, tmp_path / "two")
    last = load_detection(tmp_path / "two", split="all")
    assert done.lost == {}
    for other in (again, last):
        np.testing.assert_allclose(other[0].boxes, data[0].boxes, atol=1e-3)
        assert other[0].difficult.tolist() == data[0].difficult.tolist()
        for outline, kept in zip(other[0].all_outlines, data[0].all_outlines, strict=True):
            for points, same in zip(outline, kept, strict=True):
                np.testing.assert_allclose(points, same, atol=1e-3)


@pytest.mark.parametrize("layout", ["voc", "yolo", "csv"])
def test_outlines_that_a_layout_has_no_place_for_are_counted(tmp_path: Path, layout: str) -> None:
    assert convert([polygons_of_all_kinds(tmp_path / "in")], layout, tmp_path / "out").lost["outlined"] == 4


def test_coco_has_the_area_of_the_outline(tmp_path: Path) -> None:
    image(tmp_path / "0.jpg")
    coco_of({"bbox": [], "segmentation": [[0, 0, 10, 0, 0, 10], [20, 0, 20, 10, 30, 0]]})(tmp_path)
    convert([load_detection(tmp_path)], "coco", tmp_path / "out")
    assert '"area": 100.0' in next((tmp_path / "out").rglob("*.json")).read_text()


# Cutting, against where points lie


def inside(points: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which places lie in a polygon, by how many of its edges lie to their right."""
    found = np.zeros(x.shape, dtype=np.bool_)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y0 != y1:
            found ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return found


@given(st.lists(st.tuples(st.integers(-30, 60), st.integers(-30, 60)), min_size=3, max_size=8))
def test_a_cut_polygon_holds_what_it_held_of_the_image(drawn: list[tuple[int, int]]) -> None:
    points = np.array(drawn, dtype=np.float64)
    cut = clip_polygon(points, (20, 30))
    assert cut.shape[1] == 2
    assert ((cut >= 0) & (cut <= (30, 20))).all()
    x, y = np.meshgrid(np.arange(30) + 2**0.5 % 1, np.arange(20) + 3**0.5 % 1)
    np.testing.assert_array_equal(inside(cut, x, y), inside(points, x, y))
    if ((points >= 0) & (points <= (30, 20))).all():
        assert cut is points
