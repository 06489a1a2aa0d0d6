"""Data sets written in every layout, read back, and on: the same boxes to a thousandth of a pixel."""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.drawing import image, text, voc
from typer.testing import CliRunner

from sppnet.cli.commands import app
from sppnet.data import DetectionData, Sample, load_detection, splits
from sppnet.data.converting import WRITTEN, convert, flat_names
from sppnet.data.inspection import inspect
from sppnet.errors import ArgumentError, DataError, WriteError

NAMES = ("a", '=1+"x"', "'quoted", "細胞 & <x>", "-1")
HEIGHT, WIDTH = 120, 160


def _place(row: tuple[list[float], list[float], int, bool]) -> tuple[float, ...]:
    return tuple(round(edge, 1) for edge in (*row[0], *row[1]))


@st.composite
def boxes(draw: st.DrawFn) -> list[tuple[list[float], int, bool]]:
    def interval(length: int) -> st.SearchStrategy[list[float]]:
        ends = st.lists(st.floats(0, length), min_size=2, max_size=2).map(sorted)
        return ends.filter(lambda pair: pair[1] - pair[0] > 0.01)

    rows = st.tuples(interval(WIDTH), interval(HEIGHT), st.integers(0, len(NAMES) - 1), st.booleans())
    made = draw(st.lists(rows, max_size=5, unique_by=_place))  # the same box twice would count once
    return [([across[0], down[0], across[1], down[1]], label, flag) for across, down, label, flag in made]


def made(root: Path, drawn: list[list[tuple[list[float], int, bool]]], name: str = "train") -> DetectionData:
    samples = []
    for place, rows in enumerate(drawn):
        path = root / f"{name}{place}.jpg"
        image(path, place)
        edges = np.array([edges for edges, _, _ in rows]).reshape(-1, 4)
        flags = np.array([flag for _, _, flag in rows], dtype=np.bool_)
        labels = np.array([label for _, label, _ in rows], dtype=np.int64)
        samples.append(Sample(path, edges, labels, flags, ~flags & False, (HEIGHT, WIDTH)))
    return DetectionData(root, NAMES, tuple(samples), (), name)


def assert_same(data: DetectionData, again: DetectionData) -> None:
    doubts = "boxes-doubtful"  # drawn at random, boxes may look like anything; what is read stays the same
    assert {problem.level for problem in again.problems if problem.code != doubts} <= {"note"}
    for sample, other in zip(data, again, strict=True):
        np.testing.assert_allclose(other.boxes, sample.boxes, atol=1e-3, rtol=0)
        assert [again.classes[k] for k in other.labels] == [data.classes[k] for k in sample.labels]


@pytest.mark.parametrize(("first", "second"), list(itertools.product(WRITTEN, WRITTEN)))
@given(drawn=st.lists(boxes(), min_size=2, max_size=2))
@settings(max_examples=4, deadline=None)
def test_boxes_stay_the_same_over_all_pairs_of_layouts(
    first: str, second: str, drawn: list[list[tuple[list[float], int, bool]]]
) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "in").mkdir()
        certain = ([0.25, 1.0, 30.5, 40.125], 0, True)
        data = made(root / "in", [[certain, *drawn[0]], drawn[1]])
        convert([data], first, root / "one")
        again = load_detection(root / "one", split="train")
        assert_same(data, again)
        convert([again], second, root / "two")
        last = load_detection(root / "two", split="train")
        assert_same(again, last)
        for sample, other in zip(again, last, strict=True):
            if "difficult" not in (*WRITTEN[first].loses, *WRITTEN[second].loses):
                assert sample.difficult.tolist() == other.difficult.tolist()
            assert sample.path.read_bytes() == other.path.read_bytes()


@pytest.mark.parametrize("layout", WRITTEN)
def test_splits_and_images_of_one_name_are_kept_apart(tmp_path: Path, layout: str) -> None:
    for split in ("train", "val"):
        for folder in ("x", "y"):
            place = tmp_path / "in" / split / folder / "1.jpg"
            text(place.with_suffix(".xml"), voc(image(place, len(split + folder)), "1.jpg"))
    parts = [load_detection(tmp_path / "in", split=split) for split in ("train", "val")]
    done = convert(parts, layout, tmp_path / "out")
    assert (done.images, done.boxes, splits(tmp_path / "out")) == (4, 8, ("train", "val"))
    for part in parts:
        again = load_detection(tmp_path / "out", split=part.name)
        kept = {sample.path.read_bytes(): sample.boxes.tolist() for sample in part}
        assert {sample.path.read_bytes(): sample.boxes.tolist() for sample in again} == kept


def test_what_cannot_be_written_is_refused_before_anything_is(tmp_path: Path) -> None:
    image(tmp_path / "none/0.jpg")
    data = made(tmp_path, [[]])
    with pytest.raises(DataError, match="the folder to write to must be empty"):
        convert([data], "voc", tmp_path)
    with pytest.raises(
        ArgumentError, match="convert: layout must be one of voc, coco, yolo, csv, labelstudio, got 'x'"
    ):
        convert([data], "x", tmp_path / "out")
    with pytest.raises(DataError, match=r"names no class\. Label an object first\."):
        convert([load_detection(text(tmp_path / "none/0.xml", voc([], "0.jpg")).parent)], "voc", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_images_that_do_not_fit_are_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = made(tmp_path, [[], []])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    out = tmp_path / "new" / "out"
    with pytest.raises(WriteError, match=r"out: cannot be written: it needs \d+\.\d kB where 0\.1 kB are free\. Free"):
        convert([data], "coco", out)
    assert not out.parent.exists()


def test_flags_that_a_layout_has_no_place_for_are_counted(tmp_path: Path) -> None:
    data = made(tmp_path / "in", [[([0.0, 0.0, 9.0, 9.0], 0, True)]])
    assert dict(convert([data], "yolo", tmp_path / "out").lost) == {"difficult": 1}


def test_flat_names_never_meet() -> None:
    names = ["a/1.jpg", "a/1.png", "b/1.jpg", "a_1.jpg", "A_1.jpg"]
    flat = flat_names(names)
    assert len({Path(name).stem.casefold() for name in flat}) == len(names)


def test_a_split_that_puts_others_together_is_not_written_as_a_copy(tmp_path: Path) -> None:
    for k in range(4):
        text(tmp_path / f"in/Annotations/{k}.xml", voc(image(tmp_path / f"in/JPEGImages/{k}.jpg", k), f"{k}.jpg"))
    lists = {"train": "0\n1\n", "val": "2\n", "trainval": "0\n1\n2\n", "test": "3\n", "few": "0\n"}
    for name, content in lists.items():
        text(tmp_path / f"in/ImageSets/Main/{name}.txt", content)
    words = ["convert", str(tmp_path / "in"), "--to", "yolo", "--out"]
    told = CliRunner().invoke(app, [*words, str(tmp_path / "out")], catch_exceptions=False).output
    assert "The split trainval is left out: others hold all its images. --split trainval writes it alone." in told
    assert splits(tmp_path / "out") == ("few", "test", "train", "val")
    alone = CliRunner().invoke(app, [*words, str(tmp_path / "alone"), "--split", "trainval"], catch_exceptions=False)
    assert "3 images" in alone.output


@pytest.mark.parametrize("there", [True, False])
def test_what_is_ended_leaves_nothing_and_can_be_done_again(tmp_path: Path, there: bool) -> None:
    for k in range(3):
        text(tmp_path / f"in/{k}.xml", voc(image(tmp_path / f"in/{k}.jpg", k), f"{k}.jpg"))
    out, data = tmp_path / "out", load_detection(tmp_path / "in")
    if there:
        out.mkdir()

    def ended(_: str, items: Any, /) -> Any:
        yield items[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert([data], "coco", out, progress=ended)
    assert out.is_dir() == there
    assert not there or not list(out.iterdir())
    assert convert([data], "coco", out).images == 3


SPLIT_NAMES = (("all",), ("train", "val"), ("fold 1", "fold 2"), ("all", "train"), ("valid",), ("train+val", "holdout"))


@pytest.mark.parametrize("names", SPLIT_NAMES, ids="_".join)
@pytest.mark.parametrize("layout", WRITTEN)
def test_what_is_written_reads_back_with_the_splits_it_had(tmp_path: Path, layout: str, names: tuple[str, ...]) -> None:
    (tmp_path / "in").mkdir()
    parts = [made(tmp_path / "in", [[([1.0, 2.0, 30.0, 40.0], k, False)]], name) for k, name in enumerate(names)]
    convert(parts, layout, tmp_path / "out")
    assert splits(tmp_path / "out") == tuple(sorted(names))
    for part in parts:
        assert_same(part, load_detection(tmp_path / "out", split=part.name))
    found = inspect(tmp_path / "out")
    assert (found.counts["error"], found.images) == (0, dict.fromkeys(names, 1))


@pytest.mark.parametrize("name", ["..", "a/b", "..\\x", "a\nb"])
def test_a_split_that_can_be_no_folder_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    data = replace(made(tmp_path / "in", [[([1.0, 2.0, 30.0, 40.0], 0, False)]]), name=name)
    with pytest.raises(DataError, match=r"the split can be no folder's name\. Rename it\."):
        convert([data], "coco", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_table_may_call_a_split_all(tmp_path: Path) -> None:
    rows = ["image,left,top,right,bottom,class,split"]
    for name in ("all", "train"):
        image(tmp_path / f"{name}.jpg", len(name))
        rows.append(f"{name}.jpg,1,2,30,40,a,{name}")
    text(tmp_path / "labels.csv", "\n".join(rows))
    assert splits(tmp_path) == ("all", "train")
    assert [sample.path.name for sample in load_detection(tmp_path)] == ["train.jpg"]
    assert inspect(tmp_path).images == {"all": 1, "train": 1}
