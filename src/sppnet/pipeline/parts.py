"""Tables in parts: Parquet files that are whole or not there, so that many may write and what was ended goes on.

A part's name tells what it was made of: images as they were, by whom. So a listing of the folder tells what is missing.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from sppnet.errors import CorruptFileError, MissingExtraError
from sppnet.pipeline.answers import Bad
from sppnet.storage import cache_key, files_below, is_address, open_file, place_in, remove_file, write_file
from sppnet.storage.places import opened

IMAGES: Final = 1000  # a part
PATTERN: Final = "part-*.parquet"

UNREAD: Final = b"sppnet.unread"  # in a part's metadata: JSON of the images that could not be read, [path, reason]

Columns = Mapping[str, Literal["text", "number", "vector"]]
Row = Sequence[Any]


class ImageFile(NamedTuple):
    """An image by its path, or its address in object storage, and what changes with its content."""

    place: Path | str
    version: str


class Part(NamedTuple):
    """Images whose rows make one file of this name."""

    name: str
    images: tuple[Path | str, ...]


class PartFiles:
    """The parts of a table in one folder.

    Args:
        folder: a path, or an address in object storage.
        images: of all parts, in their order.
        run: JSON of whatever else the rows depend on.
        size: images a part, at most.
    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(
        self, folder: Path | str, images: Sequence[ImageFile], run: Mapping[str, Any], *, size: int = IMAGES
    ) -> None:
        check_pyarrow()
        self.folder, made_by = folder, json.dumps(run, sort_keys=True)
        # Of no images there is one part without rows, so that who reads the folder finds a table.
        groups = [images[start : start + size] for start in range(0, len(images) or 1, size)]
        self.parts: tuple[Part, ...] = tuple(
            Part(
                f"part-{number:05}-of-{len(groups):05}-{_digest(made_by, group)}.parquet",
                tuple(image.place for image in group),
            )
            for number, group in enumerate(groups, start=1)
        )

    def missing(self) -> list[Part]:
        """Return the parts that are not there yet, in their order."""
        there = self._there()
        return [part for part in self.parts if part.name not in there]

    def unread(self) -> list[Bad]:
        """Return the images of the parts that are there which could not be read, in their order.

        Raises:
            CorruptFileError: a part that is not whole.
        """
        there = self._there()
        names = [part.name for part in self.parts if part.name in there]
        return [bad for name in names for bad in _unread_in(place_in(self.folder, name))]

    def remove_others(self) -> None:
        """Remove parts of other images or other runs: who reads the folder finds this table alone."""
        for name in self._there() - {part.name for part in self.parts}:
            remove_file(place_in(self.folder, name))

    def _there(self) -> set[str]:
        if is_address(self.folder):
            names = {Path(address).name for address in files_below(str(self.folder))}
            return {name for name in names if Path(name).match(PATTERN)}
        return {path.name for path in Path(self.folder).glob(PATTERN)}


class Table(NamedTuple):
    """A table's columns, and the rows (R of them, in their order) that an image's name and answer make."""

    columns: Columns
    rows: Callable[[str, Any], Sequence[Row]]


def write_part(folder: Path | str, table: Table, part: Part, answers: Iterable[Any], *, skip: bool = True) -> list[Bad]:
    """Write a part of a table, whole or not at all, from the answers for its images; return what could not be read.

    Args:
        skip: False leaves the part unwritten at the first image that could not be read.
    Raises:
        WriteError: a full or read-only disk.
    """
    rows: list[Row] = []
    unread = []
    for image, answer in zip(part.images, answers, strict=True):
        if isinstance(answer, Bad):
            unread.append(answer)
            if not skip:
                return unread
        else:
            rows += table.rows(str(image), answer)
    write_file(place_in(folder, part.name), table_bytes(table.columns, rows, unread))
    return unread


def table_bytes(columns: Columns, rows: Iterable[Row], unread: Sequence[Bad] = ()) -> bytes:
    """Return rows as one Parquet file, which tells what could not be read: the same of both, the same bytes."""
    import pyarrow
    from pyarrow import parquet

    kinds = {"text": pyarrow.string(), "number": pyarrow.float64(), "vector": pyarrow.list_(pyarrow.float32())}
    told = {UNREAD: json.dumps(unread)} if unread else None
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()], metadata=told)
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    arrays = [pyarrow.array(column, field.type) for column, field in zip(values, schema, strict=True)]
    out = BytesIO()
    parquet.write_table(pyarrow.table(arrays, schema=schema), out)
    return out.getvalue()


def _unread_in(place: Path | str) -> list[Bad]:
    """Return the images of a part that could not be read: of its file, the end is read alone."""
    from pyarrow import ArrowException, parquet

    storage, name = opened(place) if is_address(place) else (None, "")
    try:
        with open_file(place) if storage is None else storage.open(name) as file:
            metadata = parquet.read_schema(file).metadata or {}
    except ArrowException as error:
        raise CorruptFileError(
            f"{place}: must be a whole Parquet file, got {error}. Remove it and run again."
        ) from error
    return [Bad(*each) for each in json.loads(metadata.get(UNREAD, b"[]"))]


def check_pyarrow() -> None:
    """Raise MissingExtraError unless pyarrow is installed."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        advice = "Install it: pip install 'sppnet[parquet]'"
        raise MissingExtraError(f"parquet: needs pyarrow, which is not installed. {advice}.") from error


def file_version(path: Path) -> str:
    """Return what changes with the content of a file on a disk; nothing of one that cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _digest(made_by: str, group: Sequence[ImageFile]) -> str:
    images = [text for image in group for text in (str(image.place), image.version)]
    return cache_key(made_by, *images)[:12]
