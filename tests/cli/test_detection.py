"""The commands on detection beside training and answering: where time goes, and against R-CNN."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
from typer.testing import CliRunner

from sppnet.cli.commands import app
from sppnet.detection.detector import Detector
from sppnet.detection.settings import PAPER
from sppnet.recipes import _rcnn as rcnn

pytestmark = pytest.mark.slow


def _invoked(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def model(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train as published, at two scales, from the command line."""
    folder = tmp_path_factory.mktemp("model")
    options = ("--settings", "paper", "--short-side", "96", "--short-side", "144", "--cache", folder / "cache")
    _invoked("train", "detector", shapes, "--out", folder / "model", *options)
    return folder / "model"


def test_a_detector_is_trained_as_published_at_several_scales(model: Path, shapes: Path) -> None:
    detector = Detector.load(model)
    assert (detector.settings, detector.short_side) == ("paper", (96, 144))
    assert detector.model_.settings == PAPER
    assert detector.model_.encoder.scales == (96, 144)
    assert "Mean average precision" in _invoked("evaluate", model, shapes)


@pytest.mark.slow
def test_deep_says_what_came_of_it_and_other_networks_are_taken_by_name(shapes: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    safetensors.torch.save_file(timm.create_model("resnet10t", num_classes=0).state_dict(), own)
    options = ("--backbone", "timm/resnet10t", "--weights", own, "--short-side", "96", "--cache", tmp_path / "cache")
    command = ("train", "detector", shapes, "--out", tmp_path / "model", "--deep", "--epochs", 1, "--json", *options)
    ended = CliRunner().invoke(app, list(map(str, command)), catch_exceptions=False)
    told = json.loads(ended.stdout)
    assert told["deep"] == {"kept": False, "held_out": 0, "epochs": 0, "curve": [], "before": None, "after": None}
    assert "too few to tell" in ended.stderr
    assert "Then the convolutions" not in ended.stderr  # nothing is announced that will not be tried
    assert not (tmp_path / "model.run").exists()
    assert Detector.load(tmp_path / "model").model_.encoder.backbone.name == "timm/resnet10t"
    _invoked("features", shapes / "JPEGImages" / "10.png", "--out", tmp_path / "rows.npy", *options[:4])
    assert np.load(tmp_path / "rows.npy").shape == (1, 512 * 14)


def test_a_profile_names_the_stages_of_a_image(model: Path, shapes: Path) -> None:
    image = shapes / "JPEGImages" / "10.png"
    ((path, seconds),) = ((each["image"], each["seconds"]) for each in _profile(model, image, "--json"))
    assert path == str(image)
    stages = {"reading", "scaling", "network", "proposals", "pooling and scores", "moving boxes", "suppression", "rest"}
    assert set(seconds) == stages
    assert all(value >= 0 for value in seconds.values())
    assert seconds["network"] > 0
    printed = _invoked("predict", model, image, "--profile")
    assert all(name in printed for name in (*stages, "share", "all"))


def _profile(*arguments: str | Path) -> list[dict[str, object]]:
    profiles: list[dict[str, object]] = json.loads(_invoked("predict", *arguments, "--profile"))
    return profiles


def test_rcnn_is_compared_on_the_users_own_data(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rcnn, "compare", functools.partial(rcnn.compare, side=64, alone=8))  # in seconds
    options = ("--against", "rcnn", "--images", "3", "--regions", "20", "--cache", tmp_path)
    compared = json.loads(_invoked("bench", "detector", shapes, *options, "--json"))
    assert compared["times_faster"] > 1
    assert (compared["against"], compared["learnt"], compared["tested"]) == ("rcnn", 3, 1)
    assert 0 <= compared["pooled"]["quality"] <= 1


def test_the_comparison_is_printed_for_people(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sides = rcnn.Side(0.5, 0.1), rcnn.Side(0.6, 5.0)
    monkeypatch.setattr(rcnn, "compare", lambda *_, **__: rcnn.Comparison(*sides, 2000, 300, 64, 20, 10))
    printed = _invoked("bench", "detector", shapes, "--against", "rcnn", "--cache", tmp_path)
    assert "Pooling one map is 50 times faster." in printed
    assert "60.0%" in printed


@pytest.mark.parametrize("metric", ["voc", "voc07", "ilsvrc", "coco"])
def test_every_metric_tells_how_sure_it_is_and_what_went_wrong(model: Path, shapes: Path, metric: str) -> None:
    options = ("--metric", metric, "--intervals", "--errors")
    report = json.loads(_invoked("evaluate", model, shapes, *options, "--json"))
    low, high = report["interval"]
    assert low <= report["mean_average_precision"] <= high
    assert set(report["mistakes"]) == set(report["classes"])
    assert ("coco" in report) == (metric == "coco")


def test_mistakes_and_intervals_are_printed(model: Path, shapes: Path) -> None:
    printed = _invoked("evaluate", model, shapes, "--metric", "coco", "--intervals", "--errors")
    for text in ("Mistakes above the thresholds", "duplicate", "95 % of data sets", "COCO: AP "):
        assert text in printed


def test_curves_and_results_are_written(model: Path, shapes: Path, tmp_path: Path) -> None:
    options = ("--plot", tmp_path / "curves.svg", "--results", tmp_path / "out", "--json")
    report = json.loads(_invoked("evaluate", model, shapes, *options))
    assert "disc" in (tmp_path / "curves.svg").read_text()
    names = {"detections_val_sppnet_results.json", "comp4_det_val_disc.txt", "comp4_det_val_square.txt"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    rows = json.loads((tmp_path / "out" / "detections_val_sppnet_results.json").read_text())
    lines = [(tmp_path / "out" / f"comp4_det_val_{name}.txt").read_text().splitlines() for name in report["classes"]]
    assert len(rows) == sum(map(len, lines)) > 0
    corners = sorted([float(word) for word in line.split()[2:]] for mine in lines for line in mine)
    boxes = sorted([x + 1, y + 1, x + width, y + height] for x, y, width, height in (row["bbox"] for row in rows))
    np.testing.assert_allclose(corners, boxes, atol=1e-9)


def test_a_plot_of_another_kind_is_refused_before_anything_is_detected(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path), str(tmp_path), "--plot", "curves.jpg"])
    assert result.exit_code != 0
    assert "file must be an .svg or .png, got curves.jpg" in str(result.exception)
