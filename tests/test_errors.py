"""Errors come out of other processes whole."""

import errno
import pickle

import numpy as np
import pytest

from sppnet.data.parting import part
from sppnet.errors import ArgumentError, BoxError, ImageDecodeError, SppnetError, WriteError, check_seed
from sppnet.training import Plan


@pytest.mark.parametrize(
    "error",
    [
        BoxError("detect: box 3 must lie inside, got none of it. Clip it.", 3),
        ImageDecodeError("a.jpg", "it ends too early"),
        WriteError("a.jpg", OSError(errno.ENOSPC, "No space left")),
    ],
)
def test_an_error_of_a_worker_arrives_as_it_was_raised(error: SppnetError) -> None:
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)
    assert getattr(arrived, "errno", None) == getattr(error, "errno", None)


def test_a_seed_is_a_whole_number_from_0() -> None:
    for seed in (0, 7, np.int64(3)):
        check_seed("draw", seed)
    for seed in (-1, 0.5, None, np.int64(-3)):
        with pytest.raises(ArgumentError, match=r"draw: seed must be a whole number from 0, got .*\. Another number"):
            check_seed("draw", seed)
    with pytest.raises(ArgumentError, match="Plan: seed must be"):
        Plan(seed=-1)
    with pytest.raises(ArgumentError, match="split: seed must be"):
        part([{}] * 4, list("abcd"), 0.5, -1)
