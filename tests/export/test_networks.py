"""Networks as graphs: the same maps at any size, or a refusal."""

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from sppnet.backbones import EfficientNetLite
from sppnet.errors import ArgumentError
from sppnet.export.engine import check_maps
from sppnet.export.graph import Graph
from sppnet.export.networks import network_maps
from sppnet.images import to_tensor


class _Net:
    """A network of three layers, and of what a test adds."""

    mean, std = (120.0, 110.0, 100.0), (50.0, 60.0, 70.0)
    device = torch.device("cpu")

    def __init__(self, change=lambda features: features) -> None:
        generator = torch.Generator().manual_seed(0)
        self.first, self.second = (torch.randn(8, width, 3, 3, generator=generator) * 0.3 for width in (3, 8))
        self.change = change

    def activations(self, pixels, names):
        features = F.relu(F.conv2d(pixels, self.first, stride=2, padding=1))
        features = F.max_pool2d(features, 3, 2, 1)
        features = self.change(features * F.hardsigmoid(F.adaptive_avg_pool2d(features, 1)))
        return {name: F.hardswish(F.conv2d(features, self.second, padding=1)) + features for name in names}


SIZES = [(1, 1), (2, 3), (64, 64), (65, 33), (97, 101), (7, 300)]


def _maps(net, layers):
    graph = Graph()
    for layer, value in network_maps(graph, net, graph.input("image", np.uint8, ["h", "w", 3]), layers).items():
        graph.output(layer, value, [f"{layer}{axis}" for axis in range(3)])
    return onnxruntime.InferenceSession(graph.model().SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("net", [EfficientNetLite(), _Net()], ids=["lite0", "small"])
def test_the_maps_are_the_network_s(net) -> None:
    layers = ["stride8", "stride16", "deep"]
    session = _maps(net, layers)
    for height, width in SIZES:
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
        expected = net.activations(to_tensor(image, mean=net.mean, std=net.std)[None], layers)
        for layer, found in zip(layers, session.run(None, {"image": image}), strict=True):
            np.testing.assert_allclose(found, expected[layer][0].permute(1, 2, 0).numpy(), rtol=2e-3, atol=5e-3)
    check_maps(net, layers)


def test_an_unknown_call_is_named() -> None:
    with pytest.raises(
        ArgumentError, match=r"export: model must be on a network of known layers, got one that calls cos"
    ):
        check_maps(_Net(torch.cos), ["stride4"])


def test_what_follows_the_size_without_a_call_is_found_out() -> None:
    net = _Net(lambda features: features * (2.0 if features.shape[-1] == 16 else 3.0))
    with pytest.raises(ArgumentError, match=r"layers do the same at any size, got one whose stride4 differs\. Take a"):
        check_maps(net, ["stride4"])
