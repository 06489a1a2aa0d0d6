"""What is done to an image before the network sees it: crop, mirror, colour (paper, Sec. 3.1.1).

Every draw follows from (seed, epoch, the image's index) alone, so that neither the number of workers or processes
nor an interruption changes what an image becomes.
"""

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sppnet.geometry import view_regions
from sppnet.training.plan import generator

PLACES: Final = 5  # the centre and the corners, of the whole image and not of its central square

# Principal axes (columns) and variances of ImageNet's RGB values in 0..1 (Krizhevsky et al. 2012, Sec. 4.1, give the
# method; the figures are the ones in common use).
COLOUR_AXES: Final = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], dtype=np.float64
)
COLOUR_VARIANCES: Final = np.array([0.2175, 0.0188, 0.0045])
COLOUR_DEVIATION: Final = 0.1


class Change(NamedTuple):
    """What becomes of one image.

    Args:
        place: of the crop, 0 the centre, then the corners. mirrored: left to right.
        colour: (3,) float32, added to R, G and B in 0..255.
    """

    place: int
    mirrored: bool
    colour: NDArray[np.float32]


UNCHANGED: Final = Change(0, False, np.zeros(3, dtype=np.float32))


def draw_change(seed: int, epoch: int, index: int) -> Change:
    """Draw one of five places, a mirroring half the time, and Krizhevsky's change of colour."""
    draws = generator("change", seed, epoch, index)
    place, mirrored = int(draws.integers(PLACES)), bool(draws.integers(2))
    shares = draws.normal(0.0, COLOUR_DEVIATION, 3) * COLOUR_VARIANCES
    return Change(place, mirrored, (255 * COLOUR_AXES @ shares).astype(np.float32))


def cut(image: NDArray[np.uint8], side: int, change: Change) -> NDArray[np.uint8]:
    """Cut a square out of (H, W, 3), H and W at least ``side``, and mirror it: (side, side, 3), a view."""
    regions = view_regions((image.shape[0], image.shape[1]), PLACES, side=side)
    left, top, right, bottom = regions[change.place % len(regions)].astype(int)
    square = image[top:bottom, left:right]
    return square[:, ::-1] if change.mirrored else square


@lru_cache(maxsize=2)  # a million images take 20 ms, and each step asks
def epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """Return the order in which an epoch takes its images; not to be changed in place."""
    return generator("order", seed, epoch).permutation(count)
