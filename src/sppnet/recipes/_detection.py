"""What the tables of detection share: images, networks, detectors at one and five scales, and their scores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import torch

from sppnet.backbones import PublishedNet
from sppnet.backbones.published import Name
from sppnet.data import DetectionData, load_detection, splits
from sppnet.detection.detections import Detections
from sppnet.detection.detector import Detector
from sppnet.detection.examples import labelled_images
from sppnet.detection.fine_tuning import fine_tune
from sppnet.detection.settings import PAPER, Settings
from sppnet.evaluation.precision import DetectionReport, Rule, detection_report
from sppnet.features.encoder import MapsEncoder
from sppnet.features.files import published_encoder, published_layers
from sppnet.features.layers import LayeredEncoder, RegionLayers
from sppnet.features.multiscale import PAPER_SCALE, PAPER_SCALES
from sppnet.features.scene import Scene
from sppnet.progress import timed
from sppnet.proposals.opencv import SelectiveSearch
from sppnet.proposals.protocol import Proposals
from sppnet.recipes import RecipeRequest, need
from sppnet.recipes._remembered import Remembered
from sppnet.storage import TensorCache

ONE: Final = (PAPER_SCALE,)
FIVE: Final = PAPER_SCALES
QUICK_WIDTH: Final = 0.125
QUICK_IMAGES: Final = 4
QUICK_REGIONS: Final = 40


@dataclass(frozen=True)
class Bench:
    """One network on one data set: what a row of a table needs.

    Args:
        request: of the recipe. network: with the paper's pyramid.
    """

    request: RecipeRequest
    network: PublishedNet

    @cached_property
    def train(self) -> DetectionData:
        """The images to learn from: the split "trainval", or "train"."""
        return _split(self.request, ("trainval", "train"))

    @cached_property
    def test(self) -> DetectionData:
        """The images to test on: the split "test", or "val"."""
        return _split(self.request, ("test", "val"), classes=self.train.classes)

    @cached_property
    def proposals(self) -> Proposals:
        """Selective search in its fast mode, about 2,000 regions an image, searched for once."""
        return Remembered(SelectiveSearch(limit=QUICK_REGIONS) if self.request.quick else SelectiveSearch())

    @property
    def settings(self) -> Settings:
        """The paper's, in a quick run with a handful of steps of fine-tuning."""
        few = replace(PAPER.fitting, steps=(3, 1), batch=16)
        return replace(PAPER, fitting=few) if self.request.quick else PAPER

    def encoder(self, scales: Sequence[int], layer: str | None = None) -> MapsEncoder:
        """Return what encodes images at some scales, up to a layer; the last map pooled without one."""
        folder = self.request.cache
        cache = None if folder is None else TensorCache(folder)
        return published_encoder(self.network, self.scales(scales), layer=layer or self.network.pool_name, cache=cache)

    def scales(self, scales: Sequence[int]) -> tuple[int, ...]:
        """Return the scales, in a quick run a quarter of them."""
        return tuple(scale // 4 for scale in scales) if self.request.quick else tuple(scales)

    def fine_tuned(self, scales: Sequence[int]) -> RegionLayers:
        """Fine-tune fc6 and fc7 on the training images' cached maps."""
        below = self.encoder(scales)
        images = labelled_images(self.train, below, self.proposals)
        layers, names = published_layers(self.network), self.train.classes
        fitting, seed, progress = self.settings.fitting, self.request.seed, self.request.progress
        return fine_tune(images, layers, names, levels=self.levels, fitting=fitting, seed=seed, progress=progress)

    def detector(self, encoder: MapsEncoder) -> Detector:
        """Train on what an encoder gives."""
        choices: dict[str, Any] = {"levels": self.levels, "proposals": self.proposals, "seed": self.request.seed}
        detector = Detector(encoder=encoder, settings=self.settings, **choices)
        return detector.fit(self.train, progress=self.request.progress)

    def layered(self, scales: Sequence[int], layers: RegionLayers) -> LayeredEncoder:
        """Return an encoder with layers of its own on top."""
        return LayeredEncoder(self.encoder(scales), layers)

    def report(self, detector: Detector, *, moved: bool, rule: Rule = "eleven") -> DetectionReport:
        """Compare with the test images' labels: VOC 2007's average precision unless told otherwise."""
        found = self.found(detector, moved=moved)
        return detection_report(found, self.test.samples, self.train.classes, rule=rule)

    def found(self, detector: Detector, *, moved: bool) -> list[Detections]:
        """Detect in every test image, with the boxes moved or not."""
        known = detector.model_
        model = replace(known, settings=replace(known.settings, rounds=int(moved)))
        samples = self.request.progress("Detecting", self.test.samples)
        return [model.detect(Scene(sample.path, known.encoder), threshold=0) for sample in samples]

    @property
    def levels(self) -> tuple[int, ...]:
        """The network's pyramid."""
        return self.network.levels or (1,)

    def seconds(self, scales: Sequence[int]) -> tuple[float, float]:
        """Time one test image: its maps, and its regions through pooling, fc6, fc7 and the scores."""
        encoder = self.encoder(scales, self.network.fc_names[1])
        sample = self.test.samples[0]
        maps = encoder.compute(sample.path)
        regions = maps.unique(self.proposals.regions(Scene(sample.path, encoder)))
        weights = torch.zeros(len(self.train.classes), encoder.length(self.levels))
        bias = torch.zeros(len(weights))
        scoring = timed(lambda: maps.score(regions, self.levels, weights, bias).cpu())
        return timed(lambda: encoder.compute(sample.path)), scoring


def bench(request: RecipeRequest, name: Name, *, count: int = 1, which: int = 0) -> Bench:
    """Return a bench for one of the networks that a request names; in a quick run without any, a narrow random one.

    Args:
        request: whose weights are ``count`` files of networks with a pyramid, trained on ImageNet.
        name: the architecture, for the narrow one. which: of the files.
    """
    if request.quick and not request.weights:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(request.seed + which)
            return Bench(request, PublishedNet(name, width=QUICK_WIDTH, padding="deployment").eval())
    files = need(request.weights, count, f"{name} with a pyramid, trained on ImageNet")
    return Bench(request, PublishedNet.load(files[which], padding="deployment"))


def _split(request: RecipeRequest, names: Sequence[str], *, classes: Sequence[str] | None = None) -> DetectionData:
    known = splits(request.data)
    split = next((name for name in names if name in known), names[-1])
    data = load_detection(request.data, split=split, on_bad="skip", classes=classes)
    return replace(data, samples=data.samples[:QUICK_IMAGES]) if request.quick else data
