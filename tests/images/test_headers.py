"""Files of a few bytes that ask their decoder for minutes or gigabytes are refused before it begins."""

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from sppnet.errors import ImageDecodeError
from sppnet.images import read_image, read_size
from sppnet.images.headers import MAX_PARTS, count_pages


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _of_scans(count: int, side: int) -> bytes:
    """Return a progressive JPEG that ends with its last scan again and again."""
    data = _encoded(Image.new("RGB", (side, side), "grey"), "JPEG", progressive=True)
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * count + data[-2:]


def _of_segments(count: int, content: bytes) -> bytes:
    data = _encoded(Image.new("RGB", (8, 8)), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content
    return data[:2] + segment * count + data[2:]


def _of_chunks(count: int, kind: bytes) -> bytes:
    data = _encoded(Image.new("RGB", (8, 8)), "PNG")
    place = data.find(b"IDAT") - 4
    return data[:place] + (bytes(4) + kind + struct.pack(">I", zlib.crc32(kind))) * count + data[place:]


def _tiff(tags: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    """Return the head of a TIFF: (tag, type, count, value) each."""
    rows = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + struct.pack("<I", following)


SIZE = [(256, 4, 1, 8), (257, 4, 1, 8)]
HOSTILE = {
    "scans": (_of_scans(200, 4000), "it has more than 125 scans of 16,000,000 pixels each"),
    "small segments": (_of_segments(10_001, b"Exif\0\0ab"), "it has more than 10,000 parts before its pixels"),
    "large segments": (_of_segments(600, bytes(60_000)), "it has more than 32 MB of metadata"),
    "junk": (b"\xff\xd8" + bytes(1_000_000), "it has more than 10,000 parts before its pixels"),
    "repeated marks": (b"\xff\xd8" + b"\xff" * 1_000_000, "it has more than 10,000 parts before its pixels"),
    "chunks of text": (_of_chunks(100_001, b"tEXt"), "it has more than 100,000 chunks"),
    "chunks of pixels": (_of_chunks(100_001, b"IDAT"), "it has more than 100,000 chunks"),
    "strips": (_tiff([*SIZE, (273, 4, 5_000_000, 200)]), "5,000,000 strips or tiles are more than 100,000"),
    "tiles": (_tiff([*SIZE, (324, 4, 2**32 - 1, 200)]), "4,294,967,295 strips or tiles are more than 100,000"),
    "planes": (
        _tiff([*SIZE, (258, 3, 3, 100), (284, 3, 1, 2)]).ljust(100, b"\0") + b"\x10\0" * 3,
        "its 16-bit channels lie apart. Save it with the channels together",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_would_take_minutes_is_refused_before_it_is_decoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, reason = HOSTILE[name]
    loads: list[object] = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", loads.append)
    with pytest.raises(ImageDecodeError) as caught:
        read_image(data)
    assert caught.value.reason == reason
    assert not loads


def test_a_size_is_refused_where_the_head_alone_would_take_minutes(tmp_path: Path) -> None:
    (path := tmp_path / "a.jpg").write_bytes(HOSTILE["repeated marks"][0])
    with pytest.raises(ImageDecodeError, match="parts before its pixels"):
        read_size(path)


def test_scans_that_cost_little_are_read() -> None:
    assert read_image(_of_scans(200, 100)).shape == (100, 100, 3)


def test_what_looks_like_a_scan_inside_a_segment_or_behind_the_end_is_none() -> None:
    data = _of_segments(100, b"\xff\xda" * 100)
    assert read_image(data + b"\xff\xda\0\4ab" * 10_000).shape == (8, 8, 3)
    large = _encoded(Image.new("RGB", (5000, 4000)), "JPEG", progressive=True)
    assert read_image(large + b"\xff\xda\0\4ab" * 1000).shape == (4000, 5000, 3)


def test_usual_files_have_fewer_parts_by_far() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (600, 700, 3), dtype=np.uint8)
    (exif := Image.Exif())[0x010E] = "described"
    for form, options in (("JPEG", {"exif": exif}), ("PNG", {}), ("TIFF", {}), ("TIFF", {"strip_size": 1})):
        assert read_image(_encoded(Image.fromarray(pixels), form, **options)).shape == (600, 700, 3)


@pytest.mark.parametrize(("channels", "said"), [(5, "5 channels"), (2, "2 channels"), (1, "1 channel")])
def test_a_tiff_of_a_layout_that_is_not_read_names_its_channels(channels: int, said: str) -> None:
    data = _tiff([*SIZE, (258, 3, 1, 64), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, channels)])
    with pytest.raises(ImageDecodeError) as caught:
        read_image(data)
    assert caught.value.reason == (
        f"it is a TIFF of {said} of a kind that is not read. Save the channels to be seen as grey (1 channel), "
        "RGB (3) or RGBA (4), of 8 or 16 bits; grey may be float32"
    )


def test_pages_are_counted_and_a_chain_that_leads_back_ends() -> None:
    image = Image.new("L", (3, 2))
    assert count_pages(_encoded(image, "TIFF")) == 1
    assert count_pages(_encoded(image, "TIFF", save_all=True, append_images=[image] * 4)) == 5
    assert count_pages(_encoded(image, "TIFF", save_all=True, append_images=[image], big_tiff=True)) == 2
    assert count_pages(_tiff(SIZE, following=8)) == 2
    assert count_pages(_tiff(SIZE, following=100_000)) == 1


def test_the_bound_of_parts_is_generous() -> None:
    assert 500_000_000 / MAX_PARTS < 8192  # the largest file in the chunks that libpng writes
