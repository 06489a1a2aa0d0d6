"""What each part of the detector is worth on four kinds of images: learnt from 40 labelled ones, tested on val.

One part is taken away or put in at a time; how sure a difference is, a paired bootstrap over the images of val tells.
``SPPNET_SETS`` (``raccoon,bccd``) takes a part of the sets and adds to what is in ``results/parts.json``.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final
from unittest.mock import patch

from benchmarks import records
from benchmarks.sets import SETS, drawn
from sppnet.data import DetectionData, load_detection
from sppnet.detection.detections import Detections
from sppnet.detection.detector import Detector
from sppnet.detection.fine_tuning import fine_tuned
from sppnet.detection.settings import OURS, Settings
from sppnet.evaluation.intervals import interval, mean_precision, resampled_precision
from sppnet.evaluation.matching import judge
from sppnet.evaluation.precision import detection_report
from sppnet.features.scene import Scene
from sppnet.learning.compression import Compression
from sppnet.storage import TensorCache

IOUS: Final = (0.5, 0.7)
LABELLED: Final = "40"
Found = list[Detections]


def measure() -> None:
    """Write what each row reaches, and what the default has more, on the same images."""
    known = records.read("parts") if "SPPNET_SETS" in os.environ else None
    figures: dict[str, Any] = dict(known["figures"]) if known else {}
    with tempfile.TemporaryDirectory() as folder:
        cache = TensorCache(os.environ.get("SPPNET_CACHE", folder))
        for name in os.environ.get("SPPNET_SETS", ",".join(SETS)).split(","):
            root = records.data_folder(name)
            train = load_detection(root, split="train", on_bad="skip")
            val = load_detection(root, split="val", on_bad="skip", classes=train.classes)
            figures[name] = {"images": len(val.samples), "rows": _rows(drawn(train, LABELLED, 0), val, cache)}
            records.write("parts", seed=0, figures={each: figures[each] for each in SETS if each in figures})


def _rows(train: DetectionData, val: DetectionData, cache: TensorCache) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    default: dict[float, Any] = {}
    for name, found in _everything(train, val, cache):
        if not default:
            default = {iou: _resampled(found, val, iou) for iou in IOUS}
        rows[name] = _row(found, val, default)
        print(json.dumps({name: rows[name]}), flush=True)
    return rows


def _everything(train: DetectionData, val: DetectionData, cache: TensorCache) -> Iterator[tuple[str, Found]]:
    """Yield what each detector finds, the default's first."""

    def learnt(settings: Settings | str = OURS, **options: Any) -> Detector:
        return Detector(cache=cache, settings=settings, **options).fit(train)

    def answered(detector: Detector, **changes: Any) -> Found:
        model = detector.model_
        model = replace(model, settings=replace(model.settings, **changes))
        return [model.detect(Scene(sample.source, model.encoder), threshold=0) for sample in val.samples]

    ours = learnt()
    yield "default", answered(ours)
    yield "boxes as proposed", answered(ours, rounds=0, voting_iou=None)
    yield "boxes moved once, no voting", answered(ours, rounds=1, voting_iou=None)
    yield "boxes moved twice, no voting", answered(ours, rounds=2, voting_iou=None)
    yield "one turn, scores alone", answered(ours, apart_iou=None)
    with patch.object(Compression, "evened", lambda axes, _: axes):
        yield "axes weigh what they hold", answered(learnt())
    yield "no hard negatives", answered(learnt(replace(OURS, margin=float("inf"))))
    yield "objects alone as positives", answered(learnt(replace(OURS, positive_iou=None)))
    for layers in (("stride8",), ("stride16",), ("stride8", "stride16"), ("stride16", "head")):
        yield f"{' and '.join(layers)} alone", answered(learnt(layers=layers))
    yield "two fresh layers of 256, fine-tuned", answered(fine_tuned(Detector(cache=cache), train))
    yield "as published", answered(learnt("paper"))
    yield "as released", answered(learnt("released"))


def _resampled(found: Sequence[Detections], val: DetectionData, iou: float) -> Any:
    return mean_precision(resampled_precision(judge(found, val.samples, val.classes, iou=iou)))


def _row(found: Sequence[Detections], val: DetectionData, default: dict[float, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for iou in IOUS:
        report = detection_report(found, val.samples, val.classes, iou=iou)
        less = interval(default[iou] - _resampled(found, val, iou))
        row[str(iou)] = {"mean": round(report.mean, 4), "less_than_default": [round(each, 4) for each in less]}
    return row
