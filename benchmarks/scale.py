"""What any number of images costs: the pipeline's own overhead, memory, a simulation checked by runs, and a table.

``python -m benchmarks scale``. The work on an image is a pause of known length, so that a busy machine tells the same:
what is measured is what the pipeline adds to it. Times of the network are those of ``results/bccd.json``.
"""

import dataclasses
import heapq
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final

import numpy as np

from benchmarks import records

PAUSE: Final = 0.05  # seconds: stands for the work on an image
PIPELINED: Final = int(os.environ.get("SPPNET_PIPELINED", "2000"))  # of 640 x 480, by one process and by two
LABELLED: Final = 20
TURNS: Final = 2
KILLED: Final = 2000  # small ones, in a run that is killed
KILLS: Final = 5
SIZES: Final = tuple(10**power for power in range(3, 9))


def measure() -> None:
    figures = {
        "workers": {str(workers): _run(workers) for workers in (1, 2, 8)},
        "pipeline": _pipeline(),
        "killed": _killed(),
        "memory": _memory(),
    }
    records.write("scale", seed=0, figures=figures)


def simulated(durations: Sequence[float], workers: int, *, start: float = 0.0, waiting: int | None = None) -> float:
    """Return the seconds until all work is done by workers that begin at ``start`` and take what comes next.

    Args:
        durations: of each item, in seconds. waiting: items that are on their way at once; answers leave in order.
    """
    free = [start] * workers
    finished: list[float] = []
    for number, duration in enumerate(durations):
        ready = 0.0 if waiting is None or number < waiting else max(finished[: number - waiting + 1])
        begun = max(heapq.heappop(free), ready)
        heapq.heappush(free, begun + duration)
        finished.append(begun + duration)
    return max(finished)


def _pauses(count: int) -> list[float]:
    return [PAUSE * (0.5 + (number * 7919 % 1000) / 1000) for number in range(count)]


def _pauser() -> Callable[[float], float]:
    def pause(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    return pause


def _run(workers: int) -> dict[str, float]:
    """Time the pipeline after its first answers, and simulate the same."""
    from sppnet.pipeline import IN_FLIGHT, each_answer

    pauses = _pauses(100 * workers)
    answers = each_answer(_pauser, [0.0] * (workers * IN_FLIGHT) + pauses, workers=workers)
    for _ in range(workers * IN_FLIGHT):
        next(answers)  # the processes have started
    start = time.perf_counter()
    count = sum(1 for _ in answers)
    seconds = time.perf_counter() - start
    expected = simulated(pauses, workers, waiting=workers * IN_FLIGHT)
    return {
        "images": count,
        "seconds": seconds,
        "simulated": expected,
        "overhead_ms": 1e3 * (seconds - expected) / count,
    }


def derived(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Write images like those of BCCD: each of its val split mirrored, brightened and scaled in its turn."""
    from PIL import Image, ImageEnhance, ImageOps

    from sppnet import load_detection

    samples = load_detection(records.data_folder("bccd"), split="val", on_bad="skip").samples
    folder.mkdir(parents=True)
    for number in range(count):
        turn, which = divmod(number, len(samples))
        with Image.open(samples[which].path) as opened:
            image = opened.convert("RGB").resize(size)
        image = ImageOps.mirror(image) if turn % 2 else image
        ImageEnhance.Brightness(image).enhance(1 + turn / 200).save(folder / f"{number:05}.jpg", quality=92)
    return folder


def _predict(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "sppnet.cli", "predict", *map(str, arguments)]


def _pipeline() -> dict[str, Any] | None:
    """Have images of 640 x 480 answered by one process and by two, in turn: images a second, and of processor time.

    None where SPPNET_PIPELINED is 0: on a busy machine more processes get more of it, and the share says nothing.
    """
    if not PIPELINED:
        print("left out: one process beside two")
        return None
    from sppnet import Detector, load_detection

    ways: dict[str, list[str]] = {
        "one process": [],
        "two processes": ["--workers", "2"],
        "two processes, onnxruntime": ["--workers", "2", "--engine", "onnxruntime"],
    }
    taken = {way: [0.0, 0.0] for way in ways}
    with tempfile.TemporaryDirectory() as name:
        data = load_detection(records.data_folder("bccd"), split="train", on_bad="skip")
        model = Path(name) / "cells.safetensors"
        Detector().fit(dataclasses.replace(data, samples=data.samples[:LABELLED])).save(model)
        for turn in range(TURNS):
            images = derived(Path(name) / f"images{turn}", PIPELINED // TURNS, (640, 480))
            for number, (way, options) in enumerate(ways.items()):
                out = Path(name) / f"{turn}-{number}"
                start, used = time.perf_counter(), _processor_seconds()
                subprocess.run(
                    _predict(model, images, "--out", out, "--cache", out / "cache", *options),
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
                taken[way][0] += time.perf_counter() - start
                taken[way][1] += _processor_seconds() - used
    count = PIPELINED // TURNS * TURNS
    first = taken["one process"][0]
    return {
        way: {
            "images": count,
            "a_second": count / seconds,
            "share": first / seconds,
            "processor_s_an_image": used / count,
        }
        for way, (seconds, used) in taken.items()
    }


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _killed() -> dict[str, Any]:
    """Kill a run of many small images again and again at random, let it end, and compare the bytes."""
    from sppnet import Classifier

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder, model = Path(name), Path(name) / "kinds.safetensors"
        Classifier.imagenet(short_side=64).save(model)
        images = derived(folder / "images", KILLED, (96, 72))
        command = [model, images, "--format", "csv", "--workers", "2", "--cache", folder / "cache"]
        subprocess.run(_predict(*command, "--out", folder / "whole"), check=True, stdout=subprocess.DEVNULL)
        partial, kills = folder / "killed" / "predictions.partial.jsonl", []
        for wanted in np.sort(rng.integers(1, KILLED, KILLS)):
            run = subprocess.Popen(_predict(*command, "--out", folder / "killed"), stdout=subprocess.DEVNULL)
            while run.poll() is None and (not partial.exists() or partial.read_bytes().count(b"\n") < wanted):
                time.sleep(0.05)
            run.send_signal(SIGKILL)
            run.wait()
            kills.append(partial.read_bytes().count(b"\n"))
        subprocess.run(_predict(*command, "--out", folder / "killed"), check=True, stdout=subprocess.DEVNULL)
        both = [sorted(path for path in (folder / out).glob("*.csv")) for out in ("whole", "killed")]
        same = [one.read_bytes() == other.read_bytes() for one, other in zip(*both, strict=True)]
    return {"images": KILLED, "answers_at_each_kill": kills, "same_bytes": bool(same) and all(same)}


def _memory() -> dict[str, float]:
    """Record answers of twenty objects and write them; the growth of resident memory from 1,000 images to 5,000."""
    from sppnet.detection.journal import Journal
    from sppnet.detection.output import ImageDetections, from_dict, write_detections
    from sppnet.pipeline import Lazy

    one = {"class": "cell", "confidence": 0.5, "box": [1.0, 2.0, 30.25, 40.75]}
    seen = {}
    for count in (1000, 5000):
        with tempfile.TemporaryDirectory() as folder:
            journal = Journal(Path(folder), {})
            paths = [Path(f"images/{number:08}.jpg") for number in range(count)]
            for path in paths:
                answer = {
                    "image": str(path),
                    "height": 480,
                    "width": 640,
                    "counts": {"cell": 20},
                    "detections": [one] * 20,
                }
                journal.add(path, answer)

            def read(path: Path, journal: Journal = journal) -> ImageDetections:
                return from_dict(path, journal.answer(path))

            found = Lazy(paths, read)
            for form in ("json", "coco", "csv"):
                write_detections(Path(folder), form, found)
            seen[count] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"MB_at_1000": seen[1000], "MB_at_5000": seen[5000], "MB_a_1000": (seen[5000] - seen[1000]) / 4}


def table() -> str:
    """Return the tables of the page on scale; nothing as long as nothing was measured."""
    if records.read("scale") is None:
        return ""
    figures = _figures("scale")
    rows = [
        "| pipeline, pauses of 50 ms on average | run, s | simulated, s | overhead an image, ms |",
        "|---|---|---|---|",
    ]
    for workers, row in figures["workers"].items():
        rows.append(
            f"| {workers} processes, {row['images']} images | {row['seconds']:.1f} | {row['simulated']:.1f} | "
            f"{row['overhead_ms']:.1f} |"
        )
    if figures["pipeline"]:
        rows += ["", "| BCCD at 640 x 480 | images a second | times one process | processor seconds an image |"]
        rows += ["|---|---|---|---|"]
        for way, row in figures["pipeline"].items():
            rows.append(f"| {way} | {row['a_second']:.2f} | {row['share']:.2f} | {row['processor_s_an_image']:.2f} |")
    killed = figures["killed"]
    ended = "the same bytes" if killed["same_bytes"] else "other bytes"
    at = ", ".join(map(str, killed["answers_at_each_kill"]))
    rows += ["", f"{killed['images']:,} small images in two processes, killed after {at} answers: {ended} at the end."]
    rows += ["", f"Memory grows by {figures['memory']['MB_a_1000']:.2f} MB for each 1,000 images more.", ""]
    seconds = _figures("bccd")["seconds_a_image"]
    rows += [
        "| images | 2 cores | 100 times 2 cores, simulated | core hours | maps in the cache |",
        "|---|---|---|---|---|",
    ]
    for count in SIZES:
        parts = [seconds * min(1000, count)] * max(1, count // 1000)
        rows.append(
            f"| {count:,} | {_long(seconds * count)} | {_long(simulated(parts, 100))} | "
            f"{2 * seconds * count / 3600:,.0f} | {_large(MAP_BYTES * count)} |"
        )
    return "\n".join([*rows, "", *_paper()]) + "\n"


def _paper() -> list[str]:
    """Return the paper's 40,000 images with our times: the map, or maps of five scales, and the layers on top."""
    rcnn = _figures("rcnn")
    clock = {name: each["clock"] for name, each in rcnn["seconds"].items()}
    ours = {
        "one scale": clock["map"] + clock["layers"],
        "five scales": clock["maps of five scales"] + clock["layers, five scales"],
        "every region through the network": clock["crops"] / rcnn["crops_timed"] * rcnn["regions"]
        + clock["layers, every crop"],
    }
    paper = {"one scale": "", "five scales": "8 h", "every region through the network": "15 days"}
    rows = ["| 40,000 images | paper, one GPU | here, two cores |", "|---|---|---|"]
    return [*rows, *(f"| {name} | {paper[name]} | {_long(40_000 * seconds)} |" for name, seconds in ours.items())]


def _figures(name: str) -> dict[str, Any]:
    record = records.read(name)
    if record is None:
        raise SystemExit(f"benchmarks: no results/{name}.json. Run 'python -m benchmarks {name}' first.")
    figures: dict[str, Any] = record["figures"]
    return figures


MAP_BYTES: Final = 2 * (60 * 80 * 240 + 30 * 40 * 672 + 15 * 20 * 1280)  # 640 x 480: three layers, half precision


def _long(seconds: float) -> str:
    for name, unit in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.0f} {name}"
    return f"{seconds:.0f} s"


def _large(size: float) -> str:
    for name, unit in (("TB", 1e12), ("GB", 1e9)):
        if size >= unit:
            return f"{size / unit:,.0f} {name}"
    return f"{size / 1e6:,.0f} MB"
