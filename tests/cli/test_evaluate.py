"""``evaluate`` on what its model does not know, and on what a classifier would not name."""

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.conftest import Run
from tests.data.drawing import coco, dump, image, text, voc, yolo

from sppnet.classification.classifier import Classifier
from sppnet.detection import output
from sppnet.detection.detections import Detections
from sppnet.detection.detector import Detector
from sppnet.models import load


def labels(root: Path, names: tuple[str, str]) -> Path:
    rows = {f"{number}.jpg": image(root / "images" / f"{number}.jpg", number) for number in range(2)}
    dump(root / "labels.json", coco(rows, names=names))
    return root


def report(run: Run, *words: str | Path) -> tuple[dict[str, Any], str]:
    done = run("evaluate", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_objects_that_a_detector_does_not_know_are_named_and_the_others_measured(
    run: Run, model: Path, tmp_path: Path
) -> None:
    known = load(model).classes_[0]
    found, said = report(run, model, labels(tmp_path / "mixed", (known, "zebra")), "--cache", tmp_path / "cache")
    assert (found["unknown"], found["classes"][known]["positives"]) == ({"zebra": 2}, 2)
    assert "zebra" not in found["classes"]
    assert "the model does not know 2 objects of 'zebra': they cannot be found, and to take one for a class" in said
    done = run("evaluate", model, labels(tmp_path / "other", ("yak", "zebra")), "--cache", tmp_path / "cache")
    assert done.returncode == 1
    assert f"must show the model's classes {known}" in done.stderr


def test_what_is_skipped_is_called_so_and_ends_well(run: Run, model: Path, tmp_path: Path) -> None:
    root = labels(tmp_path / "data", (load(model).classes_[0],) * 2)
    (root / "images/0.jpg").unlink()
    words = ("evaluate", model, root, "--cache", tmp_path / "cache")
    done = run(*words, "--on-bad", "skip")
    assert (done.returncode, "Error:" in done.stderr) == (0, False)
    assert f"Skipped: {root}/labels.json: the image '0.jpg' is missing" in done.stderr
    assert run(*words).returncode == 1


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kinds")
    for number in range(9):
        image(root / "data/val" / ("a", "b", "zebra")[number % 3] / f"{number}.jpg", number, objects=1 + number % 3)
    (root / "learnt").mkdir()
    for name in ("a", "b"):
        (root / "learnt" / name).symlink_to(root / "data/val" / name)
    return root


def test_a_classifier_is_judged_as_it_answers_too(run: Run, kinds: Path, tmp_path: Path) -> None:
    cache = ("--cache", tmp_path / "cache")
    assert run("train", "classifier", kinds / "learnt", "--out", tmp_path / "model", *cache).returncode == 0
    sure = load(tmp_path / "model")
    assert isinstance(sure, Classifier)
    sure._learnt = replace(sure._fitted(), threshold=2.0)  # no answer is as probable
    sure.save(tmp_path / "none")
    for file, right, none in (("model", None, None), ("none", 0.0, 1.0)):
        found, said = report(run, tmp_path / file, kinds / "data", *cache)
        out = tmp_path / f"{file}.out"
        words = [kinds / "learnt/a", kinds / "learnt/b", "--out", out, "--json", *cache]
        answers = json.loads(run("predict", tmp_path / file, *words).stdout.splitlines()[-1])
        share = sum(Path(each["image"]).parent.name == each["class"] for each in answers) / len(answers)
        nones = sum(each["class"] == "none of these" for each in answers) / len(answers)
        assert (found["predicted"]["right"], found["predicted"]["none_of_these"]) == (share, nones)
        assert none is None or (found["predicted"]["right"], found["predicted"]["none_of_these"]) == (right, none)
        assert set(found["predicted"]["classes"]) == set(found["classes"]) == {"a", "b"}
        assert found["unknown"] == {"zebra": 3}
        assert "the model does not know 3 images of 'zebra': they are left out." in said
    printed = run("evaluate", tmp_path / "none", kinds / "data", *cache).stdout
    assert "As 'sppnet predict' answers: 0.0% of the images right, 100.0% 'none of these'." in printed
    assert "right as predicted" in printed
    both = shutil.copytree(kinds / "data", tmp_path / "both")
    rows = {f"{number}.jpg": image(both / "more" / f"{number}.jpg", number) for number in range(9)}
    dump(both / "labels.json", coco(rows))
    assert run("evaluate", tmp_path / "none", both, *cache).returncode == 1
    assert run("evaluate", tmp_path / "none", both, "--layout", "folders", "--split", "val", *cache).returncode == 0


def two_kinds(root: Path, name: str, known: str) -> Path:
    """Make a folder of one image whose labels are there as VOC and as YOLO have them."""
    boxes = [(0, *box) for _, *box in image(root / f"{name}.jpg")]
    text(root / f"{name}.xml", voc(boxes, f"{name}.jpg", (known,)))
    text(root / f"{name}.txt", yolo(boxes))
    text(root / "classes.txt", f"{known}\n")
    return root


@pytest.mark.parametrize("layout", ["voc", "yolo"])
def test_results_are_of_the_layout_that_was_named(run: Run, model: Path, tmp_path: Path, layout: str) -> None:
    root = two_kinds(tmp_path / "data", "1", load(model).classes_[0])
    words = ("evaluate", model, root, "--cache", tmp_path / "cache")
    assert "--layout" in run(*words).stderr
    done = run(*words, "--layout", layout, "--results", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    written = {path.name.partition("_")[0] for path in (tmp_path / "out").iterdir()}
    assert written == ({"detections", "comp4"} if layout == "voc" else {"detections"})


def test_a_name_that_results_have_no_place_for_is_refused_before_the_work(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = two_kinds(tmp_path / "data", "a b", load(model).classes_[0])
    (root / "a b.txt").unlink()
    words = ("evaluate", model, root, "--cache", tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.delattr(Detector, "detect")
        done = run(*words, "--results", tmp_path / "out")
    assert (done.returncode, (tmp_path / "out").exists()) == (1, False)
    assert (
        "VOC's result files have no place for the name 'a b'. Rename it, or write COCO's: 'sppnet conv" in done.stderr
    )
    assert run(*words).returncode == 0
    assert run("convert", root, "--to", "coco", "--out", tmp_path / "coco").returncode == 0
    coco_words = ("evaluate", model, tmp_path / "coco", "--cache", tmp_path / "cache", "--results", tmp_path / "out")
    assert run(*coco_words).returncode == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["detections_all_sppnet_results.json"]


def test_the_report_is_not_lost_where_results_cannot_be_written(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "results.json")

    monkeypatch.setattr(output, "write_results", full)
    root = labels(tmp_path / "data", (load(model).classes_[0],) * 2)
    done = run("evaluate", model, root, "--cache", tmp_path / "cache", "--results", tmp_path / "out")
    assert done.returncode == 1
    assert "Mean average precision" in done.stdout


def test_mistakes_are_counted_by_the_rule_of_the_table(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pixels beside a small object is right by ILSVRC's rule, and badly placed by VOC's."""
    known = load(model).classes_
    image(tmp_path / "data/1.jpg")
    dump(tmp_path / "data/labels.json", coco({"1.jpg": [(0, 10, 10, 14, 14)]}, names=(known[0], known[1])))
    beside = Detections(np.array([[12.0, 10, 16, 14]]), np.zeros(1, np.int64), np.ones(1, np.float32), known)
    monkeypatch.setattr(Detector, "detect", lambda _, images, **__: (beside for _ in images))
    for metric, recall, badly_placed in (("ilsvrc", 1, 0), ("voc", 0, 1)):
        words = (model, tmp_path / "data", "--cache", tmp_path / "cache", "--metric", metric, "--errors")
        found, _ = report(run, *words)
        row = found["mistakes"][known[0]]
        assert found["classes"][known[0]]["recall"] == recall
        assert (row["badly_placed"], row["missed"]) == (badly_placed, 1 - recall)
