"""What can be wrong in a data set: each problem has a code, and each code a level.

An error stops training at the image it concerns, unless bad images are to be skipped. At a warning something is left
out, or probably not as it was meant. A note is worth knowing.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, NoReturn

from sppnet.errors import ArgumentError, DataError
from sppnet.storage import PointerError

Level = Literal["error", "warning", "note"]
LEVELS: Final[tuple[Level, ...]] = ("error", "warning", "note")

CODES: Final[Mapping[str, tuple[Level, str]]] = MappingProxyType(
    {
        "image-missing": ("error", "labels name an image that is not there"),
        "image-unreadable": ("error", "an image cannot be decoded"),
        "image-inside": ("error", "labels hold their image inside, and it is no file: write it out"),
        "lfs-pointer": ("error", "a pointer of Git LFS stands where a file should: 'git lfs pull' fetches it"),
        "labels-unreadable": ("error", "a file of labels cannot be read"),
        "row-unreadable": ("error", "one row of labels says nothing that can be understood; that row is lost"),
        "split-missing": ("error", "a split leads nowhere"),
        "no-images": ("error", "a split holds no images"),
        "no-objects": ("error", "no box is left to learn from"),
        "only-crowds": ("error", "every box is marked as a crowd, which is never learnt from"),
        "boxes-misread": ("error", "boxes are written in another way than their layout has them"),
        "numbers-from-one": ("error", "class numbers begin at another number than the names"),
        "no-labels": ("error", "images without labels: nothing can be learnt from them"),
        "one-class": ("error", "images of one class only: there is nothing to tell apart"),
        "boxes-doubtful": ("warning", "boxes look as if they were written in another way than their layout has them"),
        "box-dropped": ("warning", "a box that is empty, inverted, not finite or outside its image is left out"),
        "box-cut": ("warning", "a box that reaches out of its image by more than a pixel is cut"),
        "box-twice": ("warning", "the same box of the same class twice in one image: it counts once"),
        "row-without-box": ("warning", "a row of labels without a box or class is left out"),
        "class-name": ("warning", "a box whose class has no name, or one that files cannot hold, is left out"),
        "class-number": ("warning", "a box of a class number without a name is left out"),
        "class-unnamed": ("warning", "no file names the classes: they are called by their numbers"),
        "class-twice": ("warning", "two classes have one name: they are taken for one"),
        "class-count": ("warning", "a file says another number of classes than it has names"),
        "class-attribute-unsure": ("warning", "several attributes of regions may name the class: one is taken"),
        "class-empty": ("warning", "a class has no images"),
        "class-untrained": ("warning", "classes without an example to learn from: they will never be found"),
        "classes-alike": ("warning", "two classes have names that differ in case or spaces only"),
        "image-without-labels": ("warning", "an image that no labels belong to"),
        "labels-without-image": ("warning", "a file of labels that belongs to no image"),
        "image-twice": ("warning", "two files of labels, or two rows, stand for one image"),
        "labels-shared": ("warning", "one file of labels belongs to several images, and is taken for each"),
        "size-differs": ("warning", "the labels were made for an image of another size, or one that was turned"),
        "shape-left-out": ("warning", "a shape that is no box, such as a point or a line, is left out"),
        "format-unread": ("warning", "an image of a format that is not read"),
        "link-broken": ("warning", "a link that leads nowhere"),
        "folder-unreadable": ("warning", "a folder that may not be listed"),
        "list-unread": ("warning", "a file that is called as a list of a split's images is not read as one"),
        "split-empty": ("warning", "a split beside 'train' leads nowhere, or holds no images"),
        "in-two-splits": ("warning", "one image is in two splits"),
        "range-differs": ("warning", "images of more than 8 bits that use different ranges"),
        "predictions-left-out": ("warning", "boxes that a model predicted are no labels: they are left out"),
        "labels-empty": ("note", "an empty file of labels: the image shows no object"),
        "outline-left-out": ("note", "an outline that is no polygon, such as a mask, is left out; its box is used"),
        "labels-turned": ("note", "labels made before EXIF data turned the image: their boxes are turned with it"),
        "turned-unsure": (
            "note",
            "EXIF data turns an image, and its labels do not say whether they are of what is seen",
        ),
        "class-numbers": ("note", "a table calls classes by numbers, and no file beside it names them"),
        "class-attribute": ("note", "of several attributes of regions, the one that is taken for the class"),
        "crowds": ("note", "boxes marked as crowds are neither learnt from nor counted as objects"),
        "points-left-out": ("note", "keypoints beside a box are not used"),
        "score-ignored": ("note", "a confidence among the labels is not used"),
        "in-no-split": ("note", "images that are in none of the splits"),
        "found-elsewhere": ("note", "a path written on another machine, found inside the data set"),
        "other-labels": ("note", "labels of another layout lie there too and are not read"),
        "deeper": ("note", "images in folders inside a class's folder belong to that class"),
        "own-output": ("note", "drawings that sppnet made are no images of the set"),
        "name-not-utf8": ("note", "a file name that is not UTF-8"),
        "pages": ("note", "of an image with several pages the first is read"),
        "range": ("note", "how images of more than 8 bits are brought to 8"),
    }
)


def printable(text: object) -> str:
    r"""Return a text that every terminal, file and page takes: what is no character is written as its number.

    >>> printable("caf\udce9 \x07 é")
    'caf\\xe9 \\x07 é'
    """
    return "".join(map(_printable, str(text)))


def _printable(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # a byte that is not UTF-8, as Python keeps it in file names
        return f"\\x{ord(letter) - 0xDC00:02x}"
    kind = unicodedata.category(letter)
    return letter if kind not in ("Cc", "Cs", "Cn", "Co", "Zl", "Zp") else letter.encode("unicode_escape").decode()


@dataclass(frozen=True)
class Problem:
    """Something in a data set that is not as it should be.

    Args:
        path: the file at fault.
        line: in that file, from 1; None where it has no lines or they cannot be told.
        what: is wrong, and what became of it.
        code: one of ``CODES``.
    """

    path: Path
    line: int | None
    what: str
    code: str

    @property
    def level(self) -> Level:
        """How bad it is."""
        return CODES[self.code][0]

    def __str__(self) -> str:
        """Return ``path:line: what``, or ``path: what``."""
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return printable(f"{place}: {self.what}")

    def as_dict(self) -> dict[str, str | int | None]:
        """Return it for JSON."""
        return {
            "level": self.level,
            "code": self.code,
            "file": printable(self.path),
            "line": self.line,
            "what": printable(self.what),
        }


class BrokenSampleError(DataError):
    """An image that cannot be used, or its labels; ``problem`` says where and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class NotThereError(DataError, ArgumentError):
    """A folder, layout or split that was named and is not there."""


def one_or_more(others: int, one: str, several: str) -> str:
    """Say of the first of several files what holds of all: of it alone in the words of one."""
    return f"and {others} more {several}" if others else one


def code_of(error: BaseException) -> str:
    """Return the code of an image that cannot be read."""
    return "lfs-pointer" if isinstance(error.__cause__, PointerError) else "image-unreadable"


def broken(path: Path, what: str, *, line: int | None = None, code: str = "labels-unreadable") -> NoReturn:
    """Raise BrokenSampleError."""
    raise BrokenSampleError(Problem(path, line, what, code))


def unreadable(path: Path, error: OSError) -> NoReturn:
    """Raise BrokenSampleError for a file of labels that cannot be opened or read."""
    reason = error.strerror or str(error)
    code = "lfs-pointer" if isinstance(error, PointerError) else "labels-unreadable"
    broken(path, f"cannot be read: {reason[:1].lower()}{reason[1:]}", code=code)
