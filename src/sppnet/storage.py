"""Model files and the cache of feature maps: safetensors with one checksum over all of a file, never pickle.

A file starts with the length of its header and ``{"__metadata__":{"sppnet":"{\\"checksum\\":\\"`` followed by
64 digits: the SHA-256 of the whole file as it is with zeros in their place. So not one bit can change unseen,
be it in a tensor, in its name, shape or type, in the metadata, in padding, or past the end. Any program that
reads safetensors reads these files too.
"""

import contextlib
import errno
import functools
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import stat
import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from safetensors import SafetensorError

from sppnet.errors import (
    ArgumentError,
    CorruptFileError,
    DataError,
    MissingExtraError,
    WriteError,
    check_that,
    message,
)

if TYPE_CHECKING:
    from torch import Tensor

METADATA_KEY: Final = "sppnet"  # the only one: safetensors writes several in random order
CHECKSUM: Final = "checksum"  # sorts before "metadata", so that its digits always stand at the same place
BLANK: Final = b"0" * 64
HEADER_START: Final = rb'{"__metadata__":{"sppnet":"{\"checksum\":\"'
DIGITS: Final = slice(8 + len(HEADER_START), 8 + len(HEADER_START) + len(BLANK))
MAX_HEADER: Final = 16 << 20  # bytes
ALIGNMENT: Final = 64  # bytes, of tensors in memory: as torch allocates
ENTRIES: Final = "[0-9a-f][0-9a-f]/*.safetensors"


# Files


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", *, metadata: Mapping[str, Any]) -> None:
    """Write one file, whole or not at all (``files.write_file``); the same content gives the same bytes.

    Args:
        path: of the file to write or to replace.
        tensors: by name, of any shape and device, and any dtype that safetensors holds.
        metadata: JSON; tuples come back as lists.
    Raises:
        ArgumentError: metadata that JSON cannot hold, a reserved name, or a header of more than 16 MiB.
        WriteError: a full or read-only disk.
    """
    write_file(path, _packed(tensors, metadata))


def read_tensors(path: Path | str) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Read what ``write_tensors`` wrote: tensors in memory of their own, and the metadata.

    Raises:
        CorruptFileError: a file whose bytes are not what was written. DataError: one that cannot be opened.
    """
    try:
        content = read_file(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Give a file that sppnet wrote.") from error
    try:
        return _unpacked(content)
    except (SafetensorError, ValueError, LookupError, TypeError, RuntimeError) as error:
        raise CorruptFileError(f"{path}: the file is damaged: {error}. Train it again or restore a copy.") from error


def check_model(path: Path, metadata: Mapping[str, Any], *, kind: str, version: int) -> None:
    """Raise CorruptFileError unless the metadata are those of a model of this kind, in this version of its layout."""
    if metadata.get("kind") != kind:
        raise CorruptFileError(f"{path}: must hold a {kind}, got {metadata.get('kind')!r}. Train one.")
    if metadata.get("version") != version:
        found = metadata.get("version")
        raise CorruptFileError(f"{path}: must hold a {kind} of layout {version}, got layout {found}. Train it again.")


def _packed(tensors: "Mapping[str, Tensor]", metadata: Mapping[str, Any]) -> bytes:
    check_that(
        "__metadata__" not in tensors,
        "write_tensors",
        "tensors",
        "named other than __metadata__",
        sorted(tensors),
        advice="Choose another name",
    )
    import torch  # files of other kinds do without
    from safetensors.torch import save

    # Copied, because safetensors refuses strides and tensors that share memory.
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    blank = save(copies, {METADATA_KEY: _json(metadata)})
    length = _header_length(blank)
    expected = f"names and metadata of at most {MAX_HEADER} bytes"
    check_that(length <= MAX_HEADER, "write_tensors", "tensors", expected, length, advice="Store less metadata")
    return b"".join([blank[: DIGITS.start], _checksum(blank), blank[DIGITS.stop :]])


def _unpacked(content: bytes) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    from safetensors.torch import load

    if content[8 : DIGITS.start] != HEADER_START:
        raise ValueError("it does not begin as the files of sppnet do")
    length = _header_length(content)
    if length > MAX_HEADER:
        raise ValueError(f"its header claims {length} bytes")
    if content[DIGITS] != _checksum(content):
        raise ValueError("its bytes do not fit its checksum")
    header = json.loads(content[8 : 8 + length])
    tensors = {name: _aligned(tensor) for name, tensor in load(content).items()}
    return tensors, json.loads(header["__metadata__"][METADATA_KEY])["metadata"]


def _aligned(tensor: "Tensor") -> "Tensor":
    """Return the tensor where torch would put it: products of matrices elsewhere may differ in the last bit."""
    return tensor if tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()


def _json(metadata: Mapping[str, Any]) -> str:
    try:
        content = {CHECKSUM: BLANK.decode(), "metadata": metadata}
        return json.dumps(content, allow_nan=False, separators=(",", ":"), sort_keys=True)
    except (TypeError, ValueError) as error:
        advice = "Store numbers, texts, lists and dicts with texts as keys"
        raise ArgumentError(message("write_tensors", "metadata", "JSON", error, advice)) from error


def _header_length(content: bytes) -> int:
    return int.from_bytes(content[:8], "little")


def _checksum(content: bytes) -> bytes:
    view = memoryview(content)
    digest = hashlib.sha256(view[: DIGITS.start])
    digest.update(BLANK)
    digest.update(view[DIGITS.stop :])
    return digest.hexdigest().encode()


# The cache


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
        self._writable = True

    def __len__(self) -> int:
        """Return how many entries there are."""
        return len(_matching(self.folder, ENTRIES))

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
        if not self._writable:
            return
        try:
            # No fsync: what a crash of the machine breaks is found by its checksum and computed again.
            write_file(path, _packed(tensors, {"key": key}), durable=False)
        except WriteError as error:
            if error.errno == errno.ENOENT and isinstance(self.folder, Path) and self.folder.is_dir():
                return  # another process cleared the cache between the file's writing and its renaming
            self._writable = False
            advice = "Nothing more is cached. Free some space, or name another folder."
            warnings.warn(f"{self.folder}: {error.strerror}. {advice}", RuntimeWarning, stacklevel=2)

    def size(self) -> int:
        """Return the bytes on disk, with those of files that a killed process left half written."""
        return sum(map(_size, self._files()))

    def clear(self) -> None:
        """Remove all entries, and nothing else that lies in the folder; then it can be written again."""
        for path in self._files():
            remove_file(path)
        self._writable = True

    def _path(self, key: str) -> Path | str:
        fits = re.fullmatch("[0-9a-f]{64}", key) is not None
        check_that(fits, "TensorCache", "key", "64 hexadecimal digits", repr(key), advice="Make it with cache_key")
        return place_in(self.folder, f"{key[:2]}/{key}.safetensors")

    def _files(self) -> list[Path | str]:
        return [*_matching(self.folder, ENTRIES), *_matching(self.folder, f"[0-9a-f][0-9a-f]/{PARTIAL}")]


def _size(place: Path | str) -> int:
    try:
        return place.stat().st_size if isinstance(place, Path) else int(_opened(place)[0].size(place) or 0)
    except FileNotFoundError:  # another process removed it
        return 0


def cache_key(*parts: str | int | bytes) -> str:
    """Return 64 hexadecimal digits that stand for exactly these parts, their types and their limits.

    >>> cache_key("a", "bc") == cache_key("ab", "c"), cache_key(1) == cache_key("1")
    (False, False)
    """
    digest = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode(errors="surrogatepass")
        digest.update(f"{type(part).__name__} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()


def default_cache_folder() -> Path:
    """Return where this system keeps what can be computed again, for this user; nothing is made there."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "sppnet"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "sppnet"
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The specification has relative ones ignored.
    return (named if named.is_absolute() else Path.home() / ".cache") / "sppnet"


def run_folder(out: Path) -> Path:
    """Return the folder of the run that makes a model file: beside it, named alike."""
    return out.with_name(f"{out.stem}.run")


# Files that are read: regular ones only, since a pipe, a socket or a device may never give an end


def open_file(path: Path | str) -> BufferedReader:
    """Open a regular file for reading, in bytes; the only way in which this package opens a file that it is given.

    Raises:
        OSError: as ``open`` has it; for a folder, a pipe, a socket or a device it says what is in the way.
    """
    wanted = ("O_RDONLY", "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY")  # O_NONBLOCK: a pipe waits for no writer
    flags = [getattr(os, name, 0) for name in wanted]
    descriptor = os.open(path, sum(flags))
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, not a regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: Path | str, *, most: int | None = None) -> bytes:
    """Return the bytes of a regular file, or of one in object storage by its address.

    Args:
        most: bytes, at most.
    Raises:
        OSError: as ``open_file``, and for a file that is larger than ``most``.
    """
    if is_address(path):
        storage, name = _opened(path)
        content = storage.cat_file(name, end=None if most is None else most + 1)
        return _no_more_than(most, content, path)
    with open_file(path) as file:
        if most is None:
            return file.read()
        return _no_more_than(most, file.read(most + 1), path)  # not by its size, which may change while it is read


def _no_more_than(most: int | None, content: bytes, path: Path | str) -> bytes:
    if most is not None and len(content) > most:
        raise OSError(errno.EFBIG, f"the file is larger than {most / 1e6:g} MB", str(path))
    return content


# Places: on a disk, by path, or in object storage, by an address that fsspec knows


def is_address(place: Path | str) -> bool:
    """Tell an address, such as s3://bucket/name, from a path."""
    return isinstance(place, str) and "://" in place


def place_in(folder: Path | str, name: str) -> Path | str:
    """Return the place of a file in a folder."""
    return folder / name if isinstance(folder, Path) else f"{folder.rstrip('/')}/{name}"


def is_there(place: Path | str) -> bool:
    """Tell whether there is such a file."""
    return place.is_file() if isinstance(place, Path) else bool(_opened(place)[0].exists(place))


def remove_file(place: Path | str) -> None:
    """Remove a file; one that is gone already costs nothing."""
    with contextlib.suppress(FileNotFoundError):
        place.unlink() if isinstance(place, Path) else _opened(place)[0].rm_file(place)


def files_below(address: str) -> dict[str, str]:
    """Return the address of each file below a folder of object storage, sorted, with what tells its version.

    Raises:
        ArgumentError: an unknown kind of storage. MissingExtraError: a kind whose package is not installed.
    """
    storage, name = _opened(address)
    found = storage.find(name, detail=True)
    return {storage.unstrip_protocol(path): cache_key(str(found[path])) for path in sorted(found)}


def _matching(folder: Path | str, pattern: str) -> list[Path] | list[str]:
    if isinstance(folder, Path):
        return list(folder.glob(pattern))
    storage, name = _opened(folder)
    return [storage.unstrip_protocol(path) for path in storage.glob(f"{name}/{pattern}")]


def _put(address: str, content: bytes) -> None:
    storage, name = _opened(address)
    try:
        storage.pipe_file(name, content)
    except OSError as error:
        raise WriteError(address, error) from error


def _opened(address: Path | str) -> tuple[Any, str]:
    """Return the storage that an address lies in, and the name there."""
    import fsspec

    try:
        storage, name = fsspec.core.url_to_fs(str(address))
    except ImportError as error:
        raise MissingExtraError(f"{address}: this kind of storage needs another package: {error}.") from error
    except ValueError as error:
        advice = "Write s3://, gs:// or hf:// and a name, or a path"
        raise ArgumentError(message("storage", "address", "of a kind that fsspec knows", address, advice)) from error
    return storage, name


# Files that hold all of what was written or what they held before, whatever happens meanwhile

PARTIAL: Final = ".sppnet-*.tmp"  # a process that is killed can leave one behind, which a later one removes
HOST: Final = hashlib.sha256(platform.node().encode()).hexdigest()[:8]  # folders may be shared between machines
FOREIGN_SECONDS: Final = 86_400  # after which what another machine left is nobody's


def write_file(path: Path | str, content: bytes | str | Iterable[str], *, durable: bool = True) -> None:
    """Write one file, whole or not at all.

    The file is written under another name in the same folder, which is made where it is missing, and then renamed.
    Object storage shows a file when all of it has come.

    Args:
        path: of the file to write or to replace, or its address.
        content: its bytes; text is written as UTF-8; or texts that follow each other, made as they are written.
        durable: bring it to the disk before it gets its name, so that not even a crash of the machine breaks it.
    Raises:
        WriteError: a full or read-only disk, with the file's name and what to do; it is an OSError too.
    """
    chunks = [content] if isinstance(content, bytes | str) else content
    if is_address(path):
        _put(str(path), b"".join(chunk.encode() if isinstance(chunk, str) else chunk for chunk in chunks))
        return
    path = Path(path)
    partial = path.with_name(PARTIAL.replace("*", f"{HOST}-{os.getpid()}-{secrets.token_hex(8)}"))
    try:
        make_folder(path.parent, durable=durable)
        _sweep(path.parent.resolve())
        if isinstance(content, bytes | str):
            _check_room(path.parent, len(content))
        with partial.open("xb") as file:
            for chunk in chunks:
                file.write(chunk.encode() if isinstance(chunk, str) else chunk)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        _forget(partial)
        raise WriteError(path, error) from error
    except BaseException:
        _forget(partial)
        raise


def _forget(partial: Path) -> None:
    with contextlib.suppress(OSError):
        partial.unlink(missing_ok=True)


def _check_room(folder: Path, count: int) -> None:
    """Refuse what plainly does not fit before it is written."""
    free = shutil.disk_usage(folder).free
    if count > free:
        raise OSError(errno.ENOSPC, f"it needs {count / 1e6:.1f} MB where {free / 1e6:.1f} MB are free")


@functools.cache
def _sweep(folder: Path) -> None:
    """Remove, once a process, what writers that were killed left in a folder."""
    for partial in folder.glob(PARTIAL):
        with contextlib.suppress(OSError, ValueError):
            host, process, _ = partial.name.removeprefix(".sppnet-").split("-")
            mine = host == HOST and os.name == "posix"  # elsewhere signal 0 is none
            if not _runs(int(process)) if mine else partial.stat().st_mtime < time.time() - FOREIGN_SECONDS:
                partial.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def make_folder(folder: Path, *, durable: bool = True) -> None:
    """Make a folder, and those above it, where they are missing.

    Args:
        durable: bring their names to the disk, so that not even a crash of the machine takes what is written into them.
    Raises:
        OSError: as ``mkdir`` has it.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()] if durable else []
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        _sync_folder(each.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # where a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
