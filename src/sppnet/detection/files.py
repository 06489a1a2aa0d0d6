"""Detector models out of what a model file tells, and what a file is told of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from sppnet.detection.head import RegionHead
from sppnet.detection.model import DetectorModel
from sppnet.detection.settings import SETTINGS, Settings
from sppnet.features.files import describe_encoder, encoder_from_description
from sppnet.learning.calibration import Calibration
from sppnet.proposals.kinds import proposals_from_description
from sppnet.storage import TensorCache

HEAD: Final = ("weights", "bias", "delta_weights", "delta_bias")
CALIBRATION: Final = ("slopes", "offsets", "rivalry", "thresholds")
GIVEN: Final = "given"  # what a file says of an argument that was an object, which the file holds


def describe_choices(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON of a detector's arguments that what was learnt does not tell of."""
    sides, layers, proposals, settings = (given[name] for name in ("short_side", "layers", "proposals", "settings"))
    return {
        "short_side": list(map(int, sides)) if isinstance(sides, Sequence) else sides if sides is None else int(sides),
        "layers": None if layers is None else list(layers),
        "proposals": proposals if isinstance(proposals, str | None) else GIVEN,
        "settings": settings if isinstance(settings, str) else None,
        "encoder": None if given["encoder"] is None else GIVEN,
    }


def choices_from_description(chosen: Mapping[str, Any], model: DetectorModel) -> dict[str, Any]:
    """Return the arguments that ``describe_choices`` told of; objects among them are the model's."""
    sides, layers, named = chosen["short_side"], chosen["layers"], chosen["settings"]
    return {
        "short_side": tuple(sides) if isinstance(sides, list) else sides,
        "layers": None if layers is None else tuple(layers),
        "levels": model.head.levels,
        "proposals": model.proposals if chosen["proposals"] == GIVEN else chosen["proposals"],
        "settings": named if SETTINGS.get(named) == model.settings else model.settings,
        "encoder": model.encoder if chosen["encoder"] == GIVEN else None,
    }


def describe_model(model: DetectorModel) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what ``model_from_description`` makes the same model of: JSON, and tensors by name."""
    encoder, own = describe_encoder(model.encoder)
    description = {
        "classes": list(model.classes),
        "levels": list(model.head.levels),
        "encoder": encoder,
        "proposals": model.proposals.describe(),
        "settings": model.settings.describe(),
    }
    head = {name: getattr(model.head, name) for name in HEAD}
    curves = {name: torch.from_numpy(getattr(model.calibration, name)) for name in CALIBRATION}
    return description, head | curves | own | model.proposals.tensors()


def model_from_description(
    description: Mapping[str, Any], tensors: Mapping[str, Tensor], *, cache: TensorCache | None = None
) -> DetectorModel:
    """Make the model that ``describe_model`` told of; maps are kept in ``cache``.

    Raises:
        CorruptFileError: it was learnt on other weights than those that are installed.
    """
    classes = tuple(description["classes"])
    alone = {"rivalry": torch.zeros(len(classes), 2, dtype=torch.float64)}  # what files of before it tell
    return DetectorModel(
        encoder_from_description(description["encoder"], tensors, cache=cache),
        proposals_from_description(description["proposals"], tensors),
        RegionHead(tuple(description["levels"]), *(tensors[name] for name in HEAD)),
        classes,
        Settings.from_description(description["settings"]),
        Calibration(*({**alone, **tensors}[name].numpy() for name in CALIBRATION)),
    )
