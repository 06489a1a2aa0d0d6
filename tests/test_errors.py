"""Errors come out of other processes whole."""

import errno
import pickle

import pytest

from sppnet.errors import BoxError, ImageDecodeError, SppnetError, WriteError


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
