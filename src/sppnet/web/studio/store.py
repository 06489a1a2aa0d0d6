"""What people said of a folder's images, in one SQLite file: every change is on the disk before it is answered.

A change is one *step* of one person: columns that were written, each with what it held before. Undo writes back what
was there before, in the opposite order, unless somebody changed the same since; a new step drops those that its person
had undone. One process holds the file for as long as it is open.
"""

import errno
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

from sppnet.errors import DataError, WriteError
from sppnet.storage import make_folder
from sppnet.web.studio.schema import COLUMNS, VERSION, Table, add_missing, make_tables

Kind = Literal["object", "rejected"]
Values = dict[str, Any]


@dataclass(frozen=True, slots=True)  # tens of thousands are in memory
class StoredImage:
    """One image of the folder.

    ``name`` is its path below it, ``fault`` why it cannot be read; ``version`` changes when the file is written,
    ``digest`` when its bytes do.
    """

    id: int
    name: str
    height: int
    width: int
    fault: str
    complete: bool
    version: str = ""
    digest: str = ""
    note: str = ""


@dataclass(frozen=True)
class Class:
    """A name of objects, the colour of their boxes, its place among the classes and its own key ("" for none)."""

    id: int
    name: str
    colour: str
    place: int = 0
    key: str = ""


@dataclass(frozen=True)
class Box:
    """What a person said of one place: an object of a class, or that it is none ("rejected").

    ``outline`` is JSON of the polygons that came with the label, "" for none.
    """

    id: int
    image: int
    label: int
    kind: Kind
    edges: tuple[float, float, float, float]
    difficult: bool = False
    crowd: bool = False
    outline: str = ""
    note: str = ""


@dataclass(frozen=True)
class Offered:
    """A place that was imported as a suggestion: an object of a class is there with the confidence ``score``."""

    id: int
    image: int
    label: int
    edges: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class Undoable:
    """What undo and redo would do next; empty for nothing."""

    undo: str
    redo: str


@dataclass(frozen=True)
class Turned:
    """A step that was undone or done again: what it does, the image it happens in, those whose labels changed."""

    what: str
    image: int | None
    touched: frozenset[int]


class Missing(LookupError):  # noqa: N818 (an answer to a request, not a fault)
    """No such row."""


class Step:
    """The writes of one step; made by ``Store.step``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.edits: list[tuple[Table, int, Values | None, Values | None]] = []

    def add(self, table: Table, values: Values) -> int:
        """Add a row and return its id."""
        row = _insert(self._connection, table, None, values)
        self.edits.append((table, row, None, _row(self._connection, table, row)))
        return row

    def change(self, table: Table, row: int, values: Values) -> None:
        """Change columns of a row; Missing if there is none."""
        before = _row(self._connection, table, row)
        _replace(self._connection, table, row, values)
        # Only the columns that change are kept: what somebody else changes in the same row meanwhile stays.
        self.edits.append((table, row, {name: before[name] for name in values}, values))

    def remove(self, table: Table, row: int) -> None:
        """Remove a row; Missing if there is none."""
        before = _row(self._connection, table, row)
        _delete(self._connection, table, row)
        self.edits.append((table, row, before, None))


class Store:
    """The file. Any thread may call any method.

    Args:
        file: made, with its folder, where it is missing.
    Raises:
        DataError: another process has it open, it is no such file, it may not be written, or a newer version wrote it.
    """

    def __init__(self, file: Path) -> None:
        self.file, self._lock = file, threading.RLock()
        try:
            make_folder(file.parent)
        except OSError as error:
            raise DataError(f"{file.parent}: the labels need this folder: {error.strerror}. {ALLOW}.") from error
        try:
            self._connection = sqlite3.connect(file, timeout=0.2, check_same_thread=False, isolation_level=None)
        except sqlite3.Error as error:
            raise DataError(f"{file}: the labels cannot be opened: {_reason(error)}.") from error
        try:
            self._open()
        except (sqlite3.Error, DataError) as error:
            self._connection.close()
            if isinstance(error, DataError):
                raise
            raise DataError(f"{file}: the labels cannot be opened: {_reason(error)}.") from error

    def _open(self) -> None:
        run = self._connection.execute
        run("PRAGMA locking_mode = EXCLUSIVE")  # until this process ends, however it ends
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA foreign_keys = ON")
        run("BEGIN EXCLUSIVE")
        (version,) = run("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            run("ROLLBACK")
            raise DataError(f"{self.file}: must be of version {VERSION}, got {version}. Update sppnet.")
        if version == 0:
            make_tables(self._connection)
        add_missing(self._connection)
        run("COMMIT")

    @property
    def away(self) -> str:
        """Why nothing can be kept any more: the file is no longer where it was opened. "" as long as it is."""
        if self.file.exists():
            return ""
        place, why = self.file.parent.parent, "it was renamed or moved, or its disk is away"
        advice = "Put it back, or start the studio with its new place: all changes up to now are in it"
        return f"The folder {place} is not there any more, or not with its labels: {why}. {advice}."

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Reading

    def images(self) -> list[StoredImage]:
        """Return all images ever seen in the folder, by name."""
        return [_stored(row) for row in self._all(f"{_IMAGES} ORDER BY name")]

    def image(self, row: int) -> StoredImage:
        """Return one image; Missing if there is none."""
        found = self._all(f"{_IMAGES} WHERE id = ?", (row,))
        if not found:
            raise Missing(f"there is no image {row}")
        return _stored(found[0])

    def replaced_by(self, name: str) -> StoredImage | None:
        """Return the image whose file was replaced by the one of this name, while its labels are kept aside."""
        told = "(complete OR EXISTS (SELECT 1 FROM box WHERE box.image = image.id))"
        found = self._all(f"{_IMAGES} WHERE name = ? || '#' || id AND {told} ORDER BY id DESC LIMIT 1", (name,))
        return _stored(found[0]) if found else None

    def classes(self) -> list[Class]:
        """Return the classes in their order."""
        return [Class(*row) for row in self._all("SELECT id, name, colour, place, key FROM class ORDER BY place, id")]

    def boxes(self, image: int | None = None) -> list[Box]:
        """Return the boxes of one image or of all, in the order in which they were drawn."""
        return self._boxes("image = ?", image) if image is not None else self._boxes("?", 1)

    def boxes_of_class(self, label: int) -> list[Box]:
        """Return all boxes of one class."""
        return self._boxes("class = ?", label)

    def box(self, row: int) -> Box:
        """Return one box; Missing if there is none."""
        found = self._boxes("id = ?", row)
        if not found:
            raise Missing(f"there is no box {row}")
        return found[0]

    def offered(self, image: int | None = None) -> list[Offered]:
        """Return what was imported as suggestions for one image or for all, the surest first."""
        columns = 'id, image, class, "left", top, "right", bottom, score'
        which = "class IN (SELECT id FROM class)" + ("" if image is None else " AND image = ?")
        query = f"SELECT {columns} FROM suggestion WHERE {which} ORDER BY score DESC, id"
        rows = self._all(query, () if image is None else (image,))
        return [Offered(key, of, label, tuple(edges), score) for key, of, label, *edges, score in rows]

    def counts(self) -> list[tuple[int, int, Kind, int]]:
        """Return of each image, class and kind how many boxes there are."""
        return self._all("SELECT image, class, kind, COUNT(*) FROM box GROUP BY image, class, kind")

    def setting(self, name: str, default: Any) -> Any:
        """Return what was kept under a name."""
        found = self._all("SELECT value FROM setting WHERE name = ?", (name,))
        return json.loads(found[0][0]) if found else default

    def undoable(self, person: str = "") -> Undoable:
        """Return what undo and redo would do next for a person."""
        undo = self._all(f"SELECT what FROM step WHERE NOT undone AND {_MINE} ORDER BY id DESC LIMIT 1", (person,))
        redo = self._all(f"SELECT what FROM step WHERE undone AND {_MINE} ORDER BY id LIMIT 1", (person,))
        return Undoable(undo[0][0] if undo else "", redo[0][0] if redo else "")

    def _boxes(self, which: str, value: int) -> list[Box]:
        columns = 'id, image, class, kind, "left", top, "right", bottom, difficult, crowd, outline, note'
        rows = self._all(f"SELECT {columns} FROM box WHERE {which} ORDER BY id", (value,))
        return [
            Box(key, image, label, kind, (left, top, right, bottom), bool(difficult), bool(crowd), outline, note)
            for key, image, label, kind, left, top, right, bottom, difficult, crowd, outline, note in rows
        ]

    def _all(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    # Writing

    @contextmanager
    def step(self, what: str, image: int | None = None, *, undoable: bool = True, person: str = "") -> Iterator[Step]:
        """Write rows together, or none of them if it raises: one step of undo unless it cannot be undone.

        Args:
            what: it does, as a person would say. image: where it happens. person: who does it.
        """
        with self._transaction():
            step = Step(self._connection)
            yield step
            if undoable and step.edits:
                self._remember(step, what, image, person)

    def _remember(self, step: Step, what: str, image: int | None, person: str) -> None:
        run = self._connection.execute
        run(f"DELETE FROM step WHERE undone AND {_MINE}", (person,))
        row = run("INSERT INTO step (what, image, person) VALUES (?, ?, ?)", (what, image, person)).lastrowid
        for table, changed, before, after in step.edits:
            values = (row, table, changed, *(None if side is None else json.dumps(side) for side in (before, after)))
            run("INSERT INTO edit (step, kept_in, row, before, after) VALUES (?, ?, ?, ?, ?)", values)

    def undo(self, person: str = "") -> Turned | None:
        """Take back a person's last step; None if there is none.

        Raises:
            DataError: somebody changed the same since. Then the step stays as it is, and is no longer undone.
        """
        return self._turn(f"WHERE NOT undone AND {_MINE} ORDER BY id DESC", person, undone=True)

    def redo(self, person: str = "") -> Turned | None:
        """Do again what a person undid last; None if nothing was.

        Raises:
            DataError: as ``undo``.
        """
        return self._turn(f"WHERE undone AND {_MINE} ORDER BY id", person, undone=False)

    def _turn(self, which: str, person: str, *, undone: bool) -> Turned | None:
        found = self._all(f"SELECT id, what, image FROM step {which} LIMIT 1", (person,))
        if not found:
            return None
        step, what, image = found[0]
        try:
            with self._transaction():
                touched = self._turn_edits(step, undone=undone)
                self._connection.execute("UPDATE step SET undone = ? WHERE id = ?", (undone, step))
        except (_ChangedSince, sqlite3.IntegrityError) as error:
            with self._transaction():
                self._connection.execute("DELETE FROM step WHERE id = ?", (step,))
            way = "undone" if undone else "done again"
            reason = "somebody changed the same since. It stays as it is"
            raise DataError(f"studio: {what!r} cannot be {way}: {reason}.") from error
        return Turned(what, image, frozenset(touched))

    def _turn_edits(self, step: int, *, undone: bool) -> set[int]:
        """Write back one side of a step's edits; return the images whose labels changed."""
        order = "DESC" if undone else "ASC"
        edits = self._all(f"SELECT kept_in, row, before, after FROM edit WHERE step = ? ORDER BY id {order}", (step,))
        touched: set[int] = set()
        for table, row, *texts in edits:
            before, after = (None if text is None else json.loads(text) for text in texts)
            wanted, expected = (before, after) if undone else (after, before)
            touched |= self._touched(table, row)
            _check_as_left(self._connection, table, row, expected)
            _put(self._connection, table, row, wanted)
            touched |= self._touched(table, row)
        return touched

    def _touched(self, table: Table, row: int) -> set[int]:
        holders = {
            "image": "id FROM image WHERE id",
            "box": "image FROM box WHERE id",
            "class": "image FROM box WHERE class",
            "suggestion": "image FROM suggestion WHERE id",
        }
        return {image for (image,) in self._all(f"SELECT DISTINCT {holders[table]} = ?", (row,))}

    def keep(self, name: str, value: Any) -> None:
        """Keep a setting; it is no step of undo."""
        with self._transaction():
            self._connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, json.dumps(value)))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if away := self.away:
            raise DataError(away)
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException as error:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                    reason = f"{error}. This change is not stored, all before it are"
                    raise WriteError(self.file, OSError(errno.ENOSPC, reason)) from error
                raise


ALLOW: Final = "Allow writing there, or copy the images to where you may write"
_MINE: Final = "person IN (?, '')"  # steps of files without persons are everybody's
_IMAGES: Final = "SELECT id, name, height, width, fault, complete, version, digest, note FROM image"


def _stored(row: tuple[Any, ...]) -> StoredImage:
    key, name, height, width, fault, complete, version, digest, note = row
    return StoredImage(key, name, height, width, fault, bool(complete), version, digest, note)


def _reason(error: sqlite3.Error) -> str:
    """Say in a person's words why the file cannot be opened, and what to do: never to throw labels away."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the kind
    if code == sqlite3.SQLITE_BUSY:
        return "it is open in another studio. Close that one"
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return f"{error}. The labels in it are whole. {ALLOW}"
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return f"{error}. Move it away to begin anew, and keep it: a copy of yours may mend it"
    return f"{error}. Free some space or mend the disk, and start again"


# Rows. Names of tables and columns come from COLUMNS alone, never from a request.


class _ChangedSince(Exception):  # noqa: N818 (becomes a DataError that names the step)
    pass


def _check_as_left(connection: sqlite3.Connection, table: Table, row: int, expected: Values | None) -> None:
    """Raise unless a row still holds what a step left there; None expects no row."""
    try:
        held: Values | None = _row(connection, table, row)
    except Missing:
        held = None
    if (held is None) != (expected is None):
        raise _ChangedSince
    if held and expected and any(held[name] != value for name, value in expected.items()):
        raise _ChangedSince


def _row(connection: sqlite3.Connection, table: Table, row: int) -> Values:
    columns = COLUMNS[table]
    found = connection.execute(f"SELECT {_quoted(columns)} FROM {table} WHERE id = ?", (row,)).fetchone()
    if found is None:
        raise Missing(f"there is no {table} {row}")
    return dict(zip(columns, found, strict=True))


def _insert(connection: sqlite3.Connection, table: Table, row: int | None, values: Values) -> int:
    columns = [column for column in COLUMNS[table] if column in values]
    places = ", ".join("?" * (1 + len(columns)))
    sql = f"INSERT INTO {table} (id, {_quoted(columns)}) VALUES ({places})"
    return connection.execute(sql, (row, *(values[column] for column in columns))).lastrowid or 0


def _replace(connection: sqlite3.Connection, table: Table, row: int, values: Values) -> None:
    columns = [column for column in COLUMNS[table] if column in values]
    if not columns:
        return
    places = ", ".join(f'"{column}" = ?' for column in columns)
    connection.execute(f"UPDATE {table} SET {places} WHERE id = ?", (*(values[column] for column in columns), row))


def _delete(connection: sqlite3.Connection, table: Table, row: int) -> None:
    connection.execute(f"DELETE FROM {table} WHERE id = ?", (row,))


def _put(connection: sqlite3.Connection, table: Table, row: int, values: Values | None) -> None:
    """Make a row hold values; None removes it."""
    if values is None:
        _delete(connection, table, row)
    elif connection.execute(f"SELECT 1 FROM {table} WHERE id = ?", (row,)).fetchone():
        _replace(connection, table, row, values)
    else:
        _insert(connection, table, row, values)


def _quoted(columns: Any) -> str:
    return ", ".join(f'"{column}"' for column in columns)
