"""Regions of your own from a file: CSV, COCO results, or MATLAB."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from torch import Tensor

from sppnet.errors import ArgumentError, DataError, counted
from sppnet.features.scene import Scene
from sppnet.geometry import Boxes, check_boxes, clip_boxes
from sppnet.proposals.matlab import read_cells
from sppnet.proposals.protocol import Proposals
from sppnet.storage import cache_key, open_file, read_file, safe_text

Named = TypeVar("Named")

MAX_BYTES: Final = 1 << 30  # of a JSON file


@dataclass(frozen=True)
class FileProposals:
    """Regions of your own from a file: CSV, COCO results, or MATLAB, told apart by its suffix; see ``read_regions``."""

    path: Path | str

    def regions(self, scene: Scene) -> Boxes:
        """Return the regions of the image of the scene's name in the file's order, clipped to the image."""
        return self.of(scene.name, scene.size)

    def check(self, names: Iterable[str]) -> None:
        """Look up many images, by their names or paths, before any work.

        Raises:
            ArgumentError: what the file calls one may mean two of them. DataError: it holds no regions for one.
        """
        images = list(dict.fromkeys(names))
        missing = [name for name in self.told_apart(images, str) if self.key(name) is None]
        if missing:
            some = f"{len(missing)} of {counted(len(images), 'image')}, the first {missing[0]}"
            raise DataError(f"{self.path}: holds no regions for {some}. Add rows, or name other images.")

    def told_apart(self, images: Iterable[Named], name_of: Callable[[Named], str]) -> Iterator[Named]:
        """Pass images on, one after the other, by whose names or paths their regions are looked up.

        Raises:
            ArgumentError: what the file calls one may mean one of those before it too.
        """
        seen: dict[str, str] = {}
        for image in images:
            name = name_of(image)
            known = self.key(name)
            if known is not None and seen.setdefault(known, name) != name:
                both = f"{seen[known]} and {name}"
                raise ArgumentError(f"{self.path}: {known!r} may mean {both}. Write their paths.")
            yield image

    def of(self, name: str, size: tuple[int, int]) -> Boxes:
        """Return the regions of the image of that name, or path, and ``size`` (height, width).

        Raises:
            DataError: the file holds none for it. BoxError: one lies wholly outside the image.
        """
        known = self.key(name)
        if known is None:
            raise DataError(f"{self.path}: holds no regions for the image {name!r}. Add rows for it.")
        return check_boxes(str(self.path), self._regions[known], size)

    def key(self, name: str) -> str | None:
        """Return what the file calls an image: the longest end of its path, or its stem; None if nothing."""
        parts = Path(name).parts
        ends = ["/".join(parts[k:]) for k in range(len(parts))]
        stem = Path(name).stem
        return next((key for key in (name, *ends, stem, stem.lstrip("0")) if key in self._regions), None)

    def count(self, name: str) -> int:
        """Return how many regions there are of the image of that name, or path."""
        known = self.key(name)
        return 0 if known is None else len(self._regions[known])

    def unused(self, names: Iterable[str]) -> list[str]:
        """Return what the file calls images with regions that are none of these."""
        used = {self.key(name) for name in names}
        return [key for key, boxes in self._regions.items() if key not in used and len(boxes)]

    def beyond(self, name: str, size: tuple[int, int]) -> list[int]:
        """Return which regions of the image of that name reach more than a pixel out of it: these are cut."""
        known = self.key(name)
        boxes = np.zeros((0, 4)) if known is None else self._regions[known]
        far = np.abs(boxes - clip_boxes(boxes, size)).max(axis=1, initial=0)
        return np.flatnonzero(far > 1).tolist()

    def where(self, key: str, place: int = 0) -> str:
        """Return the file, and of CSV the line, that holds a region of what the file calls an image."""
        if Path(self.path).suffix.lower() in (".json", ".mat"):
            return str(self.path)
        with TextIOWrapper(open_file(self.path), encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            lines = [rows.line_num for row in rows if safe_text(row["image"] or "") == key and row["left"] != ""]
        return f"{self.path}:{lines[place]}"

    @property
    def content(self) -> str:
        """Return what stands for all regions in the file, wherever it lies."""
        return cache_key(*(part for name, boxes in self._regions.items() for part in (name, boxes.tobytes())))

    def describe(self) -> dict[str, Any]:
        """Return the file's path."""
        return {"method": "file", "path": str(self.path)}

    def tensors(self) -> dict[str, Tensor]:
        """Return nothing: nothing is learnt."""
        return {}

    @cached_property
    def _regions(self) -> Mapping[str, Boxes]:
        return read_regions(self.path)


def check_names(proposals: Proposals, names: Iterable[str]) -> None:
    """Look up many images before any work, if regions come from a file; raises as ``FileProposals.check``."""
    if isinstance(proposals, FileProposals):
        proposals.check(names)


def told_apart(proposals: Proposals, scenes: Iterable[Scene]) -> Iterator[Scene]:
    """Pass images on as they come, if regions come from a file; raises as ``FileProposals.told_apart``."""
    if isinstance(proposals, FileProposals):
        yield from proposals.told_apart(scenes, lambda scene: scene.name)
    else:
        yield from scenes


def basis_of(proposals: Proposals) -> dict[str, Any]:
    """Return JSON of what the regions of a method depend on: of a file its content, not its name."""
    return {"file": proposals.content} if isinstance(proposals, FileProposals) else proposals.describe()


def read_regions(path: Path | str) -> dict[str, Boxes]:
    """Read a file of regions: what the image is called in it -> (R, 4) boxes, the first the best.

    ``.csv``: the columns image, left, top, right, bottom; 0-based pixels, ends excluded; in the file's order.
    ``.json``: COCO, a list of results or a data set with annotations; by falling score where there is one. An image
    goes by its file name, or where there is none by its number.
    ``.mat``: as the authors of R-CNN and SPP-net hand them out: cells ``images`` of names without suffix, and
    ``boxes`` of rows top, left, bottom, right, counted from 1, ends included; in the file's order.

    Raises:
        DataError: naming the file, and line or image, for what is missing or no box. CorruptFileError: a MATLAB
        file that is damaged.
    """
    readers = {".json": _read_coco, ".mat": _read_matlab}
    return readers.get(Path(path).suffix.lower(), _read_csv)(Path(path))


def _read_matlab(path: Path) -> dict[str, Boxes]:
    cells = read_cells(path, ("boxes", "images"))
    names, boxes = cells["images"], cells["boxes"]
    if len(names) != len(boxes):
        raise DataError(f"{path}: holds {len(names)} names for {len(boxes)} lists of boxes. Save one list a name.")
    regions = {}
    for name, rows in zip(names, boxes, strict=True):
        if not isinstance(name, str) or isinstance(rows, str) or (rows.size and rows.shape[1] != 4):
            raise DataError(f"{path}: images must hold names, and boxes rows of 4 numbers. Save it as R-CNN does.")
        top, left, bottom, right = rows.reshape(-1, 4).T
        regions[name] = _sound(path, name, np.stack([left - 1, top - 1, right, bottom], axis=1))
    return regions


def _read_coco(path: Path) -> dict[str, Boxes]:
    try:
        content = json.loads(read_file(path, most=MAX_BYTES))
        rows = content if isinstance(content, list) else content["annotations"]
        images = [] if isinstance(content, list) else content["images"]
        names = {image["id"]: str(image["file_name"]) for image in images}
        scored: dict[str, list[tuple[float, list[float]]]] = {name: [] for name in names.values()}
        for row in rows:
            name = names.get(row["image_id"], str(row["image_id"]))
            box = [float(number) for number in row["bbox"]]
            scored.setdefault(name, []).append((float(row.get("score", 0.0)), box))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise DataError(f"{path}: must be COCO results: {error!r}. Give each an image_id and a bbox.") from error
    regions = {}
    for name, rows in scored.items():
        rows.sort(key=lambda row: -row[0])
        if any(len(box) != 4 for _, box in rows):
            raise DataError(f"{path}: a bbox of {name!r} has not 4 numbers. Write left, top, width, height.")
        left, top, width, height = np.array([box for _, box in rows]).reshape(-1, 4).T
        regions[name] = _sound(path, name, np.stack([left, top, left + width, top + height], axis=1))
    return regions


def _sound(path: Path, name: str, boxes: Boxes) -> Boxes:
    sound = np.isfinite(boxes).all(axis=1) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    if not sound.all():
        wrong = boxes[int(np.argmin(sound))].tolist()
        raise DataError(f"{path}: {wrong}, of the image {name!r}, is no box. Write left < right and top < bottom.")
    return boxes


def _read_csv(path: Path) -> dict[str, Boxes]:
    columns = ("left", "top", "right", "bottom")
    rows: dict[str, list[list[float]]] = {}
    try:
        with TextIOWrapper(open_file(path), encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = {"image", *columns} - set(reader.fieldnames or ())
            if missing:
                has = ",".join(reader.fieldnames or ()) or "nothing"
                expected = f"the columns image, {', '.join(columns)}, with commas between them"
                raise DataError(f"{path}:1: must name {expected}, got {has!r}. Write them into line 1.")
            for row in reader:
                if not row["image"]:
                    raise DataError(f"{path}:{reader.line_num}: names no image. Write its name, or its path.")
                row["image"] = safe_text(row["image"])  # as sppnet's own tables have names
                if all(row[column] == "" for column in columns):
                    rows.setdefault(row["image"], [])  # as predict writes an image that shows nothing
                    continue
                numbers = _numbers(path, reader.line_num, [row[column] for column in columns])
                rows.setdefault(row["image"], []).append(numbers)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: regions cannot be read: {reason}. Give a CSV file with a header.") from error
    return {name: np.array(boxes, dtype=np.float64).reshape(-1, 4) for name, boxes in rows.items()}


def _numbers(path: Path, line: int, texts: Sequence[str | None]) -> list[float]:
    try:
        numbers = [float(text) for text in texts if text is not None]
    except ValueError as error:
        raise DataError(f"{path}:{line}: {error}. Write the box as four numbers.") from error
    sound = len(numbers) == 4 and np.isfinite(numbers).all() and numbers[2] > numbers[0] and numbers[3] > numbers[1]
    if not sound:
        raise DataError(f"{path}:{line}: {numbers} is no box. Write left < right and top < bottom.")
    return numbers
