"""Four kinds of images by how many of them are labelled: how good, and how sure of itself, is the default detector?

Every default is chosen on all of them at once. ``SPPNET_SETS`` (``raccoon:10:1,bccd:all:1``: set, labels, draws) takes
a part of it and adds to what is in ``results/sets.json``; all of it takes hours on two cores.
"""

import dataclasses
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from benchmarks import plots, records
from sppnet import Detector, TensorCache, load_detection
from sppnet.data import DetectionData
from sppnet.evaluation.precision import DetectionReport, detection_report

SETS: Final = ("bccd", "raccoon", "cards", "pcb")
LABELLED: Final = ("3", "5", "10", "20", "40", "all")
DRAWS: Final = 3


def measure() -> None:
    """Train on draws of each set's labels, and evaluate on its val split."""
    rows = _known()
    with tempfile.TemporaryDirectory() as folder:
        cache = TensorCache(os.environ.get("SPPNET_CACHE", folder))
        for name, labelled, draws in _asked():
            data = records.data_folder(name)
            train = load_detection(data, split="train", on_bad="skip")
            val = load_detection(data, split="val", on_bad="skip", classes=train.classes)
            for draw in range(1 if labelled == "all" else draws):
                row = {"set": name, "labelled": labelled, "draw": draw}
                row |= _measured(drawn(train, labelled, draw), val, cache)
                rows = [each for each in rows if any(each[key] != row[key] for key in ("set", "labelled", "draw"))]
                rows.append(row)
                figures = {"rows": sorted(rows, key=_place)}
                records.write("sets", seed=0, figures=figures)
                print(json.dumps(row), flush=True)
    plots.draw_sets(figures, records.ROOT / "docs" / "sets.svg")


def _known() -> list[dict[str, Any]]:
    file = records.RESULTS / "sets.json"
    if not file.exists() or "SPPNET_SETS" not in os.environ:
        return []
    known: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["figures"]["rows"]
    return known


def _asked() -> Iterator[tuple[str, str, int]]:
    chosen = os.environ.get("SPPNET_SETS")
    if chosen is None:
        yield from ((name, labelled, DRAWS) for name in SETS for labelled in LABELLED)
        return
    for part in chosen.split(","):
        name, labelled, draws = part.split(":")
        yield name, labelled, int(draws)


def _place(row: dict[str, Any]) -> tuple[int, int, int]:
    return SETS.index(row["set"]), LABELLED.index(row["labelled"]), row["draw"]


def drawn(data: DetectionData, labelled: str, draw: int) -> DetectionData:
    """Return a draw of so many of a data set's images, or "all"; the same ones each time."""
    if labelled == "all":
        return data
    chosen = np.sort(np.random.default_rng(draw).permutation(len(data.samples))[: int(labelled)])
    return dataclasses.replace(data, samples=tuple(data.samples[row] for row in chosen))


def _measured(train: DetectionData, val: DetectionData, cache: TensorCache) -> dict[str, Any]:
    start = time.perf_counter()
    detector = Detector(cache=cache).fit(train)
    fitted = time.perf_counter() - start
    found = [detector.detect(sample.path, threshold=0) for sample in val.samples]
    options: dict[str, Any] = {"thresholds": detector.thresholds_}
    half, most = (detection_report(found, val.samples, val.classes, iou=iou, **options) for iou in (0.5, 0.7))
    return {
        "ap50": half.mean,
        "ap70": most.mean,
        "f1": _mean(half, "f1"),
        "best_f1": _mean(half, "best_f1"),
        "calibration_error": half.calibration_error,
        "seconds_of_fit": fitted,
        "peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def _mean(report: DetectionReport, figure: str) -> float:
    return float(np.nanmean(getattr(report, figure)))
