"""Encoders out of a user's choice of layers and scales, or out of what a model file tells: the registry of kinds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from torch import Tensor

from sppnet.backbones import PublishedNet
from sppnet.backbones.kinds import backbone_from_description, describe_backbone
from sppnet.backbones.protocol import Backbone
from sppnet.errors import CorruptFileError, check_that
from sppnet.features.encoder import Encoder, MapsEncoder
from sppnet.features.joined import JoinedEncoder
from sppnet.features.layers import FullyConnected, LayeredEncoder, RegionLayers
from sppnet.features.multiscale import MultiscaleEncoder
from sppnet.geometry import WindowRule
from sppnet.storage import TensorCache


def encoder_of(
    layers: Sequence[str],
    scales: Sequence[int],
    *,
    cache: TensorCache | None = None,
    rule: WindowRule = "paper",
    backbone: Backbone | None = None,
) -> MapsEncoder:
    """Make an encoder.

    Args:
        layers: feature maps to pool side by side, the finest first.
        scales: shorter sides in pixels; of several, each region is taken from the one that suits it.
        cache: where maps are kept between runs; None keeps nothing.
        rule: which cells a region's window has, and how its scale is chosen: "paper" or "released".
        backbone: the network; None is the default one.
    """
    made: list[Encoder | JoinedEncoder] = []
    for scale in scales:
        shared = made[0].backbone if made else backbone
        if len(layers) == 1:
            made.append(Encoder(layers[0], scale, cache=cache, backbone=shared, rule=rule))
        else:
            made.append(JoinedEncoder(layers, scale, cache=cache, backbone=shared, rule=rule))
    return made[0] if len(made) == 1 else MultiscaleEncoder(made, rule=rule)


def published_encoder(
    network: PublishedNet,
    scales: Sequence[int],
    *,
    layer: str = "pool5",
    cache: TensorCache | None = None,
    rule: WindowRule = "paper",
) -> MapsEncoder:
    """Make an encoder of one of the paper's networks: its last map pooled, or the layers after it too (Table 9).

    Args:
        network: with a pyramid; the detector's levels must be its levels.
        scales: shorter sides in pixels, 688 or five in the paper.
        layer: "pool5", "fc6" or "fc7" ("pool7", "fc8" or "fc9" of Overfeat-7).
        cache, rule: as ``encoder_of`` has them.
    Raises:
        ArgumentError: another layer.
    """
    known = (network.pool_name, *network.fc_names[:2])
    advice = "Name one of these"
    check_that(layer in known, "published_encoder", "layer", f"one of {', '.join(known)}", repr(layer), advice=advice)
    below = encoder_of((network.map_name,), scales, cache=cache, rule=rule, backbone=network.eval())
    depth = known.index(layer)
    return LayeredEncoder(below, published_layers(network).first(depth)) if depth else below


def published_layers(network: PublishedNet) -> RegionLayers:
    """Return the two layers between the pyramid and the scores of one of the paper's networks: fc6 and fc7."""
    state = {name: tensor.detach() for name, tensor in network.fc.state_dict().items()}
    return RegionLayers(
        tuple(FullyConnected(state[f"{name}.weight"], state[f"{name}.bias"]) for name in network.fc_names[:2])
    )


# Files

Make = Callable[[Mapping[str, Any], Mapping[str, Tensor], TensorCache | None, Backbone], MapsEncoder]


def _map(told: Mapping[str, Any], _: Mapping[str, Tensor], cache: TensorCache | None, backbone: Backbone) -> Encoder:
    multiple, rule = told["multiple"], told["rule"]
    return Encoder(told["layer"], told["short_side"], cache=cache, backbone=backbone, multiple=multiple, rule=rule)


def _joined(
    told: Mapping[str, Any], _: Mapping[str, Tensor], cache: TensorCache | None, backbone: Backbone
) -> JoinedEncoder:
    return JoinedEncoder(told["layers"], told["short_side"], cache=cache, backbone=backbone, rule=told["rule"])


def _multiscale(
    told: Mapping[str, Any], tensors: Mapping[str, Tensor], cache: TensorCache | None, backbone: Backbone
) -> MultiscaleEncoder:
    scales: list[Any] = [KINDS[scale["kind"]](scale, tensors, cache, backbone) for scale in told["scales"]]
    return MultiscaleEncoder(scales, rule=told["rule"], view_side=told["view_side"])


def _layered(
    told: Mapping[str, Any], tensors: Mapping[str, Tensor], cache: TensorCache | None, backbone: Backbone
) -> LayeredEncoder:
    below: Any = KINDS[told["below"]["kind"]](told["below"], tensors, cache, backbone)
    return LayeredEncoder(below, RegionLayers.from_tensors(tensors))


KINDS: Final[dict[str, Make]] = {"map": _map, "joined": _joined, "multiscale": _multiscale, "layered": _layered}


def encoder_with(encoder: MapsEncoder, backbone: Backbone, *, cached: bool = True) -> MapsEncoder:
    """Return the same encoder on another network; layers on top stay. Not ``cached``, it keeps no maps."""
    description = encoder.describe()
    cache = encoder.cache if cached else None
    return KINDS[description["kind"]](description, encoder.tensors(), cache, backbone)


def describe_encoder(encoder: MapsEncoder) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what ``encoder_from_description`` makes the same encoder of: JSON, and weights of its own."""
    network, weights = describe_backbone(encoder.backbone)
    return {"backbone": network, "maps": encoder.describe()}, weights | encoder.tensors()


def encoder_from_description(
    description: Mapping[str, Any], tensors: Mapping[str, Tensor], *, cache: TensorCache | None = None
) -> MapsEncoder:
    """Make the encoder that ``describe_encoder`` told of; ``tensors`` are those of the whole file.

    Raises:
        CorruptFileError: an unknown kind, or other weights than those that are installed.
    """
    kind = description["maps"]["kind"]
    if kind not in KINDS:
        raise CorruptFileError(f"the model encodes images by {kind!r}, unknown here. Install a newer sppnet.")
    backbone = backbone_from_description(description["backbone"], tensors)
    return KINDS[kind](description["maps"], tensors, cache, backbone)
