"""Image -> one vector of fixed length: the pyramid over its whole feature map."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from sppnet.backbones.kinds import backbone_from_description, describe_backbone
from sppnet.features.encoder import Encoder
from sppnet.features.maps import FeatureMap
from sppnet.images import Source
from sppnet.ops import Mode, bins, pool_image
from sppnet.storage import TensorCache


class ImageEncoder:
    """Image -> one vector of fixed length: the pyramid over its whole feature map; keeps the vector.

    Args:
        encoder: computes the feature maps; its cache keeps the vectors, and no maps.
        levels: bins per side of each level of the pyramid.
        mode: "max" or "average" of each bin.
        normalised: take square roots and scale every vector to length 1, as linear SVMs like it. The paper scales
            only (Sec. 3.2); the roots keep a few strong bins from outweighing all others.
    """

    def __init__(self, encoder: Encoder, levels: Sequence[int], *, mode: Mode = "max", normalised: bool = True) -> None:
        self.encoder, self.levels, self.mode, self.normalised = encoder, tuple(levels), mode, normalised

    def __call__(self, image: Source) -> Tensor:
        """Return the vector (C * B,) float32 of an image: a path, a file's bytes, or (H, W, 3) uint8 RGB.

        Raises:
            ImageDecodeError: an image that cannot be read, or is too large once scaled.
        """
        return self._scaled(self._pooled(image))

    def _scaled(self, vector: Tensor) -> Tensor:
        values = vector.float()
        return F.normalize(values.sign() * values.abs().sqrt(), dim=0) if self.normalised else values

    def of_map(self, feature_map: FeatureMap) -> Tensor:
        """Return the vector (C * B,) float32 of an image whose feature map is there already: the same bits."""
        return self._scaled(self._of_map(feature_map))

    def _of_map(self, feature_map: FeatureMap) -> Tensor:
        return pool_image(feature_map.values, levels=self.levels, mode=self.mode).flatten().half().cpu()

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``from_description`` makes the same encoder again."""
        own = {"levels": list(self.levels), "mode": self.mode, "normalised": self.normalised}
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
        normalised = bool(description["normalised"])
        return cls(encoder, description["levels"], mode=description["mode"], normalised=normalised)

    def __len__(self) -> int:
        """Return how long the vectors are."""
        return self.encoder.channels * bins(self.levels)

    def is_cached(self, image: Source) -> bool:
        """Tell whether the image's vector need not be computed."""
        return self.encoder.cache is not None and self._key(image) in self.encoder.cache

    def _key(self, image: Source) -> str:
        return self.encoder.key(image, "pooled", self.mode, str(self.levels))

    def _pooled(self, image: Source) -> Tensor:
        cache = self.encoder.cache
        if cache is None:
            return self.compute(image)
        key = self._key(image)
        entry = cache.get(key)
        if entry is None:
            entry = {"vector": self.compute(image)}
            cache.put(key, entry)
        return entry["vector"]

    def compute(self, image: Source) -> Tensor:
        """Pool to (C * B,) float16, which is exact for the maximum of a map in half precision; no cache, no scaling."""
        return self._of_map(self.encoder.compute(image))
