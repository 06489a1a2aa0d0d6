"""What an exported model answers: a folder that ``sppnet export`` wrote, run by ONNX Runtime alone.

It finds and names what the model does, by the script that lies in the folder too. Of the maps in between nothing is
told: it has no features and explains nothing, and what its graph leaves out below each class's threshold is not there.
"""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from sppnet.classification.prediction import Prediction
from sppnet.errors import CorruptFileError, check_that, message
from sppnet.export.installed import TORCH
from sppnet.export.run import load, outputs
from sppnet.geometry import LARGE, shorter_side_size
from sppnet.images import MAX_WHOLE_PIXELS
from sppnet.progress import stage
from sppnet.storage import read_file
from sppnet.web.service.answers import BOX_DIGITS, DIGITS, QuestionError
from sppnet.web.service.limits import ServiceLimits
from sppnet.web.service.problems import shown

AGAIN: Final = "Write it again: sppnet export MODEL --out FOLDER"


class Labels(BaseModel):
    """What ``labels.json`` tells of a model; see ``sppnet.export.folder``."""

    kind: Literal["detector", "classifier"]
    classes: list[str]
    untrained: list[str]
    thresholds: list[float]
    levels: list[int]
    scaling: Literal["inside", "outside"]
    short_sides: list[int]
    multiple: int
    sha256: str


def _read_labels(folder: Path) -> Labels:
    """Read what is told of a model, and see that it is told of this one; raises CorruptFileError."""
    try:
        labels = Labels.model_validate_json(read_file(folder / "labels.json"))
        digest = hashlib.sha256(read_file(folder / "model.onnx")).hexdigest()
    except ValidationError as error:
        first = error.errors()[0]
        what, said = ".".join(map(str, first["loc"])) or "it", first["msg"]
        got = "none" if first["type"] == "missing" else shown(first["input"])
        told = f"{what}: {said[0].lower()}{said[1:]}, got {got}"
        raise CorruptFileError(f"{folder}/labels.json: {told}. {AGAIN}.") from error
    except OSError as error:
        missing = f"{Path(error.filename).name}: {error.strerror}"
        expected = "model.onnx and labels.json, as 'sppnet export' writes them"
        raise CorruptFileError(f"{folder}: must hold {expected}, got {missing}. {AGAIN}.") from error
    if digest != labels.sha256:
        raise CorruptFileError(f"{folder}: model.onnx must be the one that labels.json tells of, got another. {AGAIN}.")
    return labels


class ExportedModel:
    """A detector or a classifier of an export, as ``ServedModel`` has it."""

    def __init__(self, file: Path, session: onnxruntime.InferenceSession, labels: Labels) -> None:
        self.file, self._session, self._labels = file, session, labels
        self._about, self.side = labels.model_dump(), max(labels.short_sides)

    @classmethod
    def open(cls, folder: Path, engine: str) -> "ExportedModel":
        """Open a folder that an export wrote.

        Raises:
            CorruptFileError: one that is not whole, of another version, or of what is not served. ArgumentError:
                an engine that does not run it, or images scaled to what is looked at in tiles.
        """
        runs, advice = engine in (TORCH, "onnxruntime"), "Leave it out"
        check_that(runs, "serve", "engine", f"onnxruntime for the export {folder.name}", engine, advice=advice)
        labels = _read_labels(folder)
        most, advice = math.isqrt(MAX_WHOLE_PIXELS), "Serve the file that 'sppnet train' wrote, which has tiles"
        expected, side = f"exports of at most {most} pixels of the shorter side", max(labels.short_sides)
        check_that(side <= most, "serve", "models", expected, f"{folder.name} of {side}", advice=advice)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_mem_pattern = False  # it plans for each size of image, and takes twice the memory
        try:
            session, _ = load(folder, options)
        except Exception as error:  # ONNX Runtime raises a type of its own for each cause
            reason = f"cannot be run by ONNX Runtime {onnxruntime.__version__}: {' '.join(str(error).split())}"
            raise CorruptFileError(f"{folder}: model.onnx {reason.rstrip('. ')}. Install a newer one.") from error
        return cls(folder / "model.onnx", session, labels)

    @property
    def kind(self) -> Literal["detector", "classifier"]:
        """What it does."""
        return self._labels.kind

    def facts(self) -> dict[str, Any]:
        """Return what ``schemas.ModelFacts`` has of it."""
        told = ("classes", "untrained", "levels", "thresholds")
        return {name: self._about[name] for name in told} | {"exported": True}

    def answer(self, question: Mapping[str, Any], pixels: NDArray[np.uint8], limits: ServiceLimits) -> dict[str, Any]:  # noqa: ARG002
        """Answer one question about an image, (H, W, 3) uint8 RGB; what it cannot answer is refused before."""
        options = onnxruntime.RunOptions()
        if self._scaled_pixels(pixels) > LARGE:  # what it took beyond the usual is given back
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        with stage("network"):
            found = outputs(self._session, self._about, pixels, options)
        return self._detect(question, *found) if self.kind == "detector" else self._classify(question, *found)

    def _scaled_pixels(self, pixels: NDArray[np.uint8]) -> int:
        """Return how many pixels go through the network; refuse what its model would look at in tiles."""
        size, side = (pixels.shape[0], pixels.shape[1]), self.side
        height, width = shorter_side_size(size, side, multiple=self._labels.multiple)
        if height * width > MAX_WHOLE_PIXELS:
            most = math.floor(10 * MAX_WHOLE_PIXELS / side**2) / 10
            expected = f"at most {most} times as long as wide for an export, which has no tiles"
            actual = f"{size[0]} x {size[1]} pixels (height x width)"
            advice = "Cut it into parts, or serve the file that 'sppnet train' wrote"
            raise QuestionError(422, message("service", "image", expected, actual, advice))
        return height * width

    def _detect(
        self,
        question: Mapping[str, Any],
        boxes: NDArray[np.float32],
        labels: NDArray[np.int64],
        confidence: NDArray[np.float32],
    ) -> dict[str, Any]:
        """Tell of the most certain, which come first, from the threshold on that was asked for."""
        shown = confidence >= (question["threshold"] or 0.0)
        names = [self._labels.classes[label] for label in labels[shown][: question["most"]]]
        columns = zip(names, confidence[shown].tolist(), boxes[shown].astype(np.float64), strict=False)
        rows = [
            {"class": name, "confidence": round(sure, DIGITS), "box": box.round(BOX_DIGITS).tolist()}
            for name, sure, box in columns
        ]
        return {"counts": {name: names.count(name) for name in self._labels.classes}, "detections": rows}

    def _classify(self, question: Mapping[str, Any], scores: NDArray[np.float32]) -> dict[str, Any]:
        labels = self._labels
        prediction = Prediction(tuple(labels.classes), scores, labels.thresholds[0])
        count = min(question["top"], len(labels.classes) - len(labels.untrained))
        rows = [{"class": name, "score": round(score, 6)} for name, score in prediction.top(count)]
        return {"label": prediction.label, "best": rows}
