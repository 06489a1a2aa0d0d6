"""COCO's own figures, by faster-coco-eval."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from sppnet.errors import MissingExtraError, message
from sppnet.evaluation.matching import TrueObjects, judge
from sppnet.geometry import Boxes, ScoredBoxes

# COCO


def coco_precision(
    found: Sequence[ScoredBoxes], samples: Sequence[TrueObjects], classes: Sequence[str]
) -> dict[str, float]:
    """Measure as COCO does, by faster-coco-eval: ``pip install 'sppnet[coco]'``.

    COCO knows no difficult objects: they are given to it as crowds, which need not be found either. An object's
    area is that of its box.

    Returns:
        By name: AP (the mean over IoU 0.5 to 0.95, 100 detections an image), AP50, AP75, and AP of small, medium
        and large objects; NaN where there is no object.
    Raises:
        ArgumentError: as ``metrics.judge`` does. MissingExtraError: the package is not installed.
    """
    judge(found, samples, classes)  # for its checks
    coco, evaluator = _coco_tools()
    images = [{"id": place + 1} for place in range(len(samples))]
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(classes)]
    ground_truth = [
        _coco_row(place, box, label) | {"iscrowd": int(crowd)}
        for place, sample in enumerate(samples)
        for box, label, crowd in zip(sample.boxes, sample.labels, sample.difficult | sample.crowd, strict=True)
    ]
    answers = [
        _coco_row(place, box, label) | {"score": float(score)}
        for place, each in enumerate(found)
        for box, label, score in zip(each.boxes, each.labels, each.confidence, strict=True)
    ]
    if not ground_truth or not answers:
        value = 0.0 if ground_truth else float("nan")
        return dict.fromkeys(COCO_FIGURES, value)
    numbered = [{"id": place + 1} | row for place, row in enumerate(ground_truth)]
    known = coco({"images": images, "categories": categories, "annotations": numbered})
    run = evaluator(known, known.loadRes(answers), "bbox", print_function=lambda *_: None)
    for step in (run.evaluate, run.accumulate, run.summarize):
        step()
    figures = [float(value) for value in run.stats[: len(COCO_FIGURES)]]
    return {name: value if value >= 0 else float("nan") for name, value in zip(COCO_FIGURES, figures, strict=True)}


COCO_FIGURES: Final = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")


def _coco_row(place: int, box: Boxes, label: np.int64) -> dict[str, Any]:
    left, top, right, bottom = box.tolist()
    sides = [left, top, right - left, bottom - top]
    return {"image_id": place + 1, "category_id": int(label) + 1, "bbox": sides, "area": sides[2] * sides[3]}


def check_coco() -> None:
    """Raise MissingExtraError where ``coco_precision`` would, before the work on which it waits is done."""
    _coco_tools()


def _coco_tools() -> tuple[Any, Any]:
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        advice = "Install it with: pip install 'sppnet[coco]'"
        raise MissingExtraError(
            message("coco_precision", "faster-coco-eval", "installed", str(error), advice)
        ) from error
    return COCO, COCOeval_faster
