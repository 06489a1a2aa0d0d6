"""Which detections are right: each is matched to ground truth, by the rule of VOC or of ILSVRC."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sppnet import geometry
from sppnet.errors import check_that
from sppnet.evaluation.classes import check_labels, shares
from sppnet.geometry import Boxes, ScoredBoxes

Matching = Literal["voc", "ilsvrc"]

Thresholds = float | NDArray[np.float64]  # one for all classes, or (K,)

TOLERANCE: Final = 10  # pixels by which ILSVRC lets a small object's box be off


class TrueObjects(Protocol):
    """What one image shows: M objects, in any order."""

    @property
    def boxes(self) -> Boxes:
        """(M, 4) float64 in the image's pixels, ends excluded."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(M,) int64 indices of classes."""

    @property
    def difficult(self) -> NDArray[np.bool_]:
        """(M,) bool, objects that need not be found."""

    @property
    def crowd(self) -> NDArray[np.bool_]:
        """(M,) bool, boxes around many objects, none of which need be found."""


@dataclass(frozen=True)
class Judged:
    """The N detections of P images of K classes, the most certain first, and which of them are right.

    Args:
        images: (N,) int64, the image of each. labels: (N,) int64. confidence: (N,) float64, falling.
        verdicts: (N,) int8: 1 right, 0 wrong, -1 neither, see ``match``.
        objects: (P, K) int64, how many of each class there are to find in each image.
        order: (N,) int64, the place of each among all images' detections one after the other.
    """

    images: NDArray[np.int64]
    labels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    verdicts: NDArray[np.int8]
    objects: NDArray[np.int64]
    order: NDArray[np.int64]

    def precision(self, thresholds: Thresholds = 0.0) -> NDArray[np.float64]:
        """Return the share (K,) of each class's detections from a threshold up that are right; NaN without any."""
        return shares(self._counts(self.verdicts == 1, thresholds), self._counts(self.verdicts >= 0, thresholds))

    def recall(self, thresholds: Thresholds = 0.0) -> NDArray[np.float64]:
        """Return the share (K,) of each class's objects that are found from a threshold up; NaN without any."""
        return shares(self._counts(self.verdicts == 1, thresholds), self.objects.sum(axis=0))

    def f1(self, thresholds: Thresholds = 0.0) -> NDArray[np.float64]:
        """Return the harmonic mean (K,) of precision and recall from a threshold up; NaN without objects."""
        right, found = self._counts(self.verdicts == 1, thresholds), self._counts(self.verdicts >= 0, thresholds)
        wanted = self.objects.sum(axis=0)
        return np.where(wanted > 0, shares(2 * right, found + wanted), np.nan)

    def best_f1(self) -> NDArray[np.float64]:
        """Return the best ``f1`` (K,) that any threshold a class gives; NaN without objects."""
        best = []
        for label, wanted in enumerate(self.objects.sum(axis=0).tolist()):
            right = np.cumsum(self.verdicts[(self.labels == label) & (self.verdicts >= 0)] == 1)
            f1 = 2 * right / (np.arange(1, len(right) + 1) + max(wanted, 1))
            best.append(float(f1.max(initial=0.0)) if wanted else np.nan)
        return np.array(best, dtype=np.float64)

    def calibration_error(self, *, bins: int = 10) -> float:
        """Return how far confidence is from the share that is right: the mean over bins, weighted by detections.

        NaN where the confidence is no probability.
        """
        if ((self.confidence < 0) | (self.confidence > 1)).any():
            return float("nan")
        counted = self.verdicts >= 0
        confidence, right = self.confidence[counted], self.verdicts[counted] == 1
        which = np.minimum((confidence * bins).astype(np.int64), bins - 1)
        sure, hits = (np.bincount(which, weights=each, minlength=bins) for each in (confidence, right))
        return float(np.abs(sure - hits).sum() / max(len(confidence), 1))

    def curve(self, label: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return recall and precision of one class as more and more of its n detections count, the best first.

        Returns:
            (n,) float64 recall, rising. (n,) float64 precision, made falling: the best of all recalls from there on,
            the area below which is the average precision. Without objects to find, none (n = 0).
        """
        wanted = int(self.objects[:, label].sum())
        counted = (self.labels == label) & (self.verdicts >= 0) & (wanted > 0)
        right, precision = falling_precision(self.verdicts[counted] == 1)
        return right / max(wanted, 1), precision

    def _counts(self, chosen: NDArray[np.bool_], thresholds: Thresholds) -> NDArray[np.int64]:
        least = np.broadcast_to(thresholds, self.objects.shape[1])[self.labels]
        labels = self.labels[chosen & (self.confidence >= least)]
        return np.bincount(labels, minlength=self.objects.shape[1]).astype(np.int64)


def judge(
    found: Sequence[ScoredBoxes],
    samples: Sequence[TrueObjects],
    classes: Sequence[str],
    *,
    iou: float = 0.5,
    matching: Matching = "voc",
) -> Judged:
    """Compare what was found in each image with what it shows.

    All images' detections are ranked together by descending score; of equal scores, the first comes first.

    Args:
        found, samples, classes, iou: see ``detection_report``.
        matching: "voc": see ``match``. "ilsvrc": see ``match_ilsvrc``, whose small objects need less than ``iou``.
    Raises:
        As ``detection_report``.
    """
    _check_images(found, samples, len(classes))
    check_that(0 < iou <= 1, "detection_report", "iou", "over 0 and at most 1", iou, advice="0.5 is usual")
    known = matching in ("voc", "ilsvrc")
    check_that(known, "judge", "matching", "voc or ilsvrc", repr(matching), advice="Name one of these")
    scores = _joined([image.confidence for image in found], np.float64)
    order = np.argsort(-scores, kind="stable")
    wanted = [sample.labels[~_ignored(sample)] for sample in samples]
    verdicts = [_verdicts(*pair, iou, matching) for pair in zip(found, samples, strict=True)]
    counts = [np.bincount(labels, minlength=len(classes)) for labels in wanted]
    return Judged(
        images=np.repeat(np.arange(len(found)), [len(image.confidence) for image in found])[order],
        labels=_joined([image.labels for image in found], np.int64)[order],
        confidence=scores[order],
        verdicts=_joined(verdicts, np.int8)[order],
        objects=np.array(counts, dtype=np.int64).reshape(len(samples), len(classes)),
        order=order,
    )


def match(boxes: Boxes, ground_truth: Boxes, *, ignored: NDArray[np.bool_], iou: float) -> NDArray[np.int8]:
    """Judge the detections of one class in one image, as the VOC development kit does.

    Each detection is compared with the object that it overlaps most, of those as much the first: never with
    a second choice, even when another detection took the first before.

    Args:
        boxes: (N, 4) detections by descending score.
        ground_truth: (M, 4) all objects of the class. ignored: (M,) the difficult ones and the crowds among them.
        iou: the overlap from which a box counts as found.
    Returns:
        (N,) int8: 1 right; 0 wrong, or found before; -1 on an ignored object, neither right nor wrong.
    """
    verdicts = np.zeros(len(boxes), dtype=np.int8)
    if len(ground_truth) == 0:
        return verdicts
    overlaps = geometry.iou(boxes, ground_truth)
    nearest = overlaps.argmax(axis=1)
    hits = overlaps.max(axis=1) >= iou
    verdicts[hits & ignored[nearest]] = -1
    counted = np.flatnonzero(hits & ~ignored[nearest])
    _, first = np.unique(nearest[counted], return_index=True)
    verdicts[counted[first]] = 1
    return verdicts


def match_ilsvrc(boxes: Boxes, ground_truth: Boxes, *, ignored: NDArray[np.bool_], iou: float) -> NDArray[np.int8]:
    """Judge the detections of one class in one image, as ILSVRC's task of detection does.

    Each detection takes, of the objects that are still free and that it overlaps enough, the one that it overlaps
    most. What is enough, ``least_overlap`` says.

    Args and Returns: see ``match``. Ignored objects can be taken by any number of detections.
    """
    verdicts = np.zeros(len(boxes), dtype=np.int8)
    enough = least_overlap(ground_truth, iou=iou, matching="ilsvrc")
    free = np.ones(len(ground_truth), dtype=np.bool_)
    for place, overlaps in enumerate(geometry.iou(boxes, ground_truth)):
        fitting = np.where(free & (overlaps >= enough), overlaps, -1.0)
        if fitting.max(initial=-1.0) >= 0:
            taken = int(fitting.argmax())
            verdicts[place] = -1 if ignored[taken] else 1
            free[taken] = ignored[taken]
    return verdicts


def least_overlap(boxes: Boxes, *, iou: float, matching: Matching) -> NDArray[np.float64]:
    """Return the overlap (M,) from which each of objects (M, 4) counts as found.

    It is ``iou``; for ILSVRC's rule, of an object of w x h pixels ``w h / ((w + 10) (h + 10))`` where that is less.
    """
    if matching == "voc":
        return np.full(len(boxes), iou)
    sides = boxes[:, 2:] - boxes[:, :2]
    least: NDArray[np.float64] = np.minimum(iou, sides.prod(axis=1) / (sides + TOLERANCE).prod(axis=1))
    return least


def _check_images(found: Sequence[ScoredBoxes], samples: Sequence[TrueObjects], classes: int) -> None:
    check_that(
        len(found) == len(samples),
        "detection_report",
        "found",
        f"one for each of the {len(samples)} images",
        len(found),
        advice="Detect in every image, in their order",
    )
    for argument, images in (("found", found), ("samples", samples)):
        check_labels("detection_report", argument, _joined([image.labels for image in images], np.int64), classes)


def _verdicts(found: ScoredBoxes, sample: TrueObjects, iou: float, matching: Matching) -> NDArray[np.int8]:
    verdicts = np.zeros(len(found.confidence), dtype=np.int8)
    order, ignored = np.argsort(-found.confidence, kind="stable"), _ignored(sample)
    judged_by = match if matching == "voc" else match_ilsvrc
    for label in np.unique(found.labels):
        mine, theirs = order[found.labels[order] == label], sample.labels == label
        verdicts[mine] = judged_by(found.boxes[mine], sample.boxes[theirs], ignored=ignored[theirs], iou=iou)
    return verdicts


def _ignored(sample: TrueObjects) -> NDArray[np.bool_]:
    return sample.difficult | sample.crowd


def _joined(parts: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)


def falling_precision(hits: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return how many of the first 1, 2, ... are hits, and their share, made falling."""
    right: NDArray[np.int64] = np.cumsum(hits, dtype=np.int64)
    precision = right / np.arange(1, len(hits) + 1)
    falling: NDArray[np.float64] = np.maximum.accumulate(precision[::-1])[::-1]
    return right, falling
