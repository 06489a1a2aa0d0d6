"""The network tuned on the labels, in a process of its own, while the studio goes on; better, it takes its place.

One tuning at a time, whoever asked for it. What it learns from are the labels as they were when it began, kept with all
that it goes on from in a folder of its own: stopped, or ended with the studio, it goes on when it is asked to.
"""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Final, Literal

from sppnet.errors import DataError, SppnetError, places_of
from sppnet.web.studio.learner import StudioLearner
from sppnet.web.studio.networks import SETTING, in_use, read_network, remove_networks
from sppnet.web.studio.relearning import relearn
from sppnet.web.studio.store import Box, StoredImage
from sppnet.web.studio.tuner import TASK, Task

FEWEST: Final = 10  # images with objects, from which on tuning is tried: ``detection.deep.FEWEST``
MINUTES: Final = 15  # that it takes, about: ``DeepPlan.minutes``
FOLDER: Final = "tuning"
COMMAND: Final = (sys.executable, "-c", "from sppnet.web.studio.tuner import main; main()")
PRINTED: Final = "printed.txt"  # what the process printed, which tells why it ended if it should not have
SHOWN: Final = 300  # characters of it
OFTEN: Final = 1.0  # seconds between two words of how far it is

Wish = Literal["begin", "go on", "stop", "as it came"]


@dataclass(frozen=True)
class _Now:
    """What goes on: ``of`` is 0 where nobody knows, ``seconds`` None."""

    text: str
    done: int = 0
    of: int = 0
    seconds: float | None = None


class _Stopped(Exception):  # noqa: N818 (somebody wished it)
    pass


class Tuning:
    """Tunes the network of an open folder.

    Args:
        learner: goes on with the tuned network.
        engine: that runs networks.
        tell: called from any thread whenever ``status`` changes.
    """

    def __init__(self, learner: StudioLearner, *, engine: str, tell: Callable[[], None]) -> None:
        self.learner, self.store, self.hidden = learner, learner.store, learner.folder.hidden
        self.folder = self.hidden / FOLDER
        self._engine, self._tell = engine, tell
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[str] | None = None
        self._now: _Now | None = None  # None while nothing goes on
        self._told_at = 0.0
        self._stops = False
        self._said, self._failed = "", False

    def status(self) -> dict[str, Any]:
        """Return what the page shows of it."""
        tuned, now = in_use(self.store), self._now
        waits = (self.folder / TASK).exists()
        return {
            "state": "idle" if now is None and not waits else "stopped" if now is None else "running",
            **asdict(now or _Now("")),
            "said": self._said,
            "failed": self._failed,
            "report": tuned and tuned["report"],
            "fewest": FEWEST,
            "minutes": MINUTES,
        }

    def do(self, wish: Wish) -> dict[str, Any]:
        """Do what somebody wished: begin with the labels as they are now, go on, stop, or go back to the first network.

        Where one goes on, another is not begun.

        Raises:
            DataError: there is nothing to begin with, or to go on with.
        """
        with self._lock:
            if wish == "stop":
                self._stop()
            elif self._now is None:
                {"begin": self._begin, "go on": self._go_on, "as it came": self._go_back}[wish]()
        return self.status()

    def close(self) -> None:
        """Stop, and wait until it has."""
        with self._lock:
            self._stop()
        if self._thread is not None:
            self._thread.join()

    def _stop(self) -> None:
        self._stops = True
        if self._process is not None:
            self._process.kill()  # whatever it writes is whole or not there

    def _begin(self) -> None:
        task = self._task()
        self._forget()
        task.write(self.folder)
        self._start(self._tune)

    def _go_on(self) -> None:
        if not (self.folder / TASK).exists():
            raise DataError("studio: there must be a tuning to go on with, got none. Press 'Tune the network'.")
        self._start(self._tune)

    def _go_back(self) -> None:
        if in_use(self.store) is None:
            raise DataError(
                "studio: a tuned network must be in use, got the one that came. There is nothing to go back from."
            )
        self._forget()
        self._start(self._come_back)

    def _forget(self) -> None:
        """Remove what an earlier tuning left, which could have been gone on with."""
        shutil.rmtree(self.folder, ignore_errors=True)
        tuned = in_use(self.store)
        remove_networks(self.hidden, *([tuned["file"]] if tuned else []))

    # What is learnt from

    def _task(self) -> Task:
        """Return the complete images as they are now: those with objects first, so that some of them are held back."""
        boxes: dict[int, list[Box]] = {}
        for box in self.store.boxes():
            if box.kind == "object":
                boxes.setdefault(box.image, []).append(box)
        here, faults = self.learner.images, self.learner.faults
        complete = [each for each in self.store.images() if each.complete and each.id in here and each.id not in faults]
        images = sorted(complete, key=lambda image: (image.id not in boxes, image.id))
        enough = sum(image.id in boxes for image in images)
        if enough < FEWEST:
            what = f"{FEWEST} images must be complete and hold objects, got {enough}"
            raise DataError(f"studio: {what}. Complete some more: their labels are what it learns from.")
        used = {box.label for image in images for box in boxes.get(image.id, [])}
        classes = [each for each in self.store.classes() if each.id in used]
        ids = [each.id for each in classes]
        tuned = in_use(self.store)
        return Task(
            tuned["file"] if tuned else None,
            self.learner.short_side,
            [each.name for each in classes],
            [self._sample(image, boxes.get(image.id, []), ids) for image in images],
            [str(self.learner.folder.path(each.name)) for each in here.values() if each.id not in faults],
        )

    def _sample(self, image: StoredImage, boxes: Sequence[Box], ids: Sequence[int]) -> dict[str, Any]:
        return {
            "path": str(self.learner.folder.path(image.name)),
            "boxes": [box.edges for box in boxes],
            "labels": [ids.index(box.label) for box in boxes],
            "difficult": [box.difficult for box in boxes],
            "crowd": [box.crowd for box in boxes],
            "size": [image.height, image.width],
        }

    # What goes on, in a thread of its own

    def _start(self, work: Callable[[], None]) -> None:
        self._stops, self._said, self._failed = False, "", False
        self._show(_Now("Getting ready"))
        self._thread = threading.Thread(target=self._work, args=[work], daemon=True)
        self._thread.start()

    def _work(self, work: Callable[[], None]) -> None:
        try:
            work()
        except _Stopped:
            pass
        except Exception as error:  # told, whatever it ran into
            if not isinstance(error, SppnetError | OSError):
                logging.getLogger(__name__).error("the studio's tuning: %s", places_of(error))
            self._said, self._failed = f"{error or type(error).__name__}", True
        self._show(None)

    def _show(self, now: _Now | None) -> None:
        same = now is not None and self._now is not None and now.text == self._now.text
        self._now = now
        if not same or perf_counter() - self._told_at >= OFTEN:
            self._told_at = perf_counter()
            self._tell()

    def _tune(self) -> None:
        result = self._result()
        if result["file"] is not None:
            self._swap(result["file"], result["report"])
            self._said = f"The tuned network is better, and in use now. {result['report']}"
        else:
            needed = "To be used it has to gain in one of these and lose in neither."
            self._said = f"The tuned network is not better, so nothing has changed. {result['report']} {needed}"
        self._forget()

    def _come_back(self) -> None:
        self._swap(None, "")
        self._said = "The network as it came is in use again."
        self._forget()

    def _result(self) -> dict[str, Any]:
        """Have the process tune, and return what came of it."""
        printed = self.folder / PRINTED
        with printed.open("wb") as errors, self._started(errors.fileno()) as process:
            for line in process.stdout or ():
                told = json.loads(line)
                if "result" in told:
                    return dict(told["result"])
                if "error" in told:
                    raise DataError(f"{told['error']} Nothing has changed.")
                self._show(_Now(**told))
        if self._stops:
            raise _Stopped
        last = printed.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        ended = f"The tuning ended by itself ({_cause(process.returncode)}), and nothing has changed."
        raise DataError(" ".join([ended, "'Go on' tries again from where it was.", *(each[:SHOWN] for each in last)]))

    def _started(self, errors: int) -> subprocess.Popen[str]:
        with self._lock:
            if self._stops:
                raise _Stopped
            self._process = subprocess.Popen(
                [*COMMAND, str(self.folder), self._engine],
                stdin=subprocess.PIPE,  # which nobody writes to: closed, it tells that the studio is gone
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
                env=os.environ | {"OMP_WAIT_POLICY": "passive"},  # threads that spin would take the studio's cores
                start_new_session=True,  # Ctrl-C is for the studio, which ends this
            )
            return self._process

    def _swap(self, file: str | None, report: str) -> None:
        """Have the learner go on with a network, None the first one, and keep for the next opening that it does."""
        from sppnet.export.engine import network_by

        def told(text: str, done: int, of: int) -> None:
            if self._stops:
                raise _Stopped
            self._show(_Now(text, done, of))

        relearn(self.learner, network_by(read_network(self.hidden, file), self._engine), told)
        self.store.keep(SETTING, None if file is None else {"file": file, "report": report})


def _cause(code: int) -> str:
    """Say why a process ended, by its exit code."""
    if code == -getattr(signal, "SIGKILL", 9):
        return "it was killed, as happens where memory runs out"
    return f"signal {-code}" if code < 0 else f"code {code}"
