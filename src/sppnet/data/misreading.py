"""Boxes that were written in another way than their layout has them, found by whether they fit into their images.

Corners that are read as a corner and sides make boxes that pass for good ones, each of them wrong.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sppnet.data.gathering import RawImage
from sppnet.data.problems import broken
from sppnet.geometry import Boxes

CORNERS: Final = "left, top, right, bottom"
TURNED_CORNERS: Final = "right, bottom, left, top"
SIDES: Final = "left, top, width, height"
CENTRES: Final = "centre x, centre y, width, height"
FAR: Final = 0.02  # of an image's side; sloppy boxes reach less far out
NEAR: Final = 0.01
SEVERAL: Final = 2  # boxes, and the share of all, that must not fit
OFTEN: Final = 0.1


def check_written(written: str, raws: Sequence[RawImage], *, source: Path | None = None) -> None:
    """Raise BrokenSampleError where boxes do not fit into their images, and all would if they were read otherwise.

    Args:
        written: how they were read: one of CORNERS, SIDES, CENTRES. raws: the images.
        source: the file of labels that is meant; None: all.
    """
    rows = [
        (raw, box) for raw in raws if source in (None, raw.source) for box in raw.boxes if np.isfinite(box.edges).all()
    ]
    boxes = np.array([box.edges for _, box in rows], dtype=np.float64).reshape(-1, 4)
    sides = np.array([raw.size[::-1] for raw, _ in rows], dtype=np.float64).reshape(-1, 2)
    wrong = ~_fit(boxes, sides, FAR)
    if wrong.sum() < max(SEVERAL, OFTEN * len(rows)):
        return
    others = [words for words, read in _readings(boxes, written).items() if _fit(read, sides, NEAR).all()]
    if others:
        raw, box = rows[int(wrong.argmax())]
        what = (
            f"{wrong.sum()} of {len(rows)} boxes, this the first, do not fit into their images as {written}, which is "
            f"how they are read; as {' or '.join(others)} all do. Write them as {written}."
        )
        broken(raw.source, f"{box.where}: {what}" if box.where else what, line=box.line, code="boxes-misread")


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
