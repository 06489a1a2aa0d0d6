"""Learning again after one label changed: ``Teacher`` on BCCD's 205 training images, all told, maps cached."""

import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from sppnet.detection.teaching import Teacher

from benchmarks import records
from sppnet import TensorCache, load_detection
from sppnet.data import Sample
from sppnet.detection.examples import Taught

CHANGES = 12


def measure() -> None:
    """Take one box away from an image, or give it back, and learn; write seconds of the first time and of changes."""
    data = load_detection(records.data_folder("bccd"), split="train")
    with tempfile.TemporaryDirectory() as folder:
        teacher = Teacher(cache=TensorCache(Path(folder)))
        for sample in data.samples:
            teacher.prepare(sample.path)
        start = time.perf_counter()
        for sample in data.samples:
            teacher.update(_taught(sample, data.classes))
        teacher.learn(data.classes)
        first = time.perf_counter() - start
        changes = [_change(teacher, sample, data.classes) for sample in data.samples[:CHANGES]]
    figures = {
        "images": len(data.samples),
        "classes": len(data.classes),
        "seconds_of_the_first_time": round(first, 2),
        "seconds_of_a_change": {"median": round(statistics.median(changes), 2), "each": [round(s, 2) for s in changes]},
    }
    records.write("teaching", seed=0, figures=figures)
    print(json.dumps(figures, indent=1))


def _change(teacher: Teacher, sample: Sample, classes: tuple[str, ...]) -> float:
    """Take the first box away, learn, and give it back without learning: each change begins from all labels."""
    less = replace(sample, boxes=sample.boxes[1:], labels=sample.labels[1:])
    start = time.perf_counter()
    teacher.update(_taught(less, classes))
    teacher.learn(classes)
    seconds = time.perf_counter() - start
    teacher.update(_taught(sample, classes))
    return seconds


def _taught(sample: Sample, classes: tuple[str, ...]) -> Taught:
    names = tuple(classes[label] for label in sample.labels)
    return Taught(sample.path, sample.boxes, names, complete=True)
