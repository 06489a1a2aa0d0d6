"""Image -> feature map: what is kept is what was computed, whatever happens to the cache."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sppnet.classification.classifier import Classifier
from sppnet.errors import ArgumentError, CorruptFileError, ImageDecodeError
from sppnet.features.encoder import Encoder
from sppnet.features.files import describe_encoder, encoder_from_description
from sppnet.features.joined import JoinedEncoder
from sppnet.features.multiscale import MultiscaleEncoder
from sppnet.features.whole_image import ImageEncoder
from sppnet.images import reading
from sppnet.ops import pool_windows
from sppnet.storage import TensorCache, read_file

READING: list[Callable[[TensorCache], Any]] = [
    lambda cache: Encoder("stride8", 64, cache=cache),
    lambda cache: JoinedEncoder(("stride8", "stride16"), 64, cache=cache),
    lambda cache: MultiscaleEncoder([Encoder("stride8", side, cache=cache) for side in (48, 64)]),
    lambda cache: ImageEncoder(Encoder("head", 64, cache=cache), (2, 1), mirrored=True),
]
REGIONS = np.array([[0.0, 0.0, 60.0, 40.0], [10.5, 5.25, 33.0, 80.0], [0.0, 0.0, 1.0, 1.0], [10.5, 5.25, 33.0, 80.0]])


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (90, 131, 3)).astype(np.uint8)


@pytest.fixture
def cache(tmp_path: Path) -> TensorCache:
    return TensorCache(tmp_path / "cache")


def test_a_cached_map_has_the_bits_of_a_computed_one(image: np.ndarray, cache: TensorCache) -> None:
    encoder = Encoder("stride8", 96, cache=cache)
    first, again, alone = encoder(image), encoder(image), Encoder("stride8", 96)(image)
    assert len(cache) == 1
    for other in (again, alone):
        assert torch.equal(first.values, other.values)
        assert (first.grid, first.size, first.scaled) == (other.grid, other.size, other.scaled)


def test_a_broken_entry_is_computed_again(image: np.ndarray, cache: TensorCache) -> None:
    encoder = Encoder("stride8", 96, cache=cache)
    first = encoder(image)
    (entry,) = cache.folder.rglob("*.safetensors")
    content = bytearray(entry.read_bytes())
    content[-1] ^= 1
    entry.write_bytes(content)
    assert torch.equal(encoder(image).values, first.values)
    assert cache.repaired == 1


def test_the_cache_goes_by_content_scale_and_layer(shapes: Path, tmp_path: Path, cache: TensorCache) -> None:
    original = shapes / "JPEGImages" / "00.png"
    renamed = tmp_path / "other.png"
    renamed.write_bytes(original.read_bytes())
    encoder = Encoder("stride8", 96, cache=cache)
    encoder(original)
    assert encoder.is_cached(renamed)
    assert encoder.is_cached(original.read_bytes())
    assert not encoder.is_cached(shapes / "JPEGImages" / "01.png")
    assert not Encoder("stride8", 97, cache=cache).is_cached(original)
    assert not Encoder("stride16", 96, cache=cache).is_cached(original)
    assert not Encoder("stride8", 96).is_cached(original)


@pytest.mark.parametrize("make", READING, ids=["one", "joined", "multiscale", "whole"])
def test_an_image_is_read_once(
    make: Callable[[TensorCache], Any], shapes: Path, cache: TensorCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path | str] = []

    def counted(path: Path | str, **limits: Any) -> bytes:
        read.append(path)
        return read_file(path, **limits)

    monkeypatch.setattr(reading, "read_file", counted)
    encoder, path = make(cache), shapes / "JPEGImages" / "00.png"
    encoder(path)
    assert encoder.is_cached(path)
    encoder(path)
    assert read == [path] * 3


@pytest.mark.parametrize("make", READING, ids=["one", "joined", "multiscale", "whole"])
def test_a_file_that_is_replaced_meanwhile_is_no_other_files_map(
    make: Callable[[TensorCache], Any],
    shapes: Path,
    tmp_path: Path,
    cache: TensorCache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = ((shapes / "JPEGImages" / name).read_bytes() for name in ("00.png", "01.png"))
    path = tmp_path / "image.png"
    path.write_bytes(first)

    def replaced(name: Path | str, **limits: Any) -> bytes:
        content = read_file(name, **limits)
        path.write_bytes(second)  # as soon as it was read
        return content

    monkeypatch.setattr(reading, "read_file", replaced)
    encoder = make(cache)
    encoder(path)
    assert (encoder.is_cached(first), encoder.is_cached(second)) == (True, False)


def test_arrays_of_the_same_bytes_and_other_shape_are_kept_apart(cache: TensorCache) -> None:
    encoder = Encoder("stride8", 32, cache=cache)
    encoder(np.zeros((40, 60, 3), np.uint8))
    assert not encoder.is_cached(np.zeros((60, 40, 3), np.uint8))


def test_pooled_rows_are_bins_of_windows(image: np.ndarray) -> None:
    feature_map = Encoder("stride8", 96)(image)
    windows = torch.from_numpy(feature_map.windows(REGIONS))
    expected = pool_windows(feature_map.values.float(), windows, levels=(2, 1), backend="reference")
    assert torch.equal(feature_map.pool(REGIONS, (2, 1)), expected.transpose(1, 2).flatten(1))


def test_scores_are_those_of_the_pooled_rows(image: np.ndarray) -> None:
    feature_map = Encoder("stride8", 96)(image)
    weights, bias = torch.randn(3, 5 * 240, generator=torch.Generator().manual_seed(0)), torch.tensor([0.0, 1.0, -1.0])
    scores = feature_map.score(REGIONS, (2, 1), weights, bias)
    rows = feature_map.pool(REGIONS, (2, 1)).double()
    expected = rows @ weights.double().T + bias.double()
    torch.testing.assert_close(scores.double(), expected, atol=1e-4, rtol=1e-5)
    assert torch.equal(scores[1], scores[3])


def test_no_regions_give_no_rows(image: np.ndarray) -> None:
    feature_map = Encoder("stride8", 96)(image)
    none = np.zeros((0, 4))
    assert feature_map.pool(none, (2, 1)).shape == (0, 5 * 240)
    assert feature_map.score(none, (1,), torch.zeros(3, 240), torch.zeros(3)).shape == (0, 3)
    assert feature_map.align_to_cells(none).shape == (0, 4)


def test_snapping_keeps_the_windows_and_the_image(image: np.ndarray) -> None:
    feature_map = Encoder("stride8", 96)(image)
    snapped = feature_map.align_to_cells(REGIONS)
    np.testing.assert_array_equal(feature_map.windows(snapped), feature_map.windows(REGIONS))
    assert (snapped >= 0).all()
    assert (snapped[:, 2] <= 131).all()


def test_every_vector_has_one_length(image: np.ndarray, cache: TensorCache) -> None:
    encoder = ImageEncoder(Encoder("head", 64, cache=cache), (2, 1))
    for shape in ((1, 1), (64, 200), (300, 70)):
        vector = encoder(np.full((*shape, 3), 90, np.uint8))
        assert vector.shape == (len(encoder),) == (1280 * 5,)
        torch.testing.assert_close(vector.norm(), torch.tensor(1.0))
    assert torch.equal(encoder(image), ImageEncoder(Encoder("head", 64), (2, 1))(image))
    assert encoder.is_cached(image)


def test_a_image_that_scales_to_too_much_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(ImageDecodeError, match="more than"):
        Encoder("stride8", 688)(np.zeros((1, 10_000, 3), np.uint8))


def test_messages() -> None:
    with pytest.raises(ArgumentError, match=r"Encoder: short_side must be at least 1 pixel, got 0\. Give"):
        Encoder("stride8", 0)
    description, tensors = describe_encoder(Encoder("stride8", 96))
    network = description["backbone"] | {"fingerprint": "0" * 64}
    with pytest.raises(CorruptFileError, match="trained on weights 000000000000, installed are 579344248a93"):
        encoder_from_description(description | {"backbone": network}, tensors)
    maps = description["maps"] | {"kind": "dreams"}
    with pytest.raises(CorruptFileError, match=r"the model encodes images by 'dreams', unknown here\. Install a newer"):
        encoder_from_description(description | {"maps": maps}, tensors)


def test_a_description_makes_the_same_encoder(image: np.ndarray) -> None:
    encoder = Classifier(short_side=70, levels=(2,)).encoder_
    again = ImageEncoder.from_description(json.loads(json.dumps(encoder.describe())), {})
    assert again.describe() == encoder.describe()
    assert torch.equal(again(image), encoder(image))
