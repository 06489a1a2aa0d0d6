"""Files that hold all of what was written or what they held before, whatever happens meanwhile."""

import os
import secrets
from pathlib import Path
from typing import Final

PARTIAL: Final = ".sppnet-*.tmp"  # a process that is killed can leave one behind


def write_file(path: Path, content: bytes | str, *, durable: bool = True) -> None:
    """Write one file, whole or not at all.

    The file is written under another name in the same folder, which is made where it is missing, and then renamed.

    Args:
        path: of the file to write or to replace.
        content: its bytes; text is written as UTF-8.
        durable: bring it to the disk before it gets its name, so that not even a crash of the machine breaks it.
    Raises:
        OSError: a full or read-only disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(PARTIAL.replace("*", f"{os.getpid()}-{secrets.token_hex(8)}"))
    try:
        with partial.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if durable and os.name == "posix":  # elsewhere a folder cannot be opened
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
