"""What answers an image: a model by one of the engines, in this process or in several."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sppnet.cli.options import cache_in, load_model
from sppnet.errors import ArgumentError, ImageDecodeError, MissingExtraError

Answer = dict[str, Any]


class Engine(StrEnum):
    """What computes."""

    TORCH = "torch"
    ONNXRUNTIME = "onnxruntime"


class Bad(NamedTuple):
    """An image that could not be read, as it comes from another process."""

    path: str
    reason: str


class Asked(NamedTuple):
    """What each process opens: the model's file, the folder of its cache, the engine, and the least confidence."""

    model: Path
    cache: Path | None
    engine: Engine
    threshold: float | None


def answerer(asked: Asked, known: Any, paths: Sequence[Path], workers: int) -> Callable[[Path], Answer]:
    """Return what answers ``paths``, one after the other and in their order; ``known`` is the model, opened already.

    Raises, then and when it is called: ArgumentError, MissingExtraError: an engine that cannot be used.
    ImageDecodeError: an image that cannot be read.
    """
    if workers == 1:
        return _answering(asked, known)
    from sppnet.pipeline import each_answer

    coming = each_answer(partial(_careful, asked), paths, workers=workers)

    def next_answer(_: Path) -> Answer:
        answer = next(coming)
        if isinstance(answer, Bad):
            raise ImageDecodeError(answer.path, answer.reason)
        return answer

    return next_answer


def _careful(asked: Asked) -> Callable[[Path], Answer | Bad]:
    """Return what answers an image in a process of its own: an image that cannot be read ends none of them."""
    answer = _answering(asked, load_model(asked.model, cache_in(asked.cache)))

    def answered(path: Path) -> Answer | Bad:
        try:
            return answer(path)
        except ImageDecodeError as error:
            return Bad(str(error.path), error.reason)

    return answered


def _answering(asked: Asked, known: Any) -> Callable[[Path], Answer]:
    from sppnet.detection.output import ImageDetections, as_dict, classified
    from sppnet.images import read_size

    find: Callable[[Path], Any]
    if known.kind == "classifier":
        predict = known.predict if asked.engine is Engine.TORCH else _by_onnxruntime(known).predict
        return lambda path: classified(path, predict(path))
    if asked.engine is Engine.TORCH:
        find = partial(known.detect, threshold=asked.threshold)
    else:
        find = _by_onnxruntime(known, threshold=asked.threshold).detect
    return lambda path: as_dict(ImageDetections(path, read_size(path), find(path)))


def _by_onnxruntime(known: Any, **options: Any) -> Any:
    import torch

    try:
        from sppnet.export.engine import OnnxClassifier, OnnxDetector
    except ModuleNotFoundError as error:
        advice = "Install it with 'pip install sppnet[export]'"
        raise MissingExtraError(f"--engine onnxruntime: needs {error.name}. {advice}.") from error
    made = OnnxClassifier if known.kind == "classifier" else OnnxDetector
    return made(known, threads=torch.get_num_threads(), **options)


def parts_of(text: str) -> tuple[int, int]:
    """Return the numbers of a part such as 3/10.

    Raises:
        ArgumentError: something else.
    """
    part, _, parts = text.partition("/")
    if part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts):
        return int(part), int(parts)
    raise ArgumentError(f"--shard must be a part of all images such as 3/10, got {text!r}. Count parts from 1.")
