"""Which encoder: by the user's choice of scales and layers, or by what a model file tells."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import Tensor

from sppnet.backbones import PublishedNet
from sppnet.backbones.protocol import Backbone
from sppnet.errors import CorruptFileError, check_that
from sppnet.features.encoder import Encoder, MapsEncoder
from sppnet.features.joined import JoinedEncoder
from sppnet.features.layers import FullyConnected, LayeredEncoder, RegionLayers
from sppnet.features.multiscale import MultiscaleEncoder
from sppnet.geometry import WindowRule
from sppnet.storage import TensorCache

TRUNK: Final = "trunk."  # before the names of a network's convolutions in a model file


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


def encoder_from_description(
    description: Mapping[str, Any], tensors: Mapping[str, Tensor], *, cache: TensorCache | None = None
) -> MapsEncoder:
    """Make the encoder that ``described`` told of; ``tensors`` hold what weights it has of its own.

    Raises:
        CorruptFileError: it was described with other weights than those that are installed.
    """
    below = description.get("layered", description)
    backbone = _network(description["network"], tensors) if "network" in description else None
    kinds = {"scales": MultiscaleEncoder, "layers": JoinedEncoder, "layer": Encoder}
    kind = next((kind for name, kind in kinds.items() if name in below), None)
    if kind is None:
        raise CorruptFileError(f"the model encodes images by {sorted(below)}, unknown here. Train it again.")
    encoder: MapsEncoder = kind.from_description(below, cache=cache, backbone=backbone)  # type: ignore[attr-defined]
    return LayeredEncoder(encoder, RegionLayers.from_tensors(tensors)) if "layered" in description else encoder


def described(encoder: MapsEncoder) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what ``encoder_from_description`` makes the same encoder of: JSON, and its own weights."""
    description, tensors = encoder.describe(), {}
    if isinstance(encoder, LayeredEncoder):
        tensors, encoder = encoder.layers.tensors(), encoder.encoder
    network = getattr(encoder.encoders[0] if isinstance(encoder, MultiscaleEncoder) else encoder, "backbone", None)
    if isinstance(network, PublishedNet):
        tensors |= {TRUNK + name: tensor for name, tensor in network.trunk.state_dict().items()}
        description |= {"network": network.describe()}
    return description, tensors


def _network(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PublishedNet:
    network = PublishedNet.from_description(description)
    named = {name.removeprefix(TRUNK): tensor for name, tensor in tensors.items() if name.startswith(TRUNK)}
    network.trunk.load_state_dict(named)
    return network.eval()
