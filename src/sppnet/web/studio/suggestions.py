"""Detections as suggestions: those that nobody has answered yet, their counts, and how their scores spread."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sppnet.detection.detections import Detections
from sppnet.detection.ordering import doubt_of
from sppnet.detection.settings import Settings
from sppnet.geometry import iou
from sppnet.web.studio.store import Box, Offered

SAME_OBJECT: Final = 0.5  # from this overlap a detection and a box of its class are of one object
SAME_PLACE: Final = 0.7  # from this one, whatever their classes
WORSE_PLACE: Final = Settings().nms_iou  # from this one a detection is a worse place of an object that a person boxed
SURE: Final = 0.8  # from which on a suggestion beside an object that was found is one that touches it
MOSTLY: Final = 0.5  # of a suggestion that lies in a crowd belongs to it
MOST: Final = 100  # suggestions of an image, of which more are kept only where they are
WORTH: Final = 0.05  # sure, at least: below it a suggestion shows hardly anything but noise
BINS: Final = 40  # of the histogram, over confidence from 0 to 1
STEP: Final = 1 / BINS
NEARLY: Final = 0.5  # of its class's threshold, from which on a suggestion counts where one is expected


@dataclass(frozen=True, slots=True)  # tens of thousands are in memory
class Suggestions:
    """Detections of one image, the best first.

    Args:
        boxes: (N, 4) float32: of thousands of images they are all in memory.
        labels: (N,) int32, the ids of their classes. scores: (N,) float32, confidence in 0..1.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int32]
    scores: NDArray[np.float32]

    @classmethod
    def of(cls, found: Detections, ids: Sequence[int]) -> "Suggestions":
        """Take the ``MOST`` best detections, and all worth a look; their classes have the given ids in the store."""
        most = max(MOST, int((found.confidence >= WORTH).sum()))
        labels = np.array(ids, dtype=np.int32)[found.labels[:most]]
        return cls(found.boxes[:most].astype(np.float32), labels, found.confidence[:most].astype(np.float32))

    @classmethod
    def offered(cls, rows: Sequence[Offered]) -> "Suggestions":
        """Take what was imported, the surest first."""
        return cls(
            np.array([row.edges for row in rows], dtype=np.float32).reshape(-1, 4),
            np.array([row.label for row in rows], dtype=np.int32),
            np.array([row.score for row in rows], dtype=np.float32),
        )

    def beside(self, other: "Suggestions") -> "Suggestions":
        """Return these and others, the surest first; where two stand for one object, the surer of them."""
        if not len(other.scores):
            return self
        overlap = iou(self.boxes.astype(np.float64), other.boxes.astype(np.float64))
        same = (overlap >= SAME_OBJECT) & (self.labels[:, None] == other.labels)
        surer = self.scores[:, None] >= other.scores
        mine, others = self._only(~(same & ~surer).any(axis=1)), other._only(~(same & surer).any(axis=0))
        scores = np.concatenate([mine.scores, others.scores])
        order = np.argsort(-scores, kind="stable")
        boxes, labels = np.concatenate([mine.boxes, others.boxes]), np.concatenate([mine.labels, others.labels])
        return Suggestions(boxes[order], labels[order], scores[order])

    def unanswered(self, said: Iterable[Box]) -> "Suggestions":
        """Return those that no box of a person stands for: an object there, or the word that there is none.

        An object's box suppresses what is found around it, as a detection of score infinity would: who draws over a
        suggestion that is badly placed has answered it. But where the object itself was found, what is sure beside it
        is an object that touches: who accepts one has not answered the other. A crowd's box stands for its class in it.
        """
        kept = np.ones(len(self.scores), dtype=np.bool_)
        for box in said:
            overlap = iou(np.array([box.edges]), self.boxes.astype(np.float64))[0]
            own = self.labels == box.label
            if box.crowd:
                kept &= ~(own & (self._share_in(box) >= MOSTLY))
            elif box.kind == "object":
                same = own & (overlap >= SAME_OBJECT)
                touches = same.any() & (self.scores >= SURE)
                kept &= ~(same | own & (overlap >= WORSE_PLACE) & ~touches | (overlap >= SAME_PLACE))
            else:
                kept &= ~((overlap >= SAME_OBJECT) & own)
        return self._only(kept)

    def _share_in(self, box: Box) -> NDArray[np.float64]:
        """Return how much of each lies in a box: (N,), 0 to 1."""
        boxes, edges = self.boxes.astype(np.float64), np.array(box.edges)
        inside = np.minimum(boxes[:, 2:], edges[2:]) - np.maximum(boxes[:, :2], edges[:2])
        areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        shares: NDArray[np.float64] = np.prod(np.maximum(inside, 0), axis=1) / areas
        return shares

    def above(self, threshold: float | NDArray[np.float64]) -> "Suggestions":
        """Return those of at least a confidence: one for all, or (N,) one for each."""
        return self._only(self.scores >= threshold)

    def counting(self, thresholds: Mapping[int, float], expected: Mapping[int, int]) -> "Suggestions":
        """Return those whose confidence is at least the threshold of their class, and those that are expected."""
        counts = self.scores >= self._own(thresholds)
        counts[self.expected(thresholds, expected)] = True
        return self._only(counts)

    def expected(self, thresholds: Mapping[int, float], expected: Mapping[int, int]) -> NDArray[np.int64]:
        """Return the rows of the best, as many of each class as are expected, that come near its threshold."""
        nearly = self.scores >= NEARLY * self._own(thresholds)
        rows = [np.flatnonzero(nearly & (self.labels == label))[:number] for label, number in expected.items()]
        return np.concatenate([np.zeros(0, dtype=np.int64), *rows])

    def _own(self, thresholds: Mapping[int, float]) -> NDArray[np.float64]:
        return np.array([thresholds.get(label, 1.0) for label in self.labels.tolist()], dtype=np.float64)

    def _only(self, kept: NDArray[np.bool_]) -> "Suggestions":
        if kept.all():
            return self
        return Suggestions(self.boxes[kept], self.labels[kept], self.scores[kept])

    def counts(self) -> dict[int, int]:
        """Return how many there are of each class."""
        return dict(Counter(self.labels.tolist()))

    def as_list(self) -> list[dict[str, Any]]:
        """Return them for JSON."""
        rows = zip(
            self.boxes.astype(np.float64).round(2).tolist(), self.labels.tolist(), self.scores.tolist(), strict=True
        )
        return [{"edges": edges, "label": label, "score": round(score, 3)} for edges, label, score in rows]


NOTHING: Final = Suggestions(
    np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32)
)


@dataclass(frozen=True, slots=True)
class LookedAt:
    """What one detector, the ``round``-th, found in an image: ``doubt`` and ``counts`` (K,) decide what comes next."""

    suggestions: Suggestions
    doubt: float
    counts: NDArray[np.int64]
    round: int

    @classmethod
    def of(cls, found: Detections, ids: Sequence[int], thresholds: NDArray[np.float64], number: int) -> "LookedAt":
        """Take what the ``number``-th detector found, whose classes have the given ids in the store."""
        shown = found.labels[found.confidence >= thresholds[found.labels]]
        counts = np.bincount(shown, minlength=len(ids)).astype(np.int64)
        return cls(Suggestions.of(found, ids), doubt_of(found), counts, number)


def histogram(all_found: Iterable[Suggestions], ids: Sequence[int]) -> dict[str, Any]:
    """Count the confidence of all images' suggestions in ``BINS`` from 0 to 1, class by class, for JSON."""
    found = list(all_found)
    labels = np.concatenate([np.zeros(0, dtype=np.int32), *(each.labels for each in found)])
    scores = np.concatenate([np.zeros(0, dtype=np.float32), *(each.scores for each in found)])
    edges = np.linspace(0, 1, BINS + 1)
    counts = {label: np.histogram(scores[labels == label], bins=edges)[0].tolist() for label in ids}
    return {"from": 0.0, "step": STEP, "counts": counts}
