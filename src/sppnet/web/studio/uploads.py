"""Images and videos that a person drops onto the page are copied into the folder; of a video, its frames."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool

from sppnet.errors import ArgumentError, ImageDecodeError, MissingExtraError, message
from sppnet.images import FORMATS, MAX_PIXELS, SUFFIXES, VIDEOS, encode, read_image
from sppnet.storage import read_file, write_file
from sppnet.web.studio.folder import Folder

MOST_BYTES: Final = 2_000_000_000
PARTIAL: Final = "upload-"  # how names begin of what is being received
LONGEST_STEP: Final = 3600.0  # seconds between two frames of a video
MOST_FRAMES: Final = 2000
USUAL_RATE: Final = 25.0  # frames a second, where a file says none that is one
MOST_RATE: Final = 1000.0
JPEG_QUALITY: Final = 92


class Received(NamedTuple):
    """The image files that came of one, those that are new; ``cut``: a video has more frames than are taken."""

    files: list[Path]
    fresh: int
    cut: bool


async def receive(folder: Folder, name: str, body: AsyncIterator[bytes], *, every: float) -> Received:
    """Write a file that comes in parts, whole or not at all.

    Args:
        name: that its sender gives it; of a path only the last part counts.
        every: seconds between two frames of a video.
    Returns:
        The image files; an image that is there already, byte for byte, stays as it is.
    Raises:
        ArgumentError: a name of no image or video, or bytes that are none.
    """
    named = PurePosixPath(name.replace("\\", "/").strip()).name.lstrip(".")
    kind = Path(named).suffix.lower()
    if kind not in SUFFIXES | VIDEOS or len(named.encode()) > 200 or not named.isprintable():
        asked = f"{name[:100]!r} is the name of neither an image ({', '.join(FORMATS)}) nor a video"
        raise ArgumentError(f"studio: {asked}. Choose another file.")
    partial = folder.hidden / f"{PARTIAL}{secrets.token_hex(8)}{kind}"
    try:
        await write_parts(partial, body)
        if kind in VIDEOS:
            return await run_in_threadpool(_frames, partial, folder.root / Path(named).stem, every)
        return await run_in_threadpool(_image, partial, folder, named)
    finally:
        partial.unlink(missing_ok=True)


async def write_parts(file: Path, body: AsyncIterator[bytes]) -> None:
    """Write a file that comes in parts."""
    with file.open("wb") as opened:
        async for part in body:
            opened.write(part)


def _image(partial: Path, folder: Folder, name: str) -> Received:
    try:
        read_image(partial)  # whole: a file that is cut off tells its size too
    except ImageDecodeError as error:
        raise ArgumentError(f"studio: {name} cannot be read: {error.reason}. Choose another file.") from error
    place = _free(folder.root / name, content := read_file(partial))
    if fresh := not place.exists():
        write_file(place, content)
    return Received([place], fresh=int(fresh), cut=False)


def _free(path: Path, content: bytes) -> Path:
    """Return the path, or one with a number where another file lies there."""
    number, place = 1, path
    while place.exists() and read_file(place) != content:
        number += 1
        place = path.with_stem(f"{path.stem} {number}")
    return place


def _frames(video: Path, folder: Path, every: float) -> Received:
    """Write frames of a video as JPEG into a folder of its name, one frame in memory at a time."""
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "studio: videos need the extra 'proposals'. Install it: pip install 'sppnet[proposals]'."
        ) from error
    reader = cv2.VideoCapture(str(video))
    try:
        width, height = (int(reader.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MAX_PIXELS:
            expected, actual = f"a video of up to {MAX_PIXELS} pixels a frame", f"one of {width} x {height}"
            raise ArgumentError(message("studio", "the file", expected, actual, "Make it smaller first"))
        rate = reader.get(cv2.CAP_PROP_FPS)
        step = max(1, round((rate if 0 < rate < MOST_RATE else USUAL_RATE) * every))
        written: list[Path] = []
        number = fresh = 0
        while len(written) < MOST_FRAMES and reader.grab():
            there, pixels = reader.retrieve() if number % step == 0 else (False, None)
            if there and pixels is not None:
                rgb: NDArray[np.uint8] = np.array(pixels[:, :, ::-1], dtype=np.uint8)
                content = encode(rgb, "JPEG", quality=JPEG_QUALITY)
                name = f"frame_{number:07}.jpg"
                if not written:
                    folder = _free_folder(folder, name, content)
                written.append(folder / name)
                fresh += not written[-1].exists()
                write_file(written[-1], content, durable=False)
            number += 1
        cut = len(written) == MOST_FRAMES and reader.grab()
    finally:
        reader.release()
    if not written:
        raise ArgumentError(message("studio", "the file", "a video", "one without a frame", "Choose another file"))
    return Received(written, fresh, cut)


def _free_folder(folder: Path, first: str, content: bytes) -> Path:
    """Return the folder, or one with a number where it holds another video's frames."""
    number, place = 1, folder
    while place.exists() and not ((place / first).is_file() and read_file(place / first) == content):
        number += 1
        place = folder.with_name(f"{folder.name} {number}")
    return place
