"""Files: regular ones are read, written ones hold all of what was written or what they held before."""

import contextlib
import errno
import functools
import hashlib
import os
import platform
import secrets
import shutil
import stat
import time
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path
from typing import Final

from sppnet.errors import WriteError
from sppnet.storage.places import is_address, opened, put

POINTER: Final = b"version https://git-lfs.github.com/spec/"  # how a pointer of Git LFS begins, which is short
MAX_POINTER: Final = 1024  # bytes


class PointerError(OSError):
    """A pointer of Git LFS lies where its file should: it was cloned without its large files."""


def open_file(path: Path | str) -> BufferedReader:
    """Open a regular file for reading, in bytes; the only way in which this package opens a file that it is given.

    Raises:
        OSError: as ``open`` has it; for a folder, a pipe, a socket or a device it says what is in the way.
        PointerError: a pointer of Git LFS.
    """
    wanted = ("O_RDONLY", "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY")  # O_NONBLOCK: a pipe waits for no writer
    flags = [getattr(os, name, 0) for name in wanted]
    descriptor = os.open(path, sum(flags))
    try:
        status = os.fstat(descriptor)
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, not a regular file", str(path))
        if status.st_size <= MAX_POINTER:
            if os.read(descriptor, len(POINTER)) == POINTER:
                what = "it is a pointer of Git LFS, not the file itself, which 'git lfs pull' fetches"
                raise PointerError(errno.EINVAL, what, str(path))
            os.lseek(descriptor, 0, os.SEEK_SET)
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
        storage, name = opened(path)
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
        put(str(path), b"".join(chunk.encode() if isinstance(chunk, str) else chunk for chunk in chunks))
        return
    path = Path(path)
    partial = path.with_name(PARTIAL.replace("*", f"{HOST}-{os.getpid()}-{secrets.token_hex(8)}"))
    try:
        make_folder(path.parent, durable=durable)
        _sweep(path.parent.resolve())
        if isinstance(content, bytes | str):
            check_room(path, len(content))
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


def check_room(path: Path, count: int) -> None:
    """Refuse to write so many bytes to a file, or below a folder, whose disk plainly does not have the room.

    Raises:
        WriteError: how much there is, and how much it needs.
    """
    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.is_dir())
    free = shutil.disk_usage(there).free
    if count > free:
        needs = f"it needs {_amount(count)} where {_amount(free)} are free"
        raise WriteError(path, OSError(errno.ENOSPC, needs))


def _amount(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


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
