"""How many objects the regions reach, against how many regions there are: BCCD, val and train."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import records
from sppnet.data import DetectionData, load_detection
from sppnet.detector import fitting_grid, usual_short_side
from sppnet.geometry import Boxes
from sppnet.images import read_image
from sppnet.proposals import EdgeBoxes, SelectiveSearch, reached

COUNTS = (50, 100, 200, 500, 1000, 2000)
OVERLAPS = (0.5, 0.7)
TRAIN_STEP = 4  # one picture in so many of the train split


def measure() -> None:
    """Count the objects reached at IoU 0.5 and 0.7 by the best regions, or by an even choice without a rank."""
    folder = records.data_folder("bccd")
    train, val = (load_detection(folder, split=split) for split in ("train", "val"))
    grid = fitting_grid(train, usual_short_side(train))
    methods: dict[str, Callable[[Any, str], Boxes]] = {
        "grid": grid,
        "selective search, fast": SelectiveSearch(limit=10_000),
        "edge boxes": EdgeBoxes(limit=10_000),
    }
    some = [sample for place, sample in enumerate(train.samples) if place % TRAIN_STEP == 0]
    parts = {"val": val.samples, f"every {TRAIN_STEP}th of train": some}
    figures = {
        part: {name: _recall(method, samples, val) for name, method in methods.items()}
        for part, samples in parts.items()
    }
    records.write("proposals", seed=0, figures=figures)
    print(json.dumps(figures, indent=1))


def _recall(method: Callable[[Any, str], Boxes], samples: Any, data: DetectionData) -> dict[str, Any]:
    found: dict[str, list[np.ndarray[Any, Any]]] = {}
    labels = np.concatenate([sample.labels for sample in samples])
    sizes = []
    for sample in samples:
        regions = method(read_image(sample.path), sample.path.name)
        sizes.append(len(regions))
        for count in (*COUNTS, None):
            chosen = regions if count is None else _first(method, regions, count)
            for overlap in OVERLAPS:
                key = f"{'all' if count is None else count} at {overlap}"
                found.setdefault(key, []).append(reached(chosen, sample.boxes, threshold=overlap))
    recall = {}
    for key, parts in found.items():
        hits = np.concatenate(parts)
        shares = [float(hits[labels == label].mean()) for label in range(len(data.classes))]
        recall[key] = {"all objects": float(hits.mean())} | dict(zip(data.classes, shares, strict=True))
    return {"regions_a_picture": float(np.mean(sizes)), "recall": recall}


def _first(method: Callable[[Any, str], Boxes], regions: Boxes, count: int) -> Boxes:
    """Return the best regions of a method that ranks them, of the others an even choice."""
    if isinstance(method, EdgeBoxes) or len(regions) <= count:
        return regions[:count]
    return regions[np.linspace(0, len(regions) - 1, count).round().astype(np.int64)]
