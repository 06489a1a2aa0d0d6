"""What kinds of mistakes a detector makes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sppnet import geometry
from sppnet.errors import check_that
from sppnet.evaluation.matching import Matching, Thresholds, TrueObjects, judge, least_overlap
from sppnet.geometry import Boxes, ScoredBoxes
from sppnet.proposals.protocol import covered

NEAR_IOU: Final = 0.1  # below it a detection has nothing to do with an object


# Mistakes


@dataclass(frozen=True)
class Mistakes:
    """What went wrong above a threshold, each mistake counted once, by class: (K,) int64 each.

    Args:
        classes: K names.
        duplicate: detections of an object that a better one has found.
        confused: detections that lie on an object of another class.
        badly_placed: detections that overlap an object of their class, by ``NEAR_IOU`` but not enough.
        background: all other wrong detections.
        missed: objects that no detection has found.
        unreached: objects that no region overlaps enough, of which box regression may still reach some; None where
            the regions were not given.
    """

    classes: tuple[str, ...]
    duplicate: NDArray[np.int64]
    confused: NDArray[np.int64]
    badly_placed: NDArray[np.int64]
    background: NDArray[np.int64]
    missed: NDArray[np.int64]
    unreached: NDArray[np.int64] | None

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Return the counts by class, for JSON."""
        columns = {name: getattr(self, name) for name in MISTAKES if getattr(self, name) is not None}
        return {
            name: {key: int(column[row]) for key, column in columns.items()} for row, name in enumerate(self.classes)
        }


MISTAKES: Final = ("duplicate", "confused", "badly_placed", "background", "missed", "unreached")


def mistakes(
    found: Sequence[ScoredBoxes],
    samples: Sequence[TrueObjects],
    classes: Sequence[str],
    *,
    iou: float = 0.5,
    matching: Matching = "voc",
    thresholds: Thresholds = 0.5,
    regions: Sequence[Boxes] | None = None,
) -> Mistakes:
    """Sort what went wrong by what would have put it right (after Hoiem et al. 2012, and TIDE).

    Args:
        found: one an image. samples: the same images in the same order. classes: K names.
        iou, matching: what counts as found, see ``metrics.judge``. thresholds: least confidence that counts.
        regions: (R, 4) of each image, where the detections come from, to tell what they missed.
    Raises:
        ArgumentError: as ``metrics.judge`` does; or regions of another number of images.
    """
    given = len(found) if regions is None else len(regions)
    advice = "Propose regions in every image, in their order"
    expected = f"one list for each of the {len(found)} images"
    check_that(given == len(found), "mistakes", "regions", expected, given, advice=advice)
    judged = judge(found, samples, classes, iou=iou, matching=matching)
    needed = [least_overlap(sample.boxes, iou=iou, matching=matching) for sample in samples]
    counts = {name: np.zeros(len(classes), dtype=np.int64) for name in MISTAKES[:-1]}
    boxes = np.concatenate([np.zeros((0, 4)), *(each.boxes for each in found)])[judged.order]
    least = np.broadcast_to(thresholds, len(classes))[judged.labels]
    for place in np.flatnonzero((judged.verdicts == 0) & (judged.confidence >= least)):
        label, image = judged.labels[place], judged.images[place]
        counts[_kind(boxes[place], label, samples[image], needed[image])][label] += 1
    right = judged.labels[(judged.verdicts == 1) & (judged.confidence >= least)]
    counts["missed"] = judged.objects.sum(axis=0) - np.bincount(right, minlength=len(classes))
    far = None if regions is None else np.zeros(len(classes), dtype=np.int64)
    for sample, enough, proposed in zip(samples, needed, regions or (), strict=regions is not None):
        wanted = ~(sample.difficult | sample.crowd)
        missed = ~covered(proposed, sample.boxes[wanted], threshold=enough[wanted])
        far = np.bincount(sample.labels[wanted][missed], minlength=len(classes)) + (0 if far is None else far)
    return Mistakes(tuple(classes), **counts, unreached=far)


def _kind(box: Boxes, label: np.int64, sample: TrueObjects, enough: NDArray[np.float64]) -> str:
    overlap, own = geometry.iou(box[None], sample.boxes)[0], sample.labels == label
    if (own & (overlap >= enough)).any():
        return "duplicate"
    if (~own & (overlap >= enough)).any():
        return "confused"
    return "badly_placed" if overlap[own].max(initial=0.0) >= NEAR_IOU else "background"
