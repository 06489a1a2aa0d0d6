"""The engines answer alike."""

import numpy as np
from PIL import Image
from tests.export.conftest import LEVELS, assert_same, drawn_model

from sppnet import Classifier, Detector
from sppnet.export.engine import OnnxClassifier, OnnxDetector


def _image(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(height)
    coarse = rng.integers(0, 256, (height // 12 + 1, width // 12 + 1, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def test_detectors_find_the_same() -> None:
    model = drawn_model(("stride8",))
    detector = Detector(levels=LEVELS, encoder=model.encoder)
    detector._model = model
    for threshold in (None, 0.2):
        engine = OnnxDetector(detector, threshold=threshold, threads=1)
        for size in ((1, 1), (97, 140), (300, 200)):
            found, expected = engine.detect(_image(*size)), detector.detect(_image(*size), threshold=threshold)
            assert found.classes == expected.classes
            assert_same(found.boxes, found.labels, found.confidence, expected, where=size)


def test_classifiers_name_the_same() -> None:
    classifier = Classifier.imagenet(short_side=64)
    engine = OnnxClassifier(classifier, threads=1)
    for size in ((3, 5), (97, 140)):
        found, expected = engine.predict(_image(*size)), classifier.predict(_image(*size))
        assert found.label == expected.label
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)
