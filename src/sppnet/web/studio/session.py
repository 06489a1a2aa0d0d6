"""One folder opened in the studio: the store, the learner and what the pages are told of both."""

import json
import logging
import math
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from heapq import nlargest
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any, Final

import numpy as np

from sppnet.data.parting import compiled
from sppnet.errors import ArgumentError, WriteError, message, places_of
from sppnet.export.installed import TORCH, check_engine
from sppnet.progress import Progress, silent
from sppnet.web.shared.memory import given_back
from sppnet.web.studio.board import Board, Limits
from sppnet.web.studio.changes import Changes, apply
from sppnet.web.studio.events import Batches, Events
from sppnet.web.studio.folder import Folder
from sppnet.web.studio.imports import Import, Imports
from sppnet.web.studio.learner import UNKNOWN_THRESHOLD, StudioLearner
from sppnet.web.studio.networks import remove_unneeded_maps
from sppnet.web.studio.offers import write_labels, write_suggestions
from sppnet.web.studio.opening import take_in
from sppnet.web.studio.people import People
from sppnet.web.studio.review import Disagreement, count_groups, disagreements
from sppnet.web.studio.store import Box, Missing, Store, StoredImage, Turned
from sppnet.web.studio.suggestions import NOTHING, Suggestions, histogram
from sppnet.web.studio.tuning import Tuning

FILE: Final = "studio.sqlite"
TOGETHER: Final = 100  # images that one event tells of
MANY: Final = 1000  # images, from which on a page that is told of their change asks for all anew
FIRST: Final = 200  # images of the order that an event tells of
REVIEWED: Final = 200  # disagreements that are listed
LOOK_EVERY: Final = 2.0  # seconds between two looks at the folder
LOOK_SHARE: Final = 0.03  # of the time is spent on them at most


class Session:
    """Opens a folder; ``start`` before the first question, ``close`` at the end.

    Args:
        root: a folder with images.
        engine: that runs the network.
        progress: wraps the pass over images that are new.
    Raises:
        ArgumentError, MissingExtraError: no folder, an engine that is unknown or not installed.
        DataError: a folder that is open elsewhere.
    """

    def __init__(self, root: Path, *, engine: str = TORCH, progress: Progress = silent) -> None:
        check_engine(engine)
        self.folder = Folder(root)
        self.store = Store(self.folder.hidden / FILE)
        self.problems = take_in(self.folder, self.store, progress=progress).problems
        self.events, self.people, self.imports = Events(), People(), Imports()
        self._away = ""  # why the folder is not where it was, at the last look
        self._revision = 0  # how many changes were made since the opening: the page drops answers that are outdated
        self.learner = StudioLearner(self.store, self.folder, engine=engine, tell=self._tell)
        self.board = Board(self.store, self.learner)
        self.tuning = Tuning(self.learner, engine=engine, tell=self._tell_tuning)
        self._images = Batches(self._tell_images)
        self._closing, self._looking, self._handing_out = threading.Event(), threading.Lock(), threading.Lock()
        self._watching = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Begin to compute features and to learn."""
        self._images.start()
        self.learner.start()
        self._watching.start()

    def close(self) -> None:
        """Stop, and let go of the folder."""
        self.events.close()
        self.imports.close()
        self._closing.set()
        self.tuning.close()
        self.learner.stop()
        self._images.stop()
        self._watching.join()
        self.store.close()

    # Settings

    @property
    def threshold(self) -> float | None:
        """The least confidence that a person chose; None for each class's own, of best F1 on held-out images."""
        chosen: float | None = self.store.setting("threshold", None)
        return chosen

    @property
    def thresholds(self) -> dict[int, float]:
        """The least confidence of a detection that counts, of each class."""
        chosen, own = self.threshold, self.learner.thresholds
        return {
            each.id: own.get(each.id, UNKNOWN_THRESHOLD) if chosen is None else chosen for each in self.store.classes()
        }

    @property
    def limits(self) -> Limits:
        """Which suggestions count; where a person chose the threshold, nothing else does."""
        return Limits(self.thresholds, self.board.usual() if self.threshold is None else {})

    @property
    def by_itself(self) -> bool:
        """Whether each change makes the detector learn."""
        return bool(self.store.setting("by_itself", True))

    # The folder, while it is open

    def _watch(self) -> None:
        due, said, give_back = 0.0, "", given_back()
        while not self._closing.wait(LOOK_EVERY):
            try:
                give_back(rests=self.learner.rests)  # what exports, learning and large images took, in other threads
                remove_unneeded_maps(self.folder.hidden, self.learner.short_side, ends=self._closing.is_set)
                if perf_counter() >= due:
                    start = thread_time()  # of this thread: a look that waits for others takes nothing from them
                    self.look_again()
                    due, said = perf_counter() + (thread_time() - start) / LOOK_SHARE, ""
            except Exception as error:  # such as a full disk, which may have room at the next look
                if said != (said := places_of(error)):
                    logging.getLogger(__name__).error("the studio's look at its folder: %s", said)

    def look_again(self) -> None:
        """Notice images that came, went or changed since the last look."""
        with self._looking:  # one after the other: the watch, and uploads
            self._look_again()

    def _look_again(self) -> None:
        before, self._away = self._away, self.store.away
        if before != self._away:
            self.events.tell("folder", {"problems": list(self.problems)})
        if self._away:  # what is known stays: the folder may come back
            return
        taken = take_in(self.folder, self.store)
        unread = list(self.learner.faults) if before else []  # some while it was away
        if not taken.different and not unread:
            return
        self.problems = (*self.problems, *taken.problems)
        here = [each for each in self.store.images() if each.name in self.folder.files]
        self.learner.notice(here, {*taken.changed, *unread})
        if self.by_itself and self.learner.detector is not None:
            self.learner.ask()
        self.board.read_all()
        self.events.tell("folder", {"problems": list(self.problems)})

    def taken_in(self, file: Path) -> int:
        """Notice a file that was just written into the folder, and return its image."""
        self.look_again()
        name = next(name for name, each in self.folder.files.items() if each.path == file)
        return next(each.id for each in self.store.images() if each.name == name)

    # Being told

    def change(self, asked: Changes, *, person: str = "") -> dict[str, Any]:
        """Make changes, as one step; return what the page shows of it."""
        added, touched = apply(self.store, asked, person=person)
        return self._changed(touched, asked.image, person) | {"added": added}

    def undo(self, *, person: str = "") -> dict[str, Any]:
        """Take back a person's last step."""
        return self._turned(self.store.undo(person), person)

    def redo(self, *, person: str = "") -> dict[str, Any]:
        """Do again what a person undid last."""
        return self._turned(self.store.redo(person), person)

    def _turned(self, turned: Turned | None, person: str) -> dict[str, Any]:
        if turned is None:
            return {"what": "", "image": None}
        return self._changed(set(turned.touched), turned.image, person) | {"what": turned.what}

    def begin_import(self, person: str) -> Import:
        """Begin to bring labels, predictions or a model into the folder."""
        here = (self.board.image(key) for key in list(self.learner.images))
        return self.imports.begin(person, self.folder, [image for image in here if image is not None])

    def take_import(self, token: str, *, as_labels: bool, theirs: bool, complete: bool, person: str) -> dict[str, Any]:
        """Take in what was brought, as one step; see ``offers``."""
        one = self.imports.get(token)
        offer = one.offer
        with self.store.step(f"Import {offer.saw}"[:200], person=person) as step:
            compared = one.compared(self.store)
            if as_labels:
                touched = write_labels(self.store, step, offer, compared, theirs=theirs, complete=complete)
            else:
                touched = write_suggestions(self.store, step, offer, compared)
        self.imports.drop(token)
        return self._changed(touched, None, person)

    def _changed(self, touched: set[int], image: int | None, person: str) -> dict[str, Any]:
        self._revision += 1
        if len(touched) > MANY:
            self.board.read_all()
        else:
            self.board.read(touched)
        self.learner.changed(touched, teach=self.by_itself)
        answer = {"image": image, "images": self.board.summaries(self.limits, touched), **self._frame()}
        if len(touched) > MANY:
            self.events.tell("folder", {"problems": list(self.problems)})
        else:
            self.events.tell("changed", answer)
        shown = {} if image is None else {"opened": self.opened(image, person=person)}
        return answer | shown | self._undoable(person)

    def keep(self, chosen: Mapping[str, float | bool | None]) -> dict[str, Any]:
        """Keep settings, and return what they change."""
        for name, value in chosen.items():
            self.store.keep(name, value)
        if chosen.get("by_itself") and self.learner.behind:
            self.learner.ask()
        return {"images": self.summaries(), **self._frame(), "quality": self.quality()}

    # What the page shows

    def state(self, *, person: str = "") -> dict[str, Any]:
        """Return all but the boxes of each image."""
        return {
            "folder": str(self.folder.root),
            "problems": list(self.problems),
            "away": self.store.away,
            "people": self.people.at_work(),
            "images": self.summaries(),
            "order": self.learner.order,
            "quality": self.quality(),
            "tuning": self.tuning.status(),
            **self._frame(),
            **self._undoable(person),
        }

    def _frame(self) -> dict[str, Any]:
        """Return what is small and may change at any time."""
        return {
            "classes": [
                {"id": each.id, "name": each.name, "colour": each.colour, "key": each.key}
                for each in self.store.classes()
            ],
            "revision": self._revision,
            "threshold": self.threshold,
            "thresholds": self.thresholds,
            "by_itself": self.by_itself,
            "status": self.status(),
        }

    def _undoable(self, person: str) -> dict[str, str]:
        undoable = self.store.undoable(person)
        return {"undo": undoable.undo, "redo": undoable.redo}

    def status(self) -> dict[str, Any]:
        """Return how far the learner is."""
        learner = self.learner
        return {
            "ready": len(learner.ready) + len(learner.faults),
            "total": len(learner.images),
            "side": learner.short_side,
            "learning": learner.learning,
            "measuring": learner.measuring,
            "behind": learner.behind,
            "round": learner.round,
            "taught": learner.detector is not None,
            "seconds": round(learner.seconds, 3),
            "reason": learner.reason,
            "trusted": learner.trusted,
        }

    def summaries(self) -> list[dict[str, Any]]:
        """Return for each image what the gallery shows."""
        return self.board.summaries(self.limits)

    def suggestions(self, image: int) -> Suggestions:
        """Return all that the detector found in an image so far, answered or not."""
        found = self.learner.found.get(image)
        return NOTHING if found is None else found.suggestions

    def counted(self, image: StoredImage) -> Suggestions:
        """Return what is exported beside the boxes: unanswered suggestions from the threshold up, whatever is expected.

        That every complete image holds an object is reason to ask about one in the others, none to count it there.
        """
        return self.board.counting(image.id, Limits(self.thresholds, {}))

    def known(self, image: int) -> StoredImage:
        """Return an image of the folder; Missing if there is none."""
        found = self.board.image(image)
        if found is None:
            raise Missing(f"there is no image {image}")
        return found

    def opened(self, image: int, *, person: str = "") -> dict[str, Any]:
        """Return the boxes and the suggestions of an image, which from now on comes first."""
        self.known(image)
        self._opens(person, image)
        found = self.learner.found.get(image)
        (summary,) = self.board.summaries(self.limits, [image])
        old = self.store.replaced_by(summary["name"])
        return {
            **summary,
            "replaced": None if old is None else self._kept_aside(old),
            "boxes": [_for_page(box) for box in self.store.boxes(image)],
            "suggestions": self.board.open_suggestions(image, self.limits),
            "round": found.round if found else 0,
            "revision": self._revision,
        }

    def _kept_aside(self, old: StoredImage) -> dict[str, Any]:
        boxes = len(self.store.boxes(old.id))
        return {"width": old.width, "height": old.height, "boxes": boxes, "complete": old.complete}

    def next_image(self, person: str, current: int | None) -> int | None:
        """Return the image whose labels would help most, and open it for a person; None when all is done.

        Images that are complete, cannot be read or are open at somebody else's are passed over; those without any
        box come before those that have some.
        """
        names = [key for key, _ in sorted(self.learner.images.items(), key=lambda each: each[1].name)]
        here = names.index(current) + 1 if current in names else 0
        with self._handing_out:  # one after the other: two never get the same
            passed_over = {current, *self.people.open_images(but=person), *self.learner.faults}
            candidates = [
                key
                for key in dict.fromkeys([*self.learner.order, *names[here:], *names[:here]])
                if key not in passed_over and not self.known(key).complete
            ]
            best = next((key for key in candidates if not self.board.is_labelled(key)), next(iter(candidates), None))
            if best is not None:
                self._opens(person, best)
        return best

    def _opens(self, person: str, image: int) -> None:
        if self.people.opens(person, image):
            self.learner.look_at(image)
            self.events.tell("people", {"people": self.people.at_work()})

    def quality(self) -> dict[str, Any]:
        """Return the spread of all scores, and precision and recall at the threshold where they were measured."""
        ids = [each.id for each in self.store.classes()]
        judged, thresholds = self.learner.judged, self.thresholds
        rows: list[dict[str, Any]] = []
        if judged is not None and len(judged.objects[0]) == len(ids):
            least = np.array([thresholds[key] for key in ids])
            shares = judged.precision(least), judged.recall(least), judged.objects.sum(axis=0)
            rows = [
                {"name": each.name, "precision": _share(precision), "recall": _share(recall), "objects": int(objects)}
                for each, precision, recall, objects in zip(self.store.classes(), *shares, strict=True)
            ]
        return {
            "histogram": histogram(map(self.suggestions, list(self.learner.found)), ids),
            "measured": rows,
            "curve": self.learner.curve,
        }

    def review(self, kind: Disagreement | None = None, label: int | None = None) -> dict[str, Any]:
        """Return where detector and labels of complete images disagree, for JSON.

        In images that the last measuring held out, it is a detector that had not learnt from them.

        Args:
            kind, label: only those of a kind, of a class; None is all.
        Returns:
            ``counts`` by class and kind, ``images`` that any are in, of those asked for the surest as ``rows``, and
            how many images were ``looked_at``, of them ``held_out``, and how many are ``waiting`` to be.
        """
        thresholds = self.thresholds
        counts: Counter[tuple[int, str]] = Counter()
        images, asked, looked_at = [], [], []
        held_out, waiting = self.learner.held_out, 0
        for key, image in list(self.learner.images.items()):
            if not self.known(key).complete or key in self.learner.faults:
                continue
            if key not in self.learner.found:
                waiting += 1
                continue
            looked_at.append(key)
            found = held_out.get(key, self.suggestions(key))
            rows = list(disagreements(self.store.boxes(key), found, thresholds))
            counts.update((row["label"], row["kind"]) for row in rows)
            images += [key] if rows else []
            asked += [
                {"image": key, "name": image.name, **row}
                for row in rows
                if kind in (None, row["kind"]) and label in (None, row["label"])
            ]
        return {
            "counts": [{"label": of, "kind": which, "number": number} for (of, which), number in counts.items()],
            "images": images,
            "looked_at": len(looked_at),
            "held_out": sum(key in held_out for key in looked_at),
            "waiting": waiting,
            "rows": nlargest(REVIEWED, asked, key=lambda row: float(row["sure"])),
        }

    def report(self, groups: str = "") -> dict[str, Any]:
        """Return how many objects there are, with an interval, for JSON.

        Args:
            groups: a pattern whose first group, in an image's name, is what to count by; "" counts by folder.
        Raises:
            ArgumentError: no pattern.
        """
        try:
            pattern = compiled(groups or None)
        except ArgumentError as error:
            expected, advice = r"a pattern of the names, such as (plate\d+)", "Leave it empty to count by folder"
            raise ArgumentError(message("studio", "what to group by", expected, repr(groups), advice)) from error
        learner = self.learner
        images = {key: self.board.counted(key) for key in list(learner.images) if key not in learner.faults}
        looked_at = [learner.found.get(key) for key, image in images.items() if not image.complete]
        classes = self.store.classes()
        return {
            "folder": self.folder.root.name,
            "classes": [{"id": each.id, "name": each.name, "colour": each.colour} for each in classes],
            "groups": count_groups(
                list(images.values()), [each.id for each in classes], pattern, root=self.folder.root.name
            ),
            "complete": sum(image.complete for image in images.values()),
            "unseen": sum(each is None for each in looked_at),
            "quality": self.quality()["measured"],
            "thresholds": self.thresholds,
        }

    # Events

    def _tell(self, name: str, content: dict[str, Any]) -> None:
        status = {"status": self.status()}
        match name:
            case "prepared" | "looked":
                image = content["image"]
                self.board.looked(image)
                self._images.add(image, at_once=image in self.people.open_images())
            case "order":
                self.events.tell(name, status | {"order": content["order"][:FIRST]})
            case "learnt" | "measured":
                self.events.tell(name, status | {"threshold": self.threshold, "thresholds": self.thresholds})
            case "network lost":
                self.problems = (*self.problems, content["problem"])
                self.events.tell("folder", {"problems": list(self.problems)})
            case _:
                self.events.tell("status", status)

    def _tell_tuning(self) -> None:
        self.events.tell("tuning", {"tuning": self.tuning.status()})

    def _tell_images(self, images: list[int]) -> None:
        status = {"status": self.status()}
        for start in range(0, len(images), TOGETHER):
            told = self.board.summaries(self.limits, images[start : start + TOGETHER])
            self.events.tell("image", status | {"images": told})
        with suppress(WriteError):  # without room they are written when the images are told of again
            self._write_digests(images)

    def _write_digests(self, images: Iterable[int]) -> None:
        """Write by what an image will be known if it is renamed, of those that were just read anyway."""
        unknown = [image for image in map(self.board.image, images) if image is not None and not image.digest]
        digests = {image.id: self.folder.digest(image.name, version=image.version) for image in unknown}
        written = {key: digest for key, digest in digests.items() if digest}
        if written:
            with self.store.step("Look at the folder", undoable=False) as step:
                for key, digest in written.items():
                    step.change("image", key, {"digest": digest})
            self.board.read(written)


def _for_page(box: Box) -> dict[str, Any]:
    flags = {name: True for name in ("difficult", "crowd") if getattr(box, name)}
    note = {"note": box.note} if box.note else {}
    outline = {"outline": json.loads(box.outline)} if box.outline else {}
    return {"id": box.id, "label": box.label, "kind": box.kind, "edges": box.edges, **flags, **note, **outline}


def _share(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)
