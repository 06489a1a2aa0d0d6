"""``evaluate`` on what its model does not know, and on what a classifier would not name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Run
from tests.data.drawing import coco, dump, image

from sppnet.classification.classifier import Classifier
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
