"""An image as the convolutions learn from it: regions drawn, mirrored and rescaled by chance, of a large one a part."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sppnet.backbones import Backbone
from sppnet.data import Sample
from sppnet.detection.examples import ImageLabels, labels_of, scene_of
from sppnet.detection.model import DetectorModel
from sppnet.features.joined import JoinedMaps
from sppnet.features.maps import FeatureMap
from sppnet.geometry import Boxes, Size, WindowRule, flip_boxes, iou, shorter_side_size
from sppnet.images import MAX_WHOLE_PIXELS, mirror, read_image, resize, to_tensor

POSITIVES: Final = 64  # regions a step
NEGATIVES: Final = 160
HARD: Final = 400  # of the negatives, those of the highest scores that half are drawn from
BOX_IOU: Final = 0.5  # regions that overlap an object by this are moved onto it
RESCALED: Final = 1.3  # images are scaled by up to this, up or down
PART: Final = 1024  # pixels a side, as scaled, that are seen of an image in tiles: gradients take 1.2 GB a million

Part = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True)
class TuningImage:
    """One image: its labels, its regions (R, 4), and which negatives among them the linear detector finds hard."""

    sample: Sample
    labels: ImageLabels
    regions: Boxes
    targets: NDArray[np.int8]
    owners: NDArray[np.int64]
    overlaps: NDArray[np.float64]
    hard: NDArray[np.int64]

    @classmethod
    def of(cls, sample: Sample, model: DetectorModel, names: Sequence[str]) -> "TuningImage":
        """Look at an image with the linear detector."""
        scene, labels = scene_of(sample, model.encoder), labels_of(sample, names)
        objects = labels.boxes[labels.counted]
        regions = np.concatenate([objects, model.propose(scene)])
        _, targets = labels.overlaps(regions, names, model.settings)
        if len(objects):
            targets[np.arange(len(objects)), labels.indices(names)[labels.counted]] = 1
        overlap = iou(regions, objects)
        owners = overlap.argmax(axis=1) if len(objects) else np.zeros(len(regions), dtype=np.int64)
        scores = np.where(targets == -1, model.head.scores(scene.maps, regions), -np.inf).max(axis=1)
        negative = np.flatnonzero((targets == -1).all(axis=1))
        hard = negative[np.argsort(-scores[negative], kind="stable")[:HARD]]
        return cls(sample, labels, regions, targets, owners, overlap.max(axis=1, initial=0.0), hard)

    def view(self, scales: Sequence[int], rng: np.random.Generator) -> "View":
        """Return what is seen of the image this time.

        Args:
            scales: what the detector scales shorter sides to. rng: by which it is chosen.
        """
        pixels = read_image(self.sample.source)
        whole = min(pixels.shape[:2])
        part, inside = self._part((pixels.shape[0], pixels.shape[1]), max(scales), rng)
        chosen = self._drawn(inside, rng)
        mirrored, factor = bool(rng.integers(2)), RESCALED ** rng.uniform(-1, 1)
        side = int(rng.choice(scales)) * factor
        left, top, right, bottom = part
        pixels = pixels[top:bottom, left:right]
        boxes = [each - (left, top, left, top) for each in (self.regions[chosen], self._objects)]
        if mirrored:
            pixels, boxes = mirror(pixels), [flip_boxes(each, pixels.shape[1]) for each in boxes]
        return View(pixels, max(1, round(side * min(pixels.shape[:2]) / whole)), chosen, *boxes)

    @property
    def _objects(self) -> Boxes:
        return self.labels.boxes[self.labels.counted]

    def _part(self, size: Size, side: int, rng: np.random.Generator) -> tuple[Part, NDArray[np.int64]]:
        """Return the box that is seen, with the regions in it: the whole image, or of one in tiles a part."""
        height, width = size
        if math.prod(shorter_side_size(size, side)) <= MAX_WHOLE_PIXELS:
            return (0, 0, width, height), np.arange(len(self.regions))
        extent = np.minimum(round(PART * min(size) / side), (width, height))
        room = np.array([width, height]) - extent
        low, high = np.zeros(2), room
        fits = np.flatnonzero((self._objects[:, 2:] - self._objects[:, :2] <= extent - 1).all(axis=1))
        if len(fits):  # an object is in it
            held = self._objects[rng.choice(fits)]
            low, high = np.clip(np.ceil(held[2:]) - extent, 0, room), np.clip(np.floor(held[:2]), 0, room)
        left, top = rng.integers(low.astype(np.int64), high.astype(np.int64), endpoint=True).tolist()
        part = left, top, left + int(extent[0]), top + int(extent[1])
        inside = (self.regions[:, :2] >= part[:2]).all(axis=1) & (self.regions[:, 2:] <= part[2:]).all(axis=1)
        return part, np.flatnonzero(inside)

    def _drawn(self, inside: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw the regions of one step among some: on objects, hard negatives, and any negatives."""
        on, off = self.overlaps[inside] >= BOX_IOU, (self.targets[inside] == -1).all(axis=1)
        hard = self.hard[np.isin(self.hard, inside)]
        parts = [(inside[on], POSITIVES), (hard, NEGATIVES // 2), (inside[off], NEGATIVES - NEGATIVES // 2)]
        return np.concatenate([rng.permutation(among)[:count] for among, count in parts])


@dataclass(frozen=True)
class View:
    """What is seen of an image: (H, W, 3) uint8 pixels, for a shorter ``side``, and boxes in these.

    Args:
        chosen: which of the image's regions are learnt from. regions: (S, 4), these. objects: (N, 4), all that count.
    """

    pixels: NDArray[np.uint8]
    side: int
    chosen: NDArray[np.int64]
    regions: Boxes
    objects: Boxes

    def maps(self, network: Backbone, layers: Sequence[str], rule: WindowRule) -> FeatureMap | JoinedMaps:
        """Return the maps, which gradients go through."""
        size = (self.pixels.shape[0], self.pixels.shape[1])
        scaled = shorter_side_size(size, self.side)
        inputs = to_tensor(resize(self.pixels, scaled), mean=network.mean, std=network.std)
        values = network.activations(inputs[None].to(network.device), layers)
        maps = tuple(FeatureMap(values[layer][0], network.grid(layer, scaled), size, scaled, rule) for layer in layers)
        return maps[0] if len(maps) == 1 else JoinedMaps(maps)
