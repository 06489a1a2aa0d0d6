"""Caltech-101 by the paper's protocol (Sec. 3.3): 30 pictures a class to learn, up to 50 to test, mean over classes.

First the classifier as users get it, on ten random splits, and the same network without the pyramid; then what the
pyramid gives on whole, warped and cropped pictures, on three splits.
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks import records
from sppnet import Classifier, Encoder, TensorCache, load_folders, pool_image, read_image
from sppnet.classifier import LEVELS, MULTIPLE, PENALTY, TAP
from sppnet.data import FolderData
from sppnet.images import resize
from sppnet.metrics import mean_class_accuracy
from sppnet.svm import one_vs_rest, ridge
from sppnet.transfer import caltech_split

SPLITS = 10
VIEW_SPLITS = 3
SIDE = 224
PAPER = 0.9342


def measure() -> None:
    """Write accuracies, their spread, and the time of one split from nothing."""
    data = load_folders(records.data_folder("caltech101") / "101_ObjectCategories")
    with tempfile.TemporaryDirectory() as folder:
        runs = [_whole_run(data, seed, TensorCache(folder)) for seed in range(SPLITS)]
    figures = {
        "accuracy": _spread([accuracy for accuracy, _ in runs]),
        "paper": PAPER,
        "seconds_of_first_split_from_nothing": runs[0][1],
        "seconds_of_last_split_cached": runs[-1][1],
        **_table(data),
    }
    records.write("caltech101", seed=list(range(SPLITS)), figures=figures)
    print(json.dumps(figures, indent=1))


def _spread(accuracies: Sequence[float]) -> dict[str, Any]:
    return {"mean": float(np.mean(accuracies)), "deviation": float(np.std(accuracies)), "splits": list(accuracies)}


def _whole_run(data: FolderData, seed: int, cache: TensorCache) -> tuple[float, float]:
    train, test = caltech_split(data.labels, seed)
    start = time.perf_counter()
    classifier = Classifier(cache=cache).fit(_part(data, train))
    accuracy = classifier.evaluate(_part(data, test)).accuracy
    return accuracy, round(time.perf_counter() - start, 1)


def _part(data: FolderData, rows: NDArray[np.int64]) -> FolderData:
    return replace(data, paths=tuple(data.paths[row] for row in rows), labels=data.labels[rows])


# What the pyramid gives


def _table(data: FolderData) -> dict[str, Any]:
    encoder = Encoder(TAP, SIDE, multiple=MULTIPLE)
    table, without = {}, {}
    for view, prepare in VIEWS.items():
        for pooling, features in _features(encoder, data.paths, prepare).items():
            alone = view == "whole" and pooling == "global average"
            seeds = range(SPLITS if alone else VIEW_SPLITS)
            scores = [_accuracy(features, data.labels, *caltech_split(data.labels, seed)) for seed in seeds]
            table[f"{view}, {pooling}"] = _spread(scores[:VIEW_SPLITS])
            without = _spread(scores) if alone else without
    return {"without_the_pyramid": without, "table": table}


def _features(
    encoder: Encoder, paths: Sequence[Path], prepare: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
) -> dict[str, NDArray[np.float32]]:
    """Return each pooling's features (N, D) of length 1, both from one map a picture."""
    pyramid, average = [], []
    for path in paths:
        values = encoder.compute(prepare(read_image(path))).values.float()
        pyramid.append(pool_image(values, levels=LEVELS).flatten().half())
        average.append(values.mean((1, 2)).half())
    return {
        name: F.normalize(torch.stack(rows).float().sqrt(), dim=1).numpy()
        for name, rows in (("pyramid", pyramid), ("global average", average))
    }


def _accuracy(
    features: NDArray[np.float32], labels: NDArray[np.int64], train: NDArray[np.int64], test: NDArray[np.int64]
) -> float:
    classes = int(labels.max()) + 1
    weights, bias = ridge(features[train], one_vs_rest(labels[train], classes).astype(np.float64), penalty=PENALTY)
    scores = features[test] @ weights.T + bias
    return mean_class_accuracy(scores.argmax(axis=1), labels[test], classes=classes)


def _cropped(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    return np.ascontiguousarray(picture[top : top + side, left : left + side])


VIEWS: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "whole": lambda picture: picture,
    "warped": lambda picture: resize(picture, (SIDE, SIDE)),
    "cropped": _cropped,
}
