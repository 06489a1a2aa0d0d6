"""What looks like one example."""

from itertools import combinations

import numpy as np
import pytest

from sppnet.backbones import EfficientNetLite0
from sppnet.detection.likeness import AXES, LEVELS, SAME, Example, axes_of, likeness_layer
from sppnet.features.encoder import Encoder
from sppnet.features.maps import FeatureMap
from sppnet.geometry import area, iou


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    network = EfficientNetLite0()
    return Encoder(likeness_layer(network), 160, backbone=network)


@pytest.fixture(scope="module")
def feature_map(encoder: Encoder) -> FeatureMap:
    pixels = np.random.default_rng(0).integers(90, 150, (200, 320, 3)).astype(np.uint8)
    pixels[40:120, 60:140] = (250, 30, 20)
    pixels[60:100, 80:120] = (20, 30, 250)
    return encoder(pixels)


def test_cosines_are_those_of_the_projected_means_of_the_bins(feature_map: FeatureMap) -> None:
    box = np.array([60.0, 40.0, 140.0, 120.0])
    boxes, cosines = Example.of(feature_map, box).find(feature_map, 20)
    axes = axes_of(feature_map.cells.shape[0]).numpy().astype(np.float64)
    np.testing.assert_allclose(axes.T @ axes, np.eye(AXES), atol=1e-5)

    def rows(regions: np.ndarray) -> np.ndarray:
        bins = feature_map.averages(regions, LEVELS).numpy().reshape(len(regions), 4, -1)
        return (bins.astype(np.float64) @ axes).reshape(len(regions), -1)

    mine, theirs = rows(box[None])[0], rows(boxes)
    expected = theirs @ mine / np.linalg.norm(theirs, axis=1) / np.linalg.norm(mine)
    np.testing.assert_allclose(cosines, expected, atol=1e-4)
    assert (np.diff(cosines) <= 0).all()


def test_the_example_is_found_first_and_no_place_twice(feature_map: FeatureMap) -> None:
    box = np.array([60.0, 40.0, 140.0, 120.0])
    boxes, cosines = Example.of(feature_map, box).find(feature_map, 5)
    assert 2 <= len(boxes) <= 5
    assert iou(box[None], boxes[:1])[0, 0] >= 0.5
    for one, other in combinations(boxes, 2):
        low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
        shared = (high - low).clip(0).prod()
        assert shared < SAME * min(area(one[None])[0], area(other[None])[0])
    assert cosines.max() <= 1 + 1e-5


def test_an_image_is_compared_as_a_whole(encoder: Encoder, feature_map: FeatureMap) -> None:
    other = encoder(np.full((100, 90, 3), 128, dtype=np.uint8))
    example = Example.of(feature_map)
    (itself,), (one,) = example.find(feature_map, 5)
    (box,), (cosine,) = example.find(other, 5)
    assert itself.tolist() == [0, 0, 320, 200]
    assert box.tolist() == [0, 0, 90, 100]
    assert one == pytest.approx(1, abs=1e-5)
    assert cosine < one


def test_a_box_as_large_as_the_image_has_a_grid_too(feature_map: FeatureMap) -> None:
    boxes, _ = Example.of(feature_map, np.array([0.0, 0.0, 320.0, 200.0])).find(feature_map, 5)
    assert len(boxes) >= 1
    tiny, _ = Example.of(feature_map, np.array([10.0, 10.0, 13.0, 13.0])).find(feature_map, 5)
    assert len(tiny) == 5
