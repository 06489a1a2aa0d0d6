"""Learning again after one label changed: a detector that knows BCCD's 205 training images, their maps cached."""

import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks import records
from sppnet import Detector, TensorCache, load_detection
from sppnet.data import Sample
from sppnet.detection.examples import labels_of

CHANGES = 12


def measure() -> None:
    """Take one box away from an image, or give it back, and learn; write seconds of the first time and of changes."""
    data = load_detection(records.data_folder("bccd"), split="train")
    with tempfile.TemporaryDirectory() as folder:
        detector = Detector(cache=TensorCache(Path(folder)))
        for sample in data.samples:
            detector.update(sample.path, labels_of(sample, data.classes))
            detector.prepare_image(sample.path)
        start = time.perf_counter()
        detector.learn(data.classes)
        first = time.perf_counter() - start
        changes = [_change(detector, sample, data.classes) for sample in data.samples[:CHANGES]]
    figures = {
        "images": len(data.samples),
        "classes": len(data.classes),
        "seconds_of_the_first_time": round(first, 2),
        "seconds_of_a_change": {"median": round(statistics.median(changes), 2), "each": [round(s, 2) for s in changes]},
    }
    records.write("update", seed=0, figures=figures)
    print(json.dumps(figures, indent=1))


def _change(detector: Detector, sample: Sample, classes: tuple[str, ...]) -> float:
    """Take the first box away, learn, and give it back without learning: each change begins from all labels."""
    less = replace(
        sample,
        boxes=sample.boxes[1:],
        labels=sample.labels[1:],
        difficult=sample.difficult[1:],
        crowd=sample.crowd[1:],
    )
    start = time.perf_counter()
    detector.update(sample.path, labels_of(less, classes))
    detector.learn(classes)
    seconds = time.perf_counter() - start
    detector.update(sample.path, labels_of(sample, classes))
    return seconds
