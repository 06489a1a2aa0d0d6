"""Linear SVMs of a detector's size: seconds and objective beside scikit-learn's, and what a warm start saves."""

import json
import statistics
import time
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import LinearSVC

from benchmarks import records
from sppnet.learning.svm import LinearSvm, train_svm

COST, BIAS, RUNS = 1e-3, 10.0, 3
WHOLE = (20, 300, 20_000, 4096)  # classes, positives of each, negatives, features
PART = (2, 300, 4000, 4096)  # what scikit-learn solves in a minute


def measure() -> None:
    """Solve the whole problem from nothing and from its solution, and a part of it beside scikit-learn."""
    features, targets = _problem(*WHOLE)
    train_svm(*_problem(2, 9, 99, 64), cost=COST, bias=BIAS)  # compiles
    cold = [_timed(features, targets) for _ in range(RUNS)]
    warm = [_timed(features, targets, start=cold[0][1])[0] for _ in range(RUNS)]
    part, aims = _problem(*PART)
    ours = _timed(part, aims)
    theirs = [_scikit_learn(part, aims[:, label]) for label in range(PART[0])]
    rows = zip(ours[1].weights.numpy(), ours[1].bias.tolist(), strict=True)
    mine = [_objective(part, aims[:, label], *row) for label, row in enumerate(rows)]
    figures = {
        "problem": {"shape": list(features.shape), "classes": WHOLE[0], "bytes": features.nbytes},
        "seconds_from_nothing": statistics.median(seconds for seconds, _ in cold),
        "seconds_warm": statistics.median(warm),
        "part": {
            "shape": list(part.shape),
            "seconds": ours[0],
            "scikit_learn_seconds": sum(seconds for seconds, _ in theirs),
            "objective_over_scikit_learn": [own / best for own, (_, best) in zip(mine, theirs, strict=True)],
        },
    }
    records.write("svm", seed=0, figures=figures)
    print(json.dumps(figures, indent=1))


def _problem(classes: int, positives: int, negatives: int, dims: int) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Draw rectified features of 64 hidden causes: each class about a cause of its own, the negatives shared by all."""
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.repeat(np.arange(classes), positives), np.full(negatives, -1)])
    hidden, held = rng.normal(size=(len(labels), 64)).astype(np.float32), labels >= 0
    hidden[held] = 0.7 * hidden[held] + rng.normal(size=(classes, 64)).astype(np.float32)[labels[held]]
    features = hidden @ rng.normal(size=(64, dims)).astype(np.float32)
    features += 4 * rng.standard_normal(features.shape, dtype=np.float32)
    np.maximum(features, 0, out=features)
    features *= 20 / np.linalg.norm(features, axis=1).mean()
    targets = np.where(held[:, None], labels[:, None] == np.arange(classes), -1).astype(np.int8)
    return features, targets


def _timed(features: Any, targets: Any, start: LinearSvm | None = None) -> tuple[float, LinearSvm]:
    begun = time.perf_counter()
    svm = train_svm(features, targets, cost=COST, bias=BIAS, start=start)
    return time.perf_counter() - begun, svm


def _scikit_learn(features: Any, targets: Any) -> tuple[float, float]:
    used, begun = targets != 0, time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        svm = LinearSVC(C=COST, loss="hinge", intercept_scaling=BIAS, tol=1e-6, max_iter=10_000)
        svm.fit(features[used], targets[used])
    seconds = time.perf_counter() - begun
    return seconds, _objective(features, targets, svm.coef_[0], float(svm.intercept_[0]))


def _objective(features: Any, targets: Any, weights: Any, constant: float) -> float:
    losses = np.maximum(0, 1 - targets * (features @ weights + constant))[targets != 0]
    return float(0.5 * (np.dot(weights, weights) + (constant / BIAS) ** 2) + COST * losses.sum())
