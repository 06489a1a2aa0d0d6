"""Sizes that images are scaled to, in whole pixels; halves round up."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from sppnet.geometry.boxes import Size

LARGE: Final = 1_000_000  # scaled pixels; what has more holds more objects than one image does
SHORT_SIDES: Final = (256, 640)  # in pixels: below, objects are a few cells; above, images take too long


def shorter_side_size(size: Size, short_side: int, *, multiple: int = 1) -> Size:
    """Return (height, width) when the shorter side becomes ``short_side``; the other rounds half up.

    Args:
        size: (height, width). short_side: in pixels.
        multiple: the longer side rounds to a multiple of this, at least ``short_side``: its aspect changes a
            little, and images of a hundred shapes come in a dozen, for which networks are compiled once.

    >>> shorter_side_size((300, 451), 224), shorter_side_size((300, 451), 224, multiple=32)
    ((224, 337), (224, 352))
    """
    unit = min(size) * multiple
    height, width = (
        max(short_side, multiple * ((2 * side * short_side + unit) // (2 * unit))) if side > min(size) else short_side
        for side in size
    )
    return height, width


def usual_short_side(sizes: Sequence[Size]) -> int:
    """Return the shorter side that images are scaled to unless the user chooses: their median, within limits.

    >>> usual_short_side([(300, 451), (375, 500), (90, 80)]), usual_short_side([(4000, 3000)])
    (300, 640)
    """
    return int(np.clip(np.median([min(size) for size in sizes]), *SHORT_SIDES))


def images_in(size: Size, short_side: int) -> float:
    """Return as how many images one counts that is scaled to ``short_side``: its pixels in millions, at least 1.

    >>> images_in((480, 640), 480), images_in((4000, 6000), 2000)
    (1.0, 6.0)
    """
    return max(1.0, max(size) * short_side**2 / min(size) / LARGE)


def longer_side_size(size: Size, longer_side: int) -> Size:
    """Return (height, width) when the longer side becomes at most ``longer_side``; the other rounds half up.

    >>> longer_side_size((300, 451), 225), longer_side_size((300, 451), 1000), longer_side_size((1, 9000), 100)
    ((150, 225), (300, 451), (1, 100))
    """
    longest = max(size)
    limit = min(longer_side, longest)
    height, width = (max(1, (2 * side * limit + longest) // (2 * longest)) for side in size)
    return height, width
