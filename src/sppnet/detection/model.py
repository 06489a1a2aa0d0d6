"""A detector as it was learnt: image -> feature map -> pooled regions -> scores -> detections (paper, Sec. 4.1)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sppnet.detection.detections import Detections
from sppnet.detection.head import RegionHead
from sppnet.detection.settings import Settings
from sppnet.features.ahead import ahead
from sppnet.features.encoder import MapsEncoder
from sppnet.features.maps import Maps
from sppnet.features.scene import Scene
from sppnet.geometry import Boxes, images_in, nms, rivals, second_turn, vote
from sppnet.learning.calibration import Calibration
from sppnet.progress import stage
from sppnet.proposals.protocol import Proposals

SCORE_FLOOR = -1.2  # regions below are not worth moving
GOOD = 0.0  # regions above are on objects: as many are moved, and kept, whatever the limits below
CANDIDATES = 600  # regions a class that are moved, the best of an image that counts as one
PER_CLASS = 100  # detections a class and turn, the best of an image that counts as one

Found = tuple[Boxes, NDArray[np.float32], Boxes]  # boxes (N, 4), scores (N,), and the regions (N, 4) that these are of


@dataclass(frozen=True)
class DetectorModel:
    """What answers: it never changes, and any thread may ask it.

    Args:
        encoder: image -> maps. proposals: image -> regions. head: regions -> scores and better boxes.
        classes: names, in the order of the head's rows.
        settings: how often boxes are moved, how they are thinned. calibration: scores -> confidence, thresholds.
    """

    encoder: MapsEncoder
    proposals: Proposals
    head: RegionHead
    classes: tuple[str, ...]
    settings: Settings
    calibration: Calibration

    def detect(self, scene: Scene, *, threshold: float | None = None) -> Detections:
        """Find the objects of one image.

        Args:
            scene: of the model's encoder.
            threshold: least confidence; None is each class's own.
        """
        return self.detect_among(self.propose(scene), scene.maps, threshold=threshold)

    def detect_among(self, regions: Boxes, maps: Maps, *, threshold: float | None = None) -> Detections:
        """Find the objects of one image among regions (R, 4) that somebody proposed."""
        scores = self.head.scores(maps, regions)
        with stage("suppression"):
            share, good = (
                images_in(maps.size, max(self.encoder.scales)),
                int((scores > GOOD).sum(axis=0).max(initial=0)),
            )
            candidates, most = (max(int(count * share), good) for count in (CANDIDATES, PER_CLASS))
            of_class = enumerate(scores.T)
            found = [self._of_class(maps, regions, own, label, candidates, most) for label, own in of_class]
            sure = self._sure(found, most)
        least = np.broadcast_to(self.calibration.thresholds if threshold is None else threshold, len(self.classes))
        return sure[sure.confidence >= least[sure.labels]]

    def each(self, scenes: Iterable[Scene], *, threshold: float | None = None) -> Iterator[Detections]:
        """Find the objects of many images, in their order; while one is looked at, regions of the next are proposed.

        With a GPU one thread does it all: two would wait for each other at every call (168 ms an image, not 89).
        """
        alone = self.encoder.backbone.device.type != "cpu"
        proposed = ((scene, self.propose(scene)) for scene in scenes)
        for scene, regions in proposed if alone else ahead(self.propose, scenes):
            yield self.detect_among(regions, scene.maps, threshold=threshold)

    def propose(self, scene: Scene) -> Boxes:
        """Propose regions (R, 4), one for each window that proposals fall on."""
        maps = scene.maps  # before the clock of the proposals starts
        with stage("proposals"):
            return maps.unique(self.proposals.regions(scene))

    def _of_class(
        self, maps: Maps, regions: Boxes, scores: NDArray[np.float32], label: int, candidates: int, most: int
    ) -> Found:
        likely = np.flatnonzero(scores > SCORE_FLOOR)
        best = likely[np.argsort(-scores[likely], kind="stable")[:candidates]]
        boxes, moved, scored = regions[best], scores[best], regions[best]
        rounds, damping = self.settings.rounds, self.settings.damping
        if rounds:
            with stage("moving boxes"):
                boxes, moved, scored = self.head.refine(maps, boxes, label, rounds=rounds, damping=damping)
        kept = self._kept(boxes, moved, most)
        voting = self.settings.voting_iou
        placed = boxes[kept] if voting is None else vote(boxes, moved, kept, voting)
        return placed, moved[kept], scored[kept]

    def _kept(self, boxes: Boxes, scores: NDArray[np.float32], most: int) -> NDArray[np.int64]:
        """Return which candidates of a class suppression keeps, at most ``most`` each turn."""
        overlap, apart = self.settings.nms_iou, self.settings.apart_iou
        first = nms(boxes, scores, overlap)
        first = first[scores[first] > SCORE_FLOOR][:most]
        if apart is None:
            return first
        second = second_turn(boxes, scores, first, threshold=overlap, apart=apart)
        return np.concatenate([first, second[scores[second] > SCORE_FLOOR][:most]])

    def _sure(self, found: list[Found], most: int) -> Detections:
        """Join what was found of each class: how sure each is follows from its score and from what stands beside it."""
        labels = np.repeat(np.arange(len(found)), [len(scores) for _, scores, _ in found])
        boxes, scores, regions = (np.concatenate(part) for part in zip(*found, strict=True))
        beside = np.zeros((len(boxes), 2))
        if self.settings.apart_iou is not None:
            beside = rivals(boxes, labels, scores, most=most)
        together = Detections(boxes, labels, np.zeros(len(boxes)), self.classes, scores, regions, beside)
        return self.sure_of(together)

    def sure_of(self, found: Detections) -> Detections:
        """Return what another head of the same classes found, with the confidence of this model's curves."""
        scores, beside = np.asarray(found.scores), np.asarray(found.rivals)
        sure = self.calibration.probabilities(scores, found.labels, beside)
        return replace(found, confidence=sure)[np.argsort(-sure, kind="stable")]
