"""Features of layers against the network's own, and the two protocols on data whose answers are known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sppnet.backbones import PublishedNet
from sppnet.classification.transfer import (
    all_features,
    caltech_accuracy,
    caltech_split,
    layer_features,
    mean_precision,
    voc_precisions,
    voc_targets,
)
from sppnet.data import DetectionData, Sample
from sppnet.errors import ArgumentError, ShapeError
from sppnet.images import resize

LAYERS = ("conv4", "6x6", "pool5", "fc6", "fc8")


@pytest.fixture(scope="module")
def net() -> PublishedNet:
    torch.manual_seed(0)
    return PublishedNet("zf5", levels=(3, 1), classes=5, width=0.05).eval()


def _image(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)


# Features


def test_layers_are_the_networks_own_at_length_one(net: PublishedNet) -> None:
    image = _image(150, 190)
    found = layer_features(net, image, LAYERS, view="warp", side=160)
    pixels = torch.from_numpy(resize(image, (160, 160)).copy()).permute(2, 0, 1)[None].float() - 128
    with torch.no_grad():
        activations = net.activations(pixels, ["conv4", "conv5", "pool5", "fc6", "fc8"])
        finest = torch.nn.functional.adaptive_max_pool2d(activations.pop("conv5"), 6)
    for layer, values in (activations | {"6x6": finest}).items():
        torch.testing.assert_close(found[layer], values.flatten() / values.norm())


@pytest.mark.parametrize(("view", "cells"), [("crop", (13, 13)), ("warp", (13, 13)), ("whole", (13, 18))])
def test_views_of_a_wide_image(net: PublishedNet, view: str, cells: tuple[int, int]) -> None:
    (vector,) = layer_features(net, _image(100, 141), ["conv5"], view=view, side=224).values()  # type: ignore[arg-type]
    assert len(vector) == net.channels["conv5"] * cells[0] * cells[1]


def test_the_crop_is_the_middle_of_the_image(net: PublishedNet) -> None:
    image = _image(224, 400)
    (crop,) = layer_features(net, image, ["pool5"], view="crop").values()
    (middle,) = layer_features(net, np.ascontiguousarray(image[:, 88:312]), ["pool5"], view="whole").values()
    torch.testing.assert_close(crop, middle)


def test_a_view_can_be_smaller_than_the_trainings(net: PublishedNet) -> None:
    assert len(layer_features(net, _image(50, 60), ["fc6"], view="crop", side=64)["fc6"]) == net.fc["fc6"].out_features


def test_many_images_are_the_rows_of_single_ones(net: PublishedNet, shapes: Path) -> None:
    paths = sorted((shapes / "JPEGImages").iterdir())[:3]
    rows = all_features(net, paths, ["pool5", "fc8"])
    for layer in ("pool5", "fc8"):
        for path, row in zip(paths, rows[layer], strict=True):
            np.testing.assert_array_equal(layer_features(net, path, [layer])[layer].half().numpy(), row)


def test_unknown_views_and_layers_are_refused(net: PublishedNet) -> None:
    with pytest.raises(ArgumentError, match="layer_features: view must be crop, warp or whole, got 'half'"):
        layer_features(net, _image(50, 50), ["fc6"], view="half")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="layer must be one of conv1"):
        layer_features(net, _image(50, 50), ["fc9"])
    plain = PublishedNet("zf5", levels=None, classes=5, width=0.05).eval()
    with pytest.raises(ShapeError, match="6 x 6 cells once pooled"):
        layer_features(plain, _image(90, 200), ["fc6"])


# Caltech-101


def test_a_split_has_thirty_to_learn_and_at_most_fifty_to_test() -> None:
    labels = np.repeat(np.arange(3), (31, 70, 120))
    learnt, test = caltech_split(labels, 0)
    assert np.bincount(labels[learnt]).tolist() == [30, 30, 30]
    assert np.bincount(labels[test]).tolist() == [1, 40, 50]
    assert not set(learnt) & set(test)
    assert set(caltech_split(labels, 1)[0]) != set(learnt)
    np.testing.assert_array_equal(caltech_split(labels, 0)[0], learnt)


def test_accuracy_is_one_where_features_tell_and_chance_where_they_do_not() -> None:
    labels = np.repeat(np.arange(4), 45)
    telling = np.eye(4, dtype=np.float32)[labels]
    assert caltech_accuracy(telling, labels, seeds=(0, 1)).tolist() == [1.0, 1.0]
    noise = np.random.default_rng(0).normal(size=(len(labels), 8)).astype(np.float32)
    assert 0.05 < caltech_accuracy(noise, labels, seeds=range(4)).mean() < 0.5


# VOC 2007


def _sample(labels: list[int], difficult: list[bool]) -> Sample:
    boxes = np.array([[0.0, 0.0, 1.0, 1.0]] * len(labels)).reshape(-1, 4)
    return Sample(Path("x"), boxes, np.array(labels), np.array(difficult), np.zeros(len(labels), np.bool_), (9, 9))


def test_difficult_objects_alone_neither_count_nor_contradict() -> None:
    samples = (_sample([0, 1], [False, True]), _sample([1, 1], [True, False]), _sample([2], [True]))
    targets = voc_targets(DetectionData(Path("x"), ("a", "b", "c"), samples, (), "all"))
    assert targets.tolist() == [[1, 0, -1], [-1, 1, -1], [-1, -1, 0]]


def test_precision_is_that_of_the_ranking_and_leaves_out_the_difficult() -> None:
    rng = np.random.default_rng(0)
    targets = np.where(rng.random((40, 2)) < 0.5, 1, -1).astype(np.int8)
    features = (targets + rng.normal(scale=0.1, size=targets.shape)).astype(np.float16)
    assert voc_precisions((features, targets), (features, targets)).tolist() == [1.0, 1.0]
    # An image that shows class 0 best of all but only as a difficult object changes nothing, ...
    extra = np.vstack([features, [[9.0, -1.0]]]).astype(np.float16)
    left_out = np.vstack([targets, [[0, -1]]]).astype(np.int8)
    assert voc_precisions((features, targets), (extra, left_out)).tolist() == [1.0, 1.0]
    # ... and one that does not show it lowers the precision at every recall.
    wrong = voc_precisions((features, targets), (extra, np.vstack([targets, [[-1, -1]]]).astype(np.int8)))
    positives = int((targets[:, 0] == 1).sum())
    expected = np.mean([positives / (positives + 1)] * 11)
    assert wrong[0] == pytest.approx(expected)


def test_a_class_that_is_not_shown_is_left_out_of_the_mean() -> None:
    assert mean_precision(np.array([0.5, np.nan, 1.0])) == 0.75
