"""How good are the answers: average precision of detections, accuracy and errors of classes.

Average precision follows the PASCAL VOC development kit, with boxes whose ends are excluded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sppnet import geometry
from sppnet.errors import check_shape, check_that
from sppnet.geometry import Boxes

Rule = Literal["area", "eleven"]
Matching = Literal["voc", "ilsvrc"]

TOLERANCE: Final = 10  # pixels by which ILSVRC lets a small object's box be off


class FoundObjects(Protocol):
    """What was found in one picture: N objects, in any order."""

    @property
    def boxes(self) -> Boxes:
        """(N, 4) float64 in the picture's pixels, ends excluded."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) int64 indices of classes."""

    @property
    def scores(self) -> NDArray[np.floating]:
        """(N,) float, higher for the more certain; above 0 means found."""


class TrueObjects(Protocol):
    """What one picture shows: M objects, in any order."""

    @property
    def boxes(self) -> Boxes:
        """(M, 4) float64 in the picture's pixels, ends excluded."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(M,) int64 indices of classes."""

    @property
    def difficult(self) -> NDArray[np.bool_]:
        """(M,) bool, objects that need not be found."""

    @property
    def crowd(self) -> NDArray[np.bool_]:
        """(M,) bool, boxes around many objects, none of which need be found."""


# Detections


@dataclass(frozen=True)
class DetectionReport:
    """How well the objects of a data set were found, class by class.

    Args:
        classes: K names.
        average_precision: (K,) float64 in 0..1; NaN for a class without objects.
        positives: (K,) int64 objects to find, neither difficult nor crowds.
        recall: (K,) float64 share of the objects found with a score above 0; NaN for a class without objects.
        precision: (K,) float64 share of the detections that score above 0 which are right; NaN without any.
        iou: the overlap from which a box counts as found.
    """

    classes: tuple[str, ...]
    average_precision: NDArray[np.float64]
    positives: NDArray[np.int64]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    iou: float

    @property
    def mean(self) -> float:
        """The mean average precision over the classes with objects; NaN when no class has any."""
        known = self.average_precision[~np.isnan(self.average_precision)]
        return float(known.mean()) if known.size else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON: NaN, which JSON lacks, becomes None."""
        columns = {
            "average_precision": self.average_precision,
            "recall": self.recall,
            "precision": self.precision,
        }
        rows = {
            name: {key: _number(column[row]) for key, column in columns.items()}
            | {"positives": int(self.positives[row])}
            for row, name in enumerate(self.classes)
        }
        return {"iou": self.iou, "mean_average_precision": _number(self.mean), "classes": rows}


def detection_report(
    found: Sequence[FoundObjects],
    samples: Sequence[TrueObjects],
    classes: Sequence[str],
    *,
    iou: float = 0.5,
    rule: Rule = "area",
    matching: Matching = "voc",
) -> DetectionReport:
    """Compare what was found in each picture with what it shows.

    All pictures' detections are ranked together by descending score; of equal scores, the first comes first.

    Args:
        found: one a picture. samples: the same pictures in the same order.
        classes: K names; labels on both sides are indices into them.
        iou: the overlap from which a box counts as found, over 0 and at most 1.
        rule: see ``average_precision``. matching: see ``judge``.
    Raises:
        ArgumentError: different numbers of pictures, a label without a class, a bad ``iou`` or ``rule``.
    """
    judged = judge(found, samples, classes, iou=iou, matching=matching)
    positives = judged.objects.sum(axis=0)
    precisions = [
        average_precision(judged.scores[mine], judged.verdicts[mine], int(count), rule=rule)
        for mine, count in ((judged.labels == label, count) for label, count in enumerate(positives))
    ]
    return DetectionReport(
        classes=tuple(classes),
        average_precision=np.array(precisions, dtype=np.float64),
        positives=positives,
        recall=judged.recall(np.nextafter(0, 1)),
        precision=judged.precision(np.nextafter(0, 1)),
        iou=iou,
    )


@dataclass(frozen=True)
class Judged:
    """The N detections of P pictures of K classes, the most certain first, and which of them are right.

    Args:
        pictures: (N,) int64, the picture of each. labels: (N,) int64. scores: (N,) float64, falling.
        verdicts: (N,) int8: 1 right, 0 wrong, -1 neither, see ``match``.
        objects: (P, K) int64, how many of each class there are to find in each picture.
        order: (N,) int64, the place of each among all pictures' detections one after the other.
    """

    pictures: NDArray[np.int64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    verdicts: NDArray[np.int8]
    objects: NDArray[np.int64]
    order: NDArray[np.int64]

    def precision(self, threshold: float = 0.0) -> NDArray[np.float64]:
        """Return the share (K,) of each class's detections from ``threshold`` up that are right; NaN without any."""
        return _share(self._counts(self.verdicts == 1, threshold), self._counts(self.verdicts >= 0, threshold))

    def recall(self, threshold: float = 0.0) -> NDArray[np.float64]:
        """Return the share (K,) of each class's objects that are found from ``threshold`` up; NaN without any."""
        return _share(self._counts(self.verdicts == 1, threshold), self.objects.sum(axis=0))

    def curve(self, label: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return recall and precision of one class as more and more of its n detections count, the best first.

        Returns:
            (n,) float64 recall, rising. (n,) float64 precision, made falling: the best of all recalls from there on,
            the area below which is the average precision. Without objects to find, none (n = 0).
        """
        wanted = int(self.objects[:, label].sum())
        counted = (self.labels == label) & (self.verdicts >= 0) & (wanted > 0)
        right, precision = _falling_precision(self.verdicts[counted] == 1)
        return right / max(wanted, 1), precision

    def _counts(self, chosen: NDArray[np.bool_], threshold: float) -> NDArray[np.int64]:
        labels = self.labels[chosen & (self.scores >= threshold)]
        return np.bincount(labels, minlength=self.objects.shape[1]).astype(np.int64)


def judge(
    found: Sequence[FoundObjects],
    samples: Sequence[TrueObjects],
    classes: Sequence[str],
    *,
    iou: float = 0.5,
    matching: Matching = "voc",
) -> Judged:
    """Compare what was found in each picture with what it shows.

    All pictures' detections are ranked together by descending score; of equal scores, the first comes first.

    Args:
        found, samples, classes, iou: see ``detection_report``.
        matching: "voc": see ``match``. "ilsvrc": see ``match_ilsvrc``, whose small objects need less than ``iou``.
    Raises:
        As ``detection_report``.
    """
    _check_pictures(found, samples, len(classes))
    check_that(0 < iou <= 1, "detection_report", "iou", "over 0 and at most 1", iou, advice="0.5 is usual")
    known = matching in ("voc", "ilsvrc")
    check_that(known, "judge", "matching", "voc or ilsvrc", repr(matching), advice="Name one of these")
    scores = _joined([picture.scores for picture in found], np.float64)
    order = np.argsort(-scores, kind="stable")
    wanted = [sample.labels[~_ignored(sample)] for sample in samples]
    verdicts = [_verdicts(*pair, iou, matching) for pair in zip(found, samples, strict=True)]
    counts = [np.bincount(labels, minlength=len(classes)) for labels in wanted]
    return Judged(
        pictures=np.repeat(np.arange(len(found)), [len(picture.scores) for picture in found])[order],
        labels=_joined([picture.labels for picture in found], np.int64)[order],
        scores=scores[order],
        verdicts=_joined(verdicts, np.int8)[order],
        objects=np.array(counts, dtype=np.int64).reshape(len(samples), len(classes)),
        order=order,
    )


def match(boxes: Boxes, truths: Boxes, *, ignored: NDArray[np.bool_], iou: float) -> NDArray[np.int8]:
    """Judge the detections of one class in one picture, as the VOC development kit does.

    Each detection is compared with the object that it overlaps most, of those as much the first: never with
    a second choice, even when another detection took the first before.

    Args:
        boxes: (N, 4) detections by descending score.
        truths: (M, 4) all objects of the class. ignored: (M,) the difficult ones and the crowds among them.
        iou: the overlap from which a box counts as found.
    Returns:
        (N,) int8: 1 right; 0 wrong, or found before; -1 on an ignored object, neither right nor wrong.
    """
    verdicts = np.zeros(len(boxes), dtype=np.int8)
    if len(truths) == 0:
        return verdicts
    overlaps = geometry.iou(boxes, truths)
    nearest = overlaps.argmax(axis=1)
    hits = overlaps.max(axis=1) >= iou
    verdicts[hits & ignored[nearest]] = -1
    counted = np.flatnonzero(hits & ~ignored[nearest])
    _, first = np.unique(nearest[counted], return_index=True)
    verdicts[counted[first]] = 1
    return verdicts


def match_ilsvrc(boxes: Boxes, truths: Boxes, *, ignored: NDArray[np.bool_], iou: float) -> NDArray[np.int8]:
    """Judge the detections of one class in one picture, as ILSVRC's task of detection does.

    Each detection takes, of the objects that are still free and that it overlaps enough, the one that it overlaps
    most. Enough is ``iou``, or for an object of w x h pixels ``w h / ((w + 10) (h + 10))`` where that is less.

    Args and Returns: see ``match``. Ignored objects can be taken by any number of detections.
    """
    verdicts = np.zeros(len(boxes), dtype=np.int8)
    sides = truths[:, 2:] - truths[:, :2]
    enough = np.minimum(iou, sides.prod(axis=1) / (sides + TOLERANCE).prod(axis=1))
    free = np.ones(len(truths), dtype=np.bool_)
    for place, overlaps in enumerate(geometry.iou(boxes, truths)):
        fitting = np.where(free & (overlaps >= enough), overlaps, -1.0)
        if fitting.max(initial=-1.0) >= 0:
            taken = int(fitting.argmax())
            verdicts[place] = -1 if ignored[taken] else 1
            free[taken] = ignored[taken]
    return verdicts


def average_precision(
    scores: NDArray[np.floating],
    matched: NDArray[np.int8] | NDArray[np.bool_],
    positives: int,
    *,
    rule: Rule = "area",
) -> float:
    """Compute the average precision of one class's detections.

    Args:
        scores: (N,) in any order; of equal scores, the first ranks first.
        matched: (N,) what ``match`` returns, or bool; detections of -1 are left out.
        positives: how many objects there are to find.
        rule: "area" (VOC since 2010): the area under precision made falling over recall. "eleven" (VOC 2007,
            the paper's): its mean at recalls of 0, 0.1, ... 1.
    Returns:
        0..1; NaN when there is nothing to find.
    Raises:
        ShapeError: of ``matched``. ArgumentError: fewer positives than matches, or an unknown rule.
    """
    function = "average_precision"
    check_shape(function, "matched", matched.shape, scores.shape, advice="Give one verdict a score")
    hits = matched[np.argsort(-scores, kind="stable")]
    hits = hits[hits >= 0] == 1
    expected = f"at least the {hits.sum()} matches"
    check_that(positives >= hits.sum(), function, "positives", expected, positives, advice="Count all objects")
    check_that(rule in ("area", "eleven"), function, "rule", "area or eleven", repr(rule), advice="Name one of these")
    if positives == 0:
        return float("nan")
    right, falling = _falling_precision(hits)
    if rule == "area":
        return float(falling[hits].sum() / positives)
    # In whole numbers: 3 of 10 objects do reach a recall of 0.3, which 3 * 0.1 in floating point exceeds.
    reached = np.searchsorted(right * 10, np.arange(11) * positives)
    return float(np.append(falling, 0.0)[reached].mean())


def _falling_precision(hits: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return how many of the first 1, 2, ... are hits, and their share, made falling."""
    right: NDArray[np.int64] = np.cumsum(hits, dtype=np.int64)
    precision = right / np.arange(1, len(hits) + 1)
    falling: NDArray[np.float64] = np.maximum.accumulate(precision[::-1])[::-1]
    return right, falling


def _check_pictures(found: Sequence[FoundObjects], samples: Sequence[TrueObjects], classes: int) -> None:
    check_that(
        len(found) == len(samples),
        "detection_report",
        "found",
        f"one for each of the {len(samples)} pictures",
        len(found),
        advice="Detect in every picture, in their order",
    )
    for argument, pictures in (("found", found), ("samples", samples)):
        _check_labels(
            "detection_report", argument, _joined([picture.labels for picture in pictures], np.int64), classes
        )


def _verdicts(found: FoundObjects, sample: TrueObjects, iou: float, matching: Matching) -> NDArray[np.int8]:
    verdicts = np.zeros(len(found.scores), dtype=np.int8)
    order, ignored = np.argsort(-found.scores, kind="stable"), _ignored(sample)
    judged_by = match if matching == "voc" else match_ilsvrc
    for label in np.unique(found.labels):
        mine, theirs = order[found.labels[order] == label], sample.labels == label
        verdicts[mine] = judged_by(found.boxes[mine], sample.boxes[theirs], ignored=ignored[theirs], iou=iou)
    return verdicts


def _ignored(sample: TrueObjects) -> NDArray[np.bool_]:
    return sample.difficult | sample.crowd


def _joined(parts: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    share: NDArray[np.float64] = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return share


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


# Classes


def mean_class_accuracy(predicted: NDArray[np.int64], labels: NDArray[np.int64], *, classes: int) -> float:
    """Return the mean over classes of the share of each one's pictures that were named right.

    Args:
        predicted: (N,) indices of classes. labels: (N,) the right ones. classes: how many there are.
    Returns:
        0..1, over the classes that have pictures; NaN when none has.
    Raises:
        ShapeError, ArgumentError: see ``confusion``.
    """
    counts = confusion(predicted, labels, classes=classes)
    shown = counts.sum(axis=1)
    shares = _share(counts.diagonal(), shown)[shown > 0]
    return float(shares.mean()) if shares.size else float("nan")


def top_k_error(scores: NDArray[np.floating], labels: NDArray[np.int64], *, k: int) -> float:
    """Return the share of pictures whose right class is not among the k best.

    A tie counts against the answer: the right class is among the k best when fewer than k others score as
    much or more, or NaN. So a network that scores all classes alike is wrong, whatever their order.

    Args:
        scores: (N, K), higher for the more likely. labels: (N,) the right classes. k: 1..K.
    Returns:
        0..1; NaN without pictures.
    Raises:
        ShapeError: of ``scores``. ArgumentError: ``k`` or a label out of range.
    """
    check_shape("top_k_error", "scores", scores.shape, (len(labels), "K"), advice="Give one row a label")
    classes = scores.shape[1]
    check_that(1 <= k <= classes, "top_k_error", "k", f"from 1 to {classes}", k, advice="Choose a smaller k")
    _check_labels("top_k_error", "labels", labels, classes)
    if len(labels) == 0:
        return float("nan")
    right = np.take_along_axis(scores, labels[:, None], axis=1)
    # Not "others >= right": that is false for NaN, which would make a broken network perfect.
    others = np.count_nonzero(~(scores < right), axis=1) - 1
    return float(np.mean(others >= k))


def confusion(predicted: NDArray[np.int64], labels: NDArray[np.int64], *, classes: int) -> NDArray[np.int64]:
    """Count the answers: row by right class, column by predicted class.

    Args:
        predicted: (N,) indices of classes. labels: (N,) the right ones. classes: how many there are, K.
    Returns:
        (K, K) int64 that sums to N.
    Raises:
        ShapeError: of ``predicted``. ArgumentError: an index outside 0..K-1.
    """
    check_shape("confusion", "predicted", predicted.shape, (len(labels),), advice="Give one answer a label")
    for argument, indices in (("predicted", predicted), ("labels", labels)):
        _check_labels("confusion", argument, indices, classes)
    counts = np.bincount(labels * classes + predicted, minlength=classes**2)
    return counts.reshape(classes, classes).astype(np.int64)


def _check_labels(function: str, argument: str, indices: NDArray[np.int64], classes: int) -> None:
    strange = indices[(indices < 0) | (indices >= classes)]
    check_that(
        strange.size == 0,
        function,
        argument,
        f"indices of {classes} classes",
        strange[:1].tolist(),
        advice="Number the classes from 0",
    )
