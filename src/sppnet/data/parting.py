"""Splits of one's own: images parted at random so that each class keeps its share and what belongs together stays so.

``sppnet split`` writes them into ``splits.csv`` beside the labels, in every layout; whoever reads the set goes by it.
"""

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from sppnet.data.contents import Contents
from sppnet.data.problems import broken
from sppnet.errors import ArgumentError, check_seed, check_that, message

FILE: Final = "splits.csv"
HEADER: Final = ["image", "split"]
# Copies of one image that Roboflow made, and frames of one video, tell nothing new of each other.
RELATED: Final = re.compile(
    r"^(.+?)(?:_(?:jpe?g|png|bmp))?\.rf\.[0-9a-z]+$|^(.*?)[ _.-]*frame[ _.-]*\d+$", re.IGNORECASE
)


def group_of(path: Path, pattern: re.Pattern[str] | None = None) -> str:
    """Return what an image must stay together with, by its name.

    Args:
        path: of the image. pattern: whose first group, found in the path, names the group; None: copies that an
            exporter made and frames of a video, which their names tell.
    """
    if pattern is None:
        found = RELATED.match(path.stem)
        return f"{path.parent}/{next(filter(None, found.groups()), '')}" if found else str(path)
    searched = pattern.search(path.as_posix())
    if searched is None:
        return str(path)
    return next((group for group in searched.groups() if group), searched.group())


def compiled(groups: str | None) -> re.Pattern[str] | None:
    """Return a pattern of groups; ArgumentError where it is none."""
    try:
        return None if groups is None else re.compile(groups)
    except re.error as error:
        advice = "Write a regular expression such as 'video(\\d+)'"
        raise ArgumentError(
            message("split", "groups", "a regular expression", f"{groups!r}: {error}", advice)
        ) from error


def part(counts: Sequence[Mapping[int, int]], groups: Sequence[str], share: float, seed: int) -> list[bool]:
    """Choose images for the smaller part: groups as a whole, each class near its share (iterative stratification).

    Args:
        counts: of each image, how many objects of each class. groups: of each image.
        share: of the images, above 0 and below 1. seed: of the order in which equal choices are made.
    Returns:
        Of each image, whether it is chosen.
    Raises:
        ArgumentError: another share, or so few groups that a part would be empty.
    """
    check_that(0 < share < 1, "split", "share", "above 0 and below 1", share, advice="Give 0.2 for a fifth")
    check_seed("split", seed)
    members: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    advice = "Label more images, or name smaller groups"
    check_that(len(members) > 1, "split", "data", "images of at least 2 groups", len(members), advice=advice)
    names = list(members)
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    classes = [
        {label for index in own for label, number in counts[index].items() if number} for own in members.values()
    ]
    wants = _Wants(classes, [len(own) for own in members.values()], share)
    chosen = wants.choose(order)
    inside = {index for place in chosen for index in members[names[place]]}
    return [index in inside for index in range(len(groups))]


class _Wants:
    """How many images of each class the smaller part still wants."""

    def __init__(self, classes: Sequence[set[int]], sizes: Sequence[int], share: float) -> None:
        self._classes = classes
        self._sizes = sizes
        total: Counter[int] = Counter()
        for mine, size in zip(classes, sizes, strict=True):
            total.update(dict.fromkeys(mine, size))
        self._left = {label: share * number for label, number in total.items()}
        self._room = max(1.0, round(share * sum(sizes)))
        self._rarest = sorted(total, key=lambda label: (total[label], label))

    def choose(self, order: Sequence[int]) -> list[int]:
        """Take groups, the rarest class's first, as long as they bring the part nearer to what it wants.

        In a first round only those are taken that no class has had enough of.
        """
        chosen: dict[int, None] = {}
        for strict, label in [(strict, label) for strict in (True, False) for label in (*self._rarest, None)]:
            for place in order:
                if place in chosen or len(chosen) == len(order) - 1 or not self._wanted(place, label, strict=strict):
                    continue
                chosen[place] = None
                self._room -= self._sizes[place]
                for each in self._classes[place]:
                    self._left[each] -= self._sizes[place]
        return list(chosen) or [min(order, key=lambda place: self._sizes[place])]

    def _wanted(self, place: int, label: int | None, *, strict: bool) -> bool:
        """Tell whether a group fits, for the sake of one class, or of the number of images."""
        mine, half = self._classes[place], self._sizes[place] / 2
        if half > self._room or (label is not None and (label not in mine or half > self._left[label])):
            return False
        return not strict or all(half <= self._left[each] for each in mine)


# On disk


def read_splits(listed: Contents) -> dict[str, str] | None:
    """Return the split of each image that ``splits.csv`` in the root names; None where there is no such file.

    Raises:
        BrokenSampleError: a file that is not ``image,split``.
    """
    if FILE not in listed.others:
        return None
    path = listed.path(FILE)
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig", errors="surrogateescape"))))
    except (OSError, csv.Error) as error:
        broken(path, f"cannot be read: {error}")
    if not rows or [cell.strip().lower() for cell in rows[0]] != HEADER:
        broken(path, "must begin with the columns image,split", line=1)
    wrong = next((line for line, row in enumerate(rows[1:], start=2) if row and len(row) != len(HEADER)), None)
    if wrong is not None:
        broken(path, "must have an image and its split", line=wrong)
    return {row[0].strip().replace("\\", "/"): row[1].strip() for row in rows[1:] if row and row[1].strip()}


def splits_text(splits: Mapping[str, str]) -> bytes:
    """Return ``splits.csv`` as bytes, given the split of each image by its place below the root."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEADER, *splits.items()])
    return text.getvalue().encode("utf-8", "surrogateescape")
