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


def _alone(count: int) -> NDArray[np.float64]:
    """Rivals of detections that have none."""
    return np.zeros((count, 2))


def _sure(known: Calibration, scores: NDArray[np.float64], label: int = 0) -> NDArray[np.float64]:
    return known.probabilities(scores, np.full(len(scores), label), _alone(len(scores)))


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.floats(-5, 5), max_size=30),
    verdicts=st.lists(st.booleans(), min_size=30, max_size=30),
    classes=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_a_higher_score_is_never_less_certain(
    scores: list[float], verdicts: list[bool], classes: int, seed: int
) -> None:
    """Whatever was seen, were it all wrong way round; nor is one with more rivals surer."""
    values, right = np.array(scores), np.array(verdicts[: len(scores)], dtype=bool)
    labels, rivals = np.arange(len(scores)) % classes, np.random.default_rng(seed).exponential(1, (len(scores), 2))
    known = calibrate(labels, values, rivals, right, np.full(classes, 5))
    assert (known.slopes >= SMALLEST_SLOPE).all()
    assert (known.rivalry <= 0).all()
    assert ((known.thresholds > 0) & (known.thresholds < 1)).all()
    more = np.linspace(0, 5, 99)[:, None]
    for label in range(classes):
        rising = _sure(known, np.linspace(-50, 50, 99), label)
        assert (np.diff(rising) >= 0).all()
        assert ((rising >= 0) & (rising <= 1)).all()
        for kind in ([1.0, 0.0], [0.0, 1.0]):
            assert (np.diff(known.probabilities(np.ones(99), np.full(99, label), more * kind)) <= 0).all()


def test_what_rivals_take_is_learnt() -> None:
    """Of two kinds of images: in one an object beside a surer one is as likely there as any, in the other never."""
    scores, there = _drawn(3000, slope=2.0, offset=0.0)
    rivals = np.random.default_rng(5).uniform(0, 1.5, (3000, 2))
    labels = np.zeros(3000, int)
    apart = calibrate(labels, scores, rivals, there, np.array([there.sum()]))
    assert (apart.rivalry > -0.3).all()
    one = there & (rivals.sum(axis=1) < 0.5)
    assert (calibrate(labels, scores, rivals, one, np.array([one.sum()])).rivalry < -2).all()


def test_a_known_curve_is_found_again() -> None:
    scores, right = _drawn(4000, slope=3.0, offset=1.0)
    known = calibrate(np.zeros(4000, int), scores, _alone(4000), right, np.array([right.sum()]))
    assert known.slopes[0] == pytest.approx(3.0, rel=0.1)
    assert known.offsets[0] == pytest.approx(1.0, abs=0.15)


def test_confidence_is_the_share_that_is_right() -> None:
    scores, right = _drawn(4000, slope=1.5, offset=-0.5, seed=1)
    known = calibrate(np.zeros(4000, int), scores, _alone(4000), right, np.array([right.sum()]))
    sure = _sure(known, scores)
    for low in np.arange(0, 1, 0.2):
        among = (sure >= low) & (sure < low + 0.2)
        assert sure[among].mean() == pytest.approx(right[among].mean(), abs=0.05)


def test_three_labels_give_sensible_probabilities() -> None:
    right = np.array([True, True, False])
    known = calibrate(np.zeros(3, int), np.array([1.2, 0.8, -0.9]), _alone(3), right, np.array([2]))
    high, low = _sure(known, np.array([1.0, -1.0]))
    assert 0.7 < high < 0.99
    assert 0.01 < low < 0.25
    assert 0.2 < known.thresholds[0] < 0.8


def test_nothing_seen_is_what_is_taken_for_granted() -> None:
    nothing = np.zeros(0, int), np.zeros(0), _alone(0), np.zeros(0, bool)
    known, unknown = calibrate(*nothing, np.array([0, 4])), Calibration.unknown(2)
    for name in ("slopes", "offsets", "rivalry", "thresholds"):
        np.testing.assert_allclose(getattr(known, name), getattr(unknown, name))
    assert unknown.thresholds.tolist() == [0.5, 0.5]
    assert _sure(unknown, np.array([1.0]))[0] == pytest.approx(0.82, abs=0.01)


def test_a_rare_class_leans_on_the_curve_of_all() -> None:
    """Two right answers at low scores say little against 400 of another class."""
    scores, right = _drawn(400, slope=4.0, offset=-4.0)
    labels = np.append(np.zeros(400, int), [1, 1])
    some = np.append(scores, [-0.5, -0.5]), _alone(402), np.append(right, [True, True])
    known = calibrate(labels, *some, np.array([right.sum(), 2]))
    alone = calibrate(np.zeros(2, int), np.full(2, -0.5), _alone(2), np.array([True, True]), np.array([2]))
    at = np.array([0.0])
    assert _sure(known, at, 1)[0] < _sure(alone, at)[0]
    assert _sure(known, at, 1)[0] > _sure(known, at)[0]


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_is_near_the_best_f1(seed: int) -> None:
    scores, right = _drawn(300, slope=2.0, offset=-1.0, seed=seed)
    wanted = int(right.sum()) + 20
    known = calibrate(np.zeros(300, int), scores, _alone(300), right, np.array([wanted]))
    sure = _sure(known, scores)

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


def test_a_probability_is_what_its_score_and_rivals_stand_for() -> None:
    known = Calibration.of([(2.0, -1.0, -0.5, -0.5), (0.5, 0.0, -2.0, 1.0)], np.array([0.5, 0.5]))
    sure = known.probabilities(np.array([1.0, 1.0]), np.array([0, 1]), np.array([[0.5, 1.0], [3.0, 0.25]]))
    np.testing.assert_allclose(sure, 1 / (1 + np.exp([-0.5, -1.0])))
    np.testing.assert_allclose(_sure(known, np.array([-1e9, 1e9])), [0, 1], atol=1e-300)


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
    alone = calibrate(labels, scores, _alone(2000), right, np.array([many, 0]))
    assert alone.thresholds[1] == pytest.approx(alone.thresholds[0], abs=0.01)  # nothing known: that of all
    more = np.append(labels, 1), np.append(scores, 2.0), _alone(2001), np.append(right, True)
    one = calibrate(*more, np.array([many, 1]))
    assert one.thresholds[0] == pytest.approx(alone.thresholds[0], abs=0.01)
    assert one.thresholds[1] == pytest.approx((0.99 + 3 * one.thresholds[0]) / 4, abs=0.02)
