"""The rules that all layouts share: what splits are called, which files count, what may not be followed."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NoReturn

from sppnet.data.samples import BrokenSampleError, OnBad, Problem
from sppnet.errors import DataError, ImageDecodeError, check_that, message
from sppnet.geometry import Size
from sppnet.images import read_size

ALL: Final = "all"
LEADS_OUT: Final = "leads out of the data set"
_YEAR: Final = re.compile(r"(?<=\D)(19|20)\d\d$")


# What the caller asks for


def check_on_bad(function: str, on_bad: OnBad) -> None:
    """Raise ArgumentError unless ``on_bad`` is "fail" or "skip"."""
    advice = "Stop at the first bad image, or leave bad images out"
    check_that(on_bad in ("fail", "skip"), function, "on_bad", "fail or skip", repr(on_bad), advice=advice)


def split_names(found: Iterable[str]) -> dict[str, str]:
    """Map the names that splits go by to the names found on disk, in sorted order.

    >>> split_names(["train2017", "valid"])
    {'train': 'train2017', 'val': 'valid'}
    """
    names = sorted(found)
    plain = {name: re.sub(r"^valid(ation)?$", "val", _YEAR.sub("", name)) for name in names}
    count = Counter(plain.values())
    return {plain[name] if count[plain[name]] == 1 else name: name for name in names}


def choose_split(function: str, found: Iterable[str], *, split: str | None) -> str | None:
    """Return the split to read, None for every image: that is also the default where there is no "train".

    Raises:
        DataError: naming the splits that exist.
    """
    names = tuple(found)
    if split is None:
        return "train" if "train" in names else None
    if split not in names and (split != ALL or names):
        expected = f"one of {', '.join(names or (ALL,))}"
        raise DataError(message(function, "split", expected, repr(split), "Name one of these, or none"))
    return split if split in names else None


# Files


def files_in(folder: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    """List the files of a folder that are wanted and not hidden, sorted; none where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name[0] != "." and wanted(path) and path.is_file())


def folders_in(folder: Path) -> list[Path]:
    """List the folders in a folder that are not hidden, sorted; none where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name[0] != "." and path.is_dir())


def has_suffix(suffix: str) -> Callable[[Path], bool]:
    """Tell files by a lowercase suffix, in whatever case they have it."""
    return lambda path: path.suffix.lower() == suffix


def is_there(path: Path, kind: Callable[[Path], bool]) -> bool:
    """Tell whether a path from a file is of a kind, such as ``Path.is_file``; no name makes it raise."""
    try:
        return kind(path)
    except (OSError, ValueError):  # a name too long, a NUL in it
        return False


def lies_within(root: Path, path: Path) -> bool:
    """Tell whether a path, its links followed, stays in the root."""
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, ValueError, RuntimeError):  # a NUL in the name, a name too long, links in a circle
        return False


def broken(path: Path, what: str, *, line: int | None = None) -> NoReturn:
    """Raise BrokenSampleError."""
    raise BrokenSampleError(Problem(path, line, what, "image"))


def read_text(root: Path, path: Path, *, limit: int) -> str:
    """Return a text file of the data set.

    Raises:
        BrokenSampleError: outside the root, unreadable, larger than ``limit`` bytes, or not UTF-8.
    """
    if not lies_within(root, path):
        broken(path, LEADS_OUT)
    try:
        if path.stat().st_size > limit:
            broken(path, f"is larger than {limit:,} bytes")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        broken(path, f"cannot be read: {(error.strerror or str(error)).lower()}")
    except UnicodeDecodeError as error:
        broken(path, f"is not UTF-8 text: {error.reason} at byte {error.start}")


def find_image(
    root: Path, candidates: Iterable[Path], *, source: Path, name: str, line: int | None = None
) -> tuple[Path, Size]:
    """Return the first candidate that is a file, and its size.

    Args:
        root: of the data set. candidates: where the image may lie.
        source: the file that names it, in ``line``. name: as it is written there.
    Raises:
        BrokenSampleError: none is a file, or it leads out of the root, or its header cannot be read.
    """
    places = list(candidates)
    found = next((path for path in places if is_there(path, Path.is_file) and lies_within(root, path)), None)
    if found is None:
        inside = all(lies_within(root, path) for path in places)
        fault = "is missing" if inside else LEADS_OUT
        broken(source, f"the image {name!r} {fault}", line=line)
    try:
        return found, read_size(found)
    except ImageDecodeError as error:
        raise BrokenSampleError(Problem(found, None, f"cannot be read: {error.reason}", "image")) from error
