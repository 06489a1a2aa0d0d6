"""Another device: the same answers; and what is said where it is not there."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from sppnet import Detector, load_detection
from sppnet.backbones import chosen_backbone
from sppnet.errors import ArgumentError
from sppnet.features.joined import JoinedMaps
from sppnet.features.maps import CHUNK, FeatureMap, device_chunks
from sppnet.geometry import AxisGrid, CellGrid
from sppnet.ops import pool_chunks

AXIS = AxisGrid(8.0, 3.5)


def test_the_chunks_of_a_device_are_those_of_the_processor() -> None:
    features = torch.rand(6, 9, 11)
    left, top = np.divmod(np.arange(CHUNK + 5) % 80, 9)
    windows = torch.from_numpy(np.stack([left, top, left + 2, top + 1], axis=1))
    ours = torch.cat([rows.clone() for rows in device_chunks(features, windows, (2, 1))])
    assert torch.equal(ours, torch.cat([rows.clone() for rows in pool_chunks(features, windows, levels=(2, 1))]))
    assert [len(rows) for rows in device_chunks(features, windows, (2, 1))] == [CHUNK, 5]


def test_scores_do_not_depend_on_where_a_map_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    made = FeatureMap(torch.rand(6, 9, 11).half(), CellGrid(AXIS, AXIS), (72, 88), (72, 88))
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 40, (30, 2))
    regions = np.concatenate([corners, corners + rng.uniform(5, 30, (30, 2))], axis=1)
    weights, bias = torch.rand(3, 30), torch.rand(3)
    expected = made.score(regions, (2, 1), weights, bias)
    device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
    there = FeatureMap(made.values.to(device), made.grid, made.size, made.scaled)
    torch.testing.assert_close(there.score(regions, (2, 1), weights, bias), expected, atol=1e-4, rtol=1e-4)
    assert there.pool(regions, (2, 1)).device.type == device.type


def test_no_regions_have_scores_where_the_maps_lie() -> None:
    """A class without candidates, on a device other than the processor: one that computes nothing will do."""
    grid = CellGrid(AXIS, AXIS)
    finer, coarser = (FeatureMap(torch.zeros(size, 9, 11).to("meta"), grid, (72, 88), (72, 88)) for size in (6, 4))
    weights, bias, none = torch.zeros(3, 6 * 5 + 4), torch.zeros(3), np.zeros((0, 4))
    for scores in (
        JoinedMaps((finer, coarser)).score(none, (2, 1), weights, bias),
        finer.score(none, (2, 1), weights[:, :30], bias),
    ):
        assert (scores.shape, scores.device.type) == ((0, 3), "meta")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_detector_answers_alike_on_a_gpu(shapes: Path) -> None:
    data = load_detection(shapes, split="train")
    detector = Detector(short_side=128).fit(data)
    first = detector.detect(data.samples[0].path)
    second = detector.to("cuda").detect(data.samples[0].path)
    np.testing.assert_allclose(first.boxes, second.boxes, atol=0.5)
    np.testing.assert_allclose(first.confidence, second.confidence, atol=0.02)


def test_a_device_that_is_not_there_is_named(shapes: Path) -> None:
    data = load_detection(shapes, split="train")
    for name in ("tpu", "cpu:x", "cuda:99", None, *(() if torch.cuda.is_available() else ("cuda",))):
        with pytest.raises(ArgumentError, match=rf"backbone: device must be auto.* or cpu on .*, got '{name}'"):
            Detector(device=name).fit(data)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"backbone must be a name, or what sppnet\.backbone makes .*, got ResNet"):
        Detector(backbone=torchvision.models.resnet18()).fit(data)
    assert str(chosen_backbone("efficientnet_lite0", torch.device("cpu")).device) == "cpu"
