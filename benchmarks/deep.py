"""The convolutions tuned on four kinds of images: the linear detector before and after, on images that neither saw.

``SPPNET_SETS`` (``raccoon,bccd``) takes a part of them and adds to what is in ``results/deep.json``.
"""

import os
import time
from typing import Any

from benchmarks import records
from benchmarks.sets import SETS
from sppnet import Detector, load_detection
from sppnet.data import DetectionData

OVERLAPS = (0.5, 0.7)


def measure() -> None:
    """Write the mean average precision on each 'val' without and with tuning as it is by default, and what it cost."""
    known = (records.read("deep") or {"figures": {}})["figures"]
    figures: dict[str, Any] = {name: known[name] for name in SETS if name in known}
    for name in os.environ.get("SPPNET_SETS", ",".join(SETS)).split(","):
        root = records.data_folder(name)
        train = load_detection(root, split="train", on_bad="skip")
        val = load_detection(root, split="val", on_bad="skip", classes=train.classes)
        start = time.perf_counter()
        tuned = Detector().fit(train, deep=True)
        seconds = round(time.perf_counter() - start)
        report = tuned.deep_
        after = {"tuned": _precision(tuned, val), "held_out": report.as_dict()} if report else {}
        figures[name] = {"linear": _precision(Detector().fit(train), val), "seconds": seconds} | after
        records.write("deep", seed=0, figures=figures)


def _precision(detector: Detector, val: DetectionData) -> dict[str, float]:
    return {str(overlap): round(detector.evaluate(val, iou=overlap).mean, 4) for overlap in OVERLAPS}
