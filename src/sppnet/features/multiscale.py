"""The maps of one image at several scales, which behave as one: each region from the scale that suits it (Sec. 4.1).

The paper scales an image's shorter side to 480, 576, 688, 864 and 1200 pixels, and takes each region from the
one scale at which it is nearest in size to the views that the network was trained on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.backbones.protocol import Backbone
from sppnet.errors import check_that
from sppnet.features.contributions import Contributions
from sppnet.features.encoder import Encoder, fingerprint_of
from sppnet.features.joined import JoinedEncoder, JoinedMaps
from sppnet.features.maps import FeatureMap, Rows, score_rows
from sppnet.geometry import VIEW_SIDE, Boxes, WindowRule, nearest_scale
from sppnet.images import Content, Source

PAPER_SCALE: Final = 688
PAPER_SCALES: Final = (480, 576, 688, 864, 1200)
RELEASED_SCALES: Final = (480, 576, 688, 874, 1200)  # as the authors' code has them


@dataclass(frozen=True)
class MultiscaleMaps:
    """An image's feature maps at several scales.

    Args:
        maps: one a scale.
        scales: the shorter side in pixels at each.
        rule: how a region's scale is chosen, see ``geometry.nearest_scale``.
        view_side: in pixels, of the views that the network was trained on.
    """

    maps: tuple[FeatureMap | JoinedMaps, ...]
    scales: tuple[int, ...]
    rule: WindowRule = "paper"
    view_side: float = VIEW_SIDE

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image in pixels."""
        return self.maps[0].size

    @property
    def pooled_maps(self) -> "MultiscaleMaps":
        """The maps themselves: boxes are regressed from pooled cells."""
        return self

    def chosen(self, regions: Boxes) -> NDArray[np.int64]:
        """Return for each region (R, 4) the index of the scale that it is taken from, (R,)."""
        return nearest_scale(regions, self.size, self.scales, rule=self.rule, view_side=self.view_side)

    def align_to_cells(self, regions: Boxes) -> Boxes:
        """Return each region (R, 4) as its window at its scale stands for it."""
        snapped = np.zeros_like(regions)
        for feature_map, among in self._by_scale(regions):
            snapped[among] = feature_map.align_to_cells(regions[among])
        return snapped

    def unique(self, regions: Boxes) -> Boxes:
        """Return one region (U, 4) for each window of each scale that regions (R, 4) fall on, scale by scale.

        It is one of the regions, not the window's middle, which could be nearer to another scale.
        """
        firsts = []
        for feature_map, among in self._by_scale(regions):
            _, first = np.unique(feature_map.windows(regions[among]), axis=0, return_index=True)
            firsts.append(among[np.sort(first)])
        kept: Boxes = regions[np.concatenate([np.zeros(0, dtype=np.int64), *firsts])]
        return kept

    def pool(self, regions: Boxes, levels: Sequence[int]) -> Tensor:
        """Pool every region of the image at its scale into one row: (R, B * C) float32, as ``FeatureMap.pool``."""
        parts = [(among, feature_map.pool(regions[among], levels)) for feature_map, among in self._by_scale(regions)]
        if not parts:
            return torch.zeros(0, self.maps[0].length(levels))
        order = np.argsort(np.concatenate([among for among, _ in parts]))
        return torch.cat([rows for _, rows in parts])[torch.from_numpy(order)]

    def rows(self, regions: Boxes, levels: Sequence[int]) -> Rows:
        """Pool the windows that regions (R, 4) fall on, each once, scale by scale."""
        which = np.zeros(len(regions), dtype=np.int64)
        chunks, known = [], 0
        for feature_map, among in self._by_scale(regions):
            rows, within = feature_map.rows(regions[among], levels)
            which[among] = known + within
            known += int(within.max()) + 1
            chunks.append(rows)
        return chain.from_iterable(chunks), which

    def score(self, regions: Boxes, levels: Sequence[int], weights: Tensor, bias: Tensor) -> Tensor:
        """Compute ``pool(regions, levels) @ weights.T + bias``, (R, K), without holding all the pooled rows."""
        return score_rows(*self.rows(regions, levels), weights, bias)

    def averages(self, regions: Boxes, levels: Sequence[int]) -> Tensor:
        """Average the bins of every region at its scale, (R, D) float32."""
        rows = torch.empty(len(regions), self.maps[0].length(levels))
        for feature_map, among in self._by_scale(regions):
            rows[torch.from_numpy(among)] = feature_map.averages(regions[among], levels)
        return rows

    def score_averages(self, regions: Boxes, levels: Sequence[int], weights: Tensor) -> Tensor:
        """Compute ``averages(regions, levels) @ weights.T``, (R, K), scale by scale."""
        scores = torch.empty(len(regions), len(weights))
        for feature_map, among in self._by_scale(regions):
            scores[torch.from_numpy(among)] = feature_map.score_averages(regions[among], levels, weights)
        return scores

    def layout(self, levels: Sequence[int]) -> list[tuple[tuple[int, ...], int]]:
        """Return the levels and the channels of a row, the same at all scales."""
        return self.maps[0].layout(levels)

    def explain(self, regions: Boxes, levels: Sequence[int], weights: Tensor, bias: Tensor) -> list[Contributions]:
        """Split the score of each region over the bins of its window at its scale."""
        explained: dict[int, Contributions] = {}
        for feature_map, among in self._by_scale(regions):
            split = feature_map.explain(regions[among], levels, weights[among], bias[among])
            explained |= dict(zip(among.tolist(), split, strict=True))
        return [explained[place] for place in range(len(regions))]

    def _by_scale(self, regions: Boxes) -> Iterator[tuple[FeatureMap | JoinedMaps, NDArray[np.int64]]]:
        """Yield each map that regions are taken from with the indices of those."""
        chosen = self.chosen(regions)
        for index, feature_map in enumerate(self.maps):
            among = np.flatnonzero(chosen == index)
            if len(among):
                yield feature_map, among


class MultiscaleEncoder:
    """Image -> its feature maps at several scales, each kept in the cache by content, weights and scale.

    Args:
        encoders: one a scale, of one network and layer.
        rule: how a region's scale is chosen, see ``geometry.nearest_scale``.
        view_side: in pixels, of the views that the network was trained on.
    """

    def __init__(
        self, encoders: Sequence[Encoder | JoinedEncoder], *, rule: WindowRule = "paper", view_side: float = VIEW_SIDE
    ) -> None:
        advice = "Give at least one, all of one network and layer"
        made = {(encoder.backbone.fingerprint, encoder.layers) for encoder in encoders}
        expected = "of one network and layer"
        check_that(len(made) == 1, "MultiscaleEncoder", "encoders", expected, f"{len(made)} different", advice=advice)
        self.encoders, self.rule, self.view_side = tuple(encoders), rule, view_side
        self.cache = encoders[0].cache

    @property
    def scales(self) -> tuple[int, ...]:
        """The shorter sides in pixels."""
        return tuple(encoder.short_side for encoder in self.encoders)

    def __call__(self, image: Source) -> MultiscaleMaps:
        """Return the maps of an image: a path, a file's bytes, or (H, W, 3) uint8 RGB; raises as ``Encoder``."""
        content = Content.of(image)
        return self._maps([encoder(content) for encoder in self.encoders])

    def compute(self, image: Source) -> MultiscaleMaps:
        """Return the maps of an image without looking into the cache."""
        content = Content.of(image)
        return self._maps([encoder.compute(content) for encoder in self.encoders])

    def is_cached(self, image: Source) -> bool:
        """Tell whether none of the image's maps need be computed."""
        content = Content.of(image)
        return all(encoder.is_cached(content) for encoder in self.encoders)

    def length(self, levels: Sequence[int]) -> int:
        """Return how long the row of a region is."""
        return self.encoders[0].length(levels)

    @property
    def backbone(self) -> Backbone:
        """The network."""
        return self.encoders[0].backbone

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the feature maps, the finest first."""
        return self.encoders[0].layers

    @property
    def fingerprint(self) -> str:
        """Stands for the network, the layers, the scales and the rule."""
        return fingerprint_of(self.backbone, self.describe())

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``features.files`` makes the same encoder again."""
        scales = [encoder.describe() for encoder in self.encoders]
        return {"kind": "multiscale", "scales": scales, "rule": self.rule, "view_side": self.view_side}

    def split(self) -> tuple["MultiscaleEncoder", None]:
        """Return the encoder itself: there are no layers on top."""
        return self, None

    def tensors(self) -> dict[str, Tensor]:
        """Return nothing: an encoder learns nothing."""
        return {}

    def _maps(self, maps: Sequence[FeatureMap | JoinedMaps]) -> MultiscaleMaps:
        return MultiscaleMaps(tuple(maps), self.scales, self.rule, self.view_side)
