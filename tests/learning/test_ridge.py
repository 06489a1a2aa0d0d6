"""Ridge regression that leaves each example out in turn, without solving each time."""

import numpy as np
import pytest

from sppnet.learning.ridge import ridge, ridge_held_out


@pytest.mark.parametrize(("count", "length"), [(2, 5), (12, 40), (30, 4)])
def test_held_out_is_what_the_others_say(count: int, length: int) -> None:
    rng = np.random.default_rng(count)
    features = rng.normal(size=(count, length)).astype(np.float32)
    targets = rng.normal(size=(count, 3))
    *learnt, held_out = ridge_held_out(features, targets, penalty=0.5)
    for ours, known in zip(learnt, ridge(features, targets, penalty=0.5), strict=True):
        np.testing.assert_allclose(ours, known, atol=1e-4)
    for row in range(count):
        others = np.arange(count) != row
        weights, constants = ridge(features[others], targets[others], penalty=0.5)
        np.testing.assert_allclose(held_out[row], weights @ features[row] + constants, atol=1e-4)
