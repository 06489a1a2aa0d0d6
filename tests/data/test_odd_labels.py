"""What other tools write differently: read right all the same, or named with the file and what to do."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.drawing import NAMES, SIZE, Box, coco, dump, image, text, voc

from sppnet.data import DetectionData, load_detection, open_dataset, splits
from sppnet.errors import DataError

WIDTH, HEIGHT = SIZE


def drawn(root: Path, folder: str = "images") -> dict[str, list[Box]]:
    return {f"{k}.jpg": image(root / folder / f"{k}.jpg", k) for k in range(3)}


def rows(made: dict[str, list[Box]], form: str) -> str:
    return "".join(
        form.format(name=name, c=c, kind=NAMES[c], x=x, y=y, r=r, b=b, w=r - x, h=b - y)
        for name, boxes in made.items()
        for c, x, y, r, b in boxes
    )


def assert_read(data: DetectionData, expected: dict[str, list[Box]]) -> None:
    assert [(problem.code, str(problem)) for problem in data.problems] == []
    found = {sample.path.name: [[*box] for box in sample.boxes.tolist()] for sample in data}
    assert found == {name: [[*map(float, box[1:])] for box in boxes] for name, boxes in expected.items()}


# Encodings and ways of writing numbers


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "iso-8859-1"])
def test_xml_of_other_encodings(tmp_path: Path, encoding: str) -> None:
    made = drawn(tmp_path)
    for name, boxes in made.items():
        content = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>\r\n{voc(boxes, name, ("é", "ß"))}'
        text(tmp_path / "labels" / f"{name[:-4]}.xml", content.replace("\n", "\r\n").encode(encoding))
    data = load_detection(tmp_path)
    assert_read(data, made)
    assert data.classes == ("ß", "é")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_json_and_tables_of_other_encodings(tmp_path: Path, encoding: str) -> None:
    made = drawn(tmp_path / "coco")
    text(tmp_path / "coco/a.json", json.dumps(coco(made)).encode(encoding))
    drawn(tmp_path / "csv")
    table = "filename\txmin\tymin\txmax\tymax\tclass\n" + rows(made, "{name}\t{x}\t{y}\t{r}\t{b}\t{kind}\n")
    text(tmp_path / "csv/a.csv", table.replace("\n", "\r\n").encode(encoding))
    for kind in ("coco", "csv"):
        assert_read(load_detection(tmp_path / kind), made)


@pytest.mark.parametrize("between", [";", "\t"])
def test_decimal_commas(tmp_path: Path, between: str) -> None:
    made = drawn(tmp_path)
    table = "filename;xmin;ymin;xmax;ymax;class\n" + rows(made, "{name};{x},0;{y},00;{r},0;{b};{kind}, x\n")
    text(tmp_path / "a.csv", table.replace(";", between))
    data = load_detection(tmp_path)
    assert_read(data, made)
    assert data.classes == ("a, x", "b, x")


def test_a_table_of_centres(tmp_path: Path) -> None:
    made = drawn(tmp_path)
    lines = [
        f"{name},{NAMES[c]},{(x + r) / 2},{(y + b) / 2},{r - x},{b - y}"
        for name, boxes in made.items()
        for c, x, y, r, b in boxes
    ]
    text(tmp_path / "a.csv", "\n".join(["image,class,x_center,y_center,width,height", *lines]))
    assert_read(load_detection(tmp_path), made)


# COCO of others


def test_azures_parts_of_an_image(tmp_path: Path) -> None:
    made = drawn(tmp_path)
    document = coco(made)
    for row in document["annotations"]:
        x, y, w, h = row["bbox"]
        row["bbox"] = [round(x / WIDTH, 6), round(y / HEIGHT, 6), round(w / WIDTH, 6), round(h / HEIGHT, 6)]
    dump(tmp_path / "labels.json", document)
    assert_read(load_detection(tmp_path), made)


def test_lvis_names_images_by_their_addresses(tmp_path: Path) -> None:
    made = drawn(tmp_path, "val2017")
    document = coco(made)
    for row in document["images"]:
        row["coco_url"] = f"http://images.cocodataset.org/val2017/{row.pop('file_name')}"
    dump(tmp_path / "lvis_v1_val.json", document)
    assert_read(load_detection(tmp_path, split="val"), made)


def test_ids_that_are_texts(tmp_path: Path) -> None:
    made = drawn(tmp_path)
    document = coco(made)
    for row in document["images"]:
        row["id"] = f"image-{row['id']}"
    for row in document["annotations"]:
        row["image_id"] = f"image-{row['image_id']}"
    dump(tmp_path / "a.json", document)
    data = load_detection(tmp_path)
    assert_read(data, made)
    assert {sample.number for sample in data} == {None}


def test_ids_that_two_classes_share_are_refused(tmp_path: Path) -> None:
    document = coco(drawn(tmp_path))
    document["categories"][1]["id"] = 1
    dump(tmp_path / "a.json", document)
    with pytest.raises(DataError, match=r"a\.json: two categories have the same id, 1\. Number them apart"):
        load_detection(tmp_path)


# Folders


def test_a_name_that_several_images_have_is_told_apart_from_a_missing_one(tmp_path: Path) -> None:
    for folder in ("cam1", "cam2"):
        made = drawn(tmp_path, folder)
    text(tmp_path / "a.csv", "filename,xmin,ymin,xmax,ymax,class\n" + rows(made, "{name},{x},{y},{r},{b},{kind}\n"))
    with pytest.raises(DataError, match=r"a\.csv:2: the image '0\.jpg' may be cam1/0\.jpg or cam2/0\.jpg\. Write its"):
        load_detection(tmp_path)


def test_lists_of_two_sets_in_one_folder_are_each_of_its_own(tmp_path: Path) -> None:
    for year in ("VOC2007", "VOC2012"):
        for name, boxes in drawn(tmp_path, f"VOCdevkit/{year}/JPEGImages").items():
            text(tmp_path / f"VOCdevkit/{year}/Annotations/{name[:-4]}.xml", voc(boxes, name))
        text(tmp_path / f"VOCdevkit/{year}/ImageSets/Main/train.txt", "0\n2\n")
    data = load_detection(tmp_path)
    years = [sample.path.parts[-3] for sample in data]
    assert (len(data), years.count("VOC2007"), years.count("VOC2012")) == (4, 2, 2)


def test_versions_behind_the_names_of_splits(tmp_path: Path) -> None:
    for split in ("train_set_v2", "val_set_v2"):
        for name, boxes in drawn(tmp_path, f"data/{split}/images").items():
            text(tmp_path / f"data/{split}/annotations/{name[:-4]}.xml", voc(boxes, name))
    assert splits(tmp_path) == ("train", "val")


# Kinds that are not read


def via_csv(root: Path) -> None:
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["filename", "file_size", "region_count", "region_shape_attributes", "region_attributes"])
    for name in drawn(root):
        writer.writerow([name, 1, 1, json.dumps({"name": "rect", "x": 1}), json.dumps({"kind": "a"})])
    text(root / "via.csv", table.getvalue())


def label_studio_csv(root: Path) -> None:
    drawn(root)
    text(
        root / "project.csv", 'annotation_id,annotator,image,label\n1,1,/data/0.jpg,"[{""rectanglelabels"":[""a""]}]"\n'
    )


def sagemaker(root: Path) -> None:
    drawn(root)
    text(root / "output.manifest", json.dumps({"source-ref": "s3://bucket/0.jpg", "boxes": {"annotations": []}}))


def text_files(folder: str, form: str, images: str = "images") -> Callable[[Path], None]:
    def build(root: Path) -> None:
        for name, boxes in drawn(root, images).items():
            text(root / folder / f"{name[:-4]}.txt", rows({name: boxes}, form))

    return build


def one_file(file: str, form: str, images: str = "images") -> Callable[[Path], None]:
    def build(root: Path) -> None:
        text(root / file, rows(drawn(root, images), form))

    return build


def one_json(document: object) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        drawn(root, "data")
        dump(root / "labels.json", document)

    return build


def packed(name: str) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        text(root / "train" / name, b"\0")

    return build


SHAPE = {"x": 1, "y": 2, "w": 3, "h": 4}
UNREAD: dict[str, Callable[[Path], None]] = {
    "CSV of VGG Image Annotator": via_csv,
    "CSV of Label Studio": label_studio_csv,
    "classes of whole images by Roboflow": one_file("train/_classes.csv", "filename, a, b\n{name}, 1, 0\n", "train"),
    "JSON of Datumaro": one_json({"categories": {}, "items": [{"id": "0", "annotations": [{"label_id": 0}]}]}),
    "JSON of BDD100K or Scalabel": one_json([{"name": "0.jpg", "labels": [{"category": "a", "box2d": {"x1": 1}}]}]),
    "JSON of Labelbox": one_json([{"External ID": "0.jpg", "Labeled Data": "https://x/0.jpg", "Label": {}}]),
    "JSON of V7 Darwin": one_json({"item": {"name": "0.jpg"}, "annotations": [{"bounding_box": SHAPE}]}),
    "JSON of FiftyOne": one_json({"classes": ["a"], "labels": {"0": [{"label": 0, "bounding_box": [0, 0, 1, 1]}]}}),
    "manifest of SageMaker": sagemaker,
    "JSON lines": one_file("train/metadata.jsonl", '{{"file_name": "{name}"}}\n', "train"),
    "text files of DOTA": text_files("labelTxt", "{x}.0 {y} {r} {y} {r} {b} {x} {b} {kind} 0\n"),
    "text files of KITTI": text_files("label_2", "Car 0.00 0 -1.57 {x} {y} {r} {b} 1 2 3 4 5 6 -1.5\n", "image_2"),
    "list of boxes of WIDER FACE": one_file(
        "split/train_gt.txt", "0--Parade/{name}\n1\n{x} {y} {w} {h} 0 0\n", "w/i/p"
    ),
    "list of boxes of MOT": one_file("seq/gt/gt.txt", "1,1,{x},{y},{w},{h},1,1,1\n", "seq/img1"),
    "list of images and boxes of keras-yolo3": one_file("train.txt", "images/{name} {x},{y},{r},{b},{c}\n"),
    "TFRecord": packed("cells.tfrecord"),
    "table of images": packed("0000.parquet"),
    "archive": packed("cells.zip"),
    "array file": packed("cells.npz"),
}


@pytest.mark.parametrize("kind", UNREAD)
def test_kinds_that_are_not_read_are_named_with_their_file(tmp_path: Path, kind: str) -> None:
    UNREAD[kind](tmp_path)
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path)
    said = str(caught.value)
    assert f"data must be laid out in a way that is read, got {tmp_path}/" in said
    assert f", {kind}. " in said
    assert said.rstrip(".").endswith(("instead", "first", "files", "COCO", "class instead"))


def test_class_folders_beside_an_archive_are_class_folders(tmp_path: Path) -> None:
    for kind in "ab":
        image(tmp_path / kind / "0.jpg")
    text(tmp_path / "pictures.zip", b"PK")
    assert open_dataset(tmp_path).layout == "folders"
