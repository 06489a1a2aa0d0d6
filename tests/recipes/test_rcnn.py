"""R-CNN's way: the same verbs as a feature map, and the same end."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from sppnet.data import DetectionData, load_detection
from sppnet.detection.detector import Detector
from sppnet.errors import ArgumentError
from sppnet.features.encoder import Encoder
from sppnet.features.joined import JoinedEncoder
from sppnet.features.scene import Scene
from sppnet.geometry import warp_places
from sppnet.images import to_tensor, warp
from sppnet.ops import pool_image
from sppnet.proposals.grid import GridProposals
from sppnet.recipes._rcnn import CroppingEncoder, compare, few_images
from sppnet.recipes._remembered import Remembered

REGIONS = np.array([[10.0, 20.0, 60.0, 90.0], [-0.0, 0.0, 8.0, 8.0], [100.0, 50.0, 171.0, 120.0]])


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (120, 171, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def encoder() -> CroppingEncoder:
    return CroppingEncoder(JoinedEncoder(("stride8", "stride16"), 96), side=64)


# Warping


def test_a_region_fills_its_crop_up_to_the_context() -> None:
    seen, places = warp_places(np.array([[40.0, 40.0, 88.0, 136.0]]), (200, 200), side=64, context=8)
    np.testing.assert_allclose(seen, [[32, 24, 96, 152]])  # a sixth more on each side: 8 of the inner 48 pixels
    assert places.tolist() == [[0, 0, 64, 64]]


def test_what_lies_outside_the_image_stays_empty() -> None:
    image = np.full((50, 50, 3), 200, np.uint8)
    seen, places = warp_places(np.array([[0.0, 0.0, 48.0, 48.0]]), (50, 50), side=64, context=8)
    np.testing.assert_allclose(seen, [[0, 0, 50, 50]])
    assert places.tolist() == [[8, 8, 58, 58]]
    warped = warp(image, seen[0], places[0], side=64, fill=7)
    assert (warped[8:58, 8:58] == 200).all()
    assert warped.sum() == 50 * 50 * 3 * 200 + (64 * 64 - 50 * 50) * 3 * 7


@pytest.mark.parametrize("region", [[0, 0, 1e-3, 1e-3], [170.9, 119.9, 171, 120], [0, 0, 171, 0.01]])
def test_a_crop_of_any_region_has_a_pixel(region: list[float]) -> None:
    _, places = warp_places(np.array([region], dtype=float), (120, 171), side=64, context=8)
    assert (places[:, 2:] > places[:, :2]).all()
    assert (places >= 0).all()
    assert (places <= 64).all()


# Crops behave as maps


def test_a_row_is_the_pyramid_over_the_map_of_the_crop(image: np.ndarray, encoder: CroppingEncoder) -> None:
    crops = encoder(image)
    rows = crops.pool(REGIONS, (2, 1))
    assert rows.shape == (3, encoder.length((2, 1))) == (3, 240 * 5 + 672)
    for row, region in zip(rows, REGIONS, strict=True):
        seen, places = warp_places(region[None], (120, 171), side=64, context=16)
        pixels = warp(image, seen[0], places[0], side=64, fill=127)
        values = encoder.backbone.activations(to_tensor(pixels, mean=127.0, std=128.0)[None], ["stride8", "stride16"])
        fine = pool_image(values["stride8"][0], levels=(2, 1)).T.flatten()
        coarse = pool_image(values["stride16"][0], levels=(1,)).T.flatten()
        torch.testing.assert_close(row, torch.cat([fine, coarse]), atol=1e-2, rtol=1e-2)


def test_scores_are_those_of_the_rows_and_each_region_is_run_once(
    image: np.ndarray, encoder: CroppingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = []
    original = CroppingEncoder.run

    def counting(self: CroppingEncoder, pixels: np.ndarray, regions: np.ndarray, levels: tuple[int, ...]):
        run.append(len(regions))
        return original(self, pixels, regions, levels)

    monkeypatch.setattr(CroppingEncoder, "run", counting)
    crops = encoder.compute(image)
    twice = np.concatenate([REGIONS, REGIONS])
    weights = torch.randn(2, encoder.length((1,)), generator=torch.Generator().manual_seed(0))
    scores = crops.score(twice, (1,), weights, torch.ones(2))
    expected = crops.pool(twice, (1,)) @ weights.T + 1
    torch.testing.assert_close(scores, expected, atol=1e-3, rtol=1e-4)
    assert sum(run) == 3
    np.testing.assert_array_equal(crops.align_to_cells(twice), twice)
    assert len(crops.unique(twice)) == 3
    assert crops.pool(np.zeros((0, 4)), (1,)).shape == (0, encoder.length((1,)))


def test_rows_are_kept_by_the_images_content(image: np.ndarray, encoder: CroppingEncoder) -> None:
    encoder(image).pool(REGIONS, (1,))
    assert len(encoder(image.copy()).known) >= 3
    assert not encoder(image[::-1].copy()).known
    assert not encoder.is_cached(image)


# The comparison


@pytest.fixture(scope="module")
def train(shapes: Path) -> DetectionData:
    return load_detection(shapes, split="train")


@pytest.mark.slow
def test_both_ways_learn_the_same_and_one_is_faster(shapes: Path, train: DetectionData) -> None:
    test = load_detection(shapes, split="val")
    progress = []

    def told(name: str, items: object) -> object:
        progress.append(name)
        return items

    few = dataclasses.replace(train, samples=train.samples[:4])
    grid = GridProposals(((44.0, 44.0),), 135, step=0.4)
    detector = Detector(short_side=128, levels=(2, 1), proposals=grid)
    compared = compare(detector, few, test, regions=80, alone=16, side=64, progress=told)
    assert compared.pooled.quality > 0.6
    assert compared.alone.quality > 0.4
    assert compared.times_faster > 2
    assert (compared.learnt, compared.tested, compared.compared, compared.timed) == (4, 4, 80, 16)
    assert compared.as_dict()["pooled"]["quality"] == compared.pooled.quality
    assert progress.count("Detecting") == 2


def test_images_are_chosen_evenly_and_never_for_both(train: DetectionData, shapes: Path) -> None:
    learnt, tested = few_images(train, None, 2)
    assert [sample.path.stem for sample in learnt.samples] == ["00", "06"]
    assert [sample.path.stem for sample in tested.samples] == ["01"]
    _, val = few_images(train, load_detection(shapes, split="val"), 8)
    assert len(val.samples) == 4


def test_a_sample_of_regions_is_even() -> None:
    grid = GridProposals(((20.0, 20.0),), 100)
    scene = Scene(np.zeros((100, 100, 3), np.uint8), CroppingEncoder(Encoder("stride8", 9)))
    every = grid.regions(scene)
    few = Remembered(grid, 7).regions(scene)
    assert len(few) == 7
    np.testing.assert_array_equal(few[[0, -1]], every[[0, -1]])
    assert Remembered(grid, 7).describe() == grid.describe()


def test_several_scales_are_refused(train: DetectionData) -> None:
    with pytest.raises(
        ArgumentError, match=r"compare: detector must be of single maps, got several scales, or layers on top\. "
    ):
        compare(Detector(short_side=(64, 96)), train, train)
    with pytest.raises(ArgumentError, match=r"CroppingEncoder: side must be above 32, got 32\. Give more than the"):
        CroppingEncoder(Encoder("stride8", 9), side=32)
    assert CroppingEncoder(Encoder("stride8", 9)).describe() == {"kind": "crops", "side": 224, "layers": ["stride8"]}
