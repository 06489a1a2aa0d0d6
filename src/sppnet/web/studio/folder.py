"""A folder of images as the studio sees it: which files are there now, and how they are shown."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from sppnet.data.contents import contents
from sppnet.data.problems import printable
from sppnet.errors import ArgumentError, ImageDecodeError, WriteError
from sppnet.geometry import longer_side_size
from sppnet.images import encode, read_image, resize
from sppnet.storage import cache_key, open_file, write_file

HIDDEN: Final = ".sppnet"
THUMBNAIL: Final = 256  # pixels of the longer side
SHOWN: Final = 4096  # pixels of the longer side: more, and browsers refuse or lose their memory


class File(NamedTuple):
    """An image file: ``place`` is its path, ``version`` changes when it is written."""

    place: str
    version: str

    @property
    def path(self) -> Path:
        """Where it lies."""
        return Path(self.place)


class Folder:
    """The images of one folder, and what is kept beside them in its hidden folder.

    Args:
        root: the folder; it may hold none yet.
    Raises:
        ArgumentError: no folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.hidden = self.root / HIDDEN
        self.files = _files(self.root)
        """The image files by their name, which is the path below the folder, as it can be shown."""
        if not root.is_dir():
            advice = "Name one; images and videos can be dropped onto its page"
            raise ArgumentError(f"{root}: is no folder. {advice}.")

    @property
    def names(self) -> list[str]:
        """Names of the images, sorted."""
        return sorted(self.files)

    def look_again(self) -> bool:
        """Renew ``files``; tell whether anything changed."""
        before, self.files = self.files, _files(self.root)
        return before != self.files

    def path(self, name: str) -> Path:
        """Return where an image lies, or lay."""
        file = self.files.get(name)
        return self.root / name if file is None else file.path

    def digest(self, name: str, *, version: str) -> str:
        """Return the SHA-256 of a file's bytes, by which it is known when it is renamed.

        It is "" for a file that cannot be read, or is no longer of that version.
        """
        try:
            with open_file(self.path(name)) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                return digest if _version(os.fstat(file.fileno())) == version else ""
        except OSError:
            return ""

    def thumbnail(self, name: str) -> bytes:
        """Return a small WebP of an image; it is made once, and again when the file changes.

        Raises:
            ImageDecodeError: an image that cannot be read.
        """
        path = self.path(name)
        stored = self.hidden / "thumbnails" / f"{self.version(name)}.webp"
        if stored.is_file():
            return stored.read_bytes()
        made = _encoded(path, THUMBNAIL, "WEBP", quality=80)
        with suppress(WriteError):  # where the disk is full it is made anew each time
            write_file(stored, made, durable=False)
        return made

    def shown(self, name: str) -> bytes:
        """Return a JPEG of an image, upright and in 8 bits, so that a browser shows what the detector sees.

        Raises:
            ImageDecodeError: an image that cannot be read.
        """
        return _encoded(self.path(name), SHOWN, "JPEG", quality=92)

    def version(self, name: str) -> str:
        """Return 64 digits that change when the file does.

        Raises:
            ImageDecodeError: there is no such file any more.
        """
        try:
            status = self.path(name).stat()
        except OSError as error:
            raise ImageDecodeError(self.path(name), (error.strerror or str(error)).lower()) from error
        return cache_key(name, status.st_mtime_ns, status.st_size)


def _files(root: Path) -> dict[str, File]:
    """List the images below a folder, by the rule that all of sppnet has for what counts."""
    files: dict[str, File] = {}
    for relative in contents(root).images if root.is_dir() else ():
        name, place = relative if relative.isprintable() else printable(relative), f"{root}/{relative}"
        while name in files:
            name += "_"
        with suppress(OSError):  # it went away meanwhile
            files[name] = File(place, _version(os.stat(place)))  # noqa: PTH116 (thousands of files)
    return files


def _version(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}-{status.st_size}"


def _encoded(path: Path, longer_side: int, form: str, *, quality: int) -> bytes:
    pixels = read_image(path)
    return encode(resize(pixels, longer_side_size(pixels.shape[:2], longer_side)), form, quality=quality)
