"""From scores to probabilities: never falling, sensible from a few labels on, and thresholds near the best F1."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sppnet.learning.calibration import (
    SHARPNESS,
    SMALLEST_SLOPE,
    Calibration,
    best_threshold,
    calibrate,
    least_known,
    sharpness,
)


def _drawn(count: int, *, slope: float, offset: float, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Draw scores, and whether each is right by a known curve."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1.5, count)
    return scores, rng.random(count) < 1 / (1 + np.exp(-(slope * scores + offset)))


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.floats(-5, 5), max_size=30),
    verdicts=st.lists(st.booleans(), min_size=30, max_size=30),
    classes=st.integers(1, 3),
)
def test_a_higher_score_is_never_less_certain(scores: list[float], verdicts: list[bool], classes: int) -> None:
    """Whatever was seen, were it all wrong way round."""
    values, right = np.array(scores), np.array(verdicts[: len(scores)], dtype=bool)
    labels = np.arange(len(scores)) % classes
    known = calibrate(labels, values, right, np.full(classes, 5))
    assert (known.slopes >= SMALLEST_SLOPE).all()
    assert ((known.thresholds > 0) & (known.thresholds < 1)).all()
    for label in range(classes):
        rising = known.probabilities(np.linspace(-50, 50, 99), np.full(99, label))
        assert (np.diff(rising) >= 0).all()
        assert ((rising >= 0) & (rising <= 1)).all()


def test_a_known_curve_is_found_again() -> None:
    scores, right = _drawn(4000, slope=3.0, offset=1.0)
    known = calibrate(np.zeros(4000, int), scores, right, np.array([right.sum()]))
    assert known.slopes[0] == pytest.approx(3.0, rel=0.1)
    assert known.offsets[0] == pytest.approx(1.0, abs=0.15)


def test_confidence_is_the_share_that_is_right() -> None:
    scores, right = _drawn(4000, slope=1.5, offset=-0.5, seed=1)
    known = calibrate(np.zeros(4000, int), scores, right, np.array([right.sum()]))
    sure = known.probabilities(scores, np.zeros(4000, int))
    for low in np.arange(0, 1, 0.2):
        among = (sure >= low) & (sure < low + 0.2)
        assert sure[among].mean() == pytest.approx(right[among].mean(), abs=0.05)


def test_three_labels_give_sensible_probabilities() -> None:
    known = calibrate(np.zeros(3, int), np.array([1.2, 0.8, -0.9]), np.array([True, True, False]), np.array([2]))
    high, low = known.probabilities(np.array([1.0, -1.0]), np.zeros(2, int))
    assert 0.7 < high < 0.99
    assert 0.01 < low < 0.25
    assert 0.2 < known.thresholds[0] < 0.8


def test_nothing_seen_is_what_is_taken_for_granted() -> None:
    nothing = np.zeros(0, int), np.zeros(0), np.zeros(0, bool)
    known, unknown = calibrate(*nothing, np.array([0, 4])), Calibration.unknown(2)
    for name in ("slopes", "offsets", "thresholds"):
        np.testing.assert_allclose(getattr(known, name), getattr(unknown, name))
    assert unknown.thresholds.tolist() == [0.5, 0.5]
    assert unknown.probabilities(np.array([1.0]), np.array([0]))[0] == pytest.approx(0.82, abs=0.01)


def test_a_rare_class_leans_on_the_curve_of_all() -> None:
    """Two right answers at low scores say little against 400 of another class."""
    scores, right = _drawn(400, slope=4.0, offset=-4.0)
    labels = np.append(np.zeros(400, int), [1, 1])
    known = calibrate(
        labels, np.append(scores, [-0.5, -0.5]), np.append(right, [True, True]), np.array([right.sum(), 2])
    )
    alone = calibrate(np.zeros(2, int), np.full(2, -0.5), np.array([True, True]), np.array([2]))
    at = np.array([0.0]), np.array([1])
    assert known.probabilities(*at)[0] < alone.probabilities(at[0], np.array([0]))[0]
    assert known.probabilities(*at)[0] > known.probabilities(at[0], np.array([0]))[0]


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_is_near_the_best_f1(seed: int) -> None:
    scores, right = _drawn(300, slope=2.0, offset=-1.0, seed=seed)
    wanted = int(right.sum()) + 20
    known = calibrate(np.zeros(300, int), scores, right, np.array([wanted]))
    sure = known.probabilities(scores, np.zeros(300, int))

    def f1(threshold: float) -> float:
        found = sure >= threshold
        return float(2 * (right & found).sum() / (found.sum() + wanted))

    best = max(f1(threshold) for threshold in sure)
    assert f1(known.thresholds[0]) > best - 0.03


def test_a_threshold_lies_between_what_is_shown_and_what_is_not() -> None:
    confidence, right = np.array([0.9, 0.8, 0.2, 0.1]), np.array([True, True, False, False])
    assert best_threshold(confidence, right, 2) == pytest.approx(0.5)
    assert best_threshold(confidence[:0], right[:0], 2) == 0.5
    assert best_threshold(confidence, right, 0) == 0.5
    assert best_threshold(np.array([1.0]), np.array([True]), 1) == 0.99


def test_a_score_is_what_its_probability_stands_for() -> None:
    known = Calibration(np.array([2.0, 0.5]), np.array([-0.5, 1.0]), np.array([0.5, 0.5]))
    wanted = np.array([0.3, 0.9])
    np.testing.assert_allclose(known.probabilities(known.scores(wanted), np.array([0, 1])), wanted)
    np.testing.assert_allclose(known.probabilities(np.array([-1e9, 1e9]), np.array([0, 0])), [0, 1], atol=1e-300)


def test_a_known_sharpness_is_found_again() -> None:
    rng = np.random.default_rng(0)
    margins = rng.uniform(-1, 1, (3000, 4))
    odds = np.exp(5.0 * margins)
    labels = np.array([rng.choice(4, p=row / row.sum()) for row in odds])
    assert sharpness(margins, labels) == pytest.approx(5.0, rel=0.05)
    assert sharpness(np.zeros((0, 4)), np.zeros(0, int)) == pytest.approx(SHARPNESS, rel=0.02)


def test_the_sharpness_is_the_most_probable_of_all_steps() -> None:
    rng, steps = np.random.default_rng(1), np.linspace(np.log(0.2), np.log(200.0), 400)
    for scale in (0.01, 0.3, 1.0, 30.0):
        margins, labels = rng.normal(size=(40, 5)) * scale, rng.integers(0, 5, 40)
        margins[np.arange(40), labels] += scale
        logarithms = np.exp(steps)[:, None, None] * margins
        logarithms = logarithms - np.logaddexp.reduce(logarithms, axis=2, keepdims=True)
        likely = logarithms[:, np.arange(40), labels].sum(axis=1) - 0.5 * np.square(steps - np.log(SHARPNESS))
        assert sharpness(margins, labels) == pytest.approx(np.exp(steps[likely.argmax()]))


def test_a_class_without_images_is_never_probable() -> None:
    margins = np.array([[1.0, -1.0, -np.inf], [-1.0, 1.0, -np.inf]] * 10)
    assert np.isfinite(sharpness(margins, np.array([0, 1] * 10)))


def test_few_of_what_is_named_right_are_below_the_least_known() -> None:
    sure = np.linspace(0, 1, 101)
    assert least_known(sure, np.ones(101, bool)) == pytest.approx(0.05)
    assert least_known(sure, sure > 0.5) == pytest.approx(0.53, abs=0.01)
    assert least_known(sure, np.zeros(101, bool)) == 0.0


def test_the_threshold_of_few_objects_leans_on_that_of_all_classes() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=2000)
    right = rng.random(2000) < 1 / (1 + np.exp(-(3 * scores - 2)))
    labels = np.zeros(2000, int)
    many = int(right.sum())
    alone = calibrate(labels, scores, right, np.array([many, 0]))
    assert alone.thresholds[1] == pytest.approx(alone.thresholds[0], abs=0.01)  # nothing known: that of all
    one = calibrate(np.append(labels, 1), np.append(scores, 2.0), np.append(right, True), np.array([many, 1]))
    assert one.thresholds[0] == pytest.approx(alone.thresholds[0], abs=0.01)
    assert one.thresholds[1] == pytest.approx((0.99 + 3 * one.thresholds[0]) / 4, abs=0.02)
