"""What a model that ``sppnet train`` wrote answers: detections, classes, features, and what made each score."""

import contextlib
import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from sppnet.classification.classifier import Classifier
from sppnet.detection.detector import Detector
from sppnet.errors import ArgumentError, check_that, message
from sppnet.export.engine import run_by
from sppnet.features.contributions import Contributions
from sppnet.features.scene import Scene
from sppnet.geometry import Boxes, check_boxes
from sppnet.models import load
from sppnet.progress import stage
from sppnet.web.service.answers import BOX_DIGITS, DIGITS, Answer, QuestionError
from sppnet.web.service.limits import ServiceLimits


class TrainedModel:
    """A detector or a classifier, as ``ServedModel`` has it."""

    def __init__(self, file: Path, model: Detector | Classifier) -> None:
        self.file, self.model = file, model

    @classmethod
    def open(cls, path: Path, engine: str) -> "TrainedModel":
        """Open a model's file, whose network an engine runs; raises as ``sppnet.load`` and ``run_by``."""
        return cls(path, run_by(load(path), engine))

    @property
    def kind(self) -> Literal["detector", "classifier"]:
        """What it does."""
        return self.model.kind

    def facts(self) -> dict[str, Any]:
        """Return what ``schemas.ModelFacts`` has of it."""
        model = self.model
        return {
            "classes": list(model.classes_),
            "untrained": list(model.untrained_),
            "levels": list(model.levels),
            "thresholds": model.thresholds_.tolist() if model.kind == "detector" else [model.threshold_],
            "exported": False,
        }

    def answer(
        self, question: Mapping[str, Any], pixels: NDArray[np.uint8], limits: ServiceLimits
    ) -> dict[str, Any] | Answer:
        """Answer one question about an image, (H, W, 3) uint8 RGB."""
        if question["verb"] == "detect" and self.model.kind == "detector":
            return _detect(self.model, question, pixels)
        if question["verb"] == "classify" and self.model.kind == "classifier":
            return _classify(self.model, question, pixels)
        return _features(self.model, limits, question, pixels)


def _detect(model: Detector, question: Mapping[str, Any], pixels: NDArray[np.uint8]) -> dict[str, Any]:
    scene = Scene(pixels, model.model_.encoder)
    found = model.model_.detect(scene, threshold=question["threshold"]).first(question["most"])
    columns = zip(found.boxes, found.labels, found.confidence, np.asarray(found.scores), strict=True)
    rows: list[dict[str, Any]] = [
        {
            "class": found.classes[label],
            "confidence": round(float(sure), DIGITS),
            "score": round(float(score), DIGITS),
            "box": box.round(BOX_DIGITS).tolist(),
        }
        for box, label, sure, score in columns
    ]
    if question["explain"]:
        with stage("contributions"), contextlib.suppress(ArgumentError):  # scores that no single window made
            for row, explained in zip(rows, model.explain(scene.maps, found), strict=True):
                row["contribution"] = _contribution(explained)
    return {"counts": found.counts(), "detections": rows}


def _classify(model: Classifier, question: Mapping[str, Any], pixels: NDArray[np.uint8]) -> dict[str, Any]:
    known = len(model.classes_) - len(model.untrained_)
    count = min(question["top"], known)
    prediction, explained = model.explain(pixels, count=count)
    rows: list[dict[str, Any]] = [{"class": name, "score": round(score, 6)} for name, score in prediction.top(count)]
    for row, each in zip(rows, explained, strict=True) if question["explain"] else ():
        row["contribution"] = _contribution(each)
    return {"label": prediction.label, "best": rows}


def _contribution(each: Contributions) -> dict[str, Any]:
    return {
        "window": each.window.tolist(),
        "levels": list(each.levels),
        "bins": each.bins.tolist(),
        "boxes": each.boxes.round(BOX_DIGITS).tolist(),
        "bias": each.bias,
    }


def _features(
    model: Detector | Classifier, limits: ServiceLimits, question: Mapping[str, Any], pixels: NDArray[np.uint8]
) -> dict[str, Any] | Answer:
    size = (pixels.shape[0], pixels.shape[1])
    boxes = check_boxes("features", _boxes(question["boxes"], size, limits), size)
    with stage("pooling"):
        rows, layout = model.features(pixels, boxes)
    form = question["format"]
    most = limits.json_values if form == "json" else limits.values
    check_that(
        rows.numel() <= most,
        "features",
        "boxes",
        f"so few that the answer has at most {most:,} values",
        f"{len(rows)} boxes of {rows.shape[1]} values",
        advice="Send fewer, or ask for format=npy" if form == "json" else "Send fewer",
    )
    if form == "json":
        values = [[float(f"{value:.7g}") for value in row] for row in rows.tolist()]
        parts = [{"levels": list(levels), "channels": channels} for levels, channels in layout]
        return {"parts": parts, "boxes": boxes.tolist(), "features": values}
    if form == "npy":
        file = BytesIO()
        np.save(file, rows.numpy(), allow_pickle=False)
        return Answer(200, "application/x-npy", file.getvalue())
    tensors = {"features": rows.contiguous(), "boxes": torch.from_numpy(boxes)}
    return Answer(200, "application/x-safetensors", safetensors.torch.save(tensors))


def _boxes(text: str | None, size: tuple[int, int], limits: ServiceLimits) -> Boxes:
    if text is None:
        return np.array([[0.0, 0.0, size[1], size[0]]])
    expected = "a JSON list of [left, top, right, bottom], numbers"
    advice = "Give boxes such as [[0, 0, 64, 48]]"
    try:
        rows = json.loads(text)
        fits = isinstance(rows, list) and all(map(_four_numbers, rows))
        boxes = np.array(rows, dtype=np.float64).reshape(-1, 4) if fits else None
    except (ValueError, RecursionError, OverflowError) as error:
        raise QuestionError(422, message("features", "boxes", expected, f"{text[:60]!r}", advice)) from error
    if boxes is None:
        raise QuestionError(422, message("features", "boxes", expected, f"{text[:60]!r}", advice))
    most = f"at most {limits.boxes}"
    check_that(len(boxes) <= limits.boxes, "features", "boxes", most, len(boxes), advice="Send several requests")
    return boxes


def _four_numbers(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 4 and all(type(value) in (int, float) for value in row)
