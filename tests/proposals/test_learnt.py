"""Learnt proposals: what they keep of the grid, how much of it holds objects, and that a model file keeps them."""

import dataclasses
import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sppnet.cli.commands import app
from sppnet.data import DetectionData, Sample, load_detection
from sppnet.detection.detector import Detector
from sppnet.detection.fine_tuning import fresh_layers
from sppnet.errors import ArgumentError, CorruptFileError
from sppnet.features.encoder import MapsEncoder
from sppnet.features.layers import LayeredEncoder
from sppnet.features.maps import FeatureMap
from sppnet.features.scene import Scene
from sppnet.geometry import iou
from sppnet.proposals.grid import GridProposals
from sppnet.proposals.kinds import proposals_from_description
from sppnet.proposals.learnt import BoxedImage, LearntProposals, learn_proposals
from sppnet.proposals.protocol import covered
from sppnet.storage import TensorCache


@pytest.fixture(scope="module")
def train(shapes: Path) -> DetectionData:
    return load_detection(shapes, split="train")


@pytest.fixture(scope="module")
def val(shapes: Path) -> DetectionData:
    return load_detection(shapes, split="val")


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector(levels=(2, 1), proposals="learnt", cache=TensorCache(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def prepared(untrained: Detector, train: DetectionData) -> tuple[MapsEncoder, LearntProposals]:
    encoder, proposals = untrained.prepare(train)
    assert isinstance(proposals, LearntProposals)
    return encoder, proposals


@pytest.fixture(scope="module")
def encoder(prepared: tuple[MapsEncoder, LearntProposals]) -> MapsEncoder:
    return prepared[0]


@pytest.fixture(scope="module")
def learnt(prepared: tuple[MapsEncoder, LearntProposals]) -> LearntProposals:
    return prepared[1]


def test_few_of_its_regions_reach_every_object(
    encoder: MapsEncoder, learnt: LearntProposals, val: DetectionData
) -> None:
    few = dataclasses.replace(learnt, limit=50)
    for sample in val.samples:
        scene = Scene(sample.path, encoder)
        best, grid = few.regions(scene), scene.maps.unique(learnt.grid.regions(scene))
        assert len(best) == 50 < len(grid) / 10
        assert covered(best, sample.boxes, threshold=0.5).all()
        evenly = grid[np.linspace(0, len(grid) - 1, 50).round().astype(int)]
        assert iou(best, sample.boxes).max(axis=1).mean() > 2 * iou(evenly, sample.boxes).max(axis=1).mean()


def test_a_grid_in_parts_gives_the_same_regions(
    encoder: MapsEncoder, learnt: LearntProposals, val: DetectionData, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, scene = dataclasses.replace(learnt, limit=40), Scene(val.samples[0].path, encoder)
    whole = few.regions(scene)
    monkeypatch.setattr("sppnet.proposals.grid.CHUNK", 1)  # shape by shape
    assert len(list(learnt.grid.chunks(scene.size))) == len(learnt.grid.shapes) > 1
    assert few.regions(scene).tolist() == whole.tolist()


def test_of_an_image_that_counts_as_several_as_many_more_are_kept(
    encoder: MapsEncoder, learnt: LearntProposals, val: DetectionData, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, scene = dataclasses.replace(learnt, limit=20), Scene(val.samples[0].path, encoder)
    height, width = scene.size
    pixels = learnt.grid.short_side**2 * max(height, width) / min(height, width)
    monkeypatch.setattr("sppnet.geometry.sizes.LARGE", pixels / 2.5)
    assert len(few.regions(scene)) == 50


def test_of_a_grid_of_millions_a_part_is_looked_at(
    encoder: MapsEncoder, learnt: LearntProposals, train: DetectionData, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = train.samples[0]
    known = BoxedImage(sample.path, sample.boxes, sample.labels, np.zeros(len(sample.boxes), dtype=np.bool_))
    looked: list[int] = []

    def unique(maps: object, regions: np.ndarray) -> np.ndarray:
        looked.append(len(regions))
        return regions

    monkeypatch.setattr("sppnet.features.maps.FeatureMap.unique", unique)
    monkeypatch.setattr("sppnet.proposals.learnt.MOST_PAIRS", 400 * len(sample.boxes))
    learn_proposals([known], encoder, learnt.grid, len(train.classes))
    assert 300 < looked[0] < 500 < learnt.grid.count(sample.size)


def test_its_regions_are_those_that_rank_highest_in_some_class(
    encoder: MapsEncoder, learnt: LearntProposals, val: DetectionData
) -> None:
    scene = Scene(val.samples[0].path, encoder)
    grid = scene.maps.unique(learnt.grid.regions(scene))
    assert dataclasses.replace(learnt, limit=len(grid)).regions(scene).tolist() == grid.tolist()
    few = {tuple(row) for row in dataclasses.replace(learnt, limit=9).regions(scene)}
    assert len(few) == 9
    scores = (scene.maps.averages(grid, learnt.levels) @ learnt.weights.T + learnt.bias).numpy()  # the readable way
    for label in range(scores.shape[1]):
        best = grid[np.argsort(-scores[:, label], kind="stable")[:4]]  # of two classes, four each and one more
        assert {tuple(row) for row in best} <= few


def test_the_score_follows_the_overlap(encoder: MapsEncoder, learnt: LearntProposals, val: DetectionData) -> None:
    sample = val.samples[1]
    scene = Scene(sample.path, encoder)
    grid = scene.maps.unique(learnt.grid.regions(scene))
    scores = scene.maps.score_averages(grid, learnt.levels, learnt.weights)[:, 0].numpy()
    overlap = iou(grid, sample.boxes[sample.labels == 0]).max(axis=1)
    assert (
        scores[overlap > 0.7].mean() > scores[(overlap > 0.3) & (overlap < 0.5)].mean() > scores[overlap < 0.1].mean()
    )


@pytest.mark.slow
def test_a_detector_on_them_finds_and_is_the_same_once_loaded(
    untrained: Detector, train: DetectionData, val: DetectionData, tmp_path: Path
) -> None:
    untrained.fit(train)
    assert untrained.evaluate(val).mean > 0.9
    untrained.save(tmp_path / "model")
    loaded = Detector.load(tmp_path / "model")
    for sample in val.samples:
        proposed = loaded.propose(sample.path)
        np.testing.assert_array_equal(proposed, untrained.propose(sample.path))
        assert len(proposed) <= 2000
        np.testing.assert_array_equal(loaded.detect(sample.path).boxes, untrained.detect(sample.path).boxes)
    loaded.save(tmp_path / "again")
    again = Detector(levels=(2, 1), proposals="learnt").fit(train)
    again.save(tmp_path / "other")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes() == (tmp_path / "other").read_bytes()


def _boxed(sample: Sample) -> BoxedImage:
    return BoxedImage(sample.path, sample.boxes, sample.labels, sample.difficult | sample.crowd)


def test_ignored_objects_teach_nothing(encoder: MapsEncoder, learnt: LearntProposals, train: DetectionData) -> None:
    sample = train.samples[0]
    hidden = dataclasses.replace(sample, difficult=np.array([True, False]))
    alone = dataclasses.replace(
        sample, **{name: getattr(sample, name)[1:] for name in ("boxes", "labels", "difficult", "crowd")}
    )
    maps = encoder(sample.path)
    scores = []
    for each in (hidden, alone):
        again = learn_proposals([_boxed(one) for one in (*train.samples[1:], each)], encoder, learnt.grid, 2)
        rows = maps.averages(sample.boxes[:1], again.levels)
        scores.append(float((rows @ again.weights.T + again.bias)[0, sample.labels[0]]))
    assert scores[0] > scores[1]  # as background it would be pushed down
    every = dataclasses.replace(sample, difficult=np.array([True, True]))
    with pytest.raises(ArgumentError, match=r"learn_proposals: images must be with an object, got none\. Label an"):
        learn_proposals([_boxed(every)], encoder, learnt.grid, 2)


@pytest.mark.parametrize("asked", ["learnt", None])
def test_an_estimate_learns_nothing(
    asked: Literal["learnt"] | None, train: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it encode more than the one image that it times, where the grid is so large that it will be ranked."""
    monkeypatch.setattr("sppnet.detection.regions.LIMIT", 1)
    cache = TensorCache(tmp_path)
    cost = Detector(proposals=asked, cache=cache).estimate(train)
    assert (cost.missing, len(cache)) == (8, 0)


@pytest.mark.slow
def test_the_command_line_trains_on_them(shapes: Path, tmp_path: Path) -> None:
    options = ["--out", str(tmp_path / "model"), "--proposals", "learnt", "--short-side", "128", "--json"]
    arguments = ["train", "detector", str(shapes), *options, "--cache", str(tmp_path / "cache")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["classes"] == ["disc", "square"]
    loaded = Detector.load(tmp_path / "model")
    image = shapes / "JPEGImages" / "11.png"
    assert 0 < len(loaded.propose(image)) <= 2000


def test_those_of_another_encoder_are_refused(
    encoder: MapsEncoder, learnt: LearntProposals, train: DetectionData
) -> None:
    _, proposals = Detector(levels=(2, 1), proposals=learnt).prepare(train)
    assert proposals is learnt
    layered = LayeredEncoder(encoder, fresh_layers(encoder.length((2, 1))))
    assert Detector(encoder=layered, levels=(2, 1), proposals=learnt).prepare(train) == (layered, learnt)
    scene = Scene(train.samples[0].path, layered)
    np.testing.assert_array_equal(learnt.regions(scene), learnt.regions(Scene(train.samples[0].path, encoder)))
    expected = (
        r"Detector: proposals must be learnt on the detector's encoder, got some of other layers, .* Give proposals="
    )
    with pytest.raises(ArgumentError, match=expected):
        Detector(layers=("stride8",), proposals=learnt).fit(train)


def test_messages(learnt: LearntProposals, train: DetectionData) -> None:
    with pytest.raises(
        ArgumentError, match=r"Detector: proposals must be 'learnt' or a method, got 'taught'\. Name it"
    ):
        Detector(proposals="taught").fit(train)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"LearntProposals: limit must be at least 1, got 0\. Give how many"):
        dataclasses.replace(learnt, limit=0)
    with pytest.raises(CorruptFileError, match=r"the model's proposals lack objectness_weights and objectness_bias\."):
        proposals_from_description(learnt.describe(), {"weights": torch.zeros(1)})
    again = proposals_from_description(json.loads(json.dumps(learnt.describe())), learnt.tensors())
    assert isinstance(again, LearntProposals)
    assert again.describe() == learnt.describe()
    assert isinstance(proposals_from_description(learnt.grid.describe(), {}), GridProposals)


def test_of_an_image_that_is_not_complete_only_what_touches_a_box_is_background(
    encoder: MapsEncoder, learnt: LearntProposals, train: DetectionData, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = train.samples[0]
    one = dataclasses.replace(
        sample, **{name: getattr(sample, name)[:1] for name in ("boxes", "labels", "difficult", "crowd")}
    )
    looked, average = [], FeatureMap.averages

    def averages(maps: FeatureMap, regions: np.ndarray, levels: tuple[int, ...]) -> torch.Tensor:
        looked.append(regions)
        return average(maps, regions, levels)

    monkeypatch.setattr(FeatureMap, "averages", averages)
    partly = dataclasses.replace(_boxed(one), complete=False)
    some = learn_proposals([partly], encoder, learnt.grid, 2)
    least = iou(looked[0], one.boxes).min()
    looked.clear()
    learn_proposals([_boxed(one)], encoder, learnt.grid, 2)
    assert least > 0 == iou(looked[0], one.boxes).min()
    empty = BoxedImage(train.samples[1].path, np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, np.bool_), False)
    again = learn_proposals([empty, partly, empty], encoder, learnt.grid, 2)  # nothing is known of it
    assert torch.equal(again.weights, some.weights)
