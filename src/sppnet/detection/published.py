"""SVMs trained as published: one pass over the images, an SVM after each so many new hard negatives (Sec. 4.1).

As in the code of R-CNN, which the authors' follows. To begin with all negatives count as hard. Whenever
``retrain_after`` new ones of a class have come, and at the end, the SVMs are trained again, and negatives that score
below ``evict_below`` are let go.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from sppnet.detection.examples import Examples, LabelledImage, hard_negatives
from sppnet.detection.head import RegionHead
from sppnet.detection.settings import Settings
from sppnet.learning.svm import LinearSvm
from sppnet.progress import Progress

Train = Callable[[Examples, LinearSvm], LinearSvm]


def mine_in_one_pass(
    images: Sequence[LabelledImage],
    told: Examples,
    names: Sequence[str],
    *,
    levels: tuple[int, ...],
    train: Train,
    settings: Settings,
    progress: Progress,
) -> LinearSvm:
    """Return the SVMs of one pass.

    Args:
        images: of no other classes than ``names``.
        told: the objects of all images, and what was rejected in them. names: K classes.
        levels: bins per side of each level of the pyramid.
        train: trains SVMs on examples, from an earlier solution.
    """
    classes = len(names)
    nothing = torch.zeros(classes, told.features.shape[1]), torch.zeros(classes)
    head = RegionHead(levels, *nothing, torch.zeros(classes, 4, 0), torch.zeros(classes, 4))
    known, svm = told, LinearSvm(*nothing, np.zeros((len(told.targets), classes), np.float32))
    waiting: list[Examples] = []
    for index, image in enumerate(progress("Mining hard negatives", images)):
        maps, regions = image.load()
        scores = head.scores(maps, regions)
        waiting.append(hard_negatives(maps, regions, scores, image.labels, names, levels=levels, settings=settings))
        fresh = sum((part.targets == -1).sum(axis=0) for part in waiting)
        if np.max(fresh) < settings.retrain_after and index + 1 < len(images):
            continue
        known, waiting = Examples.joined([known, *waiting]), []
        svm = train(known, svm)
        head = replace(head, weights=svm.weights, bias=svm.bias)
        known, svm = _without_easy(known, svm, settings)
    return svm


def _without_easy(known: Examples, svm: LinearSvm, settings: Settings) -> tuple[Examples, LinearSvm]:
    """Drop the negatives that score too low to matter; their duals are 0."""
    scores = torch.addmm(svm.bias, torch.from_numpy(known.features), svm.weights.T).numpy()
    targets = np.where((known.targets == -1) & (scores < settings.evict_below), np.int8(0), known.targets)
    kept = (targets != 0).any(axis=1)
    return replace(known, targets=targets).of(kept), replace(svm, duals=svm.duals[kept])
