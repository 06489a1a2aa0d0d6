"""The script beside an exported model reads images and answers as the package does, and says what it cannot read."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.images.test_images import _png_16

from sppnet import Classifier, export_classifier
from sppnet.detection.output import classified
from sppnet.errors import ImageDecodeError
from sppnet.export import run
from sppnet.images import read_image, value_range


def _values(most: int, *shape: int, least: int = 0) -> np.ndarray:
    return np.random.default_rng(0).integers(least, most + 1, shape or (12, 17))


def _png(most: int, channels: int) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(_png_16(_values(most, 12, 17, channels).astype(np.uint16)))


def _saved(pixels: np.ndarray | Image.Image, **options: Any) -> Callable[[Path], Any]:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    return lambda path: image.save(path, **options)


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _tiff_16(kind: str, channels: int) -> Callable[[Path], Any]:
    """Return what writes a TIFF of 16-bit colour, which Pillow does not write: one strip behind its tags."""
    pixels = _values(4000, 12, 17, channels).astype(f"{kind}u2").tobytes()
    order = "little" if kind == "<" else "big"

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, order)

    tags = [(256, 17), (257, 12), (259, 1), (262, 2), (277, channels), (278, 12)]
    tags += [(338, 2)] if channels == 4 else []
    count, bits = len(tags) + 3, number(16, 2) * channels
    behind = 8 + 2 + 12 * count + 4
    rows = [(tag, 3, 1, number(value, 2) + bytes(2)) for tag, value in tags]
    rows += [(258, 3, channels, number(behind, 4)), (273, 4, 1, number(behind + len(bits), 4))]
    rows += [(279, 4, 1, number(len(pixels), 4))]
    written = b"".join(
        number(tag, 2) + number(form, 2) + number(times, 4) + value for tag, form, times, value in sorted(rows)
    )
    head = (b"II*\0" if kind == "<" else b"MM\0*") + number(8, 4) + number(count, 2)
    return lambda path: path.write_bytes(head + written + bytes(4) + bits + pixels)


COLOUR = Image.fromarray(_values(255, 12, 17, 3).astype(np.uint8))
CLEAR = Image.fromarray(_values(255, 12, 17, 4).astype(np.uint8))
FILES: dict[str, Callable[[Path], Any]] = {
    "12-bit grey.png": _saved(_values(4095).astype(np.uint16)),
    "16-bit grey.png": _saved(_values(65535).astype(np.uint16)),
    "8-bit grey in 16.png": _saved(_values(255).astype(np.uint16)),
    "narrow grey.png": _saved(_values(36863, least=33069).astype(np.uint16)),
    "one grey.png": _saved(np.full((4, 5), 900, np.uint16)),
    "12-bit colour.png": _png(4095, 3),
    "16-bit colour.png": _png(65535, 3),
    "12-bit colour, clear.png": _png(4095, 4),
    "little-endian colour.tif": _tiff_16("<", 3),
    "big-endian colour.tif": _tiff_16(">", 3),
    "clear colour.tif": _tiff_16("<", 4),
    "grey.tif": _saved(_values(4095).astype(np.uint16)),
    "big-endian grey.tif": _saved(Image.frombytes("I;16B", (17, 12), _values(4095).astype(">u2").tobytes())),
    "0 to 1.tif": _saved((_values(1000) / 1000).astype(np.float32)),
    "large floats.tif": _saved((_values(1000) * 1e6 - 5e8).astype(np.float32)),
    "int32.tif": _saved(_values(1_000_000, least=-1_000_000).astype(np.int32)),
    "small int32.tif": _saved(_values(4000).astype(np.int32)),
    "clear.png": _saved(CLEAR),
    "palette.png": _saved(COLOUR.quantize(8), transparency=0),
    "one clear colour.png": _saved(COLOUR, transparency=COLOUR.getpixel((0, 0))),
    "grey, clear.png": _saved(CLEAR.convert("LA")),
    "bits.png": _saved(COLOUR.convert("1")),
    "four inks.jpg": _saved(COLOUR.convert("CMYK")),
    "frames.gif": _saved(COLOUR, save_all=True, append_images=[COLOUR.rotate(90)]),
    "lossy.webp": _saved(CLEAR),
    **{
        f"turned {number}.{suffix}": _saved(COLOUR, exif=_turned(number))
        for number in range(1, 9)
        for suffix in ("jpg", "png", "tif")
    },
    "deep and turned.tif": _saved(_values(4095).astype(np.uint16), exif=_turned(6)),
    "deep and turned.png": _saved(_values(4095).astype(np.uint16), exif=_turned(5)),
}


@pytest.mark.parametrize("name", FILES)
def test_the_script_reads_pixels_as_the_package_does(tmp_path: Path, name: str) -> None:
    FILES[name](tmp_path / name)
    np.testing.assert_array_equal(run.pixels(tmp_path / name), read_image(tmp_path / name))


def test_what_the_package_refuses_the_script_refuses(tmp_path: Path) -> None:
    _saved(np.array([[0, np.nan, 1]], np.float32))(tmp_path / "nan.tif")
    _tiff_16("<", 3)(tmp_path / "apart.tif")
    content = bytearray((tmp_path / "apart.tif").read_bytes())
    place = content.index((278).to_bytes(2, "little"))
    content[place : place + 12] = bytes([284 % 256, 1, 3, 0, 1, 0, 0, 0, 2, 0, 0, 0])  # rows a strip -> planes
    (tmp_path / "apart.tif").write_bytes(content)
    for name, reason in (
        ("nan.tif", "it holds values that are not finite"),
        ("apart.tif", "its 16-bit channels lie apart. Save it with the channels together"),
    ):
        with pytest.raises(ValueError, match=reason):
            run.pixels(tmp_path / name)
        with pytest.raises(ImageDecodeError, match=reason):
            read_image(tmp_path / name)


def test_the_range_of_values_is_the_packages() -> None:
    rng = np.random.default_rng(0)
    for most in (1, 255, 256, 1023, 4095, 16383, 65535, 70000):
        for _ in range(50):
            low, high = sorted(int(value) for value in rng.integers(-1 if most > 65535 else 0, most + 1, 2))
            for whole in (True, False):
                assert run.value_range(low, high, whole=whole) == value_range(low, high, whole=whole)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Classifier, Path]:
    """Return a classifier, and the folder that it was exported to."""
    images = [_values(255, 60, 80, 3).astype(np.uint8) // shade for shade in (1, 2, 3, 4, 6, 8)]
    classifier = Classifier(short_side=64).fit(images, ["light", "light", "middle", "middle", "dark", "dark"])
    folder = tmp_path_factory.mktemp("exported")
    export_classifier(classifier, folder)
    return classifier, folder


def _run(folder: Path, *images: Path | str) -> subprocess.CompletedProcess[str]:
    """Run the script with everything of PyTorch and of this package out of reach."""
    code = "import sys, runpy; sys.modules.update(torch=None, torchvision=None, sppnet=None);"
    code += f"sys.argv = ['run.py', *{[str(each) for each in images]!r}];"
    code += f"runpy.run_path({str(folder / 'run.py')!r}, run_name='__main__')"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize("threshold", [0.0, 1.1], ids=["known", "none of these"])
def test_the_script_names_as_predict_does(exported: tuple[Classifier, Path], tmp_path: Path, threshold: float) -> None:
    classifier, folder = exported
    for name in ("labels.json", "model.onnx", "run.py"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    labels = json.loads((folder / "labels.json").read_text())
    assert labels["thresholds"] == [classifier.threshold_]
    (tmp_path / "labels.json").write_text(json.dumps(labels | {"thresholds": [threshold]}))
    FILES["12-bit colour.png"](tmp_path / "image.png")
    answer = json.loads(_run(tmp_path, tmp_path / "image.png").stdout)
    prediction = classifier.predict(tmp_path / "image.png")
    expected = classified(tmp_path / "image.png", prediction)
    assert answer["image"] == expected["image"]
    assert answer["class"] == ("none of these" if threshold else prediction.top(1)[0][0])
    assert [each["class"] for each in answer["best"]] == [each["class"] for each in expected["best"]]
    np.testing.assert_allclose(*([each["score"] for each in one["best"]] for one in (answer, expected)), atol=5e-3)
    told = "and the probability that the best class must reach: below it, an image shows none of these"
    assert told in " ".join((folder / "README.md").read_text().split())


def test_what_cannot_be_read_is_named_in_a_line_and_the_others_are_answered(
    exported: tuple[Classifier, Path], tmp_path: Path
) -> None:
    FILES["clear.png"](tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    (tmp_path / "text.jpg").write_text("no image")
    done = _run(exported[1], "nowhere.png", *(tmp_path / name for name in ("bad.png", "good.png", "text.jpg")))
    assert done.returncode == 1
    assert [json.loads(line)["image"] for line in done.stdout.splitlines()] == [str(tmp_path / "good.png")]
    lines = done.stderr.splitlines()
    assert [line.split(": cannot be read: ")[0] for line in lines] == [
        "nowhere.png",
        str(tmp_path / "bad.png"),
        str(tmp_path / "text.jpg"),
    ]


def test_without_an_image_the_script_says_how_it_is_used(exported: tuple[Classifier, Path]) -> None:
    done = _run(exported[1])
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"usage: python {exported[1]}/run.py IMAGE ...\n")
