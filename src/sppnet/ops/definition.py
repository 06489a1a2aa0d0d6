"""The operator ``sppnet::pool``: its schema, its kernels, shapes without values, and gradient.

The only file that touches ``torch.library``.
"""

import warnings
from functools import cache
from types import ModuleType
from typing import Any, Final

import torch
from torch import Tensor

from sppnet.ops import cpu_numba, reference
from sppnet.ops.contract import bins, check_windows

# Defined by schema: torch's decorator for operators imports its compiler at the first call, 2 s and 160 MB.
OPTIONS: Final = "Tensor features, Tensor windows, int[] levels, str mode, str backend"
torch.library.define("sppnet::pool", f"({OPTIONS}) -> Tensor")
torch.library.define("sppnet::pool_backward", f"(Tensor gradient, {OPTIONS}) -> Tensor")
pool: Final = torch.ops.sppnet.pool.default
pool_backward: Final = torch.ops.sppnet.pool_backward.default


@torch.library.impl("sppnet::pool", "default")
def _pool(features: Tensor, windows: Tensor, levels: list[int], mode: str, backend: str) -> Tensor:
    """Pool windows (R, 5) int64 ``[map, left, top, right, bottom]`` of (N, C, H, W) into (R, B, C)."""
    shape = (windows.shape[0], bins(levels), features.shape[1])
    pooled = torch.empty(shape, dtype=features.dtype, device=features.device)
    pool_into(pooled, features, windows, levels, mode, backend)
    return pooled


def pool_into(pooled: Tensor, features: Tensor, windows: Tensor, levels: list[int], mode: str, backend: str) -> None:
    """Pool as ``pool`` does into memory that is there already, (R, B, C); without a gradient."""
    _checked(features, windows, backend).forward(features, windows, levels, mode, pooled)


@torch.library.impl("sppnet::pool_backward", "default")
def _pool_backward(
    gradient: Tensor, features: Tensor, windows: Tensor, levels: list[int], mode: str, backend: str
) -> Tensor:
    """(R, B, C) -> (N, C, H, W), in the memory layout of the features: the gradient of ``pool`` for its features."""
    found: Tensor = _checked(features, windows, backend).backward(gradient, features, windows, levels, mode)
    return found


def _checked(features: Tensor, windows: Tensor, backend: str) -> ModuleType:
    """Return the kernels for windows that lie inside their maps: checked here, where compiled code comes by too.

    Windows on a GPU are checked by Triton's kernels: to look at them here would wait for all that is under way.
    """
    kernels = _kernels(features, backend)
    if windows.device.type == "cpu" or kernels in (cpu_numba, reference):
        check_windows(windows, features.shape)
    return kernels


def _kernels(features: Tensor, backend: str) -> ModuleType:
    """Return the module that pools: the one named, or the fastest for where the features lie."""
    name = backend or {"cpu": "numba", "cuda": "triton"}.get(features.device.type, "reference")
    if name == "triton":
        return _triton() if not backend else _named_triton()
    return {"numba": cpu_numba, "reference": reference}[name]


def _named_triton() -> ModuleType:
    from sppnet.ops import gpu_triton

    return gpu_triton


@cache
def _triton() -> ModuleType:
    """Return the GPU's kernels, or the reference, with one warning, where Triton is not installed."""
    try:
        return _named_triton()
    except ImportError as error:
        warnings.warn(f"Triton is not installed ({error}): pooling on the GPU is slow.", RuntimeWarning, stacklevel=2)
        return reference


def _pool_shape(features: Tensor, windows: Tensor, levels: list[int], mode: str, backend: str) -> Tensor:  # noqa: ARG001
    return features.new_empty(windows.shape[0], bins(levels), features.shape[1])


def _backward_shape(
    gradient: Tensor,  # noqa: ARG001
    features: Tensor,
    windows: Tensor,  # noqa: ARG001
    levels: list[int],  # noqa: ARG001
    mode: str,  # noqa: ARG001
    backend: str,  # noqa: ARG001
) -> Tensor:
    return torch.empty_like(features)


torch.library.register_fake("sppnet::pool", _pool_shape)
torch.library.register_fake("sppnet::pool_backward", _backward_shape)


def _setup(ctx: Any, inputs: tuple[Tensor, Tensor, list[int], str, str], output: Tensor) -> None:  # noqa: ARG001
    features, windows, *ctx.options = inputs
    ctx.save_for_backward(features, windows)


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
    features, windows = ctx.saved_tensors
    return pool_backward(gradient, features, windows, *ctx.options), None, None, None, None


torch.library.register_autograd("sppnet::pool", _gradients, setup_context=_setup)


def _no_gradients(ctx: Any, gradient: Tensor) -> None:  # noqa: ARG001
    raise RuntimeError("sppnet::pool_backward: no autograd formula was registered: the pooling is differentiated once.")


torch.library.register_autograd("sppnet::pool_backward", _no_gradients)
