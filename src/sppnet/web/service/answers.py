"""What a worker does: one question about one image -> one answer. No HTTP, no waiting.

A question is ``{"verb", "model", ...options}`` with the image's bytes; an answer is a status with JSON, or with
bytes of another type. Refusals are answers too: only a fault of this package raises.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from sppnet.classification.classifier import Classifier
from sppnet.detection.detector import Detector
from sppnet.errors import ArgumentError, ImageDecodeError, SppnetError, check_that, message
from sppnet.export.engine import run_by
from sppnet.export.installed import TORCH
from sppnet.features.contributions import Contributions
from sppnet.features.scene import Scene
from sppnet.geometry import Boxes, check_boxes
from sppnet.images import read_image
from sppnet.models import load as load_model
from sppnet.progress import stage, stages_of
from sppnet.web.service.limits import Limits

Model = Detector | Classifier

JSON: Final = "application/json"
DIGITS: Final = 5


class Answer(NamedTuple):
    """What came of a question: an HTTP status, the type of the content, and the content."""

    status: int
    media_type: str
    content: bytes


class QuestionError(SppnetError):
    """A question that has no answer; ``status`` is HTTP's."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def load(paths: list[Path], engine: str = TORCH) -> dict[str, Model]:
    """Return models, whose networks an engine runs, by the names of their files without suffix.

    Raises:
        CorruptFileError, DataError: a file that holds no model. ArgumentError: two files of one name.
    """
    models: dict[str, Model] = {}
    for path in paths:
        advice = "Rename one of the files"
        check_that(path.stem not in models, "serve", "models", "files of different names", path.name, advice=advice)
        models[path.stem] = run_by(load_model(path), engine)
    return models


def describe(path: Path, model: Model) -> dict[str, Any]:
    """Return the facts of one model and its file, as ``schemas.ModelFacts`` has them."""
    with path.open("rb") as file:
        digest, written = hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_mtime
    return {
        "name": path.stem,
        "kind": model.kind,
        "classes": list(model.classes_),
        "untrained": list(model.untrained_),
        "levels": list(model.levels),
        "thresholds": model.thresholds_.tolist() if model.kind == "detector" else [model.threshold_],
        "sha256": digest,
        "date": datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds"),
    }


def answer(
    models: Mapping[str, Model],
    limits: Limits,
    question: Mapping[str, Any],
    image: bytes,
    *,
    read: Callable[[], None] = lambda: None,
) -> Answer:
    """Answer one question about one image (a file's bytes); ``read`` is called once its pixels are."""
    try:
        return _answered(models[question["model"]], limits, question, image, read)
    except QuestionError as error:
        return _refused(error.status, str(error))
    except ImageDecodeError as error:
        reason = f"got one that cannot be read: {error.reason}. Send another image."
        return _refused(422, f"image must be a whole JPEG, PNG, WebP, BMP, GIF or TIFF, {reason}")
    except SppnetError as error:
        return _refused(422, str(error))
    except MemoryError:
        return _refused(503, "The image needs more memory than there is now. Send a smaller one.")


def _answered(
    model: Model, limits: Limits, question: Mapping[str, Any], image: bytes, read: Callable[[], None]
) -> Answer:
    done: dict[str, Any] = {}

    def work() -> None:
        with stage("reading"):
            pixels = _pixels(image, limits)
        read()
        done["size"] = {"height": pixels.shape[0], "width": pixels.shape[1]}
        if question["verb"] == "detect" and model.kind == "detector":
            done["rest"] = _detect(model, question, pixels)
        elif question["verb"] == "classify" and model.kind == "classifier":
            done["rest"] = _classify(model, question, pixels)
        else:
            done["rest"] = _features(model, limits, question, pixels)

    seconds = question["before"] | stages_of(work)
    if isinstance(done["rest"], Answer):
        return done["rest"]
    times = {name: round(value, 6) for name, value in seconds.items()}
    return Answer(200, JSON, _json({"model": question["model"], **done["size"], **done["rest"], "seconds": times}))


def _refused(status: int, detail: str) -> Answer:
    return Answer(status, JSON, _json({"detail": detail}))


def _json(content: Any) -> bytes:
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def _pixels(image: bytes, limits: Limits) -> NDArray[np.uint8]:
    pixels = read_image(image, most=limits.pixels)
    longer, shorter = max(pixels.shape[:2]), min(pixels.shape[:2])
    if longer > limits.aspect * shorter:
        actual = f"{pixels.shape[0]} x {pixels.shape[1]} pixels (height x width)"
        expected = f"at most {limits.aspect} times as long as wide"
        raise QuestionError(422, message("service", "image", expected, actual, "Cut it into parts"))
    return pixels


def _detect(model: Detector, question: Mapping[str, Any], pixels: NDArray[np.uint8]) -> dict[str, Any]:
    scene = Scene(pixels, model.model_.encoder)
    found = model.model_.detect(scene, threshold=question["threshold"]).first(question["most"])
    columns = zip(found.boxes, found.labels, found.confidence, np.asarray(found.scores), strict=True)
    rows: list[dict[str, Any]] = [
        {
            "class": found.classes[label],
            "confidence": round(float(sure), DIGITS),
            "score": round(float(score), DIGITS),
            "box": box.round(2).tolist(),
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
        "boxes": each.boxes.round(2).tolist(),
        "bias": each.bias,
    }


def _features(
    model: Model, limits: Limits, question: Mapping[str, Any], pixels: NDArray[np.uint8]
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


def _boxes(text: str | None, size: tuple[int, int], limits: Limits) -> Boxes:
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
