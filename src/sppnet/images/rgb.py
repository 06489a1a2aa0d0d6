"""One rule to RGB for every accepted format: upright, deep values to 8 bits, transparency over white."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from sppnet.geometry import FROM_BELOW, FROM_RIGHT, SIDEWAYS
from sppnet.images.formats import FORMATS
from sppnet.images.headers import first_frame

SMALL_WEBP: Final = 4_000_000  # Pillow reads these in 75 MB, where to load torchvision would take 160
BAND: Final = 1 << 18  # pixels that are converted at a time: 22 bytes each while they are, where some are clear
DEPTHS: Final = (8, 10, 12, 14, 16)  # bits that cameras and scanners have
NARROW: Final = 8  # where less than an eighth of a depth's range is used, it is not the range
STEPS: Final = 64  # of a depth's range; a narrow range begins and ends at one of them
SIXTEEN_BITS: Final = {"RGB;16L": "RGB;16B", "RGB;16B": "RGB;16L", "RGBA;16L": "RGBA;16B", "RGBA;16B": "RGBA;16L"}
NATIVE: Final = {"RGB;16N": f"RGB;16{sys.byteorder[0].upper()}", "RGBA;16N": f"RGBA;16{sys.byteorder[0].upper()}"}


@dataclass(frozen=True)
class Decoded:
    """Pixels as Pillow has them: of 16-bit colour the high bytes, and the low ones as a second image."""

    image: Image.Image
    low: Image.Image | None
    values: tuple[float, float] | None
    shown: tuple[float, float] | None

    def bands(self) -> Iterator[tuple[slice, Image.Image, NDArray[Any]]]:
        """Yield rows, their part of the image, and its values; converted at once, all would be held twice."""
        step = max(1, BAND // self.image.width)
        for top in range(0, self.image.height, step):
            box = (0, top, self.image.width, min(top + step, self.image.height))
            band = self.image.crop(box)
            values = np.asarray(band)
            if self.low is not None:
                values = (values.astype(np.uint16) << 8 | np.asarray(self.low.crop(box)))[:, :, :3]
            yield slice(box[1], box[3]), band, values


def decoded(image: ImageFile.ImageFile, data: bytes) -> Decoded:
    """Decode an opened image of these bytes, and find what its values are."""
    if image.format == "WEBP" and image.width * image.height > SMALL_WEBP:
        large = _decoded_webp(data, image.size)
        if large is not None:
            return Decoded(large, None, None, None)
    rawmodes = {_rawmode(tile) for tile in image.tile}
    low = None
    if rawmodes & set(SIXTEEN_BITS) and not (image.mode == "RGB" and image.has_transparency_data):
        low = Image.open(BytesIO(data), formats=FORMATS)
        low.tile = [_other_bytes(tile) for tile in low.tile]
        low.load()
    image.load()
    return measured(image, low)


def _decoded_webp(data: bytes, size: tuple[int, int]) -> Image.Image | None:
    """Decode a WebP, of an animated one its first frame, by torchvision: Pillow holds it in 16 bytes a pixel.

    Where there is no torchvision, as beside an exported model, it is None: Pillow gives the same pixels.
    """
    try:
        import torch
        from torchvision.io import decode_webp
    except ModuleNotFoundError:
        return None
    frame, place = first_frame(data)
    pixels = decode_webp(torch.frombuffer(bytearray(frame), dtype=torch.uint8)).permute(1, 2, 0).numpy()
    image = Image.fromarray(pixels)
    if image.size == size:
        return image
    canvas = Image.new("RGBA", size)
    canvas.paste(image, place)
    return canvas


def measured(image: Image.Image, low: Image.Image | None) -> Decoded:
    """Find what the values of a decoded image are, and which of them are black and white."""
    pixels = Decoded(image, low, None, None)
    if low is None and image.mode[0] not in "IF":
        return pixels
    values = _extremes(pixels)
    return Decoded(image, low, values, value_range(*values, whole=image.mode[0] != "F"))


def _rawmode(tile: Any) -> str:
    name = tile.args if isinstance(tile.args, str) else tile.args[0]
    return NATIVE.get(name, name)


def _other_bytes(tile: Any) -> Any:
    """Have Pillow, which reads the high byte of each colour, read the low one: it comes first in the other order."""
    other = SIXTEEN_BITS[_rawmode(tile)]
    return tile._replace(args=other if isinstance(tile.args, str) else (other, *tile.args[1:]))


def upright_rgb(pixels: Decoded, orientation: int) -> NDArray[np.uint8]:
    """Return a decoded image in RGB and upright."""
    width, height = pixels.image.size
    upright = np.empty((width, height, 3) if orientation in SIDEWAYS else (height, width, 3), dtype=np.uint8)
    stored = upright.swapaxes(0, 1) if orientation in SIDEWAYS else upright
    stored = stored[::-1] if orientation in FROM_BELOW else stored
    stored = stored[:, ::-1] if orientation in FROM_RIGHT else stored
    for rows, band, values in pixels.bands():
        if pixels.shown is None:
            stored[rows] = _rgb(band)
            continue
        shown = _eight_bit(values, pixels.shown)
        if band.mode == "RGBA":
            shown = _rgb(Image.merge("RGBA", (*Image.fromarray(shown).split(), band.getchannel("A"))))
        stored[rows] = shown if shown.ndim == 3 else shown[:, :, None]
    return upright


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _extremes(pixels: Decoded) -> tuple[float, float]:
    """Return the lowest and the highest value of an image."""
    ends = [(float(values.min()), float(values.max())) for _, _, values in pixels.bands()]
    if not np.isfinite(ends).all():
        raise ValueError("it holds values that are not finite")
    return min(low for low, _ in ends), max(high for _, high in ends)


def value_range(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    """Return which values of a deep image are black and white, by the lowest and highest that it holds.

    Whole numbers of at most 16 bits: all of the smallest depth of 8, 10, 12, 14 or 16 bits that holds them, so that
    images of one camera are alike. Where they use less than an eighth of that (a micrograph), from the lowest to the
    highest, moved outwards to sixty-fourths of the depth. Other ones have no agreed range: from lowest to highest.

    >>> value_range(3, 3900, whole=True), value_range(33069, 36863, whole=True)
    ((0.0, 4095.0), (32768.0, 36863.0))
    """
    if not whole or low < 0 or high > 65535:
        return low, high
    levels = next(1 << depth for depth in DEPTHS if high < 1 << depth)
    if (high - low) * NARROW >= levels or levels == 1 << DEPTHS[0]:
        return 0.0, levels - 1.0
    step = levels // STEPS
    return float(low // step * step), float((high // step + 1) * step - 1)


def _eight_bit(values: NDArray[np.generic], shown: tuple[float, float]) -> NDArray[np.uint8]:
    low, high = shown
    if low == high:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.rint((values.astype(np.float64) - low) * (255 / (high - low))).astype(np.uint8)
