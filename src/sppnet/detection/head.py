"""Pooled regions -> scores and better boxes: linear SVMs, hard negatives and box regression (paper, Sec. 4.1).

The paper trains on ground truth alone as positives; here regions that overlap an object by 0.7 join them, worth
two points of mean AP where a class has a few hundred objects. The rest is the published settings: negatives
overlap no object of their class by 0.3, near-duplicates among them are dropped, one round of hard negatives.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.detection.settings import EVERY, OURS, Settings
from sppnet.features.maps import Maps
from sppnet.geometry import Boxes, apply_deltas, box_deltas, iou, nms
from sppnet.learning.ridge import ridge
from sppnet.learning.svm import TOLERANCE, LinearSvm, train_svm
from sppnet.progress import Progress, silent

NEAR_IOU: Final = 0.1  # negatives that overlap an object by this are drawn on purpose: they are the hard ones

# Regions an image, chosen so that 200 images of 8,000 regions make about a gigabyte of examples.
POSITIVES: Final = 50
NEGATIVES: Final = 60
NEAR_NEGATIVES: Final = 20
REGRESSED: Final = 60
HARD_NEGATIVES: Final = 40
MINING_STRIDE: Final = 2  # one region in so many is looked at for hard negatives: its neighbours look the same


@dataclass(frozen=True)
class LabelledImage:
    """One training image: what is known of it, and how to get its feature map and its regions.

    Args:
        load: returns the feature map and the regions (R, 4).
        boxes: (N, 4) ground truth. labels: (N,) int64 class of each.
        ignored: (N,) bool, objects that are neither positive nor negative (``difficult`` or a crowd).
    """

    load: Callable[[], tuple[Maps, Boxes]]
    boxes: Boxes
    labels: NDArray[np.int64]
    ignored: NDArray[np.bool_]

    def overlaps(
        self, regions: Boxes, classes: int, *, settings: Settings = OURS
    ) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        """Return each region's largest IoU with an object that counts, and its targets for all classes.

        Returns:
            (R,) IoU, and (R, K) int8: 1 positive, -1 negative, 0 neither.
        """
        overlap = iou(regions, self.boxes)
        targets = np.full((len(regions), classes), -1, dtype=np.int8)
        for label in range(classes):
            same = self.labels == label
            counted = overlap[:, same & ~self.ignored].max(axis=1, initial=0.0)
            targets[overlap[:, same].max(axis=1, initial=0.0) >= settings.negative_iou, label] = 0
            if settings.positive_iou is not None:
                targets[counted >= settings.positive_iou, label] = 1
        return overlap[:, ~self.ignored].max(axis=1, initial=0.0), targets


@dataclass(frozen=True)
class RegionHead:
    """What a detector has learnt: one linear SVM and one box regression a class, over pooled regions.

    Args:
        levels: bins per side of each level of the pyramid.
        weights: (K, D) float32. bias: (K,) float32, minus infinity for a class that had no positives.
        delta_weights: (K, 4, E) float32, E the length of what lies under further layers, D where there are none.
        delta_bias: (K, 4) float32.
    """

    levels: tuple[int, ...]
    weights: Tensor
    bias: Tensor
    delta_weights: Tensor
    delta_bias: Tensor

    def scores(self, feature_map: Maps, regions: Boxes) -> NDArray[np.float32]:
        """Score regions (R, 4) for all classes: (R, K) float32."""
        return feature_map.score(regions, self.levels, self.weights, self.bias).numpy()

    def refine(
        self, feature_map: Maps, regions: Boxes, label: int, *, rounds: int
    ) -> tuple[Boxes, NDArray[np.float32], Boxes]:
        """Move regions onto the object that they hold, and score them where they come to lie.

        The paper regresses once. A second round pools the moved region anew, which costs little, as few
        regions are left by now, and places boxes better.

        Args:
            regions: (R, 4). label: the class. rounds: how often to move, at least once.
        Returns:
            (R, 4) boxes inside the image, (R,) scores, and the regions (R, 4) that these are the scores of: those
            from which the boxes were last moved.
        """
        scores, scored = np.zeros(len(regions), dtype=np.float32), regions
        for _ in range(rounds):
            scored = regions
            scores, deltas = self._answers(feature_map, regions, label)
            moved = apply_deltas(feature_map.align_to_cells(regions), deltas.astype(np.float64))
            regions = _inside(moved, feature_map.size)
        return regions, scores, scored

    def _answers(
        self, feature_map: Maps, regions: Boxes, label: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the scores (R,) of one class and the deltas (R, 4), in one pass where both have one feature."""
        weights, bias = self.weights[label, None], self.bias[label, None]
        placing, offsets = self.delta_weights[label], self.delta_bias[label]
        if weights.shape[1] == placing.shape[1]:
            both = torch.cat([weights, placing]), torch.cat([bias, offsets])
            answers = feature_map.score(regions, self.levels, *both).numpy()
            return answers[:, 0], answers[:, 1:]
        scores = feature_map.score(regions, self.levels, weights, bias).numpy()
        return scores[:, 0], feature_map.pooled_maps.score(regions, self.levels, placing, offsets).numpy()


def _inside(boxes: Boxes, size: tuple[int, int]) -> Boxes:
    """Clip boxes to the image and keep each at least a pixel wide and high."""
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

    def of(self, rows: NDArray[np.bool_]) -> "Examples":
        """Return the examples of some rows."""
        return Examples(self.features[rows], self.targets[rows], self.regions[rows])

    @staticmethod
    def joined(parts: Sequence["Examples"]) -> "Examples":
        """Put the examples of many images under each other."""
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


def learn_head(
    images: Sequence[LabelledImage],
    classes: int,
    *,
    levels: Sequence[int],
    settings: Settings = OURS,
    seed: int = 0,
    progress: Progress = silent,
) -> RegionHead:
    """Learn a region head from labelled images: SVMs with one round of hard negatives, box regression.

    Args:
        images: each is loaded twice and never held.
        classes: how many.
        levels: bins per side of each level of the pyramid.
        settings: what counts as positive, negative and hard, and all costs.
        seed: of the choice among regions; the same seed and images give the same bits.
        progress: wraps each pass over the images, given its name.
    Returns:
        The head; a class without a positive is untrained: its bias is minus infinity and it is never found.
    """
    first = [
        first_examples(image, classes, levels, np.random.default_rng((seed, index)), settings=settings)
        for index, image in enumerate(progress("Sampling regions", images))
    ]
    examples = Examples.joined([example for example, _ in first])
    moved = [regression for _, regression in first]
    scale = scale_for(examples.features, settings=settings)
    same = moved[0].features.shape[1] == examples.features.shape[1]
    placed = scale if same else scale_for(np.concatenate([part.features for part in moved]), settings=settings)
    deltas = regress(moved, classes, placed, settings=settings)
    del first, moved  # several hundred megabytes, before as many come
    if not settings.sampled:
        start = examples.of((examples.targets == 1).any(axis=1))
        svm = _one_pass(images, start, levels, scale=scale, settings=settings, progress=progress)
        return RegionHead(tuple(levels), svm.weights, svm.bias, *deltas)
    svm = train_on(examples, scale=scale, settings=settings)
    head = RegionHead(tuple(levels), svm.weights, svm.bias, *deltas)
    hard = [hard_negatives(image, head, settings=settings) for image in progress("Mining hard negatives", images)]
    svm = train_on(Examples.joined([examples, *hard]), scale=scale, start=svm, settings=settings)
    return replace(head, weights=svm.weights, bias=svm.bias)


def scale_for(features: NDArray[np.float32], *, settings: Settings = OURS) -> float:
    """Return the factor that gives features (N, D) the mean length that costs are for."""
    lengths = np.sqrt(np.einsum("nd,nd->n", features, features))
    return settings.mean_norm / max(float(lengths.mean()), 1e-12)


def _one_pass(
    images: Sequence[LabelledImage],
    positives: "Examples",
    levels: Sequence[int],
    *,
    scale: float,
    settings: Settings,
    progress: Progress,
) -> LinearSvm:
    """Train as published (R-CNN's code, which the authors' follows): hard negatives in one pass over the images.

    To begin with all negatives count as hard. Whenever ``retrain_after`` new ones of a class have come, and at
    the end, the SVMs are trained again, and negatives that score below ``evict_below`` are let go.
    """
    classes = positives.targets.shape[1]
    nothing = torch.zeros(classes, positives.features.shape[1]), torch.zeros(classes)
    head = RegionHead(tuple(levels), *nothing, torch.zeros(classes, 4, 0), torch.zeros(classes, 4))
    known, svm = positives, LinearSvm(*nothing, np.zeros((len(positives.targets), classes), np.float32))
    waiting: list[Examples] = []
    for index, image in enumerate(progress("Mining hard negatives", images)):
        waiting.append(hard_negatives(image, head, settings=settings))
        fresh = sum((part.targets == -1).sum(axis=0) for part in waiting)
        if np.max(fresh) < settings.retrain_after and index + 1 < len(images):
            continue
        known, waiting = Examples.joined([known, *waiting]), []
        svm = train_on(known, scale=scale, start=svm, settings=settings)
        head = replace(head, weights=svm.weights, bias=svm.bias)
        known, svm = _without_easy(known, svm, settings)
    return svm


def _without_easy(known: "Examples", svm: LinearSvm, settings: Settings) -> tuple["Examples", LinearSvm]:
    """Drop the negatives that score too low to matter; their duals are 0."""
    scores = torch.addmm(svm.bias, torch.from_numpy(known.features), svm.weights.T).numpy()
    targets = np.where((known.targets == -1) & (scores < settings.evict_below), np.int8(0), known.targets)
    kept = (targets != 0).any(axis=1)
    return replace(known, targets=targets).of(kept), replace(svm, duals=svm.duals[kept])


def examples_per_image(classes: int) -> int:
    """Return about how many pooled regions ``learn_head`` holds of each image."""
    return (POSITIVES + REGRESSED) * min(classes, 2) + NEGATIVES + NEAR_NEGATIVES + HARD_NEGATIVES * classes // 2


def first_examples(
    image: LabelledImage,
    classes: int,
    levels: Sequence[int],
    rng: np.random.Generator,
    *,
    settings: Settings = OURS,
) -> tuple[Examples, Regressed]:
    """Pool the ground truth, regions that hold it well or partly, and a sample of the background."""
    feature_map, regions = image.load()
    ground_truth = image.boxes[~image.ignored]
    labels = image.labels[~image.ignored]
    best, targets = image.overlaps(regions, classes, settings=settings)

    def drawn(among: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
        return np.sort(rng.permutation(np.flatnonzero(among))[:count])

    # By class: an image may hold a dozen objects of one class and a single one of another.
    chosen = np.concatenate(
        [
            *(drawn(targets[:, label] == 1, POSITIVES) for label in np.unique(labels)),
            drawn(best < settings.negative_iou, NEGATIVES),
            drawn((best >= NEAR_IOU) & (best < settings.negative_iou), NEAR_NEGATIVES),
        ]
    )
    overlap = iou(regions, ground_truth)
    nearest = overlap.argmax(axis=1) if len(ground_truth) else np.zeros(len(regions), dtype=np.int64)
    held = labels[nearest] if len(ground_truth) else nearest
    most = REGRESSED if settings.sampled else EVERY
    moved = np.concatenate(
        [drawn((best >= settings.regression_iou) & (held == label), most) for label in np.unique(labels)]
        or [nearest[:0]]
    )
    _, ground_truth_targets = image.overlaps(ground_truth, classes, settings=settings)
    ground_truth_targets[np.arange(len(ground_truth)), labels] = 1
    sampled = np.concatenate([ground_truth, regions[chosen]])
    pooled = feature_map.pool(sampled, levels).numpy()
    examples = Examples(pooled, np.concatenate([ground_truth_targets, targets[chosen]]), sampled)
    placed = feature_map.pooled_maps.pool(regions[moved], levels).numpy()
    return examples, Regressed(placed, held[moved], box_deltas(regions[moved], ground_truth[nearest[moved]]))


def hard_negatives(image: LabelledImage, head: RegionHead, *, settings: Settings = OURS) -> Examples:
    """Pool the negatives that the first SVM scores above its margin, the worst first, near-duplicates dropped."""
    feature_map, regions = image.load()
    regions = regions[:: MINING_STRIDE if settings.sampled else 1]
    scores = head.scores(feature_map, regions)
    _, targets = image.overlaps(regions, scores.shape[1], settings=settings)
    wrong = np.zeros_like(targets)
    for label in range(scores.shape[1]):
        found = np.flatnonzero((targets[:, label] == -1) & (scores[:, label] > settings.margin))
        found = found[nms(regions[found], scores[found, label], settings.duplicate_iou)]
        wrong[found[: HARD_NEGATIVES if settings.sampled else EVERY], label] = -1
    chosen = np.flatnonzero(wrong.any(axis=1))
    return Examples(feature_map.pool(regions[chosen], head.levels).numpy(), wrong[chosen], regions[chosen])


def train_on(
    examples: Examples,
    *,
    scale: float,
    start: LinearSvm | None = None,
    settings: Settings = OURS,
    tolerance: float = TOLERANCE,
) -> LinearSvm:
    """Train one SVM a class on examples whose features times ``scale`` have the length that the cost is for."""
    # Features times s with cost C and bias B have the same solution as the features themselves with cost
    # C s^2 and bias B / s: the matrix, the largest thing in memory, is never copied, nor are maps scaled later.
    return train_svm(
        examples.features,
        examples.targets,
        cost=settings.cost * scale**2,
        positive_weight=settings.positive_weight,
        bias=settings.bias / scale,
        start=start,
        tolerance=tolerance,
    )


def regress(
    parts: Sequence[Regressed], classes: int, scale: float, *, settings: Settings = OURS
) -> tuple[Tensor, Tensor]:
    """Fit one ridge regression a class, from pooled regions to the four deltas."""
    weights = torch.zeros(classes, 4, parts[0].features.shape[1])
    bias = torch.zeros(classes, 4)
    for label in np.unique(np.concatenate([part.labels for part in parts])):
        features = np.concatenate([part.features[part.labels == label] for part in parts])
        deltas = np.concatenate([part.deltas[part.labels == label] for part in parts])
        solved, constant = ridge(features, deltas, penalty=settings.ridge / scale**2)
        weights[label], bias[label] = torch.from_numpy(solved), torch.from_numpy(constant)
    return weights, bias
