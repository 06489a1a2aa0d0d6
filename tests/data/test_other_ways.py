"""Labels as people write them who have not read how: read right, or named with file and line."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.data.drawing import NAMES, SIZE, Box, coco, dump, image, text, voc, yolo

from sppnet.data import BrokenSampleError, load_detection, open_dataset, splits
from sppnet.data.inspection import inspect
from sppnet.errors import DataError

WIDTH, HEIGHT = SIZE
Rows = dict[str, list[Box]]


def drawn(root: Path, folder: str = "images", count: int = 3) -> Rows:
    return {f"{k}.jpg": image(root / folder / f"{k}.jpg", k) for k in range(count)}


def assert_boxes(root: Path, made: Rows, codes: dict[str, int] | None = None, split: str | None = None) -> None:
    """Assert that every box is read as it was drawn, and what is said beside."""
    data = load_detection(root, split=split)
    assert Counter(problem.code for problem in data.problems) == (codes or {})
    found = {
        each.path.name: sorted(
            (data.classes[label], *box) for label, box in zip(each.labels, each.boxes.tolist(), strict=True)
        )
        for each in data
    }
    assert found == {name: sorted((NAMES[c], *map(float, box)) for c, *box in boxes) for name, boxes in made.items()}


# YOLO: class numbers and names


def yolo_set(root: Path, names: str = "names: [a, b]\n", rows: Callable[[Sequence[Box]], str] = yolo) -> Rows:
    made = drawn(root, "images/train", 8)
    for name, boxes in made.items():
        text(root / "labels/train" / f"{name[:-4]}.txt", rows(boxes))
    text(root / "data.yaml", f"train: images/train\n{names}")
    return made


def from_one(boxes: Sequence[Box]) -> str:
    return yolo([(c + 1, *box) for c, *box in boxes])  # type: ignore[misc]


@pytest.mark.parametrize("on_bad", ["fail", "skip"])
def test_class_numbers_that_begin_at_one_are_refused_with_file_and_line(tmp_path: Path, on_bad: Any) -> None:
    yolo_set(tmp_path, rows=from_one)
    with pytest.raises(BrokenSampleError) as caught:
        load_detection(tmp_path, on_bad=on_bad)
    assert caught.value.problem.code == "numbers-from-one"
    assert str(caught.value) == (
        f"{tmp_path}/labels/train/0.txt:2: class 2 is used and class 0 is not, though they count from 0 and 2 names "
        "are told. Take 1 from every class's number, or map the numbers in data.yaml: 1: a"
    )
    assert [problem.code for problem in inspect(tmp_path).problems] == ["numbers-from-one"]


def test_one_number_too_high_is_no_counting_from_one(tmp_path: Path) -> None:
    yolo_set(tmp_path)
    text(tmp_path / "labels/train/0.txt", "2 .5 .5 .2 .2\n1 .4 .4 .2 .2\n")
    data = load_detection(tmp_path)
    assert [str(problem) for problem in data.problems] == [
        f"{tmp_path}/labels/train/0.txt:1: the box [64, 48, 96, 72] has class 2, and names are told for 0 to 1; it is "
        "dropped"
    ]


@pytest.mark.parametrize("names", ["names:\n  1: a\n  2: b\n", "names: {2: b, 1: a, 0: c}\n"])
def test_names_are_told_for_any_numbers(tmp_path: Path, names: str) -> None:
    assert_boxes(tmp_path, yolo_set(tmp_path, names, from_one))


def test_names_that_are_no_list_are_named_with_their_line(tmp_path: Path) -> None:
    yolo_set(tmp_path, "names: a, b\n")
    with pytest.raises(DataError, match=r"data\.yaml:2: names must list the classes, or map 0, 1, \.\.\. to them"):
        load_detection(tmp_path)


def test_two_classes_of_one_name_and_another_count_are_told(tmp_path: Path) -> None:
    yolo_set(tmp_path / "yolo", "nc: 3\nnames: [a, a]\n")
    dump(tmp_path / "coco/labels.json", coco(drawn(tmp_path / "coco"), names=("a", "a")))
    said = [str(problem) for kind in ("yolo", "coco") for problem in load_detection(tmp_path / kind).problems]
    assert said == [
        f"{tmp_path}/yolo/data.yaml: 2 classes are named 'a': they are one",
        f"{tmp_path}/yolo/data.yaml:2: nc is 3, and names has 2",
        f"{tmp_path}/coco/labels.json: 2 classes are named 'a': they are one",
    ]


def test_an_empty_list_of_names_names_none(tmp_path: Path) -> None:
    for name, boxes in drawn(tmp_path, "").items():
        text(tmp_path / f"{name[:-4]}.txt", yolo(boxes))
    text(tmp_path / "classes.txt", "\n")
    data = load_detection(tmp_path)
    assert (data.classes, [problem.code for problem in data.problems]) == (("0", "1"), ["class-unnamed"])


# YOLO: rows


def in_pixels(boxes: Sequence[Box]) -> str:
    return "".join(f"{c} {(x + r) / 2} {(y + b) / 2} {r - x} {b - y}\n" for c, x, y, r, b in boxes)


def named_in_row(boxes: Sequence[Box]) -> str:
    return "".join(f"{NAMES[int(line[0])]}{line[1:]}\n" for line in yolo(boxes).splitlines())


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (in_pixels, "the numbers must be parts of the image, 0 to 1, got '0 35.0 59.0 30 30'"),
        (named_in_row, "the line must be class, centre x, centre y, width, height, or class and three corners"),
        (
            lambda boxes: yolo(boxes).replace("\n", " .1 .1 2 .9 .9 1\n"),
            "the numbers must be parts of the image, 0 to 1, got",
        ),
    ],
)
def test_rows_of_other_kinds_are_refused_with_their_line(tmp_path: Path, rows: Any, said: str) -> None:
    yolo_set(tmp_path, rows=rows)
    with pytest.raises(DataError, match=rf"labels/train/0\.txt:1: {said.replace('.', '[.]').replace('(', '[(]')}"):
        load_detection(tmp_path)


@pytest.mark.parametrize(
    ("rows", "codes"),
    [
        (lambda boxes: yolo(boxes).replace(".", ","), {}),
        (lambda boxes: "# class x y w h\n" + yolo(boxes).replace("\n", "\r\n"), {}),
        (lambda boxes: "\ufeff" + yolo(boxes).replace(" ", "\t"), {}),
        (lambda boxes: yolo(boxes) * 2, {"box-twice": 16}),
    ],
)
def test_rows_that_can_be_understood_are_read(tmp_path: Path, rows: Any, codes: dict[str, int]) -> None:
    assert_boxes(tmp_path, yolo_set(tmp_path, rows=rows), codes)


@pytest.mark.parametrize("shape", ["", "kpt_shape: [2, 3]\n"])
def test_keypoints_behind_a_box_are_left_out_and_told(tmp_path: Path, shape: str) -> None:
    def rows(boxes: Sequence[Box]) -> str:
        inner = [f"{(x + 2) / WIDTH} {(y + 3) / HEIGHT} 2 0 0 0" for _, x, y, _, _ in boxes]
        return "".join(f"{line} {points}\n" for line, points in zip(yolo(boxes).splitlines(), inner, strict=True))

    assert_boxes(tmp_path, yolo_set(tmp_path, f"names: [a, b]\n{shape}", rows), {"points-left-out": 8})


def test_labels_named_after_the_whole_name_of_the_image(tmp_path: Path) -> None:
    made = yolo_set(tmp_path)
    for path in (tmp_path / "labels/train").iterdir():
        path.rename(path.with_suffix(".jpg.txt"))
    assert_boxes(tmp_path, made)


def test_one_file_of_labels_for_two_images_is_told(tmp_path: Path) -> None:
    for name in ("yolo/images/1.jpg", "yolo/images/1.png", "voc/1.jpg", "voc/1.png"):
        boxes = image(tmp_path / name)
    text(tmp_path / "yolo/labels/1.txt", yolo(boxes))
    text(tmp_path / "yolo/data.yaml", "names: [a, b]\n")
    text(tmp_path / "voc/1.xml", voc(boxes, "1.png"))
    said = [str(problem) for kind in ("yolo", "voc") for problem in load_detection(tmp_path / kind).problems]
    advice = "give each image a name of its own"
    assert said == [
        f"{tmp_path}/yolo/labels/1.txt: is taken for each of images/1.jpg and images/1.png: {advice}",
        f"{tmp_path}/voc/1.xml: is taken for each of 1.jpg and 1.png: {advice}",
    ]


# YOLO: where the images are


@pytest.mark.parametrize("names", ["obj.names", "data/obj.names"])
def test_the_lists_of_darknets_data_file_are_the_splits(tmp_path: Path, names: str) -> None:
    for name, boxes in drawn(tmp_path, "data/obj").items():
        text(tmp_path / "data/obj" / f"{name[:-4]}.txt", yolo(boxes))
    folder = (tmp_path / names).parent
    text(tmp_path / names, "a\nb\n")
    text(folder / "obj.data", "classes=2\ntrain = data/train.txt\nvalid = data/test.txt\nnames = data/obj.names\n")
    text(tmp_path / "data/train.txt", "data/obj/0.jpg\ndata/obj/1.jpg\n")
    text(tmp_path / "data/test.txt", "build/x64/data/obj/2.jpg\n")
    assert splits(tmp_path) == ("train", "val")
    assert [len(load_detection(tmp_path, split=split)) for split in ("train", "val")] == [2, 1]


def test_paths_below_the_base_of_another_machine(tmp_path: Path) -> None:
    for name, boxes in drawn(tmp_path, "datasets/foo/images/train").items():
        text(tmp_path / "datasets/foo/labels/train" / f"{name[:-4]}.txt", yolo(boxes))
    document = "path: ../datasets/foo\ntrain: images/train\nval: images/train\nnames: [a, b]\n"
    text(tmp_path / "foo.yaml", document)
    found = inspect(tmp_path)
    assert (found.images, found.counts["error"]) == ({"train": 3, "val": 3}, 0)
    said = [str(problem) for problem in found.problems if problem.level == "warning"]
    first = tmp_path / "datasets/foo/images/train/0.jpg"
    assert said == [f"{first}: and 2 more are in 'train' and in 'val' too"]


# Boxes that are written in another way than their layout has them


def written(root: Path, form: Callable[[int, int, int, int], list[float]]) -> None:
    document = coco(drawn(root, count=8))
    for row in document["annotations"]:
        row["bbox"] = form(*row["bbox"])
    dump(root / "labels.json", document)


def table(root: Path, header: str, row: str) -> None:
    lines = [
        row.format(name=name, c=NAMES[c], x=x, y=y, r=r, b=b, w=r - x, h=b - y)
        for name, boxes in drawn(root, count=8).items()
        for c, x, y, r, b in boxes
    ]
    text(root / "labels.csv", "\n".join([header, *lines]))


def yolo_corners(boxes: Sequence[Box]) -> str:
    return "".join(f"{c} {x / WIDTH} {y / HEIGHT} {r / WIDTH} {b / HEIGHT}\n" for c, x, y, r, b in boxes)


def yolo_corner_and_sides(boxes: Sequence[Box]) -> str:
    return "".join(f"{c} {x / WIDTH} {y / HEIGHT} {30 / WIDTH} {30 / HEIGHT}\n" for c, x, y, r, b in boxes)


def voc_sides(root: Path) -> None:
    for name, boxes in drawn(root, "", 8).items():
        text(root / f"{name[:-4]}.xml", voc([(c, x, y, r - x, b - y) for c, x, y, r, b in boxes], name))


MISREAD: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "corners in COCO": (
        lambda root: written(root, lambda x, y, w, h: [x, y, x + w, y + h]),
        "labels.json: annotation ",
        "left, top, width, height, which is how they are read; as left, top, right, bottom all do",
    ),
    "centres in COCO": (
        lambda root: written(root, lambda x, y, w, h: [x + w / 2, y + h / 2, w, h]),
        "labels.json: annotation ",
        "left, top, width, height, which is how they are read; as centre x, centre y, width, height all do",
    ),
    "corners in a column": (
        lambda root: table(root, "image,bbox,label", '{name},"[{x}, {y}, {r}, {b}]",{c}'),
        "labels.csv:",
        "left, top, width, height, which is how they are read; as left, top, right, bottom all do",
    ),
    "corners the other way round": (
        lambda root: table(root, "image,xmin,ymin,xmax,ymax,label", "{name},{r},{b},{x},{y},{c}"),
        "labels.csv:2: ",
        "left, top, right, bottom, which is how they are read; as right, bottom, left, top all do",
    ),
    "corners in YOLO": (
        lambda root: yolo_set(root, rows=yolo_corners),
        "labels/train/",
        "centre x, centre y, width, height, which is how they are read; as left, top, right, bottom all do",
    ),
    "corner and sides in YOLO": (
        lambda root: yolo_set(root, rows=yolo_corner_and_sides),
        "labels/train/",
        "centre x, centre y, width, height, which is how they are read; as left, top, width, height all do",
    ),
    "sides in VOC": (
        voc_sides,
        "0.xml:",
        "left, top, right, bottom, which is how they are read; as left, top, width, height",
    ),
}


@pytest.mark.parametrize(("build", "where", "said"), MISREAD.values(), ids=MISREAD)
def test_boxes_that_fit_in_another_way_only_are_refused(tmp_path: Path, build: Any, where: str, said: str) -> None:
    build(tmp_path)
    for on_bad in ("fail", "skip"):
        with pytest.raises(BrokenSampleError) as caught:
            load_detection(tmp_path, on_bad=on_bad)  # type: ignore[arg-type]
        assert caught.value.problem.code == "boxes-misread"
        assert str(caught.value).startswith(f"{tmp_path}/{where}")
        assert f"boxes, this the first, do not fit into their images as {said}" in str(caught.value)
        assert " Write them as " in str(caught.value)
    assert inspect(tmp_path).counts["error"] == 1


@pytest.mark.parametrize("reach", [0.0, 3.0, 40.0])
def test_boxes_that_hang_out_are_cut_and_told_and_no_other_way_of_writing(tmp_path: Path, reach: float) -> None:
    document = coco(drawn(tmp_path, count=8))
    for row in document["annotations"][::2]:
        row["bbox"] = [WIDTH - 40, 10, 40 + reach, 30]
    dump(tmp_path / "labels.json", document)
    data = load_detection(tmp_path)
    told = [str(problem) for problem in data.problems]
    assert len(told) == (8 if reach > 1 else 0)
    first = f"annotation 1: the box [120, 10, {WIDTH + reach:g}, 40] reaches {reach:g} pixels out of an image of"
    assert [each for each in told if first in each] == told[:1]
    assert all(sample.boxes[:, 2].max() <= WIDTH for sample in data)


# COCO


def test_what_coco_may_be_written_as(tmp_path: Path) -> None:
    made = drawn(tmp_path)
    document = coco(made)
    for row in document["images"]:
        row["file_name"] = f"https://example.org/x/images/{row['file_name']}?raw=1"
    for row in document["annotations"]:
        row |= {"score": 0.5, "image_id": float(row["image_id"]), "bbox": [str(number) for number in row["bbox"]]}
    document["annotations"] += document["annotations"][:1]
    dump(tmp_path / "labels.json", document)
    assert_boxes(tmp_path, made, {"score-ignored": 1, "box-twice": 1})


def test_class_names_that_are_numbers_are_names(tmp_path: Path) -> None:
    document = coco(drawn(tmp_path))
    for row in document["categories"]:
        row["name"] = row["id"] * 5
    dump(tmp_path / "labels.json", document)
    assert load_detection(tmp_path).classes == ("10", "5")


# Label Studio


def tasks(root: Path, change: Callable[[dict[str, Any]], None] | None = None) -> Rows:
    made = drawn(root)
    document = []
    for place, (name, boxes) in enumerate(made.items()):
        shapes = [
            {
                "id": f"r{k}",
                "type": "rectanglelabels",
                "original_width": WIDTH,
                "original_height": HEIGHT,
                "image_rotation": 0,
                "value": {
                    "x": 100 * x / WIDTH,
                    "y": 100 * y / HEIGHT,
                    "width": 100 * (r - x) / WIDTH,
                    "height": 100 * (b - y) / HEIGHT,
                    "rotation": 0,
                    "rectanglelabels": [NAMES[c]],
                },
            }
            for k, (c, x, y, r, b) in enumerate(boxes)
        ]
        document.append({"id": place, "data": {"image": f"/data/upload/1/{name}"}, "annotations": [{"result": shapes}]})
    if change is not None:
        change(document[0])
    dump(root / "project.json", document)
    return made


def shapes_of(task: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = task["annotations"][0]["result"]
    return found


@pytest.mark.parametrize("change", [{"annotations": []}, {"annotations": [{"was_cancelled": True, "result": []}]}])
def test_a_task_that_nobody_has_done_is_no_image_without_objects(tmp_path: Path, change: dict[str, object]) -> None:
    made = tasks(tmp_path, lambda task: task.update(change))
    del made["0.jpg"]
    assert_boxes(tmp_path, made, {"image-without-labels": 1})


def test_a_task_that_was_done_without_a_box_shows_no_object(tmp_path: Path) -> None:
    made = tasks(tmp_path, lambda task: shapes_of(task).clear())
    assert_boxes(tmp_path, made | {"0.jpg": []}, {"labels-empty": 1})


def test_predictions_are_no_labels(tmp_path: Path) -> None:
    made = tasks(tmp_path, lambda task: task.update(predictions=task["annotations"], annotations=[]))
    del made["0.jpg"]
    assert_boxes(tmp_path, made, {"image-without-labels": 1, "predictions-left-out": 1})
    said = next(str(each) for each in load_detection(tmp_path).problems if each.code == "predictions-left-out")
    assert said.endswith("task 0: its 1 predictions are no labels. Accept them in Label Studio, and export again")


def test_shapes_and_classes_that_label_studio_writes_apart(tmp_path: Path) -> None:
    def apart(task: dict[str, Any]) -> None:
        for shape in list(shapes_of(task)):
            names = shape["value"].pop("rectanglelabels")
            shape["type"] = "rectangle"
            shapes_of(task).append({**shape, "type": "labels", "value": {**shape["value"], "labels": names}})

    assert_boxes(tmp_path, tasks(tmp_path, apart))


def test_what_of_label_studio_is_not_followed_is_told(tmp_path: Path) -> None:
    def odd(task: dict[str, Any]) -> None:
        shapes_of(task)[0]["image_rotation"] = 90
        shapes_of(task)[1]["value"]["rectanglelabels"] = ["b", "a"]
        shapes_of(task).append({"type": "brushlabels", "value": {"rle": [1], "brushlabels": ["a"]}})

    assert_boxes(tmp_path, tasks(tmp_path, odd), {"size-differs": 1, "shape-left-out": 2})


# Tables


def test_tables_of_one_class_say_so(tmp_path: Path) -> None:
    table(tmp_path / "none", "image_id,xmin,ymin,xmax,ymax", "{name},{x},{y},{r},{b}")
    data = load_detection(tmp_path / "none")
    assert (data.classes, [str(problem) for problem in data.problems]) == (
        ("object",),
        [f"{tmp_path}/none/labels.csv:1: no column names the class: every object is called 'object'"],
    )
    table(tmp_path / "rsna", "patientId,x,y,width,height,Target", "{name},{x},{y},{w},{h},1")
    rsna = load_detection(tmp_path / "rsna")
    assert (rsna.classes, [problem.code for problem in rsna.problems], len(rsna)) == (("1",), ["class-numbers"], 8)


# Folders without labels


def test_images_without_labels_are_told_of_all_the_same(tmp_path: Path) -> None:
    for k in range(2):
        pixels = np.linspace(33069, 36863, 1200).reshape(30, 40).astype(np.uint16)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    frames = [Image.new("L", (40, 30), 9 * k) for k in range(3)]
    frames[0].save(tmp_path / "pages.tif", save_all=True, append_images=frames[1:])
    text(tmp_path / "broken.jpg", b"nothing")
    found = inspect(tmp_path)
    assert (found.layout, found.images, found.objects) == ("none", {"all": 4}, {})
    assert [problem.code for problem in found.problems] == ["no-labels", "image-unreadable", "pages", "range"]
    assert str(found.problems[0]).startswith(f"{tmp_path}: data must be images with labels, got 4 images in {tmp_path}")
    assert "Draw boxes in 'sppnet studio', or sort the images into one folder a class" in str(found.problems[0])


def test_an_unknown_file_is_shown_by_its_beginning(tmp_path: Path) -> None:
    image(tmp_path / "0.jpg")
    text(tmp_path / "points.csv", "photo number;north;east\n1;2;3\n")
    with pytest.raises(DataError, match=r"got 1 image, 1 \.csv in .*; points\.csv begins with 'photo number;nor"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("panoptic.json", {"annotations": [{"segments_info": []}], "categories": []}, "panoptic JSON of COCO"),
        (
            "found.json",
            [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}],
            "COCO's results",
        ),
        ("labels.txt", "0.jpg,1,2,3,4,cat\n", "list of images and boxes. Name it .csv instead"),
        ("labels.txt", "x/0.jpg 1 2 3 4 cat\n", "list of images and boxes. Write it as CSV instead"),
        ("train.csv", "ImageID,Source,LabelName,Confidence\n0,v,/m/01,1\n", "classes of whole images by Open Images"),
    ],
)
def test_more_kinds_that_are_not_read_are_named(tmp_path: Path, name: str, content: object, kind: str) -> None:
    image(tmp_path / "images/0.jpg")
    text(tmp_path / name, content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match=f"got {tmp_path}/{name}, {kind}"):
        open_dataset(tmp_path)
