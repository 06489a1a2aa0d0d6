"""Writing files: all of the new content or all of the old."""

import errno
import os
import shutil
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sppnet.errors import DataError, SppnetError, WriteError
from sppnet.storage import TensorCache, cache_key, check_room, open_file, read_file, read_tensors, write_file
from sppnet.storage.files import HOST


def test_a_file_is_made_with_its_folder_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_file(path, "naïve\n")
    assert path.read_bytes() == "naïve\n".encode()
    write_file(path, b"\x00\r\n", durable=False)
    assert path.read_bytes() == b"\x00\r\n"
    assert [each.name for each in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_what_was_there_stays_when_writing_fails(tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_file(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), full)
    with pytest.raises(OSError, match="No space left"):
        write_file(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_told_with_the_files_name_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError) as caught:
        write_file(tmp_path / "a.txt", "new")
    said = f"{tmp_path}/a.txt: cannot be written: No space left on device. Free some space there, or name another disk."
    assert str(caught.value) == said
    assert caught.value.errno == errno.ENOSPC
    assert isinstance(caught.value, SppnetError)


def test_what_plainly_does_not_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("it was begun"))
    with pytest.raises(WriteError, match=r"written: it needs 1\.5 MB where 1\.0 MB are free\. Free some"):
        write_file(tmp_path / "a.bin", bytes(1_500_000))


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"file/a\.txt: cannot be written: .*\. Name a place that can be written\."):
        write_file(tmp_path / "file" / "a.txt", "")


LEAVES = """
import os, sys
from pathlib import Path
from sppnet.storage import write_file
os.fsync = lambda _: os._exit(9)
write_file(Path(sys.argv[1]) / "a.txt", "new")
"""


def test_what_a_killed_writer_left_is_removed_by_the_next_process(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", LEAVES, tmp_path], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".sppnet-")
    mine = left.with_name(left.name.replace(left.name.split("-")[2], str(os.getpid())))
    foreign = tmp_path / ".sppnet-00000000-1-00.tmp"  # of a writer on another machine, which may be at work
    old = tmp_path / ".sppnet-00000000-2-00.tmp"
    for each in (mine, foreign, old):
        each.write_bytes(b"")
    os.utime(old, (0, 0))
    write_file(tmp_path / "b.txt", "")
    assert {each.name for each in tmp_path.iterdir()} == {"b.txt", mine.name, foreign.name}


def test_a_clock_that_goes_back_removes_nothing_that_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    mine = tmp_path / f".sppnet-{HOST}-{int(dead.stdout)}-00.tmp"  # whose writer has ended, whatever the time is
    foreign = tmp_path / ".sppnet-00000000-1-00.tmp"
    for each in (mine, foreign):
        each.write_bytes(b"")
    monkeypatch.setattr(time, "time", lambda: 0.0)  # all files are of the future now
    write_file(tmp_path / "a.txt", "")
    assert {each.name for each in tmp_path.iterdir()} == {"a.txt", foreign.name}


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    for name in (tmp_path / "pipe", tmp_path / "socket", Path("/dev/zero"), Path("/dev/null")):
        for read in (open_file, read_file):
            with pytest.raises(OSError, match=r"pipe or a device|No such device"):
                read(name)
        with pytest.raises(DataError, match=r"Give a file that sppnet wrote\."):
            read_tensors(name)
    with pytest.raises(IsADirectoryError):
        open_file(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").write_bytes(b"abc")
    assert read_file(tmp_path / "link", most=3) == b"abc"
    with pytest.raises(OSError, match="the file is larger than 2e-06 MB"):
        read_file(tmp_path / "real", most=2)


@pytest.mark.parametrize("place", ["/proc/none/cache", "/dev/null/cache"])
def test_a_cache_in_an_impossible_place_is_said(place: str) -> None:
    cache = TensorCache(place)
    with pytest.warns(RuntimeWarning, match=f"{place}: .*Nothing more is cached. Free some space"):
        cache.put(cache_key("a"), {"a": torch.zeros(1)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put(cache_key("b"), {"a": torch.zeros(1)})


def test_little_that_does_not_fit_is_told_in_kilobytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1500))
    with pytest.raises(WriteError, match=r"b: cannot be written: it needs 2\.0 kB where 1\.5 kB are free\. Free some"):
        check_room(tmp_path / "a" / "b", 2000)
    check_room(tmp_path / "b", 1500)
