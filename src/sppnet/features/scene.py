"""One image as proposal methods see it: its size, its maps and its pixels, each made when first asked for."""

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sppnet.features.encoder import MapsEncoder
from sppnet.features.maps import Maps
from sppnet.images import Source, read_image, read_size


class Scene:
    """One image, encoded and read at most once, whoever asks.

    Args:
        image: a path, a file's bytes, or (H, W, 3) uint8 RGB.
        encoder: what makes the maps.
        name: the image's name, for proposals that come from a file; a path is its own, from the root on.
    """

    def __init__(self, image: Source, encoder: MapsEncoder, *, name: str = "") -> None:
        self.image, self.encoder = image, encoder
        self.name = Path(image).absolute().as_posix() if isinstance(image, Path | str) else name

    @cached_property
    def maps(self) -> Maps:
        """The feature maps."""
        return self.encoder(self.image)

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""
        return read_image(self.image)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image in pixels, of a file from its header alone."""
        return read_size(self.image)
