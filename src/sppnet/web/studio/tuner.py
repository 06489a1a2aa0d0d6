"""A process that tunes the network on a studio's labels, with the arguments FOLDER and ENGINE.

In the folder lie the labels as they were when it began and, after each epoch, all that it goes on from; how far it is
goes out as a line of JSON each. It ends when the studio closes the pipe, or is gone, whatever it is doing.
"""

import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from sppnet.data import DetectionData, Sample
from sppnet.errors import ImageDecodeError, SppnetError
from sppnet.export.installed import TORCH, maps_folder
from sppnet.progress import Progress
from sppnet.storage import TensorCache, read_file, write_file
from sppnet.web.shared.priority import LAST, process_gives_way
from sppnet.web.studio.networks import MAPS, maps_of, read_network, write_network

if TYPE_CHECKING:
    from torch import Tensor

    from sppnet.backbones import Backbone
    from sppnet.detection.deep import DeepReport
    from sppnet.detection.detector import Detector

Item = TypeVar("Item")
Tell = Callable[..., None]
Deepen = Callable[["Detector", DetectionData, Path, Progress], "tuple[Detector | None, DeepReport]"]

EVERY: Final = 1.0  # seconds between two words of how far it is
TASK: Final = "task.json"
RESULT: Final = "result.json"  # once it is known whether the tuned network is better
EPOCH: Final = re.compile(r"Tuning, epoch (\d+) of (\d+)(?:, ([\d.]+)% in held-out images)?")


@dataclass(frozen=True)
class Task:
    """What a tuning is of.

    Args:
        network: the file of the tuned network that is in use, beside the task's folder; None for the one that came.
        side: that images are scaled to.
        classes: their names. samples: labelled images, each the arguments of ``Sample`` as JSON has them.
        images: all images of the folder.
    """

    network: str | None
    side: int
    classes: list[str]
    samples: list[dict[str, Any]]
    images: list[str]

    def write(self, folder: Path) -> None:
        """Write it whole or not at all."""
        write_file(folder / TASK, json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> "Task":
        """Read what was written."""
        return cls(**json.loads(read_file(folder / TASK)))

    @property
    def data(self) -> DetectionData:
        """The labelled images."""
        return DetectionData(Path(), tuple(self.classes), tuple(_sample(**each) for each in self.samples), (), "all")


def _sample(
    path: str, boxes: list[Any], labels: list[int], difficult: list[bool], crowd: list[bool], size: list[int]
) -> Sample:
    return Sample(
        Path(path),
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.array(labels, dtype=np.int64),
        np.array(difficult, dtype=np.bool_),
        np.array(crowd, dtype=np.bool_),
        (size[0], size[1]),
    )


def deepened(
    detector: "Detector", data: DetectionData, folder: Path, progress: Progress
) -> "tuple[Detector | None, DeepReport]":
    """Tune for as long as a tuning takes unless told otherwise; an interrupted one goes on."""
    from sppnet.detection.deep import DeepPlan, deepen

    return deepen(detector, data, DeepPlan(folder=folder), progress=progress)


def tune(folder: Path, engine: str, tell: Tell, *, deepen: Deepen = deepened) -> dict[str, Any]:
    """Tune the network on a task's labels and, where it is better, compute the features of all images with it.

    Args:
        folder: of the task. engine: that runs networks in the studio; tuning itself is PyTorch's.
        tell: called with ``text``, ``done``, ``of`` (0 where nobody knows) and the ``seconds`` that are left or None.
    Returns:
        The "file" of the tuned network beside the folder, None where it is not better, and the "report".
    """
    task = Task.read(folder)
    if (folder / RESULT).exists():
        result: dict[str, Any] = json.loads(read_file(folder / RESULT))
    else:
        result = _tuned(task, folder, tell, deepen)
        write_file(folder / RESULT, json.dumps(result))
    if result["file"] is not None:
        _compute_maps(task, folder, read_network(folder.parent, result["file"]), engine, tell)
    return result


def _tuned(task: Task, folder: Path, tell: Tell, deepen: Deepen) -> dict[str, Any]:
    from sppnet.detection.detector import Detector

    network = read_network(folder.parent, task.network)
    cache = _Beside(maps_of(folder.parent, network, task.side), folder / MAPS)
    detector = Detector(cache=cache, short_side=task.side, backbone=network)
    tuned, report = deepen(detector, task.data, folder, _telling(tell))
    file = None if tuned is None else write_network(folder.parent, tuned.model_.encoder.backbone)
    return {"file": file, "report": told_of(report)}


class _Beside(TensorCache):
    """Reads the maps of the network in use; those of a tried one go with the task's folder, if it is not better."""

    def __init__(self, in_use: Path, folder: Path) -> None:
        super().__init__(folder)
        self._in_use = TensorCache(in_use)

    def __contains__(self, key: str) -> bool:
        return key in self._in_use or super().__contains__(key)

    def get(self, key: str) -> "dict[str, Tensor] | None":
        return self._in_use.get(key) or super().get(key)


def told_of(report: "DeepReport") -> str:
    """Say what tuning brought to somebody who knows of no mean average precision, which the figures are."""
    loose, tight = (
        f"{before:.1%} before, {after:.1%} after".replace("%", " %")
        for before, after in zip(report.before, report.after, strict=True)
    )
    found = f"How well objects are found in {report.held_out} images held back: {loose}"
    return f"{found}; where boxes must fit closely: {tight}. (100 %: every object found, nothing false.)"


def _compute_maps(task: Task, folder: Path, network: "Backbone", engine: str, tell: Tell) -> None:
    from sppnet.detection.detector import Detector
    from sppnet.export.engine import network_by

    maps = maps_of(folder.parent, network, task.side)
    if engine == TORCH and not maps.exists():
        with suppress(OSError):  # those of the labelled images are there already
            (folder / MAPS).rename(maps)
    cache = TensorCache(maps_folder(maps, engine))
    detector = Detector(cache=cache, short_side=task.side, backbone=network_by(network, engine))
    for image in _each(tell, "It is better: computing the features of all images", task.images, _Pace()):
        try:
            detector.prepare_image(Path(image))
        except ImageDecodeError:
            continue  # gone, or not readable: the studio tells of it
        if cache.refused is not None:
            raise cache.refused


class _Pace:
    """How long things take, from the second one on: the first pays for compiling."""

    def __init__(self) -> None:
        self._since: tuple[int, float] | None = None

    def left(self, done: int, of: int) -> float | None:
        """Return the seconds that the rest takes at this pace; None as long as it is not known."""
        if self._since is None and done:
            self._since = done, perf_counter()
        if self._since is None or done == self._since[0]:
            return None
        return (perf_counter() - self._since[1]) / (done - self._since[0]) * (of - done)


def _telling(tell: Tell) -> Progress:
    """Tell of the epochs with the figure that they bring, of all before and after them in a few words."""
    text, pace = "Getting ready", _Pace()

    def progress(name: str, items: Sequence[Item], /) -> Iterable[Item]:
        nonlocal text
        if (epoch := EPOCH.match(name)) is None:
            tell(text=text, done=0, of=0, seconds=None)
            return items
        text = "Looking whether it is better"
        number, epochs = int(epoch[1]), int(epoch[2])
        found = f". How well objects are found so far: {epoch[3]} %" if epoch[3] else ""
        return _each(
            tell,
            f"Tuning, round {number} of {epochs}{found}",
            items,
            pace,
            before=(number - 1) * len(items),
            of=epochs * len(items),
        )

    return progress


def _each(
    tell: Tell, text: str, items: Sequence[Item], pace: _Pace, *, before: int = 0, of: int | None = None
) -> Iterable[Item]:
    """Yield items, telling every now and then how far it is with all, of which some came ``before`` these."""
    last, of = 0.0, len(items) if of is None else of
    for done, item in enumerate(items, start=before):
        seconds = pace.left(done, of)
        if perf_counter() - last >= EVERY:
            last = perf_counter()
            tell(text=text, done=done, of=of, seconds=seconds)
        yield item


def main(deepen: Deepen = deepened) -> None:
    """Tune, telling of it on the standard output, until the pipe closes."""
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not end up among it
    process_gives_way(LAST)
    threading.Thread(target=_end_with_the_studio, daemon=True).start()

    def tell(**content: Any) -> None:
        print(json.dumps(content), file=told, flush=True)

    try:
        tell(result=tune(Path(sys.argv[1]), sys.argv[2], tell, deepen=deepen))
    except BrokenPipeError:
        os._exit(0)  # the studio is gone, and nothing here needs closing
    except (SppnetError, OSError) as error:
        tell(error=str(error))


def _end_with_the_studio() -> None:
    """End this process once nobody holds the other end of the pipe, whatever it is doing.

    Read past ``sys.stdin``: Python aborts where a thread holds that as the process ends by a fault.
    """
    while os.read(0, 1):
        pass
    os._exit(0)
