"""By every engine a model answers alike, whatever is asked of it."""

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.export.conftest import CLASSES, LEVELS, assert_same, drawn_model

from sppnet import Classifier, Detector, export_classifier, export_detector
from sppnet.backbones import EfficientNetLite0, backbone
from sppnet.errors import ArgumentError, MissingExtraError
from sppnet.export import installed
from sppnet.export.engine import ENGINES, EngineNetwork, compare_engines, run_by
from sppnet.features.files import encoder_of

SIZES = [(1, 1), (97, 140), (300, 200)]


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> str:
    """Return each engine that is installed."""
    name = str(request.param)
    pytest.importorskip(name, reason=f"needs {name}: pip install 'sppnet[{installed.EXTRAS[name]}]'")
    return name


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Have PyTorch, and so the engines, take two threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def _image(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(height)
    coarse = rng.integers(0, 256, (height // 12 + 1, width // 12 + 1, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def _detector(scales: tuple[int, ...] = (96,)) -> Detector:
    model = drawn_model(("stride8", "stride16"), scales=scales)
    detector = Detector(levels=LEVELS, encoder=model.encoder)
    detector._model = model
    return detector


@pytest.mark.parametrize("scales", [(96,), (80, 112)], ids=["one scale", "two scales"])
@pytest.mark.slow
def test_a_detector_finds_explains_and_pools_the_same(engine: str, scales: tuple[int, ...]) -> None:
    detector, other = _detector(scales), run_by(_detector(scales), engine)
    for size in SIZES:
        image = _image(*size)
        expected, found = detector.detect(image), other.detect(image)
        assert found.classes == CLASSES
        assert_same(found.boxes, found.labels, found.confidence, expected, where=size)
        np.testing.assert_allclose(np.sort(found.scores), np.sort(expected.scores), atol=1e-2)
        box = np.array([[0.0, 0.0, size[1], size[0]]])
        np.testing.assert_allclose(other.features(image, box)[0], detector.features(image, box)[0], atol=5e-3)
        for row, explained in enumerate(other.explain(other.encode(image), found)):
            assert explained.score == pytest.approx(float(found.scores[row]), abs=1e-4)


def test_a_classifier_names_and_explains_the_same(engine: str) -> None:
    classifier, other = Classifier.imagenet(short_side=64), run_by(Classifier.imagenet(short_side=64), engine)
    for size in SIZES:
        (found, explained), (expected, _) = other.explain(_image(*size)), classifier.explain(_image(*size))
        assert found.label == expected.label
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)
        assert len(explained) == 1


@pytest.mark.usefixtures("two_threads")
def test_the_maps_are_pytorchs_on_two_threads_and_of_several_images(engine: str) -> None:
    network, pixels = EfficientNetLite0(), torch.randn(3, 3, 40, 70, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network.activations(pixels, ["stride8", "head"])
        found = EngineNetwork(network, engine).activations(pixels, ["stride8", "head"])
    assert list(found) == ["stride8", "head"]
    for layer, values in found.items():
        torch.testing.assert_close(values, expected[layer], rtol=1e-3, atol=1e-3)
        assert values.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.slow
def test_what_it_learns_is_saved_as_of_the_network_itself(engine: str, tmp_path: Path) -> None:
    labels = [{"boxes": np.array([[10.0, 10.0, 50.0, 50.0]]), "labels": np.array([0])}] * 2
    learnt = Detector(short_side=96, backbone=EngineNetwork(backbone(), engine))
    learnt.fit([_image(120, 90), _image(97, 140)], labels, classes=["corner"])
    learnt.save(tmp_path / "model.safetensors")
    again = Detector.load(tmp_path / "model.safetensors")
    assert again.backbone == "efficientnet_lite0"
    found, expected = (each.detect(_image(120, 90), threshold=0) for each in (learnt, again))
    assert_same(found.boxes, found.labels, found.confidence, expected)


def test_it_is_tuned_as_the_network_itself(engine: str) -> None:
    network = backbone()
    copied = copy.deepcopy(EngineNetwork(network, engine))
    assert type(copied) is type(network)
    assert copied is not network


def test_engines_are_compared_in_turn_pytorch_first(engine: str) -> None:
    encoder = encoder_of(("stride16",), (64,))
    seconds = compare_engines(encoder, _image(64, 90))
    assert next(iter(seconds)) == "torch"
    assert engine in seconds
    assert min(seconds.values()) > 0
    encoder.backbone = EngineNetwork(encoder.backbone, engine)
    assert list(compare_engines(encoder, _image(64, 90))) == list(seconds)


def test_weights_of_another_network_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = EngineNetwork(EfficientNetLite0(), "onnxruntime")
    monkeypatch.setattr(EngineNetwork, "fingerprint", "another")
    told = r"encode_by: network must be efficientnet_lite0 with weights \w+, got .* with weights another\. Give the"
    for model in (_detector(), Classifier.imagenet(short_side=64)):
        with pytest.raises(ArgumentError, match=told):
            model.encode_by(other)


def test_a_network_on_another_device_is_refused(tmp_path: Path) -> None:
    told = r"{0}: network must be on the processor, got one on meta\. Move its model there with model\.to\(\"cpu\"\)\."
    detector, classifier = _detector(), Classifier.imagenet(short_side=64)
    for encoder in (detector.model_.encoder, classifier.encoder_.encoder):
        encoder.backbone.to("meta")  # type: ignore[attr-defined]
        with pytest.raises(ArgumentError, match=told.format("compare_engines")):
            compare_engines(encoder, _image(64, 90))
    for refused in (
        lambda: export_detector(detector, tmp_path),
        lambda: export_classifier(classifier, tmp_path),
        lambda: run_by(detector, "onnxruntime"),
        lambda: run_by(classifier, "onnxruntime"),
    ):
        with pytest.raises(ArgumentError, match=told.format("EngineNetwork")):
            refused()
    on_engine = run_by(_detector(), "onnxruntime").model_.encoder.backbone  # type: ignore[union-attr]
    assert on_engine.to("cpu") is on_engine  # type: ignore[attr-defined]
    with pytest.raises(ArgumentError, match=told.format("EngineNetwork")):
        on_engine.to("meta")  # type: ignore[attr-defined]


def test_an_engine_that_is_unknown_or_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ArgumentError, match=r"engine must be one of torch, onnxruntime, openvino, got 'tvm'\. Name one of these"
    ):
        run_by(_detector(), "tvm")
    monkeypatch.setattr(installed, "find_spec", lambda name: None if name == "openvino" else name)
    with pytest.raises(MissingExtraError, match=r"needs openvino\. Install it with: pip install 'sppnet\[openvino\]'"):
        run_by(_detector(), "openvino")
    encoder = encoder_of(("stride16",), (64,))
    monkeypatch.setattr(installed, "find_spec", lambda _: None)
    assert list(compare_engines(encoder, _image(64, 90))) == ["torch"]
