"""Every accepted format to the same upright RGB; everything else to one error."""

import os
import struct
import subprocess
import sys
import warnings
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile

from sppnet.errors import ArgumentError, ImageDecodeError, ShapeError
from sppnet.geometry import shorter_side_size
from sppnet.images import (
    FORMATS,
    MAX_PIXELS,
    ImageFacts,
    accepted_formats,
    as_source,
    crop,
    is_image,
    is_one_image,
    mirror,
    pixels,
    read_bytes,
    read_facts,
    read_image,
    read_size,
    reading,
    resize,
    rgb,
    to_tensor,
    value_range,
)

Pixels = NDArray[np.uint8]

EXACT = [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})]
# An image stored as the tiles 1 2 3 / 4 5 6, and how each EXIF orientation says it is to be seen.
SEEN = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[4, 1], [5, 2], [6, 3]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[3, 6], [2, 5], [1, 4]],
}


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _smooth(height: int = 37, width: int = 52) -> Pixels:
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.stack([255 * rows, 255 * columns, 127 * (rows + columns)], axis=2).astype(np.uint8)


def _noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _grey(values: NDArray[Any], form: str, **options: Any) -> Pixels:
    """Return the one channel that a grey image was read as, three times the same."""
    read = read_image(_encoded(Image.fromarray(values), form, **options))
    assert (read == read[:, :, :1]).all()
    return read[:, :, 0]


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Record instead of raise: inside read_image a raised warning would pass for a broken image."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert not [str(warning.message) for warning in caught]


# Formats


@pytest.mark.parametrize(("form", "options"), EXACT)
def test_a_format_without_loss_gives_its_pixels_back(tmp_path: Path, form: str, options: dict[str, Any]) -> None:
    pixels = _noise(13, 29)
    (path := tmp_path / "image").write_bytes(_encoded(Image.fromarray(pixels), form, **options))
    for source in (path, str(path), path.read_bytes()):
        read = read_image(source)
        assert read.dtype == np.uint8
        assert read.flags.c_contiguous
        np.testing.assert_array_equal(read, pixels)
    assert read_size(path) == (13, 29)


@pytest.mark.parametrize(("form", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95})])
def test_a_format_with_loss_comes_close(form: str, options: dict[str, Any]) -> None:
    pixels = _smooth()
    read = read_image(_encoded(Image.fromarray(pixels), form, **options))
    assert np.abs(read.astype(int) - pixels).mean() < 2


def test_a_gif_gives_its_palette_colours() -> None:
    colours = np.array([[10, 20, 30], [200, 0, 7], [255, 255, 255]], dtype=np.uint8)
    pixels = colours[np.arange(60).reshape(6, 10) % 3]
    np.testing.assert_array_equal(read_image(_encoded(Image.fromarray(pixels), "GIF")), pixels)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_many_frames_the_first_counts(form: str) -> None:
    first, *others = (Image.new("RGB", (9, 5), colour) for colour in ("red", "lime", "blue"))
    options = {"lossless": True} if form == "WEBP" else {}
    read = read_image(_encoded(first, form, save_all=True, append_images=others, **options))
    np.testing.assert_array_equal(read, np.broadcast_to(np.uint8([255, 0, 0]), (5, 9, 3)))


@pytest.mark.parametrize("form", FORMATS)
def test_one_pixel_is_a_image(form: str) -> None:
    read = read_image(_encoded(Image.new("RGB", (1, 1), "white"), form))
    np.testing.assert_array_equal(read, np.full((1, 1, 3), 255))


@pytest.mark.parametrize("form", ["ICO", "PPM", "PDF", "TGA"])
def test_a_format_that_is_not_accepted_is_refused_by_name(tmp_path: Path, form: str) -> None:
    (path := tmp_path / "image.png").write_bytes(_encoded(Image.new("RGB", (16, 16)), form))
    for read in (read_image, read_size):
        with pytest.raises(ImageDecodeError) as caught:
            read(path)
        assert str(caught.value) == (
            f"{path}: the image cannot be read: its content is none of {', '.join(accepted_formats())}"
        )


HEIC = (  # 60 x 40 pixels of (200, 40, 40)
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJp"
    "bG9jAAAAAERAAAEAAQAAAAABoQABAAAAAAAAAB0AAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAAB"
    "AAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEA"
    "AQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAA"
    "FGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAADwAAAABAAAAKAAAAAH////8AAAAAv///+gAAAACAAAAEHBpeGkAAAAAAwgICAAAABhp"
    "cG1hAAAAAAAAAAEAAQWBAgMFhAAAACVtZGF0AAAAGSgBrxOA9SeBP//YlR/+3Pnh93Z1+efLU8A="
)


@pytest.mark.parametrize(("form", "suffix"), [("AVIF", "avif"), ("HEIF", "heic"), ("JPEG", "jfif"), ("JPEG", "jpe")])
def test_what_phones_and_browsers_write_is_read(tmp_path: Path, form: str, suffix: str) -> None:
    if form not in accepted_formats():
        pytest.skip("needs HEIF: pip install 'sppnet[heic]'" if form == "HEIF" else "needs AVIF: Pillow 11.3 or newer")
    pixels = np.full((40, 60, 3), (200, 40, 40), np.uint8)
    if form == "HEIF":  # which the extra reads and does not write
        (tmp_path / "a.heic").write_bytes(b64decode(HEIC))
    else:
        Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", form)
    assert is_image(tmp_path / f"a.{suffix}")
    assert read_size(tmp_path / f"a.{suffix}") == (40, 60)
    assert np.abs(read_image(tmp_path / f"a.{suffix}").astype(int) - pixels).max() < 12


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.JPG", True), ("b.tiff", True), ("c.d.webp", True), (".e.png", False), ("f.txt", False), ("png", False)],
)
def test_images_are_known_by_their_name(name: str, expected: bool) -> None:
    assert is_image(Path("folder") / name) is expected


# Orientation


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", SEEN)
def test_a_image_is_turned_upright(tmp_path: Path, form: str, orientation: int) -> None:
    tile = np.ones((16, 16, 1), dtype=np.uint8)
    stored = np.kron(np.array(SEEN[1], dtype=np.uint8)[:, :, None] * np.uint8([40, 20, 10]), tile)
    (exif := Image.Exif())[0x0112] = orientation
    (path := tmp_path / "image").write_bytes(_encoded(Image.fromarray(stored), form, exif=exif, quality=95))
    read = read_image(path)
    expected = np.array(SEEN[orientation])[:, :, None] * [40, 20, 10]
    assert read.shape == (16 * expected.shape[0], 16 * expected.shape[1], 3)
    assert np.abs(read[8::16, 8::16] - expected).max() <= 5  # half of what tells two tiles apart, for JPEG and WebP
    assert read_size(path) == read.shape[:2]


def test_deep_grey_is_turned_upright() -> None:
    (exif := Image.Exif())[0x0112] = 6
    ramp = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    np.testing.assert_array_equal(_grey(ramp, "PNG", exif=exif), [[0], [100], [255]])


# Depths, palettes and transparency


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_16_bit_grey_is_scaled_and_never_saturates(form: str, order: str) -> None:
    ramp = np.arange(65536).reshape(256, 256)
    np.testing.assert_array_equal(_grey(ramp.astype(order), form), np.rint(ramp / 257))


def test_dark_16_bit_grey_stays_darker_than_white() -> None:
    np.testing.assert_array_equal(_grey(np.array([[0, 257, 51400]], dtype=np.uint16), "PNG"), [[0, 1, 200]])


def test_32_bit_grey_of_16_bit_values_is_scaled_as_such() -> None:
    values = np.array([[0, 257, 257 * 200, 65535]], dtype=np.int32)
    np.testing.assert_array_equal(_grey(values, "TIFF"), [[0, 1, 200, 255]])


@pytest.mark.parametrize(
    "values",
    [
        np.array([[-(2**31), 0, 2**31 - 1]], dtype=np.int32),
        np.array([[0, 50_000, 100_000]], dtype=np.int32),
        np.array([[-0.5, 0.0, 0.5]], dtype=np.float32),
        np.array([[1e30, 2e30, 3e30]], dtype=np.float32),
        np.array([[0, 1e-20, 2e-20]], dtype=np.float32),
    ],
)
def test_grey_without_an_agreed_range_is_scaled_from_its_own(values: NDArray[Any]) -> None:
    assert _grey(values, "TIFF").tolist() in ([[0, 127, 255]], [[0, 128, 255]])


@pytest.mark.parametrize("value", [np.float32(0), np.float32(0.5), np.float32(1e6), np.int32(-7), np.int32(2**20)])
def test_grey_of_one_value_without_a_range_is_black(value: np.generic) -> None:
    with _no_warnings():
        assert not _grey(np.full((2, 3), value), "TIFF").any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_grey_that_is_not_finite_is_refused(value: float) -> None:
    image = Image.fromarray(np.array([[0, value]], dtype=np.float32))
    with pytest.raises(ImageDecodeError, match="it holds values that are not finite"):
        read_image(_encoded(image, "TIFF"))


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF"])
def test_one_bit_is_black_and_white(form: str) -> None:
    bits = np.arange(55).reshape(5, 11) % 3 == 0
    np.testing.assert_array_equal(_grey(bits, form), 255 * bits)


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_the_transparent_colour_of_a_palette_becomes_white(form: str) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([0, 0, 0, 200, 10, 20, 30, 40, 50])
    image.putdata([0, 1, 2])
    read = read_image(_encoded(image, form, transparency=1))
    assert read.tolist() == [[[0, 0, 0], [255, 255, 255], [30, 40, 50]]]


def test_a_palette_may_be_partly_transparent() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 100, 200, 0, 100, 200])
    image.putdata([0, 1])
    read = read_image(_encoded(image, "PNG", transparency=bytes([255, 51])))
    assert read.tolist() == [[[0, 100, 200], [204, 224, 244]]]


@pytest.mark.parametrize(("mode", "key", "seen"), [("L", 7, 9), ("RGB", (7, 7, 7), (9, 9, 9))])
def test_a_transparent_colour_becomes_white(mode: str, key: Any, seen: Any) -> None:
    image = Image.new(mode, (2, 1), key)
    image.putpixel((1, 0), seen)
    read = read_image(_encoded(image, "PNG", transparency=key))
    assert read.tolist() == [[[255] * 3, [9] * 3]]


@pytest.mark.parametrize(
    ("mode", "form", "options"),
    [("LA", "PNG", {}), ("RGBA", "PNG", {}), ("RGBA", "TIFF", {}), ("RGBA", "WEBP", {"lossless": True, "exact": True})],
)
def test_transparency_lies_over_white(mode: str, form: str, options: dict[str, Any]) -> None:
    values = np.random.default_rng(0).integers(0, 256, (16, 16, len(mode)), dtype=np.uint8)
    values[0, :, -1], values[1, :, -1] = 0, 255
    read = read_image(_encoded(Image.fromarray(values, mode), form, **options))
    alpha = values[:, :, -1:] / 255
    np.testing.assert_allclose(read, np.broadcast_to(values[:, :, :-1] * alpha + 255 * (1 - alpha), read.shape), atol=1)
    assert (read[0] == 255).all()
    np.testing.assert_array_equal(read[1], np.broadcast_to(values[1, :, :-1], read[1].shape))


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
@pytest.mark.parametrize(
    ("ink", "colour"),
    [((0, 0, 0, 0), (255, 255, 255)), ((0, 255, 255, 0), (255, 0, 0)), ((0, 0, 0, 255), (0, 0, 0))],
)
def test_inks_become_colours(form: str, ink: tuple[int, ...], colour: tuple[int, ...]) -> None:
    read = read_image(_encoded(Image.new("CMYK", (16, 16), ink), form))
    np.testing.assert_allclose(read, np.broadcast_to(colour, read.shape), atol=2)


# Broken files


def _files() -> dict[str, bytes]:
    """Return one small file of each format, with metadata, as cameras and scanners write them."""
    (exif := Image.Exif())[0x0112] = 6
    exif[0x010F] = "maker"
    image = Image.fromarray(_smooth(19, 26))
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"exif": exif, "quality": 90},
        "PNG": {"exif": exif, "dpi": (72, 72)},
        "WEBP": {"exif": exif, "quality": 90},
        "GIF": {"save_all": True, "append_images": [image.rotate(180)], "comment": b"comment"},
        "TIFF": {"exif": exif, "compression": "tiff_adobe_deflate"},
    }
    files = {form: _encoded(image, form, **options.get(form, {})) for form in FORMATS}
    files["progressive JPEG"] = _encoded(image, "JPEG", progressive=True)
    files["16-bit TIFF"] = _encoded(Image.fromarray(np.arange(99, dtype=np.uint16).reshape(9, 11)), "TIFF")
    files["palette PNG"] = _encoded(image.convert("P"), "PNG", transparency=bytes(range(200)))
    return files


FILES = _files()


def _mutated(data: bytes, random: np.random.Generator) -> bytes:
    """Change, remove or insert a few bytes, most of them in the first part of the file, where its structure is."""
    changed = bytearray(data)
    for _ in range(random.integers(1, 6)):
        place = int(len(changed) * random.random() ** 2)
        match random.integers(4):
            case 0:
                del changed[place : place + int(random.integers(1, 9))]
            case 1:
                changed[place:place] = random.bytes(int(random.integers(1, 9)))
            case _:
                changed[place : place + 1] = random.bytes(1)
    return bytes(changed)


@pytest.mark.parametrize("form", FILES)
def test_broken_bytes_give_a_image_or_one_error(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_PIXELS", 1_000_000)  # a header made huge costs no time
    random = np.random.default_rng(0)
    outcomes = set()
    for _ in range(400):
        data = _mutated(FILES[form], random)
        with _no_warnings():
            try:
                read = read_image(data)
            except ImageDecodeError:
                outcomes.add("error")
                continue
        assert (read.dtype, read.ndim, read.shape[2]) == (np.uint8, 3, 3)
        assert read.size > 0
        outcomes.add("image")
    assert outcomes == {"error", "image"}


@pytest.mark.parametrize("form", FILES)
def test_a_truncated_file_is_refused(tmp_path: Path, form: str) -> None:
    data = FILES[form]
    for share in (0.05, 0.3, 0.5):
        (path := tmp_path / "cut").write_bytes(data[: int(share * len(data))])
        with _no_warnings(), pytest.raises(ImageDecodeError) as caught:
            read_image(path)
        assert caught.value.path == str(path)
        assert str(caught.value) == f"{path}: the image cannot be read: {caught.value.reason}"


def test_why_a_file_is_refused_is_said_in_words_that_help() -> None:
    with pytest.raises(ImageDecodeError, match=r"cannot be read: the file is empty$"):
        read_image(b"")
    jpeg = FILES["JPEG"]
    with pytest.raises(ImageDecodeError, match=r"its end is missing, as of a copy or a download that was cut off$"):
        read_image(jpeg[: len(jpeg) * 3 // 4])


@pytest.mark.parametrize("data", [b"\0", b"not an image", bytes(5000)])
def test_bytes_of_no_image_are_refused(data: bytes) -> None:
    with pytest.raises(ImageDecodeError, match="its content is none of JPEG, PNG, WEBP, BMP, GIF, TIFF"):
        read_image(data)


def test_random_bytes_behind_a_signature_are_refused() -> None:
    random = np.random.default_rng(1)
    for data in FILES.values():
        for _ in range(20):
            with _no_warnings(), pytest.raises(ImageDecodeError):
                read_image(data[:12] + random.bytes(500))


@pytest.mark.parametrize("read", [read_image, read_size, read_bytes])
def test_a_missing_file_is_named(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(ImageDecodeError, match=r"none\.png: the image cannot be read: no such file or directory"):
        read(tmp_path / "none.png")


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageDecodeError, match="is a directory"):
        read_image(tmp_path)


@pytest.mark.parametrize("name", ["a\0b.png", "a" * 5000 + ".png"])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(ImageDecodeError):
        read_image(name)


def test_a_file_of_too_many_bytes_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 2_000_000)
    (path := tmp_path / "large.png").write_bytes(bytes(2_000_001))
    with pytest.raises(ImageDecodeError, match="the file is larger than 2 MB"):
        read_bytes(path)
    path.write_bytes(bytes(2_000_000))
    assert len(read_bytes(path)) == 2_000_000


@pytest.mark.parametrize("read", [read_image, read_size, read_bytes])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(ImageDecodeError, match="it is a pipe or a device, not a regular file"):
        read(tmp_path / "a.jpg")


# Sizes that a header claims


def _claims(height: int, width: int) -> bytes:
    """Return a PNG whose header claims a size that its bytes do not hold."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(10))
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data, b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("size", [(60_000, 60_000), (12_000, 12_000), (2, MAX_PIXELS), (10_001, 10_000)])
def test_a_claim_of_too_many_pixels_is_refused_before_memory_is_taken(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[object] = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", loads.append)
    (path := tmp_path / "bomb.png").write_bytes(_claims(*size))
    for read in (read_image, read_size):
        with _no_warnings(), pytest.raises(ImageDecodeError, match=r"bomb\.png: .* pixels"):
            read(path)
    assert not loads


def test_the_largest_accepted_image_gives_no_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: None)
    (path := tmp_path / "large.png").write_bytes(_claims(10_000, MAX_PIXELS // 10_000))
    with _no_warnings():
        assert read_size(path) == (10_000, MAX_PIXELS // 10_000)


def test_of_webp_whose_decoder_holds_it_several_times_less_is_accepted() -> None:
    webp = _encoded(Image.new("RGB", (8000, 4001)), "WEBP", lossless=True, method=0, quality=0)
    with pytest.raises(ImageDecodeError, match="4001 x 8000 pixels are more than 32,000,000"):
        read_image(webp)


@pytest.mark.parametrize("frames", [1, 2])
def test_a_large_webp_is_the_same_without_torchvision(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sppnet.images.rgb.SMALL_WEBP", 0)
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (60, 90, 3), np.uint8)) for _ in range(frames)]
    more = {"save_all": True, "append_images": images[1:]} if frames > 1 else {}
    webp = _encoded(images[0], "WEBP", lossless=True, **more)
    expected = read_image(webp)
    monkeypatch.setitem(sys.modules, "torchvision.io", None)
    np.testing.assert_array_equal(read_image(webp), expected)
    np.testing.assert_array_equal(expected, np.asarray(images[0]))


def _memory_a_pixel(data: bytes, form: str) -> float:
    """Return the bytes a pixel by which reading raises the most memory that a process of its own ever had."""
    done = subprocess.run([sys.executable, "-c", MEMORY, form], input=data, capture_output=True, check=True)
    return float(done.stdout)


MEMORY = """
import sys
from io import BytesIO
import sppnet.images.rgb
from PIL import Image
from sppnet.images import read_image

def most():
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))

data = sys.stdin.buffer.read()
Image.new("RGB", (8, 8)).save(small := BytesIO(), sys.argv[1])
sppnet.images.rgb.SMALL_WEBP = 0  # so that all that decodes is loaded before
read_image(small.getvalue())
before = most()
height, width, _ = read_image(data).shape
print((most() - before) / (height * width))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how much memory a process had")
@pytest.mark.parametrize(
    ("name", "form", "mode"),
    [
        ("on its side", "JPEG", "RGB"),
        ("of 16 bits", "PNG", "I;16"),
        ("lossless", "WEBP", "RGB"),
        ("of two frames", "WEBP", "RGBA"),
    ],
)
@pytest.mark.slow
def test_reading_takes_at_most_twelve_bytes_a_pixel(name: str, form: str, mode: str) -> None:
    image = Image.new(mode, (3000, 3000))
    (exif := Image.Exif())[0x0112] = 6
    options: dict[str, Any] = {
        "on its side": {"exif": exif},
        "of 16 bits": {"compress_level": 1},
        "of two frames": {"save_all": True, "append_images": [Image.new(mode, (3000, 3000), "red")]},
    }
    own = {"lossless": True, "method": 0} if form == "WEBP" else {}
    assert _memory_a_pixel(_encoded(image, form, **own, **options.get(name, {})), form) <= 12


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("frames", [1, 2])
def test_large_webp_is_read_as_pillow_reads_it(
    lossless: bool, mode: str, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rgb, "SMALL_WEBP", 0)
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (33, 47, len(mode)), dtype=np.uint8)) for _ in range(frames)]
    many = {"save_all": True, "append_images": noise[1:]} if frames > 1 else {}
    data = _encoded(noise[0], "WEBP", lossless=lossless, **many)
    with Image.open(BytesIO(data)) as image:
        layer = image.convert("RGBA")
    expected = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    np.testing.assert_array_equal(read_image(data), expected)


def test_a_first_frame_smaller_than_its_webp_lies_on_white(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rgb, "SMALL_WEBP", 0)
    still = _encoded(Image.new("RGB", (4, 2), "red"), "WEBP", lossless=True)
    head = b"".join(number.to_bytes(3, "little") for number in (3, 2, 4 - 1, 2 - 1, 100))  # at (6, 4), 100 ms
    frame = head + b"\0" + still[12:]
    canvas = bytes([0x02, 0, 0, 0]) + (20 - 1).to_bytes(3, "little") + (10 - 1).to_bytes(3, "little")
    chunks = [(b"VP8X", canvas), (b"ANIM", bytes(6)), (b"ANMF", frame), (b"ANMF", frame)]
    content = b"".join(name + struct.pack("<I", len(each)) + each + b"\0" * (len(each) % 2) for name, each in chunks)
    read = read_image(b"RIFF" + struct.pack("<I", len(content) + 4) + b"WEBP" + content)
    expected = np.full((10, 20, 3), 255, np.uint8)
    expected[4:6, 6:10] = (255, 0, 0)
    np.testing.assert_array_equal(read, expected)
    with pytest.raises(ImageDecodeError):
        read_image(b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + canvas)


# Deep values: one rule, of which 'sppnet check' tells


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 65535, (0, 65535)),
        (300, 4000, (0, 4095)),
        (900, 2100, (0, 4095)),  # one camera's dark images are read as its bright ones
        (0, 1023, (0, 1023)),
        (5, 16383, (0, 16383)),
        (3, 200, (0, 255)),
        (0, 0, (0, 255)),
        (33069, 36863, (32768, 36863)),  # a micrograph that uses 6 % of its range
        (40000, 40000, (39936, 40959)),  # one value is no reason to make noise visible
        (-5, 70000, (-5, 70000)),
    ],
)
def test_the_range_of_whole_numbers_is_a_depth_or_where_little_is_used_steps_of_one(
    low: int, high: int, expected: tuple[int, int]
) -> None:
    assert value_range(low, high, whole=True) == expected


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize(("low", "high"), [(0, 4095), (33069, 36863)])
def test_deep_grey_that_uses_little_of_its_range_keeps_its_contrast(form: str, low: int, high: int) -> None:
    dark, bright = low + (high - low) // 5, low + (high - low) * 4 // 5
    values = np.full((20, 30), dark, dtype=np.uint16)
    values[5:10, 5:10], values[0, 0], values[0, 1] = bright, low, high
    read = _grey(values, form)
    first, last = value_range(low, high, whole=True)
    np.testing.assert_array_equal(read, np.rint((values - first) * 255.0 / (last - first)))
    assert int(read[7, 7]) - int(read[15, 15]) > 130


def _png_16(values: NDArray[np.uint16]) -> bytes:
    """Return a PNG of 16-bit colour, (H, W, 3) or (H, W, 4), which Pillow does not write."""
    height, width, channels = values.shape
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"IDAT" + zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, rows, b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("most", [4095, 65535])
def test_deep_colour_is_scaled_by_the_same_rule_and_not_cut_to_its_high_bytes(most: int) -> None:
    values = np.random.default_rng(0).integers(0, most + 1, (12, 17, 3)).astype(np.uint16)
    values[0, 0] = most
    np.testing.assert_array_equal(read_image(_png_16(values)), np.rint(values * 255.0 / most))


def test_deep_colour_that_is_transparent_lies_over_white() -> None:
    values = np.full((2, 2, 4), 4095, dtype=np.uint16)
    values[0, :, :3], values[:, :, 3] = 0, [[0, 65535], [0, 65535]]
    read = read_image(_png_16(values))
    assert read[:, 0].tolist() == [[255] * 3] * 2
    assert read[:, 1].tolist() == [[0] * 3, [255] * 3]


def test_facts_tell_what_is_read_and_what_is_not(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (9, 5)) for _ in range(3)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "one.jpg")
    Image.fromarray(np.array([[7, 4000]], dtype=np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "colour.png").write_bytes(_png_16(np.full((3, 4, 3), 900, dtype=np.uint16)))
    assert read_facts(tmp_path / "pages.tif") == ImageFacts((5, 9), 3, 0, None, None)
    assert read_facts(tmp_path / "one.jpg") == ImageFacts((5, 9), 1, 0, None, None)
    assert read_facts(tmp_path / "deep.png") == ImageFacts((1, 2), 1, 0, (7, 4000), (0, 4095))
    assert read_facts(tmp_path / "colour.png") == ImageFacts((3, 4), 1, 0, (900, 900), (896, 911))


# Pixels that are given


def test_pixels_are_returned_as_they_are() -> None:
    pixels = _noise(4, 5)
    assert read_image(pixels) is pixels
    turned = read_image(pixels.swapaxes(0, 1))
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turned, pixels.swapaxes(0, 1))


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 4), (3, 4, 5), (1, 4, 5, 3), ()])
def test_pixels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError) as caught:
        read_image(np.zeros(shape, dtype=np.uint8))
    assert str(caught.value) == (
        f"read_image: image must be (H, W, 3), got {shape}. Give RGB pixels, or a path, or a file's bytes."
    )


@pytest.mark.parametrize(
    ("pixels", "actual"),
    [
        (np.zeros((4, 5, 3)), "float64 of shape (4, 5, 3)"),
        (np.zeros((4, 5, 3), dtype=np.int8), "int8 of shape (4, 5, 3)"),
        (np.zeros((0, 5, 3), dtype=np.uint8), "uint8 of shape (0, 5, 3)"),
    ],
)
def test_pixels_of_another_type_are_refused(pixels: NDArray[Any], actual: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        read_image(pixels)
    assert str(caught.value) == (
        f"read_image: image must be uint8 with at least one pixel, got {actual}. "
        "Give RGB pixels, or a path, or a file's bytes."
    )


# Scaling, tensors, crops


@pytest.mark.parametrize("size", [(31, 17), (64, 200), (1, 1), (40, 300)])
def test_scaling_is_bicubic_and_smoothed_when_it_shrinks(size: tuple[int, int]) -> None:
    pixels = _noise(40, 60) // 2 + 64  # no overshoot leaves 0 .. 255
    read = resize(pixels, size)
    np.testing.assert_array_equal(read, Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC))
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    independent = torch.nn.functional.interpolate(planes, size, mode="bicubic", antialias=True)[0].permute(1, 2, 0)
    np.testing.assert_allclose(read, independent, rtol=0, atol=1.5)  # Pillow rounds after each axis


@pytest.mark.parametrize("size", [(31, 17), (64, 200), (1, 1), (40, 301), (333, 7)])
def test_mirrored_before_or_after_it_is_scaled_an_image_is_the_same(size: tuple[int, int]) -> None:
    for image in (_noise(40, 60), _noise(97, 131)):
        np.testing.assert_array_equal(mirror(resize(image, size)), resize(mirror(image), size))
        np.testing.assert_array_equal(mirror(mirror(image)), image)
        np.testing.assert_array_equal(mirror(image)[:, 0], image[:, -1])


def test_the_same_size_gives_the_same_pixels() -> None:
    pixels = _noise(6, 7)
    np.testing.assert_array_equal(resize(pixels, (6, 7)), pixels)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 3)])
def test_one_pixel_grows_to_any_size(size: tuple[int, int]) -> None:
    pixel = np.array([[[3, 140, 250]]], dtype=np.uint8)
    np.testing.assert_array_equal(resize(pixel, size), np.broadcast_to(pixel, (*size, 3)))


def test_a_scaled_image_of_too_many_pixels_is_refused() -> None:
    pixels = np.zeros((1, 10_000, 3), dtype=np.uint8)
    with pytest.raises(ImageDecodeError) as caught:
        resize(pixels, shorter_side_size((1, 10_000), 688))
    assert str(caught.value) == (
        "image of 1 x 10000 pixels: the image cannot be read: scaled it has 688 x 6880000, more than 16,000,000 pixels"
    )


def test_the_largest_scaled_image_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "MAX_SCALED_PIXELS", 12)
    assert resize(_noise(2, 2), (3, 4)).shape == (3, 4, 3)
    with pytest.raises(ImageDecodeError, match="scaled it has 13 x 1, more than 12"):
        resize(_noise(2, 2), (13, 1))


def test_a_tensor_holds_normalised_planes_with_channels_last() -> None:
    pixels = _noise(5, 8)
    before = pixels.copy()
    tensor = to_tensor(pixels, mean=127.0, std=128.0)
    assert (tensor.shape, tensor.dtype) == ((3, 5, 8), torch.float32)
    assert tensor[None].is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(tensor.numpy(), (before.transpose(2, 0, 1).astype(np.float32) - 127) / 128)
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ([1, 2, 4, 6], slice(2, 6), slice(1, 4)),
        ([1.9, 2.1, 3.1, 5.9], slice(2, 6), slice(1, 4)),
        ([3, 3, 3, 3], slice(3, 4), slice(3, 4)),
        ([0, 0, 9, 7], slice(0, 7), slice(0, 9)),
        ([8.2, 6.4, 8.3, 6.5], slice(6, 7), slice(8, 9)),
    ],
)
def test_a_crop_holds_each_pixel_that_the_box_touches(box: list[float], rows: slice, columns: slice) -> None:
    pixels = _noise(7, 9)
    np.testing.assert_array_equal(crop(pixels, np.array(box, dtype=np.float64)), pixels[rows, columns])


@pytest.mark.parametrize(("at_least", "short"), [(100, 151), (150, 151), (151, 301), (301, 601), (602, 1201)])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_large_jpeg_is_decoded_no_larger_than_need_be(at_least: int, short: int, mode: str) -> None:
    rows = np.linspace(0, 255, 1201)[:, None, None].repeat(1603, axis=1).repeat(3, axis=2).astype(np.uint8)
    data = BytesIO()
    Image.fromarray(rows).convert(mode).save(data, "JPEG", quality=95)
    small = read_image(data.getvalue(), at_least=at_least)
    assert min(small.shape[:2]) == short >= at_least
    whole = resize(read_image(data.getvalue()), (small.shape[0], small.shape[1]))
    assert np.abs(small.astype(int) - whole).max() <= 3


def test_other_formats_are_decoded_whole() -> None:
    data = BytesIO()
    Image.new("RGB", (400, 400)).save(data, "PNG")
    assert read_image(data.getvalue(), at_least=100).shape == (400, 400, 3)


@pytest.mark.parametrize("image", [None, 5, ["a.jpg"], object()])
def test_what_is_no_image_in_any_form_is_refused(image: Any) -> None:
    with pytest.raises(ArgumentError, match=f"read_image: image must be one image: .*, got {type(image).__name__}"):
        as_source(image)


def test_two_axes_are_one_image_without_colours_and_no_list_of_rows() -> None:
    for image in (np.zeros((4, 5), np.uint8), torch.zeros(4, 5)):
        assert is_one_image(image)
        with pytest.raises(ShapeError):
            read_image(as_source(image))
    assert not is_one_image(np.zeros((2, 4, 5, 3), np.uint8))
