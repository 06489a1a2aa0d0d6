"""Pixels: bytes -> upright RGB, scaled, ready for a network. The only place that knows (H, W, 3) uint8.

One rule to RGB for every accepted format: EXIF orientation applied, first frame, 16-bit scaled to 8 and never
clipped, transparency over white, palettes and CMYK converted.
"""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from sppnet.errors import ArgumentError, ImageDecodeError, check_shape, message

Source = Path | str | bytes | NDArray[np.uint8]
Channels = float | tuple[float, float, float]  # one number for all channels of an image, or one for each

FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
# Decoded, 100 megapixels take 300 MB. Scaled, 16 megapixels take 2.5 GB inside the default network.
MAX_PIXELS: Final = 100_000_000
MAX_SCALED_PIXELS: Final = 16_000_000
MAX_BYTES: Final = 500_000_000
EXIF_ORIENTATION: Final = 0x0112
SIDEWAYS: Final = frozenset({5, 6, 7, 8})  # EXIF orientations that exchange height and width
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def is_image(path: Path) -> bool:
    """Tell by its name whether a file is an image of an accepted format; hidden files are none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def read_bytes(path: Path | str) -> bytes:
    """Return an image file's bytes.

    Raises:
        ImageDecodeError: no such file, no permission, or more than ``MAX_BYTES``.
    """
    with _reading(path):
        if Path(path).stat().st_size > MAX_BYTES:
            raise ImageDecodeError(path, f"the file is larger than {MAX_BYTES // 10**6} MB")
        return Path(path).read_bytes()


@contextmanager
def _reading(path: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ImageDecodeError(path, (error.strerror or str(error)).lower()) from error
    except ValueError as error:  # a NUL in the name
        raise ImageDecodeError(path, str(error)) from error


def read_image(source: Source, *, most: int = MAX_PIXELS, at_least: int | None = None) -> NDArray[np.uint8]:
    """Read an image, upright and in RGB.

    Args:
        source: a path, a file's bytes, or pixels (H, W, 3) uint8 RGB, which are returned as they are.
        most: pixels of a file, at most, by its header.
        at_least: of a JPEG file whose shorter side is twice this or more, decode a half, a quarter or an eighth
            of each side, and never fewer pixels than this: several times as fast where it is scaled down anyway.
    Returns:
        (H, W, 3) uint8 RGB, contiguous.
    Raises:
        ImageDecodeError: whatever is wrong with the file, with its path and the reason.
        ShapeError, ArgumentError: pixels of another shape or type.
    """
    if isinstance(source, np.ndarray):
        return _checked_pixels(source)
    name, data = _named_bytes(source)
    with _opened(name, BytesIO(data), most) as image:
        if at_least is not None:
            _draft(image, at_least)
        turn = _UPRIGHT.get(_orientation(image))
        image.load()  # turns TIFF by itself
        upright = image if turn is None or image.format == "TIFF" else image.transpose(turn)
        return np.ascontiguousarray(_rgb(upright))


def _draft(image: Image.Image, at_least: int) -> None:
    """Have a JPEG decoded at the smallest scale whose shorter side is ``at_least``; other formats stay whole."""
    shrink = min(image.size) // at_least
    if shrink > 1:
        image.draft(None, (image.width // shrink, image.height // shrink))


def is_one_image(images: Any) -> bool:
    """Tell one image, in any form that ``as_source`` takes, from an iterable of several."""
    if isinstance(images, Path | str | bytes | Image.Image):
        return True
    return isinstance(images, np.ndarray | Tensor) and images.ndim == 3


def as_source(image: Any) -> Source:
    """Return an image in memory as pixels; paths, bytes and arrays as they are.

    Args:
        image: a PIL image, or a torch tensor (3, H, W), uint8 or float in 0..1; or what ``read_image`` takes.
    """
    if isinstance(image, Image.Image):
        return _rgb(ImageOps.exif_transpose(image))
    if isinstance(image, Tensor):
        check_shape("read_image", "image", tuple(image.shape), (3, "H", "W"), advice="Give a torch tensor (3, H, W)")
        pixels = image.detach().cpu()
        scaled = (pixels.float().clamp(0, 1) * 255).round() if pixels.is_floating_point() else pixels
        return np.ascontiguousarray(scaled.to(torch.uint8).permute(1, 2, 0).numpy())
    known: Source = image
    return known


def image_digest(image: Source) -> str:
    """Return what stands for an image's content, whatever it is called: 32 hexadecimal digits.

    Raises:
        ImageDecodeError: a file that cannot be read.
    """
    if isinstance(image, np.ndarray):
        content = str(image.shape).encode() + np.ascontiguousarray(image).tobytes()
    else:
        content = image if isinstance(image, bytes) else read_bytes(image)
    return hashlib.sha256(content).hexdigest()[:32]


def read_size(image: Source) -> tuple[int, int]:
    """Return the (height, width) of an image as it is seen, of a file from its header alone.

    Raises:
        ImageDecodeError: the header cannot be read.
    """
    if isinstance(image, np.ndarray):
        return image.shape[0], image.shape[1]
    if isinstance(image, bytes):
        return _size_in("image", BytesIO(image))
    with _reading(image), Path(image).open("rb") as file:
        return _size_in(image, file)


def _size_in(name: Path | str, file: BinaryIO) -> tuple[int, int]:
    with _opened(name, file) as image:
        width, height = image.size
        sideways = _orientation(image) in SIDEWAYS and image.format != "TIFF"  # whose size is turned already
    return (width, height) if sideways else (height, width)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8, from what stands before the pixels; 1 where there is none."""
    # Not image.getexif(): for PNG that decodes the whole image in search of more.
    return int(Image.Image.getexif(image).get(EXIF_ORIENTATION, 1))


def resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale (H, W, 3) uint8 to ``size`` (height, width): bicubic, smoothed when it shrinks.

    Raises:
        ImageDecodeError: the result would have more than ``MAX_SCALED_PIXELS``; raised before memory is taken.
    """
    height, width = size
    if height * width > MAX_SCALED_PIXELS:
        was = f"{image.shape[0]} x {image.shape[1]}"
        raise ImageDecodeError(
            f"image of {was} pixels", f"scaled it has {height} x {width}, more than {MAX_SCALED_PIXELS:,}"
        )
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def encode(image: NDArray[np.uint8], form: str, *, quality: int = 90) -> bytes:
    """Return (H, W, 3) uint8 as a file's bytes, of one of ``FORMATS``."""
    out = BytesIO()
    Image.fromarray(image).save(out, form, quality=quality)
    return out.getvalue()


def to_tensor(image: NDArray[np.uint8], *, mean: Channels, std: Channels) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) float32 ``(value - mean) / std``, channels last in memory."""
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


def _checked_pixels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    advice = "Give RGB pixels, or a path, or a file's bytes"
    check_shape("read_image", "image", pixels.shape, ("H", "W", 3), advice=advice)
    if pixels.dtype != np.uint8 or pixels.size == 0:
        actual = f"{pixels.dtype} of shape {pixels.shape}"
        raise ArgumentError(message("read_image", "image", "uint8 with at least one pixel", actual, advice))
    return np.ascontiguousarray(pixels)


def _named_bytes(source: Path | str | bytes) -> tuple[str, bytes]:
    if isinstance(source, bytes):
        return "image", source
    return str(source), read_bytes(source)


@contextmanager
def _opened(name: Path | str, file: BinaryIO, most: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Open an image of an accepted format and size; whatever goes wrong inside becomes one error."""
    try:
        # Pillow warns of what is refused below, or mended; in threads, a warning may still come through.
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > most:
                raise ImageDecodeError(name, f"{height} x {width} pixels are more than {most:,}")
            yield image
    except (ImageDecodeError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        accepted = ", ".join(FORMATS)
        raise ImageDecodeError(name, f"its content is none of {accepted}") from error
    except Exception as error:  # Pillow raises eight types and more on bad bytes
        raise ImageDecodeError(name, str(error) or type(error).__name__) from error


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith(("I", "F")):
        return np.repeat(_eight_bit(np.asarray(image))[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return np.asarray(image.convert("RGB"))


def _eight_bit(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale 16-bit grey to 8; deeper or floating values, which have no agreed range, from their own."""
    grey = values.astype(np.float64)
    low, high = 0.0, 65535.0
    if values.dtype.kind == "f" or grey.min() < low or grey.max() > high:
        if not np.isfinite(grey).all():
            raise ValueError("it holds values that are not finite")
        low, high = grey.min(), grey.max()
    if low == high:
        return np.zeros(grey.shape, dtype=np.uint8)
    return np.rint((grey - low) * (255 / (high - low))).astype(np.uint8)
