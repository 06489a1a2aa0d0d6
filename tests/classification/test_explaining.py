"""What makes a class: the bins' terms sum to the logits."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from sppnet.classification.classifier import Classifier, Planes
from sppnet.classification.views import Views
from sppnet.data import FolderData
from sppnet.geometry import flip_boxes
from sppnet.images import mirror


@pytest.fixture(scope="module")
def classifier(shapes: Path) -> Classifier:
    paths = tuple(sorted((shapes / "JPEGImages").iterdir())[:4])
    return Classifier(short_side=64).fit(FolderData(shapes, ("a", "b"), paths, np.array([0, 1, 0, 1]), ()))


@pytest.mark.parametrize("views", ["whole", "mirrored"])
@pytest.mark.parametrize("kind", ["learnt", "published"])
def test_the_bins_of_a_image_sum_to_its_logits(classifier: Classifier, kind: str, views: Views) -> None:
    model = classifier if kind == "learnt" else Classifier.imagenet(short_side=96)
    model.encoder_.mirrored = views == "mirrored"
    image = skimage.data.astronaut()[:200]
    prediction, explained = model.explain(image, count=2)
    np.testing.assert_array_equal(prediction.scores, model.predict(image).scores)
    sums = [each.score for each in explained]
    expected = [score for _, score in prediction.top(2)]
    # A difference of logits is the logarithm of the ratio of probabilities.
    assert sums[0] - sums[1] == pytest.approx(np.log(expected[0] / expected[1]), abs=1e-4)


def test_the_bins_of_a_mirror_image_are_told_where_they_lie_on_the_image() -> None:
    image = np.ascontiguousarray(skimage.data.astronaut()[:200])
    model = Classifier.imagenet(short_side=96, views="mirrored")
    model.encoder_.levels, model.encoder_.mode = (2, 1), "max"
    model._learnt = Planes(("a",), torch.randn(1, 5 * 1280), torch.zeros(1), 0.0)
    _, (told,) = model.explain(image)
    _, (turned,) = model.explain(mirror(image))
    assert told.levels == (2, 1, 2, 1)
    # The mirror image's own map comes second of the one, first of the other: the same bins, in turned places.
    np.testing.assert_allclose(told.bins, np.roll(turned.bins, 5))
    np.testing.assert_allclose(told.boxes, np.roll(flip_boxes(turned.boxes, image.shape[1]), 5, axis=0))
    assert told.boxes[[5, 6]][:, 0].tolist() == [told.boxes[5, 0], 0.0]  # its left bin lies on the right
    assert told.boxes[5, 2] == image.shape[1]
