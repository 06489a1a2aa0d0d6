"""A service and a studio in mixed use, as people use them: what grows meanwhile, and whether it goes on growing."""

import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.tally import Tally
from benchmarks.torture_clients import image_file, resources
from benchmarks.torture_files import model_file, numbered, shapes

EVERY: Final = 2.0  # seconds between two looks at what a program holds
SETTLED: Final = 0.4  # of the time, after which caches are full and threads started
GROWTH: Final = 1.0  # MB a minute, the most that may be
CLASSES: Final = [{"do": "add class", "name": name} for name in ("a", "b")]
SHORT: Final = 240  # seconds below which a slope says nothing


class _Program:
    """A program of ours that serves, and what it and its processes held over the time."""

    def __init__(self, address: str, process: int) -> None:
        self.address, self.process = address, process
        self.seen: list[tuple[float, int, int, int]] = []

    def look(self) -> None:
        """Remember what the program holds now: bytes, descriptors and threads, its processes' together."""
        held = [resources(each) for each in (self.process, *_children(self.process))]
        self.seen.append((time.monotonic(), *(sum(each[part] for each in held) for part in range(3))))  # type: ignore[arg-type]

    def ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> tuple[int, bytes]:
        """Return the status and the answer to a request; (0, b"") where none came."""
        headers = {"Content-Type": kind, "Origin": self.address}
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
        """Return MB a minute, and descriptors and threads more, from when it had settled to the end."""
        times, *held = (np.array(each, dtype=float) for each in zip(*self.seen, strict=True))
        later = times > times[0] + SETTLED * (times[-1] - times[0])
        slope = float(np.polyfit(times[later], held[0][later], 1)[0]) * 60 / 1e6
        thirds = [np.array_split(each[later], 3) for each in held[1:]]
        descriptors, threads = (int(np.median(each[-1]) - np.median(each[0])) for each in thirds)
        return slope, descriptors, threads


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
def _running(*command: str | Path) -> Iterator[_Program]:
    arguments = [sys.executable, "-m", "sppnet.cli", *map(str, command)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        if process.stdout is None:
            raise RuntimeError("it has no output")
        try:
            yield _Program(process.stdout.readline().split()[-1], process.pid)
        finally:
            process.terminate()


def soak(seed: int, until: float, tally: Tally) -> None:
    """Mixed use of a service and a studio: answers only, and neither memory, descriptors nor threads grow."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = shapes(folder / "labelled", 8) / "JPEGImages"
        model = model_file(folder)
        studio = ("studio", images, "--port", "0", "--no-browser")
        with _running("serve", model, "--port", "0", "--workers", "1") as service, _running(*studio) as page:
            programs = {"service": service, "studio": page}
            state = json.loads(page.ask("/api/state")[1])
            _change(page, CLASSES)
            start, looked = time.monotonic(), 0.0
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
            minutes = (time.monotonic() - start) / 60
        tally.most("minutes", round(minutes, 1))
        for name, program in programs.items():
            slope, descriptors, threads = program.growth()
            tally.most(f"{name}, MB a minute", round(slope, 2))
            tally.most(f"{name}, descriptors more", descriptors)
            tally.most(f"{name}, threads more", threads)
            if minutes * 60 >= SHORT and (slope > GROWTH or descriptors > 0 or threads > 0):
                tally.lose(f"{name} grew by {slope:.2f} MB a minute, {descriptors} descriptors, {threads} threads")


def _use_service(service: _Program, rng: random.Random, _: Any) -> int:
    path = rng.choice(("/v1/detect", "/v1/detect", "/healthz", "/metrics", "/v1/model"))
    body = image_file(rng) if path == "/v1/detect" else None
    return service.ask(path, body, "image/png")[0]


def _use_studio(studio: _Program, rng: random.Random, state: Any) -> int:
    image = rng.choice(state["images"])["id"]
    match rng.randrange(8):
        case 0:
            left, top = rng.randrange(2, 60), rng.randrange(2, 50)
            classes = json.loads(studio.ask("/api/state")[1])["classes"]
            if not classes:  # somebody undid them
                return _change(studio, CLASSES)
            edges = [left, top, left + 30, top + 30]
            return _change(studio, [{"do": "add", "image": image, "label": rng.choice(classes)["id"], "edges": edges}])
        case 1 | 2:
            return studio.ask("/api/undo", b"{}")[0]
        case 3:
            return studio.ask("/api/redo", b"{}")[0]
        case 4:
            return studio.ask("/api/next", json.dumps({"image": image}).encode())[0]
        case _:
            paths = (f"/api/images/{image}", f"/api/images/{image}/image", f"/api/images/{image}/thumbnail")
            return studio.ask(rng.choice((*paths, "/api/state", "/api/report", "/api/quality", "/api/export/coco")))[0]


def _change(studio: _Program, changes: list[dict[str, Any]]) -> int:
    return studio.ask("/api/changes", json.dumps({"what": "Label", "changes": changes}).encode())[0]
