"""What each bin adds: the terms sum to the score, and lie where the bins lie."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from sppnet.classification.classifier import Classifier
from sppnet.data import FolderData, load_detection
from sppnet.detection.detector import Detector
from sppnet.errors import ArgumentError
from sppnet.features.contributions import window_contributions
from sppnet.features.maps import FeatureMap
from sppnet.geometry import AxisGrid, CellGrid


@pytest.fixture(scope="module")
def detector(shapes: Path) -> Detector:
    return Detector(short_side=120).fit(load_detection(shapes, split="train"))


@pytest.fixture(scope="module")
def classifier(shapes: Path) -> Classifier:
    paths = tuple(sorted((shapes / "JPEGImages").iterdir())[:4])
    return Classifier(short_side=64).fit(FolderData(shapes, ("a", "b"), paths, np.array([0, 1, 0, 1]), ()))


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


@pytest.mark.parametrize("kind", ["learnt", "published"])
def test_the_bins_of_a_image_sum_to_its_logits(classifier: Classifier, shapes: Path, kind: str) -> None:
    model = classifier if kind == "learnt" else Classifier.imagenet(short_side=96)
    image = skimage.data.astronaut()[:200]
    prediction, explained = model.explain(image, count=2)
    np.testing.assert_array_equal(prediction.scores, model.predict(image).scores)
    sums = [each.score for each in explained]
    expected = [score for _, score in prediction.top(2)]
    # A difference of logits is the logarithm of the ratio of probabilities.
    assert sums[0] - sums[1] == pytest.approx(np.log(expected[0] / expected[1]), abs=1e-4)


def test_bins_lie_on_the_cells_they_pool() -> None:
    cells = torch.zeros(1, 6, 6)
    cells[0, 4, 1] = 1.0  # the lower left bin of level 2 of the window of rows 2..5, columns 1..4
    grid = CellGrid(AxisGrid(8.0, 4.0), AxisGrid(8.0, 4.0))
    feature_map = FeatureMap(cells, grid, (96, 48), (48, 48))
    regions = np.array([[5.0, 34.0, 42.0, 96.0]])
    (each,) = window_contributions(feature_map, regions, (2, 1), torch.tensor([[1, 1, 1, 1, 2.0]]), torch.tensor([-1]))
    assert each.window.tolist() == [1, 2, 5, 6]
    assert each.bins.tolist() == [0, 0, 1, 0, 2]
    assert each.score == 2.0
    left, top, right, bottom = each.boxes[2]
    assert left < 4 + 8 * 1 < right  # the centre of column 1, and 96 rows of image were scaled to 48
    assert top < 2 * (4 + 8 * 4) < bottom
    assert each.boxes[4, 3] == 96  # the window ends with the map
    assert (each.boxes[4] == [each.boxes[0, 0], each.boxes[0, 1], each.boxes[3, 2], each.boxes[3, 3]]).all()


def test_detections_of_unknown_regions_are_refused(detector: Detector, shapes: Path) -> None:
    path = shapes / "JPEGImages/10.png"
    found = replace(detector.detect(path, threshold=0), regions=None)
    with pytest.raises(ArgumentError, match=r"Detector.explain: detections must be with regions, got some without"):
        detector.explain(detector.encode(path), found)
    assert found.above(0.5).regions is None
