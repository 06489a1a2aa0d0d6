"""What a set holds and nothing is learnt from: classes of other splits, crowds; and images that splits share."""

import shutil
from pathlib import Path

import pytest
from tests.data.drawing import coco, dump, image
from typer.testing import CliRunner

from sppnet.cli.commands import app
from sppnet.data import duplicates, load_detection, load_folders
from sppnet.data.inspection import inspect


def told(root: Path) -> dict[str, list[str]]:
    problems = inspect(root).problems
    return {each.code: [same.what for same in problems if same.code == each.code] for each in problems}


def sets(root: Path, names: dict[str, tuple[str, ...]]) -> None:
    for number, (split, classes) in enumerate(names.items()):
        rows = {f"{split}.jpg": image(root / f"{split}/{split}.jpg", number, objects=len(classes))}
        rows = {key: [(k, *box[1:]) for k, box in enumerate(boxes)] for key, boxes in rows.items()}
        dump(root / f"annotations/instances_{split}.json", coco(rows, names=classes))


def test_a_class_that_training_does_not_see_is_told_before_the_work(tmp_path: Path) -> None:
    sets(tmp_path, {"train": ("a", "b"), "val": ("a", "zebra"), "test": ("zebra", "yak")})
    what = "2 classes without an example in 'train': yak (1 in 'test'), zebra (1 in 'test', 1 in 'val')"
    assert told(tmp_path) == {"class-untrained": [f"{what}. Label some, or take the class away"]}


def test_folders_of_classes_that_training_lacks_are_told(tmp_path: Path) -> None:
    for number, place in enumerate(("train/a", "train/b", "val/a", "val/zebra")):
        image(tmp_path / place / f"{number}.jpg", number)
    what = "1 class without an example in 'train': zebra (1 in 'val'). Label some, or take the class away"
    assert told(tmp_path) == {"class-untrained": [what]}


def crowded(root: Path, crowds: tuple[str, ...], classes: tuple[int, ...]) -> Path:
    boxes = image(root / "train/0.jpg", objects=len(classes))
    document = coco({"0.jpg": [(kind, *box[1:]) for kind, box in zip(classes, boxes, strict=True)]})
    for annotation, kind in zip(document["annotations"], crowds, strict=True):
        annotation["iscrowd"] = int(kind == "crowd")
    dump(root / "annotations/instances_train.json", document)
    return root


def test_crowds_are_no_objects_and_said_for_each_class(tmp_path: Path) -> None:
    root = crowded(tmp_path, ("crowd", "", ""), (0, 1, 1))
    what = "1 class without an example in 'train': a (1 crowd). Label some, or take the class away"
    assert told(root) == {"class-untrained": [what]}
    data = load_detection(root)
    assert (dict(data.counts()), dict(data.crowds())) == ({"b": 2}, {"a": 1})
    assert inspect(root).objects == {"a": {"train": 0}, "b": {"train": 2}}


def test_crowds_beside_objects_are_a_note(tmp_path: Path) -> None:
    root = crowded(tmp_path, ("crowd", "", ""), (0, 0, 1))
    assert told(root) == {"crowds": ["the class 'a' has 1 crowd in 'train' beside 1 object"]}


@pytest.mark.parametrize("count", [2, 30])
def test_images_that_splits_share_are_told_once_each(tmp_path: Path, count: int) -> None:
    image(tmp_path / "train/a/0.jpg")
    image(tmp_path / "train/b/0.png", 7)
    for split in ("train", "val"):
        for number in range(count):
            (tmp_path / split / "a").mkdir(parents=True, exist_ok=True)
            if (split, number) != ("train", 0):
                shutil.copyfile(tmp_path / "train/a/0.jpg", tmp_path / split / "a" / f"{number}.jpg")
    paths = {split: load_folders(tmp_path, split=split).paths for split in ("train", "val")}
    assert [twin.other_path.name for twin in duplicates(paths)] == [path.name for path in paths["val"]]
    assert len(told(tmp_path)["in-two-splits"]) == count


def test_only_some_classes_of_a_set(tmp_path: Path) -> None:
    sets(tmp_path, {"train": ("a", "b"), "val": ("a", "zebra")})
    data = load_detection(tmp_path, split="val")
    kept = data.only(("b", "a"))
    assert (kept.classes, len(kept), dict(kept.counts())) == (("b", "a"), 1, {"a": 1})
    assert kept[0].boxes.tolist() == data[0].boxes[:1].tolist()
    for number, place in enumerate(("a", "b", "zebra")):
        image(tmp_path / "folders" / place / f"{number}.jpg", number)
    images = load_folders(tmp_path / "folders").only(("b", "a"))
    assert [(path.name, images.classes[label]) for path, label in images] == [("0.jpg", "a"), ("1.jpg", "b")]


def test_training_says_so_before_the_work(tmp_path: Path) -> None:
    root = crowded(tmp_path / "data", ("crowd", "", ""), (0, 1, 1))
    words = ["train", "detector", str(root), "--short-side", "64", "--cache", str(tmp_path / "cache")]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "model")], catch_exceptions=False)
    said = "Warning: {}: 1 class without an example in 'train': a (1 crowd)."
    assert 0 <= done.stderr.find(said.format(root)) < done.stderr.find("1 image, 2 objects of 2 classes")
