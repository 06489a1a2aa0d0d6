"""What a person said of a folder's images, in one SQLite file: every change is on the disk before it is answered.

A change is one *step*: rows that were written, each with what it held before. Undo writes back what was there before,
in the opposite order; a new step drops those that were undone. One process holds the file for as long as it is open.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

from sppnet.errors import DataError

Kind = Literal["object", "rejected"]
Values = dict[str, Any]

VERSION: Final = 1
SCHEMA: Final = """
CREATE TABLE image (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
    height INTEGER NOT NULL, width INTEGER NOT NULL, fault TEXT NOT NULL DEFAULT '', complete INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE class (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, colour TEXT NOT NULL);
CREATE TABLE box (
    id INTEGER PRIMARY KEY AUTOINCREMENT, image INTEGER NOT NULL REFERENCES image,
    class INTEGER NOT NULL REFERENCES class, kind TEXT NOT NULL CHECK (kind IN ('object', 'rejected')),
    "left" REAL NOT NULL, top REAL NOT NULL, "right" REAL NOT NULL, bottom REAL NOT NULL,
    difficult INTEGER NOT NULL DEFAULT 0, crowd INTEGER NOT NULL DEFAULT 0,
    CHECK ("left" < "right" AND top < bottom)
);
CREATE INDEX box_of_image ON box (image);
CREATE TABLE step (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, what TEXT NOT NULL,
    image INTEGER, undone INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE edit (
    id INTEGER PRIMARY KEY, step INTEGER NOT NULL REFERENCES step ON DELETE CASCADE, kept_in TEXT NOT NULL,
    row INTEGER NOT NULL, before TEXT, after TEXT
);
CREATE INDEX edit_of_step ON edit (step);
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
COLUMNS: Final = {
    "image": ("name", "height", "width", "fault", "complete"),
    "class": ("name", "colour"),
    "box": ("image", "class", "kind", "left", "top", "right", "bottom", "difficult", "crowd"),
}
Table = Literal["image", "class", "box"]


@dataclass(frozen=True)
class StoredImage:
    """One image of the folder: ``name`` is its path below it, ``fault`` why it cannot be read."""

    id: int
    name: str
    height: int
    width: int
    fault: str
    complete: bool


@dataclass(frozen=True)
class Class:
    """A name of objects, and the colour of their boxes."""

    id: int
    name: str
    colour: str


@dataclass(frozen=True)
class Box:
    """What a person said of one place: an object of a class, or that it is none ("rejected")."""

    id: int
    image: int
    label: int
    kind: Kind
    edges: tuple[float, float, float, float]
    difficult: bool = False
    crowd: bool = False


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
        _replace(self._connection, table, row, before | values)
        self.edits.append((table, row, before, before | values))

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
        DataError: another process has it open, it is no such file, or a newer version wrote it.
    """

    def __init__(self, file: Path) -> None:
        self.file, self._lock = file, threading.RLock()
        file.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(file, timeout=0.2, check_same_thread=False, isolation_level=None)
        try:
            self._open()
        except sqlite3.Error as error:
            self._connection.close()
            held = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            reason = "it is open in another studio. Close that one" if held else f"{error}. Move it away to begin anew"
            raise DataError(f"{file}: the labels cannot be opened: {reason}.") from error

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
            for statement in SCHEMA.split(";"):
                run(statement)
            run(f"PRAGMA user_version = {VERSION}")
        run("COMMIT")

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
        rows = self._all("SELECT id, name, height, width, fault, complete FROM image ORDER BY name")
        return [
            StoredImage(key, name, height, width, fault, bool(complete))
            for key, name, height, width, fault, complete in rows
        ]

    def classes(self) -> list[Class]:
        """Return the classes in the order in which they were added."""
        return [Class(*row) for row in self._all("SELECT id, name, colour FROM class ORDER BY id")]

    def boxes(self, image: int | None = None) -> list[Box]:
        """Return the boxes of one image or of all, in the order in which they were drawn."""
        return self._boxes("image = ?", image) if image is not None else self._boxes("?", 1)

    def box(self, row: int) -> Box:
        """Return one box; Missing if there is none."""
        found = self._boxes("id = ?", row)
        if not found:
            raise Missing(f"there is no box {row}")
        return found[0]

    def _boxes(self, which: str, value: int) -> list[Box]:
        columns = 'id, image, class, kind, "left", top, "right", bottom, difficult, crowd'
        rows = self._all(f"SELECT {columns} FROM box WHERE {which} ORDER BY id", (value,))
        return [
            Box(key, image, label, kind, (left, top, right, bottom), bool(difficult), bool(crowd))
            for key, image, label, kind, left, top, right, bottom, difficult, crowd in rows
        ]

    def image(self, row: int) -> StoredImage:
        """Return one image; Missing if there is none."""
        with self._lock:
            found = _row(self._connection, "image", row)
        return StoredImage(row, **found | {"complete": bool(found["complete"])})

    def setting(self, name: str, default: Any) -> Any:
        """Return what was kept under a name."""
        found = self._all("SELECT value FROM setting WHERE name = ?", (name,))
        return json.loads(found[0][0]) if found else default

    def undoable(self) -> Undoable:
        """Return what undo and redo would do next."""
        undo = self._all("SELECT what FROM step WHERE NOT undone ORDER BY id DESC LIMIT 1")
        redo = self._all("SELECT what FROM step WHERE undone ORDER BY id LIMIT 1")
        return Undoable(undo[0][0] if undo else "", redo[0][0] if redo else "")

    def _all(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    # Writing

    @contextmanager
    def step(self, what: str, image: int | None = None, *, undoable: bool = True) -> Iterator[Step]:
        """Write rows together, or none of them if it raises: one step of undo unless it cannot be undone.

        Args:
            what: it does, as a person would say. image: where it happens.
        """
        with self._transaction():
            step = Step(self._connection)
            yield step
            if undoable and step.edits:
                self._remember(step, what, image)

    def _remember(self, step: Step, what: str, image: int | None) -> None:
        run = self._connection.execute
        run("DELETE FROM step WHERE undone")
        row = run("INSERT INTO step (what, image) VALUES (?, ?)", (what, image)).lastrowid
        for table, changed, before, after in step.edits:
            values = (row, table, changed, *(None if side is None else json.dumps(side) for side in (before, after)))
            run("INSERT INTO edit (step, kept_in, row, before, after) VALUES (?, ?, ?, ?, ?)", values)

    def undo(self) -> Turned | None:
        """Take back the last step; None if there is none."""
        return self._turn("WHERE NOT undone ORDER BY id DESC", undone=True)

    def redo(self) -> Turned | None:
        """Do again what was undone last; None if nothing was."""
        return self._turn("WHERE undone ORDER BY id", undone=False)

    def _turn(self, which: str, *, undone: bool) -> Turned | None:
        with self._transaction():
            run = self._connection.execute
            found = run(f"SELECT id, what, image FROM step {which} LIMIT 1").fetchone()
            if found is None:
                return None
            step, what, image = found
            order = "DESC" if undone else "ASC"
            edits = run(f"SELECT kept_in, row, before, after FROM edit WHERE step = ? ORDER BY id {order}", (step,))
            touched: set[int] = set()
            for table, row, *texts in edits.fetchall():
                before, after = (None if text is None else json.loads(text) for text in texts)
                _put(self._connection, table, row, before if undone else after)
                touched |= self._touched(table, row, [side for side in (before, after) if side is not None])
            run("UPDATE step SET undone = ? WHERE id = ?", (undone, step))
            return Turned(what, image, frozenset(touched))

    def _touched(self, table: Table, row: int, sides: list[Values]) -> set[int]:
        if table == "image":
            return {row}
        if table == "box":
            return {side["image"] for side in sides}
        return {box.image for box in self.boxes() if box.label == row}

    def keep(self, name: str, value: Any) -> None:
        """Keep a setting; it is no step of undo."""
        with self._transaction():
            self._connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, json.dumps(value)))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


# Rows. Names of tables and columns come from COLUMNS alone, never from a request.


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
    columns = COLUMNS[table]
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
