"""EXIF's orientations, 1 to 8: how an image as its file stores it lies to what is seen of it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sppnet.geometry.boxes import Boxes, Size

SIDEWAYS: Final = frozenset({5, 6, 7, 8})  # orientations that exchange height and width
FROM_BELOW: Final = frozenset({3, 4, 6, 7})  # whose first row in the file is the last that is seen, or column
FROM_RIGHT: Final = frozenset({2, 3, 7, 8})


def upright_points(points: NDArray[np.float64], size: Size, orientation: int) -> NDArray[np.float64]:
    """Return where points (K, 2) [x, y] of an image as it is stored lie in the image as it is seen.

    Args:
        points: in pixels. size: (height, width) as stored. orientation: of EXIF; another number than 1 to 8 is 1.
    """
    height, width = size
    x, y = points.T
    x = width - x if orientation in FROM_RIGHT else x
    y = height - y if orientation in FROM_BELOW else y
    return np.stack((y, x) if orientation in SIDEWAYS else (x, y), axis=1)


def upright_boxes(boxes: Boxes, size: Size, orientation: int) -> Boxes:
    """Return boxes (N, 4) of an image as it is stored in the image as it is seen; see ``upright_points``."""
    first, second = (upright_points(boxes[:, ends], size, orientation) for ends in ((0, 1), (2, 3)))
    turned_x, turned_y = (orientation in FROM_RIGHT), (orientation in FROM_BELOW)
    if orientation in SIDEWAYS:
        turned_x, turned_y = turned_y, turned_x
    lefts, rights = (second[:, 0], first[:, 0]) if turned_x else (first[:, 0], second[:, 0])
    tops, bottoms = (second[:, 1], first[:, 1]) if turned_y else (first[:, 1], second[:, 1])
    return np.stack((lefts, tops, rights, bottoms), axis=1)
