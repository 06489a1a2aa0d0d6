"""Holding out: no image is judged by what was learnt from it, and only what somebody answered counts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch

from sppnet.detection import validation
from sppnet.detection.detections import Detections
from sppnet.detection.examples import ImageLabels
from sppnet.detection.head import RegionHead
from sppnet.detection.kept import KeptImage
from sppnet.errors import DataError
from sppnet.evaluation.matching import Judged

NAMES = ("cat", "dog")
CAT, DOG, FAR = [0.0, 0, 10, 10], [20.0, 0, 30, 10], [50.0, 50, 60, 60]
HEAD = RegionHead((1,), torch.zeros(2, 1), torch.zeros(2), torch.zeros(2, 4, 1), torch.zeros(2, 4))


@dataclass
class _Learner:
    """Learns nothing but which images it was given: their number stands in the weights."""

    images: dict[int, KeptImage]
    given: list[set[Any]] = field(default_factory=list)

    def without(
        self, head: RegionHead, names: Sequence[str], left_out: Sequence[Sequence[KeptImage]]
    ) -> list[RegionHead]:
        heads = []
        for group in left_out:
            heads.append(replace(head, weights=torch.full((2, 1), float(len(self.given)))))
            self.given.append(set(self.images) - {kept.key for kept in group})
        return heads


def _learner(count: int, *, complete: int | None = None, **labels: Any) -> _Learner:
    images = {}
    for key in range(count):
        told = {"boxes": np.array([CAT, DOG]), "classes": NAMES} | labels
        known = ImageLabels(**told, complete=complete is None or key < complete).checked((90, 90))
        images[key] = KeptImage(key, np.zeros((90, 90, 3), np.uint8), known, (90, 90), "", key)
    return _Learner(images)


def _found(*rows: tuple[list[float], int, float]) -> Detections:
    boxes, labels, scores = (np.array(part) for part in zip(*rows, strict=True))
    return Detections(boxes, labels, np.full(len(rows), 0.5), NAMES, scores.astype(np.float32))


def _held_out(learner: _Learner, found: Detections) -> Judged:
    anything: Any = learner
    return validation.hold_out(anything, HEAD, NAMES, lambda head, images: [found] * len(images)).judged


def test_no_image_is_judged_by_what_was_learnt_from_it() -> None:
    learner, asked = _learner(7), []

    def answer(head: RegionHead, images: Sequence[KeptImage]) -> list[Detections]:
        asked.extend((int(head.weights[0, 0]), kept.key) for kept in images)
        return [_found((CAT, 0, 1.0))] * len(images)

    anything: Any = learner
    validation.hold_out(anything, HEAD, NAMES, answer)
    assert sorted(key for _, key in asked) == list(range(7))
    assert all(key not in learner.given[fold] for fold, key in asked)
    assert len(learner.given) == 7


@pytest.mark.parametrize(("images", "folds"), [(2, 2), (12, 12), (40, 10), (200, 2), (400, 1)])
def test_at_most_a_tenth_of_the_images_is_left_out_at_a_time(images: int, folds: int) -> None:
    learner = _learner(images)
    _held_out(learner, _found((CAT, 0, 1.0)))
    assert len(learner.given) == folds
    assert all(images - len(others) <= max(1, images / 10) for others in learner.given)


def test_detections_are_judged_by_the_labels_and_ranked_by_score() -> None:
    judged = _held_out(_learner(3), _found((CAT, 0, 0.2), (DOG, 1, 0.9), (FAR, 0, 0.5)))
    assert judged.confidence.tolist() == pytest.approx([0.9] * 3 + [0.5] * 3 + [0.2] * 3)
    assert judged.verdicts.tolist() == [1] * 3 + [0] * 3 + [1] * 3
    assert judged.objects.tolist() == [[1, 1]] * 3
    assert sorted(judged.images[:3].tolist()) == [0, 1, 2]


def test_of_an_image_that_is_not_complete_only_answers_count() -> None:
    rejected = {"rejected": np.array([FAR]), "rejected_classes": ("cat",)}
    learner = _learner(2, complete=0, **rejected)
    elsewhere = [70.0, 0.0, 80.0, 10.0]
    judged = _held_out(learner, _found((CAT, 0, 0.9), (FAR, 0, 0.8), (FAR, 1, 0.7), (elsewhere, 0, 0.6)))
    assert judged.verdicts[::2].tolist() == [1, 0, -1, -1]  # right, rejected, rejected of another class, unknown


@pytest.mark.parametrize(("rejected", "counts"), [((), False), ((FAR,), True)])
def test_right_ones_alone_tell_nothing(rejected: tuple[list[float], ...], counts: bool) -> None:
    none = np.array(rejected).reshape(-1, 4)
    learner = _learner(2, complete=0, rejected=none, rejected_classes=("cat",) * len(none))
    judged = _held_out(learner, _found((CAT, 0, 1.0), (FAR, 0, 0.9), ([70.0, 0, 80, 10], 0, 0.8)))
    assert sorted(judged.verdicts.tolist()) == ([-1, -1, 0, 0, 1, 1] if counts else [-1] * 6)
    assert judged.objects.tolist() == [[int(counts), int(counts)]] * 2
    assert np.isnan(judged.precision(np.zeros(2))[0]) or counts


def test_enough_complete_images_speak_for_all() -> None:
    judged = _held_out(_learner(6, complete=3), _found((CAT, 0, 0.9)))
    assert len(judged.objects) == 3
    few = _held_out(_learner(6, complete=2), _found((CAT, 0, 0.9)))
    assert len(few.objects) == 6


def test_objects_that_are_ignored_are_not_to_be_found() -> None:
    learner = _learner(2, ignored=np.array([True, False]))
    judged = _held_out(learner, _found((CAT, 0, 0.9), (DOG, 1, 0.8)))
    assert judged.objects.tolist() == [[0, 1]] * 2
    assert judged.verdicts.tolist() == [-1, -1, 1, 1]


def test_of_many_images_some_are_looked_at_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "MOST_IMAGES", 3)
    asked = []
    learner: Any = _learner(9)

    def answer(head: RegionHead, images: Sequence[KeptImage]) -> list[Detections]:
        asked.extend(kept.key for kept in images)
        return [_found((CAT, 0, 1.0))] * len(images)

    validation.hold_out(learner, HEAD, NAMES, answer)
    assert sorted(asked) == [0, 4, 8]


def test_one_image_tells_nothing_of_others() -> None:
    with pytest.raises(DataError, match=r"Detector\.calibrate: needs two labelled images\. Label another one first\."):
        _held_out(_learner(1), _found((CAT, 0, 1.0)))


def test_nobody_judges_a_class_that_one_image_alone_holds() -> None:
    learner = _learner(4)
    for key in (1, 2, 3):  # whichever images are looked at
        kept = learner.images[key]
        learner.images[key] = replace(
            kept, labels=ImageLabels(boxes=np.array([CAT]), classes=("cat",)).checked((90, 90))
        )
    judged = _held_out(learner, _found((CAT, 0, 1.0), (DOG, 1, 0.9), (FAR, 1, 0.8)))
    assert judged.objects.sum(axis=0).tolist() == [4, 0]
    assert (judged.verdicts[judged.labels == 0] == 1).all()
    assert (judged.verdicts[judged.labels == 1] == -1).all()


def test_what_was_found_without_an_image_is_kept_by_its_key() -> None:
    anything: Any = _learner(3)
    found = {key: _found((CAT, 0, float(key))) for key in range(3)}
    held_out = validation.hold_out(
        anything, HEAD, NAMES, lambda head, images: [found[int(str(kept.key))] for kept in images]
    )
    assert held_out.found == found
    assert held_out.judged.images.tolist() == [2, 1, 0]
    assert held_out.judged.confidence.tolist() == [2, 1, 0]
