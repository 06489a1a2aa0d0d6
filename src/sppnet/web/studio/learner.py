"""What goes on behind the page: features are computed, a detector learns after each change, and looks at all images.

Two threads. One computes features, the image on the screen first. The other does what matters most now: learn,
look at the image on the screen, look at the others, measure; a change makes it learn again as soon as it can.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, TypeVar

import numpy as np

from sppnet.detection.detections import Detections
from sppnet.detection.detector import Detector
from sppnet.detection.examples import ImageLabels
from sppnet.detection.ordering import suggest_order
from sppnet.errors import SppnetError
from sppnet.evaluation.matching import Judged
from sppnet.features.scene import Scene
from sppnet.storage import TensorCache
from sppnet.web.studio.folder import Folder
from sppnet.web.studio.store import Box, Store, StoredImage

Item = TypeVar("Item")
Tell = Callable[[str, dict[str, Any]], None]

SWEEP: Final = 8  # images looked at between two orders of what to label next


@dataclass(frozen=True)
class LookedAt:
    """What one detector, the ``round``-th, found in an image; ``ids`` are its classes in the store."""

    detections: Detections
    ids: tuple[int, ...]
    round: int


class _Superseded(Exception):  # noqa: N818 (no fault: what is measured has changed)
    pass


class Learner:
    """Learns from a store, and tells what came of it.

    Args:
        store, folder: the labels and the images.
        short_side: images are scaled to this shorter side.
        tell: called from the threads with the name of an event: "prepared", "learning", "learnt", "looked", "order",
            "measured", "failed".
    """

    def __init__(self, store: Store, folder: Folder, *, short_side: int, tell: Tell) -> None:
        self.store, self.folder, self.tell = store, folder, tell
        self._estimator = Detector(cache=TensorCache(folder.hidden / "features"), short_side=short_side)
        self.images = {each.id: each for each in store.images() if each.name in set(folder.names)}
        self.faults = {each.id: each.fault for each in self.images.values() if each.fault}
        self.ready: set[int] = set()
        self.found: dict[int, LookedAt] = {}
        self.order: list[int] = []
        self.judged: Judged | None = None
        self.round, self.seconds, self.learning, self.reason = 0, 0.0, False, ""
        self.detector: Detector | None = None
        self._ids: tuple[int, ...] = ()  # of the detector's classes
        self._dirty = {box.image for box in store.boxes()} & set(self.images)
        self._asked, self._measure = bool(self._dirty), False
        self._focus: int | None = None
        self._looked = 0
        self._stopped = False
        self._now = threading.Condition()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._prepare_all, self._work)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, after the piece of work that each thread is at."""
        with self._now:
            self._stopped = True
            self._now.notify_all()
        for thread in self._threads:
            thread.join()

    # Being told, from any thread

    def changed(self, images: Iterable[int], *, teach: bool) -> None:
        """Learn of changed labels: at once if ``learn_head``, otherwise when asked."""
        with self._now:
            self._dirty |= set(images) & set(self.images)
            self._asked |= teach
            self._now.notify_all()

    def ask(self, *, measure: bool = False) -> None:
        """Learn now, or measure the detector as soon as there is nothing more urgent."""
        with self._now:
            self._asked |= not measure
            self._measure |= measure
            self._now.notify_all()

    def look_at(self, image: int) -> None:
        """Do what concerns this image first from now on."""
        with self._now:
            self._focus = image
            self._now.notify_all()

    @property
    def behind(self) -> bool:
        """Whether labels changed since the detector learnt."""
        return bool(self._dirty)

    # The first thread

    def _prepare_all(self) -> None:
        while (image := self._next_to_prepare()) is not None:
            fault = ""
            try:
                self._estimator.prepare_image(self.folder.path(image.name))
            except (SppnetError, OSError, MemoryError) as error:
                fault = str(error) or type(error).__name__
            with self._now:
                if fault:
                    self.faults[image.id] = fault
                else:
                    self.ready.add(image.id)
                self._now.notify_all()
            self.tell("prepared", {"image": image.id})

    def _next_to_prepare(self) -> StoredImage | None:
        with self._now:
            # Two cores: while a person waits for an answer, it gets both.
            self._now.wait_for(lambda: self._stopped or not self.learning)
            missing = [key for key in self.images if key not in self.ready and key not in self.faults]
            if self._stopped or not missing:
                return None
            urgent = [key for key in missing if key == self._focus] or [key for key in missing if key in self._dirty]
            return self.images[(urgent or missing)[0]]

    # The second thread

    def _work(self) -> None:
        while True:
            with self._now:
                self._now.wait_for(lambda: self._stopped or self._next() is not None)
                if self._stopped:
                    return
                work = self._next()
            try:
                if work is not None:
                    work()
            except Exception as error:  # the thread goes on, whatever one piece of work ran into
                if not isinstance(error, SppnetError):
                    logging.getLogger(__name__).exception("the studio's learner")
                self.reason = str(error) or type(error).__name__
                self.tell("failed", {})

    def _next(self) -> Callable[[], None] | None:
        """Return the most urgent work, None while there is none."""
        if self._asked and self._dirty <= self.ready | set(self.faults):
            return self._learn
        if self.detector is None:
            return None
        stale = [key for key in self.ready if key not in self.found or self.found[key].round < self.round]
        if stale:
            first = self._focus if self._focus in stale else min(stale, key=self._age)
            return lambda: self._look(first)
        return self._validate if self._measure and not self._asked else None

    def _age(self, image: int) -> tuple[int, int]:
        found = self.found.get(image)
        return (found.round if found else -1), image

    def _learn(self) -> None:
        with self._now:
            dirty, self._dirty, self._asked, self.learning, self.reason = self._dirty, set(), False, True, ""
            focus = self._focus
        self.tell("learning", {})
        start = perf_counter()
        try:
            self._take_in(dirty - set(self.faults))
            self._learn_classes()
            dirty = set()
            self.seconds = perf_counter() - start
            if focus in self.ready and self.detector is not None and focus is not None:
                self._look(focus)
        finally:
            with self._now:
                self._dirty |= dirty  # of what failed
                self.learning = False
                self._now.notify_all()
        self.tell("learnt", {})

    def _take_in(self, dirty: Iterable[int]) -> None:
        names = {each.id: each.name for each in self.store.classes()}
        for key in sorted(dirty):
            image, boxes = self.store.image(key), self.store.boxes(key)
            labels = labels_of(image, boxes, names)
            known = len(labels.boxes) or len(labels.rejected) or labels.complete
            self._estimator.update(self.folder.path(image.name), labels if known else None)

    def _learn_classes(self) -> None:
        classes = self.store.classes()
        boxed = {box.label for box in self.store.boxes() if box.kind == "object" and box.image in self.images}
        names, ids = tuple(each.name for each in classes), tuple(each.id for each in classes)
        if not boxed:
            self.detector, self.found, self.order, self._ids = None, {}, [], ()
            return
        self._estimator.learn(names)
        if ids != self._ids:
            self.found = {}
        self.detector, self._ids, self.judged, self.round = self._estimator, ids, None, self.round + 1

    def _look(self, key: int) -> None:
        if self.detector is None:
            return
        try:
            model = self.detector.model_
            detections = model.detect(Scene(self.folder.path(self.images[key].name), model.encoder), threshold=0)
        except (SppnetError, OSError) as error:
            with self._now:
                self.ready.discard(key)
                self.faults[key] = str(error)
            self.tell("prepared", {"image": key})
            return
        self.found[key] = LookedAt(detections, self._ids, self.round)
        self.tell("looked", {"image": key})
        self._looked += 1
        current = all(key in self.found and self.found[key].round == self.round for key in list(self.ready))
        if current or self._looked % SWEEP == 0:
            self._suggest_order()

    def _suggest_order(self) -> None:
        if self.detector is None:
            return
        said = {box.image for box in self.store.boxes()} | {each.id for each in self.store.images() if each.complete}
        found = {key: each.detections for key, each in self.found.items() if key in self.images}
        self.order = [key for key in suggest_order(found, self.detector.thresholds_) if key not in said]
        self.tell("order", {"order": self.order})

    def _validate(self) -> None:
        with self._now:
            self._measure = False
        if self.detector is None:
            return
        try:
            self.judged = self.detector.calibrate(progress=self._while_current)
        except _Superseded:
            with self._now:
                self._measure = True
            return
        self.tell("measured", {})

    def _while_current(self, name: str, items: Sequence[Item], /) -> Iterable[Item]:  # noqa: ARG002
        for item in items:
            if self._asked or self._stopped:
                raise _Superseded
            yield item


def labels_of(image: StoredImage, boxes: Sequence[Box], names: dict[int, str]) -> ImageLabels:
    """Return what a person said of one image, to learn from.

    A box around a crowd shows no one object: it is left out, and what is left of the image is not known to be
    background.
    """
    objects = [box for box in boxes if box.kind == "object" and not box.crowd]
    rejected = [box for box in boxes if box.kind == "rejected"]
    return ImageLabels(
        np.array([box.edges for box in objects]).reshape(-1, 4),
        tuple(names[box.label] for box in objects),
        rejected=np.array([box.edges for box in rejected]).reshape(-1, 4),
        rejected_classes=tuple(names[box.label] for box in rejected),
        complete=image.complete and not any(box.crowd for box in boxes),
    )
