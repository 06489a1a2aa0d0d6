"""Feature maps of several depths of one network, side by side: fine cells tell place, coarse ones tell kind.

Not in the paper, which pools conv5 alone. The network runs once; a region's row is its rows of all maps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.backbones.protocol import Backbone
from sppnet.errors import check_that
from sppnet.features.contributions import Contributions, join_contributions
from sppnet.features.encoder import Encoder, fingerprint_of
from sppnet.features.maps import FeatureMap, Rows
from sppnet.features.tiles import activations
from sppnet.geometry import Boxes, WindowRule, unique_windows
from sppnet.images import Content, Source
from sppnet.ops.planning import moved
from sppnet.storage import TensorCache

CHUNK: Final = 512  # rows at a time


@dataclass(frozen=True)
class JoinedMaps:
    """The feature maps of one image at several depths, the finest first, which behave as one.

    All but the last are pooled by all levels of the pyramid and give place; the last, the deepest, by the last level
    alone: it adds what the region shows as a whole, and finer bins of it add length, no accuracy.

    Args:
        maps: of one image.
    """

    maps: tuple[FeatureMap, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image in pixels."""
        return self.maps[0].size

    @property
    def pooled_maps(self) -> "JoinedMaps":
        """The maps themselves: boxes are regressed from pooled cells."""
        return self

    def length(self, levels: Sequence[int]) -> int:
        """Return how long a region's row is."""
        return sum(feature_map.length(share) for feature_map, share in self.parts(levels))

    def windows(self, regions: Boxes) -> NDArray[np.int64]:
        """Map regions of the image (R, 4) to windows of the finest map (R, 4)."""
        return self.maps[0].windows(regions)

    def align_to_cells(self, regions: Boxes) -> Boxes:
        """Return each region (R, 4) as its window of the finest map stands for it."""
        return self.maps[0].align_to_cells(regions)

    def unique(self, regions: Boxes) -> Boxes:
        """Return one region (U, 4) for each window of the finest map that regions (R, 4) fall on."""
        return self.maps[0].unique(regions)

    def pool(self, regions: Boxes, levels: Sequence[int]) -> Tensor:
        """Pool every region into one row, (R, D) float32: its row of the first map, then of the second, ..."""
        rows = [feature_map.pool(regions, share) for feature_map, share in self.parts(levels)]
        return torch.cat(rows, dim=1)

    def rows(self, regions: Boxes, levels: Sequence[int]) -> Rows:
        """Pool regions (R, 4) that differ in a window of some map, each once."""
        windows = [unique_windows(feature_map.windows(regions))[1] for feature_map in self.maps]
        _, first, which = np.unique(np.stack(windows, axis=1), axis=0, return_index=True, return_inverse=True)
        chosen = regions[first]
        chunks = (self.pool(chosen[start : start + CHUNK], levels) for start in range(0, len(chosen), CHUNK))
        return chunks, which.reshape(-1)

    def score(self, regions: Boxes, levels: Sequence[int], weights: Tensor, bias: Tensor) -> Tensor:
        """Compute ``pool(regions, levels) @ weights.T + bias``, (R, K), map by map: each has its own duplicates."""
        bias = moved(bias, self.maps[0].values.device)
        scores = bias.expand(len(regions), -1)
        none, start = torch.zeros_like(bias), 0
        for feature_map, share in self.parts(levels):
            end = start + feature_map.length(share)
            scores = scores + feature_map.score(regions, share, weights[:, start:end], none)
            start = end
        return scores

    def averages(self, regions: Boxes, levels: Sequence[int]) -> Tensor:
        """Average the bins of every region, (R, D) float32, map by map."""
        return torch.cat([feature_map.averages(regions, share) for feature_map, share in self.parts(levels)], dim=1)

    def score_averages(self, regions: Boxes, levels: Sequence[int], weights: Tensor) -> Tensor:
        """Compute ``averages(regions, levels) @ weights.T``, (R, K), map by map."""
        scores, start = torch.zeros(len(regions), len(weights)), 0
        for feature_map, share in self.parts(levels):
            end = start + feature_map.length(share)
            scores += feature_map.score_averages(regions, share, weights[:, start:end])
            start = end
        return scores

    def layout(self, levels: Sequence[int]) -> list[tuple[tuple[int, ...], int]]:
        """Return the levels and the channels of each map's part of a row."""
        return [part for feature_map, share in self.parts(levels) for part in feature_map.layout(share)]

    def explain(self, regions: Boxes, levels: Sequence[int], weights: Tensor, bias: Tensor) -> list[Contributions]:
        """Split the score of each region over the bins of all maps."""
        split, start = [], 0
        for feature_map, share in self.parts(levels):
            end = start + feature_map.length(share)
            split.append(feature_map.explain(regions, share, weights[:, start:end], bias))
            start = end
        return [join_contributions(of_region) for of_region in zip(*split, strict=True)]

    def parts(self, levels: Sequence[int]) -> Iterator[tuple[FeatureMap, Sequence[int]]]:
        """Yield each map with the levels that it is pooled by, in the order of a row."""
        return zip(self.maps, shares(levels, len(self.maps)), strict=True)


def shares(levels: Sequence[int], count: int) -> list[Sequence[int]]:
    """Return the levels that each of ``count`` maps is pooled by, the finest map first.

    >>> shares((3, 2, 1), 3), shares((3, 2, 1), 1)
    ([(3, 2, 1), (3, 2, 1), (1,)], [(3, 2, 1)])
    """
    return [levels] if count == 1 else [*[levels] * (count - 1), levels[-1:]]


class JoinedEncoder:
    """Image -> its feature maps at several depths, computed in one pass, each kept in the cache as ``Encoder`` does.

    Args:
        layers: names of the backbone's feature maps, the finest first.
        short_side: the image's shorter side is scaled to this many pixels.
        cache: where maps are kept between runs; None keeps nothing.
        backbone: shared between encoders where given, loaded otherwise.
        rule: which cells a region's window has, see ``geometry.windows_from_regions``.
    """

    def __init__(
        self,
        layers: Sequence[str],
        short_side: int,
        *,
        cache: TensorCache | None = None,
        backbone: Backbone | None = None,
        rule: WindowRule = "paper",
    ) -> None:
        enough = len(layers) > 0 and len(set(layers)) == len(layers)
        check_that(enough, "JoinedEncoder", "layers", "different names", list(layers), advice="Name each layer once")
        first = Encoder(layers[0], short_side, cache=cache, backbone=backbone, rule=rule)
        rest = [Encoder(layer, short_side, cache=cache, backbone=first.backbone, rule=rule) for layer in layers[1:]]
        self.encoders, self.cache = (first, *rest), cache

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the feature maps, the finest first."""
        return tuple(encoder.layer for encoder in self.encoders)

    @property
    def scales(self) -> tuple[int, ...]:
        """The shorter side, as encoders of several have theirs."""
        return (self.short_side,)

    @property
    def short_side(self) -> int:
        """What images' shorter sides are scaled to, in pixels."""
        return self.encoders[0].short_side

    @property
    def backbone(self) -> Backbone:
        """The network."""
        return self.encoders[0].backbone

    def __call__(self, image: Source | Content) -> JoinedMaps:
        """Return the maps of an image: a path, a file's bytes, or (H, W, 3) uint8 RGB; raises as ``Encoder``."""
        content = Content.of(image)
        cached = [encoder.cached(content) for encoder in self.encoders]
        maps = tuple(feature_map for feature_map in cached if feature_map is not None)
        if len(maps) == len(self.encoders):
            return JoinedMaps(maps)
        computed = self.compute(content)
        for encoder, feature_map in zip(self.encoders, computed.maps, strict=True):
            encoder.store(content, feature_map)
        return computed

    def compute(self, image: Source | Content) -> JoinedMaps:
        """Return the maps of an image without looking into the cache."""
        pixels, size = self.encoders[0].preprocess(image)
        values = activations(self.backbone, pixels, self.layers)
        return JoinedMaps(tuple(encoder.make_map(values[encoder.layer], size) for encoder in self.encoders))

    def is_cached(self, image: Source | Content) -> bool:
        """Tell whether none of the image's maps need be computed."""
        content = Content.of(image)
        return all(encoder.is_cached(content) for encoder in self.encoders)

    def length(self, levels: Sequence[int]) -> int:
        """Return how long the row of a region is."""
        lengths = zip(self.encoders, shares(levels, len(self.encoders)), strict=True)
        return sum(encoder.length(share) for encoder, share in lengths)

    @property
    def fingerprint(self) -> str:
        """Stands for the network, the layers, the scale and the rule."""
        return fingerprint_of(self.backbone, self.describe())

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``features.files`` makes the same encoder again."""
        rule = self.encoders[0].rule
        return {"kind": "joined", "layers": list(self.layers), "short_side": self.short_side, "rule": rule}

    def split(self) -> tuple["JoinedEncoder", None]:
        """Return the encoder itself: there are no layers on top."""
        return self, None

    def tensors(self) -> dict[str, Tensor]:
        """Return nothing: an encoder learns nothing."""
        return {}
