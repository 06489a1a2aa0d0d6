"""How learning grows with the number of labelled images: BCCD's, mirrored and rescaled, 100 to 5,000.

``SPPNET_GROWTH`` (``100,5000``) takes some of the numbers and adds to what is in ``results/growth.json``. For each
number one process computes the maps that are missing, and another learns from the cache.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from benchmarks import records
from sppnet import Detector, TensorCache, load_detection
from sppnet.data import DetectionData
from sppnet.detection.scale import scales_for
from sppnet.geometry import flip_boxes, scale_boxes

NUMBERS: Final = (100, 500, 1000, 2000, 5000)
SCALES: Final = (0.4, 0.6)  # half of BCCD's size: five thousand of them are encoded in half an hour
ONE: Final = "import sys; from benchmarks import growth; growth.measure_one(sys.argv[1], int(sys.argv[2]))"


def measure() -> None:
    """Learn from each number of images, and write seconds, processor seconds and memory."""
    known = records.read("growth") if "SPPNET_GROWTH" in os.environ else None
    rows: dict[int, dict[str, Any]] = {row["images"]: row for row in (known["figures"]["rows"] if known else [])}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.environ.get("SPPNET_CACHE", name))
        for number in map(int, os.environ.get("SPPNET_GROWTH", ",".join(map(str, NUMBERS))).split(",")):
            row: dict[str, Any] = {"images": number}
            for what in ("maps", "learning"):
                command = [sys.executable, "-c", ONE, str(folder), str(number)]
                row[what] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                print(json.dumps({"images": number, what: row[what]}), flush=True)
            rows[number] = row
            records.write("growth", seed=0, figures={"rows": [rows[each] for each in sorted(rows)]})


def measure_one(folder: str, number: int) -> None:
    """Compute the maps that are missing; where none is, learn."""
    train = load_detection(records.data_folder("bccd"), split="train")
    data, cache = _varied(train, number, Path(folder) / "images"), TensorCache(Path(folder) / "maps")
    detector = Detector(cache=cache, short_side=scales_for(data))
    encoder, _ = detector.prepare(data.subset([0]))
    missing = [sample for sample in data.samples if not encoder.is_cached(sample.source)]
    start, before = time.perf_counter(), time.process_time()
    if missing:
        for sample in missing:
            encoder(sample.source)
    else:
        detector.fit(data)
    figures = {
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(time.process_time() - before, 1),
        "peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    print(json.dumps(figures))


def _varied(data: DetectionData, number: int, folder: Path) -> DetectionData:
    """Return so many images, each one of the data's, rescaled and every other mirrored; the same ones each time."""
    rng, made = np.random.default_rng(0), []
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(number):
        sample, mirrored = data.samples[place % len(data.samples)], place % 2 == 1
        height, width = (
            round(side * scale) for side, scale in zip(sample.size, [rng.uniform(*SCALES)] * 2, strict=True)
        )
        path = folder / f"{place}.png"
        if not path.exists():
            image = Image.open(sample.path).convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
            (image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image).save(path, compress_level=1)
        boxes = scale_boxes(sample.boxes, sample.size, (height, width))
        boxes = flip_boxes(boxes, width) if mirrored else boxes
        made.append(replace(sample, path=path, size=(height, width), boxes=boxes))
    return replace(data, samples=tuple(made))
