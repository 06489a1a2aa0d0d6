"""Image -> one vector of fixed length: the pyramid over its whole feature map."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sppnet.backbones.kinds import backbone_from_description, describe_backbone
from sppnet.features.encoder import Encoder
from sppnet.features.maps import FeatureMap
from sppnet.images import Content, Source, mirror
from sppnet.ops import Mode, bins, pool_image
from sppnet.storage import TensorCache

Seen = tuple[NDArray[np.uint8], tuple[int, int]]  # an image at the network's scale, and its own (height, width)


class ImageEncoder:
    """Image -> one vector of fixed length: the pyramid over its whole feature map; keeps the vector.

    Args:
        encoder: computes the feature maps; its cache keeps the vectors, and no maps.
        levels: bins per side of each level of the pyramid.
        mode: "max" or "average" of each bin.
        normalised: take square roots and scale every vector to length 1, as linear SVMs like it. The paper scales
            only (Sec. 3.2); the roots keep a few strong bins from outweighing all others.
        mirrored: see the mirror image too, and take the mean of both vectors: what is linear in it, as a score is,
            is the mean of both as well.
    """

    def __init__(
        self,
        encoder: Encoder,
        levels: Sequence[int],
        *,
        mode: Mode = "max",
        normalised: bool = True,
        mirrored: bool = False,
    ) -> None:
        self.encoder, self.levels, self.mode, self.normalised = encoder, tuple(levels), mode, normalised
        self.mirrored = mirrored

    def __call__(self, image: Source) -> Tensor:
        """Return the vector (C * B,) float32 of an image: a path, a file's bytes, or (H, W, 3) uint8 RGB.

        Raises:
            ImageDecodeError: an image that cannot be read, or is too large once scaled.
        """
        content = Content.of(image)
        seen = cache(lambda: self.encoder.preprocess(content))  # once for both views, never where both are kept
        return sum_of(self._shares([self._kept(content, view, seen) for view in self._views]))

    def compute(self, image: Source) -> Tensor:
        """Return the vector as a call does, without looking into the cache."""
        return sum_of(self.shares(self.maps(image)))

    @property
    def _views(self) -> tuple[bool, ...]:
        """Whether each view is the mirror image."""
        return (False, True) if self.mirrored else (False,)

    def maps(self, image: Source) -> list[FeatureMap]:
        """Return the feature map of the image, and of its mirror image if that is seen too; no cache."""
        seen = self.encoder.preprocess(image)
        return [self._map(view, *seen) for view in self._views]

    def shares(self, maps: Sequence[FeatureMap]) -> list[Tensor]:
        """Return what each of an image's ``maps`` adds to its vector, (C * B,) float32: ``sum_of`` has its bits."""
        return self._shares([self._pooled(each) for each in maps])

    def _shares(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        return [self._scaled(vector) / len(vectors) for vector in vectors]

    def _scaled(self, vector: Tensor) -> Tensor:
        values = vector.float()
        return F.normalize(values.sign() * values.abs().sqrt(), dim=0) if self.normalised else values

    def _map(self, mirrored: bool, pixels: NDArray[np.uint8], size: tuple[int, int]) -> FeatureMap:
        return self.encoder.encode(mirror(pixels) if mirrored else pixels, size)

    def _pooled(self, feature_map: FeatureMap) -> Tensor:
        """Pool to (C * B,) float16, which is exact for the maximum of a map in half precision."""
        return pool_image(feature_map.values, levels=self.levels, mode=self.mode).flatten().half().cpu()

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``from_description`` makes the same encoder again."""
        own = {"levels": list(self.levels), "mode": self.mode, "normalised": self.normalised, "mirrored": self.mirrored}
        return own | {"backbone": describe_backbone(self.encoder.backbone)[0], "map": self.encoder.describe()}

    def tensors(self) -> dict[str, Tensor]:
        """Return the network's own weights, for a model file; none where a package brings them."""
        return describe_backbone(self.encoder.backbone)[1]

    @classmethod
    def from_description(
        cls, description: Mapping[str, Any], tensors: Mapping[str, Tensor], *, cache: TensorCache | None = None
    ) -> "ImageEncoder":
        """Make the encoder that ``describe`` told of; ``tensors`` are those of the whole file.

        Raises:
            CorruptFileError: it was described with other weights than those that are installed.
        """
        told, backbone = description["map"], backbone_from_description(description["backbone"], tensors)
        options = {"multiple": told["multiple"], "rule": told["rule"]}
        encoder = Encoder(told["layer"], told["short_side"], cache=cache, backbone=backbone, **options)
        own = {name: bool(description[name]) for name in ("normalised", "mirrored")}
        return cls(encoder, description["levels"], mode=description["mode"], **own)

    def __len__(self) -> int:
        """Return how long the vectors are."""
        return self.encoder.channels * bins(self.levels)

    def is_cached(self, image: Source) -> bool:
        """Tell whether the image's vector need not be computed."""
        kept, content = self.encoder.cache, Content.of(image)
        return kept is not None and all(self._key(content, view) in kept for view in self._views)

    def _key(self, image: Content, mirrored: bool) -> str:
        pooled = ("pooled", self.mode, str(self.levels))
        return self.encoder.key(image, *pooled, *(["mirrored"] if mirrored else []))

    def _kept(self, image: Content, mirrored: bool, seen: Callable[[], Seen]) -> Tensor:
        """Return what a view is pooled to, from the cache, or of the pixels, which are ``seen`` only then."""
        kept = self.encoder.cache
        if kept is None:
            return self._pooled(self._map(mirrored, *seen()))
        key = self._key(image, mirrored)
        entry = kept.get(key)
        if entry is None:
            entry = {"vector": self._pooled(self._map(mirrored, *seen()))}
            kept.put(key, entry)
        return entry["vector"]


def sum_of(shares: Sequence[Tensor]) -> Tensor:
    """Return an image's vector, of what each of its views adds to it."""
    return torch.stack(list(shares)).sum(dim=0)
