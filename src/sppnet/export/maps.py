"""The maps of an image as a graph, and what is asked of them: rows of regions, scores, what windows stand for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sppnet.export.graph import Value
from sppnet.export.pooling import averaged_scores, pooled_windows, window_scores
from sppnet.export.regions import MapCells, first_of_each_window, regions_of, unique_windows, windows_of
from sppnet.features.joined import shares
from sppnet.geometry import WindowRule
from sppnet.ops import bins


class GraphMaps(Protocol):
    """What can be asked of the maps of an image: ``features.maps.Maps``; regions are (R, 4) float64."""

    def unique(self, regions: Value) -> Value:
        """Return one region (U, 4) for each row."""

    def align(self, regions: Value) -> Value:
        """Return each region (R, 4) as its window stands for it."""

    def pool(self, regions: Value, levels: Sequence[int]) -> Value:
        """(R, 4) -> (R, D), a row for each region."""

    def score(
        self, regions: Value, levels: Sequence[int], weights: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> Value:
        """(R, 4) -> (R, K), each window pooled once."""

    def score_averages(
        self, regions: Value, levels: Sequence[int], weights: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> Value:
        """(R, 4) -> (R, K), of averaged bins."""


@dataclass(frozen=True)
class JoinedGraphMaps:
    """The maps of an image at one scale, the finest first, which behave as one: ``FeatureMap`` or ``JoinedMaps``."""

    places: tuple[MapCells, ...]
    channels: tuple[int, ...]

    def unique(self, regions: Value) -> Value:
        """Return one region (U, 4) for each window."""
        return regions_of(unique_windows(windows_of(regions, self.places[0]))[0], self.places[0])

    def align(self, regions: Value) -> Value:
        """Return each region (R, 4) as its window stands for it."""
        return regions_of(windows_of(regions, self.places[0]), self.places[0])

    def pool(self, regions: Value, levels: Sequence[int]) -> Value:
        """(R, 4) -> (R, D), a row for each region."""
        parts = zip(self.places, shares(levels, len(self.places)), strict=True)
        pooled = [pooled_windows(at.table(share), windows_of(regions, at), share) for at, share in parts]
        return regions.graph.join(*pooled, axis=1)

    def score(
        self, regions: Value, levels: Sequence[int], weights: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> Value:
        """(R, 4) -> (R, K), each window pooled once."""
        total = regions.graph.constant(bias)
        for place, share, part in self._parts(levels, weights):
            windows, which = unique_windows(windows_of(regions, place))
            total = total + window_scores(place.table(share), windows, share, part).take(which)
        return total

    def score_averages(
        self, regions: Value, levels: Sequence[int], weights: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> Value:
        """(R, 4) -> (R, K), of averaged bins."""
        total = regions.graph.constant(np.zeros_like(bias))
        for place, share, part in self._parts(levels, weights):
            total = total + averaged_scores(regions.graph, place.cells, windows_of(regions, place), share, part)
        return total + bias

    def _parts(
        self, levels: Sequence[int], weights: NDArray[np.float32]
    ) -> Iterator[tuple[MapCells, Sequence[int], NDArray[np.float32]]]:
        """Yield each map with its levels and its columns of the weights (K, D)."""
        start = 0
        for place, share, channels in zip(self.places, shares(levels, len(self.places)), self.channels, strict=True):
            end = start + bins(share) * channels
            yield place, share, weights[:, start:end]
            start = end


@dataclass(frozen=True)
class MultiscaleGraphMaps:
    """The maps of an image at several scales, each region from the one that suits it: ``features.multiscale``.

    Args:
        maps: one a scale. scales: shorter sides in pixels. size: (2,) float64, (height, width) of the image.
        rule, view_side: how a region's scale is chosen, see ``geometry.nearest_scale``.
    """

    maps: tuple[JoinedGraphMaps, ...]
    scales: tuple[int, ...]
    size: Value
    rule: WindowRule
    view_side: float

    def unique(self, regions: Value) -> Value:
        """Return the first region (U, 4) of each window of each scale, scale by scale."""
        firsts = [
            mine.take(first_of_each_window(windows_of(mine, maps.places[0]))) for maps, _, mine in self._parts(regions)
        ]
        return regions.graph.join(*firsts)

    def align(self, regions: Value) -> Value:
        """Return each region (R, 4) as its window at its scale stands for it."""
        return self._each(regions, lambda maps, mine: maps.align(mine))

    def pool(self, regions: Value, levels: Sequence[int]) -> Value:
        """(R, 4) -> (R, D), a row for each region."""
        return self._each(regions, lambda maps, mine: maps.pool(mine, levels))

    def score(
        self, regions: Value, levels: Sequence[int], weights: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> Value:
        """(R, 4) -> (R, K), each window pooled once."""
        return self._each(regions, lambda maps, mine: maps.score(mine, levels, weights, bias))

    def score_averages(
        self, regions: Value, levels: Sequence[int], weights: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> Value:
        """(R, 4) -> (R, K), of averaged bins."""
        return self._each(regions, lambda maps, mine: maps.score_averages(mine, levels, weights, bias))

    def _each(self, regions: Value, ask: Callable[[JoinedGraphMaps, Value], Value]) -> Value:
        """Ask each scale about its regions, and return the answers in the order of all of them."""
        graph, parts = regions.graph, list(self._parts(regions))
        order = graph.join(*(among for _, among, _ in parts))
        answers = graph.join(*(ask(maps, mine) for maps, _, mine in parts))
        return answers.take(graph.op("ScatterElements", order, order, graph.range(order.shape(0)), axis=0))

    def _parts(self, regions: Value) -> Iterator[tuple[JoinedGraphMaps, Value, Value]]:
        """Yield each scale's maps with the places of its regions (N,) and these (N, 4)."""
        chosen = self._chosen(regions)
        for number, maps in enumerate(self.maps):
            among = regions.graph.op("NonZero", chosen.equals(number)).reshape(-1)
            yield maps, among, regions.take(among)

    def _chosen(self, regions: Value) -> Value:
        """(R, 4) -> (R,) int64, the scale of each: ``geometry.nearest_scale``."""
        graph, shorter = regions.graph, self.size.over("ReduceMin", 0)
        area = (regions.part(2, 4, 1) - regions.part(0, 2, 1)).over("ReduceProd", 1, keep=True)
        sides = graph.constant(np.array(self.scales, dtype=np.float64))
        if self.rule == "paper":
            factor = sides / shorter
            apart = area * (factor * factor) - self.view_side**2
        else:
            apart = sides - graph.op("Floor", shorter * self.view_side / graph.op("Sqrt", area) + 0.5)
        return graph.op("ArgMin", graph.op("Abs", apart), dtype=np.int64, axis=1, keepdims=0)
