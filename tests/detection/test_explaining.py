"""What makes a detection: the bins' terms sum to the score, by the window that was scored."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sppnet.data import load_detection
from sppnet.detection.detector import Detector
from sppnet.errors import ArgumentError


@pytest.fixture(scope="module")
def detector(shapes: Path) -> Detector:
    return Detector(short_side=120).fit(load_detection(shapes, split="train"))


def test_the_bins_of_a_detection_sum_to_its_score(detector: Detector, shapes: Path) -> None:
    path = shapes / "JPEGImages/10.png"
    found, feature_map = detector.detect(path, threshold=0), detector.encode(path)
    explained = detector.explain(feature_map, found)
    assert len(explained) == len(found) > 3
    np.testing.assert_allclose([each.score for each in explained], found.scores, rtol=1e-5, atol=1e-5)
    assert {each.bins.shape for each in explained} == {(29,)}
    assert any(abs(each.bins).max() > 0.1 for each in explained)
    assert detector.explain(feature_map, found.above(1.1)) == []
    kept = found.above(0.5)
    assert len(detector.explain(feature_map, kept)) == len(kept)


def test_what_a_detection_was_scored_by_is_the_window_it_was_moved_from(detector: Detector, shapes: Path) -> None:
    path = shapes / "JPEGImages/10.png"
    found, feature_map = detector.detect(path, threshold=0), detector.encode(path)
    assert found.regions is not None
    again = detector.score(feature_map, found.regions)[np.arange(len(found)), found.labels]
    np.testing.assert_allclose(again, found.scores, rtol=1e-5, atol=1e-5)


def test_detections_of_unknown_regions_are_refused(detector: Detector, shapes: Path) -> None:
    path = shapes / "JPEGImages/10.png"
    found = replace(detector.detect(path, threshold=0), regions=None)
    with pytest.raises(ArgumentError, match=r"Detector.explain: detections must be with regions, got some without"):
        detector.explain(detector.encode(path), found)
    assert found.above(0.5).regions is None
