"""Image -> feature map, computed once and kept: everything after it is pooling and linear algebra.

Maps are rounded to half precision as soon as they are computed, whether they are then cached or not, so that
a run with an empty cache and one with a full cache give the same bits.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.backbones import EfficientNetLite0
from sppnet.backbones.protocol import Backbone
from sppnet.errors import DataError, check_that
from sppnet.features.maps import FeatureMap, Maps
from sppnet.features.tiles import activations, padded_size
from sppnet.geometry import (
    WindowRule,
    shorter_side_size,
)
from sppnet.images import Content, Source, resize
from sppnet.ops import bins
from sppnet.progress import stage
from sppnet.storage import TensorCache, cache_key

if TYPE_CHECKING:
    from sppnet.features.layers import RegionLayers

# Raised whenever decoding, resizing, the network or the layout of an entry changes what a cached map holds.
CACHE_VERSION: Final = 3


class MapsEncoder(Protocol):
    """Image -> ``Maps``; describes itself, so that a saved detector encodes as it was trained."""

    cache: TensorCache | None

    @property
    def backbone(self) -> Backbone:
        """The network."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the network's feature maps that regions are pooled from, the finest first."""

    @property
    def scales(self) -> tuple[int, ...]:
        """What images' shorter sides are scaled to, in pixels."""

    @property
    def fingerprint(self) -> str:
        """Stands for what regions are pooled from, whatever layers stand on it: network, layers, scales, rule."""

    def __call__(self, image: Source) -> Maps:
        """Encode an image, or read from the cache what it was encoded into."""

    def compute(self, image: Source) -> Maps:
        """Encode an image without looking into the cache."""

    def is_cached(self, image: Source) -> bool:
        """Tell whether the image need not be run through the network."""

    def length(self, levels: Sequence[int]) -> int:
        """Return D, how long a region's row is."""

    def split(self) -> "tuple[MapsEncoder, RegionLayers | None]":
        """Return what encodes the maps that regions are pooled from, and the layers on top, if any."""

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``features.files`` makes the same encoder again: its "kind", and more."""

    def tensors(self) -> dict[str, Tensor]:
        """Return weights of its own beside the network's, for a model file."""


def fingerprint_of(backbone: Backbone, description: Mapping[str, Any]) -> str:
    """Return what stands for an encoder of no weights of its own: a digest of network and description."""
    return cache_key(backbone.fingerprint, json.dumps(description, sort_keys=True))


def check_finite(rows: NDArray[np.floating], backbone: Backbone) -> None:
    """Raise DataError for what was pooled from maps with numbers that half precision does not hold."""
    if not np.isfinite(rows).all():
        expected = f"below {np.finfo(np.float16).max:,.0f}, as half precision holds them"
        advice = "Give other weights, or name another network"
        raise DataError(f"{backbone.name}: the numbers in its maps must be {expected}, got others. {advice}.")


class Encoder:
    """Image -> feature map: reads, scales the shorter side, runs the backbone, keeps the map.

    Args:
        layer: the backbone's feature map to take, one of its ``channels``.
        short_side: the image's shorter side is scaled to this many pixels, whatever its aspect.
        cache: where maps are kept between runs, by the image's bytes; None keeps nothing.
        backbone: shared between encoders where given, loaded otherwise.
        multiple: the longer side is rounded to a multiple of this, see ``geometry.shorter_side_size``.
        rule: which cells a region's window has, see ``geometry.windows_from_regions``.
    """

    def __init__(
        self,
        layer: str,
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
        self.layer, self.short_side, self.multiple, self.cache, self.rule = layer, short_side, multiple, cache, rule
        self.backbone: Backbone = backbone or EfficientNetLite0()

    @property
    def fingerprint(self) -> str:
        """Stands for the network, the layer, the scale and the rule."""
        return fingerprint_of(self.backbone, self.describe())

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``features.files`` makes the same encoder again."""
        scale = {"short_side": self.short_side, "multiple": self.multiple, "rule": self.rule}
        return {"kind": "map", "layer": self.layer, **scale}

    def split(self) -> tuple["Encoder", None]:
        """Return the encoder itself: there are no layers on top."""
        return self, None

    def tensors(self) -> dict[str, Tensor]:
        """Return nothing: an encoder learns nothing."""
        return {}

    @property
    def scales(self) -> tuple[int, ...]:
        """The shorter side, as encoders of several have theirs."""
        return (self.short_side,)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layer, as encoders of several have theirs."""
        return (self.layer,)

    @property
    def channels(self) -> int:
        """How many channels the maps have; ArgumentError for a layer that the network does not have."""
        known = self.backbone.channels
        expected, advice = f"one of {', '.join(known)}", "Name one of these"
        check_that(self.layer in known, "Encoder", "layer", expected, repr(self.layer), advice=advice)
        return known[self.layer]

    def length(self, levels: Sequence[int]) -> int:
        """Return how long the row of a region is, pooled by the pyramid of these levels."""
        return self.channels * bins(levels)

    def __call__(self, image: Source | Content) -> FeatureMap:
        """Return the feature map of an image: a path, a file's bytes, or (H, W, 3) uint8 RGB.

        Raises:
            ImageDecodeError: an image that cannot be read, or is too large once scaled.
        """
        content = Content.of(image)
        cached = self.cached(content)
        return self.store(content, self.compute(content)) if cached is None else cached

    def cached(self, image: Source | Content) -> FeatureMap | None:
        """Return the image's map from the cache; None where it is not there."""
        entry = None if self.cache is None else self.cache.get(self.key(image))
        if entry is None:
            return None
        height, width = entry["size"].tolist()
        return self.make_map(entry["map"].to(self.backbone.device).permute(2, 0, 1), (height, width))

    def store(self, image: Source | Content, feature_map: FeatureMap) -> FeatureMap:
        """Put an image's map into the cache, if there is one, and return it."""
        if self.cache is not None:
            stored = feature_map.values.permute(1, 2, 0).contiguous()
            self.cache.put(self.key(image), {"map": stored, "size": torch.tensor(feature_map.size)})
        return feature_map

    def is_cached(self, image: Source | Content) -> bool:
        """Tell whether the image's map need not be computed."""
        return self.cache is not None and self.key(image) in self.cache

    def key(self, image: Source | Content, *parts: str) -> str:
        """Return what an image's map, or what ``parts`` make of it, is cached under: its content, not its name."""
        made = (CACHE_VERSION, self.backbone.fingerprint, self.layer, self.short_side, self.multiple)
        return cache_key(*made, *parts, Content.of(image).digest)

    def compute(self, image: Source | Content) -> FeatureMap:
        """Return the feature map of an image without looking into the cache."""
        return self.encode(*self.preprocess(image))

    def encode(self, pixels: NDArray[np.uint8], size: tuple[int, int]) -> FeatureMap:
        """Return the feature map of what ``preprocess`` made of an image."""
        return self.make_map(activations(self.backbone, pixels, [self.layer])[self.layer], size)

    def preprocess(self, image: Source | Content) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        """Return an image at the network's scale, (h, w, 3) uint8 RGB, and its own (height, width)."""
        with stage("reading"):
            pixels = Content.of(image).pixels()
        size = (pixels.shape[0], pixels.shape[1])
        with stage("scaling"):
            return resize(pixels, self._scaled(size)), size

    def _scaled(self, size: tuple[int, int]) -> tuple[int, int]:
        return shorter_side_size(size, self.short_side, multiple=self.multiple)

    def make_map(self, values: Tensor, size: tuple[int, int]) -> FeatureMap:
        """Make the feature map (C, H, W) that the network gave for an image of ``size`` (height, width)."""
        scaled = self._scaled(size)
        return FeatureMap(values, self.backbone.grid(self.layer, padded_size(scaled)), size, scaled, self.rule)
