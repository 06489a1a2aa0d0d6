"""The convolutions tuned on raccoon: the linear detector before and after, on images that neither saw."""

import time
from typing import Any

from benchmarks import records
from sppnet import DeepPlan, Detector, load_detection
from sppnet.data import DetectionData

EPOCHS = 6
OVERLAPS = (0.5, 0.7)


def measure() -> None:
    """Write the mean average precision on 'val' without and with tuning, and what it cost."""
    root = records.data_folder("raccoon")
    train, val = (load_detection(root, split=split) for split in ("train", "val"))
    figures: dict[str, Any] = {"epochs": EPOCHS, "linear": _precision(Detector().fit(train), val)}
    start = time.perf_counter()
    tuned = Detector().fit(train, deep=DeepPlan(epochs=EPOCHS))
    report = tuned.deep_
    if report is not None:
        figures |= {"tuned": _precision(tuned, val), "held_out": report.as_dict()}
    records.write("deep", seed=0, figures=figures | {"seconds": round(time.perf_counter() - start)})


def _precision(detector: Detector, val: DetectionData) -> dict[str, float]:
    return {str(overlap): round(detector.evaluate(val, iou=overlap).mean, 4) for overlap in OVERLAPS}
