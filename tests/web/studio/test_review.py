"""Disagreements of labels and detector, and counts with intervals."""

import numpy as np
import pytest

from sppnet.data.parting import compiled
from sppnet.web.studio.review import Counted, count_groups, disagreements
from sppnet.web.studio.store import Box
from sppnet.web.studio.suggestions import Suggestions


def _found(*rows: tuple[tuple[float, float, float, float], int, float]) -> Suggestions:
    boxes, labels, scores = zip(*rows, strict=True)
    return Suggestions(np.array(boxes, np.float32), np.array(labels, np.int32), np.array(scores, np.float32))


def _box(edges: tuple[float, float, float, float], label: int, *, difficult: bool = False) -> Box:
    return Box(1, 1, label, "object", edges, difficult=difficult)


def test_each_disagreement_is_of_one_kind() -> None:
    found = _found(
        ((0, 0, 10, 10), 1, 0.9),  # right
        ((20, 0, 30, 10), 2, 0.8),  # on an object of class 1
        ((44, 0, 54, 10), 1, 0.7),  # beside its object
        ((80, 80, 90, 90), 1, 0.6),  # on nothing
        ((60, 0, 70, 10), 1, 0.2),  # right, but below the threshold
    )
    boxes = [_box((left, 0, left + 10, 10), 1) for left in (0, 20, 40, 60)]
    rows = list(disagreements(boxes, found, {1: 0.5, 2: 0.5}))
    assert [(row["kind"], row["label"]) for row in rows] == [
        ("confused", 2),
        ("badly placed", 1),
        ("false", 1),
        ("missed", 1),
        ("missed", 1),
        ("missed", 1),
    ]
    assert [row["sure"] for row in rows] == pytest.approx([0.8, 0.7, 0.6, 1, 1, 0.8])


def test_difficult_objects_need_not_be_found() -> None:
    nothing = Suggestions(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, np.float32))
    assert list(disagreements([_box((0, 0, 9, 9), 1, difficult=True)], nothing, {})) == []


def test_intervals_hold_the_number_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0, 1, 300).astype(np.float32)
    found = _found(*(((0, 0, 1, 1), 1, float(score)) for score in sure))
    (all_of_them,) = count_groups([Counted("a.png", False, {1: 10}, found)], [1])
    counts = all_of_them["classes"][1]
    assert counts["boxed"] == 10
    true = 10 + (rng.uniform(size=(2000, 300)) < sure).sum(axis=1)
    assert ((counts["low"] <= true) & (true <= counts["high"])).mean() == pytest.approx(0.95, abs=0.02)
    assert counts["expected"] == pytest.approx(true.mean(), abs=0.5)


def test_folders_are_counted_apart() -> None:
    found = _found(((0, 0, 1, 1), 1, 1.0))
    images = [Counted(name, True, {1: 2}, found) for name in ("a/1.png", "b/1.png", "a/2.png")]
    groups = count_groups(images, [1, 2])
    assert [(each["group"], each["images"], each["classes"][1]["expected"]) for each in groups] == [
        ("All", 3, 9), ("a", 2, 6), ("b", 1, 3),
    ]  # fmt: skip
    assert groups[0]["classes"][2] == {"boxed": 0, "expected": 0, "low": 0, "high": 0}


def test_groups_are_told_by_a_pattern_in_the_names() -> None:
    found = _found(((0, 0, 1, 1), 1, 1.0))
    images = [Counted(name, True, {1: 2}, found) for name in ("plate1_a.png", "x/plate2.png", "plate1_b.png", "c.png")]
    groups = count_groups(images, [1], compiled(r"(plate\d)"))
    assert [(each["group"], each["images"]) for each in groups] == [
        ("All", 4), ("others", 1), ("plate1", 2), ("plate2", 1),
    ]  # fmt: skip
