"""Local response normalisation as the networks of 2012 to 2014 had it, by sums of slices of a channels-last map.

``y = x / (constant + alpha * mean of x * x over a neighbourhood) ** beta``, the neighbourhood being the ``size``
nearest channels ("across", Krizhevsky et al. 2012) or the ``size`` x ``size`` nearest cells ("within", as in the
released ZF-5); zeros stand beyond the borders and are counted. torch has the first, several times slower on a
processor, where such a layer took longer than the convolutions around it.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sppnet.errors import check_that

Neighbourhood = Literal["across", "within"]


class LocalResponseNorm(nn.Module):
    """Divide every response by a power of the energy around it.

    Args:
        size: channels, or cells a side, of the neighbourhood; odd.
        alpha: of the mean of the squares (Krizhevsky et al. give it for their sum: theirs times ``size``).
        beta, constant: see the formula above.
        neighbourhood: "across" channels or "within" each channel.
    """

    def __init__(
        self, size: int, *, alpha: float, beta: float = 0.75, constant: float = 1.0, neighbourhood: Neighbourhood
    ) -> None:
        super().__init__()
        odd = size >= 1 and size % 2 == 1
        check_that(odd, "LocalResponseNorm", "size", "odd, 1 or more", size, advice="Try 3 or 5")
        known = neighbourhood in ("across", "within")
        advice = "Name one of these"
        check_that(known, "LocalResponseNorm", "neighbourhood", "across or within", repr(neighbourhood), advice=advice)
        self.size, self.alpha, self.beta, self.constant = size, alpha, beta, constant
        self.neighbourhood: Neighbourhood = neighbourhood

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape, channels last in memory; half precision is computed in single."""
        wide = features if features.dtype == torch.float64 else features.float()
        wide = wide.contiguous(memory_format=torch.channels_last)
        if torch.is_grad_enabled() and wide.requires_grad:
            normalised: Tensor = _Normalise.apply(wide, self)
        else:
            normalised = wide * _power(self.denominators(wide), self.beta)
        return normalised.to(features.dtype)

    def denominators(self, features: Tensor) -> Tensor:
        """Return what is raised to ``beta``, (N, C, H, W)."""
        across = self.neighbourhood == "across"
        scale = self.alpha / (self.size if across else self.size**2)
        return self.around(features * features).mul_(scale).add_(self.constant)

    def around(self, values: Tensor) -> Tensor:
        """Sum over each response's neighbourhood; its own transpose, and so the gradient of itself too."""
        axes = (1,) if self.neighbourhood == "across" else (2, 3)
        for axis in axes:
            values = _slice_sum(values, axis, self.size // 2)
        return values

    def extra_repr(self) -> str:
        """Return what printing the module shows."""
        numbers = f"{self.size}, alpha={self.alpha}, beta={self.beta}, constant={self.constant}"
        return f"{numbers}, neighbourhood={self.neighbourhood!r}"


class _Normalise(torch.autograd.Function):
    """The same with a gradient by formula: one more sum of slices, where autograd would keep every slice."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, layer: LocalResponseNorm) -> Tensor:
        denominators = layer.denominators(features)
        ctx.save_for_backward(features, denominators)
        ctx.layer = layer
        return features * _power(denominators, layer.beta)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        features, denominators = ctx.saved_tensors
        layer: LocalResponseNorm = ctx.layer
        direct = gradient * _power(denominators, layer.beta)
        spread = layer.around((direct * features).div_(denominators))
        scale = 2 * layer.beta * layer.alpha / (layer.size if layer.neighbourhood == "across" else layer.size**2)
        return direct.sub_(spread.mul_(features).mul_(scale)), None


def _power(denominators: Tensor, beta: float) -> Tensor:
    """Return ``denominators ** -beta``; the published 0.75 by two roots, several times faster than a power."""
    if beta != 0.75:
        return denominators.pow(-beta)
    root = denominators.rsqrt()
    return root.sqrt().mul_(root)


def _slice_sum(values: Tensor, axis: int, radius: int) -> Tensor:
    """Sum ``values`` and its ``radius`` neighbours on both sides along ``axis``; zeros beyond the borders."""
    total, length = values.clone(), values.shape[axis]
    for shift in range(1, min(radius, length - 1) + 1):
        ahead, behind = values.narrow(axis, shift, length - shift), values.narrow(axis, 0, length - shift)
        total.narrow(axis, 0, length - shift).add_(ahead)
        total.narrow(axis, shift, length - shift).add_(behind)
    return total


def reference(features: Tensor, layer: LocalResponseNorm) -> Tensor:
    """The specification in torch's own layers, which the tests compare with."""
    if layer.neighbourhood == "across":
        return F.local_response_norm(features, layer.size, layer.alpha, layer.beta, layer.constant)
    energy = F.avg_pool2d(features * features, layer.size, 1, layer.size // 2)
    return features * (layer.constant + layer.alpha * energy).pow(-layer.beta)
