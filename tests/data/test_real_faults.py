"""What people really have, and what must come of it: one test a kind, with inputs made here."""

import json
import os
import unicodedata
from collections import Counter
from pathlib import Path
from typing import get_args
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from tests.data.drawing import Box, coco, dump, image, text, voc, yolo

from sppnet.data import CODES, DetectionData, Layout, images_of, load_detection, load_folders, printable
from sppnet.data.inspection import Inspection, inspect, readable
from sppnet.errors import DataError


def codes(found: Inspection | DetectionData) -> Counter[str]:
    return Counter(problem.code for problem in found.problems)


def yolo_set(root: Path, count: int = 3, names: str = "[a, b]") -> list[list[Box]]:
    text(root / "data.yaml", f"train: images/train\nnames: {names}\n")
    made = []
    for k in range(count):
        made.append(image(root / "images/train" / f"{k}.jpg", k))
        text(root / "labels/train" / f"{k}.txt", yolo(made[-1]))
    return made


# Which files count (A2, B7, B8, D10, E6)


def test_litter_hidden_files_and_own_drawings_are_no_images(tmp_path: Path) -> None:
    yolo_set(tmp_path)
    folder = tmp_path / "images/train"
    litter = (".ipynb_checkpoints/0-checkpoint.jpg", "@eaDir/0.jpg/SYNOPHOTO_THUMB_M.jpg", ".sppnet/thumbnails/0.webp")
    for name in (*litter, "__MACOSX/._0.jpg", "0.detections.jpg", "$RECYCLE.BIN/1.jpg", "Thumbs.db"):
        image(folder / name, 3, form="WEBP" if name.endswith("webp") else "JPEG")
    assert len(load_detection(tmp_path)) == 3
    found = inspect(tmp_path)
    assert (codes(found), found.images) == ({"own-output": 1}, {"train": 3})
    paths, problems = images_of([folder])
    assert [path.name for path in paths] == ["0.jpg", "1.jpg", "2.jpg"]
    assert [problem.code for problem in problems] == ["own-output"]


def test_litter_is_no_class(tmp_path: Path) -> None:
    for kind in ("a", "b", "@eaDir", "__MACOSX", ".hidden"):
        image(tmp_path / kind / "0.jpg", len(kind))
    assert load_folders(tmp_path).classes == ("a", "b")


def test_links_are_followed_and_one_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    root = tmp_path / "S"
    root.mkdir()
    image(tmp_path / "blob" / "0.jpg")
    (root / "0.jpg").symlink_to("../blob/0.jpg")
    (root / "more").symlink_to(tmp_path / "blob")
    (root / "back").symlink_to(root)
    (root / "lost.jpg").symlink_to("../nowhere.jpg")
    paths, problems = images_of([root, root / "0.jpg"])
    assert [path.relative_to(root).as_posix() for path in paths] == ["0.jpg", "more/0.jpg"]
    assert [str(problem) for problem in problems] == [f"{root / 'lost.jpg'}: is a link that leads nowhere"]


def test_formats_that_are_not_read_are_counted(tmp_path: Path) -> None:
    yolo_set(tmp_path)
    for k in range(4):
        text(tmp_path / "images/train" / f"{k}.psd", b"8BPS")
    assert codes(inspect(tmp_path)) == {"format-unread": 4}
    with pytest.raises(DataError, match=r"got 1 \.psd \(not read\) in"):
        load_detection(text(tmp_path / "only" / "a.psd", b"8BPS").parent)


def test_a_folder_named_twice_counts_once(tmp_path: Path) -> None:
    path = image(tmp_path / "a.jpg") and tmp_path / "a.jpg"
    assert images_of([tmp_path, tmp_path, path])[0] == [path]


# COCO (A3, B2, C3)


@pytest.mark.parametrize(("flag", "expected"), [(1, "only-crowds"), ("1", "only-crowds"), ("0", ""), ("false", "")])
def test_crowds_are_told_and_numbers_may_be_texts(tmp_path: Path, flag: object, expected: str) -> None:
    document = coco({"0.jpg": image(tmp_path / "images" / "0.jpg")})
    for row in document["annotations"]:
        row |= {"iscrowd": flag, "category_id": str(row["category_id"])}
    dump(tmp_path / "annotations/instances_train.json", document)
    found = inspect(tmp_path)
    assert set(codes(found)) == ({expected} if expected else set())
    assert [str(each) for each in found.problems if expected] == (
        [f"{tmp_path}: the split 'train' has 2 boxes, all marked as crowds (iscrowd), which are not learnt from"]
        if expected
        else []
    )


@pytest.mark.parametrize("change", [{"bbox": []}, {"bbox": None}, {"bbox": "absent"}, {"category_id": "absent"}])
def test_a_row_without_box_costs_itself(tmp_path: Path, change: dict[str, object]) -> None:
    document = coco({f"{k}.jpg": image(tmp_path / "images" / f"{k}.jpg", k) for k in range(3)})
    for key, value in change.items():
        document["annotations"][0][key] = value
        if value == "absent":
            del document["annotations"][0][key]
    dump(tmp_path / "annotations/instances_train.json", document)
    data = load_detection(tmp_path)
    assert sum(len(sample.boxes) for sample in data) == 5
    assert codes(data) == {"row-without-box": 1}


def test_percent_encoded_names(tmp_path: Path) -> None:
    rows = {quote(f"my é{k}.jpg"): image(tmp_path / "coco/images" / f"my é{k}.jpg", k) for k in range(3)}
    dump(tmp_path / "coco/annotations/instances_train.json", coco(rows))
    assert len(load_detection(tmp_path / "coco")) == 3
    made = image(tmp_path / "yolo/images/é.jpg")
    text(tmp_path / "yolo/labels" / f"{quote('é')}.txt", yolo(made))
    text(tmp_path / "yolo/data.yaml", "train: images\nnames: [a, b]\n")
    assert len(load_detection(tmp_path / "yolo")[0].boxes) == 2


# YOLO (A9, C1, C2)


@pytest.mark.parametrize("named", [True, False])
def test_images_without_labels_empty_labels_and_strays_are_told_apart(tmp_path: Path, named: bool) -> None:
    yolo_set(tmp_path, 6)
    if not named:
        (tmp_path / "data.yaml").unlink()
        text(tmp_path / "labels/train/notes.txt", "taken in May, 12 of 18 plates\n")
    for k in (0, 1):
        text(tmp_path / "labels/train" / f"{k}.txt", "")
    for k in (2, 3, 4):
        (tmp_path / "labels/train" / f"{k}.txt").unlink()
    text(tmp_path / "labels/train/gone.txt", "0 .5 .5 .2 .2\n")
    data = load_detection(tmp_path)
    expected = {"labels-empty": 2, "image-without-labels": 3, "labels-without-image": 1}
    assert codes(data) == expected | ({} if named else {"class-unnamed": 1})
    assert len(data) == 6


def test_images_that_xml_and_coco_leave_out_are_named(tmp_path: Path) -> None:
    for k in range(3):
        made = image(tmp_path / "voc" / f"{k}.jpg", k)
        image(tmp_path / "coco" / "images" / f"{k}.jpg", k)
    text(tmp_path / "voc/0.xml", voc(made, "0.jpg"))
    dump(tmp_path / "coco/instances.json", coco({"0.jpg": made, "1.jpg": []}))
    assert codes(load_detection(tmp_path / "voc")) == {"image-without-labels": 2}
    assert codes(load_detection(tmp_path / "coco")) == {"image-without-labels": 1, "labels-empty": 1}


def test_class_numbers_as_numpy_writes_them(tmp_path: Path) -> None:
    made = yolo_set(tmp_path)
    line = " ".join(f"{float(word):.18e}" for word in yolo(made[0]).split()[:5])
    file = text(tmp_path / "labels/train/0.txt", f"{line}\n")
    assert load_detection(tmp_path)[0].labels.tolist() == [made[0][0][0]]
    for bad in ("1.5", "nan", "inf"):
        text(file, f"{line}\n{bad} .5 .5 .2 .4\n")
        with pytest.raises(DataError, match=rf"0\.txt:2: the line must be class, .*, got '{bad} \.5"):
            load_detection(tmp_path)
        data = load_detection(tmp_path, on_bad="skip")
        assert (len(data), len(data[0].boxes), codes(data)) == (3, 1, {"row-unreadable": 1})


@pytest.mark.parametrize("form", ["{} 0.57", "{},0.57", "{};0.57"])
def test_a_confidence_and_commas_among_labels(tmp_path: Path, form: str) -> None:
    made = yolo_set(tmp_path)
    between = form[2]
    lines = [form.format(line.replace(" ", between)) for line in yolo(made[0]).splitlines()]
    text(tmp_path / "labels/train/0.txt", "\n".join(lines))
    data = load_detection(tmp_path)
    np.testing.assert_allclose(data[0].boxes, [box[1:] for box in made[0]], atol=1e-3)
    assert codes(data) == {"score-ignored": 1}


# Names (A7, C6, C7, C8, C10, D8)


def test_names_are_compared_composed(tmp_path: Path) -> None:
    apart, whole = unicodedata.normalize("NFD", "é.jpg"), unicodedata.normalize("NFC", "é.jpg")
    made = image(tmp_path / "coco/images" / apart)
    dump(tmp_path / "coco/annotations/instances_train.json", coco({whole: made}))
    image(tmp_path / "voc/JPEGImages" / apart)
    text(tmp_path / "voc/Annotations" / f"{Path(whole).stem}.xml", voc(made, whole))
    image(tmp_path / "yolo/images/all" / apart)
    text(tmp_path / "yolo/labels/all" / f"{Path(whole).stem}.txt", yolo(made))
    text(tmp_path / "yolo/train.txt", f"images/all/{whole}\n")
    text(tmp_path / "yolo/data.yaml", "train: train.txt\nnames: [a, b]\n")
    for kind in ("coco", "voc", "yolo"):
        assert len(load_detection(tmp_path / kind)[0].boxes) == 2


def test_a_name_that_is_not_utf8_is_used_and_named(tmp_path: Path) -> None:
    yolo_set(tmp_path)
    for folder, suffix in (("images", b".jpg"), ("labels", b".txt")):
        kept = (tmp_path / folder / "train" / f"0{suffix.decode()}").read_bytes()
        with open(os.fsencode(tmp_path) + f"/{folder}/train/caf".encode() + b"\xe9" + suffix, "wb") as file:  # noqa: PTH123
            file.write(kept)
    data = load_detection(tmp_path)
    assert (len(data), codes(data)) == (4, {"name-not-utf8": 2})
    assert all(str(problem).isascii() and "caf\\xe9" in str(problem) for problem in data.problems)
    assert json.loads(json.dumps([problem.as_dict() for problem in data.problems]))


@pytest.mark.parametrize("name", ["[/b]", "[red]x", '=HYPERLINK("x","y")', "-1", "@a", "&lt;img&gt;", "細胞", "image"])
def test_odd_class_names_are_kept(tmp_path: Path, name: str) -> None:
    text(tmp_path / "0.xml", voc(image(tmp_path / "0.jpg"), "0.jpg", (name, "x")))
    assert load_detection(tmp_path).classes == tuple(sorted((name.replace("&lt;", "<").replace("&gt;", ">"), "x")))


@pytest.mark.parametrize("name", ["", " ", "x\ufffe", "b\u0001", "L" * 10_000])
def test_class_names_that_no_file_can_hold_are_refused_where_they_enter(tmp_path: Path, name: str) -> None:
    dump(tmp_path / "annotations.json", coco({"0.jpg": image(tmp_path / "0.jpg")}, names=(name, "good")))
    data = load_detection(tmp_path)
    assert (codes(data)["class-name"], len(data[0].boxes)) == (1, 1)
    assert all(len(str(problem)) < 500 + len(str(tmp_path)) for problem in data.problems)


def test_classes_that_differ_in_case_or_spaces_are_named(tmp_path: Path) -> None:
    text(tmp_path / "0.xml", voc(image(tmp_path / "0.jpg"), "0.jpg", ("Cat", "cat ")))
    data = load_detection(tmp_path)
    assert (data.classes, codes(data)) == (("Cat", "cat"), {"classes-alike": 1})


def test_every_text_is_printable() -> None:
    assert printable("caf\udce9\x1b[31m\n細胞") == "caf\\xe9\\x1b[31m\\n細胞"
    assert printable(os.fsdecode(b"\xff/\xfe")).isascii()


# Class folders (A8), sizes, bad images (N1), splits


def test_images_deeper_in_a_class_folder_belong_to_it(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "cat/day2/2.jpg", "dog/day1/a/3.jpg"):
        image(tmp_path / name)
    data = load_folders(tmp_path)
    assert [path.name for path in data.paths] == ["1.jpg", "2.jpg", "3.jpg"]
    assert (data.labels.tolist(), codes(inspect(tmp_path))) == ([0, 0, 1], {"deeper": 1})


def test_labels_of_another_size_are_named(tmp_path: Path) -> None:
    made = image(tmp_path / "0.jpg")
    text(tmp_path / "0.xml", voc(made, "0.jpg").replace("<width>160", "<width>320"))
    (problem,) = load_detection(tmp_path).problems
    assert problem.code == "size-differs"
    assert "the labels of 0.jpg are of 320 x 120 pixels, and the image has 160 x 120" in str(problem)


def test_a_truncated_image_is_found_and_left_out(tmp_path: Path) -> None:
    yolo_set(tmp_path)
    path = tmp_path / "images/train/0.jpg"
    path.write_bytes(path.read_bytes()[:2000])
    assert codes(inspect(tmp_path)) == {"image-unreadable": 1}
    data = readable(load_detection(tmp_path))
    assert (len(data), codes(data)) == (2, {"image-unreadable": 1})


def test_deep_images_of_one_folder_are_told_of(tmp_path: Path) -> None:
    for kind, values in {"a": (0, 4095), "b": (33069, 36863)}.items():
        for k in range(2):
            pixels = np.linspace(*values, 1200).reshape(30, 40).astype(np.uint16)
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels + k).save(tmp_path / kind / f"{k}.png")
    found = inspect(tmp_path)
    assert {problem.code for problem in found.problems} <= {"range", "range-differs"}
    assert any("values from 32768 to 36863 become 0 to 255" in str(problem) for problem in found.problems)


def test_an_unusable_set_says_so(tmp_path: Path) -> None:
    for kind in ("train", "val"):
        text(tmp_path / kind / "0.xml", voc([], "0.jpg")) and image(tmp_path / kind / "0.jpg", len(kind))
    found = inspect(tmp_path)
    assert codes(found) == {"no-objects": 2, "labels-empty": 2}
    assert (found.counts["error"], found.problems[0].level) == (2, "error")


def test_images_in_no_split_and_in_two_are_told(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        text(tmp_path / f"Annotations/{name}.xml", voc(image(tmp_path / f"JPEGImages/{name}.jpg", 1), name))
    for split, name in {"train": "a", "val": "b"}.items():
        text(tmp_path / f"ImageSets/Main/{split}.txt", f"{name}\n")
    found = inspect(tmp_path)
    assert codes(found) == {"in-two-splits": 1, "in-no-split": 1}


def test_the_page_on_data_names_every_code_and_layout() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    for code, (level, meaning) in CODES.items():
        assert f"| `{code}` | {level} | {meaning} |" in page
    for layout in get_args(Layout):
        assert f"| `{layout}` |" in page
