"""A graph that answers otherwise than its model is refused before anything is written."""

from pathlib import Path

import numpy as np
import pytest
from tests.export.conftest import LEVELS, drawn_model

from sppnet import Classifier, Detector, export_classifier, export_detector
from sppnet.errors import ArgumentError
from sppnet.export import answers, classifier, detector

REFUSED = r"export: model must be one whose graph gives its {0}, got other {0} of 97 x 131 pixels\. Take a model on"


def _detector() -> Detector:
    model = drawn_model(("stride8",))
    made = Detector(levels=LEVELS, encoder=model.encoder)
    made._model = model
    return made


def _classifier() -> Classifier:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (64, 80, 3)).astype(np.uint8) // shade for shade in (1, 2, 3, 4)]
    return Classifier(short_side=64).fit(images, ["light", "light", "dark", "dark"])


@pytest.mark.parametrize("scaling", ["inside", "outside"])
def test_a_classifier_whose_graph_scores_otherwise_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scaling: answers.Any
) -> None:
    monkeypatch.setattr(classifier, "SHORTEST", 1e6)
    with pytest.raises(ArgumentError, match=REFUSED.format("scores")):
        export_classifier(_classifier(), tmp_path, scaling=scaling)
    assert not list(tmp_path.iterdir())


def test_a_classifier_whose_graph_gives_no_numbers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "SHORTEST", np.nan)
    with pytest.raises(ArgumentError, match=REFUSED.format("scores")):
        export_classifier(_classifier(), tmp_path)


@pytest.mark.parametrize("scaling", ["inside", "outside"])
def test_a_detector_whose_graph_finds_others_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scaling: answers.Any
) -> None:
    monkeypatch.setattr(detector, "PER_CLASS", 1)
    with pytest.raises(ArgumentError, match=REFUSED.format("detections")):
        export_detector(_detector(), tmp_path, scaling=scaling)
    assert not list(tmp_path.iterdir())


def test_a_detector_whose_graph_pools_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "clip_boxes", lambda boxes, _: boxes * 0.5)
    with pytest.raises(ArgumentError, match=REFUSED.format("features")):
        export_detector(_detector(), tmp_path, boxes=True)
    assert not list(tmp_path.iterdir())
