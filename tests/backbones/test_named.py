"""Networks by name: their maps are the networks' own, at any size; they detect, save, load and predict."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from sppnet import Classifier, Detector, load_detection
from sppnet.backbones import Backbone, backbone, kinds, named
from sppnet.backbones.efficientnet_lite import VARIANTS, _published_weights
from sppnet.backbones.zoo import ZooBackbone
from sppnet.errors import ArgumentError, CorruptFileError, DataError, MissingExtraError

SIZES = [(32, 32), (61, 97), (160, 128)]


def _timm_forward(network: nn.Module, pixels: Tensor) -> Tensor:
    return network.forward_features(pixels)  # type: ignore[operator]


def _timm_tokens(network: nn.Module, pixels: Tensor) -> Tensor:
    """A transformer's tokens without class and registers, as a map."""
    tokens = network.forward_features(pixels)[:, network.num_prefix_tokens :]  # type: ignore[operator,index]
    side = network.patch_embed.patch_size[0]  # type: ignore[index,union-attr]
    height, width = -(-pixels.shape[2] // side), -(-pixels.shape[3] // side)
    return tokens.transpose(1, 2).unflatten(2, (height, width))


def _resnet(network: nn.Module, pixels: Tensor) -> Tensor:
    for name, module in network.named_children():
        if name != "avgpool":
            pixels = module(pixels)
        else:
            break
    return pixels


# Each with its deepest layer, that layer's grid where the image's sides are whole strides, and its own way to the map.
NETWORKS: list[tuple[str, str, float, Callable[[nn.Module, Tensor], Tensor]]] = [
    ("timm/resnet18", "stride32", 0.0, _timm_forward),
    ("regnetx_002", "stride32", 0.0, _timm_forward),
    ("convnext_atto", "stride32", 15.5, _timm_forward),
    ("vit_tiny_patch16_224", "stride16", 7.5, _timm_tokens),
    ("vit_tiny_patch16_dinov3_qkvb" if timm.is_model("vit_tiny_patch16_dinov3_qkvb") else "vit_small_patch16_dinov3",
     "stride16", 7.5, _timm_tokens),
    ("vit_small_patch14_reg4_dinov2", "stride14", 6.5, _timm_tokens),
    ("torchvision/resnet18", "stride32", 0.0, _resnet),
    ("torchvision/mobilenet_v2", "stride32", 0.0, lambda net, pixels: net.features(pixels)),  # type: ignore[operator]
]  # fmt: skip


def _pixels(size: tuple[int, int]) -> Tensor:
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(sum(size)))


@pytest.mark.parametrize(("name", "layer", "offset", "own"), NETWORKS, ids=[each[0] for each in NETWORKS])
@torch.inference_mode()
@pytest.mark.slow
def test_maps_are_the_networks_own_at_any_size(
    name: str, layer: str, offset: float, own: Callable[[nn.Module, Tensor], Tensor]
) -> None:
    made = backbone(name, weights="random")
    assert isinstance(made, ZooBackbone)
    assert list(made.channels)[-1] == layer == made.classifier_layer
    for size in SIZES:
        values = made.activations(_pixels(size), [layer])[layer]
        expected = own(made.trunk.model, _pixels(size))  # type: ignore[arg-type]
        torch.testing.assert_close(values, expected, atol=1e-4, rtol=0)
        assert values.shape[1] == made.channels[layer]
    grid = made.grid(layer, (224, 448))
    stride = float(layer.removeprefix("stride"))
    assert grid.down == grid.across == (stride, offset)
    together = made.activations(_pixels((64, 96)), made.channels)
    for each, values in together.items():
        torch.testing.assert_close(made.activations(_pixels((64, 96)), [each])[each], values, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(224, 224), (225, 238)])
@pytest.mark.parametrize("name", ["timm/resnet18", "tf_efficientnet_b0", "torchvision/vgg11", "vit_tiny_patch16_224"])
@pytest.mark.slow
def test_the_grid_is_the_middle_of_what_a_cell_sees(name: str, size: tuple[int, int]) -> None:
    """The gradient of a cell reaches pixels around its centre; weights are made positive, so that nothing cancels."""
    made = backbone(name, weights="random")
    assert isinstance(made, ZooBackbone)
    layer = "stride8" if "stride8" in made.channels else "stride16"
    model: nn.Module = made.trunk.model  # type: ignore[assignment]
    if layer == "stride16":  # attention sees everything: only the patch that a token stands on counts
        model.blocks = nn.Sequential()  # type: ignore[union-attr,arg-type]
        model.norm = nn.Identity()
        made.trunk.maps = lambda pixels, places: {place: _timm_tokens(model, pixels) for place in places}  # type: ignore[method-assign]
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1.0 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if type(module).__name__ == "SqueezeExcite":  # sees everything too
            module.forward = lambda values: values  # type: ignore[method-assign]
        if isinstance(module, nn.MaxPool2d):  # sees one pixel of each window; a mean has the same place and sees all
            module.forward = partial(
                F.avg_pool2d, kernel_size=module.kernel_size, stride=module.stride, padding=module.padding
            )  # type: ignore[method-assign]
    pixels = torch.rand(1, 3, *size).add(0.5).requires_grad_()
    values = made.activations(pixels, [layer])[layer]
    row, column = values.shape[2] // 2, values.shape[3] // 2
    (gradient,) = torch.autograd.grad(values[0, :, row, column].sum(), pixels)
    seen = gradient[0].abs().sum(0)
    rows, columns = torch.nonzero(seen.sum(1) > 0), torch.nonzero(seen.sum(0) > 0)
    grid = made.grid(layer, size)
    assert grid.down.offset + grid.down.stride * row == pytest.approx((rows[0] + rows[-1]).item() / 2, abs=0.51)
    assert grid.across.offset + grid.across.stride * column == pytest.approx(
        (columns[0] + columns[-1]).item() / 2, abs=0.51
    )


@pytest.mark.parametrize("name", ["torchvision/alexnet", "dla34"])
@torch.inference_mode()
def test_networks_that_refuse_small_or_odd_sizes_are_given_what_they_take(name: str) -> None:
    made = backbone(name, weights="random")
    for size in [(32, 32), (75, 101)]:
        for layer, values in made.activations(_pixels(size), made.channels).items():
            assert torch.isfinite(values).all()
            assert made.grid(layer, size).down.stride == int(layer.removeprefix("stride"))


def _state(name: str) -> dict[str, Tensor]:
    torch.manual_seed(3)
    return timm.create_model(name, num_classes=10).state_dict()


def test_weights_of_a_file_are_read_in_both_forms(tmp_path: Path) -> None:
    state = _state("resnet10t")
    safetensors.torch.save_file(state, tmp_path / "own.safetensors")
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "own.pth")
    first, second = (backbone("resnet10t", weights=tmp_path / f"own.{form}") for form in ("safetensors", "pth"))
    (tmp_path / "own.pth").rename(tmp_path / "misnamed.safetensors")
    assert backbone("resnet10t", weights=tmp_path / "misnamed.safetensors").fingerprint == first.fingerprint
    assert first.fingerprint == second.fingerprint != backbone("resnet10t", weights="random").fingerprint
    assert torch.equal(first.tensors()["layer1.0.conv1.weight"].float(), state["layer1.0.conv1.weight"])


def test_weights_of_our_own_network_are_read(tmp_path: Path) -> None:
    published = named.EfficientNetLite("efficientnet_lite0")
    state = {name: (value * 1.5).half().float() for name, value in published.state_dict().items()}
    torch.save(state, tmp_path / "tuned.pth")
    tuned = backbone(weights=tmp_path / "tuned.pth")
    assert tuned.fingerprint != published.fingerprint
    assert all(value.dtype == torch.float16 for value in tuned.tensors().values())  # which holds them exactly
    again = kinds.with_weights(tuned, tuned.tensors())
    assert again.fingerprint == tuned.fingerprint


def test_weights_of_another_network_of_the_family_are_refused(tmp_path: Path) -> None:
    published = _published_weights(VARIANTS["efficientnet_lite0"])
    torch.save(published, tmp_path / "lite0.pth")
    with pytest.raises(DataError, match=r"lite1: weights must be of this network, 97 of 130 do not fit"):
        backbone("efficientnet_lite1", weights=tmp_path / "lite0.pth")
    headless = {name: value for name, value in published.items() if not name.startswith("_fc")}
    torch.save(headless, tmp_path / "headless.pth")
    assert backbone(weights=tmp_path / "headless.pth").channels["head"] == 1280
    torch.save(published | {"_blocks.0._se_reduce.weight": torch.zeros(8, 32, 1, 1)}, tmp_path / "b0.pth")
    with pytest.raises(DataError, match=r"lite0: weights must be of this network, got some with squeeze-and-excit"):
        backbone(weights=tmp_path / "b0.pth")


def test_a_network_says_its_device_as_it_can_be_placed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    moved: list[str] = []
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, name: moved.append(name) or module)
    network = torch.nn.Identity()
    for name in ("mps", "mps:0", "auto"):
        named.placed(network, name)
    assert moved[:2] == ["mps", "mps:0"]
    with pytest.raises(ArgumentError, match=r"device must be auto, .*mps or cpu on this machine, got 'mps:1'"):
        named.placed(network, "mps:1")


class _Code:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("run",))


def test_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ArgumentError, match=r"got 'resnet81'. Did you mean '.*resnet"):
        backbone("resnet81")
    with pytest.raises(ArgumentError, match=r"weights must be a file, or download=True, .*, got none\. Give"):
        backbone("resnet18")
    with pytest.raises(ArgumentError, match=r"name must be a network of timm, got 'resnet81'\. Did you mean '.*resnet"):
        backbone("timm/resnet81")  # not that it needs weights
    with pytest.raises(ArgumentError, match=r"got ''\. The documentation of timm and torchvision has all names\."):
        backbone("")
    with pytest.raises(ArgumentError, match="weights must be left out where they are downloaded"):
        backbone("resnet18", weights="random", download=True)
    with pytest.raises(ArgumentError, match=r"a network that takes images of any size .*, got 'torchvision/vit_b_16'"):
        backbone("torchvision/vit_b_16", weights="random")
    with pytest.raises(DataError, match=r"missing.pth: No such file or directory. Name a file of weights"):
        backbone("resnet18", weights=tmp_path / "missing.pth")
    safetensors.torch.save_file(_state("resnet10t"), tmp_path / "other.safetensors")
    with pytest.raises(DataError, match=r"resnet34: weights must be of this network, .* do not fit: .*is missing"):
        backbone("timm/resnet34", weights=tmp_path / "other.safetensors")
    torch.save({"weight": _Code()}, tmp_path / "code.pth")
    with pytest.raises(CorruptFileError, match=r"code.pth: the weights cannot be read safely"):
        backbone("resnet18", weights=tmp_path / "code.pth")
    for name, content in (("text.pth", b"hello"), ("empty.pth", b""), ("part.safetensors", b"PK\3\4and no more")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CorruptFileError, match=f"{name}: the weights cannot be read: it is damaged, or neither"):
            backbone("resnet18", weights=tmp_path / name)
    torch.save({"conv1.weight": torch.tensor([1.0, float("nan")])}, tmp_path / "nan.pth")
    with pytest.raises(CorruptFileError, match=r"nan.pth: weights must be numbers, got NaN or infinity in conv1\."):
        backbone("resnet18", weights=tmp_path / "nan.pth")
    assert "run" not in capsys.readouterr().out
    with pytest.raises(ArgumentError, match=r"resnet10t: layer|timm/resnet10t: layer must be one of stride4"):
        backbone("resnet10t", weights="random").activations(_pixels((32, 32)), ["conv5"])
    monkeypatch.setitem(
        named.VARIANTS, "efficientnet_lite1", named.VARIANTS["efficientnet_lite1"]._replace(package="no_such_package")
    )
    with pytest.raises(MissingExtraError, match=r"package no_such_package, .* pip install 'sppnet\[backbones\]'"):
        backbone("lite1")


def test_a_failed_download_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **more: object) -> None:
        raise OSError("no connection")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(DataError, match=r"resnet10t: the network cannot be had: no connection. Try again with a conn"):
        backbone("resnet10t", download=True)
    monkeypatch.setattr(torchvision.models, "get_model", fail)
    with pytest.raises(DataError, match="resnet18: the network cannot be had"):
        backbone("torchvision/resnet18", download=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lite2", "resnet10t", "convnext_atto", "test_vit"])
def test_a_detector_stands_on_any_of_them(name: str, shapes: Path, tmp_path: Path) -> None:
    network: Backbone = backbone(name, weights=None if name == "lite2" else "random")
    data = load_detection(shapes, split="train")
    detector = Detector(backbone=network).fit(data)
    found = detector.detect(data.samples[0].path, threshold=0)
    detector.save(tmp_path / "model.safetensors")
    again = Detector.load(tmp_path / "model.safetensors")
    second = again.detect(data.samples[0].path, threshold=0)
    assert np.array_equal(found.boxes, second.boxes)
    assert np.array_equal(found.confidence, second.confidence)
    assert again.model_.encoder.layers == network.detector_layers
    assert len(found) > 0


def test_maps_beyond_half_precision_are_told_in_learning(shapes: Path) -> None:
    network: Any = backbone("resnet10t", weights="random")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(30)
    data = load_detection(shapes, split="train").subset(range(2))
    told = r"timm/resnet10t: the numbers in its maps must be below 65,504, .*, got others\. Give other weights, or name"
    with pytest.raises(DataError, match=told):
        Detector(backbone=network, short_side=96).fit(data)
    with pytest.raises(DataError, match=told):
        Classifier(backbone=network, short_side=96).fit(data.paths, ["a", "b"])
