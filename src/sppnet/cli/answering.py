"""What answers an image: a model by one of the engines, in this process, in several, or on a cluster."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from sppnet.cli.many import Place, name_of
from sppnet.cli.options import Engine, cache_in, load_model
from sppnet.errors import ImageDecodeError
from sppnet.pipeline import Bad


class Asked(NamedTuple):
    """What each process opens: the model's file, the place of its cache, engine, device and the least confidence."""

    model: Path
    cache: str | None
    engine: Engine
    device: str
    threshold: float | None

    def open(self) -> Any:
        """Open the model."""
        return load_model(self.model, cache_in(self.cache, self.engine), self.device, self.engine)

    def run(self) -> dict[str, Any]:
        """Return what answers depend on: those of another model, threshold or engine are not gone on with."""
        status = self.model.stat()
        made_by = {"model": str(self.model.resolve()), "size": status.st_size, "time": status.st_mtime_ns}
        return made_by | {"threshold": self.threshold, "engine": self.engine.value}


def careful(answer: Callable[[Place], Any]) -> Callable[[Place], Any]:
    """Return the same work on one image, which answers ``Bad`` for one that cannot be read: it ends nothing."""

    def answered(image: Place) -> Any:
        try:
            return answer(image)
        except ImageDecodeError as error:
            return Bad(str(image), error.reason)

    return answered


def model_answers(asked: Asked, known: Any = None) -> Callable[[Place], Any]:
    """Return the work on one image: what the model, opened already perhaps, answers, for JSON; or ``Bad``.

    Raises:
        ArgumentError, MissingExtraError: an engine that cannot be used.
    """
    from sppnet.detection.output import as_dict, classified
    from sppnet.images import read_size

    model = asked.open() if known is None else known
    if model.kind == "classifier":
        return careful(lambda image: classified(image, model.predict(source_of(image))))

    def answer(image: Place) -> dict[str, Any]:
        source = source_of(image)
        return as_dict(image, read_size(source), model.detect(source, threshold=asked.threshold, name=name_of(image)))

    return careful(answer)


def source_of(image: Place) -> Path | bytes:
    """Return what an image is read from: a path, or all bytes of a file in object storage, fetched once."""
    from sppnet.images import read_bytes

    return image if isinstance(image, Path) else read_bytes(image)


def travelling(asked: Asked) -> Callable[[], Callable[[Place], Any]]:
    """Return ``model_answers`` for other machines: the model's file travels along."""
    return partial(_arrived, asked, asked.model.read_bytes())


def _arrived(asked: Asked, content: bytes) -> Callable[[Place], Any]:
    with TemporaryDirectory() as folder:
        model = Path(folder) / asked.model.name
        model.write_bytes(content)
        return model_answers(asked, asked._replace(model=model).open())
