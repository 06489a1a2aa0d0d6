"""What suppression keeps in a second turn, and what speaks against a box: compiled loops against plain ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.geometry.test_geometry import boxes, kept_one_by_one

from sppnet.geometry import RIVAL_IOU, Boxes, iou, nms, rivals, second_turn, vote
from sppnet.geometry import boxes as boxes_module

SCORES = st.sampled_from([-1.5, -0.5, 0.0, 0.25, 1.0])
SIDE = 100.0


@st.composite
def found(draw: st.DrawFn) -> tuple[Boxes, np.ndarray, np.ndarray]:
    """Boxes of an image, their classes and scores; many overlap, many score the same."""
    some = draw(boxes(least=0, most=12, side=12))
    each = st.lists(st.integers(0, 2), min_size=len(some), max_size=len(some))
    scores = draw(st.lists(SCORES, min_size=len(some), max_size=len(some)))
    return some, np.array(draw(each), dtype=np.int64), np.array(scores, dtype=np.float32)


@settings(deadline=None)
@given(found())
def test_the_second_turn_keeps_what_a_plain_loop_keeps(case: tuple[Boxes, np.ndarray, np.ndarray]) -> None:
    some, _, scores = case
    first = nms(some, scores, 0.3)
    left = [row for row in range(len(some)) if row not in first and (iou(some[[row]], some[first]) <= 0.6).all()]
    expected = [left[row] for row in kept_one_by_one(some[left], scores[left].tolist(), 0.3)]
    assert second_turn(some, scores, first, threshold=0.3, apart=0.6).tolist() == expected


@settings(deadline=None)
@given(found(), st.integers(0, 12))
def test_rivals_are_what_a_plain_loop_finds(case: tuple[Boxes, np.ndarray, np.ndarray], most: int) -> None:
    some, labels, scores = case
    expected = np.zeros((len(some), 2))
    surest = sorted(range(len(some)), key=lambda row: -scores[row])[:most]
    for row in range(len(some)):
        for other in range(len(some)):
            overlap = float(iou(some[[row]], some[[other]])[0, 0])
            if scores[other] <= scores[row]:
                continue
            if labels[other] == labels[row]:
                expected[row, 0] += (overlap / RIVAL_IOU) ** 3
            elif other in surest:
                expected[row, 1] = max(expected[row, 1], overlap**2 * max(float(scores[other]) + 1, 0))
    np.testing.assert_allclose(rivals(some, labels, scores, most=most), expected, atol=1e-12)


def test_two_side_by_side_are_kept_and_two_boxes_of_one_are_not() -> None:
    """Boxes of one width, each moved to the right by so much of it: IoU is (1 - moved) / (1 + moved)."""
    at = np.array([0.0, 0.2, 0.4]) * SIDE
    some = np.stack([at, np.zeros(3), at + SIDE, np.full(3, SIDE)], axis=1)
    scores = np.array([1.0, 0.9, 0.8])
    first = nms(some, scores, 0.3)
    assert first.tolist() == [0]
    assert second_turn(some, scores, first, threshold=0.3, apart=0.6).tolist() == [2]  # 0.67 and 0.43
    assert second_turn(some, scores, first, threshold=0.3, apart=0.4).tolist() == []


def test_a_box_without_area_is_kept_once() -> None:
    some = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    first = nms(some, np.zeros(2), 0.3)
    assert second_turn(some, np.zeros(2), first, threshold=0.3, apart=0.6).tolist() == []


def test_half_a_margin_counts_where_another_class_lies_on_it() -> None:
    some = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60]], dtype=np.float64)
    labels, scores = np.array([0, 1, 1, 2]), np.array([0.5, 0.2, 0.1, 3.0])
    told = rivals(some, labels, scores, most=100)
    assert told[:, 1] == pytest.approx([0.0, 1.5, 0.64 * 1.5, 0.0])
    assert told[:, 0] == pytest.approx([0.0, 0.0, (0.8 / RIVAL_IOU) ** 3, 0.0])
    assert rivals(some, labels, scores, most=1)[:, 1] == pytest.approx([0, 0, 0, 0])  # the surest lies elsewhere


def test_where_nothing_is_found_nothing_speaks_against_it() -> None:
    assert rivals(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0), most=100).shape == (0, 2)


@pytest.mark.parametrize("pairs", [1, 100, 1_000_000])
def test_a_kept_box_lies_at_the_mean_of_its_voters(monkeypatch: pytest.MonkeyPatch, pairs: int) -> None:
    monkeypatch.setattr(boxes_module, "PAIRS", pairs)
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 30, (60, 2))
    some = np.concatenate([corners, corners + rng.uniform(5, 25, (60, 2))], axis=1)
    some[7, 2:] = some[7, :2]  # without area: its own vote is all that it has
    scores = rng.normal(size=60).astype(np.float32)
    kept = np.array([3, 7, 50, 21])
    placed = vote(some, scores, kept, 0.5)
    for row, place in zip(kept, placed, strict=True):
        voters = np.flatnonzero(iou(some[row : row + 1], some)[0] >= 0.5)
        voters = np.union1d(voters, [row])
        weights = np.exp(boxes_module.VOTE_SHARPNESS * scores[voters].astype(np.float64))
        np.testing.assert_allclose(place, np.average(some[voters], axis=0, weights=weights), rtol=1e-9)
    assert vote(some, scores, kept[:0], 0.5).shape == vote(some[:0], scores[:0], kept[:0], 0.5).shape == (0, 4)
