"""The image formats that are read, and the names of their files."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from PIL import features

FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
HAS_AVIF: Final = "avif" in features.get_supported_modules()  # built into Pillow's wheels since 11.3
HAS_HEIF: Final = find_spec("pi_heif") is not None  # the extra sppnet[heic]
SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
    | ({".avif"} if HAS_AVIF else set())
    | ({".heic", ".heif"} if HAS_HEIF else set())
)
VIDEOS: Final = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"})  # that the studio takes frames of


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
