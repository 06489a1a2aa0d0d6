"""Precision over recall as drawn: the points are the metrics' own, and the same curves give the same file."""

import dataclasses
import sys
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sppnet.errors import ArgumentError, MissingExtraError, ShapeError
from sppnet.evaluation.matching import Judged, judge
from sppnet.evaluation.plotting import _drawn, plot_precision_recall
from sppnet.evaluation.precision import DetectionReport, detection_report

CLASSES = ("_cell", "a & <b>", "$5 or $6", "never shown", "never found")


class Shown(NamedTuple):
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    crowd: NDArray[np.bool_]


class ImageDetections(NamedTuple):
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    confidence: NDArray[np.float64]


@pytest.fixture(scope="module")
def judged() -> tuple[Judged, DetectionReport]:
    """Judge detections of three classes, one that no image shows, and none of a last."""
    rng = np.random.default_rng(0)
    shown, found = [], []
    for _ in range(30):
        corner = rng.uniform(0, 300, (8, 2))
        boxes = np.hstack([corner, corner + 40])
        labels = np.append(rng.integers(3, size=5), [3, 4])
        shown.append(Shown(boxes[[0, 1, 2, 6]], labels[[0, 1, 2, 6]], rng.random(4) < 0.2, np.zeros(4, np.bool_)))
        moved = boxes[:6] + rng.normal(0, 4, (6, 4))
        found.append(ImageDetections(moved, labels[:6], rng.normal(np.array([1, 1, 1, 0, 0, 0]))))
    return judge(found, shown, CLASSES), detection_report(found, shown, CLASSES)


def test_a_curve_is_precision_at_each_recall(judged: tuple[Judged, DetectionReport]) -> None:
    for label in range(3):
        recall, precision = judged[0].curve(label)
        scores = judged[0].confidence[(judged[0].labels == label) & (judged[0].verdicts >= 0)]
        assert len(scores) == len(recall) == len(precision) > 30
        assert recall.tolist() == [judged[0].recall(score)[label] for score in scores]
        shares = [judged[0].precision(score)[label] for score in scores]
        assert precision.tolist() == [max(shares[place:]) for place in range(len(shares))]
        area = float(np.sum(np.diff(recall, prepend=0.0) * precision))
        assert 0.3 < area < 0.95
        assert area == pytest.approx(judged[1].average_precision[label])


def test_a_class_without_objects_or_detections_has_an_empty_curve(judged: tuple[Judged, DetectionReport]) -> None:
    for label in (3, 4):
        assert [len(side) for side in judged[0].curve(label)] == [0, 0]
    assert (judged[0].labels == 3).any()


def test_the_curves_drawn_are_those_of_the_metrics(judged: tuple[Judged, DetectionReport]) -> None:
    (axes,) = _drawn(*judged).axes
    assert len(axes.lines) == 4  # none for the class that no image shows
    for label, line in zip((0, 1, 2, 4), axes.lines, strict=True):
        recall, precision = judged[0].curve(label)
        drawn = np.asarray(line.get_xydata())
        np.testing.assert_array_equal(drawn[1:], np.stack([recall, precision], axis=1))
        assert drawn[0].tolist() == [0, precision[0] if len(precision) else 0]
        assert line.get_drawstyle() == "steps-pre"
        assert str(line.get_label()).startswith(f"{judged[1].average_precision[label]:.1%}  ")
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 4


def test_the_same_curves_give_the_same_file(judged: tuple[Judged, DetectionReport], tmp_path: Path) -> None:
    for suffix in (".svg", ".png"):
        files = [tmp_path / folder / f"curves{suffix}" for folder in "ab"]
        for file in files:
            plot_precision_recall(file, *judged)
        assert files[0].read_bytes() == files[1].read_bytes()
    root = ElementTree.parse(tmp_path / "a" / "curves.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = {" ".join("".join(each.itertext()).split()) for each in root.iter("{http://www.w3.org/2000/svg}text")}
    values = judged[1].average_precision
    assert {f"{values[place]:.1%} {name}" for place, name in enumerate(CLASSES) if place != 3} <= words
    assert f"IoU 0.5, mean average precision {judged[1].mean:.1%}" in words
    with Image.open(tmp_path / "a" / "curves.png") as image:
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 4


def test_nothing_to_draw_is_drawn_all_the_same(tmp_path: Path) -> None:
    nothing = judge([], [], ("a",)), detection_report([], [], ("a",))
    plot_precision_recall(tmp_path / "empty.svg", *nothing)
    assert ElementTree.parse(tmp_path / "empty.svg").getroot() is not None


def test_what_cannot_be_drawn(
    judged: tuple[Judged, DetectionReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ArgumentError, match=r"must be an \.svg or \.png, got .*c\.jpg\. Name it curves\.svg, for one"):
        plot_precision_recall(tmp_path / "c.jpg", *judged)
    fewer = dataclasses.replace(judged[1], classes=CLASSES[:2])
    with pytest.raises(ShapeError, match=r"judged must be \(2,\), got \(5,\)\. Judge and report the same detections\."):
        plot_precision_recall(tmp_path / "c.svg", judged[0], fewer)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"matplotlib must be installed, .*pip install 'sppnet\[plots\]'"):
        plot_precision_recall(tmp_path / "c.svg", *judged)
    assert list(tmp_path.iterdir()) == []
