"""BCCD's train labelled in the studio's order of use against a random order: mAP on val after 5, 10, 20, 40 images.

What a person would draw is taken from the labels, each image whole. The studio's order is asked for anew after 1, 3, 5,
10, 15, 20 and 30 images, of the detector learnt by then.
"""

import itertools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import records
from sppnet.data import DetectionData, Sample, load_detection
from sppnet.detection.detector import Detector
from sppnet.detection.examples import labels_of
from sppnet.detection.ordering import doubt_of, usefulness
from sppnet.storage import TensorCache

POINTS = (5, 10, 20, 40)
ASKED = (1, 3, 5, 10, 15, 20, 30)
SEEDS = {"studio": (0, 1), "random": (0, 1, 2)}


def measure() -> None:
    """Label along both orders, each from several first images, and write the curves."""
    folder = records.data_folder("bccd")
    train = load_detection(folder, split="train")
    val = load_detection(folder, split="val", classes=train.classes)
    curves: dict[str, list[dict[int, float]]] = {name: [] for name in SEEDS}
    with tempfile.TemporaryDirectory() as cache:
        maps = TensorCache(Path(cache))
        for name, seeds in SEEDS.items():
            for seed in seeds:
                curves[name].append(_curve(name, seed, train, val, maps))
                print(name, seed, json.dumps(curves[name][-1]), flush=True)
    means = {
        name: {point: round(float(np.mean([each[point] for each in found])), 4) for point in POINTS}
        for name, found in curves.items()
    }
    figures = {
        "mean_average_precision": means,
        "runs": curves,
        "images": len(train.samples),
        "judged": len(val.samples),
    }
    records.write("studio_order", seed=list(SEEDS["random"]), figures=figures)
    print(json.dumps(means, indent=1))


def _curve(name: str, seed: int, train: DetectionData, val: DetectionData, cache: TensorCache) -> dict[int, float]:
    """Label images one after the other; return mAP at IoU 0.5 after each of ``POINTS``."""
    shuffled = [train.samples[place] for place in np.random.default_rng(seed).permutation(len(train.samples))]
    detector = Detector(cache=cache, seed=seed)
    curve: dict[int, float] = {}
    known: set[Path] = set()
    for until in sorted({*ASKED, *POINTS}):
        rest = [sample for sample in shuffled if sample.path not in known]
        if name == "studio" and known:
            if len(known) > 1:  # one image alone tells nothing of the next
                detector.calibrate()
            rest = _ordered(detector, rest)
        for sample in itertools.islice(rest, until - len(known)):
            detector.update(sample.path, labels_of(sample, train.classes)).learn(train.classes)
            known.add(sample.path)
        if until in POINTS:
            curve[until] = round(detector.evaluate(val).mean, 4)
    return curve


def _ordered(detector: Detector, rest: Sequence[Sample]) -> list[Sample]:
    found = [detector.detect(sample.path, threshold=0) for sample in rest]
    shown = [each[each.confidence >= detector.thresholds_[each.labels]] for each in found]
    counts = np.array([list(each.counts().values()) for each in shown], dtype=np.float64)
    worth = usefulness(np.array([doubt_of(each) for each in found]), counts)
    return [rest[place] for place in np.argsort(-worth, kind="stable")]
