"""Files from strangers: images, labels, models. Each trial reads one, and is to end well or with one of our errors."""

import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.service import mutated
from benchmarks.tally import Tally
from benchmarks.torture_images import hostile_image, known_to_be_hostile
from sppnet.errors import ImageDecodeError, SppnetError

MEMORY: Final = 600  # MB, the most that anything refused may take
A_PIXEL: Final = 12  # bytes, the most that reading may take, the file's own beside
SECONDS: Final = 5  # of a processor, the most that any file may take
LARGE: Final = 4_000_000  # pixels from which bytes a pixel are told: of smaller images the rest counts for more


def numbered(section: str, seed: int, until: float) -> Iterator[tuple[int, random.Random]]:
    """Yield the trials' numbers, and for each what it is made of, until the time is over."""
    for number in count():
        if time.monotonic() >= until:
            return
        yield number, random.Random(f"{section} {seed} {number}")


# Images


def images(seed: int, until: float, tally: Tally) -> None:
    """Mutated files of every format: an image or our one error."""
    from sppnet.images import read_image

    seeds = [*_image_files(), *_corpora()]
    for number, rng in numbered("images", seed, until):
        for content in mutated(seeds, count=100, seed=rng.randrange(1 << 30)):
            tally.trial(f"images {number}", partial(read_image, content, most=4_000_000), ImageDecodeError)


def hostile_images(seed: int, until: float, tally: Tally) -> None:
    """Files that ask for much: an image or our one error, within bounds of memory and of a processor's time."""
    known = known_to_be_hostile()
    import_module("torchvision.io")  # its decoder, loaded at the first large WebP, is no part of what that takes
    for number, rng in numbered("hostile images", seed, until):
        content = next(known, None) or hostile_image(rng)
        before, start = _resident(reset=True)[0], time.process_time()
        pixels: list[int] = []
        tally.trial(f"hostile images {number}", partial(_read, content, pixels), ImageDecodeError)
        seconds, memory = time.process_time() - start, (_resident()[1] - before) / 1e6
        tally.most("seconds of a processor", round(seconds, 2))
        place = f"hostile images {number}: {len(content)} bytes"
        if seconds > SECONDS:
            tally.lose(f"{place} took {seconds:.1f} s")
        if pixels and pixels[0] > LARGE:
            each = round((memory * 1e6 - len(content)) / pixels[0], 1)
            tally.most("bytes a pixel of what is read", each)
            if each > A_PIXEL:
                tally.lose(f"{place} took {each} bytes a pixel")
        if not pixels:
            tally.most("MB of what is refused", round(memory))
            if memory > MEMORY:
                tally.lose(f"{place} took {memory:.0f} MB to refuse")


def _read(content: bytes, pixels: list[int]) -> None:
    from sppnet.images import read_image

    image = read_image(content)
    pixels.append(image.shape[0] * image.shape[1])


def _resident(*, reset: bool = False) -> tuple[int, int]:
    """Return this process's resident bytes, and the most since the last reset; both 0 where the system tells none."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0, 0
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
    now, most = (1024 * int(lines[name].split()[0]) for name in ("VmRSS", "VmHWM"))
    return now, most


def _corpora() -> list[bytes]:
    """Return the files below ``SPPNET_CORPORA``, of at most a megabyte each: corpora of hostile images."""
    folder = os.environ.get("SPPNET_CORPORA")
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file()) if folder else []
    return [path.read_bytes() for path in paths if 0 < path.stat().st_size <= 1_000_000]


def _image_files() -> list[bytes]:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    (exif := Image.Exif())[0x0112] = 6
    forms: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (image, "JPEG", {"exif": exif}),
        (image, "JPEG", {"progressive": True}),
        (image.convert("CMYK"), "JPEG", {}),
        (image, "PNG", {}),
        (image.convert("P"), "PNG", {"transparency": 3}),
        (Image.fromarray(rng.integers(0, 4096, (30, 40)).astype(np.uint16)), "PNG", {}),
        (image, "WEBP", {}),
        (image, "WEBP", {"lossless": True, "save_all": True, "append_images": [image]}),
        (image, "GIF", {"save_all": True, "append_images": [image]}),
        (image, "BMP", {}),
        (image, "TIFF", {"compression": "tiff_lzw"}),
        (image, "TIFF", {"save_all": True, "append_images": [image]}),
        (Image.fromarray(rng.random((30, 40)).astype(np.float32)), "TIFF", {}),
    ]
    files = []
    for each, form, options in forms:
        each.save(file := BytesIO(), form, **options)
        files.append(file.getvalue())
    return files


# Labels, and files of regions


def labels(seed: int, until: float, tally: Tally) -> None:
    """Mutated labels in three layouts, and files of regions in two: a data set with problems named, or our errors."""
    from sppnet.data import load_detection
    from sppnet.proposals.files import read_regions

    with tempfile.TemporaryDirectory(dir=in_memory()) as folder:
        roots = _data_sets(Path(folder))
        whole = {path: path.read_bytes() for _, paths in roots for path in paths}
        for number, rng in numbered("labels", seed, until):
            root, paths = rng.choice(roots)
            path = rng.choice(paths)
            (content,) = mutated([whole[path]], count=1, seed=rng.randrange(1 << 30))
            path.write_bytes(content)
            if root is None:
                tally.trial(f"labels {number}", partial(read_regions, path), SppnetError)
            else:
                tally.trial(f"labels {number}", partial(load_detection, root, on_bad="skip"), SppnetError)
            path.write_bytes(whole[path])


def _data_sets(folder: Path) -> list[tuple[Path | None, list[Path]]]:
    from sppnet.data import load_detection, write_coco, write_yolo

    voc = shapes(folder / "voc", 2)
    data = load_detection(voc, split="train")
    write_coco(folder / "coco/annotations/instances_train.json", data)
    (folder / "coco" / "images").mkdir(parents=True, exist_ok=True)
    yolo = folder / "yolo"
    for path in sorted((voc / "JPEGImages").iterdir()):
        (folder / "coco/images" / path.name).write_bytes(path.read_bytes())
        place = yolo / "images/train" / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    write_yolo(yolo, _moved(data, yolo / "images/train"))
    regions = folder / "regions"
    regions.mkdir()
    (regions / "a.csv").write_text("image,left,top,right,bottom\n" + "0.png,1,2,30.5,40\n" * 20)
    boxes = [{"image_id": 1, "bbox": [1, 2, 3, 4.5], "score": 0.5}] * 20
    (regions / "a.json").write_text(json.dumps(boxes))
    text = {".xml", ".json", ".txt", ".yaml"}
    sets: list[tuple[Path | None, list[Path]]] = [
        (root, sorted(path for path in root.rglob("*") if path.suffix in text)) for root in (voc, folder / "coco", yolo)
    ]
    return [*sets, (None, sorted(regions.iterdir()))]


def _moved(data: Any, folder: Path) -> Any:
    from dataclasses import replace

    samples = tuple(replace(sample, path=folder / sample.path.name) for sample in data.samples)
    return replace(data, root=folder.parents[1], samples=samples)


def shapes(root: Path, count: int) -> Path:
    """Draw a VOC data set of squares and discs on noise."""
    for each in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / each).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        image = Image.fromarray(rng.integers(90, 160, (96, 128, 3)).astype(np.uint8))
        pen, objects = ImageDraw.Draw(image), ""
        for half, (name, draw, colour) in enumerate((("a", pen.rectangle, "red"), ("b", pen.ellipse, "blue"))):
            left, top = half * 64 + int(rng.integers(2, 20)), int(rng.integers(2, 50))
            draw((left, top, left + 35, top + 35), fill=colour)
            corners = f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{left + 36}</xmax><ymax>{top + 36}</ymax>"
            objects += f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>"
        image.save(root / f"JPEGImages/{index}.png")
        (root / f"Annotations/{index}.xml").write_text(f"<annotation>{objects}</annotation>")
    (root / "ImageSets/Main/train.txt").write_text("\n".join(map(str, range(count))))
    return root


# Model files


DAMAGED: Final = 50  # files of one kind in a row, of which one has a checksum that is right


def models(seed: int, until: float, tally: Tally) -> None:
    """Mutated model and cache files, also with a checksum made right: our errors, and never loaded damaged."""
    from sppnet.models import load
    from sppnet.storage import read_tensors

    with tempfile.TemporaryDirectory(dir=in_memory()) as name:
        folder = Path(name)
        whole = [model_file(folder).read_bytes(), _classifier(folder).read_bytes(), _cached(folder).read_bytes()]
        path = folder / "damaged.safetensors"
        for number, rng in numbered("models", seed, until):
            kind = rng.randrange(len(whole))
            reader = load if kind < 2 else read_tensors  # the last is no model, but tensors
            for content in mutated([whole[kind]], count=DAMAGED, seed=rng.randrange(1 << 30)):
                path.write_bytes(content)
                before = tally.counts["done"]
                tally.trial(f"models {number}", partial(reader, path), SppnetError)
                if tally.counts["done"] > before and content != whole[kind]:
                    tally.lose(f"models {number}: a damaged file was loaded")
            path.write_bytes(_resealed(whole[kind], rng))
            tally.trial(f"models {number}, its checksum right", partial(reader, path), SppnetError)


def in_memory() -> str | None:
    """Return a folder in memory where there is one: what is tried there is no disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _classifier(folder: Path) -> Path:
    from sppnet import Classifier, load_folders

    for index, colour in enumerate(("red", "blue")):
        for number in range(2):
            place = folder / "classes" / colour / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 64), (200 * index, 9 * number, 90)).save(place)
    path = folder / "classifier.safetensors"
    Classifier(short_side=64).fit(load_folders(folder / "classes")).save(path)
    return path


def _cached(folder: Path) -> Path:
    import torch

    from sppnet.storage import write_tensors

    path = folder / "cached.safetensors"
    maps = {"stride16": torch.zeros(1, 8, 6, 5), "stride32": torch.ones(1, 4, 3, 2, dtype=torch.float16)}
    write_tensors(path, maps, metadata={"key": "0" * 64})
    return path


def model_file(folder: Path) -> Path:
    from sppnet import Detector, load_detection

    path = folder / "model.safetensors"
    Detector(short_side=64).fit(load_detection(shapes(folder / "shapes", 3), split="train")).save(path)
    return path


def _resealed(whole: bytes, rng: random.Random) -> bytes:
    """Return the file with one thing of its metadata changed, and a checksum that is right."""
    from sppnet.storage.tensors import sealed

    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    inner = json.loads(header["__metadata__"]["sppnet"])
    place: Any = inner["metadata"]
    while isinstance(place, dict | list) and place:
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.4:
            if rng.random() < 0.4:
                del place[key]
            else:
                place[key] = rng.choice((None, -1, 0, 1e300, "x", [], {}, [1], True, 10**30))
            break
        place = place[key]
    header["__metadata__"]["sppnet"] = json.dumps(inner, separators=(",", ":"), sort_keys=True)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return sealed(len(text).to_bytes(8, "little") + text + whole[8 + length :])
