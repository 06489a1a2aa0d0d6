"""(H, W, 3) uint8: scaled, cut out, warped, written, made ready for a network."""

from io import BytesIO
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sppnet.errors import ImageDecodeError

if TYPE_CHECKING:
    from torch import Tensor

Channels = float | tuple[float, float, float]  # one number for all channels of an image, or one for each
# Scaled, 16 megapixels take 2.5 GB inside the default network.
MAX_SCALED_PIXELS: Final = 16_000_000
MAX_WHOLE_PIXELS: Final = 2_500_000  # go through the network at once: some 500 MB of activations


def resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale (H, W, 3) uint8 to ``size`` (height, width): bicubic, smoothed when it shrinks.

    Raises:
        ImageDecodeError: the result would have more than ``MAX_SCALED_PIXELS``; raised before memory is taken.
    """
    height, width = size
    if height * width > MAX_SCALED_PIXELS:
        was = f"{image.shape[0]} x {image.shape[1]}"
        raise ImageDecodeError(
            f"image of {was} pixels", f"scaled it has {height} x {width}, more than {MAX_SCALED_PIXELS:,} pixels"
        )
    if image.shape[:2] == size:
        return image
    # Line by line, then column by column: of tall images some versions of Pillow do the columns first.
    across = Image.fromarray(image).resize((width, image.shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(across.resize((width, height), Image.Resampling.BICUBIC))


def mirror(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W, 3) turned left to right; whether before or after ``resize``, it comes to the same bits."""
    return np.ascontiguousarray(image[:, ::-1])


def encode(image: NDArray[np.uint8], form: str, *, quality: int = 90) -> bytes:
    """Return (H, W, 3) uint8 as a file's bytes, of one of ``FORMATS``."""
    out = BytesIO()
    Image.fromarray(image).save(out, form, quality=quality)
    return out.getvalue()


def to_tensor(image: NDArray[np.uint8], *, mean: Channels, std: Channels) -> "Tensor":
    """(H, W, 3) uint8 -> (3, H, W) float32 ``(value - mean) / std``, channels last in memory."""
    import torch  # what reads, shows and converts images does without

    pixels = torch.tensor(image, dtype=torch.float32)
    return pixels.sub_(torch.as_tensor(mean)).div_(torch.as_tensor(std)).permute(2, 0, 1)


def crop(image: NDArray[np.uint8], box: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Cut out every pixel that a box [left, top, right, bottom] touches, at least one."""
    left, top = np.floor(box[:2]).astype(int)
    right, bottom = np.maximum(np.ceil(box[2:]).astype(int), (left + 1, top + 1))
    return image[top:bottom, left:right]


def warp(
    image: NDArray[np.uint8], box: NDArray[np.float64], place: NDArray[np.int64], *, side: int, fill: int
) -> NDArray[np.uint8]:
    """Stretch a box of an image into a place of a square of ``side`` pixels, bilinear; the rest is ``fill``.

    Args:
        image: (H, W, 3) uint8. box: (4,) in its pixels. place: (4,) whole pixels of the square, not empty.
    Returns:
        (side, side, 3) uint8.
    """
    left, top, right, bottom = place.tolist()
    warped = np.full((side, side, 3), fill, dtype=np.uint8)
    stretched = Image.fromarray(image).resize((right - left, bottom - top), Image.Resampling.BILINEAR, tuple(box))
    warped[top:bottom, left:right] = np.asarray(stretched)
    return warped
