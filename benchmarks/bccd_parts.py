"""What each part of the detector is worth on BCCD: learnt from train, tested on val, with bootstrap intervals."""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks import records
from sppnet.data import DetectionData, load_detection
from sppnet.detection.detections import Detections, combine
from sppnet.detection.detector import Detector
from sppnet.detection.fine_tuning import fine_tuned
from sppnet.detection.settings import OURS, Settings
from sppnet.evaluation.intervals import interval, mean_precision, resampled_precision
from sppnet.evaluation.matching import judge
from sppnet.evaluation.precision import detection_report
from sppnet.storage import TensorCache

IOUS = (0.5, 0.7)
Found = list[Detections]


def measure() -> None:
    """Take one part away or put one in at a time; each row beside the default, on the same images."""
    root = records.data_folder("bccd")
    train = load_detection(root, split="train")
    val = load_detection(root, split="val", classes=train.classes)
    with tempfile.TemporaryDirectory() as folder:
        found = _everything(train, val, TensorCache(folder))
    default = {iou: _resampled(found["default"], val, iou) for iou in IOUS}
    rows = {name: _row(each, val, default) for name, each in found.items()}
    records.write("bccd_parts", seed=0, figures={"images": len(val.samples), "rows": rows})
    print(json.dumps(rows, indent=1))


def _everything(train: DetectionData, val: DetectionData, cache: TensorCache) -> dict[str, Found]:
    def learnt(settings: Settings | str = OURS, **options: Any) -> Detector:
        start = time.perf_counter()
        detector = Detector(cache=cache, settings=settings, **options).fit(train)
        print(f"{settings if isinstance(settings, str) else ''} {options}: {time.perf_counter() - start:.0f} s")
        return detector

    def answered(detector: Detector, **changes: Any) -> Found:
        detector.settings = replace(detector.settings, **changes)
        return [detector.detect(sample.path) for sample in val.samples]

    ours = learnt()
    found = {"default": answered(ours)}
    found["boxes as proposed"] = answered(ours, rounds=0, voting_iou=None)
    found["boxes moved once, no voting"] = answered(ours, rounds=1, voting_iou=None)
    found["boxes moved twice, no voting"] = answered(ours, rounds=2, voting_iou=None)
    found["no hard negatives"] = answered(learnt(replace(OURS, margin=float("inf"))))
    found["objects alone as positives"] = answered(learnt(replace(OURS, positive_iou=None)))
    single = {layer: answered(learnt(layers=(layer,))) for layer in ("stride8", "stride16")}
    found |= {f"{layer} alone": each for layer, each in single.items()}
    pairs = zip(*single.values(), strict=True)
    found["stride8 and stride16 learnt apart, combined"] = [combine(pair) for pair in pairs]
    found["two scales, 480 and 640"] = answered(learnt(short_side=(480, 640)))
    found["two fresh layers of 256, fine-tuned"] = answered(fine_tuned(Detector(cache=cache), train))
    found["as published"] = answered(learnt("paper"))
    found["as published, stride8 alone"] = answered(learnt("paper", layers=("stride8",)))
    found["as released"] = answered(learnt("released"))
    return found


def _resampled(found: Sequence[Detections], val: DetectionData, iou: float) -> Any:
    return mean_precision(resampled_precision(judge(found, val.samples, val.classes, iou=iou)))


def _row(found: Sequence[Detections], val: DetectionData, default: dict[float, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for iou in IOUS:
        report = detection_report(found, val.samples, val.classes, iou=iou)
        drawn = _resampled(found, val, iou)
        row[str(iou)] = {
            "mean": report.mean,
            "interval": interval(drawn),
            "less_than_default": interval(default[iou] - drawn),
            "classes": dict(zip(val.classes, report.average_precision.tolist(), strict=True)),
        }
    return row
