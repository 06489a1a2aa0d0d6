"""A cluster of two nodes beside one machine: the same rows, whatever dies meanwhile? What does Ray add to an image?

``python -m benchmarks ray``. Features of 20,000 small images by two processes of one machine, and by one worker on each
of two nodes, which are on this machine too; again with a worker killed after a third of the parts and a node after two.
Seconds are of whole commands, from the start of the cluster to its end, by each way in turn: the fastest of its turns,
which a machine that others use disturbed least.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import records
from benchmarks.scale import derived

IMAGES: Final = int(os.environ.get("SPPNET_CLUSTERED", "20000"))
SIZE: Final = (64, 48)  # (width, height)
TURNS: Final = 2
TWO_NODES: Final = records.ROOT / "tests" / "cli" / "two_nodes.py"


def measure() -> None:
    from sppnet.cli.features import IMAGES_A_PART

    parts = -(-IMAGES // IMAGES_A_PART)
    deaths = {"worker": parts // 3, "node": 2 * parts // 3}
    here = ["-m", "sppnet.cli", "features", "--workers", "2"]
    two_nodes, killed = (
        [str(TWO_NODES), each, str(IMAGES_A_PART), "features"]
        for each in ("", ",".join(f"{kind}:{after}" for kind, after in deaths.items()))
    )
    ways = {f"{name} {turn}": way for turn in range(TURNS) for name, way in (("here", here), ("ray", two_nodes))}
    seconds, rows = {}, {}
    with tempfile.TemporaryDirectory() as name:
        images = derived(Path(name) / "images", IMAGES, SIZE)
        for way, command in {**ways, "killed": killed}.items():
            seconds[way], rows[way] = _features(command, images, Path(name) / f"{way}.parquet")
            print(way, f"{seconds[way]:.1f} s", flush=True)
    best = {way: min(taken for name, taken in seconds.items() if name.startswith(way)) for way in ("here", "ray")}
    figures = {
        "images": IMAGES,
        "parts": len(rows["here 0"]),
        "killed_after_parts": deaths,
        "seconds": seconds,
        "overhead_ms": 1e3 * (best["ray"] - best["here"]) / IMAGES,
        "same_bytes": {way: len(made) == parts and made == rows["here 0"] for way, made in rows.items()},
    }
    records.write("ray", seed=0, figures=figures)


def _features(command: Sequence[str], images: Path, out: Path) -> tuple[float, dict[str, str]]:
    """Have features of all images written; return how long that took, and the SHA-256 of each file by its name."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *command, str(images), "--out", str(out), "--short-side", str(min(SIZE))],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - start
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()}
    shutil.rmtree(out)
    return seconds, files


def table() -> str:
    """Return the table of the page on scale; nothing as long as nothing was measured."""
    record = records.read("ray")
    if record is None:
        return ""
    figures: dict[str, Any] = record["figures"]
    same, deaths, ways = figures["same_bytes"], figures["killed_after_parts"], {"here": "", "ray": "", "killed": ""}
    for way in ways:
        ways[way] = ", ".join(f"{taken:.0f}" for name, taken in figures["seconds"].items() if name.startswith(way))
    bytes_of = {way: all(alike for name, alike in same.items() if name.startswith(way)) for way in ways}
    died = f"a worker killed after {deaths['worker']} parts, a node after {deaths['node']}"
    head = f"{figures['images']:,} images of 64 x 48, features in {figures['parts']} parts"
    rows = [
        f"| {head} | s, in turn | more an image, ms | files |",
        "|---|---|---|---|",
        f"| one machine, two processes | {ways['here']} | | |",
        f"| Ray, a worker a node | {ways['ray']} | {figures['overhead_ms']:.1f} | {_told(bytes_of['ray'])} |",
        f"| the same, {died} | {ways['killed']} | | {_told(bytes_of['killed'])} |",
    ]
    return "\n".join(rows) + "\n"


def _told(alike: bool) -> str:
    return "the same bytes" if alike else "other bytes"
