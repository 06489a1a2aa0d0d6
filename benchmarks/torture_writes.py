"""Processes that end, or find no room, at each of their writes: what ends is gone on with, and nothing told is lost."""

import asyncio
import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.boundaries import KILL, REMOVES, Write, supervised
from benchmarks.tally import Tally
from benchmarks.torture_files import in_memory, model_file, numbered, shapes
from sppnet.storage import write_file

Tell = Callable[[str], None]  # says that something is done: from then on it must not be lost


class Scenario(NamedTuple):
    """Work in a folder that, begun again after whatever end, comes to the same end.

    Args:
        work: does it. told: what of that which it said to be done is there.
        ending: what has to be the same in the end: by default all files and their bytes.
    """

    work: Callable[[Path, Tell], None]
    told: Callable[[Path], set[str]]
    ending: Callable[[Path], Any]


def files_below(folder: Path) -> dict[str, str]:
    """Return what stands for the bytes of each file below a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


# What is interrupted


def scenarios(folder: Path) -> dict[str, Scenario]:
    """Return what is interrupted, the quickest first; images and models that they need lie in a folder."""
    # All that is needed is imported here, once: each trial is a fork of this process.
    import onnx  # noqa: F401

    import sppnet.cli.commands
    import sppnet.export.folder
    import sppnet.web.studio.exports  # noqa: F401
    from sppnet import Detector, TensorCache, load_detection

    root = shapes(folder / "labelled", 2)
    data = load_detection(root, split="train")
    # In a process of its own, as threads that learning begins cannot be forked.
    model = Path(in_a_process(lambda place: str(model_file(place)), folder))

    def train(out: Path, tell: Tell) -> None:
        Detector(short_side=64, cache=TensorCache(out / "cache")).fit(data).save(out / "model.safetensors")
        tell("model.safetensors")

    def export_model(out: Path, tell: Tell) -> None:
        from sppnet.export.folder import export_detector

        export_detector(Detector.load(model), out / "onnx")
        tell("onnx/model.onnx")

    def predict(out: Path, tell: Tell) -> None:
        images = root / "JPEGImages"
        kept = ["--cache", str(out / "cache")]
        _command("predict", str(model), str(images), "--out", str(out / "found"), "--format", "csv", "--draw", *kept)
        tell("found/detections.csv")

    return {
        "studio": Scenario(label, labelled, stored),
        "studio's folder": Scenario(partial(_use_folder, root / "JPEGImages"), _used, _use_of),
        "export labels": Scenario(partial(_export_labels, data), _files_told, files_below),
        "predict": Scenario(predict, _files_told, files_below),
        "train with a cache": Scenario(train, _files_told, files_below),
        "export a model": Scenario(export_model, _files_told, files_below),
    }


def _files_told(out: Path) -> set[str]:
    return set(files_below(out))


def _export_labels(data: Any, out: Path, tell: Tell) -> None:
    from sppnet.data import write_coco, write_voc, write_yolo

    write_voc(out / "voc", data)
    write_coco(out / "coco/instances_train.json", data)
    tell("coco/instances_train.json")
    write_yolo(out / "yolo", data)
    tell("yolo/data.yaml")


def _command(*arguments: str) -> None:
    """Run the command line in this process, and silently."""
    from sppnet.cli import main

    sys.argv = ["sppnet", "--quiet", *arguments]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            main()
        except SystemExit as ended:
            if ended.code:
                raise OSError(said.getvalue()[-300:]) from ended


CLASSES: Final = [f"class {number}" for number in range(4)]


def label(out: Path, tell: Tell) -> None:
    """Name classes in a studio's file, one after the other, each with a box; take a note back and give it again."""
    from sppnet.web.studio.store import Store

    with Store(out / ".sppnet" / "studio.sqlite") as store:
        there = {each.name for each in store.classes()}
        with store.step("Look", undoable=False) as step:
            images = store.images()
            image = images[0].id if images else step.add("image", {"name": "a", "height": 90, "width": 90})
        for name in CLASSES:
            if name not in there:
                with store.step(name) as step:
                    row = step.add("class", {"name": name, "colour": "#00ff00"})
                    edges = {"left": 1, "top": 2, "right": 30, "bottom": 40}
                    step.add("box", {"image": image, "class": row, "kind": "object", **edges})
            tell(name)
        with store.step("Note") as step:
            step.change("image", image, {"note": "a"})
        store.undo()
        store.redo()
        store.keep("threshold", 0.25)


def labelled(out: Path) -> set[str]:
    """Return the classes that have their box: a class without one is half of a step, and counts as lost."""
    from sppnet.web.studio.store import Store

    if not (out / ".sppnet" / "studio.sqlite").exists():
        return set()
    with Store(out / ".sppnet" / "studio.sqlite") as store:
        boxed = {each.label for each in store.boxes()}
        return {each.name if each.id in boxed else f"half of {each.name}" for each in store.classes()}


def stored(out: Path) -> Any:
    """Return what a studio's file holds."""
    from sppnet.web.studio.store import Store

    with Store(out / ".sppnet" / "studio.sqlite") as store:
        boxes = [(box.image, box.label, box.edges) for box in store.boxes()]
        return store.setting("threshold", None), [each.name for each in store.classes()], boxes


def _use_folder(images: Path, out: Path, tell: Tell) -> None:
    """Open a folder in a studio: upload an image, look at both as thumbnails, box an object, export."""
    from sppnet.web.studio.changes import Changes
    from sppnet.web.studio.exports import PARTIAL, remove_partial, write_export
    from sppnet.web.studio.session import Session
    from sppnet.web.studio.uploads import receive

    first, second = ((path.name, path.read_bytes()) for path in sorted(images.iterdir()))
    write_file(out / first[0], first[1])
    session = Session(out)
    with session.store:
        remove_partial(session)
        received = asyncio.run(receive(session.folder, second[0], _in_parts(second[1]), every=1))
        image = session.taken_in(received.files[0])
        tell(second[0])
        for name in session.folder.names:
            session.folder.thumbnail(name)
        if not session.store.classes():
            change = {"do": "add class", "name": "a"}
            session.change(Changes.model_validate({"what": "Class", "changes": [change]}))
        if not session.store.boxes():
            box = {"do": "add", "image": image, "label": session.store.classes()[0].id, "edges": (1, 2, 30, 40)}
            session.change(Changes.model_validate({"what": "Box", "image": image, "changes": [box]}))
        tell("box")
        for name in ("coco", "counts"):
            write_export(session, name, file := session.folder.hidden / f"{PARTIAL}{name}")
            file.unlink()


async def _in_parts(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 9000):
        yield content[start : start + 9000]


def _used(out: Path) -> set[str]:
    """Return which images are there, and whether the box is."""
    from sppnet.web.studio.store import Store

    found = {path.name for path in out.glob("*.png")}
    if not (out / ".sppnet" / "studio.sqlite").exists():
        return found
    with Store(out / ".sppnet" / "studio.sqlite") as store:
        return found | ({"box"} if store.boxes() else set())


def _use_of(out: Path) -> Any:
    """Return what lies in the folder, hidden names too, and what is known of it: all but the bytes of SQLite's file."""
    from sppnet.web.studio.store import Store

    files = {name: digest for name, digest in files_below(out).items() if "studio.sqlite" not in name}
    # A thumbnail is named after its file's time, which the second run may have made anew.
    thumbnails = sorted(digest for name, digest in files.items() if "thumbnails" in name)
    with Store(out / ".sppnet" / "studio.sqlite") as store:
        known = [(each.name, each.height, each.width, each.fault) for each in store.images()]
        boxes = [(box.edges, box.kind) for box in store.boxes()]
        return (
            {name: digest for name, digest in files.items() if "thumbnails" not in name},
            sorted(set(thumbnails)),
            (known, [each.name for each in store.classes()], boxes),
        )


# Interruptions


def kills(seed: int, until: float, tally: Tally) -> None:
    """Killed at every write once, and then anywhere, within a write too: the same end, and nothing told is lost."""
    _interrupted("kills", seed, until, tally, _Killed)


def failing_writes(seed: int, until: float, tally: Tally) -> None:
    """Each write fails once for want of room: our error or none, and the same end."""
    _interrupted("failing writes", seed, until, tally, partial(_Full, lasting=False))


def full_disks(seed: int, until: float, tally: Tally) -> None:
    """From each write on there is no more room, until the next run: our error or none, and the same end."""
    _interrupted("full disks", seed, until, tally, partial(_Full, lasting=True))


class _Killed:
    """Kills at one write; with a part of it on the disk where ``torn``."""

    ends = (-9,)

    def __init__(self, boundary: int, torn: float) -> None:
        self.left, self.torn = boundary, torn

    def __call__(self, write: Write, folder: Path) -> int:
        self.left -= 1
        if self.left:
            return 0
        if self.torn and write.data:
            descriptor = os.open(folder / write.paths[0], os.O_WRONLY)
            os.pwrite(descriptor, write.data[: int(self.torn * len(write.data))], write.offset)
            os.close(descriptor)
        return KILL


class _Full:
    """Has one write fail for want of room, or all from there on."""

    ends = (0, 1)  # where a cache cannot be written, the work goes on without one

    def __init__(self, boundary: int, _: float, *, lasting: bool) -> None:
        self.left, self.lasting = boundary, lasting

    def __call__(self, write: Write, _: Path) -> int:
        self.left -= 1
        due = self.left <= 0 if self.lasting else self.left == 0
        return errno.ENOSPC if due and write.call not in REMOVES else 0


def _interrupted(section: str, seed: int, until: float, tally: Tally, disturb: Callable[[int, float], Any]) -> None:
    """Interrupt each scenario at each of its writes once, and then at any."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=in_memory()) as name:
        folder = Path(name)
        tried = scenarios(folder)
        for key, each in tried.items():  # so that what is compiled and read once is there in each fork
            each.work(folder / "warm" / key, lambda _: None)
        wanted = {key: ending_of(each, folder / "whole") for key, each in tried.items()}
        left, reached, most = list(tried), dict.fromkeys(tried, 0), dict[str, int]()
        for number, rng in numbered(section, seed, until):
            key = left[0] if left else rng.choice(list(tried))
            reached[key] += 1
            boundary, torn = (reached[key], 0.0) if left else (rng.randint(1, most[key]), rng.random())
            disturbance = disturb(boundary, torn)
            faults = _trial(tried[key], disturbance, folder / "out", wanted[key])
            if disturbance.left > 0:  # it has no more writes
                most[key] = boundary - 1
                tally.most(f"writes of: {key}", most[key])
                left.remove(key)
                continue
            tally.counts["trials"] += 1
            for fault in faults:
                tally.lose(f"{section} {number}: {key}, at write {boundary}, {fault}")


def _trial(scenario: Scenario, disturbance: Any, out: Path, wanted: Any) -> list[str]:
    """Do the work with a disturbance, then again without one; return what is wrong with how it ends."""
    out.mkdir()
    code, told = run(scenario.work, out, lambda write, _: disturbance(write, out))
    faults = []
    if code not in (0, *disturbance.ends):
        faults.append(f"ended with {code}")
    if lost := told - set(in_a_process(lambda folder: sorted(scenario.told(folder)), out)):
        faults.append(f"lost {sorted(lost)}")
    if ending_of(scenario, out) != wanted:
        faults.append("ends differently")
    return faults


def run(
    work: Callable[[Path, Tell], None], out: Path, decide: Callable[[Write, set[str]], int | None]
) -> tuple[int, set[str]]:
    """Do work under supervision; return how it ended, and what it told until then.

    Args:
        decide: of each write, and what was told before it; as ``supervised`` has it, None for going on.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    told: set[str] = set()

    def hear() -> set[str]:
        with contextlib.suppress(BlockingIOError):
            told.update(os.read(reading, 1 << 20).decode().splitlines())
        return told

    try:
        code = supervised(lambda: work(out, partial(_tell, writing)), out, lambda write: decide(write, hear()) or 0)
        return code, hear()
    finally:
        os.close(writing)
        os.close(reading)


def _tell(descriptor: int, done: str) -> None:
    os.write(descriptor, f"{done}\n".encode())


def in_a_process(ask: Callable[[Path], Any], out: Path) -> Any:
    """Return the answer, in JSON, of a process of its own: whatever it opens, it is let go of."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            answer = json.dumps(ask(out))
        except BaseException as error:
            answer = json.dumps([f"{type(error).__name__}: {error}"])
        with os.fdopen(writing, "w") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        content = pipe.read()
    os.waitpid(child, 0)
    return json.loads(content)


def ending_of(scenario: Scenario, out: Path) -> Any:
    """Do the work undisturbed, on what is there, and return what it came to; the folder is removed."""

    def finish(folder: Path) -> Any:
        scenario.work(folder, lambda _: None)
        return scenario.ending(folder)

    out.mkdir(exist_ok=True)
    ended = in_a_process(finish, out)
    shutil.rmtree(out)
    return ended
