"""A service and a studio in mixed use, as people use them: what grows meanwhile, and whether it goes on growing.

What is labelled is bounded, as growth shall be the programs' own: an image with ``BOXES`` boxes loses one before it
gets another. Growth is that of what is held at rest, between two parts of the time, once each kind of work was done and
caches are full: what is held in the middle of work differs by more than may be lost in ten minutes.
"""

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import numpy as np

from benchmarks.tally import Tally
from benchmarks.torture_clients import image_file, resources
from benchmarks.torture_files import model_file, numbered, shapes
from sppnet.web.studio.people import PERSON

EVERY: Final = 2.0  # seconds between two looks at what a program holds
SETTLED: Final = 0.25  # of the time, after which caches are full and threads started
GROWTH: Final = 1.0  # MB a minute, the most that may be
CLASSES: Final = [{"do": "add class", "name": name} for name in ("a", "b")]
BOXES: Final = 3  # of an image, at most
FIRST: Final = "who came first"  # the person whose labels nobody else's undo takes away
EXPORTS: Final = ("voc", "coco", "yolo", "csv", "labelstudio", "detections", "counts", "report", "model")
PARTS: Final = 10  # of the time, after each of which the programs rest: what they hold then is what remains
RESTED: Final = 10.0  # seconds without work: the studio gives back what is free five seconds after the last change
LONGEST: Final = 60.0  # seconds that are waited for it
IDLE: Final = 0.1  # of a processor, at most: the studio looks at its folder
SHORT: Final = 240  # seconds below which a slope says nothing


class Program:
    """A program of ours that serves, and what it and its processes held over the time."""

    def __init__(self, address: str, process: int) -> None:
        self.address, self.process = address, process
        self.seen: list[tuple[float, int, int, int]] = []
        self.rested: list[tuple[float, int]] = []  # seconds, and bytes held at rest

    def look(self) -> None:
        """Remember what the program holds now: bytes, descriptors and threads, its processes' together."""
        held = [resources(each) for each in (self.process, *_children(self.process))]
        memory, descriptors, threads = (sum(each[part] for each in held) for part in range(3))
        self.seen.append((time.monotonic(), memory, descriptors, threads))

    def computed(self) -> float:
        """Return the seconds of a processor that it and its processes took so far."""
        return sum(_seconds(each) for each in (self.process, *_children(self.process)))

    def ask(
        self, path: str, body: bytes | None = None, kind: str = "application/json", person: str = "another"
    ) -> tuple[int, bytes]:
        """Return the status and the answer to a request; (0, b"") where none came."""
        headers = {"Content-Type": kind, "Origin": self.address, "Cookie": f"{PERSON}={quote(person)}"}
        request = urllib.request.Request(f"{self.address}{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError:
            return 0, b""

    def growth(self) -> tuple[float, int, int]:
        """Return MB a minute that remain, and descriptors and threads more, from when it had settled to the end."""
        times, *held = (np.array(each, dtype=float) for each in zip(*self.seen, strict=True))
        settled = times[0] + SETTLED * (times[-1] - times[0])
        rested = [each for each in self.rested if each[0] >= settled]
        slope = 0.0
        if len(rested) > 1:
            seconds, memory = zip(*rested, strict=True)
            slope = float(np.polyfit(seconds, memory, 1)[0]) * 60 / 1e6
        late = [each[times >= settled] for each in held[1:]]
        parts = [np.array_split(each, min(3, len(each))) for each in late]  # of a short time there may be one look
        descriptors, threads = (int(np.median(each[-1]) - np.median(each[0])) for each in parts)
        return slope, descriptors, threads


def _rest(programs: Collection[Program]) -> None:
    """Wait until the work is done that was asked for, and remember what is held then."""
    latest, taken, start = time.monotonic() + LONGEST, _computed(programs), time.monotonic()
    while start + RESTED > time.monotonic() < latest:
        time.sleep(EVERY)
        if (now := _computed(programs)) - taken > IDLE * (time.monotonic() - start):
            start, taken = time.monotonic(), now
    for program in programs:
        program.look()
        program.rested.append(program.seen[-1][:2])


def _computed(programs: Collection[Program]) -> float:
    return sum(program.computed() for program in programs)


def _seconds(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:  # it has ended, or the system does not tell
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _children(process: int) -> list[int]:
    folder = Path(f"/proc/{process}/task")
    if not folder.exists():
        return []
    files = [each / "children" for each in folder.iterdir()]
    found = []
    for file in files:
        with contextlib.suppress(OSError):  # a thread that has ended
            found += [int(each) for each in file.read_text(encoding="ascii").split()]
    return found


@contextlib.contextmanager
def running(*command: str | Path) -> Iterator[Program]:
    arguments = [sys.executable, "-m", "sppnet.cli", *map(str, command)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        if process.stdout is None:
            raise RuntimeError("it has no output")
        try:
            yield Program(process.stdout.readline().split()[-1], process.pid)
        finally:
            process.terminate()


def soak(seed: int, until: float, tally: Tally) -> None:
    """Mixed use of a service and a studio: answers only, and neither memory, descriptors nor threads grow."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = shapes(folder / "labelled", 8) / "JPEGImages"
        model = model_file(folder)
        studio = ("studio", images, "--port", "0", "--no-browser")
        with running("serve", model, "--port", "0", "--workers", "1") as service, running(*studio) as page:
            programs = {"service": service, "studio": page}
            state = _first_labels(page)
            start, looked = time.monotonic(), 0.0
            part = (until - start) / (PARTS + 1)
            due = start + part
            for number, rng in numbered("soak", seed, until):
                used = rng.choice((_use_service, _use_service, _use_studio))
                status = used(service if used is _use_service else page, rng, state)
                tally.counts[f"{'service' if used is _use_service else 'studio'} {status}"] += 1
                if status == 0 or (status >= 500 and status != 503):
                    tally.lose(f"soak {number}: status {status}")
                if time.monotonic() - looked > EVERY:
                    looked = time.monotonic()
                    for program in programs.values():
                        program.look()
                if time.monotonic() > due:
                    _rest(programs.values())
                    due = time.monotonic() + part
            _rest(programs.values())
            minutes = (time.monotonic() - start) / 60
        tally.most("minutes", round(minutes, 1))
        for name, program in programs.items():
            slope, descriptors, threads = program.growth()
            tally.most(f"{name}, MB a minute", round(slope, 2))
            tally.most(f"{name}, descriptors more", descriptors)
            tally.most(f"{name}, threads more", threads)
            if minutes * 60 >= SHORT and (slope > GROWTH or descriptors > 0 or threads > 0):
                tally.lose(f"{name} grew by {slope:.2f} MB a minute, {descriptors} descriptors, {threads} threads")


def _use_service(service: Program, rng: random.Random, _: Any) -> int:
    path = rng.choice(("/v1/detect", "/v1/detect", "/healthz", "/metrics", "/v1/model"))
    body = image_file(rng) if path == "/v1/detect" else None
    return service.ask(path, body, "image/png")[0]


def _first_labels(studio: Program) -> Any:
    """Name two classes and label half of the images, so that there is always something learnt; return the state."""
    _change(studio, CLASSES, FIRST)
    state = json.loads(studio.ask("/api/state")[1])
    for image in state["images"][::2]:
        places = zip(state["classes"], ([2, 2, 40, 40], [66, 2, 104, 40]), strict=True)
        boxes = [{"do": "add", "image": image["id"], "label": each["id"], "edges": edges} for each, edges in places]
        _change(studio, [*boxes, {"do": "complete", "image": image["id"], "complete": True}], FIRST)
    studio.ask("/api/measure", b"{}")
    return state


def _use_studio(studio: Program, rng: random.Random, state: Any) -> int:
    image = rng.choice(state["images"])["id"]
    match rng.randrange(10):
        case 0 | 1:
            return _label(studio, rng, image, rng.choice(state["classes"])["id"])
        case 2:
            return studio.ask("/api/undo", b"{}")[0]
        case 3:
            return studio.ask("/api/redo", b"{}")[0]
        case 4:
            return studio.ask("/api/next", json.dumps({"image": image}).encode())[0]
        case 5:
            return studio.ask(f"/api/export/{rng.choice(EXPORTS)}")[0]
        case _:
            paths = (f"/api/images/{image}", f"/api/images/{image}/image", f"/api/images/{image}/thumbnail")
            return studio.ask(rng.choice((*paths, "/api/state", "/api/report", "/api/quality", "/api/review")))[0]


def _label(studio: Program, rng: random.Random, image: int, label: int) -> int:
    """Draw a box, or where there are enough take one away."""
    boxes = json.loads(studio.ask(f"/api/images/{image}")[1])["boxes"]
    if len(boxes) >= BOXES:
        return _change(studio, [{"do": "remove", "box": rng.choice(boxes)["id"]}])
    left, top = rng.randrange(2, 60), rng.randrange(2, 50)
    edges = [left, top, left + 30, top + 30]
    return _change(studio, [{"do": "add", "image": image, "label": label, "edges": edges}])


def _change(studio: Program, changes: list[dict[str, Any]], person: str = "another") -> int:
    body = json.dumps({"what": "Label", "changes": changes}).encode()
    return studio.ask("/api/changes", body, person=person)[0]
