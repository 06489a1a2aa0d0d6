"""Scores -> probabilities of being right, class by class, and the thresholds of best F1.

After Platt (1999): a logistic curve a class, fitted to scores of images that were not learnt from, and to what speaks
against each detection beside its score, its rivals (``geometry.rivals``). A class of few such scores leans on the curve
of all classes, and that on one chosen beforehand, so that three labelled images give sensible probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

# Of the score, of surer ones of its class around it, of those of other classes on it, and alone:
PRIOR: Final = (2.0, -2.0, -0.6, -0.5)  # before anything is known: a margin of 1 is 4 in 5 right
PRIOR_DEVIATION: Final = (1.0, 0.7, 0.4, 1.0)  # how far data easily pulls the curve of all classes from it
CLASS_DEVIATION: Final = (0.5, 0.3, 0.2, 0.5)  # and that of one class from that of all
SHARED: Final = 3.0  # objects that the threshold of all classes counts as, beside a class's own
STEPS: Final = 50
SHARPNESS: Final = 12.0  # of least squares on -1 and 1, as long as nothing is known
REFUSED: Final = 0.05  # of the images that are named right, so many are given up for all that show something else
SMALLEST_SLOPE: Final = 0.1  # a higher score is never less certain, nor one with more rivals surer


@dataclass(frozen=True)
class Calibration:
    """Curves from scores to probabilities.

    Args:
        slopes, offsets: (K,) float64, one curve a class: 1 / (1 + exp(-(slope * score + rivalry * rivals + offset))).
        rivalry: (K, 2) float64, at most 0: what a rival of its class, and of another, takes.
        thresholds: (K,) float64 in 0..1, the probability from which a class's detections are shown.
    """

    slopes: NDArray[np.float64]
    offsets: NDArray[np.float64]
    rivalry: NDArray[np.float64]
    thresholds: NDArray[np.float64]

    @classmethod
    def unknown(cls, classes: int) -> "Calibration":
        """Return what is taken for granted before anything was held out."""
        return cls.of([PRIOR] * classes, np.full(classes, 0.5))

    @classmethod
    def of(cls, curves: Sequence[Sequence[float]], thresholds: NDArray[np.float64]) -> "Calibration":
        """Return curves in the order of ``PRIOR``, one a class."""
        table = np.array(curves, dtype=np.float64)
        return cls(table[:, 0], table[:, 3], table[:, 1:3], thresholds)

    def probabilities(
        self, scores: NDArray[np.floating], labels: NDArray[np.int64], rivals: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the probability (N,) float64 that each detection is right.

        Args:
            scores: (N,). labels: (N,) the class of each. rivals: (N, 2), see ``geometry.rivals``.
        """
        against = (self.rivalry[labels] * rivals).sum(axis=1)
        return _sigmoid(self.slopes[labels] * scores.astype(np.float64) + against + self.offsets[labels])


def calibrate(
    labels: NDArray[np.int64],
    scores: NDArray[np.floating],
    rivals: NDArray[np.float64],
    right: NDArray[np.bool_],
    positives: NDArray[np.int64],
) -> Calibration:
    """Fit a curve a class to detections in images that were not learnt from, and choose each threshold of best F1.

    A class of few objects leans on all classes in both.

    Args:
        labels: (N,) class of each detection. scores: (N,). rivals: (N, 2), see ``geometry.rivals``.
        right: (N,), whether an object of the class was there.
        positives: (K,) objects to find in these images.

    >>> scores = np.linspace(-2, 2, 40)
    >>> known = calibrate(np.zeros(40, int), scores, np.zeros((40, 2)), scores > 0.5, np.array([15]))
    >>> known.probabilities(np.array([-2.0, 2.0]), np.array([0, 0]), np.zeros((2, 2))).round(1).tolist()
    [0.0, 1.0]
    """
    rows = np.column_stack([scores.astype(np.float64), rivals, np.ones(len(scores))])
    shared = _fitted_curve(rows, right, np.array(PRIOR), PRIOR_DEVIATION)
    common = best_threshold(_sigmoid(rows @ shared), right, int(positives.sum()))
    curves, thresholds = [], []
    for label, wanted in enumerate(positives.tolist()):
        mine = labels == label
        curve = _fitted_curve(rows[mine], right[mine], shared, CLASS_DEVIATION)
        curves.append(curve.tolist())
        own = best_threshold(_sigmoid(rows[mine] @ curve), right[mine], wanted)
        thresholds.append((wanted * own + SHARED * common) / (wanted + SHARED))
    return Calibration.of(curves, np.array(thresholds))


def best_threshold(confidence: NDArray[np.float64], right: NDArray[np.bool_], positives: int) -> float:
    """Return the confidence from which detections have the best F1; 0.5 without detections or objects.

    Of few detections the best F1 lies where chance has it: a right one counts half as what it was, half as what its
    confidence says.

    Args:
        confidence: (N,) in 0..1. right: (N,). positives: objects to find.
    """
    if not len(confidence) or not positives:
        return 0.5
    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order]
    hits = np.cumsum((right[order] + falling) / 2)
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + positives)
    best = int(f1.argmax())
    below = falling[best + 1] if best + 1 < len(falling) else falling[best]
    return float(np.clip((falling[best] + below) / 2, 0.01, 0.99))


def sharpness(margins: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return by what to multiply margins so that their softmax is the probability of each class (Guo et al. 2017).

    Args:
        margins: (N, K) of images that were not learnt from. labels: (N,) their classes.
    Returns:
        The most probable factor; ``SHARPNESS`` without images.
    """
    steps = np.linspace(np.log(0.2), np.log(200.0), 400)

    def likely(step: float) -> float:
        logarithms = torch.from_numpy(np.exp(step) * margins).log_softmax(dim=1).numpy()
        fit = np.take_along_axis(logarithms, labels[:, None], axis=1).sum()
        return float(fit - 0.5 * np.square(step - np.log(SHARPNESS)))

    coarse = 20 * int(np.argmax([likely(step) for step in steps[::20]]))  # one step at a time: images times classes
    near = steps[max(coarse - 20, 0) : coarse + 21]
    return float(np.exp(near[int(np.argmax([likely(step) for step in near]))]))


def least_known(probabilities: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Return the probability below which an image shows none of the classes: few that were named right lie there.

    Args:
        probabilities: (N,) of the best class of images that were not learnt from. right: (N,) whether it was theirs.
    """
    return float(np.quantile(probabilities[right], REFUSED)) if right.any() else 0.0


def _fitted_curve(
    rows: NDArray[np.float64], right: NDArray[np.bool_], centre: NDArray[np.float64], deviation: Sequence[float]
) -> NDArray[np.float64]:
    """Return the most probable curve of rows (N, 4), by Newton's steps from ``centre``, that of the prior."""
    precision = 1 / np.square(np.array(deviation))
    curve = centre.copy()
    for _ in range(STEPS):
        sure = _sigmoid(rows @ curve)
        gradient = rows.T @ (sure - right) + precision * (curve - centre)
        curvature = (rows * (sure * (1 - sure))[:, None]).T @ rows + np.diag(precision)
        step = np.linalg.solve(curvature, gradient)
        curve = curve - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    return np.array([max(curve[0], SMALLEST_SLOPE), *np.minimum(curve[1:3], 0.0), curve[3]])


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(values, -700, 700)))
