"""Images and videos that a person drops onto the page are copied into the folder; of a video, its frames."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sppnet.errors import ArgumentError, ImageDecodeError, MissingExtraError, message
from sppnet.images import FORMATS, SUFFIXES, encode, read_size
from sppnet.storage import write_file
from sppnet.web.studio.folder import Folder

VIDEOS: Final = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"})
MOST_BYTES: Final = 2_000_000_000
PARTIAL: Final = "upload-"  # how names begin of what is being received
EVERY: Final = 1.0  # seconds between two frames of a video
MOST_FRAMES: Final = 2000
JPEG_QUALITY: Final = 92


async def receive(folder: Folder, name: str, body: AsyncIterator[bytes]) -> list[Path]:
    """Write a file that comes in parts, whole or not at all.

    Args:
        name: that its sender gives it; of a path only the last part counts.
    Returns:
        The image files that are new; those of an image that is there already, byte for byte, are there.
    Raises:
        ArgumentError: a name of no image or video, or bytes that are none.
    """
    named = PurePosixPath(name.replace("\\", "/").strip()).name.lstrip(".")
    kind = Path(named).suffix.lower()
    if kind not in SUFFIXES | VIDEOS or len(named.encode()) > 200 or not named.isprintable():
        expected = f"the name of an image ({', '.join(FORMATS)}) or a video"
        raise ArgumentError(message("studio", "the file", expected, repr(name[:100]), "Choose another file"))
    partial = folder.hidden / f"{PARTIAL}{secrets.token_hex(8)}{kind}"
    try:
        await write_parts(partial, body)
        return _frames(partial, folder.root / Path(named).stem) if kind in VIDEOS else [_image(partial, folder, named)]
    finally:
        partial.unlink(missing_ok=True)


async def write_parts(file: Path, body: AsyncIterator[bytes]) -> None:
    """Write a file that comes in parts."""
    with file.open("wb") as opened:
        async for part in body:
            opened.write(part)


def _image(partial: Path, folder: Folder, name: str) -> Path:
    try:
        read_size(partial)
    except ImageDecodeError as error:
        advice = "Choose another file"
        raise ArgumentError(message("studio", "the file", "an image", f"{name}: {error.reason}", advice)) from error
    place = _free(folder.root / name, content := partial.read_bytes())
    if not place.exists():
        write_file(place, content)
    return place


def _free(path: Path, content: bytes) -> Path:
    """Return the path, or one with a number where another file lies there."""
    number, place = 1, path
    while place.exists() and place.read_bytes() != content:
        number += 1
        place = path.with_stem(f"{path.stem} {number}")
    return place


def _frames(video: Path, folder: Path) -> list[Path]:
    """Write a frame a second of a video as JPEG into a folder of its name."""
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "studio: videos need the extra 'proposals'. Install it: pip install 'sppnet[proposals]'."
        ) from error
    reader = cv2.VideoCapture(str(video))
    step = max(1, round((reader.get(cv2.CAP_PROP_FPS) or 25) * EVERY))
    written: list[Path] = []
    try:
        number = 0
        while reader.grab() and len(written) < MOST_FRAMES:
            if number % step == 0:
                there, pixels = reader.retrieve()
                if there:
                    written.append(folder / f"frame_{number:07}.jpg")
                    rgb: NDArray[np.uint8] = np.array(pixels[:, :, ::-1], dtype=np.uint8)
                    write_file(written[-1], encode(rgb, "JPEG", quality=JPEG_QUALITY), durable=False)
            number += 1
    finally:
        reader.release()
    if not written:
        raise ArgumentError(message("studio", "the file", "a video", "one without a frame", "Choose another file"))
    return written
