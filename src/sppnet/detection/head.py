"""Pooled regions -> scores and better boxes: one linear SVM and one box regression a class (paper, Sec. 4.1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.features.maps import Maps
from sppnet.geometry import Boxes, apply_deltas
from sppnet.progress import stage


@dataclass(frozen=True)
class RegionHead:
    """What a detector has learnt: one linear SVM and one box regression a class, over pooled regions.

    Args:
        levels: bins per side of each level of the pyramid.
        weights: (K, D) float32. bias: (K,) float32, minus infinity for a class that had no positives.
        delta_weights: (K, 4, E) float32, E the length of what lies under further layers, D where there are none.
        delta_bias: (K, 4) float32.
    """

    levels: tuple[int, ...]
    weights: Tensor
    bias: Tensor
    delta_weights: Tensor
    delta_bias: Tensor

    def scores(self, feature_map: Maps, regions: Boxes) -> NDArray[np.float32]:
        """Score regions (R, 4) for all classes: (R, K) float32."""
        return _scored(feature_map, regions, self.levels, self.weights, self.bias)

    def refine(
        self, feature_map: Maps, regions: Boxes, label: int, *, rounds: int, damping: float = 1.0
    ) -> tuple[Boxes, NDArray[np.float32], Boxes]:
        """Move regions onto the object that they hold, and score them where they come to lie.

        The paper regresses once. A second round pools the moved region anew, which costs little, as few
        regions are left by now, and places boxes better.

        Args:
            regions: (R, 4). label: the class. rounds: how often to move, at least once.
            damping: how far after the first time, of what the regression says.
        Returns:
            (R, 4) boxes inside the image, (R,) scores, and the regions (R, 4) that these are the scores of: those
            from which the boxes were last moved.
        """
        scores, scored = np.zeros(len(regions), dtype=np.float32), regions
        for turn in range(rounds):
            scored = regions
            scores, deltas = self._answers(feature_map, regions, label)
            share = damping if turn else 1.0
            moved = apply_deltas(feature_map.align_to_cells(regions), share * deltas.astype(np.float64))
            regions = _inside(moved, feature_map.size)
        return regions, scores, scored

    def _answers(
        self, feature_map: Maps, regions: Boxes, label: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the scores (R,) of one class and the deltas (R, 4), in one pass where both have one feature."""
        weights, bias = self.weights[label, None], self.bias[label, None]
        placing, offsets = self.delta_weights[label], self.delta_bias[label]
        if feature_map.pooled_maps is feature_map:
            both = torch.cat([weights, placing]), torch.cat([bias, offsets])
            answers = _scored(feature_map, regions, self.levels, *both)
            return answers[:, 0], answers[:, 1:]
        scores = _scored(feature_map, regions, self.levels, weights, bias)
        return scores[:, 0], _scored(feature_map.pooled_maps, regions, self.levels, placing, offsets)


def _scored(maps: Maps, regions: Boxes, levels: Sequence[int], weights: Tensor, bias: Tensor) -> NDArray[np.float32]:
    """Score regions where the maps lie; only the scores (R, K) come back."""
    scores = maps.score(regions, levels, weights, bias)
    with stage("pooling and scores"):
        return scores.cpu().numpy()


def _inside(boxes: Boxes, size: tuple[int, int]) -> Boxes:
    """Clip boxes to the image and keep each at least a pixel wide and high."""
    height, width = size
    left, top = boxes[:, 0].clip(0, width - 1), boxes[:, 1].clip(0, height - 1)
    right = np.maximum(boxes[:, 2].clip(0, width), left + 1)
    return np.stack([left, top, right, np.maximum(boxes[:, 3].clip(0, height), top + 1)], axis=1)
