"""Image files to pixels: opened, refused where decoding would be out of proportion, read upright and in RGB."""

import hashlib
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from sppnet.errors import ArgumentError, ImageDecodeError, check_shape, check_that, message
from sppnet.geometry import SIDEWAYS
from sppnet.images.formats import accepted_formats
from sppnet.images.headers import CHANNELS, check_parts, check_scans, count_pages, layout_of_tiff, tiff_tags
from sppnet.images.rgb import decoded, measured, upright_rgb
from sppnet.storage import open_file, read_file

if TYPE_CHECKING:
    from torch import Tensor

Source = Path | str | bytes | NDArray[np.uint8]
# Pillow holds 4 bytes a pixel of colour and the result has 3: reading takes at most 8 bytes a pixel and the file's own.
MAX_PIXELS: Final = 100_000_000
# These decoders hold the whole image several times (large WebP 8 bytes a pixel, AVIF up to 12); others go row by row.
MAX_WEBP_PIXELS: Final = 32_000_000
HELD_WHOLE: Final = ("WEBP", "AVIF", "HEIF")
MAX_BYTES: Final = 500_000_000
EXIF_ORIENTATION: Final = 0x0112


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
    return _decoded(*_named_bytes(source), most, at_least)


def _decoded(name: str, data: bytes, most: int = MAX_PIXELS, at_least: int | None = None) -> NDArray[np.uint8]:
    with _opened(name, BytesIO(data), most) as image:
        if image.format == "JPEG":
            check_scans(name, data, image.width * image.height)
        if at_least is not None:
            _draft(image, at_least)
        orientation = 1 if image.format == "TIFF" else _orientation(image)  # TIFF is turned by the time it is decoded
        return upright_rgb(decoded(image, data), orientation)


def _draft(image: Image.Image, at_least: int) -> None:
    """Have a JPEG decoded at the smallest scale whose shorter side is ``at_least``; other formats stay whole."""
    shrink = min(image.size) // at_least
    if shrink > 1:
        image.draft(None, (image.width // shrink, image.height // shrink))


def is_one_image(images: Any) -> bool:
    """Tell one image, in any form that ``as_source`` takes, from an iterable of several.

    Raises:
        ArgumentError: what is neither.
    """
    if isinstance(images, os.PathLike | str | bytes | Image.Image):
        return True
    expected, advice = "an image, or an iterable of images", "Give a path, pixels or a file's bytes, or several"
    fits = isinstance(images, Iterable) or hasattr(images, "__getitem__")  # torch's data sets have the latter alone
    check_that(fits, "read_image", "images", expected, type(images).__name__, advice=advice)
    # Two axes are an image without colours, which is refused when it is read: never a list of its rows.
    return (isinstance(images, np.ndarray) or _is_tensor(images)) and images.ndim in (2, 3)


def _is_tensor(image: Any) -> "TypeGuard[Tensor]":
    torch = sys.modules.get("torch")  # as long as nobody imported it, nothing is a tensor
    return torch is not None and isinstance(image, torch.Tensor)


def as_source(image: Any) -> Source:
    """Return an image in memory as pixels; paths, bytes and arrays as they are.

    Args:
        image: a PIL image, or a torch tensor (3, H, W), uint8 or float in 0..1; or what ``read_image`` takes.
    Raises:
        ShapeError: a tensor of another shape. ArgumentError: something that is no image in any form.
    """
    if isinstance(image, Image.Image):
        return upright_rgb(measured(ImageOps.exif_transpose(image), None), orientation=1)
    if _is_tensor(image):
        check_shape("read_image", "image", tuple(image.shape), (3, "H", "W"), advice="Give a torch tensor (3, H, W)")
        pixels = image.detach().cpu()
        scaled = (pixels.float().clamp(0, 1) * 255).round() if pixels.is_floating_point() else pixels
        return np.ascontiguousarray(scaled.byte().permute(1, 2, 0).numpy())
    if isinstance(image, os.PathLike):
        return Path(image)
    expected = "one image: a path, a file's bytes, a PIL image, pixels (H, W, 3) or a tensor (3, H, W)"
    fits = isinstance(image, str | bytes | np.ndarray)
    check_that(fits, "read_image", "image", expected, type(image).__name__, advice="Give one of these")
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


class Content:
    """An image as it is when it is first looked at: what stands for it and its pixels are of the same bytes.

    A file is read once, and its bytes are held as long as this is: make one for an image's turn, and let it go.
    """

    def __init__(self, image: Source) -> None:
        self._image = image

    @classmethod
    def of(cls, image: "Source | Content") -> "Content":
        """Return an image's content; what is one already, as it is."""
        return image if isinstance(image, Content) else cls(image)

    @cached_property
    def digest(self) -> str:
        """What stands for it, whatever it is called; raises as ``image_digest``."""
        return image_digest(self._known)

    def pixels(self) -> NDArray[np.uint8]:
        """Decode it to (H, W, 3) uint8 RGB; raises as ``read_image``."""
        if isinstance(self._known, bytes):
            return _decoded("image" if isinstance(self._image, bytes) else str(self._image), self._known)
        return _checked_pixels(self._known)

    @cached_property
    def _known(self) -> bytes | NDArray[np.uint8]:
        return read_bytes(self._image) if isinstance(self._image, Path | str) else self._image


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


def read_header(path: Path | str) -> tuple[tuple[int, int], int]:
    """Return the (height, width) of an image file as it is seen, and its EXIF orientation, 1 to 8; 1 if it has none.

    Raises:
        ImageDecodeError: the header cannot be read.
    """
    with _reading(path), open_file(path) as file, _opened(path, file) as image:
        return _seen_size(image), _orientation(image)


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
        file.seek(0)
        empty = "" if file.read(1) else "the file is empty"
        none = f"its content is none of {', '.join(accepted_formats())}"
        raise ImageDecodeError(name, empty or layout_of_tiff(file) or none) from error
    except Exception as error:  # Pillow raises eight types and more on bad bytes
        said = str(error) or type(error).__name__
        cut = "its end is missing, as of a copy or a download that was cut off" if "truncated" in said.lower() else ""
        raise ImageDecodeError(name, cut or said) from error


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
        size, (pages, unread) = _seen_size(image), _parts_of(image, data)
        pixels = decoded(image, data)
        return ImageFacts(size, pages, unread, pixels.values, pixels.shown)


def read_parts(path: Path | str) -> tuple[int, int]:
    """Return how many pages or frames an image file has, of which the first is read, and channels that are not read.

    Raises:
        ImageDecodeError: its header cannot be read.
    """
    data = read_bytes(path)
    with _opened(path, BytesIO(data)) as image:
        return _parts_of(image, data)


def _parts_of(image: ImageFile.ImageFile, data: bytes) -> tuple[int, int]:
    if image.format != "TIFF":
        return getattr(image, "n_frames", 1), 0
    channels = tiff_tags(BytesIO(data)).get(CHANNELS, (1, 1))[1]
    return count_pages(data), max(0, channels - len(image.getbands())) if image.mode != "P" else 0
