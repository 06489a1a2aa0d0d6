"""Whole data sets written in a layout, images and labels, by the one table of how each layout lies on the disk."""

import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from sppnet.data.gathering import name_fault
from sppnet.data.layouts.coco import write_coco
from sppnet.data.layouts.label_studio import write_labelstudio
from sppnet.data.layouts.tables import write_csv
from sppnet.data.layouts.voc import write_voc
from sppnet.data.layouts.yolo import write_yolo
from sppnet.data.names import split_of_name
from sppnet.data.parting import FILE, splits_text
from sppnet.data.problems import printable
from sppnet.data.samples import ALL, DetectionData, Sample
from sppnet.errors import DataError, check_that
from sppnet.progress import Progress, silent
from sppnet.storage import check_room, read_file, write_file


class WrittenLayout(NamedTuple):
    """Where a layout has the images of a split below its root, what writes the labels, and what it has no place for."""

    images: str
    write: Callable[[Path, DetectionData], None]
    loses: tuple[str, ...] = ()


WRITTEN: Final[Mapping[str, WrittenLayout]] = {
    "voc": WrittenLayout("JPEGImages", write_voc, ("outlined",)),
    "coco": WrittenLayout(
        "images/{split}", lambda root, data: write_coco(root / "annotations" / f"instances_{data.name}.json", data)
    ),
    "yolo": WrittenLayout("images/{split}", write_yolo, ("difficult", "crowd", "outlined")),
    "csv": WrittenLayout(
        "images/{split}", lambda root, data: write_csv(root / f"{data.name}.csv", data), ("outlined",)
    ),
    "labelstudio": WrittenLayout(
        "images/{split}", lambda root, data: write_labelstudio(root / f"{data.name}.json", data)
    ),
}


class Converted(NamedTuple):
    """What ``convert`` wrote, and how many flags the layout has no place for, by their name."""

    images: int
    boxes: int
    lost: Mapping[str, int]


def without_unions(parts: Sequence[DetectionData]) -> list[DetectionData]:
    """Return the splits but for those that put smaller ones together, as VOC's trainval does: written, it is a copy."""
    images = [frozenset(part.paths) for part in parts]
    unions = [mine and mine == frozenset().union(*(each for each in images if each < mine)) for mine in images]
    return [part for part, union in zip(parts, unions, strict=True) if not union]


def convert(parts: Sequence[DetectionData], layout: str, out: Path, *, progress: Progress = silent) -> Converted:
    """Write a data set, its images copied as they are, in another layout.

    Splits whose names files and folders cannot say, two beside each other called "a" and "b", go into ``splits.csv``.

    Args:
        parts: the splits. layout: one of ``WRITTEN``. out: a folder that is empty or not there yet.
        progress: wraps the pass over the images, given its name. What ends it, Ctrl-C too, leaves nothing behind.
    Raises:
        ArgumentError: another layout. DataError: a folder that holds something. WriteError: a disk without room for the
            images. All of these before anything is written.
    """
    advice = "Name one of these"
    check_that(layout in WRITTEN, "convert", "layout", f"one of {', '.join(WRITTEN)}", repr(layout), advice=advice)
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise DataError(f"{printable(out)}: the folder to write to must be empty. Name another one.")
    known = WRITTEN[layout]
    classes = tuple(sorted({name for part in parts for name in part.classes}))
    if not classes:
        raise DataError(f"{printable(parts[0].root) if parts else out}: names no class. Label an object first.")
    wrong = next((name for name in classes if name_fault(name)), None)
    if wrong is not None:
        raise DataError(f"{printable(wrong)!r:.80}: the class {name_fault(wrong)}. Rename it.")
    for part in parts:
        if part.name in ("", ".", "..") or re.search(r"[/\\]", part.name) or printable(part.name) != part.name:
            raise DataError(f"{printable(part.name)!r:.80}: the split can be no folder's name. Rename it.")
    check_room(out, sum(_bytes_of(sample) for part in parts for sample in part.samples))
    there = out.is_dir()
    try:
        _write(parts, known, out, classes, progress)
    except BaseException:
        _remove(out, there)
        raise
    samples = [sample for part in parts for sample in part.samples]
    lost = Counter({flag: int(sum(getattr(sample, flag).sum() for sample in samples)) for flag in known.loses})
    return Converted(len(samples), sum(len(sample.boxes) for sample in samples), +lost)


def _write(
    parts: Sequence[DetectionData], known: WrittenLayout, out: Path, classes: tuple[str, ...], progress: Progress
) -> None:
    names = iter(flat_names([_below(sample.path, part.root) for part in parts for sample in part.samples]))
    told: dict[str, str] = {}
    for part in parts:
        folder = out / known.images.format(split=part.name)
        places = [folder / next(names) for _ in part.samples]
        folder.mkdir(parents=True, exist_ok=True)
        for sample, place in progress(f"Copying {part.name}", list(zip(part.samples, places, strict=True))):
            if isinstance(sample.pixels, bytes):
                write_file(place, sample.pixels)
            else:
                write_file(place, read_file(sample.path))
        moved = tuple(replace(each, path=place) for each, place in zip(part.samples, places, strict=True))
        known.write(out, replace(part, root=out, samples=moved).relabelled(classes))
        told |= {place.relative_to(out).as_posix(): part.name for place in places}
    if [part.name for part in parts] != [ALL] and any(split_of_name(part.name) != part.name for part in parts):
        write_file(out / FILE, splits_text(told))


def _remove(out: Path, there: bool) -> None:
    """Remove what was written into a folder that was empty, and the folder itself, if it was not there."""
    for each in out.iterdir() if there else ():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each, ignore_errors=True)
        else:
            each.unlink(missing_ok=True)
    if not there:
        shutil.rmtree(out, ignore_errors=True)


def _bytes_of(sample: Sample) -> int:
    return len(sample.pixels) if isinstance(sample.pixels, bytes) else sample.path.stat().st_size


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def flat_names(names: Sequence[str]) -> list[str]:
    """Return printable names for one folder, whose stems all differ, as files of labels are named after them.

    >>> flat_names(["a/1.jpg", "2.png"]), flat_names(["a/1.jpg", "b/1.jpg"])
    (['1.jpg', '2.png'], ['a_1.jpg', 'b_1.jpg'])
    """
    paths = [PurePosixPath(printable(name).replace("\\", "_")) for name in names]
    stems = [path.stem for path in paths]
    if len({stem.casefold() for stem in stems}) < len(stems):
        stems = ["_".join(path.with_suffix("").parts) for path in paths]
    taken: set[str] = set()
    flat = []
    for stem, path in zip(stems, paths, strict=True):
        tries = (stem if not k else f"{stem}_{k}" for k in range(len(stems) + 1))
        free = next(name for name in tries if name.casefold() not in taken)
        taken.add(free.casefold())
        flat.append(f"{free}{path.suffix}")
    return flat
