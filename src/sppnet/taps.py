"""Feature maps of several depths of one network, side by side: fine cells tell place, coarse ones tell kind.

Not in the paper, which pools conv5 alone. The network runs once; a region's row is its rows of all maps.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.encoding import Backbone, Encoder, FeatureMap, Rows
from sppnet.errors import check_that
from sppnet.geometry import Boxes, WindowRule, distinct_windows
from sppnet.images import Source
from sppnet.progress import stage
from sppnet.storage import TensorCache

CHUNK: Final = 512  # rows at a time


@dataclass(frozen=True)
class JoinedMaps:
    """The feature maps of one picture at several depths, the finest first, which behave as one.

    The first map is pooled by all levels of the pyramid and gives place; the others by the last level alone: what
    they add is what lies around, and finer bins of them add length, no accuracy.

    Args:
        maps: of one picture.
    """

    maps: tuple[FeatureMap, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the picture in pixels."""
        return self.maps[0].size

    @property
    def placing(self) -> "JoinedMaps":
        """The maps themselves: boxes are regressed from pooled cells."""
        return self

    def length(self, levels: Sequence[int]) -> int:
        """Return how long a region's row is."""
        return sum(feature_map.length(share) for feature_map, share in self.parts(levels))

    def windows(self, regions: Boxes) -> NDArray[np.int64]:
        """Map regions of the picture (R, 4) to windows of the finest map (R, 4)."""
        return self.maps[0].windows(regions)

    def snap(self, regions: Boxes) -> Boxes:
        """Return each region (R, 4) as its window of the finest map stands for it."""
        return self.maps[0].snap(regions)

    def distinct(self, regions: Boxes) -> Boxes:
        """Return one region (U, 4) for each window of the finest map that regions (R, 4) fall on."""
        return self.maps[0].distinct(regions)

    def pool(self, regions: Boxes, levels: Sequence[int]) -> Tensor:
        """Pool every region into one row, (R, D) float32: its row of the first map, then of the second, ..."""
        rows = [feature_map.pool(regions, share) for feature_map, share in self.parts(levels)]
        return torch.cat(rows, dim=1)

    def rows(self, regions: Boxes, levels: Sequence[int]) -> Rows:
        """Pool regions (R, 4) that differ in a window of some map, each once."""
        windows = [distinct_windows(feature_map.windows(regions))[1] for feature_map in self.maps]
        _, first, which = np.unique(np.stack(windows, axis=1), axis=0, return_index=True, return_inverse=True)
        chosen = regions[first]
        chunks = (self.pool(chosen[start : start + CHUNK], levels) for start in range(0, len(chosen), CHUNK))
        return chunks, which.reshape(-1)

    def score(self, regions: Boxes, levels: Sequence[int], weights: Tensor, bias: Tensor) -> Tensor:
        """Compute ``pool(regions, levels) @ weights.T + bias``, (R, K), map by map: each has its own duplicates."""
        scores = bias.expand(len(regions), -1)
        none, start = torch.zeros_like(bias), 0
        for feature_map, share in self.parts(levels):
            end = start + feature_map.length(share)
            scores = scores + feature_map.score(regions, share, weights[:, start:end], none)
            start = end
        return scores

    def parts(self, levels: Sequence[int]) -> Iterator[tuple[FeatureMap, Sequence[int]]]:
        """Yield each map with the levels that it is pooled by, in the order of a row."""
        return zip(self.maps, shares(levels, len(self.maps)), strict=True)


def shares(levels: Sequence[int], count: int) -> list[Sequence[int]]:
    """Return the levels that each of ``count`` maps is pooled by, the finest map first.

    >>> shares((3, 2, 1), 2)
    [(3, 2, 1), (1,)]
    """
    return [levels, *[levels[-1:]] * (count - 1)]


class JoinedEncoder:
    """Picture -> its feature maps at several depths, computed in one pass, each kept in the cache as ``Encoder`` does.

    Args:
        taps: names of the backbone's feature maps, the finest first.
        short_side: the picture's shorter side is scaled to this many pixels.
        cache: where maps are kept between runs; None keeps nothing.
        backbone: shared between encoders where given, loaded otherwise.
        rule: which cells a region's window has, see ``geometry.windows_from_regions``.
    """

    def __init__(
        self,
        taps: Sequence[str],
        short_side: int,
        *,
        cache: TensorCache | None = None,
        backbone: Backbone | None = None,
        rule: WindowRule = "paper",
    ) -> None:
        enough = len(taps) > 0 and len(set(taps)) == len(taps)
        check_that(enough, "JoinedEncoder", "taps", "different names", list(taps), advice="Name each tap once")
        first = Encoder(taps[0], short_side, cache=cache, backbone=backbone, rule=rule)
        rest = [Encoder(tap, short_side, cache=cache, backbone=first.backbone, rule=rule) for tap in taps[1:]]
        self.encoders, self.cache = (first, *rest), cache

    @property
    def taps(self) -> tuple[str, ...]:
        """Names of the feature maps, the finest first."""
        return tuple(encoder.tap for encoder in self.encoders)

    @property
    def short_side(self) -> int:
        """What pictures' shorter sides are scaled to, in pixels."""
        return self.encoders[0].short_side

    @property
    def backbone(self) -> Backbone:
        """The network."""
        return self.encoders[0].backbone

    def __call__(self, picture: Source) -> JoinedMaps:
        """Return the maps of a picture: a path, a file's bytes, or (H, W, 3) uint8 RGB; raises as ``Encoder``."""
        cached = [encoder.cached(picture) for encoder in self.encoders]
        maps = tuple(feature_map for feature_map in cached if feature_map is not None)
        if len(maps) == len(self.encoders):
            return JoinedMaps(maps)
        computed = self.compute(picture)
        for encoder, feature_map in zip(self.encoders, computed.maps, strict=True):
            encoder.kept(picture, feature_map)
        return computed

    def compute(self, picture: Source) -> JoinedMaps:
        """Return the maps of a picture without looking into the cache."""
        first = self.encoders[0]
        inputs, size = first.seen(picture)
        with stage("network"), torch.inference_mode():
            values = first.backbone.activations(inputs[None], [encoder.tap for encoder in self.encoders])
        return JoinedMaps(tuple(encoder.placed(values[encoder.tap][0].half(), size) for encoder in self.encoders))

    def is_cached(self, picture: Source) -> bool:
        """Tell whether none of the picture's maps need be computed."""
        return all(encoder.is_cached(picture) for encoder in self.encoders)

    def length(self, levels: Sequence[int]) -> int:
        """Return how long the row of a region is."""
        lengths = zip(self.encoders, shares(levels, len(self.encoders)), strict=True)
        return sum(encoder.length(share) for encoder, share in lengths)

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``from_description`` makes the same encoder again."""
        return {"taps": [encoder.describe() for encoder in self.encoders]}

    @classmethod
    def from_description(
        cls, description: Mapping[str, Any], *, cache: TensorCache | None = None, backbone: Backbone | None = None
    ) -> "JoinedEncoder":
        """Make the encoder that ``describe`` told of, as ``Encoder.from_description`` does."""
        encoders = [Encoder.from_description(tap, cache=cache, backbone=backbone) for tap in description["taps"]]
        first = encoders[0]
        taps = [encoder.tap for encoder in encoders]
        return cls(taps, first.short_side, cache=cache, backbone=first.backbone, rule=first.rule)
