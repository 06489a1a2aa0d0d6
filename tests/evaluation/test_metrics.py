"""Metrics against hand calculations, a direct port of the VOC development kit, and scikit-learn."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_curve,
    top_k_accuracy_score,
)

from sppnet.errors import ArgumentError, ShapeError
from sppnet.evaluation.classes import confusion, mean_class_accuracy, top_k_error
from sppnet.evaluation.matching import judge, match, match_ilsvrc
from sppnet.evaluation.precision import DetectionReport, average_precision, detection_report


@dataclass(frozen=True)
class Found:
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    confidence: NDArray[np.float32]


@dataclass(frozen=True)
class Truth:
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    crowd: NDArray[np.bool_]


def found(*rows: tuple[list[float], int, float]) -> Found:
    """Make what was found in an image from (box, label, score) rows."""
    return Found(
        np.array([row[0] for row in rows], dtype=np.float64).reshape(-1, 4),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.float32),
    )


def truth(*rows: tuple[list[float], int], difficult: tuple[int, ...] = (), crowd: tuple[int, ...] = ()) -> Truth:
    """Make what an image shows from (box, label) rows and the numbers of the difficult and the crowds."""
    return Truth(
        np.array([row[0] for row in rows], dtype=np.float64).reshape(-1, 4),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.isin(np.arange(len(rows)), difficult),
        np.isin(np.arange(len(rows)), crowd),
    )


A, B, FAR = [0.0, 0, 10, 10], [20.0, 0, 30, 10], [80.0, 80, 90, 90]
OFF_A = [0.0, 0, 10, 6]  # overlaps A by 0.6


def boxes(*rows: list[float]) -> NDArray[np.float64]:
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def none_of(count: int) -> NDArray[np.bool_]:
    return np.zeros(count, dtype=np.bool_)


# match


def test_match_counts_an_object_once():
    verdicts = match(boxes(OFF_A, A, FAR, B), boxes(A, B), ignored=none_of(2), iou=0.5)
    assert verdicts.tolist() == [1, 0, 0, 1]
    assert verdicts.dtype == np.int8


def test_match_ignores_every_detection_of_an_ignored_object():
    assert match(boxes(A, OFF_A, B), boxes(A, B), ignored=np.array([True, False]), iou=0.5).tolist() == [
        -1,
        -1,
        1,
    ]


def test_match_never_falls_back_to_the_second_best_object():
    # Both detections overlap both objects by more than 0.5, and the first object most.
    ground_truth = boxes([0, 0, 10, 10], [0, 0, 10, 14])
    assert match(boxes([0, 0, 10, 10], [0, 0, 10, 11]), ground_truth, ignored=none_of(2), iou=0.5).tolist() == [
        1,
        0,
    ]


def test_match_takes_the_ignored_object_when_it_overlaps_most():
    ground_truth, ignored = boxes([0, 0, 10, 14], [0, 0, 10, 10]), np.array([False, True])
    assert match(boxes([0, 0, 10, 11]), ground_truth, ignored=ignored, iou=0.5).tolist() == [-1]


@pytest.mark.parametrize(("iou", "verdict"), [(0.6, 1), (0.61, 0)])
def test_match_reaches_the_threshold_with_equality(iou: float, verdict: int):
    assert match(boxes(OFF_A), boxes(A), ignored=none_of(1), iou=iou).tolist() == [verdict]


@pytest.mark.parametrize(("detections", "ground_truth"), [(0, 0), (0, 2), (2, 0)])
def test_match_without_detections_or_objects(detections: int, ground_truth: int):
    verdicts = match(boxes(*[A] * detections), boxes(*[A] * ground_truth), ignored=none_of(ground_truth), iou=0.5)
    assert verdicts.tolist() == [0] * detections


# average_precision

# By rank: right, wrong, right, wrong, right of 4 objects: precisions 1, 1/2, 2/3, 2/4, 3/5 at recalls
# 1/4, 1/4, 2/4, 2/4, 3/4; made falling 1, 2/3, 2/3, 3/5, 3/5.
SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
MATCHED = np.array([1, 0, 1, 0, 1], dtype=np.int8)


def test_area_by_hand():
    assert average_precision(SCORES, MATCHED, 4) == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)


def test_eleven_points_by_hand():
    # Recalls 0, .1, .2 see 1; .3, .4, .5 see 2/3; .6, .7 see 3/5; .8, .9, 1 are not reached.
    assert average_precision(SCORES, MATCHED, 4, rule="eleven") == pytest.approx((3 * 1 + 3 * 2 / 3 + 2 * 3 / 5) / 11)


@pytest.mark.parametrize("found", range(11))
def test_eleven_points_count_recalls_that_are_met_exactly(found: int):
    matched = np.ones(found, dtype=np.bool_)
    expected = (found + 1) / 11 if found else 0
    assert average_precision(np.arange(found), matched, 10, rule="eleven") == pytest.approx(expected)


@pytest.mark.parametrize("rule", ["area", "eleven"])
def test_average_precision_at_its_limits(rule: Any):
    none = np.zeros(0)
    assert average_precision(SCORES, MATCHED > 5, 4, rule=rule) == 0
    assert average_precision(none, none > 0, 4, rule=rule) == 0
    assert average_precision(SCORES, MATCHED < 5, 5, rule=rule) == 1
    assert np.isnan(average_precision(SCORES, MATCHED > 5, 0, rule=rule))
    assert np.isnan(average_precision(none, none > 0, 0, rule=rule))


def test_ignored_detections_are_left_out():
    scores, matched = np.append(SCORES, [0.95, 0.75, 0.1]), np.append(MATCHED, np.int8([-1, -1, -1]))
    assert average_precision(scores, matched, 4) == average_precision(SCORES, MATCHED, 4)


def test_of_equal_scores_the_first_ranks_first():
    tied = np.zeros(2)
    assert average_precision(tied, np.array([True, False]), 1) == 1
    assert average_precision(tied, np.array([False, True]), 1) == 0.5


def test_average_precision_refuses_what_cannot_be():
    with pytest.raises(ShapeError, match=r"average_precision: matched must be \(5,\), got \(2,\)\. Give one verdict"):
        average_precision(SCORES, MATCHED[:2], 4)
    with pytest.raises(ArgumentError, match=r"positives must be at least the 3 matches, got 2\. Count all objects\."):
        average_precision(SCORES, MATCHED, 2)
    with pytest.raises(ArgumentError, match=r"rule must be area or eleven, got 'coco'\. Name one of these\."):
        average_precision(SCORES, MATCHED, 4, rule="coco")


@st.composite
def rankings(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.bool_], int]:
    matched = np.array(draw(st.lists(st.booleans(), min_size=1, max_size=40)))
    scores = np.array(draw(st.permutations(range(len(matched)))), dtype=np.float64)
    return scores, matched, max(1, int(matched.sum())) + draw(st.integers(0, 5))


@given(rankings())
def test_average_precision_is_a_share(ranking: tuple[NDArray[np.float64], NDArray[np.bool_], int]):
    for rule in ("area", "eleven"):
        assert 0 <= average_precision(*ranking, rule=rule) <= 1


@given(rankings())
def test_a_wrong_detection_below_all_others_changes_nothing(ranking: tuple[Any, Any, int]):
    scores, matched, positives = ranking
    for rule in ("area", "eleven"):
        longer = average_precision(np.append(scores, -1.0), np.append(matched, False), positives, rule=rule)
        assert longer == average_precision(scores, matched, positives, rule=rule)


@given(rankings(), st.randoms(use_true_random=False))
def test_the_order_of_distinct_scores_does_not_matter(ranking: tuple[Any, Any, int], random: Any):
    scores, matched, positives = ranking
    order = random.sample(range(len(scores)), len(scores))
    assert average_precision(scores[order], matched[order], positives) == average_precision(*ranking)


@given(rankings())
def test_area_agrees_with_sklearns_curve(ranking: tuple[Any, Any, int]):
    scores, matched, _ = ranking
    positives = int(matched.sum())
    if positives == 0:
        return
    precision, recall, _ = precision_recall_curve(matched, scores)
    falling = np.maximum.accumulate(precision)  # it lists recall from 1 down to 0
    assert average_precision(scores, matched, positives) == pytest.approx(-np.sum(np.diff(recall) * falling[:-1]))


@given(st.integers(1, 20), st.integers(0, 20), st.integers(0, 3))
def test_area_is_sklearns_average_where_precision_only_falls(right: int, wrong: int, last: int):
    matched = np.array([True] * right + [False] * wrong + [True] * (last if not wrong else min(last, 1)))
    scores = -np.arange(len(matched), dtype=np.float64)
    expected = average_precision_score(matched, scores)
    assert average_precision(scores, matched, int(matched.sum())) == pytest.approx(expected)


# detection_report


def test_report_by_hand():
    samples = [truth((A, 0), (B, 0), (FAR, 1)), truth((A, 0)), truth()]
    answers = [
        found((A, 0, 2.0), (OFF_A, 0, 1.0), (FAR, 1, -0.5)),
        found((A, 0, 0.5), (B, 0, -1.0)),
        found((A, 0, 1.5)),
    ]
    report = detection_report(answers, samples, ["cat", "dog", "cow"], thresholds=0.0)
    # Cats by rank: right 2.0, wrong 1.5, wrong again 1.0, right 0.5, wrong -1.0, of 3.
    assert report.average_precision[:2] == pytest.approx([(1 + 2 / 4) / 3, 1])
    assert report.positives.tolist() == [3, 1, 0]
    np.testing.assert_allclose(report.recall, [2 / 3, 0, np.nan])
    np.testing.assert_allclose(report.precision, [2 / 4, np.nan, np.nan])
    np.testing.assert_allclose(report.f1, [2 * 2 / (4 + 3), 0, np.nan])
    np.testing.assert_allclose(report.best_f1, [2 * 2 / (4 + 3), 1, np.nan])
    own = detection_report(answers, samples, ["cat", "dog", "cow"], thresholds=np.array([1.2, -1.0, 0.5]))
    np.testing.assert_allclose(own.recall, [1 / 3, 1, np.nan])
    np.testing.assert_allclose(own.precision, [1 / 2, 1, np.nan])
    assert np.isnan(report.average_precision[2])
    assert report.mean == pytest.approx((0.5 + 1) / 2)
    assert report.classes == ("cat", "dog", "cow")


def test_report_as_json():
    report = detection_report([found((A, 0, 1.0))], [truth((A, 0))], ("cat", "cow"), iou=0.75)
    assert json.loads(json.dumps(report.as_dict(), allow_nan=False)) == {
        "iou": 0.75,
        "mean_average_precision": 1.0,
        "calibration_error": 0.0,
        "classes": {
            "cat": {
                **dict.fromkeys(("average_precision", "recall", "precision", "f1", "best_f1"), 1.0),
                "positives": 1,
            },
            "cow": {**dict.fromkeys(("average_precision", "recall", "precision", "f1", "best_f1")), "positives": 0},
        },
    }


@pytest.mark.parametrize("kind", ["difficult", "crowd"])
def test_report_leaves_out_what_need_not_be_found(kind: str):
    sample = truth((A, 0), (B, 0), **{kind: (0,)})
    report = detection_report([found((A, 0, 3.0), (OFF_A, 0, 2.0), (B, 0, 1.0))], [sample], ["cat"])
    assert report.positives.tolist() == [1]
    assert (report.average_precision[0], report.recall[0], report.precision[0]) == (1, 1, 1)


def test_report_without_anything():
    for report in (
        detection_report([], [], ["cat"]),
        detection_report([found()], [truth()], ["cat"]),
        detection_report([found((A, 0, 1.0))], [truth((A, 0), difficult=(0,))], ["cat"]),
        detection_report([], [], []),
    ):
        assert np.isnan(report.mean)
        assert np.isnan(report.average_precision).all()


def test_report_keeps_classes_apart():
    report = detection_report([found((A, 1, 1.0), (B, 0, 1.0))], [truth((A, 0), (B, 1))], ["cat", "dog"])
    assert report.average_precision.tolist() == [0, 0]


def test_report_ranks_equal_scores_in_the_order_of_images():
    answers, samples = [found((A, 0, 1.0)), found((A, 0, 1.0))], [truth((A, 0)), truth()]
    assert detection_report(answers, samples, ["cat"]).mean == 1
    assert detection_report(answers[::-1], samples[::-1], ["cat"]).mean == 0.5


def test_report_refuses_what_cannot_be():
    one, sample = found((A, 0, 1.0)), truth((A, 0))
    with pytest.raises(ArgumentError, match=r"found must be one for each of the 1 images, got 2\. Detect in every"):
        detection_report([one, one], [sample], ["cat"])
    with pytest.raises(ArgumentError, match=r"found must be indices of 1 classes, got \[3\]\. Number the classes"):
        detection_report([found((A, 3, 1.0))], [sample], ["cat"])
    with pytest.raises(ArgumentError, match=r"samples must be indices of 1 classes, got \[-1\]\. Number the classes"):
        detection_report([one], [truth((A, -1))], ["cat"])
    with pytest.raises(ArgumentError, match=r"iou must be over 0 and at most 1, got 0\. 0\.5 is usual\."):
        detection_report([one], [sample], ["cat"], iou=0)


def noisy_images(seed: int, *, images: int, classes: int) -> tuple[list[Found], list[Truth]]:
    """Make images of overlapping objects and detections that shift, repeat, miss and mistake them."""
    random = np.random.default_rng(seed)
    answers, samples = [], []
    for _ in range(images):
        count = int(random.integers(0, 8))
        corners = random.uniform(0, 80, (count, 2))
        objects = np.concatenate([corners, corners + random.uniform(10, 50, (count, 2))], axis=1)
        labels = random.integers(0, classes, count)
        marks = random.random((2, count)) < 0.1
        samples.append(Truth(objects, labels, *marks))
        source = random.integers(0, count, 2 * count) if count else np.zeros(0, dtype=np.int64)
        shifted = objects[source] + random.normal(0, 3, (len(source), 4))
        named = np.where(random.random(len(source)) < 0.8, labels[source], random.integers(0, classes, len(source)))
        answers.append(Found(shifted, named, random.normal(0, 1, len(source)).astype(np.float32)))
    return answers, samples


def devkit(answers: list[Found], samples: list[Truth], label: int, iou: float) -> tuple[float, float]:
    """Port VOCevaldet line by line, with ends excluded: the area and the eleven-point average precision."""
    ranked = sorted(
        (-float(score), number, index)
        for number, answer in enumerate(answers)
        for index, score in enumerate(answer.confidence)
        if answer.labels[index] == label
    )
    taken: set[tuple[int, int]] = set()
    positives = sum(int((~(s.difficult | s.crowd) & (s.labels == label)).sum()) for s in samples)
    right, wrong, curve = 0, 0, []
    for _, number, index in ranked:
        box, sample = answers[number].boxes[index], samples[number]
        best, nearest = -np.inf, -1
        for j in np.flatnonzero(sample.labels == label):
            theirs = sample.boxes[j]
            width = min(box[2], theirs[2]) - max(box[0], theirs[0])
            height = min(box[3], theirs[3]) - max(box[1], theirs[1])
            if width > 0 and height > 0:
                both = (box[2] - box[0]) * (box[3] - box[1]) + (theirs[2] - theirs[0]) * (theirs[3] - theirs[1])
                overlap = width * height / (both - width * height)
                if overlap > best:
                    best, nearest = overlap, int(j)
        if best >= iou:
            if sample.difficult[nearest] or sample.crowd[nearest]:
                continue
            right, wrong = (right, wrong + 1) if (number, nearest) in taken else (right + 1, wrong)
            taken.add((number, nearest))
        else:
            wrong += 1
        curve.append((right / positives, right / (right + wrong)))
    eleven = sum(max([p for r, p in curve if r >= t / 10], default=0) for t in range(11)) / 11
    recalls = [0, *[r for r, _ in curve], 1]
    precisions = [0, *[p for _, p in curve], 0]
    for i in range(len(precisions) - 2, -1, -1):
        precisions[i] = max(precisions[i], precisions[i + 1])
    area = sum((recalls[i] - recalls[i - 1]) * precisions[i] for i in range(1, len(recalls)))
    return area, eleven


@pytest.mark.parametrize("iou", [0.3, 0.5, 0.75])
@pytest.mark.parametrize("seed", range(3))
def test_report_agrees_with_the_development_kit(seed: int, iou: float):
    answers, samples = noisy_images(seed, images=60, classes=3)
    classes = ["cat", "dog", "cow"]
    area = detection_report(answers, samples, classes, iou=iou)
    eleven = detection_report(answers, samples, classes, iou=iou, rule="eleven")
    expected = [devkit(answers, samples, label, iou) for label in range(3)]
    np.testing.assert_allclose(area.average_precision, [pair[0] for pair in expected], rtol=1e-12)
    np.testing.assert_allclose(eleven.average_precision, [pair[1] for pair in expected], rtol=1e-12)


def test_report_does_not_depend_on_the_order_of_images():
    answers, samples = noisy_images(7, images=40, classes=2)
    order = np.random.default_rng(8).permutation(40)
    first = detection_report(answers, samples, ["cat", "dog"])
    second = detection_report([answers[i] for i in order], [samples[i] for i in order], ["cat", "dog"])
    assert first.as_dict() == second.as_dict()


def test_mean_is_over_the_classes_with_objects():
    empty = np.zeros(3)
    columns = {"positives": empty.astype(int), **dict.fromkeys(("recall", "precision", "f1", "best_f1"), empty)}
    known = np.array([0.25, np.nan, 0.75])
    report = DetectionReport(("a", "b", "c"), known, **columns, calibration_error=0.0, iou=0.5)
    assert report.mean == 0.5


# Classes

RANDOM = np.random.default_rng(0)
LABELS = np.concatenate([np.arange(7), RANDOM.integers(0, 7, 200)])
PREDICTED = np.where(RANDOM.random(207) < 0.6, LABELS, RANDOM.integers(0, 7, 207))


def test_confusion_agrees_with_sklearn():
    counts = confusion(PREDICTED, LABELS, classes=7)
    np.testing.assert_array_equal(counts, confusion_matrix(LABELS, PREDICTED))
    assert counts.dtype == np.int64


def test_confusion_by_hand():
    assert confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), classes=3).tolist() == [
        [1, 1, 0],
        [0, 1, 0],
        [0, 0, 0],
    ]


def test_confusion_refuses_what_cannot_be():
    with pytest.raises(
        ShapeError, match=r"confusion: predicted must be \(2,\), got \(1,\)\. Give one answer a label\."
    ):
        confusion(np.array([0]), np.array([0, 1]), classes=2)
    with pytest.raises(ArgumentError, match=r"predicted must be indices of 2 classes, got \[2\]\. Number the classes"):
        confusion(np.array([2]), np.array([0]), classes=2)
    with pytest.raises(ArgumentError, match=r"labels must be indices of 2 classes, got \[-1\]\. Number the classes"):
        confusion(np.array([0]), np.array([-1]), classes=2)


def test_mean_class_accuracy_agrees_with_sklearn():
    expected = balanced_accuracy_score(LABELS, PREDICTED)
    assert mean_class_accuracy(PREDICTED, LABELS, classes=7) == pytest.approx(expected)


def test_mean_class_accuracy_leaves_out_classes_without_images():
    # Class 0: 1 of 2; class 1: 1 of 1; class 2 has none, and is wrongly named once.
    assert mean_class_accuracy(np.array([0, 2, 1]), np.array([0, 0, 1]), classes=3) == 0.75
    none = np.zeros(0, dtype=np.int64)
    assert np.isnan(mean_class_accuracy(none, none, classes=3))


@pytest.mark.parametrize("k", range(1, 7))
def test_top_k_error_agrees_with_sklearn(k: int):
    scores = RANDOM.normal(size=(207, 7))
    scores[np.arange(207), LABELS] += 1
    assert top_k_error(scores, LABELS, k=k) == pytest.approx(1 - top_k_accuracy_score(LABELS, scores, k=k))


def test_ties_and_nan_count_against_the_answer():
    labels = np.array([0])
    assert top_k_error(np.array([[1.0, 1.0, 0.0]]), labels, k=1) == 1
    assert top_k_error(np.array([[1.0, 1.0, 0.0]]), labels, k=2) == 0
    assert top_k_error(np.array([[np.nan, 1.0, 0.0]]), labels, k=2) == 1
    assert top_k_error(np.array([[1.0, np.nan, 0.0]]), labels, k=1) == 1
    assert top_k_error(np.array([[np.nan, 1.0, 0.0]]), labels, k=3) == 0


def test_top_k_error_without_images_is_nan():
    assert np.isnan(top_k_error(np.zeros((0, 5)), np.zeros(0, dtype=np.int64), k=5))


def test_top_k_error_refuses_what_cannot_be():
    with pytest.raises(
        ShapeError, match=r"top_k_error: scores must be \(2, K\), got \(1, 3\)\. Give one row a label\."
    ):
        top_k_error(np.zeros((1, 3)), np.array([0, 1]), k=1)
    with pytest.raises(ArgumentError, match=r"k must be from 1 to 3, got 4\. Choose a smaller k\."):
        top_k_error(np.zeros((1, 3)), np.array([0]), k=4)
    with pytest.raises(ArgumentError, match=r"labels must be indices of 3 classes, got \[3\]\. Number the classes"):
        top_k_error(np.zeros((1, 3)), np.array([3]), k=1)


def test_ilsvrc_asks_less_of_small_objects_and_gives_a_second_choice() -> None:
    small, large = np.array([[0.0, 0, 10, 10]]), np.array([[0.0, 0, 100, 100]])
    none = np.zeros(1, dtype=bool)
    shifted = small + np.array([4, 0, 4, 0])  # an IoU of 3/7, where 100 / 400 is enough
    assert match_ilsvrc(shifted, small, ignored=none, iou=0.5).tolist() == [1]
    assert match_ilsvrc(large + np.array([40, 0, 40, 0]), large, ignored=none, iou=0.5).tolist() == [0]
    pair = np.array([[0.0, 0, 100, 100], [20.0, 0, 120, 100]])
    twice = np.array([[0.0, 0, 100, 100], [2.0, 0, 102, 100]])  # both lie nearest to the first
    assert match_ilsvrc(twice, pair, ignored=np.zeros(2, dtype=bool), iou=0.5).tolist() == [1, 1]
    assert match(twice, pair, ignored=np.zeros(2, dtype=bool), iou=0.5).tolist() == [1, 0]
    assert match_ilsvrc(twice, pair[:1], ignored=np.ones(1, dtype=bool), iou=0.5).tolist() == [-1, -1]
    assert match_ilsvrc(twice, np.zeros((0, 4)), ignored=none[:0], iou=0.5).tolist() == [0, 0]


def test_an_unknown_matching_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"judge: matching must be voc or ilsvrc, got 'coco'\. Name one of these\."):
        judge([], [], ("a",), matching="coco")  # type: ignore[arg-type]
