"""One error tree, and the few checks that build every message.

Every message reads ``<function>: <argument> must be <expected>, got <actual>. <What to do next>.``
The command line prints it as one line and exits with code 2.
"""

import errno
import traceback
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from numbers import Integral
from pathlib import Path
from typing import Any


def places_of(error: BaseException) -> str:
    """Say for a log what kind of exception it is and where it arose, not its message: that may name a person's files.

    >>> try:
    ...     open("/home/me/secret.jpg")
    ... except OSError as error:
    ...     places_of(error)
    'FileNotFoundError at <doctest sppnet.errors.places_of[0]>:2'
    """
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {', '.join(f'{Path(each.filename).name}:{each.lineno}' for each in frames)}"


def causes_of(error: BaseException) -> list[BaseException]:
    """Return an exception behind those that it came of, the first first."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return [*([] if before is None else causes_of(before)), error]


class SppnetError(Exception):
    """Everything that sppnet raises on purpose: the message says what was expected, what came, what to do."""


class ArgumentError(SppnetError, ValueError):
    """An argument outside its range."""


class ShapeError(ArgumentError):
    """An array or tensor of the wrong shape or type."""


class BoxError(ArgumentError):
    """A region that holds no pixel of its image; ``row`` is its index in the list that was passed."""

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row

    def __reduce__(self) -> tuple[Any, ...]:  # as pickle has it, it would lack its row: workers raise it
        return type(self), (str(self), self.row)


class ImageDecodeError(SppnetError):
    """An image that cannot be read; ``path`` names it and ``reason`` says why."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: the image cannot be read: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.reason)


class DataError(SppnetError):
    """A data set that cannot be used; the message names file and line where there is one."""


class CorruptFileError(SppnetError):
    """A model or cache file whose bytes are not what was written."""


def is_full(error: BaseException) -> bool:
    """Tell whether a disk, or what one may use of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


class WriteError(SppnetError, OSError):
    """A file that cannot be written; the message names it, the reason and what to do. ``errno`` is the system's."""

    def __init__(self, path: Path | str, error: OSError) -> None:
        advice = "Free some space there, or name another disk" if is_full(error) else "Name a place that can be written"
        reason = error.strerror or str(error)
        super().__init__(f"{path}: cannot be written: {reason}. {advice}.")
        self.errno, self.strerror, self.filename = error.errno, reason, str(path)

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.filename, OSError(self.errno, self.strerror))


class NotFittedError(SppnetError):
    """A model asked for answers before it was trained or loaded."""


class MissingExtraError(SppnetError, ImportError):
    """An optional package that the request needs; the message says how to install it."""


def message(function: str, argument: str, expected: str, actual: object, advice: str) -> str:
    """Return the one sentence form of every message of this package."""
    return f"{function}: {argument} must be {expected}, got {actual}. {advice}{'' if advice.endswith('?') else '.'}"


def counted(number: int, name: str) -> str:
    """Return a number of things as a person says it.

    >>> counted(1, "image"), counted(2_000, "box")
    ('1 image', '2000 boxes')
    """
    return f"{number} {name}{'' if number == 1 else 'es' if name.endswith(('x', 's')) else 's'}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question after the names that one may be meant by, "" where none is near.

    >>> did_you_mean("Trian", ("train", "val"))
    "Did you mean 'train'?"
    """
    by_plain = {each.lower().replace("_", "-"): each for each in known}
    near = get_close_matches(name.lower().replace("_", "-"), by_plain, n=2)
    return f"Did you mean {' or '.join(repr(by_plain[each]) for each in near)}?" if near else ""


def check_shape(
    function: str, argument: str, shape: Sequence[int], expected: Sequence[int | str], *, advice: str
) -> None:
    """Raise ShapeError unless ``shape`` has the expected extents; a string in ``expected`` names a free one."""
    fits = len(shape) == len(expected) and all(
        isinstance(want, str) or want == got for want, got in zip(expected, shape, strict=True)
    )
    if not fits:
        layout = "(" + ", ".join(map(str, expected)) + ("," if len(expected) == 1 else "") + ")"
        raise ShapeError(message(function, argument, layout, tuple(shape), advice))


def check_that(holds: bool, function: str, argument: str, expected: str, actual: object, *, advice: str) -> None:
    """Raise ArgumentError unless ``holds``."""
    if not holds:
        raise ArgumentError(message(function, argument, expected, actual, advice))


def check_seed(function: str, seed: object) -> None:
    """Raise ArgumentError unless numbers can be drawn from a seed."""
    fits = isinstance(seed, Integral) and int(seed) >= 0
    check_that(fits, function, "seed", "a whole number from 0", seed, advice="Another number draws otherwise")
