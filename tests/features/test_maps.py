"""Maps of several scales, of several depths, and with layers on top: each behaves as one, whatever is asked."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sppnet.backbones import EfficientNetLite0
from sppnet.errors import ArgumentError, CorruptFileError
from sppnet.features.encoder import Encoder, MapsEncoder
from sppnet.features.files import KINDS, describe_encoder, encoder_from_description
from sppnet.features.joined import JoinedEncoder
from sppnet.features.layers import FullyConnected, LayeredEncoder, LayeredMaps, RegionLayers
from sppnet.features.maps import FeatureMap, Maps
from sppnet.features.multiscale import MultiscaleEncoder
from sppnet.geometry import Boxes, WindowRule, area, clip_boxes, nearest_scale, unique_windows
from sppnet.ops import bins
from sppnet.recipes._rcnn import CroppingEncoder
from sppnet.storage import TensorCache

LEVELS = (2, 1)
SCALES = (96, 128, 192)


@pytest.fixture(scope="module")
def backbone() -> EfficientNetLite0:
    return EfficientNetLite0()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (120, 171, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def regions() -> Boxes:
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 100, (60, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(3, 120, (60, 2))], axis=1)
    boxes[:, [0, 2]] = boxes[:, [0, 2]].clip(0, 171)
    boxes[:, [1, 3]] = boxes[:, [1, 3]].clip(0, 120)
    return np.concatenate([boxes, boxes[:9]])


def _layers(inputs: int) -> RegionLayers:
    draw = torch.Generator().manual_seed(0)
    first = FullyConnected(torch.randn(20, inputs, generator=draw) / inputs**0.5, torch.randn(20, generator=draw))
    return RegionLayers((first, FullyConnected(torch.randn(12, 20, generator=draw), torch.randn(12, generator=draw))))


def _single(backbone: EfficientNetLite0, cache: TensorCache | None) -> MapsEncoder:
    return Encoder("stride8", 96, cache=cache, backbone=backbone)


def _scaled(backbone: EfficientNetLite0, cache: TensorCache | None) -> MapsEncoder:
    return MultiscaleEncoder(
        [Encoder("stride16", side, cache=cache, backbone=backbone) for side in SCALES], view_side=60
    )


def _joined(backbone: EfficientNetLite0, cache: TensorCache | None) -> MapsEncoder:
    return JoinedEncoder(("stride8", "stride16"), 96, cache=cache, backbone=backbone)


def _layered(backbone: EfficientNetLite0, cache: TensorCache | None) -> MapsEncoder:
    below = _scaled(backbone, cache)
    return LayeredEncoder(below, _layers(below.length(LEVELS)))


def _layered_joined(backbone: EfficientNetLite0, cache: TensorCache | None) -> MapsEncoder:
    below = _joined(backbone, cache)
    return LayeredEncoder(below, _layers(below.length(LEVELS)))


def _cropped(backbone: EfficientNetLite0, cache: TensorCache | None) -> MapsEncoder:
    return CroppingEncoder(_joined(backbone, cache), side=48)


Make = Callable[[EfficientNetLite0, TensorCache | None], MapsEncoder]
STORED = [_single, _scaled, _joined, _layered, _layered_joined]
stored_kind = pytest.mark.parametrize("make", STORED)
every_kind = pytest.mark.parametrize("make", [*STORED, _cropped])


# What all have in common


def test_no_kind_is_left_out(backbone: EfficientNetLite0) -> None:
    assert {make(backbone, None).describe()["kind"] for make in STORED} == set(KINDS)


@every_kind
def test_scores_are_those_of_the_pooled_rows(
    make: Make, backbone: EfficientNetLite0, image: np.ndarray, regions: Boxes
) -> None:
    encoder = make(backbone, None)
    maps: Maps = encoder(image)
    pooled = maps.pool(regions, LEVELS)
    assert pooled.shape == (len(regions), encoder.length(LEVELS))
    assert pooled.dtype == torch.float32
    draw = torch.Generator().manual_seed(0)
    weights, bias = torch.randn(3, pooled.shape[1], generator=draw), torch.tensor([0.0, 1.0, -1.0])
    expected = pooled.double() @ weights.double().T + bias.double()
    scores = maps.score(regions, LEVELS, weights, bias)
    torch.testing.assert_close(scores.double(), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(scores[:9], scores[-9:])
    assert maps.size == (120, 171)


@every_kind
def test_rows_are_the_pooled_ones_each_once(
    make: Make, backbone: EfficientNetLite0, image: np.ndarray, regions: Boxes
) -> None:
    maps = make(backbone, None)(image)
    chunks, which = maps.rows(regions, LEVELS)
    rows = torch.cat([chunk.clone() for chunk in chunks])
    assert len(rows) <= len(regions) - 9
    torch.testing.assert_close(rows[torch.from_numpy(which)], maps.pool(regions, LEVELS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(120, 171), (90, 131), (200, 260), (9, 40)])
@pytest.mark.parametrize("rule", ["paper", "released"])
@pytest.mark.parametrize("layer", ["stride8", "stride16"])
def test_what_stands_for_a_window_has_that_window(
    backbone: EfficientNetLite0, layer: str, rule: WindowRule, size: tuple[int, int]
) -> None:
    maps = Encoder(layer, 120, backbone=backbone, rule=rule)(np.zeros((*size, 3), np.uint8))
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1, (4000, 2)) * [size[1], size[0]]
    sides = rng.uniform(0.5, 1, (4000, 1)) * rng.choice([3, 12, 60, 200], (4000, 2))
    regions = clip_boxes(np.concatenate([corners, corners + sides], axis=1), size)
    aligned, windows = maps.align_to_cells(regions), maps.windows(regions)
    np.testing.assert_array_equal(clip_boxes(aligned, size), aligned)
    assert (aligned[:, 2:] > aligned[:, :2]).all()
    np.testing.assert_array_equal(maps.windows(aligned), windows)
    np.testing.assert_array_equal(maps.windows(maps.unique(regions)), unique_windows(windows)[0])


@every_kind
def test_distinct_regions_stand_for_all(
    make: Make, backbone: EfficientNetLite0, image: np.ndarray, regions: Boxes
) -> None:
    maps = make(backbone, None)(image)
    once = maps.unique(regions)
    assert len(once) < len(regions)
    np.testing.assert_array_equal(maps.unique(once), once)
    assert {tuple(row) for row in maps.pooled_maps.align_to_cells(regions)} >= {
        tuple(row) for row in maps.align_to_cells(once)
    }


@every_kind
def test_the_layout_of_a_row_adds_up_to_its_length(
    make: Make, backbone: EfficientNetLite0, image: np.ndarray, regions: Boxes
) -> None:
    encoder = make(backbone, None)
    layout = encoder(image).layout(LEVELS)
    assert sum(channels * bins(levels) for levels, channels in layout) == encoder.length(LEVELS)


@every_kind
def test_a_score_is_explained_exactly_or_not_at_all(
    make: Make, backbone: EfficientNetLite0, image: np.ndarray, regions: Boxes
) -> None:
    encoder = make(backbone, None)
    maps, draw = encoder(image), torch.Generator().manual_seed(0)
    weights = torch.randn(len(regions), encoder.length(LEVELS), generator=draw)
    bias = torch.randn(len(regions), generator=draw)
    if make in (_layered, _layered_joined, _cropped):
        with pytest.raises(ArgumentError, match=r"explain: maps must be .* Use a detector"):
            maps.explain(regions, LEVELS, weights, bias)
        return
    explained = maps.explain(regions, LEVELS, weights, bias)
    scores = (maps.pool(regions, LEVELS).double() * weights.double()).sum(1) + bias.double()
    np.testing.assert_allclose([each.score for each in explained], scores.numpy(), rtol=1e-6, atol=1e-6)
    for each in explained:
        assert each.bins.shape == (len(each.boxes),) == (sum(bins(levels) for levels, _ in maps.layout(LEVELS)),)
        assert (each.boxes[:, :2] < each.boxes[:, 2:]).all()
    assert maps.explain(regions[:0], LEVELS, weights[:0], bias[:0]) == []


@stored_kind
def test_an_encoder_is_made_again_from_what_a_file_tells(
    make: Make, backbone: EfficientNetLite0, image: np.ndarray, regions: Boxes
) -> None:
    encoder = make(backbone, None)
    description, tensors = describe_encoder(encoder)
    again = encoder_from_description(json.loads(json.dumps(description)), tensors)
    assert type(again) is type(encoder)
    assert (again.describe(), again.fingerprint) == (encoder.describe(), encoder.fingerprint)
    assert (again.layers, again.scales) == (encoder.layers, encoder.scales)
    assert torch.equal(again(image).pool(regions, LEVELS), encoder(image).pool(regions, LEVELS))


def test_a_baseline_is_not_read_from_a_file(backbone: EfficientNetLite0) -> None:
    with pytest.raises(CorruptFileError, match=r"the model encodes images by 'crops', unknown here\. Install a newer"):
        encoder_from_description(*describe_encoder(_cropped(backbone, None)))


@every_kind
def test_no_regions_give_nothing(make: Make, backbone: EfficientNetLite0, image: np.ndarray) -> None:
    encoder, none = make(backbone, None), np.zeros((0, 4))
    maps = encoder(image)
    length = encoder.length(LEVELS)
    assert maps.pool(none, LEVELS).shape == (0, length)
    assert maps.score(none, LEVELS, torch.zeros(3, length), torch.zeros(3)).shape == (0, 3)
    assert maps.align_to_cells(none).shape == maps.unique(none).shape == (0, 4)


@stored_kind
def test_what_is_cached_has_the_bits_of_what_is_computed(
    make: Make, backbone: EfficientNetLite0, image: np.ndarray, regions: Boxes, tmp_path: Path
) -> None:
    cache = TensorCache(tmp_path)
    encoder = make(backbone, cache)
    assert not encoder.is_cached(image)
    first, again, alone = encoder(image), encoder(image), encoder.compute(image)
    assert encoder.is_cached(image)
    for maps in (again, alone):
        assert torch.equal(maps.pool(regions, LEVELS), first.pool(regions, LEVELS))


# Scales


def test_each_region_comes_from_the_scale_that_suits_it(
    backbone: EfficientNetLite0, image: np.ndarray, regions: Boxes
) -> None:
    encoder = _scaled(backbone, None)
    maps = encoder(image)
    chosen = nearest_scale(regions, (120, 171), SCALES, view_side=60)
    assert set(chosen) == {0, 1, 2}
    singles = [Encoder("stride16", side, backbone=backbone)(image).pool(regions, LEVELS) for side in SCALES]
    expected = torch.stack([singles[scale][row] for row, scale in enumerate(chosen)])
    assert torch.equal(maps.pool(regions, LEVELS), expected)


def test_one_scale_is_the_plain_map(backbone: EfficientNetLite0, image: np.ndarray, regions: Boxes) -> None:
    one = MultiscaleEncoder([Encoder("stride8", 96, backbone=backbone)])(image)
    plain = Encoder("stride8", 96, backbone=backbone)(image)
    assert torch.equal(one.pool(regions, LEVELS), plain.pool(regions, LEVELS))
    np.testing.assert_array_equal(one.align_to_cells(regions), plain.align_to_cells(regions))


def test_the_released_rules_are_used_by_name(backbone: EfficientNetLite0, image: np.ndarray, regions: Boxes) -> None:
    def encoder(rule: str) -> MultiscaleEncoder:
        made = [Encoder("stride16", side, backbone=backbone, rule=rule) for side in SCALES]  # type: ignore[arg-type]
        return MultiscaleEncoder(made, rule=rule, view_side=60)  # type: ignore[arg-type]

    paper, released = encoder("paper")(image), encoder("released")(image)
    windows = [maps.maps[0].windows(regions) for maps in (paper, released)]
    # At stride 16 theirs reach further: 1.5 pixels, of which a few regions get a cell more.
    assert area(windows[1].astype(float)).mean() > area(windows[0].astype(float)).mean()
    expected = nearest_scale(regions, (120, 171), SCALES, rule="released", view_side=60)
    np.testing.assert_array_equal(released.chosen(regions), expected)
    feature_map = released.maps[0]
    wide = regions[(regions[:, 2:] - regions[:, :2]).min(axis=1) > 30]
    np.testing.assert_array_equal(feature_map.windows(feature_map.align_to_cells(wide)), feature_map.windows(wide))


# Depths


def test_a_joined_row_is_the_rows_of_both_maps(backbone: EfficientNetLite0, image: np.ndarray, regions: Boxes) -> None:
    rows = _joined(backbone, None)(image).pool(regions, LEVELS)
    fine = Encoder("stride8", 96, backbone=backbone)(image).pool(regions, LEVELS)
    coarse = Encoder("stride16", 96, backbone=backbone)(image).pool(regions, (1,))
    assert torch.equal(rows, torch.cat([fine, coarse], dim=1))


def test_joined_maps_share_their_cache_with_single_ones(
    backbone: EfficientNetLite0, image: np.ndarray, tmp_path: Path
) -> None:
    cache = TensorCache(tmp_path)
    _joined(backbone, cache)(image)
    assert Encoder("stride16", 96, cache=cache, backbone=backbone).is_cached(image)


# Layers


def test_layers_are_matrix_products_and_relus() -> None:
    layers, rows = _layers(30), torch.randn(7, 30)
    first, second = layers.layers
    hidden = (rows @ first.weight.T + first.bias).clamp(min=0)
    torch.testing.assert_close(layers(rows), (hidden @ second.weight.T + second.bias).clamp(min=0))
    torch.testing.assert_close(layers.first(1)(rows), hidden)
    assert (layers.length, layers.first(1).length) == (12, 20)
    torch.testing.assert_close(layers.halved()(rows), layers(rows), rtol=0.05, atol=0.1)


def test_layers_of_full_rank_are_left_and_thin_ones_are_the_nearest() -> None:
    layers, rows = _layers(30), torch.randn(200, 30, generator=torch.Generator().manual_seed(1))
    assert layers.truncated((20, 12)) == layers
    losses = []
    for rank in (19, 12, 4):
        thin = layers.truncated((rank, 12))
        assert [tuple(layer.weight.shape) for layer in thin.layers] == [(rank, 30), (20, rank), (12, 20)]
        weight = thin.layers[1].weight @ thin.layers[0].weight
        assert torch.linalg.matrix_rank(weight) == rank
        values = torch.linalg.svdvals(layers.layers[0].weight)
        torch.testing.assert_close(torch.dist(weight, layers.layers[0].weight), values[rank:].square().sum().sqrt())
        losses.append(torch.dist(thin(rows), layers(rows)).item())
    assert losses == sorted(losses)
    assert losses[0] > 0
    tall = RegionLayers((FullyConnected(layers.layers[0].weight.T.contiguous(), torch.zeros(30)),)).truncated((4,))
    assert [tuple(layer.weight.shape) for layer in tall.layers] == [(4, 20), (30, 4)]
    product = tall.layers[1].weight @ tall.layers[0].weight
    wide = thin.layers[1].weight @ thin.layers[0].weight
    torch.testing.assert_close(product, wide.T, atol=1e-4, rtol=1e-4)


def test_layers_come_back_from_their_tensors() -> None:
    layers, rows = _layers(30).truncated((4, 12)), torch.randn(7, 30)
    assert torch.equal(RegionLayers.from_tensors(layers.tensors())(rows), layers(rows))


def test_regions_of_one_window_go_through_the_layers_once(
    backbone: EfficientNetLite0, image: np.ndarray, regions: Boxes
) -> None:
    below = _single(backbone, None)
    seen = []

    class Counting(RegionLayers):
        def __call__(self, rows: torch.Tensor) -> torch.Tensor:
            seen.append(len(rows))
            return super().__call__(rows)

    maps = LayeredMaps(below(image), Counting(_layers(below.length(LEVELS)).layers))
    maps.score(np.repeat(regions, 3, axis=0), LEVELS, torch.zeros(1, 12), torch.zeros(1))
    assert sum(seen) == len(maps.unique(regions))


def test_messages(backbone: EfficientNetLite0) -> None:
    encoders = [Encoder(layer, 96, backbone=backbone) for layer in ("stride8", "stride16")]
    with pytest.raises(
        ArgumentError, match=r"MultiscaleEncoder: encoders must be of one network and layer, got 2 different"
    ):
        MultiscaleEncoder(encoders)
    with pytest.raises(ArgumentError, match=r"JoinedEncoder: layers must be different names, got \['head', 'head'\]\."):
        JoinedEncoder(("head", "head"), 96)
    with pytest.raises(ArgumentError, match=r"RegionLayers\.first: count must be from 1 to 2, got 3\. Choose 1 to 2"):
        _layers(4).first(3)
    with pytest.raises(ArgumentError, match=r"RegionLayers\.truncated: ranks must be one a layer, at least 1, got"):
        _layers(4).truncated((3,))


def test_maps_of_images_in_tiles_answer_alike_in_half_the_memory(
    backbone: EfficientNetLite0, image: np.ndarray, regions: Boxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = _single(backbone, None)
    whole, halves = encoder(image), encoder(image)
    weights = torch.randn(3, whole.length(LEVELS), generator=torch.Generator().manual_seed(2))
    asked: list[Callable[[Maps], torch.Tensor]] = [
        lambda maps: maps.pool(regions, LEVELS),
        lambda maps: maps.score(regions, LEVELS, weights, torch.ones(3)),
        lambda maps: maps.averages(regions, LEVELS),
        lambda maps: maps.score_averages(regions, LEVELS, weights),
    ]
    expected = [ask(whole) for ask in asked]
    monkeypatch.setattr("sppnet.features.maps.MAX_WHOLE_PIXELS", 0)
    got = [ask(halves) for ask in asked]
    assert isinstance(halves, FeatureMap)
    assert halves.cells is halves.values
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)
