"""Picture -> regions, always in the same order: a dense grid, selective search, edge boxes, or a file.

A proposal method is an object that is called with a picture and its name and returns its regions, and that
describes itself in JSON, so that a saved detector proposes again what it was trained on.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sppnet.errors import ArgumentError, DataError, MissingExtraError, check_shape, check_that, message
from sppnet.geometry import Boxes, check_boxes, clip_boxes, iou
from sppnet.matlab import read_cells

# How far a region of the grid may reach out of the picture, as a share of its side: objects are cut by borders.
OVERHANG: Final = 0.3
# Neighbouring sizes and aspects of the grid's shapes: a box half a step away still overlaps by more than 0.6.
SIZE_STEP: Final = 1.3
ASPECT_STEP: Final = 2.5
SHARE: Final = 0.05
EDGE_BLUR: Final = 1.0  # pixels
SMALLEST_SIDE: Final = 10  # of a picture that edge boxes are looked for in


class Proposals(Protocol):
    """What every proposal method does."""

    def __call__(self, picture: NDArray[np.uint8], name: str) -> Boxes:
        """Return the regions of a picture (H, W, 3) as (R, 4) boxes in its pixels."""

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``from_description`` makes the same method again."""


@dataclass(frozen=True)
class GridProposals:
    """Every shape at every place of a regular grid: nothing to compute, nothing missed between touching objects.

    Args:
        shapes: (height, width) of the regions, in pixels of a picture whose shorter side is ``short_side``.
        short_side: shapes grow and shrink with the picture's shorter side.
        step: distance of neighbours, as a share of the region's side.
    """

    shapes: tuple[tuple[float, float], ...]
    short_side: int
    step: float = 0.25

    def __post_init__(self) -> None:
        """Raise ArgumentError for a side or a step that is not above 0."""
        sides = [side for shape in self.shapes for side in shape]
        least = min([*sides, self.short_side, self.step])
        advice = "Give sides in pixels, and the step as a share of the side"
        check_that(least > 0, "GridProposals", "every side and the step", "above 0", least, advice=advice)

    def __call__(self, picture: NDArray[np.uint8], name: str) -> Boxes:  # noqa: ARG002
        """Return the regions shape by shape, each row by row; those at a border are clipped."""
        return self.regions((picture.shape[0], picture.shape[1]))

    def regions(self, size: tuple[int, int]) -> Boxes:
        """Return the regions of any picture of ``size`` (height, width)."""
        factor = min(size) / self.short_side
        placed = [_placed((tall * factor, wide * factor), size, self.step) for tall, wide in self.shapes]
        return clip_boxes(np.concatenate([*placed, np.zeros((0, 4))]), size)

    def describe(self) -> dict[str, Any]:
        """Return the shapes, the shorter side that they are for, and the step."""
        shapes = [list(shape) for shape in self.shapes]
        return {"method": "grid", "shapes": shapes, "short_side": self.short_side, "step": self.step}


def _placed(shape: tuple[float, float], size: tuple[int, int], step: float) -> Boxes:
    tops, lefts = (_starts(side, length, step) for side, length in zip(shape, size, strict=True))
    top, left = (axis.ravel() for axis in np.meshgrid(tops, lefts, indexing="ij"))
    return np.stack([left, top, left + shape[1], top + shape[0]], axis=1)


def _starts(side: float, length: int, step: float) -> NDArray[np.float64]:
    """Spread regions of one side evenly along an axis, the first and the last hanging over the border."""
    first, last = -OVERHANG * side, length - (1 - OVERHANG) * side
    if last <= first:
        return np.array([(length - side) / 2])
    return np.linspace(first, last, int(np.ceil((last - first) / (step * side))) + 1)


def fitting_shapes(boxes: Boxes, labels: NDArray[np.int64]) -> tuple[tuple[float, float], ...]:
    """Choose the shapes that the boxes of a data set call for.

    Sizes and aspects are rounded to the steps of two geometric ladders (``SIZE_STEP``, ``ASPECT_STEP``); a
    shape is taken when ``SHARE`` of some class's boxes round to it. Counting by class keeps the shapes of a
    rare class, which clustering all boxes together would not.

    Args:
        boxes: (N, 4), the ground truth of the training pictures, in pixels of the pictures as scaled.
        labels: (N,) the class of each.
    Returns:
        (height, width) pairs in pixels, from small to large.
    Raises:
        ArgumentError: no boxes.

    >>> fitting_shapes(np.array([[0, 0, 100, 100], [0, 0, 104, 98], [5, 5, 25, 85]]), np.array([0, 0, 1]))
    ((98.43, 15.75), (112.46, 112.46))
    """
    check_that(len(boxes) > 0, "fitting_shapes", "boxes", "at least one box", "none", advice="Label an object")
    height, width = boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]
    sound = bool((np.minimum(height, width) > 0).all())
    check_that(sound, "fitting_shapes", "boxes", "of some area", "an empty one", advice="Drop empty boxes")
    logs = np.stack([np.log(height * width) / (2 * np.log(SIZE_STEP)), np.log(height / width) / np.log(ASPECT_STEP)])
    rungs = np.rint(logs).T.astype(np.int64)
    taken = [_common(rungs[labels == label]) for label in np.unique(labels)]
    size, aspect = np.unique(np.concatenate(taken), axis=0).T
    side, stretch = SIZE_STEP ** size.astype(np.float64), np.sqrt(ASPECT_STEP ** aspect.astype(np.float64))
    shapes = np.stack([side * stretch, side / stretch], axis=1).round(2).tolist()
    return tuple((tall, wide) for tall, wide in shapes)


def _common(rungs: NDArray[np.int64]) -> NDArray[np.int64]:
    shapes, counts = np.unique(rungs, axis=0, return_counts=True)
    common: NDArray[np.int64] = shapes[counts >= min(SHARE * len(rungs), counts.max())]
    return common


@dataclass(frozen=True)
class SelectiveSearch:
    """Selective search (Uijlings et al. 2013) by OpenCV, as the paper uses it: fast mode, about 2,000 regions.

    OpenCV returns its boxes in another order each call. They are re-ranked here by size and place, so that
    the same picture always gives the same regions in the same order. Needs ``pip install 'sppnet[proposals]'``.

    Args:
        quality: the slower mode with more colour spaces.
        limit: at most this many regions, the largest and the smallest alike: an even choice over the ranking.
    """

    quality: bool = False
    limit: int = 2000

    def __call__(self, picture: NDArray[np.uint8], name: str) -> Boxes:  # noqa: ARG002
        """Return the regions by area, the largest first."""
        search = _opencv("SelectiveSearch").ximgproc.segmentation.createSelectiveSearchSegmentation()
        search.setBaseImage(np.ascontiguousarray(picture[:, :, ::-1]))  # OpenCV's order is blue, green, red
        (search.switchToSelectiveSearchQuality if self.quality else search.switchToSelectiveSearchFast)()
        found = np.unique(np.asarray(search.process(), dtype=np.int64).reshape(-1, 4), axis=0)
        left, top, width, height = found.T
        order = np.lexsort((left, top, -width * height))
        ranked = np.stack([left, top, left + width, top + height], axis=1)[order].astype(np.float64)
        if len(ranked) <= self.limit:
            return ranked
        return ranked[np.linspace(0, len(ranked) - 1, self.limit).round().astype(np.int64)]

    def describe(self) -> dict[str, Any]:
        """Return the mode and the limit."""
        return {"method": "selective-search", "quality": self.quality, "limit": self.limit}


@dataclass(frozen=True)
class EdgeBoxes:
    """Edge boxes (Zitnick and Dollar 2014) by OpenCV, on an edge map that is computed here: a fifth of a second.

    The authors' edges come from a forest that was trained on labelled ones; these are Sobel's, the strongest of the
    three colours, thinned to their crests. Needs ``pip install 'sppnet[proposals]'``.

    Args:
        limit: at most this many regions.
    """

    limit: int = 2000

    def __call__(self, picture: NDArray[np.uint8], name: str) -> Boxes:  # noqa: ARG002
        """Return the regions by falling score; of equal scores by place."""
        edges, normals = edge_map(picture)
        if not edges.any() or min(edges.shape) < SMALLEST_SIDE:
            return np.zeros((0, 4))
        search = _opencv("EdgeBoxes").ximgproc.createEdgeBoxes(maxBoxes=self.limit)
        found, scores = search.getBoundingBoxes(edges, normals)
        if not len(found):
            return np.zeros((0, 4))
        left, top, width, height = np.asarray(found, dtype=np.int64).T
        order = np.lexsort((height, width, left, top, -np.asarray(scores, dtype=np.float64).reshape(-1)))
        return np.stack([left, top, left + width, top + height], axis=1)[order].astype(np.float64)

    def describe(self) -> dict[str, Any]:
        """Return the limit."""
        return {"method": "edge-boxes", "limit": self.limit}


def edge_map(picture: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute how strong the edge is at each pixel, 0 off its crest, and where it faces.

    Args:
        picture: (H, W, 3) uint8.
    Returns:
        (H, W) float32 in 0..1, and (H, W) float32 angles of the normal in 0..pi, from rightwards to downwards.
    """
    opencv = _opencv("EdgeBoxes")
    smooth = opencv.GaussianBlur(picture.astype(np.float32) / 255, (0, 0), EDGE_BLUR)
    across, down = (opencv.Sobel(smooth, opencv.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    strongest = np.hypot(across, down).argmax(axis=2)[..., None]
    across, down = (np.take_along_axis(each, strongest, axis=2)[..., 0] for each in (across, down))
    strength, normals = np.hypot(across, down), np.arctan2(down, across) % np.pi
    # Compared with the two neighbours along the normal, which is rounded to one of four directions.
    sector, padded = np.rint(normals / (np.pi / 4)).astype(np.int64) % 4, np.pad(strength, 1)
    rows, columns = np.indices(strength.shape) + 1
    step_down, step_across = np.array([0, 1, 1, 1])[sector], np.array([1, 1, 0, -1])[sector]
    before = padded[rows - step_down, columns - step_across]
    after = padded[rows + step_down, columns + step_across]
    crest = np.where((strength >= before) & (strength > after), strength, 0.0)
    return (crest / max(float(crest.max()), 1e-6)).astype(np.float32), normals.astype(np.float32)


def _opencv(method: str) -> Any:
    try:
        import cv2

        cv2.ximgproc  # noqa: B018 (plain OpenCV lacks it)
    except (ImportError, AttributeError) as error:
        advice = "Install it with: pip install 'sppnet[proposals]'"
        expected = "OpenCV with its contributed modules"
        raise MissingExtraError(message(method, expected, "installed", str(error), advice)) from error
    return cv2


@dataclass(frozen=True)
class FileProposals:
    """Regions of your own from a file: CSV, COCO results, or MATLAB, told apart by its suffix; see ``read_regions``."""

    path: Path

    def __call__(self, picture: NDArray[np.uint8], name: str) -> Boxes:
        """Return the regions of the picture of that name in the file's order, clipped to the picture."""
        return self.of(name, (picture.shape[0], picture.shape[1]))

    def of(self, name: str, size: tuple[int, int]) -> Boxes:
        """Return the regions of the picture of that name and ``size`` (height, width).

        Raises:
            DataError: the file holds none for it. BoxError: one lies wholly outside the picture.
        """
        stem = Path(name).stem
        known = next((key for key in (name, stem, stem.lstrip("0")) if key in self._regions), None)
        if known is None:
            raise DataError(f"{self.path}: holds no regions for the picture {name!r}. Add rows for it.")
        return check_boxes(str(self.path), self._regions[known], size)

    def describe(self) -> dict[str, Any]:
        """Return the file's path."""
        return {"method": "file", "path": str(self.path)}

    @cached_property
    def _regions(self) -> Mapping[str, Boxes]:
        return read_regions(self.path)


def read_regions(path: Path) -> dict[str, Boxes]:
    """Read a file of regions: what the picture is called in it -> (R, 4) boxes, the first the best.

    ``.csv``: the columns picture, left, top, right, bottom; 0-based pixels, ends excluded; in the file's order.
    ``.json``: COCO, a list of results or a data set with annotations; by falling score where there is one. A picture
    goes by its file name, or where there is none by its number.
    ``.mat``: as the authors of R-CNN and SPP-net hand them out: cells ``images`` of names without suffix, and
    ``boxes`` of rows top, left, bottom, right, counted from 1, ends included; in the file's order.

    Raises:
        DataError: naming the file, and line or picture, for what is missing or no box. CorruptFileError: a MATLAB
        file that is damaged.
    """
    readers = {".json": _read_coco, ".mat": _read_matlab}
    return readers.get(path.suffix.lower(), _read_csv)(path)


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
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content if isinstance(content, list) else content["annotations"]
        images = [] if isinstance(content, list) else content["images"]
        names = {image["id"]: str(image["file_name"]) for image in images}
        scored: dict[str, list[tuple[float, list[float]]]] = {}
        for row in rows:
            name = names.get(row["image_id"], str(row["image_id"]))
            box = [float(number) for number in row["bbox"]]
            scored.setdefault(name, []).append((float(row.get("score", 0.0)), box))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: must be COCO results: {error!r}. Give each an image_id and a bbox.") from error
    regions = {}
    for name, rows in scored.items():
        rows.sort(key=lambda row: -row[0])
        if any(len(box) != 4 for _, box in rows):
            raise DataError(f"{path}: a bbox of {name!r} has not 4 numbers. Write left, top, width, height.")
        left, top, width, height = np.array([box for _, box in rows]).T
        regions[name] = _sound(path, name, np.stack([left, top, left + width, top + height], axis=1))
    return regions


def _sound(path: Path, name: str, boxes: Boxes) -> Boxes:
    sound = np.isfinite(boxes).all(axis=1) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    if not sound.all():
        wrong = boxes[int(np.argmin(sound))].tolist()
        raise DataError(f"{path}: {wrong}, of the picture {name!r}, is no box. Write left < right and top < bottom.")
    return boxes


def _read_csv(path: Path) -> dict[str, Boxes]:
    columns = ("left", "top", "right", "bottom")
    rows: dict[str, list[list[float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = {"picture", *columns} - set(reader.fieldnames or ())
            if missing:
                raise DataError(f"{path}:1: the columns {', '.join(sorted(missing))} are missing. Name them in line 1.")
            for row in reader:
                numbers = _numbers(path, reader.line_num, [row[column] for column in columns], row["picture"])
                rows.setdefault(row["picture"], []).append(numbers)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: regions cannot be read: {error}. Give a CSV file with a header.") from error
    return {name: np.array(boxes, dtype=np.float64) for name, boxes in rows.items()}


def _numbers(path: Path, line: int, texts: Sequence[str | None], name: str | None) -> list[float]:
    try:
        numbers = [float(text) for text in texts if text is not None]
    except ValueError as error:
        raise DataError(f"{path}:{line}: {error}. Write the box as four numbers.") from error
    if (
        name is None
        or len(numbers) != 4
        or not np.isfinite(numbers).all()
        or numbers[2] <= numbers[0]
        or numbers[3] <= numbers[1]
    ):
        raise DataError(f"{path}:{line}: {numbers} is no box. Write left < right and top < bottom.")
    return numbers


def from_description(description: Mapping[str, Any]) -> Proposals:
    """Make the proposal method that ``describe`` told of.

    Raises:
        ArgumentError: an unknown method.
    """
    match description:
        case {"method": "grid", "shapes": shapes, "short_side": short_side, "step": step}:
            pairs = tuple((float(height), float(width)) for height, width in shapes)
            return GridProposals(pairs, int(short_side), float(step))
        case {"method": "selective-search", "quality": quality, "limit": limit}:
            return SelectiveSearch(bool(quality), int(limit))
        case {"method": "edge-boxes", "limit": limit}:
            return EdgeBoxes(int(limit))
        case {"method": "file", "path": path}:
            return FileProposals(Path(path))
    raise ArgumentError(
        message(
            "from_description",
            "method",
            "grid, selective-search, edge-boxes or file",
            dict(description),
            "Name one of these",
        )
    )


def reached(regions: Boxes, truths: Boxes, *, threshold: float) -> NDArray[np.bool_]:
    """Tell for every ground-truth box whether some region overlaps it by ``threshold`` IoU: (N,) bool."""
    check_shape("reached", "truths", truths.shape, ("N", 4), advice="Give one row a box")
    best: NDArray[np.bool_] = iou(truths, regions).max(axis=1, initial=0.0) >= threshold
    return best
