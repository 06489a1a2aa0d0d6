"""Every layout that people have, as the tools write it: read to the same boxes, and recognised or named."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.data.drawing import NAMES, SIZE, Box, coco, dump, image, text, voc, yolo

from sppnet.data import load_detection, load_folders, open_dataset, recognise, splits
from sppnet.data.inspection import inspect
from sppnet.errors import DataError

Rows = dict[str, list[Box]]


def drawn(root: Path, folder: str, count: int = 4, *, first: int = 0, suffix: str = ".jpg") -> Rows:
    return {f"{k}{suffix}": image(root / folder / f"{k}{suffix}", k) for k in range(first, first + count)}


def voc_beside(root: Path) -> None:
    for name, boxes in drawn(root, "").items():
        text(root / Path(name).with_suffix(".xml"), voc(boxes, name))


def voc_in(folder: str, images: str) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        for name, boxes in drawn(root, images, suffix=".png").items():
            text(root / folder / f"{Path(name).stem}.xml", voc(boxes, name))

    return build


def yolo_in(folder: str, images: str, names: str, listed: str = "a\nb\n") -> Callable[[Path], None]:
    def build(root: Path) -> None:
        for name, boxes in drawn(root, images).items():
            text(root / folder / f"{Path(name).stem}.txt", yolo(boxes))
        text(root / names, listed)

    return build


def cvat_yolo(root: Path) -> None:
    yolo_in("obj_train_data", "obj_train_data", "obj.names")(root)
    text(root / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n")
    text(root / "train.txt", "".join(f"data/obj_train_data/{k}.jpg\n" for k in range(4)))


def coco_in(file: str, images: str, form: str = "{}") -> Callable[[Path], None]:
    def build(root: Path) -> None:
        rows = {form.format(name): boxes for name, boxes in drawn(root, images).items()}
        dump(root / file, coco(rows, first=0))

    return build


def labelme(root: Path) -> None:
    for name, boxes in drawn(root, "").items():
        shapes = [
            {"label": NAMES[c], "shape_type": "rectangle", "points": [[right, top], [left, bottom]]}
            for c, left, top, right, bottom in boxes
        ]
        document = {"imagePath": f"..\\pc\\{name}", "imageHeight": SIZE[1], "imageWidth": SIZE[0], "shapes": shapes}
        dump(root / Path(name).with_suffix(".json"), document)


def supervisely(root: Path) -> None:
    for name, boxes in drawn(root, "ds/img").items():
        objects = [
            {
                "classTitle": NAMES[c],
                "geometryType": "rectangle",
                "points": {"exterior": [[x, y], [r, b]], "interior": []},
            }
            for c, x, y, r, b in boxes
        ]
        dump(root / f"ds/ann/{name}.json", {"size": {"height": SIZE[1], "width": SIZE[0]}, "objects": objects})
    dump(root / "meta.json", {"classes": [{"title": "a", "shape": "rectangle"}]})


def createml(root: Path) -> None:
    rows = [
        {
            "image": name,
            "annotations": [
                {
                    "label": NAMES[c],
                    "coordinates": {"x": (x + r) / 2, "y": (y + b) / 2, "width": r - x, "height": b - y},
                }
                for c, x, y, r, b in boxes
            ],
        }
        for name, boxes in drawn(root, "").items()
    ]
    dump(root / "_annotations.createml.json", rows)


def share(box: Box) -> dict[str, object]:
    c, left, top, right, bottom = box
    across, down = 100 / SIZE[0], 100 / SIZE[1]
    sides = {"x": left * across, "y": top * down, "width": (right - left) * across, "height": (bottom - top) * down}
    return {**sides, "rotation": 0, "rectanglelabels": [NAMES[c]]}


def label_studio(root: Path) -> None:
    tasks = [
        {
            "id": place,
            "data": {"image": f"/data/upload/7/0a1b2c3d-{name}"},
            "annotations": [{"result": [{"type": "rectanglelabels", "value": share(box)} for box in boxes]}],
        }
        for place, (name, boxes) in enumerate(drawn(root, "images").items())
    ]
    dump(root / "project-7.json", tasks)


def label_studio_min(root: Path) -> None:
    tasks = [
        {"id": place, "image": f"/data/local-files/?d=images/{name}", "label": [share(box) for box in boxes]}
        for place, (name, boxes) in enumerate(drawn(root, "images").items())
    ]
    dump(root / "min.json", tasks)


def cvat_xml(root: Path) -> None:
    images = "".join(
        f'<image id="{k}" name="day1/{name}" width="{SIZE[0]}" height="{SIZE[1]}">\n'
        + "".join(
            f'<box label="{NAMES[c]}" occluded="0" xtl="{x}" ytl="{y}" xbr="{r}" ybr="{b}" z_order="0"></box>\n'
            for c, x, y, r, b in boxes
        )
        + "</image>\n"
        for k, (name, boxes) in enumerate(drawn(root, "images/day1").items())
    )
    labels = "".join(f"<label><name>{name}</name></label>" for name in NAMES)
    text(
        root / "annotations.xml",
        f"<annotations><meta><task><labels>{labels}</labels></task></meta>{images}</annotations>",
    )


def table(header: str, row: str, images: str = "images") -> Callable[[Path], None]:
    def build(root: Path) -> None:
        lines = [
            row.format(name=name, stem=Path(name).stem, w=r - x, h=b - y, c=NAMES[c], x=x, y=y, r=r, b=b)
            for name, boxes in drawn(root, images).items()
            for c, x, y, r, b in boxes
        ]
        text(root / "labels.csv", "\n".join([header, *lines] if header else lines))

    return build


def open_images(root: Path) -> None:
    lines = [
        f"{Path(name).stem},xclick,/m/0{c},1,{x / SIZE[0]},{r / SIZE[0]},{y / SIZE[1]},{b / SIZE[1]},0,0,0,0,0"
        for name, boxes in drawn(root, "train").items()
        for c, x, y, r, b in boxes
    ]
    header = (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    )
    text(root / "train-annotations-bbox.csv", "\n".join([header, *lines]))
    text(root / "class-descriptions-boxable.csv", "/m/00,a\n/m/01,b\n")


def via(root: Path) -> None:
    rows = {
        f"{name}123": {
            "filename": name,
            "size": 123,
            "regions": [
                {
                    "shape_attributes": {"name": "rect", "x": x, "y": y, "width": r - x, "height": b - y},
                    "region_attributes": {"kind": NAMES[c]},
                }
                for c, x, y, r, b in boxes
            ],
        }
        for name, boxes in drawn(root, "").items()
    }
    dump(root / "via_project.json", {"_via_settings": {}, "_via_img_metadata": rows})


LAYOUTS = {
    "VOC": ("voc", voc_in("Annotations", "JPEGImages")),
    "labelImg's XML": ("voc", voc_beside),
    "images and annotations": ("voc", voc_in("annotations", "images")),
    "images and annots": ("voc", voc_in("annots", "images")),
    "images and labels of XML": ("voc", voc_in("labels", "images")),
    "VOC with subfolders": ("voc", voc_in("Annotations/day1", "JPEGImages/day1")),
    "VOC, images in a subfolder": ("voc", voc_in("Annotations", "JPEGImages/day1")),
    "Oxford's pets": ("voc", voc_in("annotations/xmls", "images")),
    "packed into a folder": ("voc", voc_in("set/annotations", "set/images")),
    "labelImg's YOLO": ("yolo", yolo_in("", "", "classes.txt")),
    "DarkNet's flat folder": ("yolo", yolo_in("data", "data", "obj.names")),
    "Roboflow's DarkNet": ("yolo", yolo_in("", "", "_darknet.labels")),
    "data.yaml": ("yolo", yolo_in("labels", "images", "data.yaml", "names: [a, b]\n")),
    "data.yml": ("yolo", yolo_in("labels/x", "images/x", "data.yml", "train: images/x\nnames: {0: a, 1: b}\n")),
    "coco128.yaml": (
        "yolo",
        yolo_in("labels/x", "images/x", "coco128.yaml", "path: ../y\ntrain: images/x\nnames: [a, b]\n"),
    ),
    "CVAT's YOLO 1.1": ("yolo", cvat_yolo),
    "COCO": ("coco", coco_in("annotations/instances_default.json", "images")),
    "COCO under a free name": ("coco", coco_in("my_labels.json", "")),
    "Label Studio's COCO": ("coco", coco_in("result.json", "images", "images\\{}")),
    "Label Studio's COCO, uploaded": (
        "coco",
        coco_in("result.json", "images", "..\\..\\media\\upload\\4\\0a1b2c3d-{}"),
    ),
    "COCO of another machine": ("coco", coco_in("annotations.json", "images", "/home/me/set/images/{}")),
    "CVAT's COCO": ("coco", coco_in("annotations/instances_default.json", "images/day1", "day1/{}")),
    "LabelMe": ("labelme", labelme),
    "CreateML": ("createml", createml),
    "Label Studio": ("labelstudio", label_studio),
    "Label Studio's JSON-MIN": ("labelstudio", label_studio_min),
    "CVAT's XML": ("cvat", cvat_xml),
    "TensorFlow's CSV": (
        "csv",
        table("filename,width,height,class,xmin,ymin,xmax,ymax", "{name},160,120,{c},{x},{y},{r},{b}"),
    ),
    "Kaggle's CSV": (
        "csv",
        table("image_id,width,height,bbox,source,label", '{stem},160,120,"[{x}, {y}, {w}, {h}]",u,{c}'),
    ),
    "CSV of sides": ("csv", table("path;x;y;width;height;label", "C:\\set\\{name};{x};{y};{w};{h};{c}")),
    "keras-retinanet's CSV": ("csv", table("", "/home/me/{name},{x},{y},{r},{b},{c}")),
    "Open Images": ("csv", open_images),
    "Supervisely": ("supervisely", supervisely),
    "VGG Image Annotator": ("via", via),
}


@pytest.mark.parametrize(("layout", "build"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_layout_is_recognised_and_read(tmp_path: Path, layout: str, build: Callable[[Path], None]) -> None:
    build(tmp_path)
    assert recognise(tmp_path) == layout
    data = load_detection(tmp_path)
    assert [(each.code, str(each)) for each in data.problems if each.level != "note"] == []
    assert (len(data), data.classes) == (4, NAMES)
    for sample in data:
        expected = image(tmp_path / "again.png", int(sample.path.stem))
        assert sample.labels.tolist() == [box[0] for box in expected]
        np.testing.assert_allclose(sample.boxes, [box[1:] for box in expected], atol=1e-3)


@pytest.mark.parametrize(("layout", "build"), LAYOUTS.values(), ids=LAYOUTS)
def test_the_same_boxes_have_the_same_bits_in_every_layout(
    tmp_path: Path, layout: str, build: Callable[[Path], None]
) -> None:
    build(tmp_path / "this")
    voc_beside(tmp_path / "other")
    for sample, other in zip(load_detection(tmp_path / "this"), load_detection(tmp_path / "other"), strict=True):
        assert sample.boxes.tobytes() == other.boxes.tobytes()
        assert sample.labels.tobytes() == other.labels.tobytes()


def build_splits(root: Path, first: str, second: str) -> None:
    for name, folder in (("train", first), ("valid", second)):
        for k, boxes in enumerate(drawn(root, folder.format("images"), 3 if name == "train" else 2).values()):
            text(root / folder.format("labels") / f"{k}.xml", voc(boxes, f"{k}.jpg"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("train", "valid"),
        ("Train/{}", "Valid/{}"),
        ("{}/training", "{}/validation"),
        ("train_{}", "val_{}"),
        ("{}/train2017", "{}/val2017"),
        ("set/train/{}/day1", "set/dev/{}/day1"),
    ],
)
def test_splits_go_by_the_names_of_folders(tmp_path: Path, first: str, second: str) -> None:
    build_splits(tmp_path, first, second)
    assert splits(tmp_path) == ("train", "val")
    assert [len(load_detection(tmp_path, split=name)) for name in (None, "train", "val")] == [3, 3, 2]
    both = load_detection(tmp_path, split="train+val")
    assert (len(both), both.name) == (5, "train+val")
    assert len(load_detection(tmp_path, split="all")) == 5
    with pytest.raises(DataError, match="split must be one of train, val, all, got 'test'"):
        load_detection(tmp_path, split="test")


def test_class_folders_of_any_split_names(tmp_path: Path) -> None:
    for split in ("training", "testing"):
        for kind in "ab":
            image(tmp_path / split / kind / "0.jpg", len(split))
    assert (splits(tmp_path), load_folders(tmp_path).classes) == (("test", "train"), ("a", "b"))


def test_labels_of_two_kinds_are_named_and_one_can_be_chosen(tmp_path: Path) -> None:
    voc_beside(tmp_path)
    yolo_in("", "", "classes.txt")(tmp_path)
    with pytest.raises(DataError) as caught:
        load_detection(tmp_path)
    said = str(caught.value)
    assert "4 XML files of Pascal VOC beside the images (voc); 4 text files of boxes beside the images" in said
    assert "Say which is meant: layout='voc' or 'yolo', on the command line --layout." in said
    for layout in ("voc", "yolo"):
        data = load_detection(tmp_path, layout=layout)
        assert sum(len(each.boxes) for each in data) == 8
        assert [each.code for each in data.problems] == ["other-labels"]


def raw_sets(root: Path) -> Sequence[Path]:
    voc_beside(root / "flat")
    voc_in("annotations", "images")(root / "annotations")
    build_splits(root / "splits", "train", "valid")
    return [root / "flat", root / "annotations", root / "splits"]


def test_a_set_with_boxes_is_never_taken_for_class_folders(tmp_path: Path) -> None:
    for root in raw_sets(tmp_path):
        with pytest.raises(DataError, match=r"data must be one folder a class, got .* XML files .*train detector"):
            load_folders(root)
    image(tmp_path / "kinds" / "cat" / "0.jpg")
    with pytest.raises(DataError, match=r"data must be boxes, got images in folders named cat .*train classifier"):
        load_detection(tmp_path / "kinds")


def test_masks_beside_images_are_no_classes(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        image(tmp_path / folder / "0.png")
    with pytest.raises(DataError, match=r"got 2 images in .*Draw boxes in 'sppnet studio'"):
        open_dataset(tmp_path)


# Where data.yaml leads


def yolo_splits(root: Path, document: str) -> None:
    for split, count in {"train": 3, "valid": 2, "test": 2}.items():
        for name, boxes in drawn(root, f"{split}/images", count, first=len(split)).items():
            text(root / split / "labels" / f"{Path(name).stem}.txt", yolo(boxes))
    text(root / "data.yaml", document)


@pytest.mark.parametrize("path", ["proj/train/images", "/content/proj/train/images", "../../x/train/images", "nowhere"])
def test_a_path_of_another_machine_is_found_and_said(tmp_path: Path, path: str) -> None:
    yolo_splits(tmp_path, f"test: ../test/images\ntrain: {path}\nnames: [a, b]\n")
    data = load_detection(tmp_path)
    assert {sample.path.parent for sample in data} == {tmp_path / "train" / "images"}
    (problem,) = data.problems
    assert str(problem).startswith(f"{tmp_path / 'data.yaml'}:2: train: {path} leads nowhere; the images of train")


def test_a_split_that_leads_nowhere_stops_with_its_line(tmp_path: Path) -> None:
    yolo_splits(tmp_path, "test: ../test/images\ntrain: proj/learn/images\nnames: [a, b]\n")
    (tmp_path / "train").rename(tmp_path / "others")
    with pytest.raises(DataError, match=r"data\.yaml:2: train: proj/learn/images leads nowhere"):
        load_detection(tmp_path)
    assert len(load_detection(tmp_path, split="test")) == 2


@pytest.mark.parametrize("names", ["[yes, no, off, 010, 12:30]", "{0: yes, 1: no, 2: off, 3: 010, 4: 12:30}"])
def test_class_names_of_yaml_stay_as_they_are_written(tmp_path: Path, names: str) -> None:
    text(tmp_path / "data.yaml", f"train: images\nnames: {names}\n")
    for k in range(5):
        image(tmp_path / "images" / f"{k}.jpg", k)
        text(tmp_path / "labels" / f"{k}.txt", f"{k} .5 .5 .2 .2\n")
    data = load_detection(tmp_path)
    assert [data.classes[sample.labels[0]] for sample in data] == ["yes", "no", "off", "010", "12:30"]


# What tools add


def test_roboflows_group_of_classes_is_no_class(tmp_path: Path) -> None:
    document = coco({"0.jpg": image(tmp_path / "0.jpg")})
    for each in document["categories"]:
        each["supercategory"] = "things"
    document["categories"].append({"id": 9, "name": "things", "supercategory": "none"})
    dump(tmp_path / "_annotations.coco.json", document)
    assert load_detection(tmp_path).classes == NAMES


@pytest.mark.parametrize("form", ["{:08x}-{}.jpg", "{1}_jpg.rf.{0:x}.jpg"])
def test_images_are_in_the_order_of_the_names_that_they_had(tmp_path: Path, form: str) -> None:
    names = ["b", "a_1", "a", "c"]
    for place, name in enumerate(names):
        file = form.format(0xFEDCBA98 - place * 77, name)
        text(tmp_path / Path(file).with_suffix(".xml"), voc(image(tmp_path / file, place), file))
    found = [sample.path.name for sample in load_detection(tmp_path)]
    order = sorted(range(4), key=lambda place: f"{names[place]}.jpg")
    assert found == [form.format(0xFEDCBA98 - place * 77, names[place]) for place in order]


@pytest.mark.parametrize(("first", "second"), [("train", "val"), ("val", "train")])
def test_splits_put_together_are_in_the_order_of_their_names(tmp_path: Path, first: str, second: str) -> None:
    for split, name in ((first, "a"), (second, "b"), (first, "c")):
        text(tmp_path / split / f"{name}.xml", voc(image(tmp_path / split / f"{name}.jpg", ord(name)), "x"))
    assert [sample.path.stem for sample in load_detection(tmp_path, split="all")] == ["a", "b", "c"]


@pytest.mark.parametrize("digits", [6, 7, 16])
def test_whole_pixels_stay_whole_in_parts_of_six_decimals(tmp_path: Path, digits: int) -> None:
    made = image(tmp_path / "0.jpg")
    rows = [[float(word) for word in line.split()] for line in yolo(made).splitlines()]
    text(tmp_path / "0.txt", "".join(f"{row[0]:g} {' '.join(f'{x:.{digits}f}' for x in row[1:])}\n" for row in rows))
    text(tmp_path / "classes.txt", "a\nb\n")
    assert load_detection(tmp_path)[0].boxes.tolist() == [list(box[1:]) for box in made]


def test_a_split_that_was_never_made_is_a_warning_beside_train(tmp_path: Path) -> None:
    yolo_splits(tmp_path, "train: ../train/images\nval: ../valid/images\ntest: ../nowhere/images\nnames: [a, b]\n")
    shutil.rmtree(tmp_path / "test")
    found = inspect(tmp_path)
    (problem,) = [each for each in found.problems if each.code == "split-empty"]
    assert (found.images, found.counts["error"]) == ({"train": 3, "val": 2}, 0)
    assert "data.yaml:3: test: ../nowhere/images leads nowhere" in str(problem)
