"""Boxes that were written in another way than their layout has them: found by whether they fit into their images.

Corners that are read as a corner and sides make boxes that pass for good ones, each of them wrong. Those that fit all
the same are found by how their numbers go together.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sppnet.data.gathering import RawBox, RawImage, Row
from sppnet.data.problems import BrokenSampleError, Problem
from sppnet.geometry import Boxes

CORNERS: Final = "left, top, right, bottom"
TURNED_CORNERS: Final = "right, bottom, left, top"
SIDES: Final = "left, top, width, height"
CENTRES: Final = "centre x, centre y, width, height"
FAR: Final = 0.02  # of an image's side; sloppy boxes reach less far out
NEAR: Final = 0.01
SEVERAL: Final = 2  # boxes, and the share of all, that must not fit
OFTEN: Final = 0.1
# Corners are told from a place and sides by what holds in every set. Of corners, the third number is larger than the
# first and the fourth than the second. A place and sides do so only for objects that are wider than they lie far from
# the left, and higher than from the top: of five sets read rightly 0 to 87 % of all boxes. That alone could be chance.
# So the numbers must go together as well: what lies further right has both corners further right, while the width of
# an object does not grow with its place (correlations of at most 0.04 in these sets, of 0.79 to 1 in their corners,
# where objects are smaller than their images); or too many boxes must not fit. Of fewer than 10 boxes nothing is said.
ENOUGH: Final = 10
NEARLY_ALL: Final = 0.98
TOGETHER: Final = 0.5
# Parts of an image that are read as pixels make boxes in its first pixel; percentages, boxes with decimals of which not
# one reaches further than 100 pixels into images of more than twice that, and some come near it.
HUNDRED: Final = 100
NEAR_HUNDRED: Final = 90


def check_written(written: str, raws: Sequence[RawImage], *, source: Path | None = None) -> list[Problem]:
    """Return a warning where boxes that were read otherwise look like corners.

    Args:
        written: how they were read: one of CORNERS, SIDES, CENTRES. raws: the images.
        source: the file of labels that is meant; None: all.
    Raises:
        BrokenSampleError: boxes do not fit into their images, and all would if they were read otherwise.
    """
    rows = [
        (raw, box) for raw in raws if source in (None, raw.source) for box in raw.boxes if np.isfinite(box.edges).all()
    ]
    boxes = np.array([box.edges for _, box in rows], dtype=np.float64).reshape(-1, 4)
    sides = np.array([raw.size[::-1] for raw, _ in rows], dtype=np.float64).reshape(-1, 2)
    wrong = ~_fit(boxes, sides, FAR)
    many = bool(wrong.sum() >= max(SEVERAL, OFTEN * len(rows)))
    readings = _readings(boxes, written)
    others = [words for words, read in readings.items() if _fit(read, sides, NEAR).all()] if many else []
    if others:
        what = (
            f"{wrong.sum()} of {len(rows)} boxes, this the first, do not fit into their images as {written}, which is "
            f"how they are read; as {' or '.join(others)} all do. Write them as {written}."
        )
        raise BrokenSampleError(_of_box(rows[int(wrong.argmax())], what, "boxes-misread"))
    if len(rows) >= SEVERAL and boxes.max() <= 1 < sides.min():
        what = (
            f"all {len(rows)} boxes, this the first, lie within the first pixel of their images, as parts of an image "
            "do that are read as pixels. Write them in pixels."
        )
        raise BrokenSampleError(_of_box(rows[0], what, "boxes-misread"))
    if written != CORNERS and _like_corners(readings[CORNERS] / np.tile(sides, 2), many):
        looks = f"as {CORNERS}, and are read as {written}, as the layout has them"
    elif _like_percentages(boxes, sides):
        looks = "in percent of the image, and are read in pixels"
    else:
        return []
    what = f"the {len(rows)} boxes, this the first, look as if they were written {looks}."
    return [_of_box(rows[0], f"{what} Look at them with 'sppnet check --html'", "boxes-doubtful")]


def _of_box(row: tuple[RawImage, RawBox], what: str, code: str) -> Problem:
    raw, box = row
    return Row(raw.source, box.line, box.where).problem(what, code)


def _like_percentages(boxes: Boxes, sides: Boxes) -> bool:
    """Tell whether boxes are percentages of their images that were read as pixels; see above."""
    if len(boxes) < ENOUGH or sides.min() <= 2 * HUNDRED:
        return False
    return bool(NEAR_HUNDRED <= boxes.max() <= HUNDRED and (boxes % 1 != 0).any(axis=1).mean() > 0.5)


def _like_corners(numbers: Boxes, many: bool) -> bool:
    """Tell whether the four numbers of each box, in parts of its image, are corners; see above.

    Args:
        many: whether many of the boxes do not fit as they were read.
    """
    if len(numbers) < ENOUGH or (numbers[:, 2:] > numbers[:, :2]).all(axis=1).mean() < NEARLY_ALL:
        return False
    lefts, tops, rights, bottoms = numbers.T
    return many or min(_correlation(lefts, rights), _correlation(tops, bottoms)) > TOGETHER


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    spread = first.std() * second.std()
    return float(((first - first.mean()) * (second - second.mean())).mean() / spread) if spread > 0 else 0.0


def _fit(boxes: Boxes, sides: Boxes, most: float) -> NDArray[np.bool_]:
    """Tell which boxes hold something and reach out of their images by no more than a share of their sides."""
    shares = boxes / np.tile(sides, 2)
    inside = (shares[:, :2] >= -most).all(axis=1) & (shares[:, 2:] <= 1 + most).all(axis=1)
    return np.asarray(inside & (boxes[:, 2:] > boxes[:, :2]).all(axis=1))


def _readings(boxes: Boxes, written: str) -> Mapping[str, Boxes]:
    """Return the boxes that the same four numbers make in other ways of writing."""
    firsts, seconds = boxes[:, :2], boxes[:, 2:]
    if written == SIDES:
        seconds = seconds - firsts
    elif written == CENTRES:
        firsts, seconds = (firsts + seconds) / 2, seconds - firsts
    readings = {
        CORNERS: (firsts, seconds),
        TURNED_CORNERS: (seconds, firsts),
        SIDES: (firsts, firsts + seconds),
        CENTRES: (firsts - seconds / 2, firsts + seconds / 2),
    }
    return {words: np.concatenate(edges, axis=1) for words, edges in readings.items() if words != written}
