"""BCCD, blood cells, train -> val: the commands that a user would type, from nothing and with cached maps."""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import records


def measure() -> None:
    """Train twice (nothing cached, all cached), compare the two models byte for byte, evaluate at IoU 0.5 and 0.7."""
    data = records.data_folder("bccd")
    with tempfile.TemporaryDirectory() as folder:
        models = [Path(folder) / name for name in ("first.safetensors", "second.safetensors")]
        cache = ["--cache", str(Path(folder) / "cache")]
        runs = [_run("train", "detector", str(data), "--out", str(model), *cache, "--json") for model in models]
        digests = {hashlib.sha256(model.read_bytes()).hexdigest() for model in models}
        chosen = [str(models[0]), str(data), "--split", "val", "--json", "--cache", str(Path(folder) / "val")]
        reports = {iou: _run("evaluate", *chosen, "--iou", iou) for iou in ("0.5", "0.7")}
    images = 87
    figures = {
        "mean_average_precision": {iou: report["output"]["mean_average_precision"] for iou, report in reports.items()},
        "classes": reports["0.5"]["output"]["classes"],
        "seconds_from_nothing": runs[0]["seconds"],
        "seconds_with_cached_maps": runs[1]["seconds"],
        "seconds_of_fit_from_nothing": runs[0]["output"]["seconds"],
        "seconds_of_fit_with_cached_maps": runs[1]["output"]["seconds"],
        "seconds_a_image": reports["0.5"]["seconds"] / images,
        "peak_memory_bytes": runs[0]["memory"],
        "same_bytes_twice": len(digests) == 1,
    }
    records.write("bccd", seed=0, figures=figures)
    print(json.dumps(figures, indent=1))


def _run(*arguments: str) -> dict[str, Any]:
    """Run the command line in a process of its own; return what it printed, its seconds and its peak memory."""
    timed = [sys.executable, "-c", _MEASURED, *arguments]
    start = time.perf_counter()
    done = subprocess.run(timed, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    output, memory = done.stdout.strip().splitlines()
    return {"output": json.loads(output), "seconds": round(seconds, 2), "memory": int(memory)}


_MEASURED = """
import resource
from sppnet import cli
try:
    cli.main()
finally:
    print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
