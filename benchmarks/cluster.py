"""A cluster of two nodes beside one machine: the same rows, whatever dies meanwhile? What does Ray add to an image?

``python -m benchmarks ray``. Features of 20,000 small images by two processes of one machine, and by one worker on each
of two nodes, which are on this machine too; again with a worker killed after a third of the parts and a node after two.
Seconds are of whole commands, from the start of the cluster to its end, and those of one machine the mean of a run
before and one after: what a busy machine takes from one, it takes from the others.
"""

import os
import statistics
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
TWO_NODES: Final = records.ROOT / "tests" / "cli" / "two_nodes.py"


def measure() -> None:
    from sppnet.cli.features import IMAGES_A_PART

    parts = -(-IMAGES // IMAGES_A_PART)
    deaths = {"worker": parts // 3, "node": 2 * parts // 3}
    two_nodes = [str(TWO_NODES), "", str(IMAGES_A_PART)]
    killed = [str(TWO_NODES), ",".join(f"{kind}:{after}" for kind, after in deaths.items()), str(IMAGES_A_PART)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = derived(folder / "images", IMAGES, SIZE)
        before = _seconds(["-m", "sppnet.cli"], images, folder / "before.parquet", "--workers", "2")
        on_ray = _seconds(two_nodes, images, folder / "ray.parquet")
        after = _seconds(["-m", "sppnet.cli"], images, folder / "after.parquet", "--workers", "2")
        with_deaths = _seconds(killed, images, folder / "killed.parquet")
        rows = {each: _files(folder / f"{each}.parquet") for each in ("before", "after", "ray", "killed")}
    here = statistics.mean([before, after])
    figures = {
        "images": IMAGES,
        "parts": len(rows["before"]),
        "killed_after_parts": deaths,
        "seconds": {"here": [before, after], "ray": on_ray, "killed": with_deaths},
        "overhead_ms": 1e3 * (on_ray - here) / IMAGES,
        "same_bytes": {each: len(made) == parts and made == rows["before"] for each, made in rows.items()},
    }
    records.write("ray", seed=0, figures=figures)


def _seconds(program: Sequence[str], images: Path, out: Path, *options: str) -> float:
    """Have features of all images written, and return how long that took."""
    command = [sys.executable, *program, "features", str(images), "--out", str(out), "--short-side", str(min(SIZE))]
    start = time.perf_counter()
    subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def table() -> str:
    """Return the table of the page on scale; nothing as long as nothing was measured."""
    record = records.read("ray")
    if record is None:
        return ""
    figures: dict[str, Any] = record["figures"]
    seconds, same, deaths = figures["seconds"], figures["same_bytes"], figures["killed_after_parts"]
    died = f"a worker killed after {deaths['worker']} parts, a node after {deaths['node']}"
    here = " and ".join(f"{each:.0f}" for each in seconds["here"])
    head = f"{figures['images']:,} images of 64 x 48, features in {figures['parts']} parts"
    rows = [
        f"| {head} | s | more an image, ms | files |",
        "|---|---|---|---|",
        f"| one machine, two processes, before and after | {here} | | |",
        f"| Ray, a worker a node | {seconds['ray']:.0f} | {figures['overhead_ms']:.1f} | {_told(same['ray'])} |",
        f"| the same, {died} | {seconds['killed']:.0f} | | {_told(same['killed'])} |",
    ]
    return "\n".join(rows) + "\n"


def _told(alike: bool) -> str:
    return "the same bytes" if alike else "other bytes"
