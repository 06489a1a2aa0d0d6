"""Picture -> feature map, computed once and kept: everything after it is pooling and linear algebra.

Maps are rounded to half precision as soon as they are computed, whether they are then cached or not, so that
a run with an empty cache and one with a full cache give the same bits.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sppnet.backbones import EfficientNetLite0
from sppnet.errors import CorruptFileError, check_that
from sppnet.geometry import (
    Boxes,
    CellGrid,
    WindowRule,
    clip_boxes,
    distinct_windows,
    regions_of_windows,
    scale_boxes,
    shorter_side_size,
    windows_from_regions,
)
from sppnet.images import Source, read_bytes, read_image, resize, to_tensor
from sppnet.ops import Mode, bins, pool_chunks, pool_image, pool_windows
from sppnet.progress import stage
from sppnet.storage import TensorCache, cache_key

# Raised whenever decoding, resizing, the network or the layout of an entry changes what a cached map holds.
CACHE_VERSION: Final = 1


class Backbone(Protocol):
    """A network as encoders use it: its maps by name, and where their cells lie."""

    @property
    def mean(self) -> float:
        """What is subtracted from pixels 0..255."""

    @property
    def std(self) -> float:
        """What they are then divided by."""

    @property
    def channels(self) -> Mapping[str, int]:
        """The taps: names of the maps that can be taken, and how many channels each has."""

    @property
    def fingerprint(self) -> str:
        """Stands for the weights: maps of other weights never meet in one cache."""

    def activations(self, pixels: Tensor, names: Iterable[str]) -> Mapping[str, Tensor]:
        """(N, 3, H, W) -> name -> (N, C, H', W'), non-negative."""

    def grid(self, layer: str, size: tuple[int, int]) -> CellGrid:
        """Return where the cells of a tap lie on pixels of ``size`` (height, width)."""


# Rows of length D in chunks, (N, D) float32 each and overwritten by the next, and (R,) which row each region has.
Rows = tuple[Iterator[Tensor], NDArray[np.int64]]


class Maps(Protocol):
    """What can be asked of a picture once it is encoded, whatever it was encoded into.

    One feature map; the maps of several scales; what further layers make of either; or, as R-CNN has it, every
    region run through the network alone. D, the length of a region's row, depends on ``levels``.
    """

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the picture in pixels."""

    @property
    def placing(self) -> "Maps":
        """What boxes are regressed from: the pooled maps, whatever layers stand on them (paper, Sec. 4.1)."""

    def snap(self, regions: Boxes) -> Boxes:
        """Return each region (R, 4) as its features stand for it: what they can tell of its place."""

    def distinct(self, regions: Boxes) -> Boxes:
        """Return one region (U, 4) for each set of regions (R, 4) that have one row, in one order."""

    def pool(self, regions: Boxes, levels: Sequence[int]) -> Tensor:
        """Return one row a region, (R, D) float32."""

    def rows(self, regions: Boxes, levels: Sequence[int]) -> Rows:
        """Return the rows of ``pool``, each that is the same for several regions once, and which one each has."""

    def score(self, regions: Boxes, levels: Sequence[int], weights: Tensor, bias: Tensor) -> Tensor:
        """Return ``pool(regions, levels) @ weights.T + bias``, (R, K) float32."""


class MapsEncoder(Protocol):
    """Picture -> ``Maps``; describes itself, so that a saved detector encodes as it was trained."""

    cache: TensorCache | None

    def __call__(self, picture: Source) -> Maps:
        """Encode a picture, or read from the cache what it was encoded into."""

    def compute(self, picture: Source) -> Maps:
        """Encode a picture without looking into the cache."""

    def is_cached(self, picture: Source) -> bool:
        """Tell whether the picture need not be run through the network."""

    def length(self, levels: Sequence[int]) -> int:
        """Return D, how long a region's row is."""

    def describe(self) -> dict[str, Any]:
        """Return JSON from which the same encoder can be made again."""


@dataclass(frozen=True)
class FeatureMap:
    """The feature map of one picture: computed once, asked for any region.

    Args:
        values: (C, H, W) float16, channels last in memory.
        grid: where the cells lie on the scaled picture.
        size: (height, width) of the picture in pixels.
        scaled: (height, width) of the picture as the network saw it.
        rule: which cells a region's window has, see ``geometry.windows_from_regions``.
    """

    values: Tensor
    grid: CellGrid
    size: tuple[int, int]
    scaled: tuple[int, int]
    rule: WindowRule = "paper"

    @property
    def placing(self) -> "FeatureMap":
        """The map itself: boxes are regressed from pooled cells."""
        return self

    def length(self, levels: Sequence[int]) -> int:
        """Return how long a region's row is."""
        return self.values.shape[0] * bins(levels)

    def windows(self, regions: Boxes) -> NDArray[np.int64]:
        """Map regions of the picture (R, 4) to windows of the map (R, 4), by its rule."""
        height, width = self.values.shape[1:]
        return windows_from_regions(scale_boxes(regions, self._factors), self.grid, (height, width), rule=self.rule)

    @property
    def _factors(self) -> tuple[float, float]:
        return self.scaled[0] / self.size[0], self.scaled[1] / self.size[1]

    def snap(self, regions: Boxes) -> Boxes:
        """Return each region (R, 4) as its window stands for it: what the features can tell of its place.

        Regions that fall on one window have one feature. Box regression measured from the window instead of
        from each of them is free of up to a cell of noise.
        """
        return self._regions(self.windows(regions))

    def distinct(self, regions: Boxes) -> Boxes:
        """Return one region (U, 4) for each window that regions (R, 4) fall on, as ``snap`` has it, in one order."""
        return self._regions(distinct_windows(self.windows(regions))[0])

    def _regions(self, windows: NDArray[np.int64]) -> Boxes:
        down, across = self._factors
        middle = regions_of_windows(windows, self.grid, rule=self.rule)
        return clip_boxes(scale_boxes(middle, (1 / down, 1 / across)), self.size)

    def pool(self, regions: Boxes, levels: Sequence[int]) -> Tensor:
        """Pool every region of the picture into one row.

        Args:
            regions: (R, 4) boxes in the picture's pixels.
            levels: bins per side of each level of the pyramid.
        Returns:
            (R, B * C) float32, bin by bin and in it channel by channel.
        """
        with stage("pooling and scores"):
            pooled = pool_windows(self.values.float(), torch.from_numpy(self.windows(regions)), levels=levels)
            return pooled.transpose(1, 2).flatten(1)

    def score(self, regions: Boxes, levels: Sequence[int], weights: Tensor, bias: Tensor) -> Tensor:
        """Compute ``pool(regions, levels) @ weights.T + bias`` without ever holding all the pooled rows.

        Regions that fall on the same window are pooled and scored once.

        Args:
            regions: (R, 4) boxes in the picture's pixels.
            levels: bins per side of each level of the pyramid.
            weights: (K, B * C) float32. bias: (K,) float32.
        Returns:
            (R, K) float32.
        """
        return score_rows(*self.rows(regions, levels), weights, bias)

    def rows(self, regions: Boxes, levels: Sequence[int]) -> Rows:
        """Pool the windows that regions (R, 4) fall on, each once, a chunk at a time into one buffer."""
        windows, which = distinct_windows(self.windows(regions))
        pooled = pool_chunks(self.values.float(), torch.from_numpy(windows), levels=levels)
        return (rows.flatten(1) for rows in pooled), which


def score_rows(chunks: Iterator[Tensor], which: NDArray[np.int64], weights: Tensor, bias: Tensor) -> Tensor:
    """Compute ``rows @ weights.T + bias`` of the rows of ``Maps.rows``, and return it region by region: (R, K)."""
    with stage("pooling and scores"):
        parts = [torch.addmm(bias, rows, weights.T) for rows in chunks]
        return torch.cat([*parts, bias.new_zeros(0, len(bias))])[torch.from_numpy(which)]


class Encoder:
    """Picture -> feature map: reads, scales the shorter side, runs the backbone, keeps the map.

    Args:
        tap: the backbone's feature map to take, see ``EfficientNetLite0``.
        short_side: the picture's shorter side is scaled to this many pixels, whatever its aspect.
        cache: where maps are kept between runs, by the picture's bytes; None keeps nothing.
        backbone: shared between encoders where given, loaded otherwise.
        multiple: the longer side is rounded to a multiple of this, see ``geometry.shorter_side_size``.
        rule: which cells a region's window has, see ``geometry.windows_from_regions``.
    """

    def __init__(
        self,
        tap: str,
        short_side: int,
        *,
        cache: TensorCache | None = None,
        backbone: Backbone | None = None,
        multiple: int = 1,
        rule: WindowRule = "paper",
    ) -> None:
        check_that(
            short_side >= 1,
            "Encoder",
            "short_side",
            "at least 1 pixel",
            short_side,
            advice="Give the shorter side",
        )
        self.tap, self.short_side, self.multiple, self.cache, self.rule = tap, short_side, multiple, cache, rule
        self.backbone: Backbone = backbone or EfficientNetLite0()

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``from_description`` makes the same encoder again."""
        scale = {"short_side": self.short_side, "multiple": self.multiple, "rule": self.rule}
        return {"backbone": self.backbone.fingerprint, "tap": self.tap, **scale}

    @classmethod
    def from_description(
        cls, description: Mapping[str, Any], *, cache: TensorCache | None = None, backbone: Backbone | None = None
    ) -> "Encoder":
        """Make the encoder that ``describe`` told of; of the network that it is given, otherwise the default one.

        Raises:
            CorruptFileError: it was described with other weights than those that are installed.
        """
        options = {"multiple": description["multiple"], "rule": description.get("rule", "paper")}
        encoder = cls(description["tap"], description["short_side"], cache=cache, backbone=backbone, **options)
        if encoder.backbone.fingerprint != description["backbone"]:
            raise CorruptFileError(
                f"the model was trained on weights {description['backbone'][:12]}, installed are "
                f"{encoder.backbone.fingerprint[:12]}. Install the version of sppnet that trained it."
            )
        return encoder

    @property
    def taps(self) -> tuple[str, ...]:
        """The tap, as encoders of several have theirs."""
        return (self.tap,)

    @property
    def channels(self) -> int:
        """How many channels the maps have."""
        return self.backbone.channels[self.tap]

    def length(self, levels: Sequence[int]) -> int:
        """Return how long the row of a region is, pooled by the pyramid of these levels."""
        return self.channels * bins(levels)

    def __call__(self, picture: Source) -> FeatureMap:
        """Return the feature map of a picture: a path, a file's bytes, or (H, W, 3) uint8 RGB.

        Raises:
            ImageDecodeError: a picture that cannot be read, or is too large once scaled.
        """
        cached = self.cached(picture)
        return self.kept(picture, self.compute(picture)) if cached is None else cached

    def cached(self, picture: Source) -> FeatureMap | None:
        """Return the picture's map from the cache; None where it is not there."""
        entry = None if self.cache is None else self.cache.get(self.key(picture))
        if entry is None:
            return None
        height, width = entry["size"].tolist()
        return self.placed(entry["map"].permute(2, 0, 1), (height, width))

    def kept(self, picture: Source, feature_map: FeatureMap) -> FeatureMap:
        """Put a picture's map into the cache, if there is one, and return it."""
        if self.cache is not None:
            stored = feature_map.values.permute(1, 2, 0).contiguous()
            self.cache.put(self.key(picture), {"map": stored, "size": torch.tensor(feature_map.size)})
        return feature_map

    def is_cached(self, picture: Source) -> bool:
        """Tell whether the picture's map need not be computed."""
        return self.cache is not None and self.key(picture) in self.cache

    def key(self, picture: Source, *parts: str) -> str:
        """Return what a picture's map, or what ``parts`` make of it, is cached under: its content, not its name."""
        shape = ""
        if isinstance(picture, np.ndarray):
            shape, content = str(picture.shape), np.ascontiguousarray(picture).tobytes()
        else:
            content = picture if isinstance(picture, bytes) else read_bytes(picture)
        digest = hashlib.sha256(content).digest()
        made = (CACHE_VERSION, self.backbone.fingerprint, self.tap, self.short_side, self.multiple)
        return cache_key(*made, *parts, shape, digest)

    def compute(self, picture: Source) -> FeatureMap:
        """Return the feature map of a picture without looking into the cache."""
        inputs, size = self.seen(picture)
        with stage("network"), torch.inference_mode():
            values = self.backbone.activations(inputs[None], [self.tap])[self.tap][0].half()
        return self.placed(values, size)

    def seen(self, picture: Source) -> tuple[Tensor, tuple[int, int]]:
        """Return a picture as the network sees it, (3, h, w) float32, and its own (height, width)."""
        with stage("reading"):
            pixels = read_image(picture)
        size = (pixels.shape[0], pixels.shape[1])
        with stage("scaling"):
            scaled = resize(pixels, self._scaled(size))
            return to_tensor(scaled, mean=self.backbone.mean, std=self.backbone.std), size

    def _scaled(self, size: tuple[int, int]) -> tuple[int, int]:
        return shorter_side_size(size, self.short_side, multiple=self.multiple)

    def placed(self, values: Tensor, size: tuple[int, int]) -> FeatureMap:
        """Make the feature map (C, H, W) that the network gave for a picture of ``size`` (height, width)."""
        scaled = self._scaled(size)
        return FeatureMap(values, self.backbone.grid(self.tap, scaled), size, scaled, self.rule)


class PictureEncoder:
    """Picture -> one vector of fixed length: the pyramid over its whole feature map; keeps the vector.

    Args:
        encoder: computes the feature maps; its cache keeps the vectors, and no maps.
        levels: bins per side of each level of the pyramid.
        mode: "max" or "average" of each bin.
        normalised: take square roots and scale every vector to length 1, as linear SVMs like it. The paper scales
            only (Sec. 3.2); the roots keep a few strong bins from outweighing all others.
    """

    def __init__(self, encoder: Encoder, levels: Sequence[int], *, mode: Mode = "max", normalised: bool = True) -> None:
        self.encoder, self.levels, self.mode, self.normalised = encoder, tuple(levels), mode, normalised

    def __call__(self, picture: Source) -> Tensor:
        """Return the vector (C * B,) float32 of a picture: a path, a file's bytes, or (H, W, 3) uint8 RGB.

        Raises:
            ImageDecodeError: a picture that cannot be read, or is too large once scaled.
        """
        return self._scaled(self._pooled(picture))

    def _scaled(self, vector: Tensor) -> Tensor:
        return F.normalize(vector.float().sqrt(), dim=0) if self.normalised else vector.float()

    def of_map(self, feature_map: FeatureMap) -> Tensor:
        """Return the vector (C * B,) float32 of a picture whose feature map is there already: the same bits."""
        return self._scaled(self._of_map(feature_map))

    def _of_map(self, feature_map: FeatureMap) -> Tensor:
        return pool_image(feature_map.values, levels=self.levels, mode=self.mode).flatten().half()

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``from_description`` makes the same encoder again."""
        own = {"levels": list(self.levels), "mode": self.mode, "normalised": self.normalised}
        return self.encoder.describe() | own

    @classmethod
    def from_description(cls, description: Mapping[str, Any], *, cache: TensorCache | None = None) -> "PictureEncoder":
        """Make the encoder that ``describe`` told of; raises as ``Encoder.from_description`` does."""
        encoder = Encoder.from_description(description, cache=cache)
        normalised = bool(description["normalised"])
        return cls(encoder, description["levels"], mode=description["mode"], normalised=normalised)

    def __len__(self) -> int:
        """Return how long the vectors are."""
        return self.encoder.channels * bins(self.levels)

    def is_cached(self, picture: Source) -> bool:
        """Tell whether the picture's vector need not be computed."""
        return self.encoder.cache is not None and self._key(picture) in self.encoder.cache

    def _key(self, picture: Source) -> str:
        return self.encoder.key(picture, "pooled", self.mode, str(self.levels))

    def _pooled(self, picture: Source) -> Tensor:
        cache = self.encoder.cache
        if cache is None:
            return self.compute(picture)
        key = self._key(picture)
        entry = cache.get(key)
        if entry is None:
            entry = {"vector": self.compute(picture)}
            cache.put(key, entry)
        return entry["vector"]

    def compute(self, picture: Source) -> Tensor:
        """Pool to (C * B,) float16, which is exact for the maximum of a map in half precision; no cache, no scaling."""
        return self._of_map(self.encoder.compute(picture))
