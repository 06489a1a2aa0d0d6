"""What was found: counted, chosen, joined, drawn, and carried to other libraries and back."""

import json
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pandas
import pytest

from sppnet.detection.detections import Detections, combine
from sppnet.detection.output import as_dict
from sppnet.errors import ArgumentError, MissingExtraError, ShapeError

CLASSES = ("cat", "dog", "cow")


@pytest.fixture
def found() -> Detections:
    boxes = np.array([[0.0, 0, 10, 20], [50.0, 5, 80.5, 25], [4.0, 40, 30, 60]])
    return Detections(
        boxes,
        np.array([1, 0, 1]),
        np.array([0.9, 0.6, 0.25]),
        CLASSES,
        np.array([1.5, 0.4, -0.3], dtype=np.float32),
        boxes + 1,
    )


def _same(one: Detections, other: Detections) -> None:
    assert one.classes == other.classes
    for name in ("boxes", "labels", "confidence", "scores", "regions"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_it_is_counted_and_gone_through_like_a_list(found: Detections) -> None:
    assert (len(found), bool(found), bool(found[:0])) == (3, True, False)
    assert found.counts() == {"cat": 1, "dog": 2, "cow": 0}
    assert [each.confidence.tolist() for each in found] == [[0.9], [0.6], [0.25]]
    _same(found[:1].merge(*list(found)[1:]), found)


def test_some_are_chosen_by_index_slice_mask_or_indices(found: Detections) -> None:
    for rows, expected in (
        (1, [0.6]),
        (-1, [0.25]),
        (slice(1, 3), [0.6, 0.25]),
        (found.labels == 1, [0.9, 0.25]),
        (np.array([2, 0]), [0.25, 0.9]),
        (np.zeros(0, dtype=np.int64), []),
    ):
        chosen = found[rows]
        assert chosen.confidence.tolist() == expected
        assert chosen.boxes.shape == (len(expected), 4)
        np.testing.assert_array_equal(chosen.regions, chosen.boxes + 1)
    with pytest.raises(IndexError):
        found[3]


def test_some_are_chosen_by_class_and_confidence(found: Detections) -> None:
    assert found.of("dog").confidence.tolist() == [0.9, 0.25]
    assert found.of("cat", "cow").confidence.tolist() == [0.6]
    assert found.above(0.6).confidence.tolist() == [0.9, 0.6]
    assert found.first(2).confidence.tolist() == [0.9, 0.6]
    assert len(found.of()) == 0
    with pytest.raises(ArgumentError, match=r"Detections\.of: names must be one of cat, dog, cow, got 'pig'\. Name a"):
        found.of("pig")


def test_merged_ones_are_ranked_and_none_is_dropped(found: Detections) -> None:
    merged = found[[0, 2]].merge(found[[1]], found[[1]])
    assert merged.confidence.tolist() == [0.9, 0.6, 0.6, 0.25]
    assert merged.scores is not None
    unknown = replace(found, scores=None)
    assert found.merge(unknown).scores is None
    with pytest.raises(ArgumentError, match=r"Detections\.merge: others must be of the same classes, got .*Train them"):
        found.merge(replace(found, classes=("a", "b", "c")))


def test_combined_ones_are_thinned_class_by_class(found: Detections) -> None:
    moved = replace(found, boxes=found.boxes + 0.5, confidence=found.confidence - 0.1)
    _same(combine([found, moved]), found)
    other = replace(moved, labels=(found.labels + 1) % 3)
    assert len(combine([found, other])) == 6


def test_columns_of_another_length_are_refused(found: Detections) -> None:
    with pytest.raises(
        ShapeError, match=r"Detections: boxes must be \(3, 4\), got \(2, 4\)\. Give one row a detection"
    ):
        replace(found, boxes=found.boxes[:2])
    with pytest.raises(ShapeError, match=r"Detections: labels must be \(3,\), got \(2,\)\. Give one row a detection"):
        replace(found, labels=found.labels[:2])
    with pytest.raises(ShapeError, match=r"Detections: scores must be \(3,\), got \(5,\)\. Give one row a detection"):
        replace(found, scores=np.zeros(5, np.float32))
    with pytest.raises(
        ShapeError, match=r"Detections: regions must be \(3, 4\), got \(3, 2\)\. Give one row a detection"
    ):
        replace(found, regions=found.boxes[:, :2])


def test_it_is_drawn_on_a_copy(found: Detections) -> None:
    image = np.full((70, 90, 3), 200, np.uint8)
    drawn = found.draw(image)
    assert (drawn.shape, drawn.dtype) == (image.shape, np.uint8)
    assert (image == 200).all()
    assert (drawn[0, 2:9] != 200).any()
    np.testing.assert_array_equal(found[:0].draw(image), image)


def test_it_is_json(found: Detections) -> None:
    told = json.loads(json.dumps(found.as_dict()))
    assert told["counts"] == {"cat": 1, "dog": 2, "cow": 0}
    assert told["detections"][1] == {"class": "cat", "confidence": 0.6, "box": [50, 5, 80.5, 25]}
    assert as_dict("a.png", (70, 90), found) == {"image": "a.png", "height": 70, "width": 90, **told}
    assert found[:0].as_dict()["detections"] == []


def test_it_becomes_cocos_results(found: Detections) -> None:
    rows = json.loads(json.dumps(found.to_coco(7)))
    assert rows[1] == {"image_id": 7, "category_id": 1, "bbox": [50, 5, 30.5, 20], "score": 0.6}
    assert [row["category_id"] for row in found.to_coco(7, numbers=[17, 18, 21])] == [18, 17, 18]
    assert found[:0].to_coco(7) == []


def test_it_becomes_a_table(found: Detections) -> None:
    table = found.to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert list(table.columns) == ["class", "confidence", "left", "top", "right", "bottom"]
    assert table["class"].tolist() == ["dog", "cat", "dog"]
    np.testing.assert_array_equal(table[["left", "top", "right", "bottom"]].to_numpy(), found.boxes)
    assert found[:0].to_pandas().empty


def test_it_goes_to_supervision_and_back(found: Detections) -> None:
    supervision = pytest.importorskip("supervision", reason="needs supervision: pip install 'sppnet[supervision]'")
    there = found.to_supervision()
    assert isinstance(there, supervision.Detections)
    assert there.data["class_name"].tolist() == ["dog", "cat", "dog"]
    back = Detections.from_supervision(there, CLASSES)
    np.testing.assert_allclose(back.boxes, found.boxes)
    np.testing.assert_allclose(back.confidence, found.confidence, rtol=1e-6)
    assert (back.labels.tolist(), back.classes) == (found.labels.tolist(), CLASSES)
    assert len(Detections.from_supervision(found[:0].to_supervision(), CLASSES)) == 0
    assert len(Detections.from_supervision(supervision.Detections.empty(), CLASSES)) == 0


class _Foreign:
    """Has the columns that supervision's ``Detections`` have."""

    def __init__(self, boxes: Any, class_id: Any, confidence: Any = None) -> None:
        self.xyxy, self.class_id, self.confidence = np.asarray(boxes, np.float32), class_id, confidence


def test_what_comes_from_supervision_is_ranked(found: Detections) -> None:
    there: Any = _Foreign(found.boxes[::-1], found.labels[::-1], found.confidence[::-1].astype(np.float32))
    back = Detections.from_supervision(there, CLASSES)
    np.testing.assert_allclose(back.confidence, found.confidence, rtol=1e-6)
    assert back.labels.tolist() == found.labels.tolist()
    sure: Any = _Foreign(found.boxes, found.labels)
    assert Detections.from_supervision(sure, CLASSES).confidence.tolist() == [1, 1, 1]


@pytest.mark.parametrize("class_id", [None, [0, 3, 1], [-1, 0, 0]])
def test_class_ids_that_stand_for_nothing_are_refused(found: Detections, class_id: Any) -> None:
    there: Any = _Foreign(found.boxes, class_id)
    with pytest.raises(ArgumentError, match=r"from_supervision: found must be class ids of 3 classes, one a box, got"):
        Detections.from_supervision(there, CLASSES)


@pytest.mark.parametrize(("library", "door"), [("pandas", "to_pandas"), ("supervision", "to_supervision")])
def test_a_library_that_is_missing_is_named(
    found: Detections, library: str, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    expected = rf"Detections: {library} must be installed, got .*\. Install it with: pip install 'sppnet\[{library}\]'"
    with pytest.raises(MissingExtraError, match=expected):
        getattr(found, door)()
