"""Data sets of every layout, good and bad: what is read, what is refused, and what the message names."""

import contextlib
import dataclasses
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sppnet.data import (
    DetectionData,
    Sample,
    duplicates,
    load_detection,
    load_folders,
    recognise,
    splits,
    write_coco,
    write_coco_results,
    write_voc,
    write_voc_results,
    write_yolo,
)
from sppnet.errors import ArgumentError, DataError
from sppnet.evaluation.coco import coco_precision
from sppnet.evaluation.precision import detection_report

HEIGHT, WIDTH = 40, 60
CORNERS = "<xmin>{}</xmin>\n<ymin>{}</ymin>\n<xmax>{}</xmax>\n<ymax>{}</ymax>"


def image(path: Path, *, shade: int = 128, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {".png": "PNG", ".gif": "GIF"}
    image = Image.new("RGB", (size[1], size[0]), (shade, shade, shade))
    image.save(path, format=kinds.get(path.suffix.lower(), "JPEG"))
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def voc_object(name: str, corners: Sequence[object], *, difficult: int = 0) -> str:
    """Nine lines; <bndbox> is the fourth."""
    box = CORNERS.format(*corners)
    return f"<object>\n<name>{name}</name>\n<difficult>{difficult}</difficult>\n<bndbox>\n{box}\n</bndbox></object>\n"


def voc(root: Path, stem: str, *objects: str, suffix: str = ".jpg", filename: str = "elsewhere.jpg") -> Path:
    image(root / "JPEGImages" / f"{stem}{suffix}", shade=len(list(root.rglob("*"))) % 250)
    content = f"<annotation>\n<filename>{filename}</filename>\n{''.join(objects)}</annotation>\n"
    return text(root / "Annotations" / f"{stem}.xml", content)


def coco_document(*names: str, boxes: Sequence[dict[str, object]] = ()) -> dict[str, object]:
    return {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names, start=10)],
        "annotations": [
            {"id": number, "image_id": 10, "category_id": 7, **box} for number, box in enumerate(boxes, start=100)
        ],
        "categories": [{"id": 7, "name": "zebra"}, {"id": 3, "name": "ant"}, {"id": 5, "name": "newt"}],
    }


def coco(root: Path, *boxes: dict[str, object], file: str = "annotations/instances_train.json") -> Path:
    image(root / "images" / "a.jpg")
    return text(root / file, json.dumps(coco_document("a.jpg", boxes=boxes)))


def yolo(root: Path, lines: str, *, split: str = "train", stem: str = "a") -> Path:
    image(root / "images" / split / f"{stem}.jpg")
    text(root / "data.yaml", "names: [zebra, ant]\n")
    return text(root / "labels" / split / f"{stem}.txt", lines)


BUILDERS = {
    "voc": lambda root: voc(root, "a", voc_object("ant", (1, 1, 5, 5))),
    "coco": lambda root: coco(root, {"bbox": [0, 0, 5, 5]}),
    "yolo": lambda root: yolo(root, "0 0.5 0.5 0.5 0.5\n"),
}


# Recognising


@pytest.mark.parametrize("layout", BUILDERS)
def test_a_layout_is_recognised_by_its_files(tmp_path: Path, layout: str) -> None:
    BUILDERS[layout](tmp_path)
    assert recognise(tmp_path) == layout
    assert len(load_detection(str(tmp_path)).samples) == 1


def test_folders_are_recognised_and_hold_no_boxes(tmp_path: Path) -> None:
    image(tmp_path / "cat" / "1.png")
    assert recognise(tmp_path) == "folders"
    with pytest.raises(
        DataError, match=r"^load_detection: data must be boxes, got images in folders named cat in .*These are for "
    ):
        load_detection(tmp_path)


def test_an_unknown_layout_says_what_was_seen(tmp_path: Path) -> None:
    text(tmp_path / "notes" / "readme.txt", "nothing")
    with pytest.raises(DataError, match=r"data must be images with labels, got 1 \.txt in .*Name the folder"):
        recognise(tmp_path)
    image(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"(?s)known, got 1 image, 1 \.txt in .*are read:\n  Pascal VOC .*COCO .*YOLO"):
        recognise(tmp_path)
    with pytest.raises(DataError, match="nowhere, which is not there"):
        recognise(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"load_folders: data must be laid out in a way that is known"):
        load_folders(tmp_path)


def test_a_mode_that_does_not_exist(tmp_path: Path) -> None:
    BUILDERS["voc"](tmp_path)
    with pytest.raises(ArgumentError, match="load_detection: on_bad must be fail or skip, got 'ignore'"):
        load_detection(tmp_path, on_bad="ignore")  # type: ignore[arg-type]


# Splits


def test_voc_splits_are_the_set_files_without_the_class_lists(tmp_path: Path) -> None:
    for stem in ("a", "b", "c"):
        voc(tmp_path, stem)
    for name, content in {"train": "c\na\n", "val": "b\n", "ant_train": "a  1\nc -1\n"}.items():
        text(tmp_path / "ImageSets" / "Main" / f"{name}.txt", content)
    assert splits(tmp_path) == ("train", "val")
    assert [sample.path.stem for sample in load_detection(tmp_path).samples] == ["a", "c"]
    assert load_detection(tmp_path).name == "train"
    assert [sample.path.stem for sample in load_detection(tmp_path, split="val").samples] == ["b"]


def test_no_split_means_every_image_where_there_is_no_train(tmp_path: Path) -> None:
    voc(tmp_path, "b")
    voc(tmp_path, "a")
    assert splits(tmp_path) == ("all",)
    for split in (None, "all"):
        data = load_detection(tmp_path, split=split)
        assert ([sample.path.stem for sample in data.samples], data.name) == (["a", "b"], "all")


def test_coco_splits_lose_their_year_and_find_their_images(tmp_path: Path) -> None:
    for split in ("train2017", "val2017"):
        image(tmp_path / split / "a.jpg", shade=len(split))
        text(tmp_path / "annotations" / f"instances_{split}.json", json.dumps(coco_document("a.jpg")))
        text(tmp_path / "annotations" / f"captions_{split}.json", "{}")
    assert splits(tmp_path) == ("train", "val")
    assert load_detection(tmp_path, split="val").samples[0].path == tmp_path / "val2017" / "a.jpg"


@pytest.mark.parametrize(
    ("file", "place", "expected"),
    [
        ("annotations/train.json", "images/train", ("train",)),
        ("train.json", "train", ("train",)),
        ("annotations.json", "images", ("all",)),
        ("annotations/annotations.json", "", ("all",)),
        ("_annotations.coco.json", "", ("all",)),
        ("train/_annotations.coco.json", "train", ("train",)),
        ("valid/_annotations.coco.json", "valid", ("val",)),
    ],
)
def test_coco_files_and_images_lie_in_many_places(
    tmp_path: Path, file: str, place: str, expected: tuple[str, ...]
) -> None:
    path = image(tmp_path / place / "a.jpg")
    text(tmp_path / file, json.dumps(coco_document("a.jpg")))
    assert splits(tmp_path) == expected
    assert load_detection(tmp_path, split=expected[0]).samples[0].path == path


def test_yolo_splits_by_folders_and_by_data_yaml(tmp_path: Path) -> None:
    yolo(tmp_path, "", split="train")
    yolo(tmp_path, "", split="val")
    assert splits(tmp_path) == ("train", "val")
    text(tmp_path / "data.yaml", "path: /somewhere/else\ntrain: images/val\nnames: {0: zebra, 1: ant}\nnc: 2\n")
    data = load_detection(tmp_path)
    assert splits(tmp_path) == ("train",)
    assert data.samples[0].path == tmp_path / "images" / "val" / "a.jpg"
    assert data.classes == ("ant", "zebra")


def test_yolo_as_roboflow_exports_it(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        image(tmp_path / split / "images" / "a.jpg", shade=len(split))
        text(tmp_path / split / "labels" / "a.txt", "1 0.5 0.5 1 1\n")
    text(tmp_path / "data.yaml", "train: ../train/images\nval: ../valid/images\nnames: ['zebra', 'ant']\n")
    assert splits(tmp_path) == ("train", "val")
    assert load_detection(tmp_path, split="val").samples[0].labels.tolist() == [0]
    text(tmp_path / "data.yaml", "names: ['zebra', 'ant']\n")
    assert splits(tmp_path) == ("train", "val")


def test_yolo_splits_that_are_lists_of_images(tmp_path: Path) -> None:
    for stem in "abc":
        yolo(tmp_path, "0 0.5 0.5 1 1\n", split="all", stem=stem)
    text(tmp_path / "lists" / "train.txt", "./images/all/c.jpg\n\nimages/all/a.jpg\n../images/all/b.jpg\n")
    text(tmp_path / "val.txt", "images/all/b.jpg\nimages/all/lost.jpg\n../outside.jpg\n")
    text(tmp_path / "data.yaml", "train: lists/train.txt\nval: val.txt\nnames: [zebra, ant]\n")
    data = load_detection(tmp_path)
    assert [sample.path.resolve() for sample in data.samples] == [
        tmp_path / "images" / "all" / f"{stem}.jpg" for stem in "abc"
    ]
    assert all(len(sample.boxes) == 1 for sample in data.samples)
    val = load_detection(tmp_path, split="val", on_bad="skip")
    assert [sample.path.name for sample in val.samples] == ["b.jpg"]
    assert [problem.what for problem in val.problems] == [
        "the image 'lost.jpg' is missing",
        "the image 'outside.jpg' is missing",
    ]


@pytest.mark.parametrize("place", ["classes.txt", "labels/classes.txt"])
def test_yolo_without_data_yaml(tmp_path: Path, place: str) -> None:
    image(tmp_path / "images" / "a.jpg")
    text(tmp_path / "labels" / "a.txt", "1 0.5 0.5 1 1\n")
    text(tmp_path / place, "zebra\nant\n")
    data = load_detection(tmp_path)
    assert (data.classes, data.name, data.samples[0].labels.tolist()) == (("ant", "zebra"), "all", [0])


@pytest.mark.parametrize("layout", BUILDERS)
def test_an_unknown_split_names_those_that_exist(tmp_path: Path, layout: str) -> None:
    BUILDERS[layout](tmp_path)
    names = ", ".join(dict.fromkeys((*splits(tmp_path), "all")))
    with pytest.raises(DataError, match=f"load_detection: split must be one of {names}, got 'test'"):
        load_detection(tmp_path, split="test")


# Boxes


def only(root: Path) -> Sample:
    (sample,) = load_detection(root).samples
    return sample


def test_voc_corners_count_from_one_and_are_part_of_the_box(tmp_path: Path) -> None:
    voc(tmp_path, "a", voc_object("ant", (1, 1, WIDTH, HEIGHT)), voc_object("bee", ("7.0", 3, 7, 3), difficult=1))
    sample = only(tmp_path)
    assert sample.boxes.tolist() == [[0, 0, WIDTH, HEIGHT], [6, 2, 7, 3]]
    assert sample.difficult.tolist() == [False, True]
    assert sample.crowd.tolist() == [False, False]
    assert sample.labels.tolist() == [0, 1]
    assert sample.size == (HEIGHT, WIDTH)


def test_coco_boxes_are_corner_and_sides(tmp_path: Path) -> None:
    coco(tmp_path, {"bbox": [1.5, 2, 10, 20]}, {"bbox": [0, 0, 60, 40], "iscrowd": 1, "category_id": 3})
    sample = only(tmp_path)
    assert sample.boxes.tolist() == [[1.5, 2, 11.5, 22], [0, 0, 60, 40]]
    assert sample.crowd.tolist() == [False, True]
    assert sample.difficult.tolist() == [False, False]
    assert sample.labels.tolist() == [2, 0]


def test_yolo_boxes_are_centre_and_sides_of_the_image(tmp_path: Path) -> None:
    yolo(tmp_path, "1 0.5 0.5 0.5 0.25\n\n0 0.25 0.5 0.5 1\n")
    sample = only(tmp_path)
    assert sample.boxes.tolist() == [[15, 15, 45, 25], [0, 0, 30, 40]]
    assert sample.labels.tolist() == [0, 1]


def test_yolo_polygons_give_the_box_around_them(tmp_path: Path) -> None:
    yolo(tmp_path, "1 0.5 0.25 0.75 0.5 0.25 0.75\n0 0.1 0.1 0.2 0.1 0.2 0.3 0.1 0.3\n")
    sample = only(tmp_path)
    np.testing.assert_allclose(sample.boxes, [[15, 10, 45, 30], [6, 4, 12, 12]])
    assert sample.labels.tolist() == [0, 1]


@pytest.mark.parametrize("layout", BUILDERS)
def test_types_of_samples_with_and_without_boxes(tmp_path: Path, layout: str) -> None:
    BUILDERS[layout](tmp_path)
    full = only(tmp_path)
    {
        "voc": lambda: voc(tmp_path, "a"),
        "coco": lambda: coco(tmp_path),
        "yolo": lambda: (tmp_path / "labels/train/a.txt").unlink(),
    }[layout]()
    for count, sample in ((1, full), (0, only(tmp_path))):
        assert (sample.boxes.shape, sample.boxes.dtype) == ((count, 4), np.float64)
        assert (sample.labels.shape, sample.labels.dtype) == ((count,), np.int64)
        assert (sample.difficult.shape, sample.difficult.dtype) == ((count,), np.bool_)
        assert (sample.crowd.shape, sample.crowd.dtype) == ((count,), np.bool_)


def test_the_size_is_of_the_upright_image(tmp_path: Path) -> None:
    voc(tmp_path, "a")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "JPEGImages" / "a.jpg", exif=exif)
    assert only(tmp_path).size == (WIDTH, HEIGHT)


def test_a_box_that_hangs_out_is_cut_to_the_image(tmp_path: Path) -> None:
    coco(tmp_path, {"bbox": [-5, 30, 20, 30]})
    assert only(tmp_path).boxes.tolist() == [[0, 30, 15, 40]]


VOC_BAD = {
    "empty": ((9, 9, 8, 20), "is empty or inverted"),
    "inverted": ((20, 20, 9, 9), "is empty or inverted"),
    "not a number": (("nan", 1, 9, 9), "is not finite"),
    "endless": ((1, 1, "inf", 9), "is not finite"),
    "outside": ((WIDTH + 1, 1, WIDTH + 9, 9), "lies outside the image of 40 x 60 pixels"),
}


@pytest.mark.parametrize("on_bad", ["fail", "skip"])
@pytest.mark.parametrize(("corners", "reason"), VOC_BAD.values(), ids=VOC_BAD)
def test_bad_voc_boxes_are_dropped_with_file_and_line(
    tmp_path: Path, corners: tuple[object, ...], reason: str, on_bad: str
) -> None:
    file = voc(tmp_path, "a", voc_object("ant", (1, 1, 5, 5)), voc_object("ant", corners))
    data = load_detection(tmp_path, on_bad=on_bad)  # type: ignore[arg-type]
    (problem,) = data.problems
    assert data.samples[0].boxes.tolist() == [[0, 0, 5, 5]]
    assert (problem.path, problem.line, problem.code) == (file, 15, "box-dropped")
    assert str(problem).startswith(f"{file}:15: the box [")
    assert reason in str(problem)


def test_bad_coco_boxes_are_dropped_and_named_by_their_annotation(tmp_path: Path) -> None:
    file = coco(tmp_path, {"bbox": [1, 1, 0, 5]}, {"bbox": [float("nan"), 1, 1, 1]}, {"bbox": [1, 1, 2, 2]})
    data = load_detection(tmp_path)
    assert len(data.samples[0].boxes) == 1
    assert [str(problem) for problem in data.problems] == [
        f"{file}: annotation 100: the box [1, 1, 1, 6] is empty or inverted; it is dropped",
        f"{file}: annotation 101: the box [nan, 1, nan, 2] is not finite; it is dropped",
    ]


def test_bad_yolo_boxes_are_dropped_with_file_and_line(tmp_path: Path) -> None:
    file = yolo(tmp_path, "0 0.5 0.5 1 1\n\n2 0.5 0.5 1 1\n-1 0.5 0.5 1 1\n0 0.5 0.5 0 1\n0 1.5 0.5 0.5 1\n")
    data = load_detection(tmp_path)
    assert [problem.line for problem in data.problems] == [3, 4, 5, 6]
    assert str(data.problems[0]) == (
        f"{file}:3: the box [0, 0, 60, 40] has class 2, and names are told for 0 to 1; it is dropped"
    )
    assert len(data.samples[0].boxes) == 1


# Broken annotations and images

BOMB = '<!DOCTYPE b [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>\n<annotation>&b;</annotation>'
OUTSIDE_ENTITY = '<!DOCTYPE b [<!ENTITY a SYSTEM "file:///etc/hostname">]>\n<annotation>&a;</annotation>'
BROKEN_XML = {
    "bomb": (BOMB, ":1: declares entities, which are refused"),
    "outside entity": (OUTSIDE_ENTITY, ":1: declares entities"),
    "deep": ("<annotation>\n" + "<a>" * 40, ":2: cannot be read: elements lie more than 32 deep"),
    "truncated": ("<annotation>\n<object>\n", ":3: is not XML: no element found"),
    "empty": ("", ":1: is not XML"),
    "encoding": ('<?xml version="1.0" encoding="nonsense"?><annotation/>', ":1: cannot be read: unknown encoding"),
    "another root": ("\n<html/>", ":2: must hold an <annotation>, got <html>"),
    "words": (f"<annotation>\n{voc_object('a', ('one', 1, 2, 2))}</annotation>", ":2: <xmin> must be a number"),
    "large": ("<annotation>" + " " * 10_000_000 + "</annotation>", ": is larger than 10,000,000 bytes"),
}


def assert_refused(root: Path, start: str) -> DetectionData:
    """One sample or row is broken: "fail" raises, "skip" keeps the others and says the same."""
    with pytest.raises(DataError) as caught:
        load_detection(root)
    data = load_detection(root, on_bad="skip")
    (problem,) = (problem for problem in data.problems if problem.level == "error")
    assert str(problem) == str(caught.value)
    assert str(caught.value).startswith(start)
    assert [sample.path.stem for sample in data.samples if sample.path.stem == "good"] == ["good"]
    return data


@pytest.mark.parametrize(("content", "reason"), BROKEN_XML.values(), ids=BROKEN_XML)
def test_broken_xml_is_named_with_its_line(tmp_path: Path, content: str, reason: str) -> None:
    voc(tmp_path, "good")
    file = voc(tmp_path, "bad")
    text(file, content)
    assert_refused(tmp_path, f"{file}{reason}")


@given(st.binary(max_size=60), st.integers(0, 120))
@settings(max_examples=150, deadline=None)
def test_no_bytes_in_an_annotation_raise_anything_but_data_error(noise: bytes, at: int) -> None:
    with TemporaryDirectory() as folder:
        file = voc(Path(folder), "a", voc_object("ant", (1, 1, 5, 5)))
        content = file.read_bytes()
        file.write_bytes(content[:at] + noise + content[at + len(noise) :])
        with contextlib.suppress(DataError):
            load_detection(folder, on_bad="skip")


def test_a_image_that_is_missing_or_unreadable(tmp_path: Path) -> None:
    voc(tmp_path, "good")
    file = voc(tmp_path, "bad", filename="gone.jpg")
    path = tmp_path / "JPEGImages" / "bad.jpg"
    path.write_bytes(b"no image")
    assert_refused(tmp_path, f"{path}: cannot be read: its content is none of JPEG")
    path.unlink()
    assert_refused(tmp_path, f"{file}:2: the image 'gone.jpg' is missing")
    image(tmp_path / "JPEGImages" / "gone.jpg")
    assert len(load_detection(tmp_path).samples) == 2


def test_a_name_in_a_split_without_annotation(tmp_path: Path) -> None:
    voc(tmp_path, "good")
    file = text(tmp_path / "ImageSets" / "Main" / "train.txt", "good\n\n../good\n")
    assert_refused(tmp_path, f"{file}:3: the annotation of '../good' is missing")


@pytest.mark.parametrize("layout", ["coco", "yolo"])
def test_unreadable_images_of_the_other_layouts(tmp_path: Path, layout: str) -> None:
    if layout == "coco":
        image(tmp_path / "images" / "good.jpg")
        path = text(tmp_path / "images" / "bad.jpg", "")
        text(tmp_path / "annotations.json", json.dumps(coco_document("good.jpg", "bad.jpg")))
    else:
        yolo(tmp_path, "", stem="good")
        path = text(tmp_path / "images" / "train" / "bad.jpg", "")
    assert_refused(tmp_path, f"{path}: cannot be read: ")


@pytest.mark.parametrize(
    "line",
    [
        "0 0.5 0.5 1",
        "0 0.1 0.1 0.2 0.2 0.3 0.3 0.4",
        "ant 0.5 0.5 1 1",
        "0 0.5 half 1 1",
        "0.5 0.5 0.5 1 1",
    ],
)
def test_broken_yolo_lines(tmp_path: Path, line: str) -> None:
    yolo(tmp_path, "", stem="good")
    file = yolo(tmp_path, f"0 0.5 0.5 1 1\n{line}\n", stem="bad")
    form = "class, centre x, centre y, width, height, or class and three corners x, y at least"
    expected = f"the line must be {form}, got {line!r}"
    assert_refused(tmp_path, f"{file}:2: {expected}")


def test_labels_that_are_not_text(tmp_path: Path) -> None:
    yolo(tmp_path, "", stem="good")
    file = yolo(tmp_path, "", stem="bad")
    file.write_bytes(b"0 0.5 \xff 1 1")
    assert_refused(tmp_path, f"{file}: is not UTF-8 text")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("names: [a\n", ":2: is not YAML"),
        ("- a\n", ": must hold names"),
        ("train: images/train\n", ": names must list the classes"),
        ("names: {0: a, b: c}\n", ":1: names must list the classes"),
        ("names: &n [a]\nothers: [*n, *n]\n", ":2: uses aliases or tags, or lies more than 16 deep"),
        ("names: [!!python/object/apply:os.getcwd []]\n", ":1: uses aliases or tags"),
        ("names: " + "[" * 900_000, ":1: uses aliases or tags, or lies more than 16 deep"),
    ],
)
def test_a_broken_data_yaml_is_refused_in_both_modes(tmp_path: Path, content: str, reason: str) -> None:
    yolo(tmp_path, "")
    file = text(tmp_path / "data.yaml", content)
    for on_bad in ("fail", "skip"):
        with pytest.raises(DataError) as caught:
            load_detection(tmp_path, on_bad=on_bad)  # type: ignore[arg-type]
        assert str(caught.value).startswith(f"{file}{reason}")


def test_a_yolo_set_without_images(tmp_path: Path) -> None:
    text(tmp_path / "data.yaml", "names: [a]\ntrain: /elsewhere\n")
    with pytest.raises(DataError, match=r"data\.yaml:2: train: /elsewhere leads nowhere, and no folder .* Correct"):
        load_detection(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    text(tmp_path / "data.yaml", "names: [a]\ntrain: elsewhere\n")
    with pytest.raises(DataError, match="train holds no images"):
        load_detection(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"images": [\n', ":2: is not JSON"),
        ("[" * 100_000, ": is not usable JSON"),
        ("[]", ": must hold images, annotations and categories"),
        ('{"images": []}', ": must hold a list of records named annotations"),
        ('{"images": [7], "annotations": [], "categories": []}', ": must hold a list of records named images"),
        ('{"images": [{"id": []}], "annotations": [], "categories": []}', ": id []: id must be of type int, got []"),
        ('{"images": [{"id": 1}, {"id": 1}], "annotations": [], "categories": []}', ": two images have the same id"),
    ],
)
def test_a_broken_coco_file_is_refused_in_both_modes(tmp_path: Path, content: str, reason: str) -> None:
    file = text(tmp_path / "annotations.json", content)
    for on_bad in ("fail", "skip"):
        with pytest.raises(DataError) as caught:
            load_detection(tmp_path, on_bad=on_bad)  # type: ignore[arg-type]
        assert str(caught.value).startswith(f"{file}{reason}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bbox": [1, 2, 3]}, "annotation 100: bbox must be 4 numbers (left, top, width, height), got [1, 2, 3]"),
        ({"bbox": None}, "annotation 100: bbox must be 4 numbers"),
        ({"bbox": [1, 2, [], 3]}, "annotation 100: bbox must be a number, got []"),
        ({"bbox": [1, 2, 10**400, 3]}, "annotation 100: bbox must be a number"),
        ({"bbox": [1, 2, 3, 4], "category_id": 1}, "annotation 100: category_id must be an id of categories, got 1"),
        ({"bbox": [1, 2, 3, 4], "category_id": []}, "annotation 100: category_id must be an id of categories"),
    ],
)
def test_a_coco_annotation_without_box_costs_itself(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    image(tmp_path / "a.jpg")
    boxes = [change, {"bbox": [1, 2, 3, 4]}]
    file = text(tmp_path / "annotations.json", json.dumps(coco_document("a.jpg", boxes=boxes)))
    data = load_detection(tmp_path)
    assert len(data.samples[0].boxes) == 1
    assert [str(problem).startswith(f"{file}: {reason}") for problem in data.problems] == [True]


def test_a_coco_annotation_of_no_image(tmp_path: Path) -> None:
    image(tmp_path / "good.jpg")
    boxes = [{"bbox": [1, 1, 2, 2], "image_id": 99}]
    file = text(tmp_path / "annotations.json", json.dumps(coco_document("good.jpg", boxes=boxes)))
    assert_refused(tmp_path, f"{file}: annotation 100: there is no image with id 99")


# Staying inside


@pytest.mark.parametrize("name", ["../secret.jpg", "images/../../secret.jpg", "ABSOLUTE", "nul\0.jpg"])
def test_a_coco_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    root, secret = tmp_path / "data", image(tmp_path / "secret.jpg")
    image(root / "good.jpg")
    written = str(secret) if name == "ABSOLUTE" else name
    text(root / "annotations.json", json.dumps(coco_document("good.jpg", written)))
    with pytest.raises(DataError, match=r"annotations\.json: the image '.*(secret|nul).*' leads out of the data set"):
        load_detection(root)
    assert len(load_detection(root, on_bad="skip").samples) == 1


def test_a_name_too_long_for_a_file_is_missing(tmp_path: Path) -> None:
    image(tmp_path / "good.jpg")
    file = text(tmp_path / "annotations.json", json.dumps(coco_document("good.jpg", "x" * 5000)))
    assert_refused(tmp_path, f"{file}: the image 'xxx")


def test_a_voc_filename_that_leads_out_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "data"
    image(tmp_path / "secret.jpg")
    voc(root, "good")
    file = voc(root, "bad", filename="../../secret.jpg")
    (root / "JPEGImages" / "bad.jpg").unlink()
    assert_refused(root, f"{file}:2: the image '../../secret.jpg' leads out of the data set")


def test_links_are_followed_inside_and_outside_alike(tmp_path: Path) -> None:
    root = tmp_path / "data"
    file = voc(root, "a", voc_object("ant", (1, 1, 5, 5)))
    for linked in (file, root / "JPEGImages" / "a.jpg"):
        moved = shutil.move(linked, tmp_path / linked.name)
        linked.symlink_to(moved)
    (root / "Annotations" / "loop").symlink_to(root)
    assert only(root).boxes.tolist() == [[0, 0, 5, 5]]
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"the image 'elsewhere\.jpg' is missing"):
        load_detection(root)
    (problem,) = (each for each in load_detection(root, on_bad="skip").problems if each.code == "link-broken")
    assert str(problem) == f"{root / 'JPEGImages' / 'a.jpg'}: is a link that leads nowhere"


def test_a_root_that_is_itself_a_link(tmp_path: Path) -> None:
    voc(tmp_path / "data", "a")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert only(tmp_path / "link").path == tmp_path / "link" / "JPEGImages" / "a.jpg"


# Classes


def test_classes_are_sorted_in_every_layout(tmp_path: Path) -> None:
    voc(tmp_path / "voc", "a", voc_object("zebra", (1, 1, 5, 5)), voc_object("ant", (1, 1, 5, 5)))
    BUILDERS["coco"](tmp_path / "coco")
    BUILDERS["yolo"](tmp_path / "yolo")
    assert load_detection(tmp_path / "voc").classes == ("ant", "zebra")
    assert load_detection(tmp_path / "coco").classes == ("ant", "newt", "zebra")
    assert load_detection(tmp_path / "yolo").classes == ("ant", "zebra")


@pytest.mark.parametrize("layout", BUILDERS)
def test_given_classes_fix_the_order(tmp_path: Path, layout: str) -> None:
    BUILDERS[layout](tmp_path)
    used = load_detection(tmp_path)
    name = used.classes[int(used.samples[0].labels[0])]
    data = load_detection(tmp_path, classes=["first", name])
    assert data.classes == ("first", name)
    assert data.samples[0].labels.tolist() == [1]


@pytest.mark.parametrize(
    ("layout", "place"),
    [
        ("voc", r"Annotations/a.xml:6: the"),
        ("coco", r"instances_train.json: annotation 100: the"),
        ("yolo", r"labels/train/a.txt:1: the"),
    ],
)
def test_a_class_that_was_not_given_is_refused_in_both_modes(tmp_path: Path, layout: str, place: str) -> None:
    BUILDERS[layout](tmp_path)
    for on_bad in ("fail", "skip"):
        with pytest.raises(DataError, match=rf"{place} class must be one of dog, cow, got '(ant|zebra)'"):
            load_detection(tmp_path, classes=["dog", "cow"], on_bad=on_bad)  # type: ignore[arg-type]


# Files in many shapes


@pytest.mark.parametrize("suffix", [".JPG", ".Jpeg", ".png", ".PNG", ".GIF"])
def test_suffixes_of_any_case(tmp_path: Path, suffix: str) -> None:
    file = voc(tmp_path / "voc", "a.b", suffix=suffix)
    file.rename(file.with_suffix(".XML"))
    assert only(tmp_path / "voc").path.suffix == suffix
    image(tmp_path / "folders" / "cat" / f"1{suffix}")
    assert len(load_folders(tmp_path / "folders").paths) == 1


def test_hidden_files_are_no_annotations_and_no_images(tmp_path: Path) -> None:
    voc(tmp_path / "voc", "a")
    text(tmp_path / "voc" / "Annotations" / "._a.xml", "junk")
    assert only(tmp_path / "voc").path.stem == "a"
    yolo(tmp_path / "yolo", "")
    text(tmp_path / "yolo" / "images" / "train" / "._a.jpg", "junk")
    assert only(tmp_path / "yolo").path.stem == "a"


# Folders


def test_folders_in_sorted_order(tmp_path: Path) -> None:
    for name in ("dog/2.jpg", "dog/10.jpg", "cat/9.png"):
        image(tmp_path / name)
    text(tmp_path / "dog" / ".hidden.jpg", "")
    text(tmp_path / "dog" / "notes.txt", "")
    image(tmp_path / ".git" / "1.jpg")
    data = load_folders(tmp_path)
    assert data.classes == ("cat", "dog")
    assert [path.relative_to(tmp_path).as_posix() for path in data.paths] == ["cat/9.png", "dog/10.jpg", "dog/2.jpg"]
    assert (data.labels.tolist(), data.labels.dtype) == ([0, 1, 1], np.int64)
    assert (data.problems, splits(tmp_path)) == ((), ("all",))


def test_a_list_of_classes_beside_the_folders_does_not_make_them_yolo(tmp_path: Path) -> None:
    image(tmp_path / "images" / "cat" / "1.jpg")
    image(tmp_path / "cat" / "1.jpg")
    text(tmp_path / "classes.txt", "cat\n")
    assert recognise(tmp_path) == "folders"


def test_folders_with_splits(tmp_path: Path) -> None:
    for name in ("train/cat/1.jpg", "train/dog/1.jpg", "valid/cat/2.jpg", "extra/cat/3.jpg"):
        image(tmp_path / name)
    assert splits(tmp_path) == ("train", "val")
    assert len(load_folders(tmp_path).paths) == 2
    val = load_folders(tmp_path, split="val", classes=["dog", "cat"])
    assert (val.classes, val.labels.tolist()) == (("dog", "cat"), [1])
    with pytest.raises(DataError, match="load_folders: split must be one of train, val, all, got 'test'"):
        load_folders(tmp_path, split="test")
    shutil.rmtree(tmp_path / "train")
    image(tmp_path / "test" / "cat" / "1.jpg")
    with pytest.raises(DataError, match="load_folders: split must be named, for there is no 'train'"):
        load_folders(tmp_path)
    assert len(load_folders(tmp_path, split="all").paths) == 2


def test_a_class_called_train_is_no_split(tmp_path: Path) -> None:
    for name in ("train/1.jpg", "ship/1.jpg"):
        image(tmp_path / name)
    assert load_folders(tmp_path).classes == ("ship", "train")


def test_an_empty_class_is_kept_and_named(tmp_path: Path) -> None:
    image(tmp_path / "cat" / "1.jpg")
    (tmp_path / "dog").mkdir()
    data = load_folders(tmp_path)
    assert data.classes == ("cat", "dog")
    assert [str(problem) for problem in data.problems] == [f"{tmp_path / 'dog'}: holds no images"]


def test_a_folder_that_was_not_given_as_class(tmp_path: Path) -> None:
    image(tmp_path / "cat" / "1.jpg")
    with pytest.raises(DataError, match="cat: the class must be one of dog, cow"):
        load_folders(tmp_path, classes=["dog", "cow"])


def test_links_in_class_folders_are_followed(tmp_path: Path) -> None:
    root = tmp_path / "data"
    image(root / "cat" / "1.jpg")
    (root / "cat" / "2.jpg").symlink_to(image(tmp_path / "outside.jpg"))
    (root / "cat" / "3.jpg").symlink_to(tmp_path / "nowhere.jpg")
    data = load_folders(root)
    assert [path.name for path in data.paths] == ["1.jpg", "2.jpg"]
    assert [problem.code for problem in data.problems] == ["link-broken"]


def test_duplicates_across_splits(tmp_path: Path) -> None:
    first, second = image(tmp_path / "1.png", shade=1), image(tmp_path / "2.png", shade=2)
    copy = Path(shutil.copy(first, tmp_path / "copy.png"))
    found = duplicates({"train": [first, second], "val": [copy], "test": [second]})
    assert found == [("train", first, "val", copy), ("train", second, "test", second)]
    assert duplicates({"train": [first, copy], "val": [second]}) == []


# Writing

CLASSES = ("zebra", "ant", "Ärger & <mehr>")


def _rounded(pair: tuple[list[float], list[float]]) -> tuple[float, ...]:
    return tuple(round(end, 2) for ends in pair for end in ends)


@st.composite
def samples(draw: st.DrawFn, *, whole: bool) -> list[tuple[list[list[float]], list[int], list[bool]]]:
    """Boxes, labels and flags of a few images of HEIGHT x WIDTH."""

    def interval(length: int) -> st.SearchStrategy[list[float]]:
        number = st.integers(0, length) if whole else st.floats(0, length)
        return st.lists(number, min_size=2, max_size=2).map(sorted).filter(lambda ends: ends[1] - ends[0] > 1e-3)

    images = []
    for _ in range(draw(st.integers(1, 3))):
        # The same box twice would count once.
        pairs = draw(st.lists(st.tuples(interval(WIDTH), interval(HEIGHT)), max_size=4, unique_by=_rounded))
        boxes = [[across[0], down[0], across[1], down[1]] for across, down in pairs]
        labels = [draw(st.integers(0, len(CLASSES) - 1)) for _ in boxes]
        images.append((boxes, labels, [draw(st.booleans()) for _ in boxes]))
    return images


def made(root: Path, place: str, drawn: list[tuple[list[list[float]], list[int], list[bool]]]) -> DetectionData:
    built = [
        Sample(
            path=image(root / place / f"{number}.png"),
            boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
            labels=np.array(labels, dtype=np.int64),
            difficult=np.array(flags, dtype=np.bool_),
            crowd=np.array(flags, dtype=np.bool_),
            size=(HEIGHT, WIDTH),
        )
        for number, (boxes, labels, flags) in enumerate(drawn)
    ]
    return DetectionData(root, CLASSES, tuple(built), (), "train")


def assert_same(data: DetectionData, again: DetectionData, *, tolerance: float) -> None:
    assert {problem.code for problem in again.problems} <= {"labels-empty"}
    assert (again.name, again.classes) == (data.name, data.classes)
    assert [sample.path for sample in again.samples] == [sample.path for sample in data.samples]
    for old, new in zip(data.samples, again.samples, strict=True):
        np.testing.assert_allclose(new.boxes, old.boxes, rtol=1e-6 * (tolerance > 0), atol=tolerance)
        assert new.labels.tolist() == old.labels.tolist()


@given(samples(whole=True))
@settings(max_examples=25, deadline=None)
def test_voc_gives_whole_boxes_back(drawn: list[tuple[list[list[float]], list[int], list[bool]]]) -> None:
    with TemporaryDirectory() as folder:
        data = made(Path(folder), "JPEGImages", drawn)
        write_voc(folder, data)
        again = load_detection(folder, classes=CLASSES)
        assert_same(data, again, tolerance=0)
        assert [s.difficult.tolist() for s in again.samples] == [s.difficult.tolist() for s in data.samples]


@given(samples(whole=False))
@settings(max_examples=25, deadline=None)
def test_coco_gives_boxes_back(drawn: list[tuple[list[list[float]], list[int], list[bool]]]) -> None:
    edges = np.array([box for boxes, _, _ in drawn for box in boxes]).reshape(-1, 4)
    assume(not len(edges) or edges.max() > 1)  # all within the first pixel: they are read as parts of their images
    with TemporaryDirectory() as folder:
        data = made(Path(folder), "images/here", drawn)
        write_coco(Path(folder) / "annotations" / "instances_train.json", data)
        again = load_detection(folder, classes=CLASSES)
        assert_same(data, again, tolerance=1e-3)
        assert [s.crowd.tolist() for s in again.samples] == [s.crowd.tolist() for s in data.samples]


@given(samples(whole=False))
@settings(max_examples=25, deadline=None)
def test_yolo_gives_boxes_back(drawn: list[tuple[list[list[float]], list[int], list[bool]]]) -> None:
    with TemporaryDirectory() as folder:
        data = made(Path(folder), "images/train", drawn)
        write_yolo(folder, data)
        assert_same(data, load_detection(folder, classes=CLASSES), tolerance=1e-3)


def test_voc_keeps_parts_of_pixels(tmp_path: Path) -> None:
    write_voc(tmp_path, made(tmp_path, "JPEGImages", [([[1.2, 3.0, 1.4, 5.5]], [0], [False])]))
    assert "<xmin>2.2</xmin>" in (tmp_path / "Annotations" / "0.xml").read_text()
    assert only(tmp_path).boxes.tolist() == [[1.2, 3, 1.4, 5.5]]


def test_yolo_keeps_the_other_splits_and_refuses_other_classes(tmp_path: Path) -> None:
    data = made(tmp_path, "images/train", [([], [], [])])
    write_yolo(tmp_path, data)
    val = DetectionData(tmp_path, CLASSES, made(tmp_path, "images/val", [([], [], [])]).samples, (), "val")
    write_yolo(tmp_path, val)
    assert splits(tmp_path) == ("train", "val")
    with pytest.raises(DataError, match=r"data.yaml: names must be other\. Write to another folder"):
        write_yolo(tmp_path, DetectionData(tmp_path, ("other",), (), (), "test"))


@pytest.mark.parametrize("write", [write_voc, write_yolo])
def test_two_images_of_one_name_are_not_written(tmp_path: Path, write: object) -> None:
    first, second = made(tmp_path, "a", [([], [], [])]), made(tmp_path, "b", [([], [], [])])
    data = DetectionData(tmp_path, CLASSES, first.samples + second.samples, (), "train")
    with pytest.raises(DataError, match="2 images are named '0'"):
        write(tmp_path, data)  # type: ignore[operator]


def test_coco_does_not_write_images_outside_its_root(tmp_path: Path) -> None:
    data = made(tmp_path, "a", [([], [], [])])
    with pytest.raises(DataError, match=r"0.png: the image must lie in .*elsewhere"):
        write_coco(tmp_path / "a.json", DetectionData(tmp_path / "elsewhere", CLASSES, data.samples, (), "train"))


# Results


class Answer(NamedTuple):
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    confidence: NDArray[np.float32]


def answers(data: DetectionData, seed: int) -> list[Answer]:
    """Find most objects, some a little beside them, and some that are not there."""
    rng = np.random.default_rng(seed)
    given = []
    for sample in data.samples:
        corner = rng.uniform(0, 30, (2, 2))
        boxes = np.concatenate([sample.boxes + rng.normal(0, 1, sample.boxes.shape), np.hstack([corner, corner + 9])])
        labels = np.append(sample.labels, rng.integers(len(data.classes), size=2))
        given.append(Answer(boxes, labels, rng.uniform(size=len(boxes)).astype(np.float32)))
    return given


def read_voc_results(folder: Path, competition: str, data: DetectionData) -> list[Answer]:
    """Read a development kit's files as its MATLAB does: words between spaces, corners from 1, both in the box."""
    rows: dict[str, list[tuple[list[float], int, float]]] = {sample.path.stem: [] for sample in data.samples}
    for label, name in enumerate(data.classes):
        file = folder / f"{competition}_det_{data.name}_{name}.txt"
        for line in file.read_text(encoding="utf-8").splitlines():
            stem, score, *corners = line.split()
            left, top, right, bottom = map(float, corners)
            rows[stem].append(([left - 1, top - 1, right, bottom], label, float(score)))
    columns = [[[row[place] for row in mine] for place in range(3)] for mine in rows.values()]
    return [
        Answer(np.array(boxes).reshape(-1, 4), np.array(labels), np.array(confidence))
        for boxes, labels, confidence in columns
    ]


def assert_same_answers(got: Answer, wanted: Answer) -> None:
    ranks, theirs = np.argsort(-got.confidence), np.argsort(-wanted.confidence)
    assert got.confidence[ranks].tolist() == wanted.confidence[theirs].tolist()
    assert got.labels[ranks].tolist() == wanted.labels[theirs].tolist()
    np.testing.assert_allclose(got.boxes[ranks], wanted.boxes[theirs], rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_vocs_result_files_give_the_detections_back(tmp_path: Path, seed: int) -> None:
    boxes = np.random.default_rng(seed).uniform(0, 20, (3, 2, 2))
    drawn = [(np.hstack([corner, corner + 15]).tolist(), [0, place], [False] * 2) for place, corner in enumerate(boxes)]
    data = made(tmp_path, "JPEGImages", drawn)
    found = answers(data, seed)
    write_voc_results(tmp_path / "out", data, found)
    write_voc_results(tmp_path / "out", data, found, competition="comp3")
    assert len(list((tmp_path / "out").iterdir())) == 2 * len(CLASSES)
    for competition in ("comp3", "comp4"):
        again = read_voc_results(tmp_path / "out", competition, data)
        for got, wanted in zip(again, found, strict=True):
            assert_same_answers(got, wanted)
    judged = [detection_report(each, data.samples, CLASSES).as_dict() for each in (found, again)]
    assert judged[0] == judged[1]


def test_a_line_of_vocs_result_files(tmp_path: Path) -> None:
    data = made(tmp_path, "JPEGImages", [([], [], [])])
    answer = Answer(np.array([[0.0, 4, 10, 20.5]]), np.array([1]), np.array([0.25], np.float32))
    write_voc_results(tmp_path, data, [answer])
    assert (tmp_path / "comp4_det_train_ant.txt").read_text() == "0 0.25 1.0 5.0 10.0 20.5\n"
    assert (tmp_path / "comp4_det_train_zebra.txt").read_text() == ""  # the kit reads every class's


def test_what_vocs_result_files_have_no_place_for(tmp_path: Path) -> None:
    data = made(tmp_path, "JPEGImages", [([], [], [])])
    nothing = Answer(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, np.float32))
    for name in ("../ant", "a\\b", ""):
        with pytest.raises(DataError, match="VOC's result files have no place for the name"):
            write_voc_results(tmp_path / "out", dataclasses.replace(data, classes=(name,)), [nothing])
    spaced = dataclasses.replace(data.samples[0], path=tmp_path / "a b.png")
    with pytest.raises(DataError, match=r"no place for the name 'a b'\. Rename it, or write COCO's: 'sppnet convert"):
        write_voc_results(tmp_path / "out", dataclasses.replace(data, samples=(spaced,)), [nothing])
    with pytest.raises(ArgumentError, match=r"competition must be comp3 or comp4, got 'comp5'\. Name one of these\."):
        write_voc_results(tmp_path / "out", data, [nothing], competition="comp5")  # type: ignore[arg-type]
    for write in (write_voc_results, write_coco_results):
        with pytest.raises(
            ArgumentError, match=rf"{write.__name__}: found must be one for each of the 1 images, got 2"
        ):
            write(tmp_path / "out", data, [nothing] * 2)
    assert not (tmp_path / "out").exists()


def numbered_coco(root: Path, *, split: str = "train", first: int = 41) -> Path:
    """Write a set whose numbers are neither in order nor without gaps."""
    rng = np.random.default_rng(first)
    names = [f"{split}{place}.jpg" for place in range(6)]
    images = [
        {"id": first + 7 * (place % 4) + place, "file_name": image(root / "images" / name).name}
        for place, name in enumerate(names)
    ]
    objects = [
        {"image_id": row["id"], "category_id": int(rng.choice([7, 3, 5])), "bbox": [*rng.uniform(0, 20, 2), 18, 17]}
        for row in images
        for _ in range(4)
    ]
    annotations = [{"id": number, "iscrowd": 0, "area": 306, **each} for number, each in enumerate(objects, start=1)]
    document = coco_document() | {"images": images, "annotations": annotations}
    return text(root / "annotations" / f"instances_{split}.json", json.dumps(document))


def by_faster_coco_eval(truth: Path, results: Path) -> Any:
    """Return its figures for two files, in its order."""
    tools = pytest.importorskip("faster_coco_eval")
    with contextlib.redirect_stdout(io.StringIO()):
        known = tools.COCO(str(truth))
        run = tools.COCOeval_faster(known, known.loadRes(str(results)), "bbox", print_function=lambda *_: None)
        for step in (run.evaluate, run.accumulate, run.summarize):
            step()
    return run.stats


@pytest.mark.parametrize("classes", [None, ("newt", "unknown", "zebra", "ant")])
def test_cocos_result_file_is_judged_as_the_detections_are(tmp_path: Path, classes: tuple[str, ...] | None) -> None:
    truth = numbered_coco(tmp_path)
    data = load_detection(tmp_path, split="train", classes=classes)
    found = answers(data, 1)
    write_coco_results(tmp_path / "out" / "results.json", data, found)
    figures = by_faster_coco_eval(truth, tmp_path / "out" / "results.json")
    expected = coco_precision(found, data.samples, data.classes)
    assert 0.2 < expected["AP"] < 0.9
    assert figures[:2].tolist() == pytest.approx([expected["AP"], expected["AP50"]])
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    known = json.loads(truth.read_text())
    assert {row["category_id"] for row in rows} == {3, 5, 7}
    assert {row["image_id"] for row in rows} == {image["id"] for image in known["images"]}
    names = {category["id"]: category["name"] for category in known["categories"]}
    files = {image["id"]: image["file_name"] for image in known["images"]}
    again = [(files[row["image_id"]], names[row["category_id"]], row["score"]) for row in rows]
    assert again == [
        (sample.path.name, data.classes[label], score)
        for sample, answer in zip(data.samples, found, strict=True)
        for label, score in zip(answer.labels.tolist(), answer.confidence.tolist(), strict=True)
        if data.classes[label] != "unknown"
    ]


def test_cocos_boxes_come_back_and_other_sets_are_numbered_as_they_are_written(tmp_path: Path) -> None:
    data = made(tmp_path, "JPEGImages", [([[1, 2, 30, 40]], [2], [False]), ([[0, 0, 20.5, 9]], [0], [False])])
    found = answers(data, 2)
    write_coco(tmp_path / "truth.json", data)
    write_coco_results(tmp_path / "results.json", data, found)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["image_id"] for row in rows] == [1] * 3 + [2] * 3
    again = [[x, y, x + width, y + height] for x, y, width, height in (row["bbox"] for row in rows)]
    np.testing.assert_allclose(again, np.concatenate([each.boxes for each in found]), rtol=0, atol=1e-12)
    figures = by_faster_coco_eval(tmp_path / "truth.json", tmp_path / "results.json")
    plain = [dataclasses.replace(each, crowd=np.zeros(1, bool), difficult=np.zeros(1, bool)) for each in data.samples]
    assert figures[0] == pytest.approx(coco_precision(found, plain, CLASSES)["AP"])


def test_images_of_several_files_are_counted(tmp_path: Path) -> None:
    for split in ("test", "val"):  # both have the same numbers
        numbered_coco(tmp_path, split=split)
    assert load_detection(tmp_path, split="val").samples[0].number == 41
    data = load_detection(tmp_path, split="test+val")
    assert len(data.samples) == 12
    write_coco_results(tmp_path / "results.json", data, answers(data, 3))
    rows = json.loads((tmp_path / "results.json").read_text())
    assert {row["image_id"] for row in rows} == set(range(1, 13))
    assert {row["category_id"] for row in rows} == {1, 2, 3}


# The real sets


def test_bccd(shared_data: Path) -> None:
    train, val = (load_detection(shared_data / "bccd", split=split) for split in ("train", "val"))
    assert splits(shared_data / "bccd") == ("train", "trainval", "val")
    assert (len(train.samples), len(val.samples)) == (205, 87)
    assert train.classes == val.classes == ("Platelets", "RBC", "WBC")
    assert {sample.size for sample in train.samples} == {(480, 640)}
    paths = {data.name: [sample.path for sample in data.samples] for data in (train, val)}
    assert duplicates(paths) == []


def test_caltech101(shared_data: Path) -> None:
    data = load_folders(shared_data / "caltech101" / "101_ObjectCategories")
    assert (len(data.paths), len(data.classes), data.problems) == (9144, 102, ())
