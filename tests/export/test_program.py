"""A model as a program of PyTorch finds what the model finds."""

from io import BytesIO

import numpy as np
import onnx
import pytest
import torch
from tests.export.conftest import LEVELS, SIZES, assert_same, drawn_model, image_of, scaled_inputs

from sppnet import Classifier
from sppnet.backbones import backbone
from sppnet.classification.views import Views
from sppnet.export.classifier import classifier_graph
from sppnet.export.detector import boxes_graph, detector_graph
from sppnet.export.graph import Graph
from sppnet.export.images import image_inputs
from sppnet.export.pooling import block_table, pooled_windows
from sppnet.export.program import GraphModule, exported_program
from sppnet.features.scene import Scene
from sppnet.geometry import shorter_side_size
from sppnet.images import resize
from sppnet.ops import pool_windows


def _saved(graph: onnx.ModelProto) -> torch.nn.Module:
    file = BytesIO()
    torch.export.save(exported_program(graph), file)
    file.seek(0)
    return torch.export.load(file).module()


def _asked(program: torch.nn.Module, given: dict[str, np.ndarray]) -> list[np.ndarray]:
    with torch.no_grad():
        return [each.numpy() for each in program(*(torch.from_numpy(np.array(value)) for value in given.values()))]


@pytest.mark.parametrize("scales", [(96,), (80, 112)], ids=["one scale", "two scales"])
@pytest.mark.slow
def test_operator_by_operator_it_finds_what_the_detector_finds(scales: tuple[int, ...]) -> None:
    model = drawn_model(("stride8", "stride16"), scales=scales)
    program = GraphModule(detector_graph(model, scaled=True))
    for size in [(1, 1), (97, 101), (30, 400)]:
        image = image_of(*size)
        expected = model.detect(Scene(image, model.encoder))
        assert_same(*_asked(program, scaled_inputs(model, image)), expected, where=size)


@pytest.mark.slow
def test_a_saved_program_scales_within_as_the_detector_does() -> None:
    graph = Graph()
    (scaled,), _ = image_inputs(graph, [96], scaled=False)
    graph.output("scaled", scaled, ["h", "w", 3])
    program = _saved(graph.model())
    for size in [(97, 141), (300, 200), (60, 90), (400, 120), (1, 1)]:
        (found,) = _asked(program, {"image": image_of(*size)})
        np.testing.assert_array_equal(found, resize(image_of(*size), shorter_side_size(size, 96)))


def test_given_boxes_have_their_features() -> None:
    model, image = drawn_model(("stride8",)), image_of(97, 141)
    boxes = np.array([[0, 0, 50, 60], [30, 20, 90, 97]], dtype=np.float32)
    program = GraphModule(boxes_graph(model, scaled=True))
    features, _ = _asked(program, scaled_inputs(model, image) | {"boxes": boxes})
    np.testing.assert_allclose(features, model.encoder(image).pool(boxes, LEVELS).numpy(), atol=5e-3)


@pytest.fixture(scope="module")
def learnt() -> Classifier:
    """Return a classifier on a network whose maps have values below 0."""
    network, images = backbone("torchvision/mobilenet_v3_small", weights="random"), [image_of(64, 96), image_of(96, 64)]
    classifier = Classifier(short_side=64, backbone=network).fit(images, ["wide", "tall"])
    assert float(classifier.encoder_.compute(images[0]).min()) < 0
    return classifier


def test_operator_by_operator_a_learnt_classifier_scores_the_same(learnt: Classifier) -> None:
    program, image = GraphModule(classifier_graph(learnt, scaled=True)), image_of(64, 96)
    (scores,) = _asked(program, {"image": image})
    np.testing.assert_allclose(scores, learnt.predict(image).scores, atol=5e-3)


@pytest.mark.slow
def test_a_saved_learnt_classifier_scores_the_same_at_any_size(learnt: Classifier) -> None:
    program = _saved(classifier_graph(learnt, scaled=True))
    for size in [(64, 64), (64, 96), (160, 64)]:
        (scores,) = _asked(program, {"image": image_of(*size)})
        np.testing.assert_allclose(scores, learnt.predict(image_of(*size)).scores, atol=5e-3)


@pytest.mark.slow
def test_a_saved_program_finds_what_the_detector_finds() -> None:
    model = drawn_model(("stride8",))
    program, found_any = _saved(detector_graph(model, scaled=True)), 0
    for size in SIZES:
        image = image_of(*size)
        expected = model.detect(Scene(image, model.encoder))
        assert_same(*_asked(program, scaled_inputs(model, image)), expected, where=size)
        found_any += len(expected)
    assert found_any > 30


@pytest.mark.slow
def test_a_saved_program_pools_maps_of_any_size() -> None:
    graph, levels = Graph(), (3, 2, 1)
    cells, windows = graph.input("cells", np.float16, ["h", "w", 8]), graph.input("windows", np.int64, ["r", 4])
    graph.output("rows", pooled_windows(block_table(graph, cells, levels), windows, levels), ["r", "d"])
    program, rng = _saved(graph.model()), np.random.default_rng(0)
    for height, width, count in ((60, 80, 50), (1, 1, 1), (5, 1, 0), (2, 7, 1)):
        values = torch.from_numpy(rng.normal(size=(height, width, 8)).astype(np.float16))
        first = np.stack([rng.integers(0, width, count), rng.integers(0, height, count)], axis=1)
        ends = np.minimum(first + rng.integers(1, 30, (count, 2)), (width, height))
        given = torch.from_numpy(np.concatenate([first, ends], axis=1))
        expected = pool_windows(values.permute(2, 0, 1).float(), given, levels=levels).transpose(1, 2).flatten(1)
        assert torch.equal(program(values, given)[0], expected)


@pytest.mark.slow
@pytest.mark.parametrize("views", ["whole", "mirrored"])
def test_a_saved_classifier_scores_as_the_classifier_does(views: Views) -> None:
    classifier = Classifier.imagenet(short_side=96, views=views)
    program = _saved(classifier_graph(classifier))
    for size in [(60, 90), (30, 400), (224, 224)]:
        (scores,) = _asked(program, {"image": image_of(*size)})
        np.testing.assert_allclose(scores, classifier.predict(image_of(*size)).scores, atol=5e-3)
