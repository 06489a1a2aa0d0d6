"""The rules that all layouts share: which files count, what a bad box is, what may not be followed."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import numpy as np

from sppnet.data.samples import BrokenSampleError, DetectionData, OnBad, Problem, Sample
from sppnet.errors import DataError, ImageDecodeError, check_that, message
from sppnet.geometry import Boxes, Size, clip_boxes
from sppnet.images import read_size

ALL: Final = "all"
LEADS_OUT: Final = "leads out of the data set"
_YEAR: Final = re.compile(r"(?<=\D)(19|20)\d\d$")


class RawBox(NamedTuple):
    """A box as its annotation has it, in this package's convention but unchecked.

    Args:
        name: of its class.
        edges: left, top, right, bottom in 0-based pixels, ends excluded.
        line: in the annotation file. where: names the box where lines cannot be told.
        fault: why it cannot be used, where the layout knows; otherwise empty.
    """

    name: str
    edges: tuple[float, float, float, float]
    line: int | None = None
    where: str = ""
    difficult: bool = False
    crowd: bool = False
    fault: str = ""


class RawPicture(NamedTuple):
    """A picture whose annotation could be read; ``source`` is the annotation's file."""

    path: Path
    size: Size
    source: Path
    boxes: Sequence[RawBox]


class Listing(NamedTuple):
    """The pictures of a split, each read when called, and the class names if the layout declares them.

    Reading one raises BrokenSampleError where it cannot be used.
    """

    classes: Sequence[str] | None
    pictures: Sequence[Callable[[], RawPicture]]


# What the caller asks for


def check_on_bad(function: str, on_bad: OnBad) -> None:
    """Raise ArgumentError unless ``on_bad`` is "fail" or "skip"."""
    advice = "Stop at the first bad picture, or leave bad pictures out"
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


def choose_split(function: str, split: str | None, found: Iterable[str]) -> str | None:
    """Return the split to read, None for every picture: that is also the default where there is no "train".

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
    raise BrokenSampleError(Problem(path, line, what, "picture"))


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


def find_picture(
    root: Path, candidates: Iterable[Path], source: Path, *, name: str, line: int | None = None
) -> tuple[Path, Size]:
    """Return the first candidate that is a file, and its size.

    Args:
        root: of the data set. candidates: where the picture may lie.
        source: the file that names it, in ``line``. name: as it is written there.
    Raises:
        BrokenSampleError: none is a file, or it leads out of the root, or its header cannot be read.
    """
    places = list(candidates)
    found = next((path for path in places if is_there(path, Path.is_file) and lies_within(root, path)), None)
    if found is None:
        inside = all(lies_within(root, path) for path in places)
        fault = "is missing" if inside else LEADS_OUT
        broken(source, f"the picture {name!r} {fault}", line=line)
    try:
        return found, read_size(found)
    except ImageDecodeError as error:
        raise BrokenSampleError(Problem(found, None, f"cannot be read: {error.reason}", "picture")) from error


def distinct_stems(data: DetectionData) -> list[str]:
    """Return the pictures' names without suffix, which annotation files are named after.

    Raises:
        DataError: two pictures have the same.
    """
    stems = [sample.path.stem for sample in data.samples]
    name, times = Counter(stems).most_common(1)[0] if stems else ("", 0)
    if times > 1:
        raise DataError(f"{data.root}: {times} pictures are named {name!r}. Rename them, or write COCO.")
    return stems


# Samples


def gather(root: Path, split: str, listing: Listing, *, on_bad: OnBad, classes: Sequence[str] | None) -> DetectionData:
    """Read the pictures of a listing and check every box.

    Raises:
        BrokenSampleError: a picture that cannot be used, unless ``on_bad`` is "skip".
        DataError: a class that ``classes`` does not hold.
    """
    raws: list[RawPicture] = []
    problems: list[Problem] = []
    for picture in listing.pictures:
        try:
            raws.append(picture())
        except BrokenSampleError as error:
            if on_bad == "fail":
                raise
            problems.append(error.problem)
    names = tuple(dict.fromkeys(classes or listing.classes or _names_used(raws)))
    samples = [_checked(raw, names, problems) for raw in raws]
    return DetectionData(root, names, tuple(samples), tuple(problems), split)


def _names_used(raws: Iterable[RawPicture]) -> list[str]:
    return sorted({box.name for raw in raws for box in raw.boxes})


def _checked(raw: RawPicture, classes: Sequence[str], problems: list[Problem]) -> Sample:
    """Make a sample of the good boxes, and a problem of each bad one."""
    edges = np.array([box.edges for box in raw.boxes], dtype=np.float64).reshape(-1, 4)
    clipped = clip_boxes(edges, raw.size)
    faults = [
        box.fault or _fault(*pair, raw.size)
        for box, pair in zip(raw.boxes, zip(edges, clipped, strict=True), strict=True)
    ]
    for box, fault in zip(raw.boxes, faults, strict=True):
        if fault:
            problems.append(Problem(raw.source, box.line, f"{_described(box)} {fault}; it is dropped", "box"))
    kept = [row for row, fault in enumerate(faults) if not fault]
    boxes = [raw.boxes[row] for row in kept]
    return Sample(
        path=raw.path,
        boxes=clipped[kept],
        labels=np.array([_label(raw.source, box, classes) for box in boxes], dtype=np.int64),
        difficult=np.array([box.difficult for box in boxes], dtype=np.bool_),
        crowd=np.array([box.crowd for box in boxes], dtype=np.bool_),
        size=raw.size,
    )


def _fault(edges: Boxes, clipped: Boxes, size: Size) -> str:
    left, top, right, bottom = edges
    if not np.isfinite(edges).all():
        return "is not finite"
    if left >= right or top >= bottom:
        return "is empty or inverted"
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        return f"lies outside the picture of {size[0]} x {size[1]} pixels (height x width)"
    return ""


def _described(box: RawBox) -> str:
    return f"{_where(box)}the box [{', '.join(f'{edge:g}' for edge in box.edges)}]"


def _where(box: RawBox) -> str:
    return f"{box.where}: " if box.where else ""


def _label(source: Path, box: RawBox, classes: Sequence[str]) -> int:
    if box.name not in classes:
        what = f"{_where(box)}the class must be one of {', '.join(classes)}, got {box.name!r}. Correct the label."
        raise DataError(str(Problem(source, box.line, what, "box")))
    return classes.index(box.name)
