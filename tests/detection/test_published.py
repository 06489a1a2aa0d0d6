"""One pass as published: SVMs come again after so many new hard negatives, and easy ones are let go."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sppnet.detection.examples import Examples, ImageLabels, LabelledImage
from sppnet.detection.published import mine_in_one_pass
from sppnet.detection.settings import PAPER
from sppnet.features.maps import FeatureMap
from sppnet.geometry import AxisGrid, Boxes, CellGrid
from sppnet.learning.svm import LinearSvm
from sppnet.progress import silent

REGIONS: Boxes = np.array([[left, 0.0, left + 8, 8] for left in range(0, 80, 8)], dtype=np.float64)
POSITIVES = Examples(np.full((2, 1), 9, np.float32), np.ones((2, 1), np.int8), np.zeros((2, 4)))


def _images(count: int) -> list[LabelledImage]:
    """Make images of ten regions each whose only feature is their place, 0 to 9."""
    values = torch.arange(10, dtype=torch.float16).reshape(1, 1, 10)
    maps = FeatureMap(values, CellGrid(AxisGrid(8.0, 4.0), AxisGrid(8.0, 4.0)), (8, 80), (8, 80))
    return [LabelledImage(lambda: (maps, REGIONS), ImageLabels(np.zeros((0, 4)), ()))] * count


class _Trainer:
    """Gives one weight and bias, and remembers what it was given."""

    def __init__(self, weight: float, bias: float) -> None:
        self.solution, self.rows, self.starts = (weight, bias), [], []

    def __call__(self, known: Examples, start: LinearSvm) -> LinearSvm:
        self.rows.append(sorted(known.features[known.targets[:, 0] == -1, 0].tolist()))
        self.starts.append(len(start.duals))
        weight, bias = self.solution
        duals = np.zeros((len(known.targets), 1), np.float32)
        return LinearSvm(torch.tensor([[weight]]), torch.tensor([bias]), duals)


def _mined(count: int, train: _Trainer, retrain_after: int) -> LinearSvm:
    settings = replace(PAPER, retrain_after=retrain_after)
    options = {"levels": (1,), "train": train, "settings": settings, "progress": silent}
    return mine_in_one_pass(_images(count), POSITIVES, ("cat",), **options)


def test_to_begin_with_all_negatives_are_hard() -> None:
    train = _Trainer(0.0, 0.0)
    svm = _mined(1, train, 1000)
    assert train.rows == [list(range(10))]
    assert train.starts == [len(POSITIVES.targets)]
    assert svm.weights.tolist() == [[0.0]]


@pytest.mark.parametrize(("after", "trained"), [(1000, 1), (20, 2), (10, 4)])
def test_svms_are_trained_again_after_so_many_new_ones(after: int, trained: int) -> None:
    train = _Trainer(0.0, 0.0)  # scores all 0, over the margin: every negative of every image is new
    _mined(4, train, after)
    assert len(train.rows) == trained
    assert len(train.rows[-1]) == 40


def test_negatives_that_score_low_are_let_go() -> None:
    train = _Trainer(1.0, -7.0)  # places 0 to 5 score -2 or less, 6 scores -1
    _mined(2, train, 10)
    assert train.rows[0] == list(range(10))
    # Kept of the first image are 6 to 9, and as many are hard in the second: those that score over -1.0001.
    assert train.rows[1] == sorted([6, 7, 8, 9] * 2)
    assert train.starts[1] == len(POSITIVES.targets) + 4


def test_positives_are_never_let_go() -> None:
    train = _Trainer(-1.0, 0.0)  # places positives, of 9, at -9
    _mined(2, train, 10)
    assert train.starts[1] >= len(POSITIVES.targets)
