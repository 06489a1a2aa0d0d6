"""Fully connected layers between pooled regions and their scores: fc6 and fc7, as published or as learnt here.

They are most of what an image costs: 2,000 regions times 12,800 x 4,096 weights. Three things make them cheap,
each by name: regions of one window go through once, in bfloat16 where the processor has it, and each matrix can
be replaced by two thin ones (truncated SVD, as Girshick 2015 does in Fast R-CNN).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import torch
from torch import Tensor

from sppnet.backbones.protocol import Backbone
from sppnet.errors import ArgumentError, check_that, message
from sppnet.features.contributions import Contributions
from sppnet.features.encoder import MapsEncoder
from sppnet.features.maps import Maps, Rows, score_rows
from sppnet.geometry import Boxes
from sppnet.images import Source
from sppnet.progress import stage

CHUNK: Final = 512  # rows at a time, so that what the layers make of them is never held whole


@dataclass(frozen=True)
class FullyConnected:
    """One fully connected layer: ``rows @ weight.T + bias``, and zero instead of what is negative if it ``relu``.

    Args:
        weight: (O, I) float32 or bfloat16. bias: (O,) float32. relu: whether a ReLU follows.
    """

    weight: Tensor
    bias: Tensor
    relu: bool = True

    def __call__(self, rows: Tensor) -> Tensor:
        """(N, I) -> (N, O), of the weight's type."""
        out = torch.addmm(self.bias.to(self.weight.dtype), rows.to(self.weight.dtype), self.weight.T)
        return out.relu_() if self.relu else out


@dataclass(frozen=True)
class RegionLayers:
    """Layers that run one after the other on the rows of regions; the last one's output is a region's feature."""

    layers: tuple[FullyConnected, ...]
    _copies: dict[torch.device, tuple[FullyConnected, ...]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def __call__(self, rows: Tensor) -> Tensor:
        """(N, D) -> (N, O) float32, computed where the rows lie."""
        with stage("fully connected layers"), torch.no_grad():
            for layer in self._on(rows.device):
                rows = layer(rows)
            return rows.float()

    def __reduce__(self) -> tuple[Any, ...]:  # without the copies, which another machine may have no place for
        return RegionLayers, (self.layers,)

    def _on(self, device: torch.device) -> tuple[FullyConnected, ...]:
        """Return the layers on a device, copied there once."""
        if device not in self._copies:
            self._copies[device] = tuple(
                FullyConnected(layer.weight.to(device), layer.bias.to(device), layer.relu) for layer in self.layers
            )
        return self._copies[device]

    @property
    def length(self) -> int:
        """O, the length of what comes out."""
        return len(self.layers[-1].bias)

    def first(self, count: int) -> "RegionLayers":
        """Return the first ``count`` layers: of fc6 and fc7, 1 is fc6."""
        advice = f"Choose 1 to {len(self.layers)}"
        fits = 1 <= count <= len(self.layers)
        check_that(fits, "RegionLayers.first", "count", f"from 1 to {len(self.layers)}", count, advice=advice)
        return RegionLayers(self.layers[:count])

    def halved(self) -> "RegionLayers":
        """Return the layers in bfloat16: half the memory, and fast where the processor has it."""
        return RegionLayers(tuple(replace(layer, weight=layer.weight.bfloat16()) for layer in self.layers))

    def truncated(self, ranks: Sequence[int]) -> "RegionLayers":
        """Replace each weight by the product of two thin ones: the nearest of that rank (truncated SVD).

        Args:
            ranks: one a layer; a layer with both sides at most that is left as it is.
        Returns:
            Layers that compute about the same, of up to twice as many matrices.
        """
        advice = f"Give {len(self.layers)}, each at least 1"
        fits = len(ranks) == len(self.layers) and min(ranks, default=0) >= 1
        check_that(fits, "RegionLayers.truncated", "ranks", "one a layer, at least 1", list(ranks), advice=advice)
        return RegionLayers(
            tuple(part for layer, rank in zip(self.layers, ranks, strict=True) for part in _thin(layer, rank))
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return what ``from_tensors`` makes the same layers of: by name, for a model file."""
        named = {f"layer{index}.weight": layer.weight for index, layer in enumerate(self.layers)}
        named |= {f"layer{index}.bias": layer.bias for index, layer in enumerate(self.layers)}
        relu = torch.tensor([layer.relu for layer in self.layers])
        return named | {"layers.relu": relu}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "RegionLayers":
        """Make the layers again of what ``tensors`` named."""
        relu = tensors["layers.relu"].tolist()
        pairs = [(tensors[f"layer{index}.weight"], tensors[f"layer{index}.bias"]) for index in range(len(relu))]
        return cls(tuple(FullyConnected(*pair, relu) for pair, relu in zip(pairs, relu, strict=True)))


def _thin(layer: FullyConnected, rank: int) -> list[FullyConnected]:
    if rank >= min(layer.weight.shape):
        return [layer]
    weight = layer.weight.float()
    # The eigenvectors of the smaller matrix of products are the singular vectors, in a tenth of the time.
    tall = weight.shape[0] > weight.shape[1]
    _, vectors = torch.linalg.eigh(weight.T @ weight if tall else weight @ weight.T)
    best = vectors[:, -rank:].contiguous()
    inner, outer = (best.T, weight @ best) if tall else (best.T @ weight, best)
    kept = [part.contiguous().to(layer.weight.dtype) for part in (inner, outer)]
    return [FullyConnected(kept[0], layer.bias.new_zeros(rank), relu=False), replace(layer, weight=kept[1])]


@dataclass(frozen=True)
class LayeredMaps:
    """An image's maps with layers on top: a region's row is what the layers make of its pooled row.

    Args:
        maps: what is pooled. region_layers: run on the pooled rows.
    """

    maps: Maps
    region_layers: RegionLayers

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image in pixels."""
        return self.maps.size

    @property
    def pooled_maps(self) -> Maps:
        """The pooled maps: boxes are regressed from what lies under the layers, as in the paper."""
        return self.maps.pooled_maps

    def align_to_cells(self, regions: Boxes) -> Boxes:
        """Return each region (R, 4) as its pooled row stands for it."""
        return self.maps.align_to_cells(regions)

    def unique(self, regions: Boxes) -> Boxes:
        """Return one region (U, 4) for each set of regions that have one pooled row."""
        return self.maps.unique(regions)

    def pool(self, regions: Boxes, levels: Sequence[int]) -> Tensor:
        """Return one row a region, (R, O) float32."""
        chunks = [
            self.region_layers(self.maps.pool(regions[start : start + CHUNK], levels))
            for start in range(0, max(len(regions), 1), CHUNK)
        ]
        return torch.cat(chunks)

    def rows(self, regions: Boxes, levels: Sequence[int]) -> Rows:
        """Return the rows of regions (R, 4), those of one pooled row once."""
        chunks, which = self.maps.rows(regions, levels)
        return map(self.region_layers, chunks), which

    def score(self, regions: Boxes, levels: Sequence[int], weights: Tensor, bias: Tensor) -> Tensor:
        """Compute ``pool(regions, levels) @ weights.T + bias``, (R, K); regions of one pooled row run once."""
        return score_rows(*self.rows(regions, levels), weights, bias)

    def averages(self, regions: Boxes, levels: Sequence[int]) -> Tensor:
        """Return one row a region, (R, O) float32: what the layers make of averaged bins."""
        return self.region_layers(self.maps.averages(regions, levels))

    def score_averages(self, regions: Boxes, levels: Sequence[int], weights: Tensor) -> Tensor:
        """Compute ``averages(regions, levels) @ weights.T``, (R, K)."""
        return self.averages(regions, levels) @ weights.T

    def layout(self, levels: Sequence[int]) -> list[tuple[tuple[int, ...], int]]:  # noqa: ARG002
        """Return the one part of a row: what the layers make of it."""
        return [((1,), self.region_layers.length)]

    def explain(self, regions: Boxes, levels: Sequence[int], weights: Tensor, bias: Tensor) -> list[Contributions]:  # noqa: ARG002
        """Raise ArgumentError: layers mix the bins, and no bins add up to a score."""
        raise ArgumentError(
            message("explain", "maps", "pooled ones", "maps with layers on top", "Use a detector without layers")
        )


class LayeredEncoder:
    """Image -> maps with layers on top: what the network's own encoder gives, and the layers.

    Args:
        encoder: makes the maps, and caches them. region_layers: for what ``levels`` pool of them.
    """

    def __init__(self, encoder: MapsEncoder, region_layers: RegionLayers) -> None:
        self.encoder, self.region_layers, self.cache = encoder, region_layers, encoder.cache

    def __call__(self, image: Source) -> LayeredMaps:
        """Return the maps of an image: a path, a file's bytes, or (H, W, 3) uint8 RGB; raises as ``Encoder``."""
        return LayeredMaps(self.encoder(image), self.region_layers)

    def compute(self, image: Source) -> LayeredMaps:
        """Return the maps of an image without looking into the cache."""
        return LayeredMaps(self.encoder.compute(image), self.region_layers)

    def is_cached(self, image: Source) -> bool:
        """Tell whether none of the image's maps need be computed."""
        return self.encoder.is_cached(image)

    def length(self, levels: Sequence[int]) -> int:  # noqa: ARG002
        """Return how long the row of a region is."""
        return self.region_layers.length

    @property
    def backbone(self) -> Backbone:
        """The network."""
        return self.encoder.backbone

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the network's feature maps that are pooled, the finest first."""
        return self.encoder.layers

    @property
    def scales(self) -> tuple[int, ...]:
        """What images' shorter sides are scaled to, in pixels."""
        return self.encoder.scales

    @property
    def fingerprint(self) -> str:
        """Stands for what is pooled, whatever the layers."""
        return self.encoder.fingerprint

    def describe(self) -> dict[str, Any]:
        """Return JSON that tells of the encoder below; the weights are ``tensors``."""
        return {"kind": "layered", "below": self.encoder.describe()}

    def split(self) -> tuple[MapsEncoder, RegionLayers]:
        """Return the encoder below, and the layers."""
        return self.encoder, self.region_layers

    def tensors(self) -> dict[str, Tensor]:
        """Return the layers' weights."""
        return self.region_layers.tensors()
