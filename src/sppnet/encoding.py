"""Picture -> feature map, computed once and kept: everything after it is pooling and linear algebra.

Maps are rounded to half precision as soon as they are computed, whether they are then cached or not, so that
a run with an empty cache and one with a full cache give the same bits.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.backbones import EfficientNetLite0
from sppnet.errors import CorruptFileError, check_that
from sppnet.geometry import (
    CellGrid,
    clip_boxes,
    regions_of_windows,
    scale_boxes,
    shorter_side_size,
    windows_from_regions,
)
from sppnet.images import read_bytes, read_image, resize, to_tensor
from sppnet.ops import pool_windows
from sppnet.storage import TensorCache, cache_key

Boxes = NDArray[np.float64]
Picture = Path | str | bytes | NDArray[np.uint8]

# Raised whenever decoding, resizing, the network or the layout of an entry changes what a cached map holds.
CACHE_VERSION: Final = 1
# Windows pooled at a time: their features (13 kB each with 240 channels and 14 bins) stay in the processor's cache.
CHUNK: Final = 512


@dataclass(frozen=True)
class FeatureMap:
    """The feature map of one picture: computed once, asked for any region.

    Args:
        values: (C, H, W) float16, channels last in memory.
        grid: where the cells lie on the scaled picture.
        size: (height, width) of the picture in pixels.
        scaled: (height, width) of the picture as the network saw it.
    """

    values: Tensor
    grid: CellGrid
    size: tuple[int, int]
    scaled: tuple[int, int]

    def windows(self, regions: Boxes) -> NDArray[np.int64]:
        """Map regions of the picture (R, 4) to windows of the map (R, 4), by the paper's rule (Appendix A)."""
        height, width = self.values.shape[1:]
        return windows_from_regions(scale_boxes(regions, self._factors), self.grid, (height, width))

    @property
    def _factors(self) -> tuple[float, float]:
        return self.scaled[0] / self.size[0], self.scaled[1] / self.size[1]

    def snap(self, regions: Boxes) -> Boxes:
        """Return each region (R, 4) as its window stands for it: what the features can tell of its place.

        Regions that fall on one window have one feature. Box regression measured from the window instead of
        from each of them is free of up to a cell of noise.
        """
        down, across = self._factors
        snapped = regions_of_windows(self.windows(regions), self.grid)
        return clip_boxes(scale_boxes(snapped, (1 / down, 1 / across)), self.size)

    def pool(self, regions: Boxes, levels: Sequence[int]) -> Tensor:
        """Pool every region of the picture into one row.

        Args:
            regions: (R, 4) boxes in the picture's pixels.
            levels: bins per side of each level of the pyramid.
        Returns:
            (R, B * C) float32, bin by bin and in it channel by channel.
        """
        return _rows(self.values.float(), torch.from_numpy(self.windows(regions)), levels)

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
        windows, which = np.unique(self.windows(regions), axis=0, return_inverse=True)
        values, bins = self.values.float(), torch.from_numpy(windows)
        parts = [torch.addmm(bias, _rows(values, part, levels), weights.T) for part in bins.split(CHUNK)]
        return torch.cat([*parts, bias.new_zeros(0, len(bias))])[torch.from_numpy(which.reshape(-1))]


def _rows(values: Tensor, windows: Tensor, levels: Sequence[int]) -> Tensor:
    return pool_windows(values, windows, levels=levels).transpose(1, 2).flatten(1)


class Encoder:
    """Picture -> feature map: reads, scales the shorter side, runs the backbone, keeps the map.

    Args:
        tap: the backbone's feature map to take, see ``EfficientNetLite0``.
        short_side: the picture's shorter side is scaled to this many pixels, whatever its aspect.
        cache: where maps are kept between runs, by the picture's bytes; None keeps nothing.
        backbone: shared between encoders where given, loaded otherwise.
    """

    def __init__(
        self,
        tap: str,
        short_side: int,
        *,
        cache: TensorCache | None = None,
        backbone: EfficientNetLite0 | None = None,
    ) -> None:
        check_that(
            short_side >= 1,
            "Encoder",
            "short_side",
            "at least 1 pixel",
            short_side,
            advice="Give the shorter side",
        )
        self.tap, self.short_side, self.cache = tap, short_side, cache
        self.backbone = backbone or EfficientNetLite0()

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``from_description`` makes the same encoder again."""
        return {"backbone": self.backbone.fingerprint, "tap": self.tap, "short_side": self.short_side}

    @classmethod
    def from_description(
        cls, description: Mapping[str, Any], *, cache: TensorCache | None = None
    ) -> "Encoder":
        """Make the encoder that ``describe`` told of.

        Raises:
            CorruptFileError: it was described with other weights than those that are installed.
        """
        encoder = cls(description["tap"], description["short_side"], cache=cache)
        if encoder.backbone.fingerprint != description["backbone"]:
            raise CorruptFileError(
                f"the model was trained on weights {description['backbone'][:12]}, installed are "
                f"{encoder.backbone.fingerprint[:12]}. Install the version of sppnet that trained it."
            )
        return encoder

    @property
    def channels(self) -> int:
        """How many channels the maps have."""
        return self.backbone.channels[self.tap]

    def __call__(self, picture: Picture) -> FeatureMap:
        """Return the feature map of a picture: a path, a file's bytes, or (H, W, 3) uint8 RGB.

        Raises:
            ImageDecodeError: a picture that cannot be read, or is too large once scaled.
        """
        if self.cache is None:
            return self._compute(read_image(picture))
        key = self._key(picture)
        entry = self.cache.get(key)
        if entry is not None:
            return self._restored(entry)
        feature_map = self._compute(read_image(picture))
        stored = feature_map.values.permute(1, 2, 0).contiguous()
        self.cache.put(key, {"map": stored, "size": torch.tensor(feature_map.size)})
        return feature_map

    def _key(self, picture: Picture) -> str:
        if isinstance(picture, np.ndarray):
            content = [repr(picture.shape), np.ascontiguousarray(picture).tobytes()]
        else:
            content = [picture if isinstance(picture, bytes) else read_bytes(picture)]
        digests = [
            hashlib.sha256(part.encode() if isinstance(part, str) else part).digest() for part in content
        ]
        return cache_key(CACHE_VERSION, self.backbone.fingerprint, self.tap, self.short_side, *digests)

    def _restored(self, entry: Mapping[str, Tensor]) -> FeatureMap:
        height, width = entry["size"].tolist()
        return self._placed(entry["map"].permute(2, 0, 1), (height, width))

    def _placed(self, values: Tensor, size: tuple[int, int]) -> FeatureMap:
        scaled = shorter_side_size(size, self.short_side)
        return FeatureMap(values, self.backbone.grid(self.tap, scaled), size, scaled)

    def _compute(self, picture: NDArray[np.uint8]) -> FeatureMap:
        size = (picture.shape[0], picture.shape[1])
        scaled = resize(picture, shorter_side_size(size, self.short_side))
        pixels = to_tensor(scaled, mean=self.backbone.mean, std=self.backbone.std)
        with torch.inference_mode():
            values = self.backbone(pixels[None], [self.tap])[self.tap][0].half()
        return self._placed(values, size)
