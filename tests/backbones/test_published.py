"""The paper's networks: published sizes and grids, normalisation against torch's, layers by name, files."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sppnet.backbones import NETWORKS, PublishedNet
from sppnet.backbones.normalisation import LocalResponseNorm, reference
from sppnet.errors import ArgumentError, CorruptFileError, ShapeError
from sppnet.ops import SpatialPyramidPool
from sppnet.storage import write_tensors

every_network = pytest.mark.parametrize("name", NETWORKS)
both_paddings = pytest.mark.parametrize("padding", ["training", "deployment"])


def _pixels(*size: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(sum(size))) * 255 - 128


def _net(name: str = "zf5", **options: object) -> PublishedNet:
    torch.manual_seed(0)
    return PublishedNet(name, **{"width": 0.125, "classes": 5} | options).eval()  # type: ignore[arg-type]


# Local response normalisation

LAYERS = [
    LocalResponseNorm(5, alpha=5e-4, constant=2.0, neighbourhood="across"),
    LocalResponseNorm(3, alpha=5e-5, neighbourhood="within"),
    LocalResponseNorm(5, alpha=0.3, beta=0.5, neighbourhood="within"),
    LocalResponseNorm(7, alpha=0.3, beta=1.2, neighbourhood="across"),
]
every_norm = pytest.mark.parametrize("layer", LAYERS, ids=str)


@every_norm
@pytest.mark.parametrize("shape", [(2, 96, 20, 17), (1, 1, 1, 1), (1, 2, 5, 1), (3, 8, 2, 2)])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_normalisation_agrees_with_torchs(layer: LocalResponseNorm, shape: tuple[int, ...], scale: float) -> None:
    features = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * scale
    torch.testing.assert_close(layer(features), reference(features, layer), rtol=1e-6, atol=1e-6)


@every_norm
def test_its_gradient_is_that_of_the_formula(layer: LocalResponseNorm) -> None:
    features = torch.randn(2, 9, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (features,))
    ours, theirs = (
        torch.autograd.grad(f.square().sum(), features)[0] for f in (layer(features), reference(features, layer))
    )
    torch.testing.assert_close(ours, theirs)


def test_half_precision_is_normalised_in_single() -> None:
    layer, features = LAYERS[0], torch.full((1, 8, 2, 2), 3000.0, dtype=torch.float16)  # whose square is infinite
    normalised = layer(features)
    assert normalised.dtype == torch.float16
    torch.testing.assert_close(normalised.float(), reference(features.float(), layer), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"size": 4, "neighbourhood": "across"}, "size must be odd, 1 or more, got 4"),
        ({"size": 3, "neighbourhood": "along"}, "neighbourhood must be across or within, got 'along'"),
    ],
)
def test_a_bad_normalisation_is_refused(options: dict[str, object], expected: str) -> None:
    with pytest.raises(ArgumentError, match=f"LocalResponseNorm: {expected}"):
        LocalResponseNorm(alpha=1.0, **options)  # type: ignore[arg-type]


# Sizes and grids


@pytest.mark.parametrize(
    ("name", "padding", "side", "cells"),
    [
        ("zf5", "training", 224, 13),  # Table 1
        ("zf5", "training", 180, 10),  # Sec. 2.3
        ("convnet5", "training", 224, 13),
        ("overfeat5", "training", 224, 18),
        ("overfeat7", "training", 224, 18),
        ("overfeat7", "training", 180, 14),
        ("zf5", "deployment", 224, 14),
    ],
)
def test_maps_have_the_published_size(name: str, padding: str, side: int, cells: int) -> None:
    net = _net(name, padding=padding)
    assert net.map_size((side, side)) == (cells, cells)
    assert net.features(_pixels(side, side)).shape[2:] == (cells, cells)


@every_network
@both_paddings
def test_the_map_has_the_predicted_size_at_any_size(name: str, padding: str) -> None:
    net = _net(name, padding=padding, width=0.01)
    for side in [*range(net.smallest_side, net.smallest_side + 40, 3), 97, 131]:
        for layer in net.channels:
            found = net.activations(_pixels(side, 61), [layer])[layer]
            assert found.shape[2:] == net.map_size((side, 61), layer)


@every_network
def test_parameters_are_those_of_the_paper(name: str) -> None:
    with torch.device("meta"):
        net, plain = PublishedNet(name), PublishedNet(name, levels=None)  # type: ignore[arg-type]
    filters = {"zf5": 256, "convnet5": 256, "overfeat5": 512, "overfeat7": 512}[name]
    first, second, third = net.fc_names
    assert net.fc[first].weight.shape == (4096, 50 * filters)
    assert plain.fc[first].weight.shape == (4096, 36 * filters)
    assert net.fc[second].weight.shape == (4096, 4096)
    assert net.fc[third].weight.shape == (1000, 4096)


def test_layers_have_the_papers_names() -> None:
    assert _net("zf5").layer_names == ("conv1", "conv2", "conv3", "conv4", "conv5", "pool5", "fc6", "fc7", "fc8")
    assert _net("overfeat7").layer_names[-5:] == ("conv7", "pool7", "fc8", "fc9", "fc10")


@every_network
def test_strides_are_the_papers_and_deployment_centres_the_cells(name: str) -> None:
    deployed = _net(name, padding="deployment").grid().down
    assert deployed.stride == (12 if name.startswith("overfeat") else 16)
    # Overfeat's pooling of 2 x 2 has its middle between two cells, and floor(2 / 2) in front of them.
    assert deployed.offset == (-3.0 if name.startswith("overfeat") else 0.0)


def test_grids_of_training_are_those_of_the_released_code() -> None:
    """Its constants, 21 and 15, count pixels from 1."""
    assert _net("zf5").grid().down.offset == 20.0
    assert _net("overfeat7").grid().down.offset == 14.0


@every_network
@both_paddings
def test_the_grid_is_the_centre_of_what_a_cell_sees(name: str, padding: str) -> None:
    """With positive weights, without normalisation and averages for maxima, all that a cell sees has a gradient."""
    net = _net(name, padding=padding, width=0.01)
    axis = net.grid().down
    for part, module in list(net.trunk.named_children()):
        if isinstance(module, LocalResponseNorm):
            net.trunk.add_module(part, nn.Identity())
        elif isinstance(module, nn.MaxPool2d):
            options = (module.kernel_size, module.stride, module.padding, module.ceil_mode)
            net.trunk.add_module(part, nn.AvgPool2d(*options))  # type: ignore[arg-type]
    for parameter in net.parameters():
        nn.init.constant_(parameter, 1e-2)
    pixels = torch.zeros(1, 3, 330, 300, requires_grad=True)
    values = net.features(pixels)
    row, column = values.shape[2] // 2, values.shape[3] // 2
    (gradient,) = torch.autograd.grad(values[0, :, row, column].sum(), pixels)
    seen = gradient[0].sum(0) > 0
    rows, columns = torch.nonzero(seen.any(1)), torch.nonzero(seen.any(0))
    assert axis.offset + axis.stride * row == (rows[0] + rows[-1]).item() / 2
    assert axis.offset + axis.stride * column == (columns[0] + columns[-1]).item() / 2


# Answers


@every_network
@torch.inference_mode()
def test_a_pyramid_takes_any_size_and_the_plain_pooling_one(name: str) -> None:
    net, plain = _net(name), _net(name, levels=None)
    for size in [(224, 224), (180, 180), (97, 230), (net.smallest_side, net.smallest_side)]:
        assert net(_pixels(*size, count=2)).shape == (2, 5)
    assert plain(_pixels(224, 224)).shape == (1, 5)
    expected = "features must be 6 x 6 cells once pooled, got .* Give images of 224 x 224, or build"
    with pytest.raises(ShapeError, match=expected):
        plain(_pixels(300, 224))


@torch.inference_mode()
def test_it_is_the_plain_chain_of_torchs_layers() -> None:
    """The specification of ZF-5 in so many words."""
    net, pixels = _net(), _pixels(224, 200, count=2)
    parts = dict(net.trunk.named_children())

    def conv(number: int, values: Tensor) -> Tensor:
        return parts[f"conv{number}"](values).relu()

    def norm_pool(number: int, values: Tensor) -> Tensor:
        normalised = reference(values, parts[f"norm{number}"])  # type: ignore[arg-type]
        return nn.functional.max_pool2d(normalised, 3, 2, ceil_mode=True)

    features = conv(5, conv(4, conv(3, norm_pool(2, conv(2, norm_pool(1, conv(1, pixels)))))))
    torch.testing.assert_close(net.features(pixels), features)
    pooled = SpatialPyramidPool((6, 3, 2, 1))(features)  # channel by channel; the network's is bin by bin
    pooled = pooled.unflatten(1, (features.shape[1], 50)).transpose(1, 2).flatten(1)
    torch.testing.assert_close(net.pool(features), pooled)
    hidden = net.fc["fc7"](net.fc["fc6"](pooled).relu()).relu()
    torch.testing.assert_close(net(pixels), net.fc["fc8"](hidden))


@torch.inference_mode()
def test_the_plain_pooling_is_the_finest_level_of_the_pyramid() -> None:
    net, plain = _net("overfeat5", levels=(6,)), _net("overfeat5", levels=None)
    features = net.features(_pixels(224, 224))
    torch.testing.assert_close(net.pool(features), plain.pool(features), rtol=0, atol=0)


@every_network
@torch.inference_mode()
def test_a_layer_is_the_same_alone_and_with_the_others(name: str) -> None:
    net, pixels = _net(name), _pixels(120, 150)
    together = net.activations(pixels, net.layer_names)
    assert list(together) == list(net.layer_names)
    for layer, values in together.items():
        alone = net.activations(pixels, [layer])
        assert list(alone) == [layer]
        torch.testing.assert_close(alone[layer], values, rtol=0, atol=0)
        assert layer == net.fc_names[-1] or values.min() >= 0
    torch.testing.assert_close(together[net.fc_names[-1]], net(pixels), rtol=0, atol=0)


def test_dropout_is_drawn_in_training_only() -> None:
    net, pixels = _net(), _pixels(100, 100)
    assert torch.equal(net(pixels), net(pixels))
    net.train()
    assert not torch.equal(net(pixels), net(pixels))


def test_gradients_reach_every_weight() -> None:
    net = _net().train()
    net(_pixels(180, 180, count=2)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_initial_weights_are_as_released() -> None:
    torch.manual_seed(0)
    net = PublishedNet("zf5", levels=(1,), classes=10)
    biases = [parameter.unique().tolist() for parameter in net.parameters() if parameter.ndim == 1]
    assert biases == [[0], [1], [0], [1], [1], [1], [1], [1]]
    for parameter in (p for p in net.parameters() if p.ndim > 1):
        assert parameter.std().item() == pytest.approx(0.01, rel=0.02)


# Files


def test_a_network_comes_back_from_its_file(tmp_path: Path) -> None:
    net, pixels = _net("overfeat7", levels=(3, 1)), _pixels(90, 110)
    net.save(tmp_path / "net.safetensors", notes={"classes": ["a", "b"]})
    again = PublishedNet.load(tmp_path / "net.safetensors")
    assert again.describe() == net.describe()
    assert again.notes == {"classes": ["a", "b"]}
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "net.safetensors").read_bytes()
    assert torch.equal(again(pixels), net(pixels))
    assert again.fingerprint == net.fingerprint
    deployed = PublishedNet.load(tmp_path / "net.safetensors", padding="deployment")
    assert deployed.grid().down.offset == -3.0
    assert deployed.fingerprint != net.fingerprint


def test_another_file_is_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "other.safetensors", {}, metadata={"kind": "classifier"})
    with pytest.raises(
        CorruptFileError, match=r"must hold a network, got 'classifier'\. Open it with sppnet.load, or train"
    ):
        PublishedNet.load(tmp_path / "other.safetensors")
    write_tensors(tmp_path / "older.safetensors", {}, metadata={"kind": "network", "version": 0})
    with pytest.raises(CorruptFileError, match=r"a network of layout 1, got layout 0\. Train it again\."):
        PublishedNet.load(tmp_path / "older.safetensors")


# Refusals


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"name": "vgg"}, "name must be one of zf5, convnet5, overfeat5, overfeat7, got 'vgg'"),
        ({"name": "zf5", "padding": "same"}, "padding must be training or deployment, got 'same'"),
        ({"name": "zf5", "width": 0}, "width must be above 0, got 0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], expected: str) -> None:
    with pytest.raises(ArgumentError, match=f"PublishedNet: {expected}"):
        PublishedNet(**options)  # type: ignore[arg-type]


def test_bad_pixels_and_layers_are_refused() -> None:
    net = _net()
    with pytest.raises(ShapeError, match=r"pixels must be \(N, 3, H, W\), got \(3, 50, 50\)"):
        net(_pixels(50, 50)[0])
    with pytest.raises(ShapeError, match="must be at least 39 pixels a side, got 26 x 90"):
        net(_pixels(26, 90))
    with pytest.raises(ArgumentError, match=r"layer must be one of conv1, .*, fc8, got 'fc9'"):
        net.activations(_pixels(50, 50), ["fc9"])
