"""Everything that can go wrong, over and over: ``python -m benchmarks.torture --seconds 3600`` (``make torture``).

Each trial is made of its section's name, the seed and its number alone, so that one can be done again. Sections run one
after the other, each in a process of its own: one that dies counts as a crash. What came out is written to
``results/torture.json`` and rendered into ``docs/reliability.md``.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw

from benchmarks import records
from benchmarks.service import mutated
from sppnet.errors import CorruptFileError, DataError, ImageDecodeError, SppnetError

SHARES: Final = {"images": 0.2, "labels": 0.2, "models": 0.2, "kills": 0.15, "failing writes": 0.1, "clients": 0.15}
BEGIN, END = "<!-- torture: rendered by 'make torture' -->", "<!-- end of torture -->"
PAGE: Final = records.ROOT / "docs" / "reliability.md"


class Tally:
    """Counts outcomes, and keeps the first of what must not happen."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.slowest = 0.0

    def trial(self, name: str, work: Callable[[], object], *refusals: type[Exception]) -> None:
        """Do one trial: it is done, refused by one of our errors, or a foreign exception."""
        start = time.perf_counter()
        try:
            work()
            self.counts["done"] += 1
        except refusals:
            self.counts["refused"] += 1
        except Exception as error:
            self.counts["foreign exceptions"] += 1
            if len(self.faults) < 5:
                self.faults.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
        self.slowest = max(self.slowest, time.perf_counter() - start)

    def lose(self, what: str) -> None:
        """Count something that was lost, or that differs."""
        self.counts["losses"] += 1
        self.faults.append(what[:300])

    def figures(self) -> dict[str, Any]:
        """Return what is written down."""
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        slowest = round(self.slowest, 2)
        return {**self.counts, "slowest_s": slowest, "resident_MB": round(memory), "faults": self.faults}


def _numbered(section: str, seed: int, until: float) -> Iterator[tuple[int, random.Random]]:
    number = 0
    while time.monotonic() < until:
        yield number, random.Random(f"{section} {seed} {number}")
        number += 1


# Images


def images(seed: int, until: float, tally: Tally) -> None:
    """Mutated files of every format: an image or our one error."""
    from sppnet.images import read_image

    seeds = _image_files()
    for number, rng in _numbered("images", seed, until):
        for content in mutated(seeds, count=100, seed=rng.randrange(1 << 30)):
            tally.trial(
                f"images {number}", lambda content=content: read_image(content, most=4_000_000), ImageDecodeError
            )


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

    with tempfile.TemporaryDirectory() as folder:
        roots = _data_sets(Path(folder))
        whole = {path: path.read_bytes() for _, paths in roots for path in paths}
        for number, rng in _numbered("labels", seed, until):
            root, paths = rng.choice(roots)
            path = rng.choice(paths)
            (content,) = mutated([whole[path]], count=1, seed=rng.randrange(1 << 30))
            path.write_bytes(content)
            if root is None:
                tally.trial(f"labels {number}", lambda path=path: read_regions(path), SppnetError)
            else:
                tally.trial(f"labels {number}", lambda root=root: load_detection(root, on_bad="skip"), SppnetError)
            path.write_bytes(whole[path])


def _data_sets(folder: Path) -> list[tuple[Path | None, list[Path]]]:
    from sppnet.data import load_detection, write_coco, write_yolo

    voc = _shapes(folder / "voc", 4)
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


def _shapes(root: Path, count: int) -> Path:
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


def models(seed: int, until: float, tally: Tally) -> None:
    """Mutated model files, also with a checksum made right again: refused with our errors, never loaded damaged."""
    from sppnet.models import load

    with tempfile.TemporaryDirectory() as folder:
        path = _model(Path(folder))
        whole = path.read_bytes()
        for number, rng in _numbered("models", seed, until):
            resealed = rng.random() < 0.3
            content = (
                _resealed(whole, rng) if resealed else next(mutated([whole], count=1, seed=rng.randrange(1 << 30)))
            )
            path.write_bytes(content)
            before = tally.counts["done"]
            tally.trial(f"models {number}", lambda: load(path), CorruptFileError, DataError, SppnetError)
            if tally.counts["done"] > before and not resealed and content != whole:
                tally.lose(f"models {number}: a damaged file was loaded")


def _model(folder: Path) -> Path:
    from sppnet import Detector, load_detection

    path = folder / "model.safetensors"
    Detector(short_side=64).fit(load_detection(_shapes(folder / "shapes", 3), split="train")).save(path)
    return path


def _resealed(whole: bytes, rng: random.Random) -> bytes:
    """Return the file with one thing of its metadata changed, and a checksum that is right."""
    from sppnet.storage import BLANK, DIGITS, _checksum

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
    inner["checksum"] = BLANK.decode()
    header["__metadata__"]["sppnet"] = json.dumps(inner, separators=(",", ":"), sort_keys=True)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    blank = len(text).to_bytes(8, "little") + text + whole[8 + length :]
    return blank[: DIGITS.start] + _checksum(blank) + blank[DIGITS.stop :]


# Kills and failing writes, at every boundary


WRITES: Final = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link"}


REACHED: Final = 3  # how a process ends whose write failed, and which went on without it


def _at_write(boundary: int, action: Callable[[], object]) -> list[str]:
    """Do something in the place of the boundary-th write that this process begins; return what it was, once it was."""
    seen: list[str] = []
    reached: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        written = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if written or event in WRITES:
            seen.append(event)
            if len(seen) == boundary:
                reached.append(event)
                action()

    sys.addaudithook(hook)
    return reached


def _forked(work: Callable[[], object]) -> int:
    """Do something in a process of its own, and return how it ended: 0, 1 for our error, 2 for another, or -signal."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except (SppnetError, OSError):
            os._exit(1)
        except BaseException:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail() -> None:
    raise OSError(28, "No space left on device")


def _scenarios(folder: Path) -> dict[str, Callable[[Path], None]]:
    """Return what is interrupted: each does its work in a folder, and is to end there with the same bytes."""
    from sppnet import Detector, TensorCache, load_detection
    from sppnet.data import write_coco, write_voc, write_yolo

    data = load_detection(_shapes(folder / "shapes", 3), split="train")

    def train(out: Path) -> None:
        Detector(short_side=64, cache=TensorCache(out / "cache")).fit(data).save(out / "model.safetensors")

    def export(out: Path) -> None:
        write_voc(out / "voc", data)
        write_coco(out / "coco/instances_train.json", data)
        write_yolo(out / "yolo", data)

    return {"train with a cache": train, "export labels": export}


def kills(seed: int, until: float, tally: Tally) -> None:
    """Killed at every write once, and then anywhere: the same bytes at the end."""
    _interrupted("kills", seed, until, tally, _kill, ended=-signal.SIGKILL)


def failing_writes(seed: int, until: float, tally: Tally) -> None:
    """Each write fails once for want of room: our error or none, and the same bytes at the end."""
    _interrupted("failing writes", seed, until, tally, _fail, ended=1)


def _interrupted(
    section: str, seed: int, until: float, tally: Tally, action: Callable[[], object], *, ended: int
) -> None:
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scenarios = _scenarios(folder)
        wanted = {scenario: _ending(work, folder / "whole") for scenario, work in scenarios.items()}
        boundary, left = dict.fromkeys(scenarios, 0), list(scenarios)
        for number, rng in _numbered(section, seed, until):
            scenario = rng.choice(left)
            boundary[scenario] += 1
            place = f"{section} {number}: {scenario}, interrupted at write {boundary[scenario]},"
            work, out = scenarios[scenario], folder / "out"
            out.mkdir()
            code = _forked(partial(_disturbed, work, out, boundary[scenario], action))
            tally.counts["trials"] += 1
            if code not in (0, ended, REACHED):
                tally.lose(f"{place} ended with {code}")
            if _ending(work, out) != wanted[scenario]:
                tally.lose(f"{place} ends differently")
            if code == 0:  # it has no more writes
                tally.counts[f"writes of: {scenario}"] = boundary[scenario] - 1
                left.remove(scenario)
            if not left:
                tally.counts["rounds over every write"] += 1
                boundary, left = dict.fromkeys(scenarios, 0), list(scenarios)


def _disturbed(work: Callable[[Path], None], out: Path, boundary: int, action: Callable[[], object]) -> None:
    """Do the work with something in the place of its boundary-th write; where it goes on all the same, end so."""
    reached = _at_write(boundary, action)
    work(out)
    if reached:
        os._exit(REACHED)


def _ending(work: Callable[[Path], None], out: Path) -> dict[str, bytes]:
    """Do the work undisturbed, on what is there, and return all files; the folder is removed."""
    out.mkdir(exist_ok=True)
    code = _forked(partial(work, out))
    content = {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    shutil.rmtree(out)
    return content if code == 0 else {"ended with": str(code).encode()}


# Clients


def clients(seed: int, until: float, tally: Tally) -> None:
    """Odd and hostile clients in turn; /healthz is asked meanwhile, and memory, descriptors and threads are watched."""
    from benchmarks.torture_clients import torment

    with tempfile.TemporaryDirectory() as folder:
        torment(_model(Path(folder)), seed, until, tally)


SECTIONS: Final[dict[str, Callable[[int, float, Tally], None]]] = {
    "images": images,
    "labels": labels,
    "models": models,
    "kills": kills,
    "failing writes": failing_writes,
    "clients": clients,
}


def _section(name: str, seed: int, seconds: float) -> dict[str, Any]:
    """Run a section in a process of its own; one that dies is a crash."""
    command = [sys.executable, "-m", "benchmarks.torture", "--section", name, "--seed", str(seed)]
    # Decoders print what they think of broken files; of a crash the last lines are told.
    done = subprocess.run(
        [*command, "--seconds", str(seconds)], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        return {"crashes": 1, "faults": [f"{name} ended with {done.returncode}: {done.stderr[-300:]}"]}
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def bad(figures: dict[str, dict[str, Any]]) -> list[str]:
    """Return what must not have happened."""
    return [f"{name}: {fault}" for name, section in figures.items() for fault in section["faults"]]


def rendered(page: str) -> str:
    """Return the page on reliability with the table made anew from the results."""
    record = records.read("torture")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{_table(record) if record else ''}{END}{after}"


def _table(record: dict[str, Any]) -> str:
    lines = ["| tried | what came of it |", "|---|---|"]
    for name, section in record["figures"].items():
        kept = {key: value for key, value in section.items() if key != "faults"}
        shown = ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in kept.items())
        lines.append(f"| {name} | {shown}; {len(section['faults'])} faults |")
    lines.append(f"\nSeed {record['seed']}, commit {record['commit'][:10]}, {record['machine']['cores']} cores.\n")
    return "\n".join(lines)


def main() -> None:
    """Run all sections, or one of them, and write down what came out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--section", choices=list(SECTIONS), help="one alone, and its figures to the standard output")
    parser.add_argument("--dry", action="store_true", help="write no results")
    given = parser.parse_args()
    if given.section:
        tally = Tally()
        SECTIONS[given.section](given.seed, time.monotonic() + given.seconds, tally)
        print(json.dumps(tally.figures()))
        return
    figures = {}
    for name, share in SHARES.items():
        figures[name] = _section(name, given.seed, share * given.seconds)
        print(f"{name}: {json.dumps(figures[name])}", flush=True)
    if not given.dry:
        records.write("torture", seed=given.seed, figures=figures)
        PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit("\n".join(bad(figures)) or 0)


if __name__ == "__main__":
    main()
