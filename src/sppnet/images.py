"""Pixels: bytes -> upright RGB, scaled, ready for a network. The only place that knows (H, W, 3) uint8.

One rule to RGB for every accepted format: EXIF orientation applied, first frame, deep values scaled to 8 bits and never
clipped (``value_range``), transparency over white, palettes and CMYK converted.

A file is refused before it is decoded where decoding would take memory or time out of proportion: what counts is
what the file asks for (pixels, scans, parts), not a clock, so that the same file is refused on every machine.
"""

import hashlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError, features

from sppnet.errors import ArgumentError, ImageDecodeError, check_shape, message
from sppnet.image_headers import CHANNELS, check_parts, check_scans, count_pages, first_frame, layout_of_tiff, tiff_tags
from sppnet.storage import open_file, read_file

if TYPE_CHECKING:
    from torch import Tensor

Source = Path | str | bytes | NDArray[np.uint8]
Channels = float | tuple[float, float, float]  # one number for all channels of an image, or one for each

FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
HAS_AVIF: Final = "avif" in features.get_supported_modules()  # built into Pillow's wheels since 11.3
HAS_HEIF: Final = find_spec("pi_heif") is not None  # the extra sppnet[heic]
SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
    | ({".avif"} if HAS_AVIF else set())
    | ({".heic", ".heif"} if HAS_HEIF else set())
)
# Pillow holds 4 bytes a pixel of colour and the result has 3: reading takes at most 8 bytes a pixel and the file's own.
MAX_PIXELS: Final = 100_000_000
# These decoders hold the whole image several times (large WebP 8 bytes a pixel, AVIF up to 12); others go row by row.
MAX_WEBP_PIXELS: Final = 32_000_000
SMALL_WEBP: Final = 4_000_000  # Pillow reads these in 75 MB, where to load torchvision would take 160
HELD_WHOLE: Final = ("WEBP", "AVIF", "HEIF")
# Scaled, 16 megapixels take 2.5 GB inside the default network.
MAX_SCALED_PIXELS: Final = 16_000_000
MAX_BYTES: Final = 500_000_000
BAND: Final = 1 << 18  # pixels that are converted at a time: 22 bytes each while they are, where some are clear
DEPTHS: Final = (8, 10, 12, 14, 16)  # bits that cameras and scanners have
NARROW: Final = 8  # where less than an eighth of a depth's range is used, it is not the range
STEPS: Final = 64  # of a depth's range; a narrow range begins and ends at one of them
EXIF_ORIENTATION: Final = 0x0112
SIDEWAYS: Final = frozenset({5, 6, 7, 8})  # EXIF orientations that exchange height and width
FROM_BELOW: Final = frozenset({3, 4, 6, 7})  # whose first row in the file is the last that is seen, or column
FROM_RIGHT: Final = frozenset({2, 3, 7, 8})


def is_image(path: Path) -> bool:
    """Tell by its name whether a file is an image of an accepted format; hidden files are none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


@cache
def accepted_formats() -> tuple[str, ...]:
    """Return the formats that are read: ``FORMATS``, and what this Pillow and the extra ``heic`` add."""
    if HAS_HEIF:
        import pi_heif

        pi_heif.register_heif_opener()
    return (*FORMATS, *(("AVIF",) if HAS_AVIF else ()), *(("HEIF",) if HAS_HEIF else ()))


def read_bytes(path: Path | str) -> bytes:
    """Return an image file's bytes.

    Raises:
        ImageDecodeError: no such file, no permission, no regular file, or more than ``MAX_BYTES``.
    """
    with _reading(path):
        return read_file(path, most=MAX_BYTES)


@contextmanager
def _reading(path: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageDecodeError(path, reason[0].lower() + reason[1:]) from error
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
        if image.format == "JPEG":
            check_scans(name, data, image.width * image.height)
        if at_least is not None:
            _draft(image, at_least)
        orientation = 1 if image.format == "TIFF" else _orientation(image)  # TIFF is turned by the time it is decoded
        return _upright(_decoded(image, data), orientation)


def _draft(image: Image.Image, at_least: int) -> None:
    """Have a JPEG decoded at the smallest scale whose shorter side is ``at_least``; other formats stay whole."""
    shrink = min(image.size) // at_least
    if shrink > 1:
        image.draft(None, (image.width // shrink, image.height // shrink))


def is_one_image(images: Any) -> bool:
    """Tell one image, in any form that ``as_source`` takes, from an iterable of several."""
    if isinstance(images, Path | str | bytes | Image.Image):
        return True
    return (isinstance(images, np.ndarray) or _is_tensor(images)) and images.ndim == 3


def _is_tensor(image: Any) -> "TypeGuard[Tensor]":
    torch = sys.modules.get("torch")  # as long as nobody imported it, nothing is a tensor
    return torch is not None and isinstance(image, torch.Tensor)


def as_source(image: Any) -> Source:
    """Return an image in memory as pixels; paths, bytes and arrays as they are.

    Args:
        image: a PIL image, or a torch tensor (3, H, W), uint8 or float in 0..1; or what ``read_image`` takes.
    """
    if isinstance(image, Image.Image):
        return _upright(_measured(ImageOps.exif_transpose(image), None), orientation=1)
    if _is_tensor(image):
        check_shape("read_image", "image", tuple(image.shape), (3, "H", "W"), advice="Give a torch tensor (3, H, W)")
        pixels = image.detach().cpu()
        scaled = (pixels.float().clamp(0, 1) * 255).round() if pixels.is_floating_point() else pixels
        return np.ascontiguousarray(scaled.byte().permute(1, 2, 0).numpy())
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
    with _reading(image), open_file(image) as file:
        return _size_in(image, file)


def _size_in(name: Path | str, file: BinaryIO) -> tuple[int, int]:
    with _opened(name, file) as image:
        return _seen_size(image)


def _seen_size(image: Image.Image) -> tuple[int, int]:
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
def _opened(name: Path | str, file: BinaryIO, most: int = MAX_PIXELS) -> Iterator[ImageFile.ImageFile]:
    """Open an image of an accepted format and size; whatever goes wrong inside becomes one error."""
    try:
        check_parts(name, file)
        # Pillow warns of what is refused below, or mended; in threads, a warning may still come through.
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=accepted_formats()) as image:
            width, height = image.size
            most = min(most, MAX_WEBP_PIXELS) if image.format in HELD_WHOLE else most
            if width * height > most:
                raise ImageDecodeError(name, f"{height} x {width} pixels are more than {most:,}")
            yield image
    except (ImageDecodeError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        layout = layout_of_tiff(file)
        raise ImageDecodeError(name, layout or f"its content is none of {', '.join(accepted_formats())}") from error
    except Exception as error:  # Pillow raises eight types and more on bad bytes
        raise ImageDecodeError(name, str(error) or type(error).__name__) from error


# Facts, for ``sppnet check``


@dataclass(frozen=True)
class ImageFacts:
    """What is read of an image file, and what is not.

    Args:
        size: (height, width) as it is seen.
        pages: of a TIFF, or frames of an animation; the first is read.
        unread: channels of a TIFF that are not read; the first ones are.
        values: lowest and highest of a file of more than 8 bits; None for one of 8 bits.
        shown: the values that are read as black and as white; None for one of 8 bits.
    """

    size: tuple[int, int]
    pages: int
    unread: int
    values: tuple[float, float] | None
    shown: tuple[float, float] | None


def read_facts(path: Path | str) -> ImageFacts:
    """Return what is read of an image file; one of more than 8 bits is decoded for it.

    Raises:
        ImageDecodeError: the file cannot be read.
    """
    data = read_bytes(path)
    with _opened(path, BytesIO(data)) as image:
        size, pages, unread = _seen_size(image), getattr(image, "n_frames", 1), 0
        if image.format == "TIFF":
            channels = tiff_tags(BytesIO(data)).get(CHANNELS, (1, 1))[1]
            pages, unread = count_pages(data), max(0, channels - len(image.getbands())) if image.mode != "P" else 0
        pixels = _decoded(image, data)
        return ImageFacts(size, pages, unread, pixels.values, pixels.shown)


# To RGB


SIXTEEN_BITS: Final = {"RGB;16L": "RGB;16B", "RGB;16B": "RGB;16L", "RGBA;16L": "RGBA;16B", "RGBA;16B": "RGBA;16L"}
NATIVE: Final = {"RGB;16N": f"RGB;16{sys.byteorder[0].upper()}", "RGBA;16N": f"RGBA;16{sys.byteorder[0].upper()}"}


@dataclass(frozen=True)
class _Decoded:
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


def _decoded(image: ImageFile.ImageFile, data: bytes) -> _Decoded:
    """Decode an opened image of these bytes, and find what its values are."""
    if image.format == "WEBP" and image.width * image.height > SMALL_WEBP:
        return _Decoded(_decoded_webp(data, image.size), None, None, None)
    rawmodes = {_rawmode(tile) for tile in image.tile}
    low = None
    if rawmodes & set(SIXTEEN_BITS) and not (image.mode == "RGB" and image.has_transparency_data):
        low = Image.open(BytesIO(data), formats=FORMATS)
        low.tile = [_other_bytes(tile) for tile in low.tile]
        low.load()
    image.load()
    return _measured(image, low)


def _decoded_webp(data: bytes, size: tuple[int, int]) -> Image.Image:
    """Decode a WebP, of an animated one its first frame, by torchvision: Pillow holds it in 16 bytes a pixel."""
    import torch
    from torchvision.io import decode_webp

    frame, place = first_frame(data)
    pixels = decode_webp(torch.frombuffer(bytearray(frame), dtype=torch.uint8)).permute(1, 2, 0).numpy()
    image = Image.fromarray(pixels)
    if image.size == size:
        return image
    canvas = Image.new("RGBA", size)
    canvas.paste(image, place)
    return canvas


def _measured(image: Image.Image, low: Image.Image | None) -> _Decoded:
    pixels = _Decoded(image, low, None, None)
    if low is None and image.mode[0] not in "IF":
        return pixels
    values = _extremes(pixels)
    return _Decoded(image, low, values, value_range(*values, whole=image.mode[0] != "F"))


def _rawmode(tile: Any) -> str:
    name = tile.args if isinstance(tile.args, str) else tile.args[0]
    return NATIVE.get(name, name)


def _other_bytes(tile: Any) -> Any:
    """Have Pillow, which reads the high byte of each colour, read the low one: it comes first in the other order."""
    other = SIXTEEN_BITS[_rawmode(tile)]
    return tile._replace(args=other if isinstance(tile.args, str) else (other, *tile.args[1:]))


def _upright(pixels: _Decoded, orientation: int) -> NDArray[np.uint8]:
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


def _extremes(pixels: _Decoded) -> tuple[float, float]:
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
