"""How sure, and what mistakes: against data sets that are really drawn, and cases counted by hand."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from sppnet.errors import ArgumentError
from sppnet.evaluation.coco import coco_precision
from sppnet.evaluation.intervals import interval, mean_precision, resampled_precision
from sppnet.evaluation.matching import Judged, Matching, judge
from sppnet.evaluation.mistakes import mistakes
from sppnet.evaluation.precision import Rule, detection_report


class Shown(NamedTuple):
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    crowd: NDArray[np.bool_]


class ImageDetections(NamedTuple):
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    confidence: NDArray[np.float64]


CLASSES = ("a", "b")
_NONE = np.zeros(0, np.int64)


def _drawn(rng: np.random.Generator, images: int) -> tuple[list[ImageDetections], list[Shown]]:
    """Draw images with objects, and detections of which about half lie on an object; no two scores are equal."""
    found, shown = [], []
    for _ in range(images):
        count, extra = int(rng.integers(0, 5)), int(rng.integers(0, 5))
        corner = rng.uniform(0, 80, (count + extra, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(10, 20, (count + extra, 2))], axis=1)
        labels = rng.integers(0, 2, count + extra)
        nothing = rng.random(count) < 0.2
        shown.append(Shown(boxes[:count], labels[:count], nothing, np.zeros(count, dtype=bool)))
        moved = boxes + rng.normal(0, 2, boxes.shape)
        found.append(ImageDetections(moved, labels, rng.normal(size=count + extra)))
    return found, shown


@pytest.mark.parametrize("rule", ["area", "eleven"])
def test_a_resample_is_what_the_images_really_drawn_give(rule: Rule) -> None:
    rng = np.random.default_rng(0)
    found, shown = _drawn(rng, 12)
    precision = resampled_precision(judge(found, shown, CLASSES), resamples=20, rule=rule, seed=3)
    draws = np.random.default_rng(3).integers(12, size=(20, 12))
    for row, draw in zip(precision, draws, strict=True):
        # Copies of an image tie; a hair's breadth between them leaves all other ranks alone.
        copies = [found[i]._replace(confidence=found[i].confidence - 1e-12 * place) for place, i in enumerate(draw)]
        report = detection_report(copies, [shown[i] for i in draw], CLASSES, rule=rule)
        np.testing.assert_allclose(row, report.average_precision, atol=1e-12)


def test_the_same_seed_draws_the_same_images() -> None:
    found, shown = _drawn(np.random.default_rng(1), 9)
    judged = judge(found, shown, CLASSES)
    one, other = (resampled_precision(judged, resamples=10, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(one, resampled_precision(judged, resamples=10, seed=0))
    assert (one != other).any()


def test_the_interval_holds_what_was_measured() -> None:
    found, shown = _drawn(np.random.default_rng(2), 60)
    low, high = interval(mean_precision(resampled_precision(judge(found, shown, CLASSES))))
    assert low < detection_report(found, shown, CLASSES).mean < high
    assert high - low < 0.3


def test_a_class_that_was_not_drawn_is_left_out_of_the_mean() -> None:
    np.testing.assert_array_equal(mean_precision(np.array([[0.5, np.nan], [np.nan, np.nan]])), [0.5, np.nan])
    assert np.isnan(interval(np.array([np.nan]))).all()


def test_messages_of_the_bootstrap() -> None:
    empty = Judged(*(np.zeros(0, np.int64),) * 2, np.zeros(0), np.zeros(0, np.int8), np.zeros((0, 2), np.int64), _NONE)
    with pytest.raises(ArgumentError, match=r"resampled_precision: judged must be of one image at least, got 0\."):
        resampled_precision(empty)
    judged = judge(*_drawn(np.random.default_rng(0), 2), CLASSES)
    with pytest.raises(ArgumentError, match=r"resamples must be at least 1, got 0\. 1000 is usual\."):
        resampled_precision(judged, resamples=0)
    with pytest.raises(ArgumentError, match=r"interval: level must be between 0 and 1, got 95\. 0\.95 is usual\."):
        interval(np.zeros(3), level=95)


def _shown(*boxes: tuple[float, float, float, float], labels: tuple[int, ...]) -> Shown:
    nothing = np.zeros(len(boxes), dtype=bool)
    return Shown(np.array(boxes, dtype=np.float64), np.array(labels), nothing, nothing)


def test_mistakes_are_counted_by_kind() -> None:
    shown = _shown((0, 0, 10, 10), (50, 50, 60, 60), (80, 80, 90, 90), labels=(0, 1, 1))
    boxes = np.array(
        [[0, 0, 10, 10], [0, 0, 10, 9], [6, 0, 16, 10], [50, 50, 60, 60], [30, 30, 40, 40], [80, 80, 90, 90]], float
    )
    found = ImageDetections(boxes, np.array([0, 0, 0, 0, 0, 1]), np.array([0.9, 0.8, 0.7, 0.6, 0.5, -0.5]))
    report = mistakes([found], [shown], CLASSES, regions=[boxes[:4]])
    assert report.as_dict() == {
        "a": {"duplicate": 1, "confused": 1, "badly_placed": 1, "background": 1, "missed": 0, "unreached": 0},
        "b": {"duplicate": 0, "confused": 0, "badly_placed": 0, "background": 0, "missed": 2, "unreached": 1},
    }
    assert "unreached" not in mistakes([found], [shown], CLASSES).as_dict()["a"]
    assert mistakes([found], [shown], CLASSES, thresholds=-1).missed.tolist() == [0, 1]


def test_mistakes_are_those_of_the_rule() -> None:
    """Of 4 x 4 pixels, ILSVRC asks an object for 16 / 196; and a second object for what found the first again."""
    small = _shown((0, 0, 4, 4), (50, 50, 60, 60), (50, 50, 60, 61), labels=(0, 1, 1))
    boxes = np.array([[2, 0, 6, 4], [2, 0, 6, 4], [50, 50, 60, 60], [50, 50, 60, 60], [0, 0, 5, 2]], float)
    found = ImageDetections(boxes, np.array([0, 0, 1, 1, 1]), np.array([0.9, 0.8, 0.7, 0.6, 0.5]))
    near = [boxes[:1]]
    none = {"duplicate": 0, "confused": 0, "badly_placed": 0, "background": 0, "missed": 0, "unreached": 0}
    assert mistakes([found], [small], CLASSES, regions=near, matching="ilsvrc").as_dict() == {
        "a": none | {"duplicate": 1},
        "b": none | {"confused": 1, "unreached": 2},
    }
    assert mistakes([found], [small], CLASSES, regions=near).as_dict() == {
        "a": none | {"badly_placed": 2, "missed": 1, "unreached": 1},
        "b": none | {"duplicate": 1, "background": 1, "missed": 1, "unreached": 2},
    }


@pytest.mark.parametrize("matching", ["voc", "ilsvrc"])
def test_every_wrong_detection_has_one_kind(matching: Matching) -> None:
    found, shown = _drawn(np.random.default_rng(4), 30)
    judged = judge(found, shown, CLASSES, matching=matching)
    report = mistakes(found, shown, CLASSES, thresholds=-np.inf, matching=matching)
    kinds = report.duplicate + report.confused + report.badly_placed + report.background
    np.testing.assert_array_equal(kinds, np.bincount(judged.labels[judged.verdicts == 0], minlength=2))
    with pytest.raises(ArgumentError, match=r"regions must be one list for each of the 30 images, got 1\. Propose"):
        mistakes(found, shown, CLASSES, regions=[np.zeros((0, 4))])


def test_the_figures_of_coco() -> None:
    pytest.importorskip("faster_coco_eval")
    shown = [_shown((0, 0, 20, 20), (50, 50, 90, 90), labels=(0, 1))]
    boxes = np.array([[0, 0, 20, 20], [50, 50, 90, 76]], dtype=np.float64)  # exact, and with an IoU of 0.65
    figures = coco_precision([ImageDetections(boxes, np.array([0, 1]), np.array([0.9, 0.8]))], shown, CLASSES)
    assert figures["AP50"] == pytest.approx(1.0)
    assert figures["AP75"] == pytest.approx(0.5)
    assert figures["AP"] == pytest.approx((1 + 0.4) / 2)  # right at 0.5, 0.55, 0.6 and 0.65
    assert np.isnan(figures["AP_large"])
    nothing = ImageDetections(np.zeros((0, 4)), _NONE, np.zeros(0))
    assert coco_precision([nothing], shown, CLASSES)["AP"] == 0


def test_coco_and_voc_agree_on_random_images() -> None:
    pytest.importorskip("faster_coco_eval")
    found, shown = _drawn(np.random.default_rng(5), 40)
    plain = [each._replace(difficult=np.zeros(len(each.labels), dtype=bool)) for each in shown]
    assert coco_precision(found, plain, CLASSES)["AP50"] == pytest.approx(
        detection_report(found, plain, CLASSES).mean, abs=0.03
    )
