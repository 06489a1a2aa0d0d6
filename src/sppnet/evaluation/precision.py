"""How good are the answers: average precision of detections, accuracy and errors of classes.

Average precision follows the PASCAL VOC development kit, with boxes whose ends are excluded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sppnet.errors import check_shape, check_that
from sppnet.evaluation.matching import Matching, Thresholds, TrueObjects, falling_precision, judge
from sppnet.geometry import ScoredBoxes

Rule = Literal["area", "eleven"]


# Detections


@dataclass(frozen=True)
class DetectionReport:
    """How well the objects of a data set were found, class by class.

    Args:
        classes: K names.
        average_precision: (K,) float64 in 0..1; NaN for a class without objects.
        positives: (K,) int64 objects to find, neither difficult nor crowds.
        recall: (K,) float64 share of the objects found from the thresholds up; NaN for a class without objects.
        precision: (K,) float64 share of the detections from the thresholds up which are right; NaN without any.
        f1: (K,) float64 harmonic mean of both. best_f1: (K,) float64 the best that any threshold gives.
        calibration_error: how far confidence is from the share that is right, see ``Judged.calibration_error``.
        iou: the overlap from which a box counts as found.
    """

    classes: tuple[str, ...]
    average_precision: NDArray[np.float64]
    positives: NDArray[np.int64]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    f1: NDArray[np.float64]
    best_f1: NDArray[np.float64]
    calibration_error: float
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
            "f1": self.f1,
            "best_f1": self.best_f1,
        }
        rows = {
            name: {key: _number(column[row]) for key, column in columns.items()}
            | {"positives": int(self.positives[row])}
            for row, name in enumerate(self.classes)
        }
        whole = {"mean_average_precision": _number(self.mean), "calibration_error": _number(self.calibration_error)}
        return {"iou": self.iou, **whole, "classes": rows}


def detection_report(
    found: Sequence[ScoredBoxes],
    samples: Sequence[TrueObjects],
    classes: Sequence[str],
    *,
    iou: float = 0.5,
    rule: Rule = "area",
    matching: Matching = "voc",
    thresholds: Thresholds = 0.5,
) -> DetectionReport:
    """Compare what was found in each image with what it shows.

    All images' detections are ranked together by descending score; of equal scores, the first comes first.

    Args:
        found: one an image. samples: the same images in the same order.
        classes: K names; labels on both sides are indices into them.
        iou: the overlap from which a box counts as found, over 0 and at most 1.
        rule: see ``average_precision``. matching: see ``judge``.
        thresholds: the least confidence that counts for recall, precision and F1, one for all or (K,).
    Raises:
        ArgumentError: different numbers of images, a label without a class, a bad ``iou`` or ``rule``.
    """
    judged = judge(found, samples, classes, iou=iou, matching=matching)
    positives = judged.objects.sum(axis=0)
    precisions = [
        average_precision(judged.confidence[mine], judged.verdicts[mine], int(count), rule=rule)
        for mine, count in ((judged.labels == label, count) for label, count in enumerate(positives))
    ]
    return DetectionReport(
        classes=tuple(classes),
        average_precision=np.array(precisions, dtype=np.float64),
        positives=positives,
        recall=judged.recall(thresholds),
        precision=judged.precision(thresholds),
        f1=judged.f1(thresholds),
        best_f1=judged.best_f1(),
        calibration_error=judged.calibration_error(),
        iou=iou,
    )


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
    right, falling = falling_precision(hits)
    if rule == "area":
        return float(falling[hits].sum() / positives)
    # In whole numbers: 3 of 10 objects do reach a recall of 0.3, which 3 * 0.1 in floating point exceeds.
    reached = np.searchsorted(right * 10, np.arange(11) * positives)
    return float(np.append(falling, 0.0)[reached].mean())


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
