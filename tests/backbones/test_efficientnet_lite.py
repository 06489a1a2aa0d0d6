"""EfficientNet-Lite against timm's independent implementation, its grids against its own responses."""

import pytest
import timm
import torch
from torch import Tensor, nn

from sppnet.backbones import efficientnet_lite
from sppnet.backbones.efficientnet_lite import VARIANTS, EfficientNetLite, EfficientNetLite0, _published_weights
from sppnet.errors import ArgumentError, CorruptFileError, ShapeError

SIZES = [(224, 224), (1, 1), (97, 130), (161, 75), (320, 201), (33, 480)]


@pytest.fixture(scope="module")
def backbone() -> EfficientNetLite0:
    return EfficientNetLite0()


def _timm_name(name: str, variant: str) -> str:
    """Translate a parameter's name in the published weights into timm's, which were written independently."""
    for theirs, ours in (("_conv_stem", "conv_stem"), ("_conv_head", "conv_head"), ("_fc", "classifier")):
        if name.startswith(theirs):
            return name.replace(theirs, ours)
    if name.startswith("_bn"):
        return name.replace("_bn0", "bn1") if name.startswith("_bn0") else name.replace("_bn1", "bn2")
    _, index, part, *rest = name.split(".")
    stage, block = [(s, b) for s, spec in enumerate(VARIANTS[variant].stages) for b in range(spec.blocks)][int(index)]
    if stage == 0:  # no expansion: timm numbers the two normalisations that are left from one
        part = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}[part]
    else:
        part = {
            "_expand_conv": "conv_pw",
            "_bn0": "bn1",
            "_depthwise_conv": "conv_dw",
            "_bn1": "bn2",
            "_project_conv": "conv_pwl",
            "_bn2": "bn3",
        }[part]
    return ".".join(["blocks", str(stage), str(block), part, *rest])


def _independent(variant: str) -> nn.Module:
    published = _published_weights(VARIANTS[variant])
    model = timm.create_model(f"tf_{variant}", pretrained=False)
    model.load_state_dict({_timm_name(name, variant): value for name, value in published.items()})
    return model.eval()


def _pixels(size: tuple[int, int]) -> Tensor:
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(sum(size))) * 2 - 1


@pytest.mark.parametrize("name", VARIANTS)
@torch.inference_mode()
@pytest.mark.slow
def test_logits_agree_with_an_independent_implementation(name: str) -> None:
    ours, independent = EfficientNetLite(name), _independent(name)
    for size in SIZES:
        pixels = _pixels(size)
        torch.testing.assert_close(ours.logits(pixels), independent(pixels), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", SIZES)
@torch.inference_mode()
def test_layers_have_the_promised_shape_and_range(backbone: EfficientNetLite0, size: tuple[int, int]) -> None:
    maps = backbone(_pixels(size), backbone.channels)
    for layer, stride in (("stride8", 8), ("stride16", 16), ("stride32", 32), ("head", 32), ("deep", 32)):
        expected = (2, backbone.channels[layer], -(-size[0] // stride), -(-size[1] // stride))
        assert maps[layer].shape == expected
        assert 0 <= maps[layer].min() <= maps[layer].max() <= 6


@torch.inference_mode()
def test_a_layer_is_the_same_alone_and_with_the_others(backbone: EfficientNetLite0) -> None:
    pixels = _pixels((70, 91))
    together = backbone(pixels, backbone.channels)
    assert torch.equal(together["deep"], torch.cat([together["stride32"], together["head"]], dim=1))
    for layer, values in together.items():
        assert list(alone := backbone(pixels, [layer])) == [layer]
        assert torch.equal(alone[layer], values)


@pytest.mark.parametrize("size", [(64, 64), (224, 256)])
def test_grid_is_stride_less_one_where_the_stride_divides_the_size(
    backbone: EfficientNetLite0, size: tuple[int, int]
) -> None:
    for layer, stride in (("stride8", 8), ("stride16", 16), ("stride32", 32), ("head", 32), ("deep", 32)):
        grid = backbone.grid(layer, size)
        assert (grid.down.stride, grid.across.stride) == (stride, stride)
        assert (grid.down.offset, grid.across.offset) == (stride - 1, stride - 1)


@pytest.mark.parametrize("size", [(200, 232), (197, 230), (193, 225)])
def test_grid_is_the_centre_of_what_a_cell_sees(backbone: EfficientNetLite0, size: tuple[int, int]) -> None:
    """The gradient of one cell reaches a rectangle of pixels; the grid must name its centre.

    All weights are made positive so that no path is cut by an activation.
    """
    linear = EfficientNetLite0().requires_grad_(False)
    for parameter in linear.parameters():
        parameter.fill_(1e-4)
    pixels = torch.zeros(1, 3, *size, requires_grad=True)
    values = linear(pixels, ["stride8"])["stride8"]
    row, column = values.shape[2] // 2, values.shape[3] // 2
    (gradient,) = torch.autograd.grad(values[0, :, row, column].sum(), pixels)
    seen = gradient[0].sum(0) > 0
    rows, columns = torch.nonzero(seen.any(1)), torch.nonzero(seen.any(0))
    grid = backbone.grid("stride8", size)
    assert grid.down.offset + grid.down.stride * row == (rows[0] + rows[-1]).item() / 2
    assert grid.across.offset + grid.across.stride * column == (columns[0] + columns[-1]).item() / 2


def test_an_unknown_layer_is_named(backbone: EfficientNetLite0) -> None:
    message = "EfficientNetLite: layer must be one of stride8, stride16, stride32, head, deep, got 'conv5'. Name one"
    with pytest.raises(ArgumentError, match=message):
        backbone(_pixels((32, 32)), ["conv5"])


def test_pixels_of_the_wrong_shape_are_refused(backbone: EfficientNetLite0) -> None:
    with pytest.raises(ShapeError, match=r"pixels must be \(N, 3, H, W\), got \(3, 32, 32\)"):
        backbone(_pixels((32, 32))[0])


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {"efficientnet_lite0": VARIANTS["efficientnet_lite0"]._replace(sha256="0" * 64)}
    monkeypatch.setattr(efficientnet_lite, "VARIANTS", changed)
    with pytest.raises(CorruptFileError, match="Reinstall them"):
        EfficientNetLite0()
