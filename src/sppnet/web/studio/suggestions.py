"""Detections as suggestions: those that nobody has answered yet, their counts, and how their scores spread."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sppnet.detection.detections import Detections
from sppnet.geometry import Boxes, iou
from sppnet.web.studio.store import Box

SAME_OBJECT: Final = 0.5  # from this overlap a detection and a box of its class are of one object
SAME_PLACE: Final = 0.7  # from this one, whatever their classes
BINS: Final = 40  # of the histogram, over confidence from 0 to 1
STEP: Final = 1 / BINS


@dataclass(frozen=True)
class Suggestions:
    """Detections of one image: N boxes (N, 4), the ids of their classes (N,), scores (N,), the best first."""

    boxes: Boxes
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]

    @classmethod
    def of(cls, found: Detections, ids: Sequence[int]) -> "Suggestions":
        """Take detections whose classes have the given ids in the store."""
        return cls(found.boxes, np.array(ids, dtype=np.int64)[found.labels], found.confidence.astype(np.float32))

    def unanswered(self, said: Iterable[Box]) -> "Suggestions":
        """Return those that no box of a person stands for: an object there, or the word that there is none."""
        kept = np.ones(len(self.scores), dtype=np.bool_)
        for box in said:
            overlap = iou(np.array([box.edges]), self.boxes)[0]
            same = (overlap >= SAME_OBJECT) & (self.labels == box.label)
            kept &= ~(same | ((overlap >= SAME_PLACE) & (box.kind == "object")))
        return self._only(kept)

    def above(self, threshold: float) -> "Suggestions":
        """Return those that score at least ``threshold``."""
        return self._only(self.scores >= threshold)

    def _only(self, kept: NDArray[np.bool_]) -> "Suggestions":
        return Suggestions(self.boxes[kept], self.labels[kept], self.scores[kept])

    def counts(self) -> dict[int, int]:
        """Return how many there are of each class."""
        return dict(Counter(self.labels.tolist()))

    def as_list(self) -> list[dict[str, Any]]:
        """Return them for JSON."""
        rows = zip(self.boxes.round(2).tolist(), self.labels.tolist(), self.scores.tolist(), strict=True)
        return [{"edges": edges, "label": label, "score": round(score, 3)} for edges, label, score in rows]


NOTHING: Final = Suggestions(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))


def histogram(all_found: Iterable[Suggestions], ids: Sequence[int]) -> dict[str, Any]:
    """Count the confidence of all images' suggestions in ``BINS`` from 0 to 1, class by class, for JSON."""
    found = list(all_found)
    labels = np.concatenate([np.zeros(0, dtype=np.int64), *(each.labels for each in found)])
    scores = np.concatenate([np.zeros(0, dtype=np.float32), *(each.scores for each in found)])
    edges = np.linspace(0, 1, BINS + 1)
    counts = {label: np.histogram(scores[labels == label], bins=edges)[0].tolist() for label in ids}
    return {"from": 0.0, "step": STEP, "counts": counts}
