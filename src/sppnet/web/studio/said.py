"""What people said of the images, to learn from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sppnet.detection.scale import fitting_short_side
from sppnet.geometry import SHORT_SIDES
from sppnet.web.studio.store import Box, Store, StoredImage

if TYPE_CHECKING:
    from sppnet.detection.examples import ImageLabels


class Said(NamedTuple):
    """What was said of one image, and of which version of its file; two that are equal teach the same."""

    version: str
    complete: bool
    boxes: tuple[tuple[Box, str], ...]  # each with the name of its class

    @property
    def labels(self) -> "ImageLabels":
        """What is learnt from it."""
        names = {box.label: name for box, name in self.boxes}
        return labels_of([box for box, _ in self.boxes], names, complete=self.complete)


def said_of(store: Store, images: Iterable[StoredImage]) -> dict[int, Said]:
    """Return what was said of images, by their ids; of others nothing was."""
    names = {each.id: each.name for each in store.classes()}
    boxes: dict[int, list[tuple[Box, str]]] = {}
    for box in (each for each in store.boxes() if each.label in names):  # its class may have gone a moment ago
        boxes.setdefault(box.image, []).append((box, names[box.label]))
    complete = {image.id for image in store.images() if image.complete}
    return {
        image.id: Said(image.version, image.id in complete, tuple(boxes.get(image.id, ())))
        for image in images
        if image.id in boxes or image.id in complete
    }


def side_for(store: Store, images: Iterable[StoredImage]) -> int:
    """Return what a detector of these images and their objects would scale the shorter side to, in pixels."""
    by_image: dict[int, list[Box]] = {}
    for box in store.boxes():
        if box.kind == "object" and not box.crowd:
            by_image.setdefault(box.image, []).append(box)
    sound = [each for each in images if not each.fault]
    if not sound:
        return SHORT_SIDES[1]
    drawn = [by_image.get(each.id, []) for each in sound]
    return fitting_short_side(
        [(each.height, each.width) for each in sound],
        [np.array([box.edges for box in boxes]).reshape(-1, 4) for boxes in drawn],
        [np.array([box.label for box in boxes], dtype=np.int64) for boxes in drawn],
    )


def labels_of(boxes: Sequence[Box], names: Mapping[int, str], *, complete: bool) -> "ImageLabels":
    """Return the boxes of one image, and whether there is no other object in it, as they are learnt from.

    A difficult object is neither learnt from nor background. A box around a crowd shows no one object: it is left out,
    and what is left of the image is not known to be background.
    """
    from sppnet.detection.examples import ImageLabels

    objects = [box for box in boxes if box.kind == "object" and not box.crowd]
    rejected = [box for box in boxes if box.kind == "rejected"]
    return ImageLabels(
        np.array([box.edges for box in objects]).reshape(-1, 4),
        tuple(names[box.label] for box in objects),
        np.array([box.difficult for box in objects], dtype=np.bool_),
        rejected=np.array([box.edges for box in rejected]).reshape(-1, 4),
        rejected_classes=tuple(names[box.label] for box in rejected),
        complete=complete and not any(box.crowd for box in boxes),
    )
