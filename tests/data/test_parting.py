"""Splits of one's own: shares, classes, groups, and the file that keeps them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.drawing import image, text, voc
from typer.testing import CliRunner

from sppnet.cli.commands import app
from sppnet.data import DetectionData, FolderData, load_detection, load_folders, splits
from sppnet.data.parting import compiled, group_of, part
from sppnet.errors import ArgumentError, BoxError, DataError


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_each_class_keeps_its_share(share: float) -> None:
    rng = np.random.default_rng(0)
    counts = [{label: 1 for label in range(4) if rng.random() < (0.9, 0.5, 0.3, 0.1)[label]} for _ in range(400)]
    chosen = part(counts, [str(k) for k in range(400)], share, 0)
    assert abs(sum(chosen) - share * 400) <= 2
    for label in range(4):
        held = [inside for inside, mine in zip(chosen, counts, strict=True) if label in mine]
        assert abs(np.mean(held) - share) < 0.06


def test_a_seed_decides_and_groups_stay_together() -> None:
    counts, groups = [{0: 1}] * 90, [f"video{k // 9}" for k in range(90)]
    chosen = part(counts, groups, 0.3, 1)
    assert chosen == part(counts, groups, 0.3, 1)
    assert chosen != part(counts, groups, 0.3, 2)
    assert sum(chosen) == 27
    assert all(
        len({inside for inside, mine in zip(chosen, groups, strict=True) if mine == name}) == 1 for name in groups
    )


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("v1_frame_001.jpg", "v1_frame_002.jpg", True),
        ("v1_frame_001.jpg", "v2_frame_001.jpg", False),
        ("a_jpg.rf.0123abc.jpg", "a_jpg.rf.9876def.jpg", True),
        ("IMG_1.jpg", "IMG_2.jpg", False),
    ],
)
def test_frames_and_copies_stay_together_by_their_names(one: str, other: str, together: bool) -> None:
    assert (group_of(Path(one)) == group_of(Path(other))) is together


def test_a_pattern_names_groups() -> None:
    pattern = compiled(r"cam(\d)")
    assert group_of(Path("cam1/a.jpg"), pattern) == group_of(Path("x/cam1_b.jpg"), pattern)
    with pytest.raises(ArgumentError, match="split: groups must be a regular expression"):
        compiled("(")


def test_shares_that_make_no_split() -> None:
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(ArgumentError, match="share must be above 0 and below 1"):
            part([{}] * 4, list("abcd"), share, 0)
    with pytest.raises(ArgumentError, match="images of at least 2 groups, got 1"):
        part([{}] * 4, ["a"] * 4, 0.5, 0)
    assert sorted(part([{}] * 2, ["a", "b"], 0.01, 0)) == [False, True]


def test_the_command_writes_splits_that_every_reader_goes_by(tmp_path: Path) -> None:
    for k in range(10):
        text(tmp_path / "set" / f"{k}.xml", voc(image(tmp_path / "set" / f"{k}.jpg", k), f"{k}.jpg"))
        image(tmp_path / "kinds" / "ab"[k % 2] / f"{k}.jpg", k)
    for name, load in (("set", load_detection), ("kinds", load_folders)):
        command = ["split", str(tmp_path / name), "--val", "0.2"]
        assert "8 train, 2 val" in CliRunner().invoke(app, command, catch_exceptions=False).output
        assert splits(tmp_path / name) == ("train", "val")
        assert [len(load(tmp_path / name, split=split)) for split in (None, "val", "all")] == [8, 2, 10]
        again = CliRunner().invoke(app, command)
        assert isinstance(again.exception, DataError)
        assert "there are splits already: train, val. Give --replace" in str(again.exception)
    text(tmp_path / "set" / "splits.csv", "image;split\n")
    with pytest.raises(DataError, match=r"splits\.csv:1: must begin with the columns image,split"):
        load_detection(tmp_path / "set")


# In memory


def test_arrays_become_data(tmp_path: Path) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    image(tmp_path / "a.png")
    images = [pixels, tmp_path / "a.png", (tmp_path / "a.png").read_bytes(), Image.fromarray(pixels)]
    targets = [{"boxes": [[0, 0, 70, 20]], "labels": [k % 2]} for k in range(4)]
    data = DetectionData.from_arrays(images, targets, ["cat", "dog"])
    assert [sample.size for sample in data] == [(40, 60), (120, 160), (120, 160), (40, 60)]
    assert data[0].boxes.tolist() == [[0, 0, 60, 20]]
    assert [data.classes[sample.labels[0]] for sample in data] == ["cat", "dog", "cat", "dog"]
    assert (data[1].path, data[1].source) == (tmp_path / "a.png", tmp_path / "a.png")
    assert data[0].source is pixels
    train, val = data.split(0.5, seed=3)
    assert (len(train), len(val), train.name, val.name) == (2, 2, "train", "val")
    assert len(train.merge(val)) == 4
    assert len(data.subset([0, 2])) == 2
    named = DetectionData.from_arrays([pixels], [{"boxes": np.zeros((0, 4)), "labels": []}])
    assert (named.classes, len(named[0].boxes)) == ((), 0)
    with pytest.raises(ArgumentError, match="from_arrays: targets must be 1, one an image, got 2"):
        DetectionData.from_arrays([pixels], targets[:2])
    said = r"labels must be of cat, or places in these from 0, got {}\. Name the classes"
    for label in (1, -1, "dog", np.int64(7)):
        with pytest.raises(ArgumentError, match=said.format(label)):
            DetectionData.from_arrays([pixels], [{"boxes": [[0, 0, 70, 20]], "labels": [label]}], ["cat"])
    for target, got in (("cat", "str"), ({"bbox": []}, "one with 'bbox'"), ({}, "one with nothing")):
        with pytest.raises(
            ArgumentError, match=rf"targets\[1\] must be a mapping with 'boxes' and 'labels', got {got}\."
        ):
            DetectionData.from_arrays([pixels, pixels], [targets[0], target], ["cat"])
    with pytest.raises(ArgumentError, match="labels must be names or whole numbers, got float"):
        DetectionData.from_arrays([pixels], [{"boxes": [[0, 0, 70, 20]], "labels": [0.0]}], ["cat"])
    with pytest.raises(BoxError, match=r"from_arrays, targets\[1\]: regions\[0\] must be a box"):
        DetectionData.from_arrays([pixels] * 2, [targets[0], {"boxes": [[9, 9, 1, 1]], "labels": [0]}], ["cat"])


def test_class_folders_are_cut_and_put_together(tmp_path: Path) -> None:
    for k in range(8):
        image(tmp_path / "ab"[k % 2] / f"{k}.jpg", k)
    data = load_folders(tmp_path)
    first, second = data.split(0.25)
    assert (len(first), len(second), sorted(second.labels.tolist())) == (6, 2, [0, 1])
    merged = first.merge(second, first)
    assert set(merged) == set(data)
    assert isinstance(data.subset([0]), FolderData)
    assert data[0][1] == 0
