"""One folder opened in the studio: the store, the learner and what the page is told of both."""

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sppnet.geometry import SHORT_SIDES, usual_short_side
from sppnet.progress import Progress, silent
from sppnet.web.studio.changes import Changes, apply
from sppnet.web.studio.events import Events
from sppnet.web.studio.folder import Folder, take_in
from sppnet.web.studio.learner import Learner
from sppnet.web.studio.store import Box, Missing, Store, StoredImage, Turned
from sppnet.web.studio.suggestions import NOTHING, Suggestions, histogram

FILE: Final = "studio.sqlite"


class Session:
    """Opens a folder; ``start`` before the first question, ``close`` at the end.

    Args:
        root: a folder with images.
        progress: wraps the pass over images that are new.
    Raises:
        DataError: no folder, no images, or open elsewhere.
    """

    def __init__(self, root: Path, *, progress: Progress = silent) -> None:
        self.folder = Folder(root)
        self.store = Store(self.folder.hidden / FILE)
        self.problems = take_in(self.folder, self.store, progress=progress)
        self.events = Events()
        self._revision = 0  # how many changes were made since the opening: the page drops answers that are outdated
        self.learner = Learner(self.store, self.folder, short_side=self._short_side(), tell=self._tell)

    def start(self) -> None:
        """Begin to compute features and to learn."""
        self.learner.start()

    def close(self) -> None:
        """Stop, and let go of the folder."""
        self.events.close()
        self.learner.stop()
        self.store.close()

    def _short_side(self) -> int:
        """Return what images are scaled to: chosen at the first opening, as it decides what the cache holds."""
        kept: int | None = self.store.setting("short_side", None)
        if kept is None:
            sizes = [(each.height, each.width) for each in self.store.images() if not each.fault]
            kept = usual_short_side(sizes) if sizes else SHORT_SIDES[1]
            self.store.keep("short_side", kept)
        return kept

    # Settings

    @property
    def threshold(self) -> float:
        """The least score of a detection that counts."""
        return float(self.store.setting("threshold", 0.5))

    @property
    def by_itself(self) -> bool:
        """Whether each change makes the detector learn."""
        return bool(self.store.setting("by_itself", True))

    # Being told

    def change(self, asked: Changes) -> dict[str, Any]:
        """Make changes, as one step; return what the page shows of it."""
        added, touched = apply(self.store, asked)
        return self._changed(touched, asked.image) | {"added": added}

    def undo(self) -> dict[str, Any]:
        """Take back the last step."""
        return self._turned(self.store.undo())

    def redo(self) -> dict[str, Any]:
        """Do again what was undone last."""
        return self._turned(self.store.redo())

    def _turned(self, turned: Turned | None) -> dict[str, Any]:
        if turned is None:
            return {"what": "", "image": None}
        return self._changed(set(turned.touched), turned.image) | {"what": turned.what}

    def _changed(self, touched: set[int], image: int | None) -> dict[str, Any]:
        self._revision += 1
        self.learner.changed(touched, teach=self.by_itself)
        answer = {"image": image, "images": self.summaries(touched), **self._frame()}
        self.events.tell("changed", answer)
        return answer | ({} if image is None else {"opened": self.opened(image)})

    def keep(self, chosen: Mapping[str, float | bool]) -> dict[str, Any]:
        """Keep settings, and return what they change."""
        for name, value in chosen.items():
            self.store.keep(name, value)
        if chosen.get("by_itself") and self.learner.behind:
            self.learner.ask()
        return {"images": self.summaries(), **self._frame(), "quality": self.quality()}

    # What the page shows

    def state(self) -> dict[str, Any]:
        """Return all but the boxes of each image."""
        return {
            "folder": str(self.folder.root),
            "problems": list(self.problems),
            "images": self.summaries(),
            "order": self.learner.order,
            "quality": self.quality(),
            **self._frame(),
        }

    def _frame(self) -> dict[str, Any]:
        """Return what is small and may change at any time."""
        undoable = self.store.undoable()
        return {
            "classes": [{"id": each.id, "name": each.name, "colour": each.colour} for each in self.store.classes()],
            "revision": self._revision,
            "undo": undoable.undo,
            "redo": undoable.redo,
            "threshold": self.threshold,
            "by_itself": self.by_itself,
            "status": self.status(),
        }

    def status(self) -> dict[str, Any]:
        """Return how far the learner is."""
        learner = self.learner
        return {
            "ready": len(learner.ready) + len(learner.faults),
            "total": len(learner.images),
            "learning": learner.learning,
            "behind": learner.behind,
            "round": learner.round,
            "taught": learner.detector is not None,
            "seconds": round(learner.seconds, 3),
            "reason": learner.reason,
        }

    def summaries(self, only: set[int] | None = None) -> list[dict[str, Any]]:
        """Return for each image, or for those named, what the gallery shows."""
        boxes: dict[int, list[Box]] = {}
        for box in self.store.boxes():
            boxes.setdefault(box.image, []).append(box)
        rows = [each for each in self.store.images() if each.id in self.learner.images]
        threshold = self.threshold
        chosen = [each for each in rows if only is None or each.id in only]
        return [self._summary(each, boxes.get(each.id, []), threshold) for each in chosen]

    def _summary(self, image: StoredImage, boxes: list[Box], threshold: float) -> dict[str, Any]:
        return {
            "id": image.id,
            "name": image.name,
            "width": image.width,
            "height": image.height,
            "fault": self.learner.faults.get(image.id, ""),
            "ready": image.id in self.learner.ready,
            "complete": image.complete,
            "objects": dict(Counter(box.label for box in boxes if box.kind == "object")),
            "rejected": sum(box.kind == "rejected" for box in boxes),
            "found": self._unanswered(image, boxes).above(threshold).counts(),
        }

    def suggestions(self, image: int) -> Suggestions:
        """Return all that the detector found in an image so far, answered or not."""
        found = self.learner.found.get(image)
        return NOTHING if found is None else Suggestions.of(found.detections, found.ids)

    def counted(self, image: StoredImage) -> Suggestions:
        """Return the suggestions that count: from the threshold up, unanswered, in an image that is not complete."""
        return self._unanswered(image, self.store.boxes(image.id)).above(self.threshold)

    def _unanswered(self, image: StoredImage, boxes: list[Box]) -> Suggestions:
        return NOTHING if image.complete else self.suggestions(image.id).unanswered(boxes)

    def known(self, image: int) -> StoredImage:
        """Return an image of the folder; Missing if there is none."""
        if image not in self.learner.images:
            raise Missing(f"there is no image {image}")
        return self.store.image(image)

    def opened(self, image: int) -> dict[str, Any]:
        """Return the boxes and the suggestions of an image, which from now on comes first."""
        shown = self.known(image)
        self.learner.look_at(image)
        boxes = self.store.boxes(image)
        found = self.learner.found.get(image)
        return {
            **self._summary(shown, boxes, self.threshold),
            "boxes": [{"id": box.id, "label": box.label, "kind": box.kind, "edges": box.edges} for box in boxes],
            "suggestions": self._unanswered(shown, boxes).as_list(),
            "round": found.round if found else 0,
            "revision": self._revision,
        }

    def quality(self) -> dict[str, Any]:
        """Return the spread of all scores, and precision and recall at the threshold where they were measured."""
        ids = [each.id for each in self.store.classes()]
        judged, threshold = self.learner.judged, self.threshold
        rows: list[dict[str, Any]] = []
        if judged is not None and self.learner.detector is not None:
            shares = judged.precision(threshold), judged.recall(threshold), judged.objects.sum(axis=0)
            rows = [
                {"name": name, "precision": _share(precision), "recall": _share(recall), "objects": int(objects)}
                for name, precision, recall, objects in zip(self.learner.detector.classes_, *shares, strict=True)
            ]
        return {"histogram": histogram(map(self.suggestions, list(self.learner.found)), ids), "measured": rows}

    # Events

    def _tell(self, name: str, content: dict[str, Any]) -> None:
        status = {"status": self.status()}
        match name:
            case "prepared" | "looked":
                self.events.tell("image", status | {"images": self.summaries({content["image"]})})
            case "learnt" | "measured":
                self.events.tell(name, status | {"quality": self.quality()})
            case "order":
                self.events.tell(name, status | content | {"quality": self.quality()})
            case _:
                self.events.tell("status", status)


def _share(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)
