"""Places: on a disk, by path, or in object storage, by an address that fsspec knows."""

import contextlib
import hashlib
from pathlib import Path
from typing import Any

from sppnet.errors import ArgumentError, MissingExtraError, WriteError, message


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


def run_folder(out: Path) -> Path:
    """Return the folder of the run that makes a model file: beside it, named alike."""
    return out.with_name(f"{out.stem}.run")


def is_address(place: Path | str) -> bool:
    """Tell an address, such as s3://bucket/name, from a path."""
    return isinstance(place, str) and "://" in place


def place_in(folder: Path | str, name: str) -> Path | str:
    """Return the place of a file in a folder."""
    return folder / name if isinstance(folder, Path) else f"{folder.rstrip('/')}/{name}"


def is_there(place: Path | str) -> bool:
    """Tell whether there is such a file."""
    return place.is_file() if isinstance(place, Path) else bool(opened(place)[0].exists(place))


def remove_file(place: Path | str) -> None:
    """Remove a file; one that is gone already costs nothing."""
    with contextlib.suppress(FileNotFoundError):
        place.unlink() if isinstance(place, Path) else opened(place)[0].rm_file(place)


def files_below(address: str) -> dict[str, str]:
    """Return the address of each file below a folder of object storage, sorted, with what tells its version.

    Raises:
        ArgumentError: an unknown kind of storage. MissingExtraError: a kind whose package is not installed.
    """
    storage, name = opened(address)
    found = storage.find(name, detail=True)
    return {storage.unstrip_protocol(path): cache_key(str(found[path])) for path in sorted(found)}


def matching(folder: Path | str, pattern: str) -> list[Path] | list[str]:
    """Return the places in a folder whose names match a pattern, in any order."""
    if isinstance(folder, Path):
        return list(folder.glob(pattern))
    storage, name = opened(folder)
    return [storage.unstrip_protocol(path) for path in storage.glob(f"{name}/{pattern}")]


def put(address: str, content: bytes) -> None:
    """Write a file of object storage, which shows it when all of it has come.

    Raises:
        WriteError: it was not taken.
    """
    storage, name = opened(address)
    try:
        storage.pipe_file(name, content)
    except OSError as error:
        raise WriteError(address, error) from error


def opened(address: Path | str) -> tuple[Any, str]:
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
