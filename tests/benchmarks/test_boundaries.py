"""Processes that end at each of their writes, and disks that lose what was not brought to them."""

import errno
import os
import random
import sqlite3
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from benchmarks.boundaries import HAS_SUPERVISOR, KILL, Write, supervised
from benchmarks.torture_power import Disk, Told, as_json, lost, record, scenarios
from benchmarks.torture_writes import Scenario, ending_of, files_below, in_a_process, run

from sppnet.storage import write_file

pytestmark = pytest.mark.skipif(not HAS_SUPERVISOR, reason="needs Linux on x86-64: its kernel tells of each write")
KILLED = -9


def _two_files(out: Path, tell: Any) -> None:
    write_file(out / "a", "one")
    tell("a")
    write_file(out / "b", "two")
    tell("b")


TWO_FILES = Scenario(_two_files, lambda out: set(files_below(out)), files_below)


def test_each_write_of_any_library_is_seen_and_reading_is_none(tmp_path: Path) -> None:
    (tmp_path / "read").write_text("x")

    def work() -> None:
        (tmp_path / "read").read_text()
        write_file(tmp_path / "a", "one")
        sqlite3.connect(tmp_path / "b").execute("CREATE TABLE c (d)")

    seen: list[Write] = []
    assert supervised(work, tmp_path, lambda write: seen.append(write) or 0) == 0
    ours = [(each.call, each.data) for each in seen[:6]]
    assert ours == [("mkdir", b""), ("open", b""), ("write", b"one"), ("fsync", b""), ("rename", b""), ("fsync", b"")]
    assert {each.call for each in seen[6:]} >= {"open", "pwrite", "fsync", "unlink"}  # SQLite's, in C
    assert {path for each in seen for path in each.paths} >= {"a", "b", "b-journal", "."}


@pytest.mark.slow
def test_killed_at_each_write_it_ends_alike_and_loses_nothing_that_was_told(tmp_path: Path) -> None:
    wanted = ending_of(TWO_FILES, tmp_path / "whole")
    for boundary in count(1):
        (out := tmp_path / str(boundary)).mkdir()
        left = iter(range(boundary - 1, -1, -1))
        code, told = run(_two_files, out, lambda *_, left=left: 0 if next(left, -1) else KILL)
        assert code in (0, KILLED)
        assert told <= TWO_FILES.told(out)
        assert ending_of(TWO_FILES, out) == wanted
        if code == 0:
            break
    assert boundary == 13  # two files: the folder made, opened, written, synced, named, and the folder synced


def test_a_write_that_finds_no_room_fails_with_our_error(tmp_path: Path) -> None:
    code, told = run(_two_files, tmp_path, lambda write, _: errno.ENOSPC if write.call == "fsync" else 0)
    assert (code, told) == (1, set())
    assert not files_below(tmp_path)


def _states(scenario: Scenario, folder: Path, number: int) -> list[str]:
    """Return what is wrong after so many losses of power."""
    (out := folder / "recorded").mkdir()
    events = record(scenario.work, out)
    wanted = in_a_process(lambda place: as_json(scenario.ending(place)), out)
    faults = []
    for state in range(number):
        (out := folder / str(state)).mkdir()
        faults += lost(scenario, events, wanted, out, random.Random(state))
    return faults


@pytest.mark.parametrize("name", ["files", "cache", "answers", "studio"])
@pytest.mark.slow
def test_what_was_told_outlives_a_loss_of_power_and_nothing_is_half(name: str, tmp_path: Path) -> None:
    assert _states(scenarios()[name], tmp_path, 60) == []


def _hasty(out: Path, tell: Any) -> None:
    (out / "a").write_text("one")
    tell("a")


def _not_synced(out: Path, tell: Any) -> None:
    write_file(out / "folder" / "a", "one", durable=False)
    tell("folder/a")


@pytest.mark.parametrize("work", [_hasty, _not_synced])
def test_a_loss_is_found_where_something_was_told_too_early(work: Any, tmp_path: Path) -> None:
    scenario = Scenario(work, lambda out: set(files_below(out)), files_below)
    assert any("lost" in each for each in _states(scenario, tmp_path, 30))


def test_a_disk_keeps_what_was_synced_and_may_lose_the_rest(tmp_path: Path) -> None:
    disk = Disk()
    made = os.O_CREAT | os.O_WRONLY
    for write in (
        *(Write("mkdir", ("b",)), Write("fsync", (".",)), Write("open", ("b/c",), made), Write("fsync", ("b",))),
        *(Write("write", ("b/c",), 0, 0, b"kept"), Write("fsync", ("b/c",)), Write("write", ("b/c",), 0, 4, b"lost")),
        *(Write("open", ("d",), made), Write("rename", ("b/c", "b/e"))),
    ):
        disk.take(write)
    found = set()
    for state in range(200):
        (out := tmp_path / str(state)).mkdir()
        disk.leave(out, random.Random(state))
        content = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        found |= set(content.items())
        assert len({"b/c", "b/e"} & set(content)) == 1  # a rename is whole or not there
    assert {name for name, _ in found} == {"b/c", "b/e", "d"}
    left = {each for name, each in found if name == "b/e"}
    assert left == {b"kept", b"keptlost", b"kept" + bytes(4)}  # the last: its length came to the disk, and no more


def test_what_was_told_stands_between_the_writes_around_it(tmp_path: Path) -> None:
    events = record(_two_files, tmp_path)
    assert [each.done if isinstance(each, Told) else each.call for each in events] == [
        *("mkdir", "open", "write", "fsync", "rename", "fsync", "a"),
        *("mkdir", "open", "write", "fsync", "rename", "fsync", "b"),
    ]
