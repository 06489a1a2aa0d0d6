"""Image files that ask for trouble: well-formed around one thing that no camera writes, by the formats' own rules.

``hostile_image`` makes one of a random generator alone. Most are small; what they ask for is not.
"""

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from typing import Any, Final

import numpy as np
from PIL import Image

ODD: Final = (0, 1, 2, 3, 7, 8, 9, 255, 256, 257, 1000, 4096, 16383, 16384, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
SIDES: Final = (0, 1, 2, 3, 17, 63, 64, 65, 300, 1000, 2500, 4000, 9999, 20_000, 65_500, 2**31 - 1)
BOMB: Final = 30_000_000  # bytes of zeros that a compressed text may hold
LARGE: Final = 0.02  # of the files that are read at all: some megapixels, which take a tenth of a second


def hostile_image(rng: random.Random) -> bytes:
    """Return the bytes of a file that asks for trouble."""
    return rng.choice(FORMS)(rng)


# PNG


def _chunk(kind: bytes, data: bytes, *, right: bool = True) -> bytes:
    crc = zlib.crc32(kind + data) if right else 0
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def _png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2, interlaced: int = 0) -> bytes:
    head = struct.pack(">IIBBBBB", width & 0xFFFFFFFF, height & 0xFFFFFFFF, depth, colour, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + b"".join(chunks) + _chunk(b"IEND", b"")


def _png_sides(rng: random.Random) -> bytes:
    pixels = _chunk(b"IDAT", zlib.compress(bytes(rng.randrange(2000))))
    return _png(rng.choice(SIDES), rng.choice(SIDES), pixels, interlaced=rng.randrange(2))


def _png_kinds(rng: random.Random) -> bytes:
    width, height = _area(rng)
    depth, colour = rng.choice((1, 2, 4, 8, 16, 16, 3, 32)), rng.choice((0, 2, 3, 4, 6, 1, 7))
    rows = height * (1 + width * 8)
    chunks = [_chunk(b"PLTE", rng.randbytes(3 * rng.randrange(260)))] if rng.random() < 0.6 else []
    chunks += [_chunk(b"tRNS", rng.randbytes(rng.randrange(300)))] if rng.random() < 0.4 else []
    chunks += [_chunk(b"IDAT", _zeros(min(rows, rng.choice((rows, rows // 2, 100)))))]
    return _png(width, height, *chunks, depth=depth, colour=colour, interlaced=rng.choice((0, 0, 0, 1, 2)))


def _png_texts(rng: random.Random) -> bytes:
    kind = rng.choice((b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"tEXt"))
    bomb = _zeros(rng.randrange(BOMB))
    body = {b"iTXt": b"a\0\1\0\0\0" + bomb, b"eXIf": _exif(rng), b"tEXt": b"a\0" + rng.randbytes(900)}
    chunk = _chunk(kind, body.get(kind, b"a\0\0" + bomb), right=rng.random() < 0.8)
    pixels = _chunk(b"IDAT", zlib.compress(b"\0\1\2\3" * 4))
    parts = [chunk] * rng.choice((1, 1, 3, 60)) + [pixels]
    return _png(1, 4, *(parts if rng.random() < 0.7 else parts[::-1]))


def _png_chunks(rng: random.Random) -> bytes:
    data = zlib.compress(b"\0" + bytes(3))
    if rng.random() < 0.5:
        return _png(1, 1, *(_chunk(b"IDAT", data[place : place + 1]) for place in range(len(data))))
    few = [_chunk(rng.choice((b"abCd", b"tEXt", b"tIME", b"acTL", b"fcTL", b"fdAT")), rng.randbytes(rng.randrange(40)))]
    return _png(1, 1, *few * rng.choice((1, 100, 20_000, 120_000)), _chunk(b"IDAT", data))


# JPEG


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, min(len(data) + 2, 65535)) + data


def _spliced(rng: random.Random, extra: bytes) -> bytes:
    whole = _jpeg(rng.randrange(2) == 1)
    return whole[:2] + extra + whole[2:]


@cache
def _jpeg(progressive: bool, side: int = 40) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file := BytesIO(), "JPEG", progressive=progressive)
    return file.getvalue()


def _jpeg_segments(rng: random.Random) -> bytes:
    marker = rng.choice((0xE0, 0xE1, 0xE2, 0xEE, 0xFE, 0xDB, 0xC4, 0xDD, 0xDC, 0xC8))
    start = rng.choice(
        (b"Exif\0\0", b"ICC_PROFILE\0\1\2", b"MPF\0II*\0\x08\0\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"")
    )
    body = start + (_exif(rng) if rng.random() < 0.5 else rng.randbytes(rng.randrange(300)))
    filled = b"\xff" * rng.choice((0, 0, 1, 900))
    return _spliced(rng, (filled + _segment(marker, body)) * rng.choice((1, 1, 2, 30, 3000, 11_000)))


def _jpeg_frames(rng: random.Random) -> bytes:
    whole = bytearray(_jpeg(rng.randrange(2) == 1))
    place = next(k for k in range(len(whole)) if whole[k] == 0xFF and whole[k + 1] in (0xC0, 0xC2))
    whole[place + 1] = rng.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC9, 0xCA, 0xCF))
    struct.pack_into(">HH", whole, place + 5, rng.choice(SIDES) & 0xFFFF, rng.choice(SIDES) & 0xFFFF)
    for each in range(3):  # sampling, of each channel
        whole[place + 11 + 3 * each] = rng.choice((0x11, 0x22, 0x44, 0x14, 0x41, 0x31, 0, 0xFF))
    return bytes(whole[: rng.choice((len(whole), len(whole), rng.randrange(len(whole))))])


def _jpeg_scans(rng: random.Random) -> bytes:
    whole = _jpeg(True, rng.choice((40, 40, 200)))
    scan = whole[whole.rfind(b"\xff\xda") : -2]
    return whole[:-2] + scan * rng.choice((1, 50, 400, 3000)) + whole[-2:]


def _exif(rng: random.Random) -> bytes:
    """Return tags of a random kind, count and place, in a list that may lead back to itself."""
    tags = b"".join(
        struct.pack("<HHII", rng.choice((0x112, 0x8769, 0x8825, 0xA005, 0x927C, 0x10E)), rng.randrange(14), *_odds(rng))
        for _ in range(rng.randrange(12))
    )
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags) // 12) + tags + struct.pack("<I", rng.choice((0, 8, 10)))


def _odds(rng: random.Random) -> tuple[int, int]:
    return rng.choice(ODD), rng.choice((8, *ODD))


# TIFF, BMP, GIF, WebP


def _tiff(rng: random.Random) -> bytes:
    width, height = _area(rng)
    tags = {
        256: width, 257: height, 258: rng.choice((1, 2, 8, 16, 32, 64, 12)),
        259: rng.choice((1, 1, 2, 5, 6, 7, 8, 32773, 34925, 50000, 32946)),
        262: rng.choice((0, 1, 2, 3, 5, 6, 8, 32803)),
        273: 8, 277: rng.choice((1, 1, 3, 4, 2, 5, 9)), 278: rng.choice((height, 1, 0, 2**32 - 1)),
        279: rng.choice((width * height, *ODD)), 284: rng.choice((1, 2)), 339: rng.choice((1, 2, 3, 4)),
        274: rng.randrange(12), 317: rng.choice((1, 2, 3)),
    }  # fmt: skip
    for _ in range(rng.randrange(3)):
        tags[rng.choice((*tags, 320, 322, 323, 324, 325, 330, 347, 700, 34675))] = rng.choice(ODD)
    for tag in rng.sample(list(tags), rng.randrange(3)):
        del tags[tag]
    entries = [
        struct.pack("<HHII", tag, rng.choice((3, 4, 4, 4)), rng.choice((1,) * 60 + (0, 3, 70_000, 2**30)), value)
        for tag, value in sorted(tags.items())
    ]
    pixels = rng.choice((bytes(100), bytes(width * height), zlib.compress(bytes(width * height))))
    place = 8 + len(pixels)
    following = rng.choice((0, 0, 8, place, 2**31))
    listed = struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", place) + pixels + listed


def _bmp(rng: random.Random) -> bytes:
    size, bits = rng.choice((40, 40, 12, 52, 56, 64, 108, 124)), rng.choice((1, 4, 8, 16, 24, 32, 0, 2))
    width, height = rng.choice((_area(rng), (rng.choice(SIDES), rng.choice(SIDES))))
    sign, packing = rng.choice((1, 1, -1)), rng.choice((0, 0, 1, 2, 3, 4, 6))
    sides = struct.pack("<HH", width & 0xFFFF, height & 0xFFFF)
    if size != 12:
        sides = struct.pack("<ii", width & 0x7FFFFFFF, sign * (height & 0x7FFFFFFF))
    head = struct.pack("<I", size) + sides + struct.pack("<HHIIIIII", 1, bits, packing, *_odds(rng), 0, *_odds(rng))
    runs = rng.choice((b"\0\0", b"\xff\1", b"\0\2\xff\xff", b"\0\3\1\1")) * rng.randrange(5000)
    body = head[:size].ljust(size, b"\xff") + rng.randbytes(rng.randrange(1100)) + runs
    return b"BM" + struct.pack("<IHHI", len(body) + 14, 0, 0, rng.choice((14 + size, 14, len(body), 2**31))) + body


def _gif(rng: random.Random) -> bytes:
    width, height = rng.choice((_area(rng), (rng.choice(SIDES) & 0xFFFF, rng.choice(SIDES) & 0xFFFF)))
    flags = rng.choice((0x80, 0x87, 0, 0xF7))
    content = b"GIF89a" + struct.pack("<HHBBB", width & 0xFFFF, height & 0xFFFF, flags, 0, 0) + rng.randbytes(24)
    for _ in range(rng.choice((1, 1, 5, 400))):
        comment = b"\x21" + rng.choice((b"\xfe", b"\xff\x0bNETSCAPE2.0", b"\xf9")) + b"\xff" + bytes(255)
        place = struct.pack("<HHHH", *(rng.choice(SIDES) & 0xFFFF for _ in range(4)))
        data = bytes([rng.choice((2, 8, 12, 0, 255))]) + b"\x10" + rng.randbytes(16) * 2
        content += (
            comment * rng.choice((0, 1, 30)) + b"\0" + b"\x2c" + place + bytes([rng.choice((0, 0x87))]) + data + b"\0"
        )
    return content + b"\x3b"


@cache
def _webp(side: int, lossless: bool, frames: int) -> bytes:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 4), dtype=np.uint8))
    many = {"save_all": True, "append_images": [noise] * (frames - 1)} if frames > 1 else {}
    noise.save(file := BytesIO(), "WEBP", lossless=lossless, **many)
    return file.getvalue()


def _webp_canvas(rng: random.Random) -> bytes:
    whole = bytearray(_webp(40, rng.random() < 0.5, rng.choice((1, 1, 3))))
    if whole[12:16] == b"VP8X":
        for place in (24, 27):  # the canvas: 24 bits a side, less one
            whole[place : place + 3] = (rng.choice(SIDES) & 0xFFFFFF).to_bytes(3, "little")
    for _ in range(rng.randrange(4)):
        whole[rng.randrange(16, min(60, len(whole)))] = rng.randrange(256)
    return bytes(whole)


def _plain_webp(rng: random.Random) -> bytes:
    """Return 46 bytes or so that are some megapixels of one colour."""
    width, height = _area(rng)
    return _plain("WEBP", min(width, 16383), min(height, 16383), ("RGB", "RGBA")[rng.randrange(2)])


def _plain_other(rng: random.Random) -> bytes:
    form = rng.choice(("JPEG", "PNG", "GIF", "TIFF", "BMP"))
    mode = rng.choice(("RGB", "L", "P", "1")) if form != "JPEG" else rng.choice(("RGB", "L", "CMYK"))
    return _plain(form, *_area(rng), mode)


@cache
def _plain(form: str, width: int, height: int, mode: str) -> bytes:
    options: dict[str, dict[str, Any]] = {
        "WEBP": {"lossless": True, "method": 0},
        "TIFF": {"compression": "tiff_adobe_deflate"},
    }
    Image.new(mode, (width, height)).save(file := BytesIO(), form, **options.get(form, {}))
    return file.getvalue()


# What is no image


def _other_formats(rng: random.Random) -> bytes:
    starts = (
        b"8BPS\0\1",
        b"\0\0\1\0\1\0",
        b"%!PS-Adobe-3.0 EPSF",
        b"%PDF-1.7",
        b"\x0a\5\1\x08",
        b"P6 9999999 99999999 255 ",
    )
    more = (
        b"\0\0\0\x0cjP  \r\n\x87\n",
        b"SIMPLE  =",
        b"\x01\xda\1",
        b"#define a_width 9999",
        b"\x59\xa6\x6a\x95",
        b"DDS ",
    )
    return rng.choice((*starts, *more)) + rng.randbytes(rng.randrange(300))


def _signatures(rng: random.Random) -> bytes:
    starts = (
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF87a",
        b"BM",
        b"II*\0",
        b"MM\0*",
        b"II+\0\x08\0\0\0",
        b"RIFF\1\0\0\0WEBP",
    )
    boxes = (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    return rng.choice((*starts, *boxes)) + rng.randbytes(rng.randrange(600))


def _joined(rng: random.Random) -> bytes:
    """Return one file behind the beginning of another."""
    one, other = (rng.choice(FORMS[:-1])(rng) for _ in range(2))
    return one[: rng.randrange(len(one) + 1)] + other


def _area(rng: random.Random) -> tuple[int, int]:
    """Return width and height of an image that may be read: few pixels, and now and then some millions."""
    if rng.random() < LARGE:
        return rng.choice(((2500, 2000), (16_000, 500), (300, 20_000)))
    return rng.choice((1, 2, 7, 64, 120)), rng.choice((1, 3, 8, 33, 100))


@cache
def _zeros_of(megabytes: int) -> bytes:
    return zlib.compress(bytes(megabytes * 1_000_000))


def _zeros(count: int) -> bytes:
    return _zeros_of(count // 1_000_000) if count >= 1_000_000 else zlib.compress(bytes(count))


FORMS: Final[tuple[Callable[[random.Random], bytes], ...]] = (
    *(_png_sides, _png_kinds, _png_texts, _png_chunks),
    *(_jpeg_segments, _jpeg_frames, _jpeg_scans),
    *(_tiff, _tiff, _bmp, _gif, _webp_canvas, _plain_webp, _plain_other),
    *(_other_formats, _signatures, _joined),
)


def known_to_be_hostile() -> Iterator[bytes]:
    """Yield the files that once took minutes or gigabytes: each is a fault that was mended."""
    yield _plain("WEBP", 10_000, 10_000, "RGB")
    Image.new("I;16", (10_000, 10_000)).save(file := BytesIO(), "PNG", compress_level=1)
    yield file.getvalue()
    Image.new("RGB", (4000, 4000)).save(file := BytesIO(), "JPEG", progressive=True)
    whole = file.getvalue()
    yield whole[:-2] + whole[whole.rfind(b"\xff\xda") : -2] * 1000 + whole[-2:]
