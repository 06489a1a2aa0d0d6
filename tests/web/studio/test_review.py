"""Disagreements of labels and detector, and counts with intervals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sppnet.data.parting import compiled
from sppnet.errors import ArgumentError
from sppnet.web.studio.changes import Changes
from sppnet.web.studio.review import Counted, count_groups, disagreements
from sppnet.web.studio.session import Session
from sppnet.web.studio.store import Box
from sppnet.web.studio.suggestions import NOTHING, LookedAt, Suggestions


def _asked(*changes: dict[str, Any]) -> Changes:
    return Changes.model_validate({"what": "Label", "changes": list(changes)})


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
        ("misplaced", 1),
        ("false", 1),
        ("missed", 1),
    ]
    assert [row["sure"] for row in rows] == pytest.approx([0.8, 0.7, 0.6, 0.8])
    assert rows[0]["other"] == 1
    assert [row.get("box") for row in rows] == [1, 1, None, 1]
    crowd = Box(2, 1, 1, "object", (75, 75, 99, 99), crowd=True)
    kinds = [row["kind"] for row in disagreements([*boxes, crowd], found, {1: 0.5, 2: 0.5})]
    assert kinds == ["confused", "misplaced", "missed"]  # what is found in a crowd is of it


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
    images.append(Counted("top.png", True, {}, NOTHING))
    assert [each["group"] for each in count_groups(images, [1], root="slides")] == ["All", "a", "b", "slides"]


def test_groups_are_told_by_a_pattern_in_the_names() -> None:
    found = _found(((0, 0, 1, 1), 1, 1.0))
    images = [Counted(name, True, {1: 2}, found) for name in ("plate1_a.png", "x/plate2.png", "plate1_b.png", "c.png")]
    groups = count_groups(images, [1], compiled(r"(plate\d)"))
    assert [(each["group"], each["images"]) for each in groups] == [
        ("All", 4), ("others", 1), ("plate1", 2), ("plate2", 1),
    ]  # fmt: skip


def test_errors_are_counted_by_class_and_kind_and_listed_as_asked(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (100, 100), "gray").save(tmp_path / name)
    session = Session(tmp_path)
    names = [{"do": "add class", "name": name} for name in ("ace", "king")]
    ace, king = session.change(_asked(*names))["added"]
    first, second, third = session.learner.images
    for image in (first, second):
        box = {"do": "add", "image": image, "label": ace, "edges": [10, 10, 40, 40]}
        session.change(_asked(box, {"do": "complete", "image": image, "complete": True}))
    found = _found(((10, 10, 40, 40), king, 0.9), ((60, 60, 90, 90), ace, 0.8))
    nothing = np.zeros(2, dtype=np.int64)
    session.learner.found |= {each: LookedAt(found, 0.0, nothing, 1) for each in (first, third)}
    session.learner.found[second] = LookedAt(NOTHING, 0.0, nothing, 1)
    all_errors = session.review()
    assert (all_errors["looked_at"], all_errors["waiting"]) == (2, 0)
    assert {(each["label"], each["kind"]): each["number"] for each in all_errors["counts"]} == {
        (king, "confused"): 1,
        (ace, "false"): 1,
        (ace, "missed"): 1,
    }  # and nothing of the third, which is not complete
    assert all_errors["images"] == [first, second]
    assert [row["kind"] for row in all_errors["rows"]] == ["missed", "confused", "false"]
    assert [row["kind"] for row in session.review(label=ace)["rows"]] == ["missed", "false"]
    assert session.report()["unseen"] == 0
    del session.learner.found[third]
    with pytest.raises(
        ArgumentError, match=r"what to group by must be a pattern of the names, such as \(plate\\d\+\), got"
    ):
        session.report("(")
    assert session.report()["unseen"] == 1
    (row,) = session.review("confused")["rows"]
    assert (row["name"], row["label"], row["other"]) == ("a.png", king, ace)
    assert session.review("misplaced", ace)["rows"] == []
    assert (all_errors["looked_at"], all_errors["held_out"]) == (2, 0)
    session.learner.held_out[first] = _found(((10, 10, 40, 40), ace, 0.9))  # without the image: another answer
    unseen = session.review()
    assert (unseen["looked_at"], unseen["held_out"], unseen["images"]) == (2, 1, [second])
    del session.learner.found[second]
    assert (session.review()["looked_at"], session.review()["waiting"]) == (1, 1)
    session.store.close()
