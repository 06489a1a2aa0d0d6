"""Picture -> feature map, computed once and kept: everything after it is pooling and linear algebra.

Maps are rounded to half precision as soon as they are computed, whether they are then cached or not, so that
a run with an empty cache and one with a full cache give the same bits.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

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
    clip_boxes,
    distinct_windows,
    regions_of_windows,
    scale_boxes,
    shorter_side_size,
    windows_from_regions,
)
from sppnet.images import Source, read_bytes, read_image, resize, to_tensor
from sppnet.ops import Mode, bins, pool_chunks, pool_image, pool_windows
from sppnet.storage import TensorCache, cache_key

# Raised whenever decoding, resizing, the network or the layout of an entry changes what a cached map holds.
CACHE_VERSION: Final = 1


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
        return self._regions(self.windows(regions))

    def distinct(self, regions: Boxes) -> Boxes:
        """Return one region (U, 4) for each window that regions (R, 4) fall on, as ``snap`` has it, in one order."""
        return self._regions(distinct_windows(self.windows(regions))[0])

    def _regions(self, windows: NDArray[np.int64]) -> Boxes:
        down, across = self._factors
        return clip_boxes(scale_boxes(regions_of_windows(windows, self.grid), (1 / down, 1 / across)), self.size)

    def pool(self, regions: Boxes, levels: Sequence[int]) -> Tensor:
        """Pool every region of the picture into one row.

        Args:
            regions: (R, 4) boxes in the picture's pixels.
            levels: bins per side of each level of the pyramid.
        Returns:
            (R, B * C) float32, bin by bin and in it channel by channel.
        """
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
        windows, which = distinct_windows(self.windows(regions))
        pooled = pool_chunks(self.values.float(), torch.from_numpy(windows), levels=levels)
        parts = [torch.addmm(bias, rows.flatten(1), weights.T) for rows in pooled]
        return torch.cat([*parts, bias.new_zeros(0, len(bias))])[torch.from_numpy(which)]


class Encoder:
    """Picture -> feature map: reads, scales the shorter side, runs the backbone, keeps the map.

    Args:
        tap: the backbone's feature map to take, see ``EfficientNetLite0``.
        short_side: the picture's shorter side is scaled to this many pixels, whatever its aspect.
        cache: where maps are kept between runs, by the picture's bytes; None keeps nothing.
        backbone: shared between encoders where given, loaded otherwise.
        multiple: the longer side is rounded to a multiple of this, see ``geometry.shorter_side_size``.
    """

    def __init__(
        self,
        tap: str,
        short_side: int,
        *,
        cache: TensorCache | None = None,
        backbone: EfficientNetLite0 | None = None,
        multiple: int = 1,
    ) -> None:
        check_that(
            short_side >= 1,
            "Encoder",
            "short_side",
            "at least 1 pixel",
            short_side,
            advice="Give the shorter side",
        )
        self.tap, self.short_side, self.multiple, self.cache = tap, short_side, multiple, cache
        self.backbone = backbone or EfficientNetLite0()

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``from_description`` makes the same encoder again."""
        scale = {"short_side": self.short_side, "multiple": self.multiple}
        return {"backbone": self.backbone.fingerprint, "tap": self.tap, **scale}

    @classmethod
    def from_description(cls, description: Mapping[str, Any], *, cache: TensorCache | None = None) -> "Encoder":
        """Make the encoder that ``describe`` told of.

        Raises:
            CorruptFileError: it was described with other weights than those that are installed.
        """
        encoder = cls(description["tap"], description["short_side"], cache=cache, multiple=description["multiple"])
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

    def __call__(self, picture: Source) -> FeatureMap:
        """Return the feature map of a picture: a path, a file's bytes, or (H, W, 3) uint8 RGB.

        Raises:
            ImageDecodeError: a picture that cannot be read, or is too large once scaled.
        """
        if self.cache is None:
            return self.compute(picture)
        key = self.key(picture)
        entry = self.cache.get(key)
        if entry is not None:
            height, width = entry["size"].tolist()
            return self._placed(entry["map"].permute(2, 0, 1), (height, width))
        feature_map = self.compute(picture)
        stored = feature_map.values.permute(1, 2, 0).contiguous()
        self.cache.put(key, {"map": stored, "size": torch.tensor(feature_map.size)})
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
        pixels = read_image(picture)
        size = (pixels.shape[0], pixels.shape[1])
        scaled = resize(pixels, self._scaled(size))
        inputs = to_tensor(scaled, mean=self.backbone.mean, std=self.backbone.std)
        with torch.inference_mode():
            values = self.backbone(inputs[None], [self.tap])[self.tap][0].half()
        return self._placed(values, size)

    def _scaled(self, size: tuple[int, int]) -> tuple[int, int]:
        return shorter_side_size(size, self.short_side, multiple=self.multiple)

    def _placed(self, values: Tensor, size: tuple[int, int]) -> FeatureMap:
        scaled = self._scaled(size)
        return FeatureMap(values, self.backbone.grid(self.tap, scaled), size, scaled)


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
        vector = self._pooled(picture).float()
        return F.normalize(vector.sqrt(), dim=0) if self.normalised else vector

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
        values = self.encoder.compute(picture).values
        return pool_image(values, levels=self.levels, mode=self.mode).flatten().half()
