"""What the gallery shows of each image, kept in memory: an event reads again only the images that it concerns."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from sppnet.web.studio.learner import StudioLearner
from sppnet.web.studio.review import Counted
from sppnet.web.studio.store import Offered, Store, StoredImage
from sppnet.web.studio.suggestions import NOTHING, Suggestions

ENOUGH: Final = 3  # complete images, from which on what they all hold is expected of the others


@dataclass(frozen=True)
class Limits:
    """Which suggestions count: from ``thresholds`` up, or as many as ``usual``, each by the ids of classes.

    ``usual`` is how many objects every complete image holds at least.
    """

    thresholds: Mapping[int, float]
    usual: Mapping[int, int]


@dataclass(slots=True)
class _Card:
    image: StoredImage
    objects: dict[int, int] = field(default_factory=dict)
    rejected: int = 0
    offered: Suggestions = NOTHING  # what was imported to be answered
    open: Suggestions = NOTHING  # of that, and of what the detector found, what nobody has answered

    def expected(self, limits: Limits) -> dict[int, int]:
        """Return how many objects of each class the image likely holds beside those that are boxed."""
        return {label: max(0, number - self.objects.get(label, 0)) for label, number in limits.usual.items()}

    def counting(self, limits: Limits) -> Suggestions:
        """Return the open suggestions that count."""
        return self.open.counting(limits.thresholds, self.expected(limits)) if len(self.open.scores) else self.open


def _image_of(row: Offered) -> int:
    return row.image


def _reason(fault: str, name: str) -> str:
    """Return why an image cannot be read, without the path before it: the page shows the name beside it."""
    return fault.rpartition(f"{name}: ")[2]


class Board:
    """A card of each image of the folder. Any thread may call any method."""

    def __init__(self, store: Store, learner: StudioLearner) -> None:
        self._store, self._learner = store, learner
        self._cards: dict[int, _Card] = {}
        self._lock = threading.RLock()
        self.read_all()

    def read_all(self) -> None:
        """Read all images again."""
        with self._lock:
            here = self._learner.images
            self._cards = {image.id: _Card(image) for image in self._store.images() if image.id in here}
            for image, label, kind, number in self._store.counts():
                if (card := self._cards.get(image)) is None:
                    continue
                if kind == "object":
                    card.objects[label] = number
                else:
                    card.rejected += number
            for image, rows in groupby(sorted(self._store.offered(), key=_image_of), key=_image_of):
                if image in self._cards:
                    self._cards[image].offered = Suggestions.offered(list(rows))
                    self.looked(image)
            for image in list(self._learner.found):
                self.looked(image)

    def read(self, images: Iterable[int]) -> None:
        """Read again the images whose labels changed."""
        with self._lock:
            for key in images:
                if key not in self._cards:
                    continue
                boxes = self._store.boxes(key)
                offered = Suggestions.offered(self._store.offered(key))
                card = self._cards[key] = _Card(self._store.image(key), offered=offered)
                for box in boxes:
                    if box.kind == "object":
                        card.objects[box.label] = card.objects.get(box.label, 0) + 1
                    else:
                        card.rejected += 1
                self.looked(key)

    def looked(self, image: int) -> None:
        """Take in what the detector, or an import, found in an image."""
        with self._lock:
            card = self._cards.get(image)
            if card is None:
                return
            found = self._learner.found.get(image)
            if card.image.complete:
                card.open = NOTHING
                return
            said = self._store.boxes(image) if card.objects or card.rejected else []
            suggestions = NOTHING if found is None else found.suggestions
            card.open = suggestions.beside(card.offered).unanswered(said)

    def image(self, image: int) -> StoredImage | None:
        """Return an image's row; None for one that the folder does not hold."""
        card = self._cards.get(image)
        return None if card is None else card.image

    def is_labelled(self, image: int) -> bool:
        """Tell whether an image has an object boxed."""
        return bool(self._cards[image].objects)

    def usual(self) -> dict[int, int]:
        """Return how many objects of each class every complete image holds at least; none as long as they are few."""
        with self._lock:
            complete = [card.objects for card in self._cards.values() if card.image.complete]
        if len(complete) < ENOUGH:
            return {}
        return {label: least for label in complete[0] if (least := min(each.get(label, 0) for each in complete))}

    def counting(self, image: int, limits: Limits) -> Suggestions:
        """Return what the detector found in an image, nobody has answered, and counts."""
        return self._cards[image].counting(limits)

    def open_suggestions(self, image: int, limits: Limits) -> list[dict[str, Any]]:
        """Return what the detector found in an image and nobody has answered, for JSON; what is expected says so."""
        card = self._cards[image]
        rows = card.open.as_list()
        for place in card.open.expected(limits.thresholds, card.expected(limits)):
            rows[place]["expected"] = True
        return rows

    def counted(self, image: int) -> Counted:
        """Return what there is in an image: boxed, and found beside the boxes."""
        card = self._cards[image]
        return Counted(card.image.name, card.image.complete, card.objects, card.open)

    def summaries(self, limits: Limits, only: Iterable[int] | None = None) -> list[dict[str, Any]]:
        """Return for each image, or for those named, what the gallery shows, for JSON."""
        with self._lock:
            chosen = self._cards.values() if only is None else [self._cards[key] for key in only if key in self._cards]
            return [self._summary(card, limits) for card in chosen]

    def _doubt(self, image: int) -> float:
        found = self._learner.found.get(image)
        return 0.0 if found is None else round(float(found.doubt), 3)

    def _summary(self, card: _Card, limits: Limits) -> dict[str, Any]:
        image = card.image
        return {
            "id": image.id,
            "name": image.name,
            "width": image.width,
            "height": image.height,
            "fault": _reason(self._learner.faults.get(image.id, ""), image.name),
            "ready": image.id in self._learner.ready,
            "complete": image.complete,
            "note": image.note,
            "objects": card.objects,
            "rejected": card.rejected,
            "found": card.counting(limits).counts(),
            "doubt": self._doubt(image.id),
        }
