"""Pictures of any size -> detections: the feature map once, then thousands of regions from it (paper, Sec. 4).

``Detector.detect`` reads like the paper's section 4.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sppnet.contributions import Contributions, window_contributions
from sppnet.data import DetectionData, Sample
from sppnet.encoders import described, encoder_from_description, encoder_of
from sppnet.encoding import FeatureMap, Maps, MapsEncoder
from sppnet.errors import ArgumentError, CorruptFileError, DataError, NotFittedError, check_that, message
from sppnet.geometry import Boxes, check_boxes, nms, vote
from sppnet.images import Source, read_image
from sppnet.metrics import DetectionReport, detection_report
from sppnet.objectness import METHOD, LearntProposals, described_proposals, learn_proposals, proposals_from_description
from sppnet.procedure import OURS, Procedure, named_procedure
from sppnet.progress import BASE_MEMORY, Estimate, Progress, silent, stage, timed
from sppnet.proposals import GridProposals, Proposals, fitting_shapes
from sppnet.region_head import LabelledPicture, RegionHead, examples_per_picture, teach
from sppnet.storage import TensorCache, read_tensors, write_tensors
from sppnet.taps import JoinedMaps

FORMAT: Final = "sppnet detector 1"
HEAD_TENSORS: Final = ("weights", "bias", "delta_weights", "delta_bias")
COLUMNS: Final = ("boxes", "labels", "scores")
LEVELS: Final = (3, 2, 1)
SHORT_SIDES: Final = (256, 640)  # pictures are scaled to their own median shorter side, within these
TAPS: Final = ("stride8", "stride16")
SCORE_FLOOR: Final = -1.2  # regions below are not worth moving
CANDIDATES: Final = 600  # regions a class that are moved, the best
PER_CLASS: Final = 100


@dataclass(frozen=True)
class Detections:
    """What was found in one picture, the most certain first.

    Args:
        boxes: (N, 4) float64 in the picture's pixels, ends excluded.
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


class Detector:
    """Learns to find objects from a few hundred labelled pictures, on a laptop, in minutes.

    The network is frozen; what is learnt is one linear SVM and one box regression a class over the pyramid
    features of regions. Maps are cached, so learning again after a label changed takes seconds.

    Args:
        short_side: pictures are scaled to this shorter side; None chooses by the training pictures. Several:
            each region is taken from the scale that suits it (paper, Sec. 4.1).
        taps: the feature maps that regions are pooled from, see ``EfficientNetLite0``, the finest first.
        levels: bins per side of each level of the pyramid.
        procedure: how it is taught and answers: "ours", "paper", "released" or one of your own.
        proposals: where regions come from; None makes a dense grid of shapes that fit the training boxes, "learnt"
            keeps of it the 2,000 regions of a picture that look most like any object, see ``sppnet.objectness``.
        cache: where feature maps are kept between runs; None keeps nothing.
        seed: of the choice among training regions.

    Example:
        >>> from sppnet import Detector
        >>> Detector(levels=(2, 1)).levels
        (2, 1)
    """

    def __init__(
        self,
        *,
        short_side: int | Sequence[int] | None = None,
        taps: Sequence[str] = TAPS,
        levels: Sequence[int] = LEVELS,
        proposals: Proposals | Literal["learnt"] | None = None,
        procedure: str | Procedure = "ours",
        cache: TensorCache | None = None,
        seed: int = 0,
    ) -> None:
        known = not isinstance(proposals, str) or proposals == METHOD
        advice = "Name it, or give an object of sppnet.proposals"
        check_that(known, "Detector", "proposals", f"{METHOD!r} or a method", repr(proposals), advice=advice)
        self.short_side, self.taps, self.levels = short_side, tuple(taps), tuple(levels)
        self.proposals, self.cache, self.seed = proposals, cache, seed
        self.procedure = named_procedure(procedure) if isinstance(procedure, str) else procedure
        self.encoder: MapsEncoder | None = None
        self._learnt: _Learnt | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the scores' columns."""
        return self._fitted().classes

    @property
    def untrained(self) -> tuple[str, ...]:
        """Classes that had no training object, and are never found."""
        trained = torch.isfinite(self._fitted().head.bias).tolist()
        return tuple(name for name, known in zip(self.classes, trained, strict=True) if not known)

    # Answering

    def detect(self, picture: Source, *, name: str = "") -> Detections:
        """Find the objects of one picture of any size.

        Args:
            picture: a path, a file's bytes, or (H, W, 3) uint8 RGB.
            name: the picture's name, for proposals that come from a file; a path brings its own.
        Returns:
            Detections, the most certain first; none scores under ``SCORE_FLOOR``.
        Raises:
            NotFittedError: neither trained nor loaded. ImageDecodeError: a picture that cannot be read.
        """
        return self.detect_in(self.encode(picture), picture, name=name)

    def detect_in(self, feature_map: Maps, picture: Source, *, name: str = "") -> Detections:
        """Find the objects of a picture that ``encode`` encoded; the rest as ``detect`` has it."""
        regions = self.propose(picture, feature_map, name=name)
        scores = self._fitted().head.scores(feature_map, regions)
        with stage("suppression"):
            return self._select(feature_map, regions, scores)

    def encode(self, picture: Source) -> Maps:
        """Compute the picture's feature map, once for any number of ``score`` calls."""
        return self._fitted().encoder(picture)

    def propose(self, picture: Source, feature_map: Maps, *, name: str = "") -> Boxes:
        """Propose regions (R, 4) of an encoded picture, one for each window that proposals fall on."""
        if isinstance(picture, Path | str):
            name = Path(picture).name
        return _regions(self._fitted().proposals, picture, feature_map, name)

    def score(self, feature_map: Maps, regions: Boxes) -> NDArray[np.float32]:
        """Score regions of an encoded picture for all classes.

        Args:
            feature_map: from ``encode``.
            regions: (R, 4) boxes in the picture's pixels; what hangs out of the picture is cut off.
        Returns:
            (R, K) float32, in the order of ``classes``; minus infinity for a class without training objects.
        Raises:
            BoxError: naming the row of a region that is empty, inverted, NaN or wholly outside.
        """
        checked = check_boxes("Detector.score", regions, feature_map.size)
        return self._fitted().head.scores(feature_map, checked)

    def explain(self, feature_map: Maps, detections: Detections) -> list[Contributions]:
        """Tell which bins of which window made each score of ``detect``: exactly, because the head is linear.

        Args:
            feature_map: of the picture that the detections were found in.
        Returns:
            One for each detection; ``contributions.score`` is its score to float precision.
        Raises:
            ArgumentError: detections without regions, or maps of several scales or with layers on top.
        """
        regions = detections.regions
        if not isinstance(feature_map, FeatureMap | JoinedMaps) or regions is None:
            actual = f"{type(feature_map).__name__} and detections {'without' if regions is None else 'with'} regions"
            advice = "Give what encode and detect return for a detector of one scale without layers"
            raise ArgumentError(message("Detector.explain", "detections", "of one scale", actual, advice))
        head = self._fitted().head
        weights, bias = head.weights[detections.labels], head.bias[detections.labels]
        return window_contributions(feature_map, regions, head.levels, weights, bias)

    def _select(self, feature_map: Maps, regions: Boxes, scores: NDArray[np.float32]) -> Detections:
        found = [self._of_class(feature_map, regions, scores[:, label], label) for label in range(scores.shape[1])]
        labels = np.repeat(np.arange(len(found)), [len(kept) for _, kept, _ in found])
        boxes, confidence, scored = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.argsort(-confidence, kind="stable")
        return Detections(boxes[order], labels[order], confidence[order], self.classes, scored[order])

    def _of_class(
        self, feature_map: Maps, regions: Boxes, scores: NDArray[np.float32], label: int
    ) -> tuple[Boxes, NDArray[np.float32], Boxes]:
        likely = np.flatnonzero(scores > SCORE_FLOOR)
        best = likely[np.argsort(-scores[likely], kind="stable")[:CANDIDATES]]
        boxes, moved, scored = regions[best], scores[best], regions[best]
        if self.procedure.rounds:
            with stage("moving boxes"):
                rounds = self.procedure.rounds
                boxes, moved, scored = self._fitted().head.refine(feature_map, boxes, label, rounds=rounds)
        kept = nms(boxes, moved, self.procedure.nms_iou)
        kept = kept[moved[kept] > SCORE_FLOOR][:PER_CLASS]
        voting = self.procedure.voting_iou
        placed = boxes[kept] if voting is None else vote(boxes, moved, kept, voting)
        return placed, moved[kept], scored[kept]

    # Learning

    def fit(self, data: DetectionData, *, progress: Progress = silent) -> "Detector":
        """Learn from labelled pictures.

        Args:
            data: from ``load_detection``; pictures without objects teach what is background.
            progress: wraps each pass over the pictures, given its name.
        Returns:
            The detector itself. The same seed, data and machine give the same bits.
        Raises:
            DataError: no pictures, or no labelled object.
        """
        encoder, proposals = self.prepared(data, progress=progress)
        for sample in progress("Computing feature maps", data.samples):
            if encoder.cache is not None and not encoder.is_cached(sample.path):
                encoder(sample.path)
        pictures = [labelled(sample, encoder, proposals) for sample in data.samples]
        count, procedure = len(data.classes), self.procedure
        head = teach(pictures, count, levels=self.levels, procedure=procedure, seed=self.seed, progress=progress)
        self._learnt = _Learnt(encoder, proposals, head, data.classes)
        return self

    def estimate(self, data: DetectionData) -> Estimate:
        """Tell what ``fit`` will cost on this machine, from the work on one picture that it times."""
        encoder, proposals = self._chosen(data)
        missing = [sample for sample in data.samples if not encoder.is_cached(sample.path)]
        sample = (missing or data.samples)[len(missing or data.samples) // 2]
        features = encoder.length(self.levels)
        weights = torch.zeros(1 + 4, features), torch.zeros(1 + 4)
        feature_map = encoder.compute(sample.path)
        regions = _regions(proposals, sample.path, feature_map, sample.path.name)
        map_seconds = timed(lambda: encoder.compute(sample.path)) if missing else 0.0
        region_seconds = timed(lambda: feature_map.score(regions, self.levels, *weights))
        # Sampling and mining pool every region once each, and the SVMs take about as long as both.
        seconds = len(missing) * map_seconds + 4 * len(data.samples) * region_seconds
        memory = BASE_MEMORY + 2 * len(data.samples) * examples_per_picture(len(data.classes)) * features * 4
        return Estimate(len(data.samples), len(missing), seconds, memory)

    def evaluate(self, data: DetectionData, *, iou: float = 0.5, progress: Progress = silent) -> DetectionReport:
        """Detect in every picture and compare with its labels: VOC average precision at ``iou``."""
        if data.classes != self.classes:
            raise DataError(
                f"{data.root}: must hold the classes {', '.join(self.classes)}, got {', '.join(data.classes)}. "
                "Load it with classes=detector.classes."
            )
        found = [self.detect(sample.path) for sample in progress("Detecting", data.samples)]
        return detection_report(found, data.samples, self.classes, iou=iou)

    # Files

    def save(self, path: Path | str) -> None:
        """Write the detector to one safetensors file, whole or not at all."""
        learnt = self._fitted()
        encoder, weights = described(learnt.encoder)
        proposals, objectness = described_proposals(learnt.proposals)
        metadata = {
            "format": FORMAT,
            "classes": list(learnt.classes),
            "levels": list(learnt.head.levels),
            "encoder": encoder,
            "proposals": proposals,
            "procedure": self.procedure.describe(),
            "seed": self.seed,
        }
        tensors = {name: getattr(learnt.head, name) for name in HEAD_TENSORS}
        write_tensors(Path(path), tensors | weights | objectness, metadata=metadata)

    @classmethod
    def load(cls, path: Path | str, *, cache: TensorCache | None = None) -> "Detector":
        """Read a detector that ``save`` wrote.

        Raises:
            CorruptFileError: a damaged file, or one that is no detector or was made with other weights.
        """
        tensors, metadata = read_tensors(Path(path))
        if metadata.get("format") != FORMAT:
            raise CorruptFileError(f"{path}: must hold a detector, got {metadata.get('format')!r}. Train one.")
        encoder = encoder_from_description(metadata["encoder"], tensors, cache=cache)
        head = RegionHead(tuple(metadata["levels"]), *(tensors[name] for name in HEAD_TENSORS))
        proposals = proposals_from_description(metadata["proposals"], tensors, encoder)
        classes = tuple(metadata["classes"])
        procedure = Procedure.from_description(metadata["procedure"])
        return cls.of_parts(encoder, proposals, head, classes, procedure=procedure, seed=metadata["seed"])

    @classmethod
    def on(
        cls,
        encoder: MapsEncoder,
        *,
        levels: Sequence[int] = LEVELS,
        proposals: Proposals | Literal["learnt"] | None = None,
        procedure: str | Procedure = "ours",
        seed: int = 0,
    ) -> "Detector":
        """Make a detector that learns on what an encoder of your own gives: another network, layers, R-CNN's crops."""
        detector = cls(levels=levels, proposals=proposals, procedure=procedure, cache=encoder.cache, seed=seed)
        detector.encoder = encoder
        return detector

    @classmethod
    def of_parts(
        cls,
        encoder: MapsEncoder,
        proposals: Proposals,
        head: RegionHead,
        classes: tuple[str, ...],
        *,
        procedure: Procedure = OURS,
        seed: int = 0,
    ) -> "Detector":
        """Make a trained detector of parts that were learnt elsewhere; ``classes`` are in the order of the head."""
        detector = cls.on(encoder, levels=head.levels, proposals=proposals, procedure=procedure, seed=seed)
        detector._learnt = _Learnt(encoder, proposals, head, classes)
        return detector

    def prepared(self, data: DetectionData, *, progress: Progress = silent) -> tuple[MapsEncoder, Proposals]:
        """Return what ``fit`` encodes and proposes with: as chosen, or fitted to the data, or learnt from it."""
        encoder, proposals = self._chosen(data)
        if self.proposals != METHOD or not isinstance(proposals, GridProposals):
            return encoder, proposals
        pictures = [labelled(sample, encoder, proposals) for sample in data.samples]
        return encoder, learn_proposals(pictures, encoder, proposals, seed=self.seed, progress=progress)

    def _chosen(self, data: DetectionData) -> tuple[MapsEncoder, Proposals]:
        """Return what ``prepared`` does; where proposals are learnt, the grid that they will choose among."""
        if not any(len(sample.boxes) for sample in data.samples):
            raise DataError(f"{data.root}: holds no labelled object in {len(data.samples)} pictures. Label some first.")
        chosen = self.short_side or usual_short_side(data)
        scales = (chosen,) if isinstance(chosen, int) else tuple(chosen)
        encoder = self.encoder or encoder_of(self.taps, scales, cache=self.cache, rule=self.procedure.rule)
        if self.proposals is None or isinstance(self.proposals, str):
            return encoder, fitting_grid(data, scales[0])
        if isinstance(self.proposals, LearntProposals):
            self.proposals.check_encoder(encoder)
        return encoder, self.proposals

    def _fitted(self) -> "_Learnt":
        if self._learnt is None:
            raise NotFittedError("Detector: must be trained, got one that is not. Call fit, or load a model file.")
        return self._learnt


@dataclass(frozen=True)
class _Learnt:
    encoder: MapsEncoder
    proposals: Proposals
    head: RegionHead
    classes: tuple[str, ...]


def usual_short_side(data: DetectionData) -> int:
    """Return the shorter side that pictures are scaled to unless the user chooses: their median, within limits."""
    return int(np.clip(np.median([min(sample.size) for sample in data.samples]), *SHORT_SIDES))


def fitting_grid(data: DetectionData, short_side: int) -> GridProposals:
    """Make a grid of the shapes that the training boxes need, for pictures scaled to ``short_side``."""
    boxes = np.concatenate([sample.boxes * (short_side / min(sample.size)) for sample in data.samples])
    labels = np.concatenate([sample.labels for sample in data.samples])
    return GridProposals(fitting_shapes(boxes, labels), short_side)


def labelled(sample: Sample, encoder: MapsEncoder, proposals: Proposals) -> LabelledPicture:
    """Make of a sample what regions are learnt from; its maps and regions are loaded when asked for."""

    def load() -> tuple[Maps, Boxes]:
        feature_map = encoder(sample.path)
        return feature_map, _regions(proposals, sample.path, feature_map, sample.path.name)

    return LabelledPicture(load, sample.boxes, sample.labels, sample.difficult | sample.crowd)


def _regions(proposals: Proposals, picture: Source, feature_map: Maps, name: str) -> Boxes:
    """Propose regions and keep of those that fall on one window the one that stands for it.

    The picture is read only for a method that looks at it.
    """
    with stage("proposals"):
        if isinstance(proposals, GridProposals):
            proposed = proposals.regions(feature_map.size)
        elif isinstance(proposals, LearntProposals):
            proposed = proposals.regions(feature_map)
        else:
            proposed = proposals(read_image(picture), name)
        return feature_map.distinct(proposed)


def combine(found: Sequence[Detections], *, iou: float = OURS.nms_iou) -> Detections:
    """Combine what several detectors found in one picture: suppression over all of it (paper, Sec. 4.4, Table 12).

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
