"""What makes a class: the bins' terms sum to the logits."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data

from sppnet.classification.classifier import Classifier
from sppnet.data import FolderData


@pytest.fixture(scope="module")
def classifier(shapes: Path) -> Classifier:
    paths = tuple(sorted((shapes / "JPEGImages").iterdir())[:4])
    return Classifier(short_side=64).fit(FolderData(shapes, ("a", "b"), paths, np.array([0, 1, 0, 1]), ()))


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
