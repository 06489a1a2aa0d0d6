"""The tables of the studio's file, and how a file of an earlier sppnet gets what came later.

Columns and tables are only ever added, columns each with a default: so every version of sppnet reads and writes the
files of every other.
"""

import sqlite3
from typing import Final, Literal

Table = Literal["image", "class", "box", "suggestion"]

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
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL)
"""
ADDED: Final = (
    ("image", "version", "TEXT NOT NULL DEFAULT ''"),  # of the file: when it was written, and its size
    ("image", "digest", "TEXT NOT NULL DEFAULT ''"),  # of its bytes: a renamed file is known by it
    ("image", "note", "TEXT NOT NULL DEFAULT ''"),
    ("class", "place", "INTEGER NOT NULL DEFAULT 0"),
    ("class", "key", "TEXT NOT NULL DEFAULT ''"),
    ("box", "outline", "TEXT NOT NULL DEFAULT ''"),  # JSON of polygons that came with the label
    ("box", "note", "TEXT NOT NULL DEFAULT ''"),
    ("step", "person", "TEXT NOT NULL DEFAULT ''"),
)
# What was imported to be answered. An earlier version, which does not know of it, may remove the class or the image.
SUGGESTIONS: Final = """
CREATE TABLE IF NOT EXISTS suggestion (
    id INTEGER PRIMARY KEY AUTOINCREMENT, image INTEGER NOT NULL, class INTEGER NOT NULL,
    "left" REAL NOT NULL, top REAL NOT NULL, "right" REAL NOT NULL, bottom REAL NOT NULL, score REAL NOT NULL
)
"""
COLUMNS: Final[dict[Table, tuple[str, ...]]] = {
    "image": ("name", "height", "width", "fault", "complete", "version", "digest", "note"),
    "class": ("name", "colour", "place", "key"),
    "box": ("image", "class", "kind", "left", "top", "right", "bottom", "difficult", "crowd", "outline", "note"),
    "suggestion": ("image", "class", "left", "top", "right", "bottom", "score"),
}


def make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty file, within the transaction that is open."""
    for statement in SCHEMA.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def add_missing(connection: sqlite3.Connection) -> None:
    """Add the columns and tables that the file does not have, within the transaction that is open."""
    connection.execute(SUGGESTIONS)
    for table, column, declared in ADDED:
        there = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        if column not in there:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {declared}")
