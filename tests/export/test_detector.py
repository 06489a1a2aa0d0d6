"""An exported detector finds what the detector finds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tests.export.conftest import CLASSES, GRID, LEVELS, SIZES, assert_same, drawn_model, image_of, scaled_inputs

from sppnet.detection.settings import PAPER, RELEASED, Settings
from sppnet.errors import ArgumentError
from sppnet.export.detector import boxes_graph, detector_graph
from sppnet.features.layers import FullyConnected, LayeredEncoder, RegionLayers
from sppnet.features.scene import Scene
from sppnet.geometry import clip_boxes
from sppnet.images import is_image, read_image
from sppnet.proposals.learnt import LearntProposals
from sppnet.proposals.opencv import EdgeBoxes


def _session(graph: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("settings", [Settings(), PAPER, RELEASED], ids=["ours", "paper", "released"])
@pytest.mark.parametrize("layers", [("stride8",), ("stride8", "stride16")], ids="-".join)
@pytest.mark.slow
def test_it_finds_what_the_detector_finds(layers: tuple[str, ...], settings: Settings) -> None:
    model = drawn_model(layers, settings=settings)
    session, found_any = _session(detector_graph(model, scaled=True)), 0
    for size in SIZES:
        image = image_of(*size)
        expected = model.detect(Scene(image, model.encoder))
        boxes, labels, confidence = session.run(None, scaled_inputs(model, image))
        assert_same(boxes, labels, confidence, expected, where=size)
        found_any += len(labels)
    assert found_any > 30


@pytest.mark.parametrize("settings", [Settings(), RELEASED], ids=["ours", "released"])
@pytest.mark.slow
def test_each_region_is_taken_from_the_scale_that_suits_it(settings: Settings) -> None:
    model = drawn_model(("stride8", "stride16"), settings=settings, scales=(80, 112))
    assert len(set(model.encoder(image_of(97, 101)).chosen(GRID.of_size((97, 101))))) == 2
    session, found_any = _session(detector_graph(model, scaled=True)), 0
    for size in SIZES:
        image = image_of(*size)
        expected = model.detect(Scene(image, model.encoder))
        assert_same(*session.run(None, scaled_inputs(model, image)), expected, where=size)
        found_any += len(expected)
    assert found_any > 30


def test_an_image_that_counts_as_several_gives_as_many_more(monkeypatch: pytest.MonkeyPatch) -> None:
    model = drawn_model(("stride8",))
    image, expected = image_of(200, 300), []
    for large in (1e6, 96 * 96 * 1.5 / 4):
        for module in ("geometry.sizes", "export.regions"):
            monkeypatch.setattr(f"sppnet.{module}.LARGE", large)
        for module in ("detection.model", "export.detector"):
            monkeypatch.setattr(f"sppnet.{module}.PER_CLASS", 2)
            monkeypatch.setattr(f"sppnet.{module}.GOOD", 1e6)
        expected.append(model.detect(Scene(image, model.encoder)))
        assert_same(*_session(detector_graph(model, scaled=True)).run(None, scaled_inputs(model, image)), expected[-1])
    assert len(expected[1]) > len(expected[0]) > 0


def test_limits_take_nothing_that_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = drawn_model(("stride8",)), image_of(97, 101)
    for module in ("detection.model", "export.detector"):
        monkeypatch.setattr(f"sppnet.{module}.PER_CLASS", 2)
        monkeypatch.setattr(f"sppnet.{module}.CANDIDATES", 4)
    expected = model.detect(Scene(image, model.encoder))
    assert max(expected.counts().values()) > 2 * 2  # two turns
    assert_same(*_session(detector_graph(model, scaled=True)).run(None, scaled_inputs(model, image)), expected)


@pytest.mark.parametrize("scales", [(96,), (80, 112)], ids=["one scale", "two scales"])
def test_learnt_proposals_rank_the_same_regions(scales: tuple[int, ...]) -> None:
    plain = drawn_model(("stride8",), scales=scales)
    length = plain.encoder.length((2, 1))
    weights = torch.randn(1, length, generator=torch.Generator().manual_seed(5)) * 0.01
    learnt = LearntProposals(plain.encoder.fingerprint, GRID, weights, torch.zeros(1), limit=200)
    model = replace(plain, proposals=learnt)
    session, image = _session(detector_graph(model, scaled=True)), image_of(200, 300)
    expected = model.detect(Scene(image, model.encoder))
    assert_same(*session.run(None, scaled_inputs(model, image)), expected)


def test_scaled_within_it_finds_the_same() -> None:
    model = drawn_model(("stride8",))
    session = _session(detector_graph(model))
    for size in SIZES:
        image = image_of(*size)
        expected = model.detect(Scene(image, model.encoder))
        assert_same(*session.run(None, {"image": image}), expected, where=size)


@pytest.mark.parametrize("scales", [(96,), (80, 112)], ids=["one scale", "two scales"])
@pytest.mark.parametrize("layers", [("stride8",), ("stride8", "stride16")], ids="-".join)
@pytest.mark.slow
def test_given_boxes_have_their_features_and_confidence(layers: tuple[str, ...], scales: tuple[int, ...]) -> None:
    model, image = drawn_model(layers, scales=scales), image_of(97, 141)
    rng = np.random.default_rng(0)
    corner, far = rng.uniform(0, 60, (40, 2)), rng.uniform(1, 80, (40, 2))
    boxes = np.concatenate([corner, corner + far], axis=1).astype(np.float32)
    session = _session(boxes_graph(model, scaled=True))
    features, confidence = session.run(None, scaled_inputs(model, image) | {"boxes": boxes})
    maps, inside = model.encoder(image), clip_boxes(boxes.astype(np.float64), (97, 141))
    np.testing.assert_allclose(features, maps.pool(inside, LEVELS).numpy(), atol=5e-3)
    scores = model.head.scores(maps, inside)
    for label in range(len(CLASSES)):
        expected = model.calibration.probabilities(
            scores[:, label], np.full(len(boxes), label), np.zeros((len(boxes), 2))
        )
        np.testing.assert_allclose(confidence[:, label], expected, atol=1e-3)
    none = session.run(None, scaled_inputs(model, image) | {"boxes": np.zeros((0, 4), np.float32)})
    assert [len(each) for each in none] == [0, 0]


def test_only_standard_operators_are_used() -> None:
    graph = detector_graph(drawn_model(("stride8", "stride16")))
    assert {(each.domain, each.version) for each in graph.opset_import} == {("", 18)}
    onnx.checker.check_model(graph, full_check=True)


def test_what_has_no_graph_is_refused() -> None:
    model = drawn_model(("stride8",))
    layers = RegionLayers((FullyConnected(torch.zeros(4, model.encoder.length(LEVELS)), torch.zeros(4)),))
    told = r"export: model must be without layers between maps and scores, got one with them\. Export a detector that"
    with pytest.raises(ArgumentError, match=told):
        detector_graph(replace(model, encoder=LayeredEncoder(model.encoder, layers)))
    searched = replace(model, proposals=EdgeBoxes(100))
    with pytest.raises(ArgumentError, match=r"model must be one whose regions are a grid's, got edge-boxes\. Train it"):
        detector_graph(searched)


@pytest.mark.slow
def test_it_finds_what_the_detector_finds_in_real_images(shared_data: Path) -> None:
    model = drawn_model(("stride8", "stride16"), scales=(160,))
    session, found_any = _session(detector_graph(model, scaled=True)), 0
    for name in ("bccd", "caltech101", "pcb", "raccoon"):
        paths = sorted(path for path in (shared_data / name).rglob("*") if is_image(path))
        for path in paths[:: max(1, len(paths) // 12)][:12]:
            image = read_image(path)
            expected = model.detect(Scene(image, model.encoder))
            boxes, labels, confidence = session.run(None, scaled_inputs(model, image))
            assert_same(boxes, labels, confidence, expected, where=path)
            found_any += len(labels)
    assert found_any > 100
