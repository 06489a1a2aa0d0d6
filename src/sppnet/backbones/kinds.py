"""Networks out of what a model file tells of them: the one registry of kinds."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from torch import Tensor

from sppnet.backbones.efficientnet_lite import VARIANTS, EfficientNetLite
from sppnet.backbones.named import LIBRARIES
from sppnet.backbones.protocol import Backbone
from sppnet.backbones.published import PublishedNet
from sppnet.errors import CorruptFileError

PREFIX: Final = "backbone."  # before the names of a network's own weights in a model file


Make = Callable[[Mapping[str, Any], Mapping[str, Tensor]], Backbone]


def _lite(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Backbone:
    return EfficientNetLite(description["kind"], weights=tensors or None)


def _published(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Backbone:
    network = PublishedNet.from_description(description)
    network.trunk.load_state_dict(dict(tensors))
    return network.eval()


def _of_library(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Backbone:
    scale = {name: tuple(description[name]) for name in ("mean", "std")}
    return LIBRARIES[description["kind"]](description["name"], tensors, scale=scale)


KINDS: Final[dict[str, Make]] = {
    **dict.fromkeys(VARIANTS, _lite),
    "published": _published,
    **dict.fromkeys(LIBRARIES, _of_library),
}


def with_weights(backbone: Backbone, weights: Mapping[str, Tensor]) -> Backbone:
    """Return a new network of the same kind with other weights, by the names of ``tensors`` of one that has its own."""
    description = backbone.describe()
    return KINDS[description["kind"]](description, weights)


def describe_backbone(backbone: Backbone) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what ``backbone_from_description`` makes the same network of: JSON, and weights of its own."""
    tensors = {PREFIX + name: tensor for name, tensor in backbone.tensors().items()}
    return backbone.describe() | {"fingerprint": backbone.fingerprint}, tensors


def backbone_from_description(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Backbone:
    """Make the network that ``describe_backbone`` told of; ``tensors`` are those of the whole file.

    Raises:
        CorruptFileError: an unknown kind, or other weights than those that are installed.
    """
    kind = description["kind"]
    if kind not in KINDS:
        raise CorruptFileError(f"the model's network is of kind {kind!r}, unknown here. Install a newer sppnet.")
    own = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
    backbone = KINDS[kind](description, own)
    if backbone.fingerprint != description["fingerprint"]:
        raise CorruptFileError(
            f"the model was trained on weights {description['fingerprint'][:12]}, installed are "
            f"{backbone.fingerprint[:12]}. Install the version of sppnet that trained it."
        )
    return backbone
