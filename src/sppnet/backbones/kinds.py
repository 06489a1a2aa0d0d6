"""Networks out of what a model file tells of them: the one registry of kinds."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from torch import Tensor

from sppnet.backbones.efficientnet_lite import EfficientNetLite0
from sppnet.backbones.protocol import Backbone
from sppnet.backbones.published import PublishedNet
from sppnet.errors import CorruptFileError

PREFIX: Final = "backbone."  # before the names of a network's own weights in a model file


def _published(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Backbone:
    network = PublishedNet.from_description(description)
    network.trunk.load_state_dict(dict(tensors))
    return network.eval()


KINDS: Final[dict[str, Callable[[Mapping[str, Any], Mapping[str, Tensor]], Backbone]]] = {
    "efficientnet_lite0": lambda description, tensors: EfficientNetLite0(),  # noqa: ARG005
    "published": _published,
}


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
