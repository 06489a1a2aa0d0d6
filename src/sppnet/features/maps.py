"""Feature maps, and what can be asked of them: rows of pooled regions, scores, windows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.features.contributions import Contributions, window_contributions
from sppnet.features.sums import weighed_means, window_means
from sppnet.geometry import (
    Boxes,
    CellGrid,
    WindowRule,
    regions_of_windows,
    scale_boxes,
    unique_windows,
    windows_from_regions,
)
from sppnet.images import MAX_WHOLE_PIXELS
from sppnet.ops import bins, pool_chunks, pool_windows
from sppnet.ops.planning import moved
from sppnet.progress import stage

CHUNK: Final = 4096  # windows at a time on a device: of 14 bins and 240 channels 55 MB

# Rows of length D in chunks, (N, D) float32 each and overwritten by the next, and (R,) which row each region has.
Rows = tuple[Iterator[Tensor], NDArray[np.int64]]


class Maps(Protocol):
    """What can be asked of an image once it is encoded, whatever it was encoded into.

    One feature map; the maps of several scales; what further layers make of either; or, as R-CNN has it, every
    region run through the network alone. D, the length of a region's row, depends on ``levels``.
    """

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image in pixels."""

    @property
    def pooled_maps(self) -> "Maps":
        """What boxes are regressed from: the pooled maps, whatever layers stand on them (paper, Sec. 4.1)."""

    def align_to_cells(self, regions: Boxes) -> Boxes:
        """Return each region (R, 4) as its features stand for it: what they can tell of its place."""

    def unique(self, regions: Boxes) -> Boxes:
        """Return one region (U, 4) for each set of regions (R, 4) that have one row, in one order."""

    def pool(self, regions: Boxes, levels: Sequence[int]) -> Tensor:
        """Return one row a region, (R, D) float32, where the maps lie."""

    def rows(self, regions: Boxes, levels: Sequence[int]) -> Rows:
        """Return the rows of ``pool``, each that is the same for several regions once, and which one each has."""

    def score(self, regions: Boxes, levels: Sequence[int], weights: Tensor, bias: Tensor) -> Tensor:
        """Return ``pool(regions, levels) @ weights.T + bias``, (R, K) float32, where the maps lie."""

    def averages(self, regions: Boxes, levels: Sequence[int]) -> Tensor:
        """Return rows as ``pool`` does, (R, D) float32, of the means of the bins instead of their maxima."""

    def score_averages(self, regions: Boxes, levels: Sequence[int], weights: Tensor) -> Tensor:
        """Return ``averages(regions, levels) @ weights.T``, (R, K) float32, at a hundredth of the price of maxima."""

    def layout(self, levels: Sequence[int]) -> list[tuple[tuple[int, ...], int]]:
        """Return what a row is made of, in its order: levels and channels of each map; layers are one bin."""

    def explain(self, regions: Boxes, levels: Sequence[int], weights: Tensor, bias: Tensor) -> list[Contributions]:
        """Tell which bins of which window made each score.

        Args:
            regions: (R, 4) boxes in the image's pixels.
            weights: (R, D), the row of weights that scored each region. bias: (R,) of each.
        Returns:
            One for each region. Of several maps the window is the finest one's, and the bins of all follow each other.
        Raises:
            ArgumentError: maps with layers on top, or crops: no bins of one window add up to their scores.
        """


@dataclass(frozen=True)
class FeatureMap:
    """The feature map of one image: computed once, asked for any region.

    Args:
        values: (C, H, W) float16, channels last in memory.
        grid: where the cells lie on the scaled image.
        size: (height, width) of the image in pixels.
        scaled: (height, width) of the image as the network saw it.
        rule: which cells a region's window has, see ``geometry.windows_from_regions``.
    """

    values: Tensor
    grid: CellGrid
    size: tuple[int, int]
    scaled: tuple[int, int]
    rule: WindowRule = "paper"

    @cached_property
    def cells(self) -> Tensor:
        """The values (C, H, W) as float32, made once for all that is asked; in tiles they would take a gigabyte."""
        height, width = self.scaled
        return self.values if height * width > MAX_WHOLE_PIXELS else self.values.float()

    @property
    def pooled_maps(self) -> "FeatureMap":
        """The map itself: boxes are regressed from pooled cells."""
        return self

    def length(self, levels: Sequence[int]) -> int:
        """Return how long a region's row is."""
        return self.values.shape[0] * bins(levels)

    def windows(self, regions: Boxes) -> NDArray[np.int64]:
        """Map regions of the image (R, 4) to windows of the map (R, 4), by its rule."""
        height, width = self.values.shape[1:]
        scaled = scale_boxes(regions, self.size, self.scaled)
        return windows_from_regions(scaled, self.grid, (height, width), rule=self.rule)

    def align_to_cells(self, regions: Boxes) -> Boxes:
        """Return each region (R, 4) as its window stands for it: what the features can tell of its place.

        Regions that fall on one window have one feature. Box regression measured from the window instead of
        from each of them is free of up to a cell of noise.
        """
        return self._regions(self.windows(regions))

    def unique(self, regions: Boxes) -> Boxes:
        """Return one region (U, 4) for each window that regions (R, 4) fall on, in one order."""
        return self._regions(unique_windows(self.windows(regions))[0])

    def _regions(self, windows: NDArray[np.int64]) -> Boxes:
        return scale_boxes(regions_of_windows(windows, self.grid, self.scaled, rule=self.rule), self.scaled, self.size)

    def pool(self, regions: Boxes, levels: Sequence[int]) -> Tensor:
        """Pool every region of the image into one row.

        Args:
            regions: (R, 4) boxes in the image's pixels.
            levels: bins per side of each level of the pyramid.
        Returns:
            (R, B * C) float32 where the map lies, bin by bin and in it channel by channel.
        """
        with stage("pooling and scores"):
            pooled = pool_windows(self.cells, torch.from_numpy(self.windows(regions)), levels=levels)
            return pooled.transpose(1, 2).flatten(1).float()

    def score(self, regions: Boxes, levels: Sequence[int], weights: Tensor, bias: Tensor) -> Tensor:
        """Compute ``pool(regions, levels) @ weights.T + bias`` without ever holding all the pooled rows.

        Regions that fall on the same window are pooled and scored once.

        Args:
            regions: (R, 4) boxes in the image's pixels.
            levels: bins per side of each level of the pyramid.
            weights: (K, B * C) float32. bias: (K,) float32.
        Returns:
            (R, K) float32, where the map lies.
        """
        return score_rows(*self.rows(regions, levels), weights, moved(bias, self.values.device))

    def averages(self, regions: Boxes, levels: Sequence[int]) -> Tensor:
        """Average the bins of regions (R, 4) by sums over the map: (R, B * C) float32, bin by bin."""
        return window_means(self._summed, self.windows(regions), levels).flatten(1)

    def score_averages(self, regions: Boxes, levels: Sequence[int], weights: Tensor) -> Tensor:
        """Compute ``averages(regions, levels) @ weights.T`` (R, K): the map is weighed first, then summed."""
        return weighed_means(self._summed, self.windows(regions), levels, weights)

    @property
    def _summed(self) -> Tensor:
        """The cells (H, W, C) where sums in float64 can be made: Apple's devices have none."""
        cells = self.cells if self.values.device.type == "cuda" else self.cells.cpu()
        return cells.permute(1, 2, 0)

    def layout(self, levels: Sequence[int]) -> list[tuple[tuple[int, ...], int]]:
        """Return the levels and the channels of a row."""
        return [(tuple(levels), self.values.shape[0])]

    def explain(self, regions: Boxes, levels: Sequence[int], weights: Tensor, bias: Tensor) -> list[Contributions]:
        """Split the score of each region's window over its bins."""
        return window_contributions(self, regions, levels, weights, bias)

    def rows(self, regions: Boxes, levels: Sequence[int]) -> Rows:
        """Pool the windows that regions (R, 4) fall on, each once, a chunk at a time into one buffer."""
        windows, which = unique_windows(self.windows(regions))
        if self.values.device.type == "cpu":
            pooled = pool_chunks(self.cells, torch.from_numpy(windows), levels=levels)
        else:
            pooled = device_chunks(self.cells, torch.from_numpy(windows), levels)
        return (rows.flatten(1).float() for rows in pooled), which


def score_rows(chunks: Iterator[Tensor], which: NDArray[np.int64], weights: Tensor, bias: Tensor) -> Tensor:
    """Compute ``rows @ weights.T + bias`` of the rows of ``Maps.rows``, and return it region by region: (R, K).

    What comes of it lies where the rows do, and may not be computed yet there.
    """
    with stage("pooling and scores"):
        parts = []
        for rows in chunks:
            bias, weights = moved(bias, rows.device), moved(weights, rows.device)
            parts.append(torch.addmm(bias, rows, weights.T))
        scores = torch.cat(parts) if parts else bias.new_zeros(0, len(bias))
        return scores[moved(torch.from_numpy(which), scores.device)]


def device_chunks(features: Tensor, windows: Tensor, levels: Sequence[int], *, size: int = CHUNK) -> Iterator[Tensor]:
    """Pool windows (R, 4) of a map (C, H, W) on its own device, a chunk at a time: (size, B, C) each."""
    for start in range(0, len(windows), size):
        yield pool_windows(features, windows[start : start + size], levels=levels).transpose(1, 2)
