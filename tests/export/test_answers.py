"""A graph that answers otherwise than its model is refused before anything is written."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.export.conftest import LEVELS, drawn_model

from sppnet import Classifier, Detector, export_classifier, export_detector
from sppnet.detection.scale import LONGEST
from sppnet.errors import ArgumentError
from sppnet.export import classifier, detector

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


def _refused(what: str, folder: Path, export: Callable[..., None], model: object, **how: object) -> None:
    with pytest.raises(ArgumentError, match=REFUSED.format(what)):
        export(model, folder, **how)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("scaling", ["inside", "outside"])
def test_a_graph_that_answers_otherwise_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scaling: str
) -> None:
    monkeypatch.setattr(classifier, "SHORTEST", 1e6)
    _refused("scores", tmp_path, export_classifier, _classifier(), scaling=scaling)
    monkeypatch.setattr(detector, "SCORE_FLOOR", 1e6)
    _refused("detections", tmp_path, export_detector, _detector(), scaling=scaling)


def test_a_model_of_the_largest_scale_that_is_chosen_has_room_for_what_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sppnet.images.pixels.MAX_SCALED_PIXELS", math.ceil(LONGEST * 96**2))
    export_detector(_detector(), tmp_path)
    assert (tmp_path / "model.onnx").is_file()


def test_a_graph_that_gives_no_numbers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "SHORTEST", np.nan)
    _refused("scores", tmp_path, export_classifier, _classifier())


def test_a_graph_that_pools_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "clip_boxes", lambda boxes, _: boxes * 0.5)
    _refused("features", tmp_path, export_detector, _detector(), boxes=True)
