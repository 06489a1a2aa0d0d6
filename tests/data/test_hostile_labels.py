"""Labels that are made to hang, to overflow or to read elsewhere: named problems or one error, and soon."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.data.drawing import image, text

from sppnet.data import load_detection
from sppnet.data.layouts.yolo_places import LOADER
from sppnet.errors import SppnetError

ROW = "0 .5 .5 .2 .2\n"
NINES = "9" * 5000


def _yolo(root: Path, document: str, labels: str = ROW) -> Path:
    image(root / "images/train/a.png", 0)
    text(root / "labels/train/a.txt", labels)
    text(root / "data.yaml", document)
    return root


def _coco(root: Path, bbox: str, number: str = "1") -> Path:
    image(root / "images/a.png", 0)
    document = {
        "images": [{"id": "NUMBER", "file_name": "a.png", "width": 160, "height": 120}],
        "annotations": [{"id": 1, "image_id": "NUMBER", "category_id": 1, "bbox": "BBOX", "iscrowd": 0}],
        "categories": [{"id": 1, "name": "x"}],
    }
    content = json.dumps(document).replace('"NUMBER"', number).replace('"BBOX"', bbox)
    text(root / "annotations/instances_train.json", content)
    return root


def _deep_json(root: Path) -> Path:
    _coco(root, "[1, 2, 3, 4]")
    text(root / "annotations/instances_train.json", '{"images": ' + "[" * 100_000)
    return root


HOSTILE: dict[str, Callable[[Path], Path]] = {
    "a date that is none": lambda root: _yolo(root, "train: images/train\nnames: [!!timestamp 2020-99-99]\n"),
    "aliases of aliases": lambda root: _yolo(root, "a: &a [x, x]\nb: &b [*a, *a]\ntrain: images/train\nnames: *b\n"),
    "deep YAML": lambda root: _yolo(root, "train: images/train\nnames: " + "[" * 50_000 + "\n"),
    "a number of 5,000 digits": lambda root: _yolo(root, f"train: images/train\nnames: [x]\nnc: {NINES}\n"),
    "a class of 5,000 digits": lambda root: _yolo(root, "train: images/train\nnames: [x]\n", f"{NINES} .5 .5 .2 .2\n"),
    "a side of 5,000 digits": lambda root: _yolo(root, "train: images/train\nnames: [x]\n", f"0 {NINES} .5 .2 .2\n"),
    "deep JSON": _deep_json,
    "a bbox of 400 digits": lambda root: _coco(root, f"[1, 2, {'9' * 400}, 4]"),
    "a bbox of 5,000 digits": lambda root: _coco(root, f"[1, 2, {NINES}, 4]"),
    "an id of 5,000 digits": lambda root: _coco(root, "[1, 2, 3, 4]", NINES),
}


def _told(root: Path) -> str:
    """Return what was said of a data set, be it refused or read in part."""
    try:
        data = load_detection(root, on_bad="skip")
    except SppnetError as error:
        return str(error)
    return "; ".join([str(data.root), *map(str, data.problems)])


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_is_a_problem_or_one_error(tmp_path: Path, name: str) -> None:
    root = HOSTILE[name](tmp_path / "set")
    assert str(root) in _told(root)


@pytest.mark.parametrize("linked", [False, True])
def test_absolute_paths_are_found_below_a_root_that_is_relative_or_linked(
    tmp_path: Path, linked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _yolo(tmp_path / "set", f"path: {tmp_path}/set\ntrain: {tmp_path}/set/images/train\nnames: [x]\n")
    if linked:
        (tmp_path / "link").symlink_to(root)
        root = tmp_path / "link"
    monkeypatch.chdir(tmp_path)
    assert len(load_detection(Path(root.name), on_bad="fail").samples) == 1


def test_long_lists_of_names_are_read_by_the_fast_parser(tmp_path: Path) -> None:
    assert LOADER is getattr(yaml, "CBaseLoader", None), "PyYAML comes with libyaml on every platform that is tested"
    names = "".join(f"  - n{k}\n" for k in range(70_000))
    data = load_detection(_yolo(tmp_path / "set", f"train: images/train\nnames:\n{names}"), on_bad="fail")
    assert len(data.classes) == 70_000


@pytest.mark.parametrize("place", ["images/train/b.png", "labels/train/b.txt", "train.txt"])
def test_pipes_are_not_waited_for(tmp_path: Path, place: str) -> None:
    root = _yolo(tmp_path / "set", "train: images/train\nnames: [x]\n")
    os.mkfifo(root / place)
    assert len(load_detection(root, on_bad="skip").samples) == 1


def test_a_list_that_is_a_device_is_not_read(tmp_path: Path) -> None:
    root = tmp_path / "set"
    image(root / "JPEGImages/a.png", 0)
    text(root / "Annotations/a.xml", "<annotation></annotation>")
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/train.txt").symlink_to("/dev/zero")
    assert "a.png" in _told(root)
