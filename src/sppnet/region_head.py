"""Pooled regions -> scores and better boxes: linear SVMs, hard negatives and box regression (paper, Sec. 4.1).

The paper trains on ground truth alone as positives; here regions that overlap an object by 0.7 join them, worth
two points of mean AP where a class has a few hundred objects. The rest is the published procedure: negatives
overlap no object of their class by 0.3, near-duplicates among them are dropped, one round of hard negatives.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.encoding import FeatureMap
from sppnet.geometry import Boxes, apply_deltas, box_deltas, iou, nms
from sppnet.progress import Progress, silent
from sppnet.svm import LinearSvm, ridge, train_svm

POSITIVE_IOU: Final = 0.7
NEGATIVE_IOU: Final = 0.3
NEAR_IOU: Final = 0.1  # negatives between NEAR_IOU and NEGATIVE_IOU are drawn on purpose: they are the hard ones
REGRESSION_IOU: Final = 0.5
DUPLICATE_IOU: Final = 0.7
MARGIN: Final = -1.0  # a negative that scores above the margin is hard

MEAN_NORM: Final = 20.0  # features are scaled to this mean length: one cost then fits every map (released code)
COST: Final = 1e-2
POSITIVE_WEIGHT: Final = 2.0
BIAS: Final = 10.0
RIDGE_PENALTY: Final = 300.0

# Regions a picture, chosen so that 200 pictures of 8,000 regions make about a gigabyte of examples.
POSITIVES: Final = 50
NEGATIVES: Final = 60
NEAR_NEGATIVES: Final = 20
REGRESSED: Final = 60
HARD_NEGATIVES: Final = 40
MINED: Final = 2  # one region in so many is looked at for hard negatives: its neighbours look the same


@dataclass(frozen=True)
class LabelledPicture:
    """One training picture: what is known of it, and how to get its feature map and its regions.

    Args:
        load: returns the feature map and the regions (R, 4).
        boxes: (N, 4) ground truth. labels: (N,) int64 class of each.
        ignored: (N,) bool, objects that are neither positive nor negative (``difficult`` or a crowd).
    """

    load: Callable[[], tuple[FeatureMap, Boxes]]
    boxes: Boxes
    labels: NDArray[np.int64]
    ignored: NDArray[np.bool_]

    def overlaps(self, regions: Boxes, classes: int) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        """Return each region's largest IoU with an object that counts, and its targets for all classes.

        Returns:
            (R,) IoU, and (R, K) int8: 1 positive, -1 negative, 0 neither.
        """
        overlap = iou(regions, self.boxes)
        targets = np.full((len(regions), classes), -1, dtype=np.int8)
        for label in range(classes):
            same = self.labels == label
            counted = overlap[:, same & ~self.ignored].max(axis=1, initial=0.0)
            targets[overlap[:, same].max(axis=1, initial=0.0) >= NEGATIVE_IOU, label] = 0
            targets[counted >= POSITIVE_IOU, label] = 1
        return overlap[:, ~self.ignored].max(axis=1, initial=0.0), targets


@dataclass(frozen=True)
class RegionHead:
    """What a detector has learnt: one linear SVM and one box regression a class, over pooled regions.

    Args:
        levels: bins per side of each level of the pyramid.
        weights: (K, D) float32. bias: (K,) float32, minus infinity for a class that had no positives.
        delta_weights: (K, 4, D) float32. delta_bias: (K, 4) float32.
    """

    levels: tuple[int, ...]
    weights: Tensor
    bias: Tensor
    delta_weights: Tensor
    delta_bias: Tensor

    def scores(self, feature_map: FeatureMap, regions: Boxes) -> NDArray[np.float32]:
        """Score regions (R, 4) for all classes: (R, K) float32."""
        return feature_map.score(regions, self.levels, self.weights, self.bias).numpy()

    def refine(
        self, feature_map: FeatureMap, regions: Boxes, label: int, *, rounds: int
    ) -> tuple[Boxes, NDArray[np.float32], Boxes]:
        """Move regions onto the object that they hold, and score them where they come to lie.

        The paper regresses once. A second round pools the moved region anew, which costs little, as few
        regions are left by now, and places boxes better.

        Args:
            regions: (R, 4). label: the class. rounds: how often to move, at least once.
        Returns:
            (R, 4) boxes inside the picture, (R,) scores, and the regions (R, 4) that these are the scores of: those
            from which the boxes were last moved.
        """
        weights = torch.cat([self.weights[label, None], self.delta_weights[label]])
        bias = torch.cat([self.bias[label, None], self.delta_bias[label]])
        answers, scored = np.zeros((len(regions), 5), dtype=np.float32), regions
        for _ in range(rounds):
            scored = regions
            answers = feature_map.score(regions, self.levels, weights, bias).numpy()
            moved = apply_deltas(feature_map.snap(regions), answers[:, 1:].astype(np.float64))
            regions = _inside(moved, feature_map.size)
        return regions, answers[:, 0], scored


def _inside(boxes: Boxes, size: tuple[int, int]) -> Boxes:
    """Clip boxes to the picture and keep each at least a pixel wide and high."""
    height, width = size
    left, top = boxes[:, 0].clip(0, width - 1), boxes[:, 1].clip(0, height - 1)
    right = np.maximum(boxes[:, 2].clip(0, width), left + 1)
    return np.stack([left, top, right, np.maximum(boxes[:, 3].clip(0, height), top + 1)], axis=1)


@dataclass(frozen=True)
class Examples:
    """Regions (N, 4), pooled (N, D) float32, and their targets (N, K) int8: 1, -1, or 0: not used by that class."""

    features: NDArray[np.float32]
    targets: NDArray[np.int8]
    regions: Boxes

    @staticmethod
    def joined(parts: Sequence["Examples"]) -> "Examples":
        """Put the examples of many pictures under each other."""
        return Examples(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.targets for part in parts]),
            np.concatenate([part.regions for part in parts]),
        )


@dataclass(frozen=True)
class Regressed:
    """Pooled regions (N, D) that hold an object, its class (N,), and how to move onto it (N, 4)."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    deltas: NDArray[np.float64]


def teach(
    pictures: Sequence[LabelledPicture],
    classes: int,
    *,
    levels: Sequence[int],
    seed: int = 0,
    progress: Progress = silent,
) -> RegionHead:
    """Learn a region head from labelled pictures: a first SVM, one round of hard negatives, box regression.

    Args:
        pictures: each is loaded twice and never held.
        classes: how many.
        levels: bins per side of each level of the pyramid.
        seed: of the choice among regions; the same seed and pictures give the same bits.
        progress: wraps each pass over the pictures, given its name.
    Returns:
        The head; a class without a positive is untrained: its bias is minus infinity and it is never found.
    """
    first = [
        first_examples(picture, classes, levels, np.random.default_rng((seed, index)))
        for index, picture in enumerate(progress("Sampling regions", pictures))
    ]
    examples = Examples.joined([example for example, _ in first])
    lengths = np.sqrt(np.einsum("nd,nd->n", examples.features, examples.features))
    scale = MEAN_NORM / max(float(lengths.mean()), 1e-12)
    deltas = regress([regression for _, regression in first], classes, scale)
    del first  # several hundred megabytes, before as many come
    svm = train_on(examples, scale=scale)
    head = RegionHead(tuple(levels), svm.weights, svm.bias, *deltas)
    hard = [hard_negatives(picture, head) for picture in progress("Mining hard negatives", pictures)]
    svm = train_on(Examples.joined([examples, *hard]), scale=scale, start=svm)
    return replace(head, weights=svm.weights, bias=svm.bias)


def examples_per_picture(classes: int) -> int:
    """Return about how many pooled regions ``teach`` holds of each picture."""
    return (POSITIVES + REGRESSED) * min(classes, 2) + NEGATIVES + NEAR_NEGATIVES + HARD_NEGATIVES * classes // 2


def first_examples(
    picture: LabelledPicture, classes: int, levels: Sequence[int], rng: np.random.Generator
) -> tuple[Examples, Regressed]:
    """Pool the ground truth, regions that hold it well or partly, and a sample of the background."""
    feature_map, regions = picture.load()
    truths = picture.boxes[~picture.ignored]
    labels = picture.labels[~picture.ignored]
    best, targets = picture.overlaps(regions, classes)

    def drawn(among: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
        return np.sort(rng.permutation(np.flatnonzero(among))[:count])

    # By class: a picture may hold a dozen objects of one class and a single one of another.
    chosen = np.concatenate(
        [
            *(drawn(targets[:, label] == 1, POSITIVES) for label in np.unique(labels)),
            drawn(best < NEGATIVE_IOU, NEGATIVES),
            drawn((best >= NEAR_IOU) & (best < NEGATIVE_IOU), NEAR_NEGATIVES),
        ]
    )
    overlap = iou(regions, truths)
    nearest = overlap.argmax(axis=1) if len(truths) else np.zeros(len(regions), dtype=np.int64)
    held = labels[nearest] if len(truths) else nearest
    moved = np.concatenate(
        [drawn((best >= REGRESSION_IOU) & (held == label), REGRESSED) for label in np.unique(labels)] or [nearest[:0]]
    )
    sampled = np.concatenate([truths, regions[chosen]])
    pooled = feature_map.pool(np.concatenate([sampled, regions[moved]]), levels).numpy()
    split = len(sampled)
    _, truth_targets = picture.overlaps(truths, classes)
    examples = Examples(pooled[:split], np.concatenate([truth_targets, targets[chosen]]), sampled)
    return examples, Regressed(pooled[split:], held[moved], box_deltas(regions[moved], truths[nearest[moved]]))


def hard_negatives(picture: LabelledPicture, head: RegionHead) -> Examples:
    """Pool the negatives that the first SVM scores above its margin, the worst first, near-duplicates dropped."""
    feature_map, regions = picture.load()
    regions = regions[::MINED]
    scores = head.scores(feature_map, regions)
    _, targets = picture.overlaps(regions, scores.shape[1])
    wrong = np.zeros_like(targets)
    for label in range(scores.shape[1]):
        found = np.flatnonzero((targets[:, label] == -1) & (scores[:, label] > MARGIN))
        kept = nms(regions[found], scores[found, label], DUPLICATE_IOU)[:HARD_NEGATIVES]
        wrong[found[kept], label] = -1
    chosen = np.flatnonzero(wrong.any(axis=1))
    return Examples(feature_map.pool(regions[chosen], head.levels).numpy(), wrong[chosen], regions[chosen])


def train_on(examples: Examples, *, scale: float, start: LinearSvm | None = None) -> LinearSvm:
    """Train one SVM a class on examples whose features times ``scale`` have the length that the cost is for."""
    # Features times s with cost C and bias B have the same solution as the features themselves with cost
    # C s^2 and bias B / s: the matrix, the largest thing in memory, is never copied, nor are maps scaled later.
    return train_svm(
        examples.features,
        examples.targets,
        cost=COST * scale**2,
        positive_weight=POSITIVE_WEIGHT,
        bias=BIAS / scale,
        start=start,
    )


def regress(parts: Sequence[Regressed], classes: int, scale: float) -> tuple[Tensor, Tensor]:
    """Fit one ridge regression a class, from pooled regions to the four deltas."""
    weights = torch.zeros(classes, 4, parts[0].features.shape[1])
    bias = torch.zeros(classes, 4)
    for label in np.unique(np.concatenate([part.labels for part in parts])):
        features = np.concatenate([part.features[part.labels == label] for part in parts])
        deltas = np.concatenate([part.deltas[part.labels == label] for part in parts])
        solved, constant = ridge(features, deltas, penalty=RIDGE_PENALTY / scale**2)
        weights[label], bias[label] = torch.from_numpy(solved), torch.from_numpy(constant)
    return weights, bias
