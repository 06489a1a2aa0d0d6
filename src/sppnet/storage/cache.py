"""The cache of feature maps: tensors on disk that can be computed again, by key."""

import contextlib
import errno
import os
import re
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sppnet.errors import CorruptFileError, DataError, WriteError, check_that
from sppnet.storage.files import PARTIAL, write_file
from sppnet.storage.places import is_address, is_there, matching, opened, place_in, remove_file
from sppnet.storage.tensors import packed, read_tensors

if TYPE_CHECKING:
    from torch import Tensor

ENTRIES: Final = "[0-9a-f][0-9a-f]/*.safetensors"


class TensorCache:
    """Tensors on disk that can be computed again, by key; processes may share a folder.

    A broken entry counts as missing. Once the disk is full, or where nothing can be written, the cache says so and goes
    on, for this object, read-only.

    Args:
        folder: made at the first ``put``; entries lie in 256 folders in it. An address such as s3://bucket/maps is a
            folder in object storage, which machines may share.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder: Path | str = folder if is_address(folder) else Path(folder)
        self.repaired = 0
        """How many broken entries ``get`` met and removed."""
        self.refused: WriteError | None = None
        """Why nothing more is written; None as long as it is."""

    def __len__(self) -> int:
        """Return how many entries there are."""
        return len(matching(self.folder, ENTRIES))

    def __contains__(self, key: str) -> bool:
        """Tell whether there is an entry under a key, without checking its content."""
        return is_there(self._path(key))

    def get(self, key: str) -> "dict[str, Tensor] | None":
        """Return what was put under a key from ``cache_key``; None for a missing or broken entry.

        Raises:
            ArgumentError: a key of another form.
        """
        path = self._path(key)
        try:
            tensors, metadata = read_tensors(path)
        except DataError:
            return None
        except CorruptFileError:
            tensors, metadata = {}, {}
        # Compared because a crash of the machine can leave another file's content under this name.
        if metadata == {"key": key}:
            return tensors
        self.repaired += 1
        with contextlib.suppress(OSError):  # in a read-only folder it stays, and stays unused
            remove_file(path)
        return None

    def put(self, key: str, tensors: "Mapping[str, Tensor]") -> None:
        """Keep tensors under a key from ``cache_key``; warns, once, when the disk does not take them.

        Raises:
            ArgumentError: a key of another form.
        """
        path = self._path(key)
        if self.refused is not None:
            return
        try:
            # No fsync: what a crash of the machine breaks is found by its checksum and computed again.
            write_file(path, packed(tensors, {"key": key}), durable=False)
        except WriteError as error:
            if error.errno == errno.ENOENT and isinstance(self.folder, Path) and self.folder.is_dir():
                return  # another process cleared the cache between the file's writing and its renaming
            self.refused = error
            advice = "Nothing more is cached. Free some space, or name another folder."
            warnings.warn(f"{self.folder}: {error.strerror}. {advice}", RuntimeWarning, stacklevel=2)

    def size(self) -> int:
        """Return the bytes on disk, with those of files that a killed process left half written."""
        return sum(map(_size, self._files()))

    def clear(self) -> None:
        """Remove all entries, and nothing else that lies in the folder; then it can be written again."""
        for path in self._files():
            remove_file(path)
        self.refused = None

    def _path(self, key: str) -> Path | str:
        fits = re.fullmatch("[0-9a-f]{64}", key) is not None
        check_that(fits, "TensorCache", "key", "64 hexadecimal digits", repr(key), advice="Make it with cache_key")
        return place_in(self.folder, f"{key[:2]}/{key}.safetensors")

    def _files(self) -> list[Path | str]:
        return [*matching(self.folder, ENTRIES), *matching(self.folder, f"[0-9a-f][0-9a-f]/{PARTIAL}")]


def _size(place: Path | str) -> int:
    try:
        return place.stat().st_size if isinstance(place, Path) else int(opened(place)[0].size(place) or 0)
    except FileNotFoundError:  # another process removed it
        return 0


def default_cache_folder() -> Path:
    """Return where this system keeps what can be computed again, for this user; nothing is made there."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "sppnet"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "sppnet"
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The specification has relative ones ignored.
    return (named if named.is_absolute() else Path.home() / ".cache") / "sppnet"
