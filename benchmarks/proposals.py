"""How many objects the regions reach, against how many regions there are: on blood cells and on coins."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import plots, records
from sppnet.data import DetectionData, Sample, load_detection
from sppnet.demo.demo import COINS, HALF
from sppnet.detection.detector import Detector
from sppnet.features.encoder import MapsEncoder
from sppnet.features.scene import Scene
from sppnet.geometry import Boxes
from sppnet.proposals.learnt import LearntProposals
from sppnet.proposals.opencv import EdgeBoxes, SelectiveSearch
from sppnet.proposals.protocol import covered
from sppnet.storage import TensorCache

COUNTS = (100, 300, 1000, 2000)
OVERLAPS = (0.5, 0.7)
TRAIN_STEP, VAL_STEP, VAL_IMAGES = 4, 3, 25
COARSER = 1.02  # times the grid's step
ALL = 1_000_000  # regions an image: as many as a method has
Method = Callable[[Sample, int], Boxes]


def measure() -> None:
    """Count the objects reached at IoU 0.5 and 0.7 by so many regions of each method; what learns has not seen them."""
    with tempfile.TemporaryDirectory() as folder:
        cache = TensorCache(Path(folder) / "cache")
        figures = {
            name: _compared(train, test, cache)
            for name, (train, test) in {"BCCD": _cells(), "coins": _coins(Path(folder))}.items()
        }
    records.write("proposals", seed=0, figures=figures)
    plots.draw_proposals(figures, records.ROOT / "docs" / "proposals.svg")
    print(json.dumps(figures, indent=1))


def _cells() -> tuple[DetectionData, DetectionData]:
    root = records.data_folder("bccd")
    train = load_detection(root, split="train")
    val = load_detection(root, split="val", classes=train.classes)
    some = val.samples[::VAL_STEP][:VAL_IMAGES]
    return replace(train, samples=train.samples[::TRAIN_STEP]), replace(val, samples=some)


def _coins(folder: Path) -> tuple[DetectionData, DetectionData]:
    """Part scikit-image's photograph of 24 coins: its upper half to learn from, its lower half to test on."""
    from skimage import data

    photograph, boxes = data.coins(), np.array(COINS, dtype=np.float64)
    halves = []
    for name, rows, among, top in (("upper", np.s_[:HALF], boxes[:12], 0), ("lower", np.s_[HALF:], boxes[12:], HALF)):
        Image.fromarray(photograph[rows]).convert("RGB").save(folder / f"{name}.png")
        nothing = np.zeros(len(among), dtype=np.bool_)
        labels, size = np.zeros(len(among), dtype=np.int64), photograph[rows].shape
        sample = Sample(folder / f"{name}.png", among - [0, top, 0, top], labels, nothing, nothing, size)
        halves.append(DetectionData(folder, ("coin",), (sample,), (), "all"))
    return halves[0], halves[1]


def _compared(train: DetectionData, test: DetectionData, cache: TensorCache) -> dict[str, Any]:
    encoder, learnt = Detector(proposals="learnt", cache=cache).prepare(train)
    if not isinstance(learnt, LearntProposals):
        raise TypeError("the detector learnt no proposals")

    def gridded(sample: Sample, count: int) -> Boxes:
        """Make the grid coarser until it has no more than so many regions."""
        feature_map, grid = encoder(sample.path), learnt.grid
        while len(regions := feature_map.unique(grid.of_size(feature_map.size))) > count:
            grid = replace(grid, step=COARSER * grid.step)
        return regions

    methods: dict[str, Method] = {
        "grid": gridded,
        "learnt": lambda sample, count: replace(learnt, limit=count).regions(Scene(sample.path, encoder)),
        "selective search": _once(SelectiveSearch(limit=ALL).regions, encoder, _evenly),
        "edge boxes": _once(EdgeBoxes(limit=10_000).regions, encoder, lambda regions, count: regions[:count]),
    }
    return {
        "learnt from": len(train.samples),
        "images": len(test.samples),
        "objects": sum(len(sample.boxes) for sample in test.samples),
        "mean average precision": {
            name: _precision(Detector(proposals=None if name == "grid" else "learnt", cache=cache), train, test)
            for name in ("grid", "learnt")
        },
        "methods": {name: _recall(method, test) for name, method in methods.items()},
    }


def _precision(detector: Detector, train: DetectionData, test: DetectionData) -> dict[str, float]:
    detector.fit(train)
    return {str(overlap): detector.evaluate(test, iou=overlap).mean for overlap in OVERLAPS}


def _evenly(regions: Boxes, count: int) -> Boxes:
    """Choose as selective search's own limit does: evenly over the areas."""
    if len(regions) <= count:
        return regions
    chosen: Boxes = regions[np.linspace(0, len(regions) - 1, count).round().astype(np.int64)]
    return chosen


def _once(search: Callable[[Scene], Boxes], encoder: MapsEncoder, choose: Callable[[Boxes, int], Boxes]) -> Method:
    """Search each image once, whatever the number of regions that are then chosen."""
    known: dict[Path, Boxes] = {}

    def method(sample: Sample, count: int) -> Boxes:
        if sample.path not in known:
            known[sample.path] = search(Scene(sample.path, encoder))
        return choose(known[sample.path], count)

    return method


def _recall(method: Method, test: DetectionData) -> dict[str, Any]:
    regions = [{str(count): method(sample, count) for count in COUNTS} for sample in test.samples]
    for sample, some in zip(test.samples, regions, strict=True):
        some["all"] = method(sample, ALL)
    pairs = list(zip(regions, test.samples, strict=True))
    return {
        "regions": float(np.mean([len(some["all"]) for some in regions])),
        "recall": {
            str(overlap): {
                name: float(
                    np.concatenate([covered(some[name], each.boxes, threshold=overlap) for some, each in pairs]).mean()
                )
                for name in regions[0]
            }
            for overlap in OVERLAPS
        },
    }
