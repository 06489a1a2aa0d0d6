"""What torture counts is what happened: trials can be done again, losses are seen, the page shows the results."""

import os
import signal
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from benchmarks.torture import PAGE, REACHED, Tally, _at_write, _disturbed, _ending, _forked, _kill, rendered

from benchmarks import mutations, records, torture
from sppnet.errors import DataError
from sppnet.storage import write_file


def test_the_page_shows_the_results() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert rendered(page) == page
    record = records.read("torture")
    assert record is not None
    assert not torture.bad(record["figures"])
    assert set(record["figures"]) == set(torture.SECTIONS)


def test_outcomes_are_told_apart() -> None:
    tally = Tally()

    def refuse() -> None:
        raise DataError("no")

    def break_down() -> None:
        raise KeyError("oh")

    for work in (lambda: None, refuse, break_down):
        tally.trial("a trial", work, DataError)
    tally.lose("a file")
    figures = tally.figures()
    assert [figures[name] for name in ("done", "refused", "foreign exceptions", "losses")] == [1, 1, 1, 1]
    assert figures["faults"] == ["a trial: KeyError: 'oh'", "a file"]


def test_a_section_that_dies_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    figures = torture._section("none of them", 0, 1)
    assert figures["crashes"] == 1
    assert "none of them ended with 2" in figures["faults"][0]


def _two_files(out: Path) -> None:
    write_file(out / "a", "one")
    write_file(out / "b", "two")


def test_a_write_at_a_time_is_interrupted(tmp_path: Path) -> None:
    ended = []
    for boundary in count(1):
        (out := tmp_path / str(boundary)).mkdir()
        ended.append(_forked(partial(_disturbed, _two_files, out, boundary, _kill)))
        assert _ending(_two_files, out) == {"a": b"one", "b": b"two"}
        if ended[-1] == 0:
            break
    assert ended[:-1] == [-signal.SIGKILL] * 6  # two files: the folder, the file, its name


def test_what_goes_on_without_a_write_is_told_apart_from_what_never_came_to_it(tmp_path: Path) -> None:
    def pass_over() -> None:
        raise OSError(28, "full")

    def work(out: Path) -> None:
        try:
            _two_files(out)
        except OSError:
            (out / "c").write_text("went on")

    assert _forked(partial(_disturbed, work, tmp_path, 1, pass_over)) == REACHED
    assert _forked(partial(_disturbed, work, tmp_path, 100, pass_over)) == 0


def test_reading_is_no_write(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")

    def work() -> None:
        reached = _at_write(1, lambda: None)
        (tmp_path / "a").read_text()
        os._exit(9 if reached else 0)

    assert _forked(work) == 0


def test_the_page_shows_what_came_of_mutated_labels() -> None:
    page = mutations.PAGE.read_text(encoding="utf-8")
    assert mutations.rendered(page) == page
    record = records.read("mutations")
    assert record is None or not any(each["faults"] for each in record["figures"].values())
