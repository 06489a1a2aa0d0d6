"""Where the detector and the labels disagree, and how many objects there are: what a person checks before the end."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

import numpy as np

from sppnet.data.parting import group_of
from sppnet.geometry import iou
from sppnet.web.studio.store import Box
from sppnet.web.studio.suggestions import Suggestions

Disagreement = Literal["missed", "false", "confused", "misplaced"]

RIGHT_IOU: Final = 0.5  # from this overlap a suggestion is right
NEAR_IOU: Final = 0.1  # below it a suggestion has nothing to do with a box
OTHERS: Final = "others"  # the group of images that a pattern does not fit
TWO_SIDED: Final = 1.96  # deviations that hold 95 % of a normal distribution


def disagreements(
    boxes: Sequence[Box], found: Suggestions, thresholds: Mapping[int, float]
) -> Iterator[dict[str, Any]]:
    """Yield where what was found in a complete image differs from its boxes, for JSON.

    Of each: its kind, class, edges, and ``sure`` in 0..1, how sure the detector is that the labels are wrong there;
    of a confused one the ``other`` class, that of the box; and the ``box`` that is concerned, unless none is. A box
    that is found as another class, or in another place, is not missed too. What is found in a crowd is of it.
    """
    found = found.unanswered(box for box in boxes if box.crowd)
    objects = [box for box in boxes if box.kind == "object" and not box.crowd]
    places = np.array([box.edges for box in objects]).reshape(-1, 4)
    labels = np.array([box.label for box in objects], dtype=np.int64)
    overlap = iou(found.boxes.astype(np.float64), places)
    same = found.labels[:, None] == labels
    counts = found.scores >= np.array([thresholds.get(label, 1.0) for label in found.labels.tolist()])
    for row in np.flatnonzero(counts).tolist():
        own, others = overlap[row] * same[row], overlap[row] * ~same[row]
        if own.max(initial=0.0) >= RIGHT_IOU:
            continue
        kind: Disagreement = "false"
        concerned = {}
        if others.max(initial=0.0) >= RIGHT_IOU:
            kind, box = "confused", objects[others.argmax()]
            concerned = {"box": box.id, "other": box.label}
        elif own.max(initial=0.0) >= NEAR_IOU:
            kind, concerned = "misplaced", {"box": objects[own.argmax()].id}
        edges, label = found.boxes[row].astype(float).round(1).tolist(), int(found.labels[row])
        yield {"kind": kind, "label": label, "edges": edges, "sure": round(float(found.scores[row]), 3)} | concerned
    near = (overlap >= RIGHT_IOU) & same
    noticed = ((same & (overlap >= NEAR_IOU)) | (overlap >= RIGHT_IOU)) & counts[:, None]
    for column, box in enumerate(objects):
        best = float(found.scores[near[:, column]].max(initial=0.0))
        if not noticed[:, column].any() and not box.difficult:
            sure = round(1 - best, 3)
            yield {"kind": "missed", "label": box.label, "edges": box.edges, "sure": sure, "box": box.id}


@dataclass(frozen=True)
class Counted:
    """Objects of a class in one image: boxed by a person, and found beside them, each with its confidence."""

    name: str
    complete: bool
    boxed: Mapping[int, int]
    found: Suggestions


def count_groups(
    images: Sequence[Counted], labels: Sequence[int], pattern: re.Pattern[str] | None = None, *, root: str = "."
) -> list[dict[str, Any]]:
    """Count objects, all together and group by group, for JSON.

    A group is a folder, ``root`` the name of the one that holds all; or what the first group of ``pattern`` finds in
    names, such as ``(plate\\d+)``.

    What was found but not answered counts by its confidence: the expected number, and the interval that holds the true
    one with 95 % if the confidence is right. Objects that the detector does not find at all are in neither.
    """

    def named(image: Counted) -> str:
        path = PurePosixPath(image.name)
        if pattern is None:
            return root if path.parent == PurePosixPath() else str(path.parent)
        return group_of(Path(path), pattern) if pattern.search(image.name) else OTHERS

    groups = [("All", list(images))]
    parts = [(name, list(group)) for name, group in groupby(sorted(images, key=named), key=named)]
    groups += parts if len(parts) > 1 else []
    return [{"group": name, "images": len(group), "classes": _counts(group, labels)} for name, group in groups]


def _counts(images: Sequence[Counted], labels: Sequence[int]) -> dict[int, dict[str, float]]:
    counts: dict[int, dict[str, float]] = {}
    for label in labels:
        sure = np.concatenate([np.zeros(0), *(each.found.scores[each.found.labels == label] for each in images)])
        boxed = sum(each.boxed.get(label, 0) for each in images)
        expected, deviation = float(sure.sum()), float(np.sqrt((sure * (1 - sure)).sum()))
        counts[label] = {
            "boxed": boxed,
            "expected": round(boxed + expected, 1),
            "low": round(boxed + max(0.0, expected - TWO_SIDED * deviation), 1),
            "high": round(boxed + expected + TWO_SIDED * deviation, 1),
        }
    return counts
