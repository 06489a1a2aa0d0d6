"""A backbone by its name, with the weights of a package, of a file of yours, or of a download that you ask for."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from sppnet.backbones.efficientnet_lite import VARIANTS, EfficientNetLite
from sppnet.backbones.protocol import Backbone
from sppnet.backbones.weights import fitted_state, read_weights
from sppnet.backbones.zoo import TimmMaps, TorchvisionMaps, ZooBackbone
from sppnet.errors import ArgumentError, DataError, MissingExtraError, check_that, did_you_mean, message

DEFAULT: Final = "efficientnet_lite0"
RANDOM: Final = "random"
_SHORT: Final = {name.removeprefix("efficientnet_"): name for name in VARIANTS}
_ALL: Final = "The documentation of timm and torchvision has all names"
_PIXELS: Final = 255.0
_IMAGENET: Final = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}  # of values 0..1: torchvision's
_HEADS: Final = ("head", "fc", "classifier", "attn_pool", "norm_pre_head", "aux", "AuxLogits")  # no map needs them


def backbone(name: str = DEFAULT, *, weights: Path | str | None = None, download: bool = False) -> Backbone:
    """Make a network whose maps detectors and classifiers stand on.

    Args:
        name: ``efficientnet_lite0``, ``efficientnet_lite1`` or ``efficientnet_lite2``, whose weights come with
            packages; or any convolutional network or vision transformer of timm, or convolutional network of
            torchvision, by its name there. One that both have is timm's; ``torchvision/resnet18`` names the other.
        weights: a file of the network's weights, ``.safetensors`` or ``.pth``; no code of it is run. "random" leaves
            the network untrained, which is of use in tests alone.
        download: have timm (or torchvision) fetch its trained weights.
    Raises:
        ArgumentError: an unknown name; or neither weights nor ``download`` for a network that needs them, or both.
        DataError: weights of another network, or a download that fails. CorruptFileError: an unreadable file.
        MissingExtraError: the package that the network or its weights are in is not installed.

    >>> backbone().detector_layers
    ('stride8', 'stride16', 'head')
    """
    advice = "Give one of them"
    if weights is not None and download:
        raise ArgumentError(message("backbone", "weights", "left out where they are downloaded", weights, advice))
    name = _SHORT.get(name, name)
    if name in VARIANTS:
        if weights == RANDOM:
            raise ArgumentError(message("backbone", "weights", "a file, or left out", repr(RANDOM), "Leave them out"))
        return EfficientNetLite(name, weights=None if weights is None else read_weights(weights))
    library, known = _library(name)
    if weights is None and not download:
        expected = "a file, or download=True, for a network whose weights come with no package"
        advice = "Give weights=FILE or download=True"
        raise ArgumentError(message("backbone", "weights", expected, "none", advice))
    state = None if weights is None or weights == RANDOM else read_weights(weights)
    return LIBRARIES[library](known, state, download=download)


def chosen_backbone(chosen: str | Backbone, device: str | torch.device = "cpu") -> Backbone:
    """Return a user's choice on a device: a backbone itself, or the one of a name whose weights a package brings.

    Raises:
        ArgumentError: neither; or as ``placed``.
    """
    network = backbone(chosen) if isinstance(chosen, str) else chosen
    expected, advice = "a name, or what sppnet.backbone makes of one", "Give backbone(name, weights=FILE)"
    known = hasattr(network, "detector_layers")
    check_that(known, "Detector", "backbone", expected, type(chosen).__name__, advice=advice)
    return placed(network, device)


def placed(network: Backbone, device: str | torch.device) -> Backbone:
    """Move a network to a device: "cpu", "cuda", "mps", or "auto", the first of "cuda" and "mps" that is there.

    Of several GPUs "cuda:1" is the second.

    Raises:
        ArgumentError: another name, or a device that is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    found = [name for name, is_there in there.items() if is_there]
    counts = {"cuda": torch.cuda.device_count() if there["cuda"] else 0, "mps": int(there["mps"])}
    numbered = [f"{kind}:{number}" for kind, count in counts.items() for number in range(count)]
    name = found[0] if device == "auto" else str(device)
    if name not in (*found, *numbered):
        names = ["auto", *(numbered if len(numbered) > 1 else []), *found]
        expected = f"{', '.join(names[:-1])} or {names[-1]} on this machine"
        raise ArgumentError(message("backbone", "device", expected, repr(name), "Leave it out for the processor"))
    cast(nn.Module, network).to(name)
    return network


def check_same_weights(known: Backbone, other: Backbone) -> None:
    """Raise ArgumentError unless two networks have the same weights."""
    same, advice = known.fingerprint == other.fingerprint, "Give the model's own network"
    actual = f"{other.name} with weights {other.fingerprint[:12]}"
    expected = f"{known.name} with weights {known.fingerprint[:12]}"
    check_that(same, "encode_by", "network", expected, actual, advice=advice)


def choice_of(network: Backbone) -> str | Backbone:
    """Return what ``chosen_backbone`` makes a network of: its name where a package has its weights, or itself."""
    return network if network.tensors() else network.name


def _library(name: str) -> tuple[str, str]:
    """Return which library a network is of, and its name there."""
    library, _, known = name.rpartition("/")
    if library in LIBRARIES:
        _check_known(library, known)
        return library, known
    found = [library for library in LIBRARIES if _has(library, name)]
    if found:
        return found[0], name
    expected = f"{', '.join(VARIANTS)}, or a network of timm or torchvision"
    advice = did_you_mean(name, [*VARIANTS, *_names("torchvision"), *_names("timm")]) or _ALL
    if not _timm_installed():
        advice = f"Timm is not installed: pip install 'sppnet[backbones]' brings it. {advice}"
    raise ArgumentError(message("backbone", "name", expected, repr(name), advice))


def _check_known(library: str, name: str) -> None:
    """Raise ArgumentError unless a library has a network of that name; MissingExtraError where it is not installed."""
    if library == "timm" and not _timm_installed():
        raise MissingExtraError("timm is not installed. Install it with: pip install 'sppnet[backbones]'.")
    if not _has(library, name):
        advice = did_you_mean(name, _names(library)) or _ALL
        raise ArgumentError(message("backbone", "name", f"a network of {library}", repr(name), advice))


def _timm_installed() -> bool:
    try:
        import timm  # noqa: F401
    except ImportError:
        return False
    return True


def _has(library: str, name: str) -> bool:
    if library == "torchvision" or not _timm_installed():
        return name in _names(library)
    import timm

    return bool(timm.is_model(name))  # by an older name too, and with the name of some weights behind it


def _names(library: str) -> list[str]:
    """Return the names of a library's networks; none of timm where it is not installed."""
    if library == "torchvision":
        from torchvision import models

        return list(models.list_models(module=models))
    if not _timm_installed():
        return []
    import timm

    return list(timm.list_models())


def timm_backbone(
    name: str, weights: Mapping[str, Tensor] | None, *, download: bool = False, scale: Mapping[str, Any] | None = None
) -> ZooBackbone:
    """Make a network of timm.

    Args:
        name: of timm. weights: by timm's names or those that it translates; None leaves them random, or fetched.
        download: have timm fetch them. scale: ``mean`` and ``std`` of pixels 0..255, where a model file tells them.
    """
    _check_known("timm", name)
    import timm

    def make(**more: Any) -> nn.Module:
        made: nn.Module = timm.create_model(name, pretrained=download, num_classes=0, **more)
        return made

    try:
        model = _made(lambda: make(dynamic_img_size=True, dynamic_img_pad=True), name)
    except TypeError:  # a convolutional network takes any size as it is
        model = _made(make, name)
    if weights is not None:
        _load(name, model, _translated(model, weights))
    config: Mapping[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    return ZooBackbone(f"timm/{name}", TimmMaps(model), **(scale or _of_pixels(config)))


def torchvision_backbone(
    name: str, weights: Mapping[str, Tensor] | None, *, download: bool = False, scale: Mapping[str, Any] | None = None
) -> ZooBackbone:
    """Make a network of torchvision; the rest as ``timm_backbone``."""
    _check_known("torchvision", name)
    from torchvision import models

    model = _made(lambda: models.get_model(name, weights="DEFAULT" if download else None), name)
    if weights is not None:
        _load(name, model, weights)
    return ZooBackbone(f"torchvision/{name}", TorchvisionMaps(model), **(scale or _of_pixels(_IMAGENET)))


def _of_pixels(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(_PIXELS * value for value in config[name]) for name in _IMAGENET}


LIBRARIES: Final = {"timm": timm_backbone, "torchvision": torchvision_backbone}


def _made(make: Callable[[], nn.Module], name: str) -> nn.Module:
    """Make a network, its random weights the same each time; what a download raises becomes one error."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(action="ignore"):
        torch.manual_seed(0)
        try:
            return make()
        except TypeError:
            raise
        except Exception as error:  # the libraries raise whatever their network clients do
            reason = str(error).splitlines()[0].rstrip(". ") if str(error) else type(error).__name__
            advice = "Try again with a connection, or give a file of weights"
            raise DataError(f"{name}: the network cannot be had: {reason}. {advice}.") from error


def _load(name: str, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    model.load_state_dict(fitted_state(name, model.state_dict(), weights, optional=_HEADS))


def _translated(model: nn.Module, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return weights by timm's names: files of a network's authors have others, which timm knows."""
    if all(name in weights for name in model.state_dict()):
        return weights
    from importlib import import_module

    translate = getattr(import_module(type(model).__module__), "checkpoint_filter_fn", None)
    try:
        return weights if translate is None else translate(dict(weights), model)
    except Exception:  # weights of another network: what is missing is told by name
        return weights
