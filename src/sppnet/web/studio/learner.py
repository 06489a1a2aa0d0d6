"""What goes on behind the page: features are computed, a detector learns after each change, and looks at all images.

Two threads. One computes features, the image on the screen first. The other does what matters most now: learn, look at
the image on the screen, find out how sure the detector may be, look at the others; a change makes it learn again as
soon as it can.

What learns is imported by these threads: torch takes seconds, and the page is there before.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import numpy as np

from sppnet.detection.detections import Detections
from sppnet.detection.ordering import usefulness
from sppnet.errors import SppnetError, places_of
from sppnet.evaluation.matching import Judged
from sppnet.export.installed import maps_folder
from sppnet.storage import TensorCache
from sppnet.web.shared.priority import thread_gives_way
from sppnet.web.studio.folder import Folder
from sppnet.web.studio.networks import maps_of, network_in_use
from sppnet.web.studio.relearning import Relearnt
from sppnet.web.studio.said import labels_of, said_of, side_for
from sppnet.web.studio.store import Store, StoredImage
from sppnet.web.studio.suggestions import LookedAt, Suggestions

if TYPE_CHECKING:
    from sppnet.backbones import Backbone
    from sppnet.detection.detector import Detector
    from sppnet.features.encoder import Encoder
    from sppnet.features.maps import FeatureMap

Item = TypeVar("Item")
Tell = Callable[[str, dict[str, Any]], None]

ORDER_EVERY: Final = 2.0  # seconds between two orders of what to label next
PAGE_FIRST: Final = 2.0  # seconds that a page has to open before torch, which takes as long, is imported beside it
REST: Final = 5.0  # seconds without a change or work, after which memory can be given back: nobody waits for it
PAUSE: Final = 1.5  # seconds without a change after which a person waits for nothing: time to measure
TWICE: Final = 2  # so many times the labelled images, and what images are scaled to is chosen again
ANOTHER: Final = 1.2  # times larger or smaller, and it changes: all features are then computed again
GROWTH: Final = 1.2  # measured again by itself when so many times the images are labelled
RIGHT_MOSTLY: Final = 0.6  # precision on held-out images from which on a class's suggestions are trusted
ENOUGH: Final = 5  # right detections on held-out images, without which precision says little
UNKNOWN_THRESHOLD: Final = 0.5


class _Superseded(Exception):  # noqa: N818 (no fault: what is measured has changed)
    pass


class StudioLearner:
    """Learns from a store, and tells what came of it.

    Args:
        store, folder: the labels and the images.
        engine: that runs the network.
        tell: called from the threads with the name of an event: "prepared", "learning", "scaled", "learnt", "looked",
            "order", "measured", "failed", "network lost".
    """

    def __init__(self, store: Store, folder: Folder, *, engine: str, tell: Tell) -> None:
        self.store, self.folder, self.tell = store, folder, tell
        self._engine = engine
        stored = store.images()
        self.images = {each.id: each for each in stored if each.name in folder.files}
        self.faults = {each.id: each.fault for each in self.images.values() if each.fault}
        self.ready: set[int] = set()
        self._missing = dict.fromkeys(key for key in self.images if key not in self.faults)  # in their order
        self.found: dict[int, LookedAt] = {}
        self.held_out: dict[int, Suggestions] = {}  # by detectors that had not learnt from the image
        self.order: list[int] = []
        self.judged: Judged | None = None
        self.round, self.seconds, self.learning, self.reason = 0, 0.0, False, ""
        self.detector: Detector | None = None
        self.thresholds: dict[int, float] = {}  # by class: the confidence of best F1 on held-out images
        self.trusted: tuple[int, ...] = ()  # classes whose suggestions are right mostly
        self.curve: list[tuple[int, float]] = store.setting("curve", [])  # labelled images and F1, at each measuring
        self._ids: tuple[int, ...] = ()  # of the detector's classes
        self._learnt_from: set[int] = set()  # images that the detector knows something of
        told = {box.image for box in store.boxes()} | {each.id for each in stored if each.complete}
        self._dirty = told & set(self.images)
        self._asked, self._measure, self._mine_again = bool(self._dirty), False, False
        self._focus: int | None = None
        self._in_turn: deque[int] = deque()  # images to look at
        self._changed_at, self._ordered_at = 0.0, 0.0
        self._idle = False
        self.short_side: int = store.setting("short_side", None) or side_for(self.store, self.images.values())
        store.keep("short_side", self.short_side)  # as it decides what the cache holds
        self._scaled_of = 0  # labelled images, when the scale was chosen last
        self._measured_of = 0  # labelled images, when it was measured last
        self._stopped = False
        self._handed: Relearnt | None = None  # what is to be gone on with
        self._now, self._begins = threading.Condition(), threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._prepare_all, self._work)]

    def start(self) -> None:
        """Begin, as soon as a page has opened an image or changed something, or none does."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, after the piece of work that each thread is at."""
        with self._now:
            self._stopped = True
            self._now.notify_all()
        self._begins.set()
        for thread in self._threads:
            thread.join()

    @cached_property
    def _network(self) -> "Backbone":
        from sppnet.export.engine import network_by

        network, problem = network_in_use(self.folder.hidden, self.store)
        if problem:
            self.tell("network lost", {"problem": problem})
        return network_by(network, self._engine)

    @cached_property
    def _estimator(self) -> "Detector":
        return self.unlearnt(self._network)

    def unlearnt(self, network: "Backbone") -> "Detector":
        """Return a detector on a network that has learnt nothing; it scales images and keeps maps as is done now."""
        from sppnet.detection.detector import Detector

        cache = TensorCache(maps_folder(maps_of(self.folder.hidden, network, self.short_side), self._engine))
        return Detector(cache=cache, short_side=self.short_side, backbone=network)

    @cached_property
    def _likeness(self) -> "Encoder":
        from sppnet.detection.likeness import likeness_layer
        from sppnet.features.encoder import Encoder

        layer = likeness_layer(self._network)
        return Encoder(layer, self.short_side, cache=self._estimator.cache, backbone=self._network)

    def map_of(self, image: int) -> "FeatureMap | None":
        """Return the map by which an image is compared with others; None as long as it is not computed."""
        return self._likeness.cached(self.folder.path(self.images[image].name)) if image in self.ready else None

    # Being told, from any thread

    def changed(self, images: Iterable[int], *, teach: bool) -> None:
        """Learn of changed labels: at once if ``teach``, otherwise when asked."""
        with self._now:
            self._dirty |= set(images) & set(self.images)
            self._asked |= teach
            self._changed_at = perf_counter()
            self._now.notify_all()
        self._begins.set()

    def notice(self, images: Iterable[StoredImage], changed: Iterable[int]) -> None:
        """Take in which images the folder holds now; features of those that changed are computed again."""
        with self._now:
            here = {each.id: each for each in images}
            for key in {*changed, *self.images} - (here.keys() - set(changed)):
                self.ready.discard(key)
                for table in (self.faults, self.found, self.held_out, self._missing):
                    table.pop(key, None)
            again = [each for key, each in here.items() if key not in self.images or key in set(changed)]
            gone = self._learnt_from - here.keys()
            self._dirty = {*(self._dirty & here.keys()), *(each.id for each in again), *gone}
            self.order = [key for key in self.order if key in here]
            self.images = here
            self.faults |= {each.id: each.fault for each in again if each.fault}
            self._missing |= dict.fromkeys(each.id for each in again if not each.fault)
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
        self._begins.set()

    @property
    def behind(self) -> bool:
        """Whether labels changed since the detector learnt."""
        return bool(self._dirty)

    @property
    def rests(self) -> bool:
        """Whether there is nothing to compute, to learn or to look at, and was nothing said for a while."""
        return self._idle and not self._missing and perf_counter() - self._changed_at > REST

    # Another network

    def give_way(self) -> None:
        """Wait while somebody waits for an answer: it gets all cores. For work that nobody waits for."""
        with self._now:
            self._now.wait_for(lambda: self._stopped or not self.learning)

    def take(self, relearnt: Relearnt) -> bool:
        """Go on with what learnt the same labels on another network; no, where it has become of no use.

        Suggestions stay until there are new ones. What was said since is learnt too, and features that are missing
        are computed. Waits until it is done.
        """
        with self._now:
            self._handed = relearnt
            self._now.notify_all()
            self._now.wait_for(lambda: self._handed is None or self._stopped)
            return self._network is relearnt.network

    # The first thread

    def _prepare_all(self) -> None:
        thread_gives_way()
        self._begins.wait(PAGE_FIRST)
        while (image := self._next_to_prepare()) is not None:
            fault, estimator = "", self._estimator
            try:
                estimator.prepare_image(self.folder.path(image.name))
            except Exception as error:  # the thread goes on with the others, whatever this image ran into
                if not isinstance(error, SppnetError | OSError | MemoryError):
                    logging.getLogger(__name__).error("the studio's features: %s", places_of(error))
                fault = str(error) or type(error).__name__
            with self._now:
                if image.id not in self.images:
                    continue
                if estimator is not self._estimator:  # another scale or network since: to be computed again
                    self._missing.setdefault(image.id)
                    continue
                if fault:
                    self.faults[image.id] = fault
                else:
                    self.ready.add(image.id)
                self._now.notify_all()
            self.tell("prepared", {"image": image.id})

    def _next_to_prepare(self) -> StoredImage | None:
        with self._now:
            # Two cores: while a person waits for an answer, it gets both.
            self._now.wait_for(lambda: self._stopped or (self._missing and not self.learning))
            if self._stopped:
                return None
            urgent = [self._focus] if self._focus in self._missing else self._dirty & self._missing.keys()
            key = next(iter(urgent or self._missing))
            del self._missing[key]
            return self.images[key]

    # The second thread

    def _work(self) -> None:
        self._begins.wait(PAGE_FIRST)
        while True:
            work = self._wait_for_work()
            if work is None:
                return
            try:
                work()
            except Exception as error:  # the thread goes on, whatever one piece of work ran into
                if not isinstance(error, SppnetError):
                    logging.getLogger(__name__).error("the studio's learner: %s", places_of(error))
                self.reason = str(error) or type(error).__name__
                self.tell("failed", {})

    def _wait_for_work(self) -> Callable[[], None] | None:
        with self._now:
            while not self._stopped:
                work = self._next()
                self._idle = work is None and not self.measuring
                if work is not None:
                    return work
                self._now.wait(PAUSE if self.measuring else None)
        return None

    def _next(self) -> Callable[[], None] | None:
        """Return the most urgent work, None while there is none."""
        if self._handed is not None:
            return self._take_over
        if self._asked and all(key in self.ready or key in self.faults for key in self._dirty & self.images.keys()):
            return self._learn
        if self.detector is None:
            return None
        if self._focus is not None and self._is_stale(self._focus):
            return partial(self._look, self._focus)
        if self._mine_again and not self._asked:
            return self._mine
        if (self._measure and not self._asked) or (self.measuring and self._is_pause()):
            return self._validate
        return None if (key := self._next_to_look_at()) is None else partial(self._look, key)

    def _is_stale(self, image: int) -> bool:
        return image in self.ready and (image not in self.found or self.found[image].round < self.round)

    def _next_to_look_at(self) -> int | None:
        """Return the stale image that was looked at longest ago; all are sorted at once, for many looks."""
        while self._in_turn and not self._is_stale(self._in_turn[0]):
            self._in_turn.popleft()
        if not self._in_turn:
            stale = filter(self._is_stale, self.ready)
            ages = {key: self.found[key].round if key in self.found else -1 for key in stale}
            self._in_turn.extend(sorted(ages, key=lambda key: (ages[key], key)))
        return next(iter(self._in_turn), None)

    @property
    def measuring(self) -> bool:
        """Whether so much was labelled since the last measuring that it is due, or under way."""
        return self.detector is not None and len(self._learnt_from) >= max(2, GROWTH * self._measured_of)

    def _is_pause(self) -> bool:
        return perf_counter() - self._changed_at >= PAUSE

    def _learn(self) -> None:
        with self._now:
            dirty, self._dirty, self._asked, self.learning, self.reason = self._dirty, set(), False, True, ""
            focus = self._focus
        self.tell("learning", {})
        start = perf_counter()
        try:
            self._take_in(dirty - set(self.faults))
            scaled = self._scaled_otherwise()
            if not scaled:
                self._learn_classes()
                dirty, self._mine_again = set(), True
                self.seconds = perf_counter() - start
                self._look(focus)
        finally:
            with self._now:
                self._dirty |= dirty  # of what failed
                self.learning = False
                self._now.notify_all()
        self.tell("scaled" if scaled else "learnt", {})

    def _mine(self) -> None:
        self._mine_again = False
        if self.detector is not None:
            self.detector.mine_again()

    def _take_in(self, dirty: Iterable[int]) -> None:
        names = {each.id: each.name for each in self.store.classes()}
        for key in sorted(dirty):
            image, boxes = self.images.get(key), self.store.boxes(key)
            complete = image is not None and self.store.image(key).complete
            if image is not None and (boxes or complete):
                labels = labels_of(boxes, names, complete=complete)
                self._estimator.update(self.folder.path(image.name), labels, key=key)
                self._learnt_from.add(key)
            elif key in self._learnt_from:
                self._estimator.update(b"", None, key=key)
                self._learnt_from.discard(key)

    def _scaled_otherwise(self) -> bool:
        """Scale images to another size, where the objects by now call for it: all features are then computed anew.

        What was found stays until then, and images with labels come first.
        """
        if len(self._learnt_from) < TWICE * self._scaled_of:
            return False
        self._scaled_of = len(self._learnt_from)
        wanted = side_for(self.store, self.images.values())
        if max(wanted, self.short_side) < ANOTHER * min(wanted, self.short_side):
            return False
        self.short_side = wanted
        self.store.keep("short_side", wanted)
        with self._now:
            self._estimator = self.unlearnt(self._network)
            vars(self).pop("_likeness", None)  # made when asked for, of the new scale
            self._dirty |= self._learnt_from
            self._learnt_from, self.ready, self._asked = set(), set(), True
            self._missing = dict.fromkeys(key for key in self.images if key not in self.faults)
        return True

    def _learn_classes(self) -> None:
        classes = self.store.classes()
        boxed = {label for image, label, kind, _ in self.store.counts() if kind == "object" and image in self.images}
        names, ids = tuple(each.name for each in classes), tuple(each.id for each in classes)
        if not boxed:
            self.detector, self.found, self.order, self._ids = None, {}, [], ()
            return
        self._estimator.learn(names)
        self._answer_by_estimator(ids)

    def _answer_by_estimator(self, ids: tuple[int, ...]) -> None:
        if ids != self._ids:
            self.found, self.held_out, self._measured_of, self.trusted = {}, {}, 0, ()
        self.detector, self._ids, self.round = self._estimator, ids, self.round + 1
        self._take_thresholds()

    def _take_over(self) -> None:
        """Put what was handed over in the place of the estimator, unless its scale or its classes are others by now."""
        try:
            relearnt = self._handed
            if relearnt is not None and relearnt.fits(self.short_side, self.store):
                self._go_on_with(relearnt)
        finally:
            with self._now:
                self._handed = None
                self._now.notify_all()

    def _go_on_with(self, relearnt: Relearnt) -> None:
        said = said_of(self.store, self.images.values())
        since = {key for key in said.keys() | relearnt.said.keys() if said.get(key) != relearnt.said.get(key)}
        with self._now:
            vars(self).pop("_likeness", None)
            vars(self).update(_network=relearnt.network, _estimator=relearnt.estimator)
            self._asked |= bool(since - self._dirty) or not relearnt.ids  # what the one before had learnt
            self._dirty, self._learnt_from = since, set(relearnt.said)
            self.ready = {key for key, image in self.images.items() if relearnt.prepared.get(key) == image.version}
            self._missing = dict.fromkeys(key for key in self.images if key not in self.ready | set(self.faults))
            focus = self._focus
        if relearnt.ids:
            self._answer_by_estimator(relearnt.ids)
        if relearnt.judged is not None:
            self._measured_of = len(self._learnt_from)
            self._take_measured(relearnt.judged)
        self._look(focus)
        self.tell("learnt", {})

    def _take_thresholds(self) -> None:
        if self.detector is not None:
            self.thresholds = dict(zip(self._ids, self.detector.thresholds_.tolist(), strict=True))

    def _look(self, key: int | None) -> None:
        if key is None or self.detector is None or key not in self.images or key not in self.ready:
            return
        try:
            detections = self.detector.detect(self.folder.path(self.images[key].name), threshold=0)
        except (SppnetError, OSError) as error:
            with self._now:
                self.ready.discard(key)
                self.faults[key] = str(error)
            self.tell("prepared", {"image": key})
            return
        self.found[key] = LookedAt.of(detections, self._ids, self.detector.thresholds_, self.round)
        self.tell("looked", {"image": key})
        all_seen = not self._missing and len(self.found) >= len(self.ready)
        if perf_counter() - self._ordered_at > ORDER_EVERY or (all_seen and self._all_current()):
            self._suggest_order()

    def _all_current(self) -> bool:
        return all(key in self.found and self.found[key].round == self.round for key in list(self.ready))

    def _suggest_order(self) -> None:
        self._ordered_at = perf_counter()
        found = {key: each for key, each in self.found.items() if len(each.counts) == len(self._ids)}
        if found:
            doubt = np.array([each.doubt for each in found.values()])
            worth = usefulness(doubt, np.stack([each.counts for each in found.values()]).astype(np.float64))
            keys = list(found)
            said = self._learnt_from | self._dirty
            self.order = [keys[place] for place in np.argsort(-worth, kind="stable") if keys[place] not in said]
        self.tell("order", {"order": self.order})

    def _validate(self) -> None:
        with self._now:
            asked, self._measure = self._measure, False
        if self.detector is None:
            return
        # Once for so many images, also if it fails.
        before, self._measured_of = self._measured_of, len(self._learnt_from)
        try:
            judged = self.detector.calibrate(progress=self._while_current)
        except _Superseded:
            with self._now:
                self._measure, self._measured_of = asked, before
            return
        self._take_measured(judged)

    def _take_measured(self, judged: Judged) -> None:
        self._take_thresholds()
        self.judged, self.round = judged, self.round + 1  # confidence is another one from now on
        found = cast(dict[int, Detections], self.detector.held_out_) if self.detector is not None else {}
        self.held_out = {key: Suggestions.of(each, self._ids) for key, each in found.items()}
        self._take_judged(judged)
        self.tell("measured", {})

    def _take_judged(self, judged: Judged) -> None:
        thresholds = np.array([self.thresholds[key] for key in self._ids])
        precision, right = judged.precision(thresholds), judged.recall(thresholds) * judged.objects.sum(axis=0)
        trusted = (precision >= RIGHT_MOSTLY) & (right >= ENOUGH)
        self.trusted = tuple(key for key, good in zip(self._ids, trusted.tolist(), strict=True) if good)
        f1 = judged.f1(thresholds)
        if not np.isnan(f1).all():
            point = (self._measured_of, round(float(np.nanmean(f1)), 4))
            self.curve = [*(each for each in self.curve if each[0] < point[0]), point]
            self.store.keep("curve", self.curve)

    def _while_current(self, name: str, items: Sequence[Item], /) -> Iterable[Item]:  # noqa: ARG002
        for item in items:
            if self._asked or self._dirty or self._stopped:
                raise _Superseded
            yield item
