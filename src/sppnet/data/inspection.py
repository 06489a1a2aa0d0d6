"""What a data set holds, what is wrong with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from sppnet.data import (
    DetectionData,
    Duplicate,
    FolderData,
    Problem,
    duplicates,
    load_detection,
    load_folders,
    recognise,
    splits,
)
from sppnet.errors import ImageDecodeError
from sppnet.geometry import usual_short_side
from sppnet.images import read_image
from sppnet.progress import Progress, silent
from sppnet.proposals.grid import fitting_grid
from sppnet.proposals.protocol import covered

RECALL_IOUS: Final = (0.5, 0.7)  # from which a region covers an object


@dataclass(frozen=True)
class Inspection:
    """What ``inspect`` found.

    Args:
        layout: "voc", "coco", "yolo" or "folders".
        images: how many each split holds.
        objects: of each class, how many each split holds (images, where the layout is folders).
        sizes: the smallest, the median and the largest shorter side in pixels; None without images.
        problems: bad images and bad boxes, in the order met.
        twins: images that two splits share.
        proposal_recall: of each class, the share of objects that the default proposals overlap by 0.5 and 0.7 IoU.
    """

    layout: str
    images: dict[str, int]
    objects: dict[str, dict[str, int]]
    sizes: tuple[int, int, int] | None
    problems: tuple[Problem, ...]
    twins: tuple[Duplicate, ...]
    proposal_recall: dict[str, tuple[float, float]]

    def as_dict(self) -> dict[str, Any]:
        """Return the inspection for JSON."""
        return {
            "layout": self.layout,
            "images": self.images,
            "objects": self.objects,
            "shorter_side": self.sizes,
            "problems": [str(problem) for problem in self.problems],
            "duplicates": [[twin.split, str(twin.path), twin.other_split, str(twin.other_path)] for twin in self.twins],
            "proposal_recall": {
                name: {f"{iou}": share for iou, share in zip(RECALL_IOUS, shares, strict=True)}
                for name, shares in self.proposal_recall.items()
            },
        }


def inspect(root: Path | str, *, progress: Progress = silent) -> Inspection:
    """Read a whole data set as training would, decode every image, and tell what would go wrong.

    Args:
        root: the folder. progress: wraps the pass over the images, given its name.
    Raises:
        DataError: a layout that is not known.
    """
    layout = recognise(root)
    names = splits(root)
    if layout == "folders":
        return _of_folders({name: load_folders(root, split=name, on_bad="skip") for name in names}, progress)
    return _of_boxes(layout, {name: load_detection(root, split=name, on_bad="skip") for name in names}, progress)


def _of_folders(data: dict[str, FolderData], progress: Progress) -> Inspection:
    paths = {split: list(part.paths) for split, part in data.items()}
    bad, sizes = _decoded(paths, progress)
    classes = sorted({name for part in data.values() for name in part.classes})
    counts = {
        name: {
            split: int((part.labels == part.classes.index(name)).sum()) if name in part.classes else 0
            for split, part in data.items()
        }
        for name in classes
    }
    problems = [problem for part in data.values() for problem in part.problems]
    twins = duplicates(_readable(paths, bad))
    images = {split: len(part) for split, part in paths.items()}
    return Inspection("folders", images, counts, sizes, (*problems, *bad), tuple(twins), {})


def _of_boxes(layout: str, data: dict[str, DetectionData], progress: Progress) -> Inspection:
    paths = {split: [sample.path for sample in part.samples] for split, part in data.items()}
    bad, sizes = _decoded(paths, progress)
    classes = sorted({name for part in data.values() for name in part.classes})
    counts = {name: {split: _objects(part, name) for split, part in data.items()} for name in classes}
    problems = dict.fromkeys(problem for part in data.values() for problem in part.problems)  # splits share images
    twins = [twin for twin in duplicates(_readable(paths, bad)) if twin.path != twin.other_path]
    images = {split: len(part) for split, part in paths.items()}
    first = data.get("train") or next(iter(data.values()))
    return Inspection(layout, images, counts, sizes, (*problems, *bad), tuple(twins), proposal_recall(first))


def proposal_recall(data: DetectionData) -> dict[str, tuple[float, float]]:
    """Return of each class the share of objects that the grid made for this data overlaps by 0.5 and by 0.7 IoU."""
    if not any(len(sample.boxes) for sample in data.samples):
        return {}
    boxes, labels, sizes = zip(*((each.boxes, each.labels, each.size) for each in data.samples), strict=True)
    grid = fitting_grid(boxes, labels, sizes, usual_short_side(sizes))
    hits: dict[str, list[tuple[bool, ...]]] = {name: [] for name in data.classes}
    for sample in data.samples:
        regions = grid.of_size(sample.size)
        found = zip(*(covered(regions, sample.boxes, threshold=iou) for iou in RECALL_IOUS), strict=True)
        for label, pair in zip(sample.labels, found, strict=True):
            hits[data.classes[label]].append(pair)
    shares = {name: np.mean(pairs, axis=0).tolist() for name, pairs in hits.items() if pairs}
    return {name: (half, most) for name, (half, most) in shares.items()}


def _objects(part: DetectionData, name: str) -> int:
    if name not in part.classes:
        return 0
    label = part.classes.index(name)
    return int(sum((sample.labels == label).sum() for sample in part.samples))


def _decoded(paths: dict[str, list[Path]], progress: Progress) -> tuple[list[Problem], tuple[int, int, int] | None]:
    """Decode every image once; return those that fail, and the range of shorter sides."""
    problems, shorter = [], []
    for path in progress("Reading images", list(dict.fromkeys(path for part in paths.values() for path in part))):
        try:
            shorter.append(min(read_image(path).shape[:2]))
        except ImageDecodeError as error:
            problems.append(Problem(path, None, error.reason, "image-unreadable"))
    sizes = (min(shorter), int(np.median(shorter)), max(shorter)) if shorter else None
    return problems, sizes


def _readable(paths: dict[str, list[Path]], bad: Sequence[Problem]) -> dict[str, list[Path]]:
    broken = {problem.path for problem in bad}
    return {split: [path for path in part if path not in broken] for split, part in paths.items()}
