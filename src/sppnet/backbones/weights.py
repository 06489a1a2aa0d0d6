"""Weights of the user's: read from a file without running code, fitted to a network, named by their content."""

import hashlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import safetensors.torch
import torch
from torch import Tensor

from sppnet.errors import CorruptFileError, DataError
from sppnet.storage import read_file

_OF_TORCH: Final = (b"PK\3\4", b"\x80\2\x8a\n")  # how files of torch.save begin, since version 1.6 and before it
SHOWN: Final = 3  # names in a message
_WRAPPINGS: Final = ("model_ema", "state_dict_ema", "state_dict", "model", "teacher", "module")


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Read the weights of a network: ``.safetensors``, or what ``torch.save`` wrote, without running code of it.

    Args:
        path: of the file; weights that lie in it under ``state_dict`` or ``model``, as training scripts save them,
            are found there.
    Raises:
        DataError: a file that cannot be opened. CorruptFileError: one that holds no weights, or more than weights.
    """
    path = Path(path)
    try:
        content = read_file(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Name a file of weights, .safetensors or .pth.") from error
    advice = "Save the state_dict of the network alone, best as .safetensors"
    try:
        if content.startswith(_OF_TORCH):  # whatever the file is called
            state = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
        else:
            state = safetensors.torch.load(content)
    except UnpicklingError as error:
        raise CorruptFileError(f"{path}: the weights cannot be read safely: it holds more. {advice}.") from error
    except Exception as error:  # torch.load raises half a dozen types on bad bytes
        reason = "it is damaged, or neither safetensors nor of torch.save"
        raise CorruptFileError(f"{path}: the weights cannot be read: {reason}. {advice}.") from error
    tensors = {str(name).removeprefix("module."): value for name, value in _unwrapped(state).items()}
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CorruptFileError(f"{path}: must hold tensors by name, got {_told(tensors)}. {advice}.")
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise CorruptFileError(f"{path}: weights must be numbers, got NaN or infinity in {name}. Train them again.")
    return tensors


def _unwrapped(state: Any) -> Mapping[str, Any]:
    for name in _WRAPPINGS:
        if isinstance(state, Mapping) and isinstance(state.get(name), Mapping):
            return _unwrapped(state[name])
    return state if isinstance(state, Mapping) else {}


def _told(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} ({type(value).__name__})" for name, value in list(found.items())[:SHOWN]) or "none"


def fitted_state(
    name: str, own: Mapping[str, Tensor], given: Mapping[str, Tensor], *, optional: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """Return a network's whole state from weights that were given for it.

    Args:
        name: of the network, for messages. own: its state as it is. given: weights by the same names.
        optional: beginnings of names that may be missing or of another shape: a classifier, which maps do not need.
    Raises:
        DataError: a weight that is missing, or of another shape.
    """
    state, wrong = {}, []
    for key, value in own.items():
        other = given.get(key)
        if other is not None and other.shape == value.shape:
            state[key] = other.to(value.dtype)
        elif key.startswith(optional) or key.endswith("num_batches_tracked"):
            state[key] = value
        else:
            shape = "missing" if other is None else f"of shape {tuple(other.shape)} instead of {tuple(value.shape)}"
            wrong.append(f"{key} is {shape}")
    if wrong:
        raise DataError(
            f"{name}: weights must be of this network, {len(wrong)} of {len(own)} do not fit: "
            f"{'; '.join(wrong[:SHOWN])}. Name the network that they were trained in."
        )
    return state


def state_fingerprint(name: str, state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a network's name and of all its weights, by name."""
    digest = hashlib.sha256(name.encode())
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def stored_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a network's state as a model file holds it: in half precision whatever is exactly the same in it."""
    return {name: _smallest(value) for name, value in state.items()}


def _smallest(value: Tensor) -> Tensor:
    half = value.half()
    exact = value.is_floating_point() and torch.equal(half.to(value.dtype), value)
    return half if exact else value
