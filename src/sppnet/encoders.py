"""Which encoder: by the user's choice of scales and taps, or by what a model file tells."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from sppnet.encoding import Encoder, MapsEncoder
from sppnet.geometry import WindowRule
from sppnet.region_layers import LayeredEncoder, RegionLayers
from sppnet.scales import ScaledEncoder
from sppnet.storage import TensorCache
from sppnet.taps import JoinedEncoder


def encoder_of(
    taps: Sequence[str], scales: Sequence[int], *, cache: TensorCache | None = None, rule: WindowRule = "paper"
) -> MapsEncoder:
    """Make an encoder of the default network.

    Args:
        taps: feature maps to pool side by side, the finest first.
        scales: shorter sides in pixels; of several, each region is taken from the one that suits it.
        cache: where maps are kept between runs; None keeps nothing.
        rule: which cells a region's window has, and how its scale is chosen: "paper" or "released".
    """
    made: list[Encoder | JoinedEncoder] = []
    for scale in scales:
        backbone = made[0].backbone if made else None
        if len(taps) == 1:
            made.append(Encoder(taps[0], scale, cache=cache, backbone=backbone, rule=rule))
        else:
            made.append(JoinedEncoder(taps, scale, cache=cache, backbone=backbone, rule=rule))
    return made[0] if len(made) == 1 else ScaledEncoder(made, rule=rule)


def encoder_from_description(
    description: Mapping[str, Any], tensors: Mapping[str, Tensor], *, cache: TensorCache | None = None
) -> MapsEncoder:
    """Make the encoder that ``describe`` told of; ``tensors`` hold the weights of its layers, where it has any.

    Raises:
        CorruptFileError: it was described with other weights than those that are installed.
    """
    if "layered" in description:
        below = encoder_from_description(description["layered"], {}, cache=cache)
        return LayeredEncoder(below, RegionLayers.from_tensors(tensors))
    kinds = {"scales": ScaledEncoder, "taps": JoinedEncoder, "tap": Encoder}
    kind = next(kind for name, kind in kinds.items() if name in description)
    encoder: MapsEncoder = kind.from_description(description, cache=cache)  # type: ignore[attr-defined]
    return encoder


def layers_of(encoder: MapsEncoder) -> dict[str, Tensor]:
    """Return the weights that ``encoder_from_description`` needs beside the description."""
    return encoder.layers.tensors() if isinstance(encoder, LayeredEncoder) else {}
