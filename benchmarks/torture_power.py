"""Power loss: what a process wrote is recorded, and replayed as a disk may hold it that lost what was not synced.

A write to a file reaches the disk when the file is synced, and until then, or never, in any order and by sectors. Names
(made, renamed, removed) reach it in their order, as journals of file systems keep it, each folder for itself, and for
certain when the folder is synced. So names may be there before content, and the other way round.
"""

import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.boundaries import Write
from benchmarks.tally import Tally
from benchmarks.torture_files import in_memory, numbered
from benchmarks.torture_writes import Scenario, Tell, in_a_process, label, labelled, run, stored

SECTOR: Final = 512
IN_ORDER: Final = 0.3  # of the states lose the end alone, as most disks do


class Told(NamedTuple):
    """What the process said to be done, between two of its writes."""

    done: str


@dataclass
class _File:
    """What was written to one file, in order, and how many of it are on the disk for certain."""

    writes: list[tuple[int, bytes | None]] = field(default_factory=list)  # where and what; None: cut off there
    synced: int = 0


@dataclass
class _Folder:
    """Names that were given (a file or folder) or taken (None), in order, and how many are on the disk for certain."""

    names: list[dict[str, "_File | _Folder | None"]] = field(default_factory=list)  # together or not at all
    synced: int = 0

    def now(self, count: int | None = None) -> dict[str, "_File | _Folder"]:
        """Return what lies in it after so many changes."""
        held: dict[str, _File | _Folder | None] = {}
        for change in self.names[:count]:
            held |= change
        return {name: each for name, each in held.items() if each is not None}


class Disk:
    """What was written so far, and what of it a loss of power may leave."""

    def __init__(self) -> None:
        self.root = _Folder()

    def take(self, write: Write) -> None:
        """Do one write; one whose folder is not there does nothing, as it did when it was recorded."""
        try:
            folder, name = self._place(write.paths[0])
        except FileNotFoundError:
            return
        there = folder.now().get(name) if name else folder
        match write.call:
            case "open":
                if there is None and write.flags & os.O_CREAT:
                    folder.names.append({name: _File()})
                elif isinstance(there, _File) and write.flags & os.O_TRUNC:
                    there.writes.append((0, None))
            case "mkdir" | "mkdirat":
                if there is None:
                    folder.names.append({name: _Folder()})
            case "write" | "pwrite" | "writev" | "pwritev" if isinstance(there, _File):
                there.writes.append((write.offset, write.data))
            case "ftruncate" | "truncate" if isinstance(there, _File):
                there.writes.append((write.offset, None))
            case "rename" | "renameat":
                other, new = self._place(write.paths[1])
                if other is not folder:
                    raise NotImplementedError("a rename into another folder")
                folder.names.append({name: None, new: there})
            case "unlink" | "unlinkat" | "rmdir":
                folder.names.append({name: None})
            case "fsync" if there is not None:
                there.synced = len(there.writes if isinstance(there, _File) else there.names)

    def _place(self, path: str) -> tuple[_Folder, str]:
        if path == ".":
            return self.root, ""
        folder, *rest = self.root, *path.split("/")
        for name in rest[:-1]:
            inner = folder.now().get(name)
            if not isinstance(inner, _Folder):
                raise FileNotFoundError(path)
            folder = inner
        return folder, rest[-1]

    def leave(self, out: Path, rng: random.Random) -> None:
        """Write into an empty folder what a loss of power now may leave."""
        _leave(self.root, out, rng, in_order=rng.random() < IN_ORDER)


def _leave(folder: _Folder, out: Path, rng: random.Random, *, in_order: bool) -> None:
    for name, each in folder.now(rng.randint(folder.synced, len(folder.names))).items():
        if isinstance(each, _Folder):
            (out / name).mkdir()
            _leave(each, out / name, rng, in_order=in_order)
        else:
            (out / name).write_bytes(_content(each, rng, in_order=in_order))


def _content(file: _File, rng: random.Random, *, in_order: bool) -> bytes:
    content = bytearray()
    last = rng.randint(file.synced, len(file.writes))
    for number, (place, data) in enumerate(file.writes):
        certain = number < file.synced
        if not certain and (number >= last if in_order else rng.random() < 0.5):
            continue
        if data is None:
            del content[place:]
            content.extend(bytes(place - len(content)))
            continue
        content.extend(bytes(max(0, place + len(data) - len(content))))
        content[place : place + len(data)] = data if certain else _sectors(content, place, data, rng)
    return bytes(content)


def _sectors(content: bytearray, place: int, data: bytes, rng: random.Random) -> bytes:
    """Return what of a write is there: all, or some of its sectors; the others are what they were."""
    if rng.random() < 0.5:
        return data
    mixed = bytearray(content[place : place + len(data)])
    for start in range(-(place % SECTOR), len(data), SECTOR):
        if rng.random() < 0.5:
            part = slice(max(0, start), start + SECTOR)
            mixed[part] = data[part]
    return bytes(mixed[: len(data)])


# What loses power


def scenarios() -> dict[str, Scenario]:
    """Return what writes: the files, the cache, the answers of ``predict`` and the studio's labels."""
    return {
        "files": Scenario(_write_files, _written, _written),
        "cache": Scenario(_cache, _cached, _cached),
        "answers": Scenario(_answer, _answered, _answered),
        "studio": Scenario(label, labelled, stored),
    }


def _file_content(number: int) -> bytes:
    return bytes([number]) * (700 + 900 * number)


def _write_files(out: Path, tell: Tell) -> None:
    from sppnet.storage import write_file

    for number in range(4):  # the last two in the place of the first two
        write_file(out / "new" / "folders" / f"{number % 2}", _file_content(number))
        tell(f"{number % 2}: {number}")


def _written(out: Path) -> set[str]:
    """Return which content each file has; a file that has none of them is half of one."""
    found = set()
    for path in (out / "new" / "folders").glob("[0-9]"):
        content = path.read_bytes()
        numbers = [number for number in range(4) if content == _file_content(number)]
        # A later content stands for the earlier one, which it replaced.
        found |= {f"{path.name}: {number}" for number in range(4) if numbers and number <= numbers[0]} or {
            f"half of {path.name}"
        }
    return found


def _tensors(number: int) -> dict[str, Any]:
    import torch

    return {"map": torch.arange(300 * (number + 1))}


def _cache(out: Path, _: Tell) -> None:
    from sppnet.storage import TensorCache, cache_key

    cache = TensorCache(out / "cache")
    for number in range(3):
        if cache.get(cache_key(number)) is None:
            cache.put(cache_key(number), _tensors(number))


def _cached(out: Path) -> set[str]:
    from sppnet.storage import TensorCache, cache_key

    cache, found = TensorCache(out / "cache"), set()
    for number in range(3):
        entry = cache.get(cache_key(number))
        if entry is not None:
            found.add(str(number) if entry["map"].equal(_tensors(number)["map"]) else f"half of {number}")
    return found


IMAGES: Final = sorted(Path(__file__).parent.glob("torture*.py"))  # any files: an answer is one file's


def _answer(out: Path, _: Tell) -> None:
    journal = _journal(out)
    for number in range(3):
        if not journal.knows(IMAGES[number]):
            journal.add(IMAGES[number], _an_answer(number))


def _journal(out: Path) -> Any:
    from sppnet.detection.journal import Journal

    return Journal(out / "found", {"model": "a"})


def _an_answer(number: int) -> dict[str, Any]:
    return {"image": f"{number}.png", "counts": {"a": number}, "long": "x" * 600}


def _answered(out: Path) -> set[str]:
    journal, found = _journal(out), set()
    for number in range(3):
        if journal.knows(IMAGES[number]):
            right = journal.answer(IMAGES[number]) == _an_answer(number)
            found.add(str(number) if right else f"half of {number}")
    return found


# Trials


def record(work: Callable[[Path, Tell], None], out: Path) -> list[Write | Told]:
    """Return what a process wrote and told, in order."""
    events: list[Write | Told] = []

    def take(write: Write, told: set[str]) -> None:
        known = {each.done for each in events if isinstance(each, Told)}
        events.extend(Told(done) for done in sorted(told - known))
        events.append(write)

    code, told = run(work, out, take)
    if code:
        raise OSError(f"the work ended with {code}")
    known = {each.done for each in events if isinstance(each, Told)}
    return [*events, *(Told(done) for done in sorted(told - known))]


def power_loss(seed: int, until: float, tally: Tally) -> None:
    """Power is lost after any of the recorded writes: what was told is there, nothing is half, and it goes on."""
    with tempfile.TemporaryDirectory(dir=in_memory()) as name:
        folder = Path(name)
        tried, recorded, wanted = scenarios(), {}, {}
        for key, scenario in tried.items():
            (out := folder / key).mkdir()
            recorded[key] = record(scenario.work, out)

            def ending(place: Path, scenario: Scenario = scenario) -> Any:
                return as_json(scenario.ending(place))

            wanted[key] = in_a_process(ending, out)
        # All states in this process: most are checked in less time than a fork takes.
        for number, rng in numbered("power loss", seed, until):
            key = rng.choice(list(tried))
            (out := folder / str(number)).mkdir()
            faults = lost(tried[key], recorded[key], wanted[key], out, rng)
            shutil.rmtree(out)
            tally.counts[f"states of: {key}"] += 1
            for fault in faults:
                tally.lose(f"power loss {number}: {key}, {fault}")


def as_json(value: Any) -> Any:
    """Return a value as it comes back from another process."""
    return json.loads(json.dumps(sorted(value) if isinstance(value, set) else value))


def lost(scenario: Scenario, events: list[Write | Told], wanted: Any, out: Path, rng: random.Random) -> list[str]:
    """Lose power somewhere, and return what is wrong with what is left, and with going on from there."""
    disk, told, at = Disk(), set(), rng.randint(0, len(events))
    for event in events[:at]:
        if isinstance(event, Told):
            told.add(event.done)
        else:
            disk.take(event)
    disk.leave(out, rng)
    found = scenario.told(out)
    faults = [f"after write {at}: lost {sorted(told - found)}"] if told - found else []
    faults += [f"after write {at}: {each}" for each in sorted(found) if each.startswith("half")]
    scenario.work(out, lambda _: None)
    if as_json(scenario.ending(out)) != wanted:
        faults.append(f"after write {at}: it does not go on as it should")
    return faults
