"""Which regions are learnt from: positives, negatives, what is ignored, hard negatives, and regions to move."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sppnet.detection import examples
from sppnet.detection.examples import (
    Examples,
    ImageLabels,
    Shares,
    draw_examples,
    hard_negatives,
    rejected_examples,
    rejected_names,
    taken,
    variety_of,
)
from sppnet.detection.head import RegionHead
from sppnet.detection.settings import OURS, PAPER
from sppnet.errors import ArgumentError, BoxError
from sppnet.features.maps import FeatureMap
from sppnet.geometry import AxisGrid, Boxes, CellGrid, apply_deltas, iou

NAMES = ("cat", "dog")
CAT, DOG = [20.0, 20.0, 60.0, 60.0], [100.0, 40.0, 140.0, 100.0]
LABELS = ImageLabels(np.array([CAT, DOG]), NAMES)


@pytest.fixture
def maps() -> FeatureMap:
    """Return a map of 15 x 20 cells of 8 pixels: its first channel rises to the right, its second downwards."""
    rows, columns = np.mgrid[:15, :20].astype(np.float32)
    values = torch.from_numpy(np.stack([columns, rows])).half()
    return FeatureMap(values, CellGrid(AxisGrid(8.0, 4.0), AxisGrid(8.0, 4.0)), (120, 160), (120, 160))


@pytest.fixture
def regions() -> Boxes:
    """Return a dense grid of regions of 40 x 40 and 60 x 40 pixels."""
    boxes = [
        [left, top, left + wide, top + tall]
        for tall, wide in ((40, 40), (60, 40))
        for top in range(0, 121 - tall, 4)
        for left in range(0, 161 - wide, 4)
    ]
    return np.array(boxes, dtype=np.float64)


# What labels tell


def test_variety_is_how_often_two_objects_differ() -> None:
    def of(*classes: str) -> ImageLabels:
        return ImageLabels(np.tile(CAT, (len(classes), 1)), classes)

    assert variety_of([of("cat"), of("cat", "cat")], NAMES) == 0
    assert variety_of([of("cat"), of("dog")], NAMES) == 0.5
    assert (
        variety_of([of("cat", "cat", "cat"), of("dog", "bird")], NAMES) == 1 - (9 + 1) / 16
    )  # birds are not asked for
    assert variety_of([of(*"abcdef")], tuple("abcdef")) == pytest.approx(5 / 6)
    assert variety_of([of()], NAMES) == variety_of([], NAMES) == 0


def test_targets_follow_the_overlap_with_objects_of_the_class() -> None:
    near = np.array([CAT, [24.0, 20, 64, 60], [40.0, 20, 80, 60], [52.0, 20, 92, 60], [100.0, 40, 140, 80]])
    overlap, targets = LABELS.overlaps(near, NAMES, OURS)
    np.testing.assert_allclose(overlap, [1, 36 / 44, 1 / 3, 8 / 72, 2 / 3])
    assert targets[:, 0].tolist() == [1, 1, 0, -1, -1]  # of a cat from 0.7, not of one under 0.3
    assert targets[:, 1].tolist() == [-1, -1, -1, -1, 0]  # what holds a cat is background to dogs


def test_the_paper_takes_objects_alone_as_positives() -> None:
    _, targets = LABELS.overlaps(np.array([[24.0, 20, 64, 60]]), NAMES, PAPER)
    assert targets.tolist() == [[0, -1]]


def test_an_ignored_object_is_neither_positive_nor_background() -> None:
    labels = replace(LABELS, ignored=np.array([True, False]))
    overlap, targets = labels.overlaps(np.array([CAT, DOG]), NAMES, OURS)
    assert overlap.tolist() == [0, 1]
    assert targets.tolist() == [[0, -1], [-1, 1]]
    assert labels.counted.tolist() == [False, True]


def test_labels_of_some_classes_are_those_alone() -> None:
    rejected = np.array([[0.0, 0, 9, 9], [1.0, 1, 9, 9]])
    labels = ImageLabels(np.array([CAT, DOG]), NAMES, np.array([False, True]), rejected, ("dog", "cat"), complete=False)
    dogs = labels.only(["dog", "cow"])
    assert (dogs.boxes.tolist(), dogs.classes, dogs.complete) == ([DOG], ("dog",), False)
    assert dogs.ignored is not None
    assert dogs.ignored.tolist() == [True]
    assert (dogs.rejected.tolist(), dogs.rejected_classes) == ([[0, 0, 9, 9]], ("dog",))
    assert labels.indices(("dog", "cat")).tolist() == [1, 0]


def test_labels_are_clipped_to_the_image_or_refused() -> None:
    checked = ImageLabels(np.array([[-5.0, 10, 50, 900]]), ("cat",)).checked((120, 160))
    assert checked.boxes.tolist() == [[0, 10, 50, 120]]
    with pytest.raises(BoxError, match=r"ImageLabels: regions\[0\] must be a box that holds some of the image"):
        ImageLabels(np.array([[0.0, 130, 50, 140]]), ("cat",)).checked((120, 160))
    with pytest.raises(ArgumentError, match=r"rejected_classes must be 1 names, one a box, got 0\. Name the class of"):
        ImageLabels(np.zeros((0, 4)), (), rejected=np.array([CAT]))


def test_what_a_region_shows_is_known_where_it_lies_in_a_box_or_on_one() -> None:
    inside, on, beside = [30.0, 30, 40, 40], [40.0, 20, 80, 60], [62.0, 20, 99, 60]
    assert LABELS.shown(np.array([inside, on, beside])).tolist() == [True, True, False]


# Drawn examples


def test_objects_come_first_then_positives_then_background(maps: FeatureMap, regions: Boxes) -> None:
    rng = np.random.default_rng(0)
    drawn, _ = draw_examples(maps, regions, LABELS, NAMES, levels=(2, 1), rng=rng)
    assert drawn.regions[:2].tolist() == [CAT, DOG]
    assert drawn.targets[:2].tolist() == [[1, -1], [-1, 1]]
    np.testing.assert_array_equal(drawn.features, maps.pool(drawn.regions, (2, 1)).numpy())
    overlap = iou(drawn.regions[2:], LABELS.boxes)
    best, targets = overlap.max(axis=1), drawn.targets[2:]
    assert ((best >= 0.7) | (best < 0.3)).all()  # nothing that holds an object partly
    assert (targets[best < 0.3] == -1).all()
    assert ((targets == 1) == (overlap >= 0.7)).all()
    negatives = best < 0.3
    assert negatives.sum() == examples.NEGATIVES + examples.NEAR_NEGATIVES
    assert (best[negatives][-examples.NEAR_NEGATIVES :] >= examples.NEAR_IOU).all()


def test_no_class_has_more_positives_than_its_share(maps: FeatureMap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "POSITIVES", 3)
    shifted = np.array(CAT) + np.arange(10)[:, None] * 0.5
    many = np.concatenate([shifted, np.array([DOG])])
    drawn, _ = draw_examples(maps, many, LABELS, NAMES, levels=(1,), rng=np.random.default_rng(0))
    assert (drawn.targets[2:] == 1).sum(axis=0).tolist() == [3, 1]


def test_the_same_seed_draws_the_same_examples(maps: FeatureMap, regions: Boxes) -> None:
    def drawn(seed: int) -> Boxes:
        rng = np.random.default_rng(seed)
        return draw_examples(maps, regions, LABELS, NAMES, levels=(1,), rng=rng)[0].regions

    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert not np.array_equal(drawn(1), drawn(2))


def test_boxes_are_moved_from_regions_that_hold_half_of_their_object(maps: FeatureMap, regions: Boxes) -> None:
    _, moves = draw_examples(maps, regions, LABELS, NAMES, levels=(2, 1), rng=np.random.default_rng(0))
    assert set(moves.labels) == {0, 1}
    held = regions[iou(regions, LABELS.boxes).max(axis=1) >= 0.5]
    landed = [apply_deltas(held, np.broadcast_to(delta, held.shape)) for delta in moves.deltas]
    for boxes, label in zip(landed, moves.labels, strict=True):  # each delta moves one of them onto its object
        assert np.abs(boxes - LABELS.boxes[label]).max(axis=1).min() < 1e-6
    counts = np.bincount(moves.labels)
    assert (counts <= examples.REGRESSED).all()


def test_an_image_without_objects_gives_background_alone(maps: FeatureMap, regions: Boxes) -> None:
    nothing = ImageLabels(np.zeros((0, 4)), ())
    drawn, moves = draw_examples(maps, regions, nothing, NAMES, levels=(1,), rng=np.random.default_rng(0))
    assert (drawn.targets == -1).all()
    assert len(drawn.features) == examples.NEGATIVES
    assert len(moves.deltas) == 0


def test_an_ignored_object_is_not_drawn(maps: FeatureMap, regions: Boxes) -> None:
    labels = replace(LABELS, ignored=np.array([True, False]))
    drawn, moves = draw_examples(maps, regions, labels, NAMES, levels=(1,), rng=np.random.default_rng(0))
    assert drawn.regions[0].tolist() == DOG
    assert (drawn.targets[:, 0] < 1).all()
    assert set(moves.labels) == {1}
    on_it = iou(drawn.regions, np.array([CAT]))[:, 0] >= 0.3
    assert (drawn.targets[on_it, 0] == 0).all()


# Hard negatives


def _head(weights: list[list[float]], bias: list[float]) -> RegionHead:
    nothing = torch.zeros(len(bias), 4, 2), torch.zeros(len(bias), 4)
    return RegionHead((1,), torch.tensor(weights), torch.tensor(bias), *nothing)


def _mined(maps: FeatureMap, regions: Boxes, head: RegionHead, **options: Any) -> Examples:
    return hard_negatives(maps, regions, head.scores(maps, regions), LABELS, NAMES, levels=(1,), **options)


def test_hard_negatives_score_above_the_margin_and_hold_nothing(maps: FeatureMap, regions: Boxes) -> None:
    head = _head([[0.5, 0.0], [0.0, 0.0]], [-7.0, -9.0])  # cats are thought to lie far right, dogs nowhere
    found = _mined(maps, regions, head)
    scores = head.scores(maps, found.regions)
    assert len(found.regions) > 3
    assert (scores[:, 0] > OURS.margin).all()
    assert (iou(found.regions, np.array([CAT])) < OURS.negative_iou).all()
    assert (found.targets[:, 0] == -1).all()
    assert (found.targets[:, 1] == 0).all()
    among = iou(found.regions, found.regions)[~np.eye(len(found.regions), dtype=bool)]
    assert among.max() <= OURS.duplicate_iou
    np.testing.assert_array_equal(found.features, maps.pool(found.regions, (1,)).numpy())


def test_the_worst_hard_negatives_are_kept(maps: FeatureMap, regions: Boxes) -> None:
    head = _head([[0.5, 0.0], [0.0, 0.0]], [-7.0, -9.0])
    found = _mined(maps, regions, head, most=2)
    assert len(found.regions) == 2
    assert head.scores(maps, found.regions)[:, 0].max() == head.scores(maps, regions)[:, 0].max()
    assert len(_mined(maps, regions, head, most=0).regions) == 0
    assert len(_mined(maps, regions, head, most=2, settings=PAPER).regions) > 2  # as published, all of them


# Rejections


def test_a_rejection_is_learnt_with_what_shows_the_same(maps: FeatureMap, regions: Boxes) -> None:
    wrong = [80.0, 0.0, 120.0, 40.0]
    labels = replace(LABELS, rejected=np.array([wrong]), rejected_classes=("dog",))
    found = rejected_examples(maps, regions, labels, levels=(1,))
    assert found.regions[0].tolist() == wrong
    assert 1 < len(found.regions) <= 1 + examples.NEAREST_REGIONS
    assert (iou(found.regions, np.array([wrong])) >= examples.REJECTED_IOU).all()
    assert found.targets.tolist() == [[-1]] * len(found.regions)
    assert rejected_names(labels) == ("dog",)


def test_what_is_near_an_object_of_the_class_is_not_rejected_with_it(maps: FeatureMap) -> None:
    wrong, on_dog = [100.0, 10.0, 140.0, 46.0], [100.0, 20.0, 140.0, 68.0]
    labels = replace(LABELS, rejected=np.array([wrong, on_dog]), rejected_classes=("dog", "dog"))
    found = rejected_examples(maps, np.array([on_dog]), labels, levels=(1,))
    assert found.regions.tolist() == [wrong]


def test_each_rejection_is_of_its_own_class(maps: FeatureMap) -> None:
    rejected = np.array([[0.0, 80, 30, 110], [60.0, 80, 90, 110]])
    labels = replace(LABELS, rejected=rejected, rejected_classes=("dog", "cat"))
    found = rejected_examples(maps, np.zeros((0, 4)), labels, levels=(1,))
    assert rejected_names(labels) == ("cat", "dog")
    assert found.targets.tolist() == [[0, -1], [-1, 0]]


def test_examples_are_chosen_and_joined_row_by_row() -> None:
    part = Examples(np.eye(2, dtype=np.float32), np.array([[1], [-1]], np.int8), np.array([CAT, DOG]))
    both = Examples.joined([part, part.of(np.array([False, True]))])
    assert both.targets.tolist() == [[1], [-1], [-1]]
    assert both.regions.tolist() == [CAT, DOG, DOG]


def test_shares_are_right_on_average() -> None:
    rng = np.random.default_rng(0)
    assert [taken(1.0, count, rng) for count in (0, 1, 60)] == [0, 1, 60]
    assert np.mean([taken(0.05, 10, rng) for _ in range(4000)]) == pytest.approx(0.5, abs=0.05)
    assert {taken(0.05, 10, rng) for _ in range(100)} == {0, 1}


def test_of_a_class_of_many_objects_a_part_is_taken(maps: FeatureMap, regions: Boxes) -> None:
    """What is left out still is no background."""

    def drawn(shares: Shares) -> Examples:
        rng = np.random.default_rng(0)
        return draw_examples(maps, regions, LABELS, NAMES, levels=(1,), rng=rng, shares=shares)[0]

    every, some = drawn(Shares()), drawn(Shares(1.0, {"cat": 1e-9}))
    assert every.regions[:2].tolist() == [CAT, DOG]  # objects come first
    assert some.regions[0].tolist() == DOG
    assert len(some.regions) == len(every.regions) - 1
    assert iou(some.regions[some.targets[:, 0] == -1], np.array([CAT])).max() < OURS.negative_iou
    none = draw_examples(maps, regions, LABELS, NAMES, levels=(1,), rng=np.random.default_rng(0), shares=Shares(1e-9))
    assert len(none[0].features) == LABELS.counted.sum()
    assert len(none[1].deltas) == 0
