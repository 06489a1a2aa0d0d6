"""R-CNN's way with the same regions, network and data: every region cropped, warped and run through it alone.

The baseline that spatial pyramid pooling is measured against (Girshick et al. 2014; paper, Sec. 4.3). Crops
behave as a feature map does, so that one detector learns on either.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.data import DetectionData
from sppnet.detection.detector import Detector
from sppnet.errors import ArgumentError, check_that, message
from sppnet.features.contributions import Contributions
from sppnet.features.encoder import MapsEncoder, fingerprint_of
from sppnet.features.joined import shares
from sppnet.features.maps import Rows, score_rows
from sppnet.features.scene import Scene
from sppnet.geometry import Boxes, warp_places
from sppnet.images import Source, read_image, to_tensor, warp
from sppnet.ops import bins, pool_image
from sppnet.progress import Progress, silent, timed
from sppnet.recipes._remembered import Remembered
from sppnet.storage import TensorCache

SIDE: Final = 224  # of a warped region, in pixels; R-CNN's own network takes 227
CONTEXT: Final = 16  # pixels of it around the region, as in R-CNN
BATCH: Final = 32


@dataclass(frozen=True)
class Crops:
    """An image whose regions are run through the network one by one, each row once: ``Maps``, as R-CNN has them.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        encoder: what runs them.
        known: the rows so far, (D,) float16 by region and levels.
    """

    pixels: NDArray[np.uint8]
    encoder: "CroppingEncoder"
    known: dict[tuple[bytes, tuple[int, ...]], Tensor]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def pooled_maps(self) -> "Crops":
        """The crops themselves: boxes are regressed from what they are pooled to."""
        return self

    def align_to_cells(self, regions: Boxes) -> Boxes:
        """Return the regions (R, 4): a crop tells of its exact place."""
        return regions

    def unique(self, regions: Boxes) -> Boxes:
        """Return the regions (R, 4), each once, in one order."""
        return np.unique(regions, axis=0)

    def pool(self, regions: Boxes, levels: Sequence[int]) -> Tensor:
        """Return one row a region, (R, D) float32."""
        keys = [(region.tobytes(), tuple(levels)) for region in regions]
        missing = np.array([row for row, key in enumerate(keys) if key not in self.known], dtype=np.int64)
        for start in range(0, len(missing), BATCH):
            rows = missing[start : start + BATCH]
            for row, values in zip(rows, self.encoder.run(self.pixels, regions[rows], levels), strict=True):
                self.known[keys[row]] = values
        nothing = torch.zeros(0, self.encoder.length(levels))
        return torch.stack([self.known[key] for key in keys]).float() if keys else nothing

    def rows(self, regions: Boxes, levels: Sequence[int]) -> Rows:
        """Return the rows of regions (R, 4), each once."""
        once, which = np.unique(regions, axis=0, return_inverse=True)
        chunks = (self.pool(once[start : start + BATCH], levels) for start in range(0, len(once), BATCH))
        return chunks, which.reshape(-1)

    def score(self, regions: Boxes, levels: Sequence[int], weights: Tensor, bias: Tensor) -> Tensor:
        """Compute ``pool(regions, levels) @ weights.T + bias``, (R, K)."""
        return score_rows(*self.rows(regions, levels), weights, bias)

    def averages(self, regions: Boxes, levels: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Raise ArgumentError: crops have no map whose cells could be summed."""
        raise ArgumentError(message("averages", "maps", "of the whole image", "crops", "Use a detector that pools"))

    def score_averages(self, regions: Boxes, levels: Sequence[int], weights: Tensor) -> Tensor:  # noqa: ARG002
        """Raise ArgumentError, as ``averages`` does."""
        return self.averages(regions, levels)

    def layout(self, levels: Sequence[int]) -> list[tuple[tuple[int, ...], int]]:
        """Return the levels and the channels of each layer's part of a row."""
        parts = zip(self.encoder.layers, shares(levels, len(self.encoder.layers)), strict=True)
        return [(tuple(share), self.encoder.backbone.channels[layer]) for layer, share in parts]

    def explain(self, regions: Boxes, levels: Sequence[int], weights: Tensor, bias: Tensor) -> list[Contributions]:  # noqa: ARG002
        """Raise ArgumentError: a crop is no window of a map."""
        raise ArgumentError(message("explain", "maps", "of the whole image", "crops", "Use a detector that pools"))


class CroppingEncoder:
    """Image -> ``Crops``: the same network, layers and pyramid as another encoder, on warped regions.

    Args:
        encoder: of the network and the layers to use; its scale and cache are not used.
        side: regions are warped to this many pixels, of which ``CONTEXT`` a side are what lies around.
    """

    def __init__(self, encoder: MapsEncoder, *, side: int = SIDE) -> None:
        advice = "Give more than the context around a region"
        check_that(side > 2 * CONTEXT, "CroppingEncoder", "side", f"above {2 * CONTEXT}", side, advice=advice)
        self.backbone, self.layers, self.scales, self.side = encoder.backbone, encoder.layers, encoder.scales, side
        self.cache: TensorCache | None = None
        self._known: dict[bytes, Crops] = {}

    def __call__(self, image: Source) -> Crops:
        """Return an image's crops, with all rows that were computed before: a path, bytes or (H, W, 3) RGB."""
        crops = self.compute(image)
        key = hashlib.sha256(repr(crops.size).encode() + crops.pixels.tobytes()).digest()
        return self._known.setdefault(key, crops)

    def compute(self, image: Source) -> Crops:
        """Return an image's crops, of which none is computed."""
        return Crops(read_image(image), self, {})

    def is_cached(self, image: Source) -> bool:  # noqa: ARG002
        """Tell that there is always something to compute."""
        return False

    def length(self, levels: Sequence[int]) -> int:
        """Return how long the row of a region is."""
        lengths = zip(self.layers, shares(levels, len(self.layers)), strict=True)
        return sum(self.backbone.channels[layer] * bins(share) for layer, share in lengths)

    def describe(self) -> dict[str, Any]:
        """Return JSON that tells of the crops; a baseline is for measuring, and not read again from a file."""
        return {"kind": "crops", "side": self.side, "layers": list(self.layers)}

    @property
    def fingerprint(self) -> str:
        """Stands for the network, the layers and the size of the crops."""
        return fingerprint_of(self.backbone, self.describe())

    def split(self) -> tuple["CroppingEncoder", None]:
        """Return the encoder itself: there are no layers on top."""
        return self, None

    def tensors(self) -> dict[str, Tensor]:
        """Return nothing: an encoder learns nothing."""
        return {}

    def run(self, pixels: NDArray[np.uint8], regions: Boxes, levels: Sequence[int]) -> Tensor:
        """Warp regions (R, 4) of an image and run them through the network in one batch: (R, D) float16."""
        fill = round(float(np.mean(self.backbone.mean)))
        warped = [warp(pixels, *place, side=self.side, fill=fill) for place in self._places(pixels, regions)]
        inputs = torch.stack([to_tensor(each, mean=self.backbone.mean, std=self.backbone.std) for each in warped])
        with torch.inference_mode():
            maps = self.backbone.activations(inputs.contiguous(memory_format=torch.channels_last), self.layers)
            parts = [
                pool_image(maps[layer], levels=share).transpose(1, 2).flatten(1)
                for layer, share in zip(self.layers, shares(levels, len(self.layers)), strict=True)
            ]
            return torch.cat(parts, dim=1).half()

    def _places(self, pixels: NDArray[np.uint8], regions: Boxes) -> Iterator[tuple[Boxes, NDArray[np.int64]]]:
        size = (pixels.shape[0], pixels.shape[1])
        return zip(*warp_places(regions, size, side=self.side, context=CONTEXT), strict=True)


@dataclass(frozen=True)
class Side:
    """What one of the two ways does.

    Args:
        quality: mean average precision. seconds: an image, its regions encoded and scored, without proposals.
    """

    quality: float
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """Regions pooled from one map against regions run alone, on the same images, regions, network and labels.

    Args:
        pooled, alone: quality with ``compared`` regions an image at most, time for all of them.
        regions: all that are proposed, median an image. compared: of them, for the quality.
        timed: regions that were run alone to time them; their time was multiplied up to ``regions``.
        learnt, tested: images.
    """

    pooled: Side
    alone: Side
    regions: int
    compared: int
    timed: int
    learnt: int
    tested: int

    @property
    def times_faster(self) -> float:
        """How many times longer regions take that are run alone."""
        return self.alone.seconds / self.pooled.seconds

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison for JSON."""
        return asdict(self) | {"times_faster": self.times_faster}


def compare(
    detector: Detector,
    train: DetectionData,
    test: DetectionData,
    *,
    regions: int = 300,
    alone: int = 64,
    side: int = SIDE,
    progress: Progress = silent,
) -> Comparison:
    """Compare a detector with R-CNN's way to the same end.

    Args:
        detector: whose settings both use; it is not changed. Its encoder must be of one scale, without layers.
        train, test: few images: R-CNN takes minutes for some dozens.
        regions: an image for the quality, the same for both; time is told for all that the detector proposes.
        alone: regions of each of three test images that are timed alone.
        side: of a warped region, in pixels.
        progress: wraps each pass over the images.
    Raises:
        ArgumentError: a detector of several scales or with layers.
    """
    encoder, proposals = detector.prepare(train, progress=progress)
    plain = len(encoder.scales) == 1 and encoder.split()[1] is None
    advice = "Give one scale and no layers"
    check_that(plain, "compare", "detector", "of single maps", "several scales, or layers on top", advice=advice)
    few = Remembered(proposals, limit=regions)
    cropping = CroppingEncoder(encoder, side=side)
    quality = [
        Detector(**detector.get_params())
        .set_params(encoder=each, proposals=few)
        .fit(train, progress=progress)
        .evaluate(test, progress=progress)
        .mean
        for each in (encoder, cropping)  # in this order: what looks at maps looks at the encoder's
    ]
    samples = [test.samples[index] for index in np.linspace(0, len(test.samples) - 1, 3).round().astype(int)]
    weights = torch.zeros(5 * len(train.classes), encoder.length(detector.levels))
    rows = []
    for sample in samples:
        scene = Scene(sample.path, encoder)
        boxes = scene.maps.unique(proposals.regions(scene))
        both = [(encoder, boxes), (cropping, boxes[:: max(1, len(boxes) // alone)][:alone])]
        rows.append([len(boxes), *(_seconds(each, sample.path, part, detector.levels, weights) for each, part in both)])
    count, shared, each_alone = np.median(rows, axis=0).tolist()
    run = min(alone, int(count))
    sides = Side(quality[0], shared), Side(quality[1], each_alone * count / run)
    return Comparison(*sides, int(count), regions, run, len(train.samples), len(test.samples))


def _seconds(encoder: MapsEncoder, path: Path, regions: Boxes, levels: Sequence[int], weights: Tensor) -> float:
    bias = torch.zeros(len(weights))
    return timed(lambda: encoder.compute(path).score(regions, levels, weights, bias).cpu())


def few_images(train: DetectionData, test: DetectionData | None, count: int) -> tuple[DetectionData, DetectionData]:
    """Choose images for a comparison, evenly over the data.

    Args:
        train: to learn from. test: to test on; None takes every second image of ``train`` away for that.
        count: how many to learn from at most, and twice as many as to test on.
    """
    learnt = train if test is not None else replace(train, samples=train.samples[::2])
    tested = test if test is not None else replace(train, samples=train.samples[1::2])
    return _evenly(learnt, count), _evenly(tested, max(1, count // 2))


def _evenly(data: DetectionData, count: int) -> DetectionData:
    chosen = np.linspace(0, len(data.samples) - 1, min(count, len(data.samples))).round().astype(int)
    return replace(data, samples=tuple(data.samples[index] for index in chosen))
