"""What passes for good and is not: boxes like corners, pointers of Git LFS, images inside labels, numbers for names."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.data.drawing import NAMES, SIZE, coco, dump, image, text, voc, yolo

from sppnet import load
from sppnet.data import BrokenSampleError, DetectionData, Sample, load_detection, load_folders, open_dataset
from sppnet.data.inspection import inspect
from sppnet.errors import DataError, ImageDecodeError
from sppnet.images import read_image

WIDTH, HEIGHT = SIZE
Labels = Sequence[tuple[int, float, float, float, float]]  # class, and four numbers


def codes(data: Any) -> list[str]:
    return sorted(problem.code for problem in data.problems)


# Corners that fit into their images all the same


def as_yolo(root: Path, sample: Sample, numbers: Labels) -> None:
    height, width = sample.size
    lines = [f"{c} {a / width} {b / height} {d / width} {e / height}" for c, a, b, d, e in numbers]
    text(root / "labels" / f"{sample.path.stem}.txt", "\n".join(lines))


def written(root: Path, samples: Sequence[Sample], form: str, layout: str) -> None:
    """Write images' boxes as corners, or as the layout has them; images are links."""
    document: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 0, "name": "a"}]}
    for number, sample in enumerate(samples):
        (root / "images").mkdir(parents=True, exist_ok=True)
        (root / "images" / sample.path.name).symlink_to(sample.path)
        left, top, right, bottom = sample.boxes.T
        firsts, seconds = (left, top), (right - left, bottom - top)
        if layout == "yolo":
            firsts = (left + right) / 2, (top + bottom) / 2
        if form == "corners":
            firsts, seconds = (left, top), (right, bottom)
        numbers = [(0, *row) for row in np.stack([*firsts, *seconds], axis=1).tolist()]
        if layout == "yolo":
            as_yolo(root, sample, numbers)
            continue
        document["images"].append({"id": number, "file_name": sample.path.name})
        document["annotations"] += [
            {"id": len(document["annotations"]) + k, "image_id": number, "category_id": 0, "bbox": list(row[1:])}
            for k, row in enumerate(numbers)
        ]
    if layout == "yolo":
        text(root / "data.yaml", "train: images\nnames: [a]\n")
    else:
        dump(root / "labels.json", document)


def said_of(root: Path) -> str:
    """Return the code that tells how boxes are written, "" if none does."""
    try:
        problems = load_detection(root, on_bad="skip").problems
    except BrokenSampleError as error:
        return error.problem.code
    return next((each.code for each in problems if each.code.startswith("boxes-")), "")


@pytest.mark.parametrize("layout", ["coco", "yolo"])
@pytest.mark.parametrize("name", ["bccd", "raccoon", "cards", "pcb"])
def test_corners_of_real_sets_are_found_and_right_boxes_are_not(
    shared_data: Path, tmp_path: Path, name: str, layout: str
) -> None:
    data = load_detection(shared_data / name, split="all", on_bad="skip")
    written(tmp_path / "right", data.samples, "", layout)
    written(tmp_path / "wrong", data.samples, "corners", layout)
    assert (said_of(tmp_path / "right"), said_of(tmp_path / "wrong")) == ("", "boxes-misread")
    first = next((tmp_path / "wrong").glob("labels/*.txt"), tmp_path / "wrong/labels.json")
    if layout == "yolo":  # one box that fits in no way hides how the others are written no longer
        first.write_text(f"{first.read_text()}\n0 0.5 0.5 1.9 1.9\n")
    else:
        document = json.loads(first.read_text())
        document["annotations"][0]["bbox"] = [5, 5, 1e5, 1e5]
        dump(first, document)
    assert said_of(tmp_path / "wrong") == "boxes-doubtful"


def placed(root: Path, boxes: np.ndarray) -> list[Sample]:
    """Write an image for each of (N, K, 4) boxes, in parts of it."""
    samples = []
    for k, mine in enumerate(boxes):
        image(root / f"{k}.jpg")
        none, labels = np.zeros(len(mine), dtype=np.bool_), np.zeros(len(mine), dtype=np.int64)
        samples.append(Sample(root / f"{k}.jpg", mine * (*SIZE, *SIZE), labels, none, none, (HEIGHT, WIDTH)))
    return samples


WAYS = {"coco": "left, top, width, height", "yolo": "centre x, centre y, width, height"}


@pytest.mark.parametrize("layout", WAYS)
def test_corners_that_fit_as_they_are_read_are_a_warning(tmp_path: Path, layout: str) -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0.3, 0.45, (6, 4, 2))  # small objects in the middle
    boxes = np.concatenate([corners, corners + rng.uniform(0.02, 0.05, (6, 4, 2))], axis=2)
    samples = placed(tmp_path / "drawn", boxes)
    written(tmp_path / "right", samples, "", layout)
    written(tmp_path / "wrong", samples, "corners", layout)
    assert codes(load_detection(tmp_path / "right")) == []
    (problem,) = load_detection(tmp_path / "wrong").problems
    assert (problem.level, problem.code) == ("warning", "boxes-doubtful")
    assert (
        "the 24 boxes, this the first, look as if they were written as left, top, right, bottom, and are read as "
        f"{WAYS[layout]}, as the layout has them. Look at them with 'sppnet check --html'"
    ) in str(problem)


@pytest.mark.parametrize("layout", WAYS)
def test_large_objects_in_the_middle_are_no_corners(tmp_path: Path, layout: str) -> None:
    edges = np.random.default_rng(1).uniform(0.02, 0.2, (30, 1, 4))
    samples = placed(tmp_path / "drawn", np.concatenate([edges[..., :2], 1 - edges[..., 2:]], axis=2))
    written(tmp_path / layout, samples, "", layout)
    assert codes(load_detection(tmp_path / layout)) == []


# Boxes in other units


def xml_of(root: Path, rows: Sequence[tuple[float, float, float, float]], side: int) -> None:
    for k, (left, top, right, bottom) in enumerate(rows):
        root.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side, side)).save(root / f"{k}.jpg")
        box = f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
        text(root / f"{k}.xml", f"<annotation><object><name>a</name><bndbox>{box}</bndbox></object></annotation>")


def test_parts_of_the_image_in_xml_are_refused(tmp_path: Path) -> None:
    xml_of(tmp_path, [(0.1, 0.2, 0.5, 0.7), (0.25, 0.3, 1.0, 0.9)], 300)
    with pytest.raises(BrokenSampleError) as caught:
        load_detection(tmp_path, on_bad="skip")
    assert caught.value.problem.code == "boxes-misread"
    assert (
        "all 2 boxes, this the first, lie within the first pixel of their images, as parts of an image do that are "
        "read as pixels. Write them in pixels."
    ) in str(caught.value)


@pytest.mark.parametrize(("side", "count", "said"), [(300, 12, True), (300, 5, False), (150, 12, False)])
def test_percentages_of_large_images_are_a_warning(tmp_path: Path, side: int, count: int, said: bool) -> None:
    corners = np.random.default_rng(0).uniform(0, 45, (count, 2))
    rows = np.concatenate([corners, corners + 53.5], axis=1)
    xml_of(tmp_path, [tuple(row) for row in rows.tolist()], side)
    told = [str(problem) for problem in load_detection(tmp_path).problems]
    assert len(told) == said
    looks = "look as if they were written in percent of the image, and are read in pixels. Look at them with"
    assert all(looks in each for each in told)


# XML with polygons


def polygon_in(form: str) -> str:
    points = [(10, 20), (50, 24), (30, 60)]
    if form == "pt":
        inner = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in points)
    else:
        inner = "".join(f"<x{k}>{x}</x{k}><y{k}>{y}</y{k}>" for k, (x, y) in enumerate(points, start=1))
    return f"<polygon>{inner}</polygon>"


@pytest.mark.parametrize("form", ["pt", "numbered"])
@pytest.mark.parametrize("box", ["", "<bndbox><xmin>11</xmin><ymin>21</ymin><xmax>50</xmax><ymax>60</ymax></bndbox>"])
def test_polygons_in_xml_are_read_as_those_of_labelme_are(tmp_path: Path, form: str, box: str) -> None:
    image(tmp_path / "0.jpg")
    text(tmp_path / "0.xml", f"<annotation><object><name>a</name>{box}{polygon_in(form)}</object></annotation>")
    data = load_detection(tmp_path)
    assert (data[0].boxes.tolist(), codes(data)) == ([[10, 20, 50, 60]], [])
    assert data[0].outlines[0][0].tolist() == [[10, 20], [50, 24], [30, 60]]


def test_objects_of_old_labelme_xml(tmp_path: Path) -> None:
    image(tmp_path / "0.jpg")
    box = "<box><xmin>11</xmin><ymin>21</ymin><xmax>50</xmax><ymax>60</ymax></box>"
    segm = f"<object><name>a</name><segm>{box}<mask>0.png</mask></segm></object>"
    gone = f"<object><name>a</name><deleted>1</deleted>{polygon_in('pt')}</object>"
    bare = "<object><name>a</name><segm><mask>0.png</mask></segm></object>"
    text(tmp_path / "0.xml", f"<annotation>{segm}{gone}{bare}</annotation>")
    data = load_detection(tmp_path)
    assert (data[0].boxes.tolist(), codes(data)) == ([[10, 20, 50, 60]], ["row-without-box"])
    assert str(data.problems[0]).endswith("<object> must hold <bndbox>")


def test_turned_boxes_of_rolabelimg(tmp_path: Path) -> None:
    image(tmp_path / "0.jpg")
    box = "<cx>50</cx><cy>60</cy><w>40</w><h>20</h><angle>1.5707963267948966</angle>"
    text(tmp_path / "0.xml", f"<annotation><object><name>a</name><robndbox>{box}</robndbox></object></annotation>")
    data = load_detection(tmp_path)
    assert (data[0].boxes.tolist(), codes(data)) == ([[40, 40, 60, 80]], [])


def test_xml_of_voc_in_one_file_is_named(tmp_path: Path) -> None:
    made = image(tmp_path / "images/0.jpg")
    text(tmp_path / "all.xml", f"<annotations>{voc(made, '0.jpg')}</annotations>")
    with pytest.raises(DataError, match=r"all\.xml:1: <annotations> must hold <image> or <track>, got <annotation>"):
        load_detection(tmp_path)


# COCO


def test_categories_known_by_texts(tmp_path: Path) -> None:
    made = image(tmp_path / "0.jpg")
    document = coco({"0.jpg": made})
    for row in document["categories"]:
        row["id"] = f"c{row['id']}"
    for row in document["annotations"]:
        row["category_id"] = f"c{row['category_id']}"
    dump(tmp_path / "labels.json", document)
    data = load_detection(tmp_path)
    assert (data.classes, data[0].labels.tolist(), codes(data)) == (NAMES, [box[0] for box in made], [])


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (0, "category_id 0 is used and 2 is not, though categories are 1 to 2. Add 1 to each category_id"),
        (2, "category_id 3 is used and 1 is not, though categories are 1 to 2. Take 1 from each category_id"),
    ],
)
def test_categories_counted_from_another_number_are_refused(tmp_path: Path, first: int, said: str) -> None:
    document = coco({"0.jpg": image(tmp_path / "0.jpg")})
    for row in document["annotations"]:
        row["category_id"] += first - 1
    dump(tmp_path / "labels.json", document)
    with pytest.raises(BrokenSampleError) as caught:
        load_detection(tmp_path, on_bad="skip")
    assert (caught.value.problem.code, str(caught.value)) == ("numbers-from-one", f"{tmp_path}/labels.json: {said}")


# Folders


@pytest.mark.parametrize(
    ("name", "content"), [("data.yaml", "names: [a, b]\ntrain: ./train\n"), ("classes.txt", "a\nb\n")]
)
def test_a_set_that_was_packed_into_a_folder_keeps_its_names(tmp_path: Path, name: str, content: str) -> None:
    text(tmp_path / "cells/train/0.txt", yolo(image(tmp_path / "cells/train/0.jpg")))
    text(tmp_path / "cells" / name, content)
    data = load_detection(tmp_path)
    assert (data.classes, codes(data)) == (NAMES, [])


def test_one_file_is_told_of_in_words_for_one(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "cat/day2/2.jpg", "dog/3.jpg"):
        image(tmp_path / name)
    (problem,) = load_folders(tmp_path).problems
    told = "lies in a folder inside its class's folder, and belongs to that class"
    assert str(problem) == f"{tmp_path}/cat/day2/2.jpg: {told}"


# LabelMe's images inside


def test_images_inside_labels_are_told_of_with_what_writes_them_out(tmp_path: Path) -> None:
    for k in range(2):
        held = base64.b64encode(b"x" * 300_000).decode()
        shape = {"label": "a", "points": [[1, 2], [30, 40]], "shape_type": "rectangle"}
        dump(tmp_path / f"{k}.json", {"shapes": [shape], "imagePath": f"{k}.jpg", "imageData": held})
    with pytest.raises(DataError) as caught:
        load_detection(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/0.json: the image '0.jpg' is missing; the file itself holds it: "
        "jq -r .imageData '0.json' | base64 -d > '0.jpg' writes it out"
    )
    assert codes(inspect(tmp_path)).count("image-inside") == 2


# Git LFS

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d7a' * 16}\nsize 12345\n"
FETCH = "it is a pointer of Git LFS, not the file itself, which 'git lfs pull' fetches"


def test_images_that_are_pointers_are_counted_as_such(tmp_path: Path) -> None:
    for k in range(3):
        text(tmp_path / f"xml/{k}.xml", voc([(0, 1, 2, 30, 40)], f"{k}.jpg"))
        text(tmp_path / f"images/{k}.jpg", POINTER)
    found = inspect(tmp_path)
    assert codes(found) == ["lfs-pointer"] * 3 + ["no-images"]
    with pytest.raises(DataError, match=f"{tmp_path}/images/0.jpg: cannot be read: {FETCH}"):
        load_detection(tmp_path)
    with pytest.raises(ImageDecodeError, match=FETCH):
        read_image(tmp_path / "images/0.jpg")


def test_pointers_in_class_folders_are_counted_as_such(tmp_path: Path) -> None:
    for name in ("a", "b"):
        image(tmp_path / f"{name}/0.jpg", len(name))
        text(tmp_path / f"{name}/1.jpg", POINTER)
    assert len(load_folders(tmp_path)) == 4
    assert codes(inspect(tmp_path)).count("lfs-pointer") == 2


def test_labels_that_are_pointers_are_named(tmp_path: Path) -> None:
    for name, file in {"voc": "0.xml", "coco": "labels.json", "csv": "labels.csv", "yolo": "0.txt"}.items():
        image(tmp_path / name / "0.jpg")
        text(tmp_path / name / file, POINTER)
        with pytest.raises(DataError) as caught:
            open_dataset(tmp_path / name)
        assert f"got {tmp_path}/{name}/{file}, a pointer of Git LFS, not the file itself. Fetch the files" in str(
            caught.value
        )
    text(tmp_path / "yolo/data.yaml", POINTER)
    with pytest.raises(DataError, match=f"data.yaml: cannot be read: {FETCH}"):
        load_detection(tmp_path / "yolo")
    text(tmp_path / "yolo/data.yaml", "names: [a, b]\n")
    assert "lfs-pointer" in codes(inspect(tmp_path / "yolo"))


def test_a_model_that_is_a_pointer_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"m\.safetensors: {FETCH}"):
        load(text(tmp_path / "m.safetensors", POINTER))


# Tables with numbers for classes


def numbered(root: Path, form: str = "{}", beside: str = "", name: str = "classes.txt") -> DetectionData:
    lines = [
        f"{k}.jpg,{x},{y},{r},{b},{form.format(c)}" for k in range(3) for c, x, y, r, b in image(root / f"{k}.jpg", k)
    ]
    text(root / "labels.csv", "\n".join(["image,xmin,ymin,xmax,ymax,class", *lines]))
    if beside:
        text(root / name, beside)
    return load_detection(root)


def test_numbers_for_classes_are_their_names_and_that_is_said(tmp_path: Path) -> None:
    data = numbered(tmp_path)
    assert data.classes == ("0", "1")
    told = "classes are numbers, as 0: these are their names. A classes.txt beside would name them"
    assert [str(problem) for problem in data.problems] == [f"{tmp_path}/labels.csv: {told}"]


@pytest.mark.parametrize("form", ["{}", "{}.0"])
@pytest.mark.parametrize(("name", "beside"), [("classes.txt", "cat\r\ndog\r\n"), ("data.yaml", "names: [cat, dog]\n")])
def test_numbers_for_classes_have_the_names_of_a_file_beside(tmp_path: Path, form: str, name: str, beside: str) -> None:
    data = numbered(tmp_path, form, beside, name)
    assert (data.classes, set(codes(data)) - {"other-labels"}) == (("cat", "dog"), set())


def test_numbers_that_count_names_from_one_are_refused_and_one_without_a_name_is_told(tmp_path: Path) -> None:
    assert codes(numbered(tmp_path, beside="cat\n")) == ["class-unnamed"]
    rows = (tmp_path / "labels.csv").read_text().replace(",0\n", ",1\n")
    text(tmp_path / "labels.csv", rows)
    with pytest.raises(DataError, match=r"labels\.csv: class 1 is used and class 0 is not, though they count from 0"):
        load_detection(tmp_path)


def test_classes_of_open_images_without_their_names_are_told(tmp_path: Path) -> None:
    image(tmp_path / "0.jpg")
    text(tmp_path / "labels.csv", "ImageID,LabelName,XMin,XMax,YMin,YMax\n0,/m/01,0.1,0.5,0.2,0.6\n")
    data = load_detection(tmp_path)
    assert (data.classes, codes(data)) == (("/m/01",), ["class-unnamed"])
    told = "no file beside names the class /m/01: fetch Open Images' class-descriptions-boxable.csv"
    assert str(data.problems[0]) == f"{tmp_path}/labels.csv: {told}"
    text(tmp_path / "class-descriptions-boxable.csv", "/m/01,Cat\n")
    assert (load_detection(tmp_path).classes, codes(load_detection(tmp_path))) == (("Cat",), [])


# Splits


def test_one_file_of_labels_goes_by_the_splits_of_its_images_folders(tmp_path: Path) -> None:
    rows = {
        f"{split}/{k}.jpg": image(tmp_path / f"images/{split}/{k}.jpg", k) for split in ("train", "val") for k in (0, 1)
    }
    dump(tmp_path / "labels.json", coco(rows))
    assert open_dataset(tmp_path).splits == ("train", "val")
    data = load_detection(tmp_path)
    assert ([path.parent.name for path in data.paths], codes(data)) == (["train"] * 2, [])


def test_lists_of_voc_may_be_in_capitals(tmp_path: Path) -> None:
    for k in range(3):
        text(
            tmp_path / f"Annotations/{k}.XML", voc(image(tmp_path / f"JPEGImages/{k}.JPG", k, form="JPEG"), f"{k}.jpg")
        )
    text(tmp_path / "ImageSets/Main/Train.txt", "0\r\n1\r\n")
    text(tmp_path / "ImageSets/Main/VAL.txt", "2.jpg\r\n")
    assert (open_dataset(tmp_path).splits, len(load_detection(tmp_path))) == (("train", "val"), 2)


def test_signed_addresses_of_label_studio_name_images(tmp_path: Path) -> None:
    image(tmp_path / "0.jpg")
    value = {"x": 10, "y": 10, "width": 50, "height": 50, "rectanglelabels": ["a"]}
    task = {
        "id": 1,
        "data": {"image": "https://x.org/b/0.jpg?X-Sig=1"},
        "annotations": [{"result": [{"value": value}]}],
    }
    dump(tmp_path / "project.json", [task])
    assert load_detection(tmp_path)[0].boxes.tolist() == [[16, 12, 96, 72]]


# Names


def test_folders_that_number_classes_otherwise_are_refused(tmp_path: Path) -> None:
    for folder in ("train", "val"):
        text(tmp_path / folder / "0.txt", yolo(image(tmp_path / folder / "0.jpg")))
    text(tmp_path / "train/classes.txt", "a\nb\n")
    text(tmp_path / "val/classes.txt", "b\na\n")
    with pytest.raises(BrokenSampleError) as caught:
        load_detection(tmp_path)
    told = "class 0 is 'b', and 'a' in train/classes.txt. Read each folder by itself, or number the classes alike"
    assert str(caught.value) == f"{tmp_path}/val/classes.txt: {told}"
    text(tmp_path / "val/classes.txt", "a\nb\nc\n")  # labelImg adds to its list
    assert load_detection(tmp_path).classes == ("a", "b", "c")


def test_a_table_that_begins_with_empty_lines(tmp_path: Path) -> None:
    c, *box = image(tmp_path / "0.jpg")[0]
    row = ";".join(map(str, box))
    text(tmp_path / "a.csv", f"\ufeff\r\nfilename;xmin;ymin;xmax;ymax;class\r\n\r\n0.jpg;{row};{NAMES[c]}\r\n")
    assert load_detection(tmp_path)[0].boxes.tolist() == [box]


# Numbers that are none


@pytest.mark.parametrize("angle", ["inf", "nan"])
def test_boxes_turned_by_no_number_cost_themselves_alone(tmp_path: Path, angle: str) -> None:
    for name in ("voc/0.jpg", "cvat/0.jpg", "ls/0.jpg"):
        image(tmp_path / name)
    box = f"<cx>50</cx><cy>60</cy><w>40</w><h>20</h><angle>{angle}</angle>"
    text(tmp_path / "voc/0.xml", f"<annotation><object><name>a</name><robndbox>{box}</robndbox></object></annotation>")
    box = f'<box label="a" xtl="1" ytl="2" xbr="30" ybr="40" rotation="{angle}"/>'
    text(tmp_path / "cvat/a.xml", f'<annotations><image id="0" name="0.jpg">{box}</image></annotations>')
    value = {"x": 10, "y": 10, "width": 50, "height": 50, "rotation": float(angle), "rectanglelabels": ["a"]}
    dump(
        tmp_path / "ls/a.json", [{"id": 1, "data": {"image": "0.jpg"}, "annotations": [{"result": [{"value": value}]}]}]
    )
    for kind in ("voc", "cvat", "ls"):
        data = load_detection(tmp_path / kind, on_bad="skip")
        assert (len(data[0].boxes), codes(data)) == (0, ["row-unreadable"])
        assert f"must be finite, got {angle}" in str(data.problems[0]).replace("'", "")


def test_huge_ids_of_categories_take_no_memory(tmp_path: Path) -> None:
    document = coco({"0.jpg": image(tmp_path / "0.jpg")})
    document["categories"].append({"id": 10**17, "name": "c"})
    dump(tmp_path / "labels.json", document)
    assert load_detection(tmp_path).classes == ("a", "b", "c")
