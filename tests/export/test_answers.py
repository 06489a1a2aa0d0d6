"""A graph that answers otherwise than its model is refused before anything is written."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.export.conftest import GRID, LEVELS, drawn_model, image_of

from sppnet import Classifier, Detector, export_classifier, export_detector
from sppnet.errors import ArgumentError
from sppnet.export import classifier, detector
from sppnet.export.answers import untiled
from sppnet.features.scene import Scene
from sppnet.proposals.grid import GridProposals
from sppnet.proposals.learnt import LearntProposals

REFUSED = r"export: model must be one whose graph gives its {0}, got other {0} of 97 x 131 pixels\. Take a model on"


def _detector(scales: tuple[int, ...] = (96,)) -> Detector:
    model = drawn_model(("stride8",), scales=scales)
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


@pytest.mark.parametrize("scales", [(300,), (200, 300)], ids=["one scale", "two scales"])
@pytest.mark.parametrize("boxes", [False, True], ids=["detector", "boxes"])
def test_a_model_that_takes_tiles_is_asked_at_a_smaller_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scales: tuple[int, ...], boxes: bool
) -> None:
    """Whole and in tiles it answers otherwise, and at the largest scales images as long as these have no room."""
    for place in ("detection.scale", "features.tiles"):
        monkeypatch.setattr(f"sppnet.{place}.MAX_WHOLE_PIXELS", 20_000)
    monkeypatch.setattr("sppnet.images.pixels.MAX_SCALED_PIXELS", 300 * 310)
    export_detector(_detector(scales), tmp_path, boxes=boxes)
    assert json.loads((tmp_path / "labels.json").read_text())["short_sides"] == list(scales)


def test_a_detector_of_few_pixels_is_asked_as_it_is_and_its_regions_go_with_the_scale() -> None:
    model = _detector().model_
    assert untiled(model) is model
    large = _detector((3162,)).model_
    weights = torch.zeros(3, large.encoder.length((2, 1))), torch.zeros(3)
    learnt = LearntProposals(large.encoder.fingerprint, replace(GRID, short_side=3162), *weights)
    asked = untiled(replace(large, proposals=learnt))
    regions = asked.propose(Scene(image_of(40, 50), asked.encoder))
    assert asked.encoder.scales == (1250,)
    assert 0 < len(regions) <= len(GridProposals(GRID.shapes, 1250, GRID.step).of_size((40, 50)))


def test_a_graph_that_gives_no_numbers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "SHORTEST", np.nan)
    _refused("scores", tmp_path, export_classifier, _classifier())


def test_a_graph_that_pools_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "clip_boxes", lambda boxes, _: boxes * 0.5)
    _refused("features", tmp_path, export_detector, _detector(), boxes=True)
