"""A pyramid on networks of torchvision and timm: the right place, any size, the network's own weights."""

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision.models as zoo
from torch import Tensor, nn

from sppnet.backbones import EfficientNetLite0, with_pyramid
from sppnet.errors import ArgumentError
from sppnet.ops import pool_image

# Each network with its own way to the map that it pools, and that map's channels and stride.
NETWORKS: list[tuple[Callable[[], nn.Module], Callable[[nn.Module, Tensor], Tensor], int]] = [
    (lambda: zoo.resnet18(weights=None), lambda net, x: _through_resnet(net, x), 512),
    (lambda: zoo.vgg11(weights=None), lambda net, x: net.features(x), 512),  # type: ignore[operator]
    (lambda: zoo.alexnet(weights=None), lambda net, x: net.features(x), 256),  # type: ignore[operator]
    (lambda: zoo.shufflenet_v2_x0_5(weights=None), lambda net, x: _through_shufflenet(net, x), 1024),
    (lambda: timm.create_model("regnetx_002"), lambda net, x: net.forward_features(x), 368),  # type: ignore[operator]
    (lambda: timm.create_model("convnext_atto"), lambda net, x: net.forward_features(x), 320),  # type: ignore[operator]
]
NAMES = ["resnet18", "vgg11", "alexnet", "shufflenet", "timm regnet", "timm convnext"]


def _through_resnet(net: nn.Module, pixels: Tensor) -> Tensor:
    for name, module in net.named_children():
        if name == "avgpool":
            break
        pixels = module(pixels)
    return pixels


def _through_shufflenet(net: nn.Module, pixels: Tensor) -> Tensor:
    for module in list(net.children())[:-1]:
        pixels = module(pixels)
    return pixels


@pytest.mark.parametrize(("make", "through", "channels"), NETWORKS, ids=NAMES)
@pytest.mark.slow
def test_the_pyramid_stands_on_the_map_that_was_pooled(
    make: Callable[[], nn.Module], through: Callable[[nn.Module, Tensor], Tensor], channels: int
) -> None:
    torch.manual_seed(0)
    model = make().eval()
    net = with_pyramid(model, (2, 1), 7)
    assert not net.trunk.training
    assert net.classifier.in_features == 5 * channels
    net.eval()
    for size in ((100, 140), (128, 96)):
        pixels = torch.randn(2, 3, *size)
        with torch.no_grad():
            expected = through(model, pixels)
            torch.testing.assert_close(net.features(pixels), expected)
            pooled = pool_image(expected, levels=(2, 1))
            torch.testing.assert_close(net.pool(expected), torch.cat(list(pooled.unbind(2)), dim=1))
            assert net(pixels).shape == (2, 7)


def test_its_weights_are_the_networks_own_and_learn() -> None:
    model = zoo.resnet18(weights=None)
    net = with_pyramid(model, (1,), 3)
    assert model.training  # as it was
    assert net.trunk.training
    net(torch.randn(2, 3, 64, 80)).sum().backward()
    assert model.conv1.weight.grad is not None
    assert model.conv1.weight.grad.abs().sum() > 0
    assert model.fc.weight.grad is None
    assert "fc.weight" not in {name.removeprefix("trunk.network.") for name, _ in net.named_parameters()}


def test_the_embedded_network_takes_a_pyramid() -> None:
    backbone = EfficientNetLite0()
    net = with_pyramid(backbone, (3, 1), 4).eval()
    pixels = torch.randn(1, 3, 70, 110)
    torch.testing.assert_close(net.features(pixels), backbone(pixels)["head"])
    net(pixels).sum().backward()
    gradient = backbone.stem.conv.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_a_transformer_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"with_pyramid: model must be a convolutional .*, got VisionTransf"):
        with_pyramid(timm.create_model("vit_tiny_patch16_224"), (1,), 2)
