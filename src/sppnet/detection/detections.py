"""What was found in an image: boxes, classes, scores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sppnet.detection.settings import OURS
from sppnet.errors import check_that
from sppnet.geometry import Boxes, nms

COLUMNS: Final = ("boxes", "labels", "scores")


@dataclass(frozen=True)
class Detections:
    """What was found in one image, the most certain first.

    Args:
        boxes: (N, 4) float64 in the image's pixels, ends excluded.
        labels: (N,) int64, indices into ``classes``.
        scores: (N,) float32, signed distance to the class's separating plane: above 0 means found.
        classes: names.
        regions: (N, 4) what each score is the score of: the region that was last moved onto the object; None where
            that is not known.
    """

    boxes: Boxes
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    classes: tuple[str, ...]
    regions: Boxes | None = None

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.scores)

    def above(self, threshold: float) -> "Detections":
        """Return those that score at least ``threshold``."""
        return self._of(self.scores >= threshold)

    def first(self, count: int) -> "Detections":
        """Return the most certain ones, at most ``count``."""
        return self._of(np.s_[:count])

    def _of(self, kept: slice | NDArray[np.bool_]) -> "Detections":
        regions = None if self.regions is None else self.regions[kept]
        return replace(
            self, boxes=self.boxes[kept], labels=self.labels[kept], scores=self.scores[kept], regions=regions
        )

    def counts(self) -> dict[str, int]:
        """Return how many there are of each class."""
        return dict(zip(self.classes, np.bincount(self.labels, minlength=len(self.classes)).tolist(), strict=True))


def combine(found: Sequence[Detections], *, iou: float = OURS.nms_iou) -> Detections:
    """Combine what several detectors found in one image: suppression over all of it (paper, Sec. 4.4, Table 12).

    Args:
        found: one a detector, all of the same classes in the same order.
        iou: of detections of a class that overlap by more, the best is kept.
    Raises:
        ArgumentError: detectors of different classes.
    """
    same = len({each.classes for each in found}) == 1
    advice = "Train them on the same classes"
    check_that(same, "combine", "found", "of the same classes", [each.classes for each in found], advice=advice)
    boxes, labels, scores = (np.concatenate([getattr(each, name) for each in found]) for name in COLUMNS)
    kept = [np.flatnonzero(labels == label) for label in range(len(found[0].classes))]
    kept = [rows[nms(boxes[rows], scores[rows], iou)] for rows in kept]
    order = np.concatenate(kept)
    order = order[np.argsort(-scores[order], kind="stable")]
    return Detections(boxes[order], labels[order], scores[order], found[0].classes)
