"""Tiles: one map, as if the network had seen the whole image, whatever the size of the image."""

import numpy as np
import pytest
import torch

from sppnet.backbones import EfficientNetLite0
from sppnet.backbones import backbone as named_backbone
from sppnet.features import tiles
from sppnet.features.encoder import Encoder


@pytest.fixture(scope="module")
def backbone() -> EfficientNetLite0:
    return EfficientNetLite0()


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "MAX_WHOLE_PIXELS", 100)
    monkeypatch.setattr(tiles, "TILE", 96)


@pytest.mark.parametrize("size", [(224, 320), (97, 300), (31, 33)])
def test_a_tiled_map_is_the_map_of_the_padded_image(
    backbone: EfficientNetLite0, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    padded = np.full((-(-size[0] // 32) * 32, -(-size[1] // 32) * 32, 3), 127, np.uint8)  # the network's own zero
    padded[: size[0], : size[1]] = pixels
    whole = tiles.activations(backbone, padded, ("stride8", "stride16"))
    monkeypatch.setattr(tiles, "MAX_WHOLE_PIXELS", 100)
    monkeypatch.setattr(tiles, "TILE", 96)
    parts = tiles.activations(backbone, pixels, ("stride8", "stride16"))
    assert parts["stride8"].shape == whole["stride8"].shape
    torch.testing.assert_close(parts["stride8"], whole["stride8"], atol=2e-3, rtol=2e-3)
    difference = (parts["stride16"].float() - whole["stride16"].float()).abs()
    assert difference.mean() < 0.01 * whole["stride16"].float().abs().mean()


@pytest.mark.parametrize("name", ["torchvision/squeezenet1_1", "torchvision/alexnet", "eva02_tiny_patch14_224"])
def test_tiles_join_whatever_cells_a_network_has(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer than pixels over stride, of convolutions without padding; patches that no power of two is divided by."""
    made = named_backbone(name, weights="random")
    pixels = np.random.default_rng(0).integers(0, 256, (300, 460, 3)).astype(np.uint8)
    with torch.inference_mode():
        whole = made.activations(tiles._cut(made, pixels, [(0, 320), (0, 480)]), made.channels)
    monkeypatch.setattr(tiles, "MAX_WHOLE_PIXELS", 100)
    monkeypatch.setattr(tiles, "TILE", 96)
    for layer, values in tiles.activations(made, pixels, list(made.channels)).items():
        assert values.shape == whole[layer][0].shape
        assert torch.isfinite(values).all()
        apart = (values - whole[layer][0]).abs().mean() / whole[layer].abs().mean()
        assert apart < 0.1 or "/" not in name  # a transformer's parts are images of their own


@pytest.mark.usefixtures("small_tiles")
def test_cells_lie_where_those_of_the_map_are(backbone: EfficientNetLite0) -> None:
    image = np.zeros((200, 231, 3), np.uint8)
    maps = Encoder("stride8", 200, backbone=backbone)(image)
    assert maps.values.shape[1:] == (28, 32)  # of 224 x 256 pixels: whole units of 32
    assert maps.grid == backbone.grid("stride8", (224, 256))
    assert maps.windows(np.array([[0.0, 0.0, 231.0, 200.0]])).tolist()[0][:2] == [0, 0]
