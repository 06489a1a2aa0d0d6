"""The operator ``sppnet::pool``: its schema, kernels, shapes without values, and gradient.

The only file that touches ``torch.library``.
"""

from typing import Any

import torch
from torch import Tensor

from sppnet.ops import cpu_numba
from sppnet.ops.contract import check_windows
from sppnet.ops.reference import pool_reference


@torch.library.custom_op("sppnet::pool", mutates_args=())
def pool(features: Tensor, windows: Tensor, levels: list[int], mode: str) -> Tensor:
    """Pool windows (R, 5) int64 ``[map, left, top, right, bottom]`` of (N, C, H, W) into (R, B, C)."""
    return pool_reference(features, windows, levels, mode).contiguous()


@torch.library.custom_op("sppnet::pool_backward", mutates_args=())
def pool_backward(gradient: Tensor, features: Tensor, windows: Tensor, levels: list[int], mode: str) -> Tensor:
    """(R, B, C) -> (N, C, H, W): the gradient of ``pool`` for its features."""
    with torch.enable_grad():
        leaf = features.detach().requires_grad_()
        (found,) = torch.autograd.grad(pool_reference(leaf, windows, levels, mode), leaf, gradient)
    return found.contiguous(memory_format=torch.channels_last)


@pool.register_fake
def _pool_shape(features: Tensor, windows: Tensor, levels: list[int], mode: str) -> Tensor:  # noqa: ARG001
    bins = sum(level * level for level in levels)
    return features.new_empty(windows.shape[0], bins, features.shape[1])


@pool_backward.register_fake
def _backward_shape(
    gradient: Tensor,  # noqa: ARG001
    features: Tensor,
    windows: Tensor,  # noqa: ARG001
    levels: list[int],  # noqa: ARG001
    mode: str,  # noqa: ARG001
) -> Tensor:
    return torch.empty_like(features, memory_format=torch.channels_last)


@pool.register_kernel("cpu")
def _pool_on_cpu(features: Tensor, windows: Tensor, levels: list[int], mode: str) -> Tensor:
    check_windows(windows, features.shape)  # here, where compiled code comes by too: the kernel reads without limits
    return cpu_numba.forward(features, windows, levels, mode)


@pool_backward.register_kernel("cpu")
def _backward_on_cpu(gradient: Tensor, features: Tensor, windows: Tensor, levels: list[int], mode: str) -> Tensor:
    check_windows(windows, features.shape)
    return cpu_numba.backward(gradient, features, windows, levels, mode)


def _setup(ctx: Any, inputs: tuple[Tensor, Tensor, list[int], str], output: Tensor) -> None:  # noqa: ARG001
    features, windows, ctx.levels, ctx.mode = inputs
    ctx.save_for_backward(features, windows)


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
    features, windows = ctx.saved_tensors
    return pool_backward(gradient, features, windows, ctx.levels, ctx.mode), None, None, None


pool.register_autograd(_gradients, setup_context=_setup)
