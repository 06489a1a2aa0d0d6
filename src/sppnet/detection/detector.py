"""Images of any size -> detections: the feature map once, then thousands of regions from it (paper, Sec. 4).

``Detector.detect`` reads like the paper's section 4.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sppnet.data import DetectionData, Sample
from sppnet.detection.detections import Detections
from sppnet.detection.head import LabelledImage, RegionHead, examples_per_image, learn_head
from sppnet.detection.settings import OURS, Settings, named_settings
from sppnet.errors import ArgumentError, CorruptFileError, DataError, NotFittedError, check_that, message
from sppnet.evaluation.precision import DetectionReport, detection_report
from sppnet.features.contributions import Contributions, window_contributions
from sppnet.features.encoder import MapsEncoder
from sppnet.features.files import described, encoder_from_description, encoder_of
from sppnet.features.joined import JoinedMaps
from sppnet.features.maps import FeatureMap, Maps
from sppnet.geometry import Boxes, check_boxes, nms, usual_short_side, vote
from sppnet.images import Source, read_image
from sppnet.progress import BASE_MEMORY, Estimate, Progress, silent, stage, timed
from sppnet.proposals.grid import GridProposals, fitting_grid
from sppnet.proposals.learnt import (
    METHOD,
    LearntProposals,
    described_proposals,
    learn_proposals,
    proposals_from_description,
)
from sppnet.proposals.protocol import Proposals
from sppnet.storage import TensorCache, read_tensors, write_tensors

FORMAT: Final = "sppnet detector 1"
HEAD_TENSORS: Final = ("weights", "bias", "delta_weights", "delta_bias")
LEVELS: Final = (3, 2, 1)
LAYERS: Final = ("stride8", "stride16")
SCORE_FLOOR: Final = -1.2  # regions below are not worth moving
CANDIDATES: Final = 600  # regions a class that are moved, the best
PER_CLASS: Final = 100


class Detector:
    """Learns to find objects from a few hundred labelled images, on a laptop, in minutes.

    The network is frozen; what is learnt is one linear SVM and one box regression a class over the pyramid
    features of regions. Maps are cached, so learning again after a label changed takes seconds.

    Args:
        short_side: images are scaled to this shorter side; None chooses by the training images. Several:
            each region is taken from the scale that suits it (paper, Sec. 4.1).
        layers: the feature maps that regions are pooled from, see ``EfficientNetLite0``, the finest first.
        levels: bins per side of each level of the pyramid.
        settings: how it is taught and answers: "ours", "paper", "released" or one of your own.
        proposals: where regions come from; None makes a dense grid of shapes that fit the training boxes, "learnt"
            keeps of it the 2,000 regions of an image that look most like any object, see ``sppnet.proposals.learnt``.
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
        layers: Sequence[str] = LAYERS,
        levels: Sequence[int] = LEVELS,
        proposals: Proposals | Literal["learnt"] | None = None,
        settings: str | Settings = "ours",
        cache: TensorCache | None = None,
        seed: int = 0,
    ) -> None:
        known = not isinstance(proposals, str) or proposals == METHOD
        advice = "Name it, or give an object of sppnet.proposals"
        check_that(known, "Detector", "proposals", f"{METHOD!r} or a method", repr(proposals), advice=advice)
        self.short_side, self.layers, self.levels = short_side, tuple(layers), tuple(levels)
        self.proposals, self.cache, self.seed = proposals, cache, seed
        self.settings = named_settings(settings) if isinstance(settings, str) else settings
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

    def detect(self, image: Source, *, name: str = "") -> Detections:
        """Find the objects of one image of any size.

        Args:
            image: a path, a file's bytes, or (H, W, 3) uint8 RGB.
            name: the image's name, for proposals that come from a file; a path brings its own.
        Returns:
            Detections, the most certain first; none scores under ``SCORE_FLOOR``.
        Raises:
            NotFittedError: neither trained nor loaded. ImageDecodeError: an image that cannot be read.
        """
        return self.detect_in(self.encode(image), image, name=name)

    def detect_in(self, feature_map: Maps, image: Source, *, name: str = "") -> Detections:
        """Find the objects of an image that ``encode`` encoded; the rest as ``detect`` has it."""
        regions = self.propose(image, feature_map, name=name)
        scores = self._fitted().head.scores(feature_map, regions)
        with stage("suppression"):
            return self._select(feature_map, regions, scores)

    def encode(self, image: Source) -> Maps:
        """Compute the image's feature map, once for any number of ``score`` calls."""
        return self._fitted().encoder(image)

    def propose(self, image: Source, feature_map: Maps, *, name: str = "") -> Boxes:
        """Propose regions (R, 4) of an encoded image, one for each window that proposals fall on."""
        if isinstance(image, Path | str):
            name = Path(image).name
        return _regions(self._fitted().proposals, image, feature_map, name)

    def score(self, feature_map: Maps, regions: Boxes) -> NDArray[np.float32]:
        """Score regions of an encoded image for all classes.

        Args:
            feature_map: from ``encode``.
            regions: (R, 4) boxes in the image's pixels; what hangs out of the image is cut off.
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
            feature_map: of the image that the detections were found in.
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
        if self.settings.rounds:
            with stage("moving boxes"):
                rounds = self.settings.rounds
                boxes, moved, scored = self._fitted().head.refine(feature_map, boxes, label, rounds=rounds)
        kept = nms(boxes, moved, self.settings.nms_iou)
        kept = kept[moved[kept] > SCORE_FLOOR][:PER_CLASS]
        voting = self.settings.voting_iou
        placed = boxes[kept] if voting is None else vote(boxes, moved, kept, voting)
        return placed, moved[kept], scored[kept]

    # Learning

    def fit(self, data: DetectionData, *, progress: Progress = silent) -> "Detector":
        """Learn from labelled images.

        Args:
            data: from ``load_detection``; images without objects teach what is background.
            progress: wraps each pass over the images, given its name.
        Returns:
            The detector itself. The same seed, data and machine give the same bits.
        Raises:
            DataError: no images, or no labelled object.
        """
        encoder, proposals = self.prepared(data, progress=progress)
        for sample in progress("Computing feature maps", data.samples):
            if encoder.cache is not None and not encoder.is_cached(sample.path):
                encoder(sample.path)
        images = [labelled(sample, encoder, proposals) for sample in data.samples]
        count, settings = len(data.classes), self.settings
        head = learn_head(images, count, levels=self.levels, settings=settings, seed=self.seed, progress=progress)
        self._learnt = _Learnt(encoder, proposals, head, data.classes)
        return self

    def estimate(self, data: DetectionData) -> Estimate:
        """Tell what ``fit`` will cost on this machine, from the work on one image that it times."""
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
        memory = BASE_MEMORY + 2 * len(data.samples) * examples_per_image(len(data.classes)) * features * 4
        return Estimate(len(data.samples), len(missing), seconds, memory)

    def evaluate(self, data: DetectionData, *, iou: float = 0.5, progress: Progress = silent) -> DetectionReport:
        """Detect in every image and compare with its labels: VOC average precision at ``iou``."""
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
            "settings": self.settings.describe(),
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
        settings = Settings.from_description(metadata["settings"])
        return cls.of_parts(encoder, proposals, head, classes, settings=settings, seed=metadata["seed"])

    @classmethod
    def on(
        cls,
        encoder: MapsEncoder,
        *,
        levels: Sequence[int] = LEVELS,
        proposals: Proposals | Literal["learnt"] | None = None,
        settings: str | Settings = "ours",
        seed: int = 0,
    ) -> "Detector":
        """Make a detector that learns on what an encoder of your own gives: another network, layers, R-CNN's crops."""
        detector = cls(levels=levels, proposals=proposals, settings=settings, cache=encoder.cache, seed=seed)
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
        settings: Settings = OURS,
        seed: int = 0,
    ) -> "Detector":
        """Make a trained detector of parts that were learnt elsewhere; ``classes`` are in the order of the head."""
        detector = cls.on(encoder, levels=head.levels, proposals=proposals, settings=settings, seed=seed)
        detector._learnt = _Learnt(encoder, proposals, head, classes)
        return detector

    def prepared(self, data: DetectionData, *, progress: Progress = silent) -> tuple[MapsEncoder, Proposals]:
        """Return what ``fit`` encodes and proposes with: as chosen, or fitted to the data, or learnt from it."""
        encoder, proposals = self._chosen(data)
        if self.proposals != METHOD or not isinstance(proposals, GridProposals):
            return encoder, proposals
        images = [labelled(sample, encoder, proposals) for sample in data.samples]
        return encoder, learn_proposals(images, encoder, proposals, seed=self.seed, progress=progress)

    def _chosen(self, data: DetectionData) -> tuple[MapsEncoder, Proposals]:
        """Return what ``prepared`` does; where proposals are learnt, the grid that they will choose among."""
        if not any(len(sample.boxes) for sample in data.samples):
            raise DataError(f"{data.root}: holds no labelled object in {len(data.samples)} images. Label some first.")
        boxes, labels, sizes = zip(*((each.boxes, each.labels, each.size) for each in data.samples), strict=True)
        chosen = self.short_side or usual_short_side(sizes)
        scales = (chosen,) if isinstance(chosen, int) else tuple(chosen)
        encoder = self.encoder or encoder_of(self.layers, scales, cache=self.cache, rule=self.settings.rule)
        if self.proposals is None or isinstance(self.proposals, str):
            return encoder, fitting_grid(boxes, labels, sizes, scales[0])
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


def labelled(sample: Sample, encoder: MapsEncoder, proposals: Proposals) -> LabelledImage:
    """Make of a sample what regions are learnt from; its maps and regions are loaded when asked for."""

    def load() -> tuple[Maps, Boxes]:
        feature_map = encoder(sample.path)
        return feature_map, _regions(proposals, sample.path, feature_map, sample.path.name)

    return LabelledImage(load, sample.boxes, sample.labels, sample.difficult | sample.crowd)


def _regions(proposals: Proposals, image: Source, feature_map: Maps, name: str) -> Boxes:
    """Propose regions and keep of those that fall on one window the one that stands for it.

    The image is read only for a method that looks at it.
    """
    with stage("proposals"):
        if isinstance(proposals, GridProposals):
            proposed = proposals.regions(feature_map.size)
        elif isinstance(proposals, LearntProposals):
            proposed = proposals.regions(feature_map)
        else:
            proposed = proposals(read_image(image), name)
        return feature_map.unique(proposed)
