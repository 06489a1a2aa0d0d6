"""The service beyond its capacity, under slow senders and under broken images; all on the loopback interface.

The generator of load is a process of its own (``benchmarks.service_load``) that sends prepared bytes and parses next
to nothing. It shares the machine's cores with the server and its workers: the service has none to spare.
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import records
from sppnet import Detector, EfficientNetLite0, load_detection

SECONDS = 60
SENDERS = 300
BROKEN = 5000
SEED = 0
ROUNDS = 5
SMALL = 96
LEARNT = 10  # images: what is measured is the service, not the model


def measure() -> None:
    """Write capacity, four times that, 300 slow senders, 5,000 broken images, and what batches would bring."""
    measure_load()
    measure_strangers()


def measure_load() -> None:
    """Write what depends on the machine's speed."""
    figures: dict[str, Any] = {"network, ms an image by images at once": _batches()}
    with _served() as (address, images):
        figures["capacity"] = _load(address, "capacity", images, SECONDS / 2)
        rate = 4 * figures["capacity"]["answers_a_second"]
        figures["four times its capacity"] = over = _load(address, "overload", images, SECONDS, rate)
        over["of_capacity"] = round(over["answers_a_second"] / figures["capacity"]["answers_a_second"], 3)
    _write(figures)


def measure_strangers() -> None:
    """Write what comes of slow senders and of broken images; no matter how fast the machine is."""
    figures: dict[str, Any] = {}
    with _served(SMALL) as (address, images):
        figures["slow senders"] = _load(address, "slow", images, SENDERS)
        figures["broken images"] = broken = _load(address, "broken", images, BROKEN)
        broken["faults"] = figure(address, "sppnet_faults")
        broken["workers_replaced"] = figure(address, "sppnet_worker_restarts")
    _write(figures)


def _write(figures: dict[str, Any]) -> None:
    known = records.read("service") or {"figures": {}}
    records.write("service", seed=SEED, figures=known["figures"] | figures)
    print(json.dumps(figures, indent=1))


@contextmanager
def _served(short_side: int | None = None) -> Iterator[tuple[str, str]]:
    """Serve a detector of blood cells; yield the address, and the folder of the images to send.

    Args:
        short_side: images are scaled to; small where decoding counts and not the network.
    """
    data = load_detection(records.data_folder("bccd"), split="train")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "cells.safetensors"
        Detector(short_side=short_side).fit(replace(data, samples=data.samples[:LEARNT])).save(model)
        command = [sys.executable, "-m", "sppnet.cli", "serve", str(model), "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            if process.stdout is None:
                raise RuntimeError("the service has no output")
            yield process.stdout.readline().split()[-1], str(data.samples[0].path.parent)
            process.terminate()


def figure(address: str, name: str) -> float:
    """Return one figure of /metrics."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=60) as response:
        lines = response.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def _load(address: str, *arguments: str | float) -> dict[str, Any]:
    """Let the generator work, and watch the memory of server and workers meanwhile."""
    before, most = _memory(address), _memory(address)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(1.0):
            for name, value in _memory(address).items():
                most[name] = max(most[name], value)

    watcher = threading.Thread(target=watch)
    watcher.start()
    command = [sys.executable, "-m", "benchmarks.service_load", address, *map(str, arguments)]
    try:
        printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900).stdout
    finally:
        done.set()
        watcher.join()
    return {**json.loads(printed), "resident_MB_before": before, "resident_MB_most": most}


def _memory(address: str) -> dict[str, float]:
    names = {"server": "sppnet_server_bytes", "workers": "sppnet_worker_bytes"}
    return {name: round(figure(address, measure) / 1e6) for name, measure in names.items()}


def _batches() -> dict[str, Any]:
    """Time the network for images of one size put through together, in turn; the worker has one thread."""
    backbone, figures = EfficientNetLite0(), {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for layer, size in (("stride16", (480, 640)), ("head", (224, 288))):
            seconds: dict[int, list[float]] = {count: [] for count in (1, 2, 4, 8)}
            pixels = {count: torch.rand(count, *size, 3).permute(0, 3, 1, 2) for count in seconds}
            for _ in range(ROUNDS + 1):
                for count, batch in pixels.items():
                    start = time.perf_counter()
                    with torch.inference_mode():
                        backbone(batch, [layer])
                    seconds[count].append((time.perf_counter() - start) / count)
            medians = {count: round(1000 * statistics.median(each[1:]), 1) for count, each in seconds.items()}
            figures[f"{size[0]} x {size[1]} to {layer}, {threads} threads"] = medians
    torch.set_num_threads(1)
    return figures


# Images from strangers


def mutated(images: Sequence[bytes], *, count: int, seed: int) -> Iterator[bytes]:
    """Yield broken copies of image files: cut, flipped, filled, doubled, joined; the same ones for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        content = bytearray(rng.choice(images))
        for _ in range(rng.choice((1, 1, 2, 4))):
            rng.choice((_flip, _flip, _cut, _fill, _drop, _double, _join))(content, images, rng)
        yield bytes(content)


def _flip(content: bytearray, _images: Sequence[bytes], rng: random.Random) -> None:
    for _ in range(rng.choice((1, 4, 32))):
        # Half of the flips in the first 200 bytes, where sizes and types stand.
        place = rng.randrange(min(len(content), rng.choice((200, len(content) + 1))) or 1)
        if place < len(content):
            content[place] ^= 1 << rng.randrange(8)


def _cut(content: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    del content[rng.randrange(len(content) + 1) :]


def _fill(content: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    start = rng.randrange(len(content) + 1)
    length = min(rng.choice((2, 4, 8, 500)), len(content) - start)
    content[start : start + length] = bytes([rng.choice((0, 0x7F, 0x80, 0xFF))]) * length


def _drop(content: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    start = rng.randrange(len(content) + 1)
    del content[start : start + rng.choice((1, 3, 100))]


def _double(content: bytearray, _: Sequence[bytes], rng: random.Random) -> None:
    start = rng.randrange(len(content) + 1)
    content[start:start] = content[start : start + rng.choice((1, 16, 2000))]


def _join(content: bytearray, images: Sequence[bytes], rng: random.Random) -> None:
    other = rng.choice(images)
    content[rng.randrange(len(content) + 1) :] = other[rng.randrange(len(other)) :]
