"""What an image file's own bytes tell before it is decoded: how many parts, scans, pages and channels it has.

A file of a few kilobytes may ask its decoder for minutes. What it asks for is counted here and refused beforehand, so
that the same file is refused on every machine, however fast.
"""

import re
import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, Literal

from sppnet.errors import ImageDecodeError

MAX_SCANNED: Final = 2_000_000_000  # pixels of a JPEG times its scans, each of which goes over all: some seconds
MAX_PARTS: Final = 100_000  # chunks of a PNG; strips or tiles of a TIFF
MAX_SEGMENTS: Final = 10_000  # of a JPEG's head, with bytes that belong to none
MAX_METADATA: Final = 32_000_000  # bytes of a JPEG's head
MAX_PAGES: Final = 10_000  # of a TIFF, counted
MAX_TAGS: Final = 10_000
BITS, STRIPS, CHANNELS, PLANES, TILES = 258, 273, 277, 284, 324  # tags of a TIFF
NEXT_PAGE: Final = 0  # stands among the tags for where the next page's tags lie


def check_parts(name: Path | str, file: BinaryIO) -> None:
    """Refuse a file whose head has so many parts that reading it would take for ever; the file is rewound.

    Raises:
        ImageDecodeError: naming what there is too much of.
    """
    start = file.read(8)
    if start[:2] == b"\xff\xd8":
        _check_segments(name, file)
    elif start == b"\x89PNG\r\n\x1a\n":
        _check_chunks(name, file)
    elif start[:2] in (b"II", b"MM"):
        _check_tags(name, file)
    file.seek(0)


def _check_segments(name: Path | str, file: BinaryIO) -> None:
    """Go over a JPEG's segments up to its first scan: Pillow joins those of one kind anew with each."""
    file.seek(2)
    for _ in range(MAX_SEGMENTS):
        if (mark := file.read(1)) != b"\xff":
            if not mark:
                return
            continue  # a byte that belongs to no segment
        marker, length = file.read(1), file.read(2)
        if marker in (b"\xda", b"") or len(length) < 2:
            return
        if marker == b"\xff":  # the mark may be written several times
            file.seek(-3, 1)
        else:
            file.seek(int.from_bytes(length, "big") - 2, 1)
        if file.tell() > MAX_METADATA:
            raise ImageDecodeError(name, f"it has more than {MAX_METADATA // 10**6} MB of metadata")
    raise ImageDecodeError(name, f"it has more than {MAX_SEGMENTS:,} parts before its pixels")


def _check_chunks(name: Path | str, file: BinaryIO) -> None:
    for _ in range(MAX_PARTS):
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    raise ImageDecodeError(name, f"it has more than {MAX_PARTS:,} chunks")


def _check_tags(name: Path | str, file: BinaryIO) -> None:
    tags = tiff_tags(file)
    parts = max(tags.get(tag, (0, 0))[0] for tag in (STRIPS, TILES))
    if parts > MAX_PARTS:
        raise ImageDecodeError(name, f"{parts:,} strips or tiles are more than {MAX_PARTS:,}")
    count, bits = tags.get(BITS, (1, 8))
    if count > 1 and tags.get(PLANES, (1, 1))[1] == 2:  # Pillow would take 16-bit planes for 8-bit ones
        file.seek(bits)
        if file.read(2) not in (b"\x08\0", b"\0\x08"):
            raise ImageDecodeError(name, "its 16-bit channels lie apart. Save it with the channels together")


def check_scans(name: Path | str, data: bytes, pixels: int) -> None:
    """Refuse a JPEG of so many scans, each of which goes over all its pixels, that decoding would take minutes.

    Raises:
        ImageDecodeError: its scans times its pixels are more than ``MAX_SCANNED``.
    """
    most = max(1, MAX_SCANNED // pixels)
    for count, _ in enumerate(_scans(data), start=1):
        if count > most:
            raise ImageDecodeError(name, f"it has more than {most:,} scans of {pixels:,} pixels each")


def _scans(data: bytes) -> Iterator[int]:
    """Yield the place of each scan of a JPEG."""
    marker = re.compile(rb"\xff[^\x00\xff\xd0-\xd8]")  # 00 is a byte of a scan, D0 to D7 stand inside of one
    place = 2
    while (found := marker.search(data, place)) and data[found.start() + 1] != 0xD9:
        if data[found.start() + 1] == 0xDA:
            yield found.start()
        place = found.end() + max(2, int.from_bytes(data[found.end() : found.end() + 2], "big"))


# WebP

ANIMATED, TRANSPARENT = 0x02, 0x10  # flags of a WebP with a canvas
FRAME_HEAD: Final = 16  # bytes before a frame's pixels: place, size, time, flags


def first_frame(data: bytes) -> tuple[bytes, tuple[int, int]]:
    """Return the first frame of an animated WebP as a file of its own, and its (left, top) on the canvas.

    Any other WebP is returned as it is: its place is (0, 0).

    Raises:
        ValueError: it holds no whole frame.
    """
    if data[12:16] != b"VP8X" or not data[20] & ANIMATED:
        return data, (0, 0)
    frame = next((content for name, content in _webp_chunks(data, 12) if name == b"ANMF"), b"")
    pixels = frame[FRAME_HEAD:]
    if pixels[:4] == b"ALPH":  # stands in front of pixels without it, in a file that has a canvas
        flags_and_size = bytes([TRANSPARENT, 0, 0, 0]) + frame[6:12]
        pixels = b"VP8X" + struct.pack("<I", len(flags_and_size)) + flags_and_size + pixels
    if not pixels:
        raise ValueError("it holds no whole frame")
    left, top = (2 * int.from_bytes(frame[place : place + 3], "little") for place in (0, 3))
    return b"RIFF" + struct.pack("<I", len(pixels) + 4) + b"WEBP" + pixels, (left, top)


def _webp_chunks(data: bytes, place: int) -> Iterator[tuple[bytes, bytes]]:
    while place + 8 <= len(data):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        yield data[place : place + 4], data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


# TIFF


def tiff_tags(file: BinaryIO, start: int | None = None) -> dict[int, tuple[int, int]]:
    """Return the tags of a page, the first or the one at ``start``: number -> (count, value or where it lies).

    Raises:
        struct.error: it is cut off.
    """
    file.seek(0)
    head = file.read(16)
    endian: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
    order = "<" if endian == "little" else ">"
    big = b"+" in head[2:4]
    number, entry, offset = ("Q", "HHQQ", "Q") if big else ("H", "HHII", "I")
    width = struct.calcsize(f"={offset}")
    file.seek(struct.unpack_from(order + offset, head, 8 if big else 4)[0] if start is None else start)
    (count,) = struct.unpack(order + number, file.read(struct.calcsize(number)))
    tags = {}
    for _ in range(min(count, MAX_TAGS)):
        tag, kind, amount, value = struct.unpack(order + entry, file.read(struct.calcsize(f"={entry}")))
        if kind == 3 and amount == 1 and endian == "big":  # a short number stands in the first bytes
            value >>= 8 * width - 16
        tags[tag] = (amount, value)
    following = int.from_bytes(file.read(width), endian)
    return tags | {NEXT_PAGE: (1, following)}


def layout_of_tiff(file: BinaryIO) -> str | None:
    """Say of a TIFF that Pillow does not read how many channels it has, and what is read; None for no TIFF."""
    file.seek(0)
    if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    channels = tiff_tags(file).get(CHANNELS, (1, 1))[1]
    what = "1 channel" if channels == 1 else f"{channels} channels"
    return (
        f"it is a TIFF of {what} of a kind that is not read. Save the channels to be seen as grey (1 channel), "
        "RGB (3) or RGBA (4), of 8 or 16 bits; grey may be float32"
    )


def count_pages(data: bytes) -> int:
    """Count the pages of a TIFF; a chain of them that leads back, or nowhere, ends there."""
    file, places = BytesIO(data), set[int]()
    try:
        place = tiff_tags(file)[NEXT_PAGE][1]
        while place and place not in places and len(places) < MAX_PAGES:
            places.add(place)
            place = tiff_tags(file, place)[NEXT_PAGE][1]
    except struct.error:
        return len(places)
    return len(places) + 1
