"""What more views of an image add to a classifier on frozen features, and what they cost: Caltech-101.

The things of a class mostly face one way in its images. Whether that decides is told by the same images, each turned or
not by chance, as those that people take are. The classifier of ImageNet is asked for those of its classes that
Caltech-101 has by the same names.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import records
from benchmarks.caltech101 import caltech101_data
from sppnet import Classifier
from sppnet.classification.classifier import learn_planes
from sppnet.classification.transfer import caltech_split
from sppnet.data import FolderData
from sppnet.evaluation.classes import mean_class_accuracy
from sppnet.features.maps import FeatureMap
from sppnet.features.whole_image import ImageEncoder
from sppnet.geometry import view_regions
from sppnet.ops import pool_windows

IMAGES = (3, 5, 15)  # a class to learn from
LARGEST = IMAGES[-1]
TESTED = 20  # images a class, at most
DRAWS = 5
TIMED = 200  # images, in turn
WAYS = {
    "whole": ("image",),
    "mirrored": ("image", "mirror image"),
    "whole and windows": ("image", "its windows"),
}
TURNED = {"image": "mirror image", "its windows": "mirror image's windows"}

Vectors = dict[str, NDArray[np.float16]]


def measure() -> None:
    """Write accuracies by views and images a class, those of the classifier of ImageNet, and the price in time."""
    data = caltech101_data()
    figures = {"imagenet": _imagenet(data), "milliseconds": _milliseconds(data.paths), "learnt": _learnt(data)}
    records.write("mirrored", seed=list(range(DRAWS)), figures=figures)
    print(json.dumps(figures, indent=1))


def _learnt(data: FolderData) -> dict[str, Any]:
    """Return accuracies, the mean over classes, of each way by how images face and how many are learnt from."""
    rows = np.sort(np.concatenate(caltech_split(data.labels, 0, train=LARGEST, test=TESTED)))
    labels, encoder = data.labels[rows], Classifier(views="mirrored").encoder_
    parts = [_parts(encoder, data.paths[row]) for row in rows]
    vectors = {name: np.stack([part[name].half().numpy() for part in parts]) for name in parts[0]}
    chance = np.random.default_rng(0).random(len(rows)) < 0.5
    facing = {"one way": vectors, "either way": _turned(vectors, chance)}
    return {name: {str(count): _accuracies(seen, labels, count) for count in IMAGES} for name, seen in facing.items()}


def _parts(encoder: ImageEncoder, path: Path) -> dict[str, Tensor]:
    """Return the vector (D,) of each view of an image; of five windows of one map, the mean of theirs."""
    maps = encoder.maps(path)
    views = dict(zip(("image", "mirror image"), (2 * share for share in encoder.shares(maps)), strict=True))
    rows = [pool_windows(each.cells, _windows(each), levels=encoder.levels).flatten(1) for each in maps]
    means = (F.normalize(each.sqrt(), dim=1).mean(dim=0) for each in rows)
    return views | dict(zip(("its windows", "mirror image's windows"), means, strict=True))


def _windows(feature_map: FeatureMap) -> Tensor:
    """Return five squares of the map, a cell less than its shorter side: the centre and the corners."""
    height, width = feature_map.values.shape[1:]
    return torch.from_numpy(view_regions((height, width), 5, side=min(height, width) - 1)).long()


def _turned(vectors: Vectors, chance: NDArray[np.bool_]) -> Vectors:
    turned = dict(vectors)
    for one, other in TURNED.items():
        turned[one] = np.where(chance[:, None], vectors[other], vectors[one])
        turned[other] = np.where(chance[:, None], vectors[one], vectors[other])
    return turned


def _accuracies(vectors: Vectors, labels: NDArray[np.int64], count: int) -> dict[str, list[float]]:
    return {
        way: [_accuracy(vectors, parts, labels, count, seed) for seed in range(DRAWS)] for way, parts in WAYS.items()
    }


def _accuracy(vectors: Vectors, parts: Sequence[str], labels: NDArray[np.int64], count: int, seed: int) -> float:
    train, test = caltech_split(labels, seed, train=LARGEST, test=TESTED)
    classes = int(labels.max()) + 1
    few = np.concatenate([train[labels[train] == label][:count] for label in range(classes)])
    learnt = learn_planes(_mean(vectors, parts, few), labels[few], tuple(map(str, range(classes))))
    answers = learnt.scores(torch.from_numpy(_mean(vectors, parts, test))).argmax(dim=1).numpy()
    return mean_class_accuracy(answers, labels[test], classes=classes)


def _mean(vectors: Vectors, parts: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = np.mean([vectors[part][rows].astype(np.float32) for part in parts], axis=0)
    return mean


def _imagenet(data: FolderData) -> dict[str, Any]:
    """Return the shares of right answers of the classifier of ImageNet, and what each way gains and loses."""
    classifier = Classifier.imagenet(views="mirrored")
    names = [name.lower() for name in classifier.classes_]
    own = {label: name for label, each in enumerate(data.classes) if (name := each.lower().replace("_", " ")) in names}
    rows = [row for row, label in enumerate(data.labels) if label in own]
    right: dict[str, list[bool]] = {way: [] for way in WAYS}
    for row in rows:
        for way, best in _named(classifier, data.paths[row]).items():
            right[way].append(names[best] == own[int(data.labels[row])])
    hits = {way: np.array(each) for way, each in right.items()}
    return {
        "classes": len(own),
        "images": len(rows),
        **{
            way: {
                "accuracy": float(each.mean()),
                "gained": int((each & ~hits["whole"]).sum()),
                "lost": int((~each & hits["whole"]).sum()),
            }
            for way, each in hits.items()
        },
    }


def _named(classifier: Classifier, path: Path) -> dict[str, int]:
    weights, bias = classifier.planes_
    maps = classifier.encoder_.maps(path)
    view, turned = (2 * share for share in classifier.encoder_.shares(maps))
    windows = pool_windows(maps[0].cells, _windows(maps[0]), levels=(1,), mode="average").flatten(1).mean(dim=0)
    means = {"whole": view, "mirrored": (view + turned) / 2, "whole and windows": (view + windows) / 2}
    return {way: int((weights @ mean + bias).argmax()) for way, mean in means.items()}


def _milliseconds(paths: Sequence[Path]) -> dict[str, float]:
    """Return what an image costs, from its file to its vector, the median of many in turn."""
    encoders = {views: Classifier(views=views).encoder_ for views in ("whole", "mirrored")}
    taken: dict[str, list[float]] = {name: [] for name in encoders}
    for path in paths[:: len(paths) // TIMED]:
        for name, encoder in encoders.items():
            start = time.perf_counter()
            encoder(path)
            taken[name].append(1000 * (time.perf_counter() - start))
    return {name: float(np.median(each)) for name, each in taken.items()}
