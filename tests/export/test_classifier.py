"""An exported classifier scores as the classifier does."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from sppnet import Classifier
from sppnet.backbones import backbone
from sppnet.classification.views import Views
from sppnet.data import FolderData
from sppnet.errors import ArgumentError
from sppnet.export.classifier import classifier_graph

SIZES = [(1, 1), (60, 90), (97, 101), (30, 400), (224, 224)]


def _image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3)).astype(np.uint8)


def _session(graph: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """Return a classifier of four images."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("images")
    paths: list[Path] = []
    for number, size in enumerate([(80, 90), (70, 120), (90, 60), (100, 100)]):
        paths.append(folder / f"{number}.png")
        Image.fromarray(_image(*size)).save(paths[-1])
    return Classifier(short_side=96).fit(FolderData(folder, ("one", "two"), tuple(paths), np.array([0, 0, 1, 1]), ()))


@pytest.mark.parametrize("views", ["whole", "mirrored"])
@pytest.mark.parametrize("kind", ["learnt", "published"])
def test_it_scores_as_the_classifier_does(kind: str, views: Views, learnt: Classifier) -> None:
    classifier = learnt if kind == "learnt" else Classifier.imagenet(short_side=96)
    classifier.encoder_.mirrored = views == "mirrored"
    session = _session(classifier_graph(classifier))
    for size in SIZES:
        (scores,) = session.run(None, {"image": _image(*size)})
        np.testing.assert_allclose(scores, classifier.predict(_image(*size)).scores, atol=5e-3)


def test_of_a_network_whose_maps_go_below_0_it_scores_as_the_classifier_does() -> None:
    network, images = backbone("torchvision/mobilenet_v3_small", weights="random"), [_image(*size) for size in SIZES]
    classifier = Classifier(short_side=96, backbone=network).fit(images, ["a", "a", "b", "b", "b"])
    assert min(float(classifier.encoder_.compute(image).min()) for image in images) < 0
    session = _session(classifier_graph(classifier))
    for image in images:
        (scores,) = session.run(None, {"image": image})
        np.testing.assert_allclose(scores, classifier.predict(image).scores, atol=5e-3)


def test_of_two_views_the_weights_are_written_once(learnt: Classifier) -> None:
    sizes = []
    for mirrored in (False, True):
        learnt.encoder_.mirrored = mirrored
        sizes.append(classifier_graph(learnt).ByteSize())
    assert sizes[0] < sizes[1] < 1.01 * sizes[0]


def test_averages_of_parts_are_refused() -> None:
    classifier = Classifier.imagenet()
    classifier.encoder_.levels = (2, 1)
    with pytest.raises(ArgumentError, match=r"export: model must be of maxima, or of one average, got \(2, 1\)"):
        classifier_graph(classifier)
