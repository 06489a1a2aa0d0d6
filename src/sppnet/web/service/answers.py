"""What a worker does: one question about one image -> one answer. No HTTP, no waiting.

A question is ``{"verb", "model", ...options}`` with the image's bytes; an answer is a status with JSON, or with
bytes of another type. Refusals are answers too: only a fault of this package raises. What computes is a model that
``sppnet train`` wrote (``trained``) or an export of one (``exported``), which needs no PyTorch.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sppnet.errors import ImageDecodeError, SppnetError, check_that, message
from sppnet.export.installed import TORCH
from sppnet.images import read_image
from sppnet.progress import stage, stages_of
from sppnet.web.service.limits import ServiceLimits

JSON: Final = "application/json"
DIGITS: Final = 5  # of scores and confidence
BOX_DIGITS: Final = 2


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


class ServedModel(Protocol):
    """A model that answers questions."""

    @property
    def kind(self) -> Literal["detector", "classifier"]:
        """What it does."""

    @property
    def file(self) -> Path:
        """What it was read from."""

    def facts(self) -> dict[str, Any]:
        """Return what ``schemas.ModelFacts`` has of it, beside its name and its file."""

    def answer(
        self, question: Mapping[str, Any], pixels: NDArray[np.uint8], limits: ServiceLimits
    ) -> dict[str, Any] | Answer:
        """Answer one question about an image, (H, W, 3) uint8 RGB: what JSON holds beside size and times, or all.

        Raises:
            SppnetError: what cannot be answered, in words for who asked.
        """


def name_of(path: Path) -> str:
    """Return what a model is called by: its file's name without suffix, or the name of its folder."""
    return path.name if path.is_dir() else path.stem


def load(paths: list[Path], engine: str = TORCH) -> dict[str, ServedModel]:
    """Return models by their names: files, whose networks an engine runs, and folders that an export wrote.

    Raises:
        CorruptFileError, DataError: what holds no model. ArgumentError: two of one name, or an engine that is unknown
            or does not run an export. ModuleNotFoundError: a package that a model needs is not installed.
    """
    models: dict[str, ServedModel] = {}
    for path in paths:
        name, advice = name_of(path), "Rename one of them"
        check_that(name not in models, "serve", "models", "of different names", path.name, advice=advice)
        models[name] = _opened(path, engine)
    return models


def _opened(path: Path, engine: str) -> ServedModel:
    if path.is_dir():
        from sppnet.web.service.exported import ExportedModel

        return ExportedModel.open(path, engine)
    from sppnet.web.service.trained import TrainedModel

    return TrainedModel.open(path, engine)


def describe(name: str, model: ServedModel) -> dict[str, Any]:
    """Return the facts of one model and its file, as ``schemas.ModelFacts`` has them."""
    with model.file.open("rb") as file:
        digest, written = hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_mtime
    date = datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds")
    return {"name": name, "kind": model.kind, **model.facts(), "sha256": digest, "date": date}


def answer(
    models: Mapping[str, ServedModel],
    limits: ServiceLimits,
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
    model: ServedModel, limits: ServiceLimits, question: Mapping[str, Any], image: bytes, read: Callable[[], None]
) -> Answer:
    done: dict[str, Any] = {}

    def work() -> None:
        with stage("reading"):
            pixels = _pixels(image, limits)
        read()
        done["size"] = {"height": pixels.shape[0], "width": pixels.shape[1]}
        done["rest"] = model.answer(question, pixels, limits)

    seconds = question["before"] | stages_of(work)
    if isinstance(done["rest"], Answer):
        return done["rest"]
    times = {name: round(value, 6) for name, value in seconds.items()}
    return Answer(200, JSON, _json({"model": question["model"], **done["size"], **done["rest"], "seconds": times}))


def _refused(status: int, detail: str) -> Answer:
    return Answer(status, JSON, _json({"detail": detail}))


def _json(content: Any) -> bytes:
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def _pixels(image: bytes, limits: ServiceLimits) -> NDArray[np.uint8]:
    pixels = read_image(image, most=limits.pixels)
    longer, shorter = max(pixels.shape[:2]), min(pixels.shape[:2])
    if longer > limits.aspect * shorter:
        actual = f"{pixels.shape[0]} x {pixels.shape[1]} pixels (height x width)"
        expected = f"at most {limits.aspect} times as long as wide"
        raise QuestionError(422, message("service", "image", expected, actual, "Cut it into parts"))
    return pixels
