"""What a network learnt on one data set, used on another: a layer's responses, then linear SVMs.

Source: He et al. 2015, Sec. 3.2 (VOC 2007) and 3.3 (Caltech-101): features of any layer scaled to length 1, no
fine-tuning, no mirror images, one binary SVM a class. The cost of the SVMs is in the first version only: 1.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.backbones import PublishedNet
from sppnet.data import DetectionData
from sppnet.errors import check_that
from sppnet.evaluation.classes import mean_class_accuracy
from sppnet.evaluation.precision import average_precision
from sppnet.geometry import shorter_side_size, view_regions
from sppnet.images import Source, crop, read_image, resize, to_tensor
from sppnet.learning.svm import LinearSvm, one_vs_rest, train_svm
from sppnet.ops import pool_image
from sppnet.progress import Progress, silent

View = Literal["crop", "warp", "whole"]

COST: Final = 1.0
CALTECH_TRAIN: Final = 30  # images a class
CALTECH_TEST: Final = 50  # at most
FINEST: Final = "6x6"


def layer_features(
    network: PublishedNet, image: Source, layers: Sequence[str], *, view: View = "whole", side: int = 224
) -> dict[str, Tensor]:
    """Return the named layers of one view of an image, each as one vector of length 1 (0 where all is 0).

    Args:
        network: in ``eval`` mode.
        image: a path, a file's bytes, or (H, W, 3) uint8 RGB.
        layers: from ``network.layer_names``; "6x6" is the last map pooled to 6 x 6 bins, which the paper lists
            beside the whole pyramid.
        view: "crop", the centre square once the shorter side is ``side``; "warp", the image made square;
            "whole", at its own aspect with the shorter side ``side``.
    Returns:
        layer -> (D,) float32. Of "whole" images, D of a convolution depends on their shape.
    Raises:
        ImageDecodeError: an image that cannot be read. ArgumentError: an unknown layer or view.
    """
    check_that(
        view in ("crop", "warp", "whole"),
        "layer_features",
        "view",
        "crop, warp or whole",
        repr(view),
        advice="Name one of these",
    )
    pixels = _seen(read_image(image), view, side)
    inputs = to_tensor(pixels, mean=network.mean, std=network.std)[None].to(network.device)
    named = [layer for layer in layers if layer != FINEST]
    with torch.inference_mode():
        found = network.activations(inputs, [*named, *([network.map_name] if FINEST in layers else [])])
        if FINEST in layers:
            found[FINEST] = pool_image(found[network.map_name], levels=(6,))
    return {layer: torch.nn.functional.normalize(found[layer].flatten().float(), dim=0).cpu() for layer in layers}


def _seen(pixels: NDArray[np.uint8], view: View, side: int) -> NDArray[np.uint8]:
    if view == "warp":
        return resize(pixels, (side, side))
    scaled = resize(pixels, shorter_side_size(pixels.shape[:2], side))
    if view == "whole":
        return scaled
    (region,) = view_regions((scaled.shape[0], scaled.shape[1]), 1, side=side)
    return crop(scaled, region)


def all_features(
    network: PublishedNet,
    images: Sequence[Path],
    layers: Sequence[str],
    *,
    view: View = "whole",
    side: int = 224,
    progress: Progress = silent,
) -> dict[str, NDArray[np.float16]]:
    """Return ``layer_features`` of many images, from one pass over each: layer -> (N, D), in half precision."""
    rows: dict[str, list[NDArray[np.float16]]] = {layer: [] for layer in layers}
    for path in progress(f"{view} {side}", images):
        for layer, vector in layer_features(network, path, layers, view=view, side=side).items():
            rows[layer].append(vector.half().numpy())
    return {layer: np.stack(vectors) for layer, vectors in rows.items()}


def scores(svm: LinearSvm, features: NDArray[np.float16] | NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, D) -> (N, K) signed distances to the planes of the classes."""
    found: NDArray[np.float32] = torch.addmm(svm.bias, torch.from_numpy(features).float(), svm.weights.T).numpy()
    return found


# Caltech-101


def caltech_split(
    labels: NDArray[np.int64], seed: int, *, train: int = CALTECH_TRAIN, test: int = CALTECH_TEST
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw ``train`` images a class to learn from and up to ``test`` others to test on; return the rows of both."""
    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    learnt = np.concatenate([rows[:train] for rows in shuffled])
    return learnt, np.concatenate([rows[train : train + test] for rows in shuffled])


def caltech_accuracy(
    features: NDArray[np.float16] | NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    seeds: Sequence[int] = range(10),
    train: int = CALTECH_TRAIN,
    cost: float = COST,
) -> NDArray[np.float64]:
    """Return the accuracy, mean over classes, of one random split a seed: (len(seeds),) in 0..1."""
    classes = int(labels.max()) + 1
    found = []
    for seed in seeds:
        learnt, test = caltech_split(labels, seed, train=train)
        svm = train_svm(features[learnt].astype(np.float32), one_vs_rest(labels[learnt], classes), cost=cost)
        found.append(mean_class_accuracy(scores(svm, features[test]).argmax(axis=1), labels[test], classes=classes))
    return np.array(found)


# VOC 2007


def voc_targets(data: DetectionData) -> NDArray[np.int8]:
    """Return which classes each image shows, (N, K) int8: 1 shown, 0 only as difficult objects, -1 not shown.

    The same as the lists of the development kit, which leaves out 0 in learning and testing.
    """
    targets = np.full((len(data.samples), len(data.classes)), -1, dtype=np.int8)
    for row, sample in enumerate(data.samples):
        targets[row, sample.labels[sample.difficult]] = 0
        targets[row, sample.labels[~sample.difficult]] = 1
    return targets


def voc_precisions(
    train: tuple[NDArray[np.float16], NDArray[np.int8]],
    test: tuple[NDArray[np.float16], NDArray[np.int8]],
    *,
    cost: float = COST,
) -> NDArray[np.float64]:
    """Learn each class on (features, targets) and return its average precision on others, (K,) in 0..1.

    By the rule of VOC 2007, the mean precision at eleven recalls; NaN for a class that ``test`` does not show.
    """
    svm = train_svm(train[0].astype(np.float32), train[1], cost=cost)
    found, targets = scores(svm, test[0]), test[1]
    verdicts = np.select([targets == 1, targets == 0], [1, -1], 0).astype(np.int8)
    columns = range(targets.shape[1])
    precisions = [
        average_precision(found[:, k], verdicts[:, k], int((targets[:, k] == 1).sum()), rule="eleven") for k in columns
    ]
    return np.array(precisions)


def mean_precision(precisions: NDArray[np.float64]) -> float:
    """Return the mean over the classes that were shown."""
    return float(np.nanmean(precisions))
