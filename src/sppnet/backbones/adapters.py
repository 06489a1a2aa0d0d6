"""Any convolutional network of torchvision or timm with a pyramid in place of its global pooling.

The place is found by running the network on two sizes: the last map whose height and width still follow the
image's. What comes after it there, pooling to one size and a classifier, is left out.
"""

from collections.abc import Sequence
from operator import ne
from typing import Final

import torch
from torch import Tensor, nn

from sppnet.backbones.efficientnet_lite import EfficientNetLite0
from sppnet.errors import ArgumentError, message
from sppnet.ops import bins, pool_image

PROBES: Final = ((128, 128), (160, 192))  # pixels, in whole strides of 32
MAP: Final = "map"


class PyramidNet(nn.Module):
    """A network's layers up to its last map, the pyramid, dropout, one linear layer; any size of image.

    Args:
        trunk: pixels (N, 3, H, W) -> last map (N, C, H', W').
        channels: C.
        levels: bins per side of each level of the pyramid.
        classes: how many scores.
        dropout: share of the pooled values that is left out in training.
    """

    def __init__(
        self, trunk: nn.Module, channels: int, levels: Sequence[int], classes: int, *, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.trunk, self.levels = trunk, tuple(levels)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels * bins(levels), classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W), scaled as the network was trained on -> (N, K) scores before the softmax."""
        return self.head(self.pool(self.features(pixels)))

    def features(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, C, H', W')."""
        features: Tensor = self.trunk(pixels)
        return features

    def pool(self, features: Tensor) -> Tensor:
        """(N, C, H', W') -> (N, B * C), bin by bin and in it channel by channel."""
        return pool_image(features, levels=self.levels).transpose(1, 2).flatten(1)

    def head(self, pooled: Tensor) -> Tensor:
        """(N, B * C) in the order of ``pool`` -> (N, K)."""
        scores: Tensor = self.classifier(self.dropout(pooled))
        return scores


def with_pyramid(
    model: nn.Module, levels: Sequence[int] = (3, 2, 1), classes: int = 1000, *, dropout: float = 0.5
) -> PyramidNet:
    """Give a network a pyramid in place of its global pooling, and a new classifier of ``classes`` scores.

    Args:
        model: a convolutional network of torchvision or timm, or ``EfficientNetLite0``; its layers are used, not
            copied, so that they keep their weights and can be trained on.
        levels: bins per side of each level of the pyramid.
        classes: how many scores the new classifier has.
        dropout: before it, in training.
    Raises:
        ArgumentError: a network that has no map whose size follows the image's, such as a transformer.

    >>> from torchvision.models import resnet18
    >>> net = with_pyramid(resnet18(weights=None), (3, 2, 1), 10).eval()
    >>> net(torch.zeros(1, 3, 100, 150)).shape, net(torch.zeros(1, 3, 224, 224)).shape
    (torch.Size([1, 10]), torch.Size([1, 10]))
    """
    training = model.training
    trunk: nn.Module = _DeepestMap(model) if isinstance(model, EfficientNetLite0) else _cut(model)
    with torch.no_grad():
        channels = trunk.eval()(_probe(model, PROBES[0])).shape[1]
    return PyramidNet(trunk.train(training), channels, levels, classes, dropout=dropout)


class _DeepestMap(nn.Module):
    """EfficientNet-Lite0's last map as an output of its own; its weights learn, if it is trained on."""

    def __init__(self, model: EfficientNetLite0) -> None:
        super().__init__()
        self.model = model.requires_grad_(True)

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.model(pixels)["head"]
        return features


def _probe(model: nn.Module, size: tuple[int, int]) -> Tensor:
    parameter = next(model.parameters())
    return torch.zeros(1, 3, *size, device=parameter.device, dtype=parameter.dtype)


def _cut(model: nn.Module) -> nn.Module:
    """Return the network up to the last map whose height and width follow the image's."""
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    training = model.training
    try:
        names = get_graph_node_names(model, suppress_diff_warning=True)
        everything = create_feature_extractor(model.eval(), names[1][1:], suppress_diff_warning=True)
        small, large = (_map_sizes(everything, _probe(model, size)) for size in PROBES)
        follows = [name for name in names[0] if name in small and all(map(ne, small[name], large[name]))]
        trunk: nn.Module = create_feature_extractor(
            model.train(training), {follows[-1]: MAP}, suppress_diff_warning=True
        )
    except Exception as error:  # tracing raises whatever the network does
        expected = "a convolutional network that torch.fx can trace, with a map that follows the image's size"
        advice = "Cut it by hand and use PyramidNet"
        raise ArgumentError(message("with_pyramid", "model", expected, type(model).__name__, advice)) from error
    finally:
        model.train(training)
    return _OneMap(trunk)


def _map_sizes(network: nn.Module, pixels: Tensor) -> dict[str, tuple[int, ...]]:
    """Return height and width of every value of a network that is a map, by its name."""
    with torch.no_grad():
        found = network(pixels).items()
    return {name: tuple(value.shape[2:]) for name, value in found if isinstance(value, Tensor) and value.ndim == 4}


class _OneMap(nn.Module):
    """What torchvision returns in a dictionary, by itself."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.network(pixels)[MAP]
        return features
