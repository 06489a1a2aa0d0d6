"""How sure is a detector? Detections in images that it did not learn from, by cross-validation over what is kept."""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sppnet.detection.detections import Detections
from sppnet.detection.head import RegionHead
from sppnet.detection.kept import KeptImage
from sppnet.detection.learner import ALONE, Learner
from sppnet.errors import DataError
from sppnet.evaluation.matching import Judged, match
from sppnet.learning.calibration import Calibration, calibrate
from sppnet.progress import Progress, silent

RIGHT_IOU: Final = 0.5  # from this overlap a detection is right
LEFT_OUT: Final = 0.1  # of all images, at a time: heads of fewer images score lower than the one that will answer
MOST_IMAGES: Final = 40  # are looked at, evenly chosen: more make the figures no surer than the next ten labels do
ENOUGH_COMPLETE: Final = 3  # from so many complete images on, others say nothing that these do not say better

AT_ONCE: Final = 2  # folds that are learnt together: the largest class of each keeps one core busy

Answer = Callable[[RegionHead, Sequence[KeptImage]], Iterable[Detections]]


class HeldOut(NamedTuple):
    """What was found in images by heads that were learnt without them, by their keys, and which of it is right.

    ``confidence`` of ``judged`` holds scores; ``rivals`` (N, 2) are of the same rows.
    """

    judged: Judged
    rivals: NDArray[np.float64]
    found: dict[Hashable, Detections]

    def calibrated(self) -> Calibration:
        """Learn how sure to be, and each class's threshold."""
        known = self.judged.verdicts >= 0
        labels, scores, rivals = self.judged.labels[known], self.judged.confidence[known], self.rivals[known]
        return calibrate(labels, scores, rivals, self.judged.verdicts[known] == 1, self.judged.objects.sum(axis=0))

    def sure_by(self, calibration: Calibration) -> Judged:
        """Return what was judged, with the confidence of curves, ranked by it."""
        judged = self.judged
        sure = calibration.probabilities(judged.confidence, judged.labels, self.rivals)
        order = np.argsort(-sure, kind="stable")
        images, labels, verdicts = judged.images[order], judged.labels[order], judged.verdicts[order]
        return Judged(images, labels, sure[order], verdicts, judged.objects, judged.order[order])


def hold_out(
    learner: Learner, head: RegionHead, names: Sequence[str], answer: Answer, *, progress: Progress = silent
) -> HeldOut:
    """Detect in images by heads that were learnt without them, and judge what is found.

    The SVMs are learnt again without each fold's images, from the last solution, and detect in these; so are box
    regressions where images are few. Each image's hard negatives are those found before: learning it all again would
    take minutes, and makes the figures no more than a little better than they are.

    Args:
        learner: that has learnt ``head`` of classes ``names``.
        answer: detects in images by a head, whatever the confidence.
        progress: wraps the pass over the images.
    Returns:
        The detections, judged ones ranked by what the heads gave. Nobody can judge those of a class that one image
        alone holds: it counts as one without objects. So do images that are not complete and in which more is known
        to be right than wrong.
    Raises:
        DataError: fewer than two labelled images.
    """
    images = list(learner.images.values())
    if len(images) < 2:
        raise DataError("Detector.calibrate: needs two labelled images. Label another one first.")
    complete = [kept for kept in images if kept.labels.complete]
    among = complete if len(complete) >= ENOUGH_COMPLETE else images
    places = np.linspace(0, len(among) - 1, min(MOST_IMAGES, len(among))).round().astype(int)
    chosen = [among[place] for place in places]
    folds = math.ceil(len(chosen) / max(1, round(LEFT_OUT * len(images))))
    found: dict[Hashable, Detections] = {}
    parts = [chosen[fold::folds] for fold in range(folds)]
    at_once = AT_ONCE if len(images) > ALONE else 1  # of few images a fold is soon learnt: whoever waits waits for one

    def answers() -> Iterator[Detections]:
        for some in (parts[first : first + at_once] for first in range(0, folds, at_once)):
            for without, left_out in zip(learner.without(head, names, some), some, strict=True):
                yield from answer(without, left_out)

    # One image after the other: who stops it waits for no more than the step that it is at.
    for kept, each in zip(progress("Validating", list(chain.from_iterable(parts))), answers(), strict=True):
        found[kept.key] = each
    judged = [_judge(kept, found[kept.key], names) for kept in chosen]
    labels, scores, rivals, verdicts = (np.concatenate(column) for column in zip(*judged, strict=True))
    owners = np.repeat(np.arange(len(chosen)), [len(found[kept.key]) for kept in chosen])
    objects = _objects(chosen, names)
    untold = np.array([_tells_nothing(kept, own[-1]) for kept, own in zip(chosen, judged, strict=True)])
    objects[untold], verdicts[untold[owners]] = 0, -1
    unknown = (_objects(images, names) > 0).sum(axis=0) < 2  # without its one image there is no class to find in it
    objects[:, unknown] = 0
    verdicts[unknown[labels]] = -1
    order = np.argsort(-scores, kind="stable")
    ranked = Judged(owners[order], labels[order], scores[order], verdicts[order], objects, order)
    return HeldOut(ranked, rivals[order], found)


def _objects(images: Sequence[KeptImage], names: Sequence[str]) -> NDArray[np.int64]:
    """Count the objects (P, K) to find of each class in each image."""
    counts = [[int((kept.labels.of(name) & kept.labels.counted).sum()) for name in names] for kept in images]
    return np.array(counts, dtype=np.int64)


def _tells_nothing(kept: KeptImage, verdicts: NDArray[np.int8]) -> bool:
    """Tell whether too little is known of what is wrong in an image: right ones alone would have all look right."""
    right, wrong = (verdicts == 1).sum(), (verdicts == 0).sum()
    return not kept.labels.complete and bool(wrong < max(right, 1))


def _judge(
    kept: KeptImage, found: Detections, names: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int8]]:
    """Return labels, scores, rivals, verdicts: of an image that is not complete only on what somebody answered."""
    labels = kept.labels
    verdicts = np.full(len(found), -1, dtype=np.int8)
    answered = np.full(len(found), labels.complete)
    for label, name in enumerate(names):
        mine, own = np.flatnonzero(found.labels == label), labels.of(name)
        verdicts[mine] = match(found.boxes[mine], labels.boxes[own], ignored=~labels.counted[own], iou=RIGHT_IOU)
        wrong = labels.rejected[np.array([each == name for each in labels.rejected_classes], dtype=np.bool_)]
        answered[mine] |= match(found.boxes[mine], wrong, ignored=np.zeros(len(wrong), np.bool_), iou=RIGHT_IOU) == 1
    verdicts[(verdicts == 0) & ~answered] = -1
    scores = found.confidence if found.scores is None else found.scores
    rivals = np.zeros((len(found), 2)) if found.rivals is None else found.rivals
    return found.labels, scores.astype(np.float64), rivals, verdicts
