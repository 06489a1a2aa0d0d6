"""How good classifications are: accuracy, top-k error, confusion."""

import numpy as np
from numpy.typing import NDArray

from sppnet.errors import check_shape, check_that

# Classes


def mean_class_accuracy(predicted: NDArray[np.int64], labels: NDArray[np.int64], *, classes: int) -> float:
    """Return the mean over classes of the share of each one's images that were named right.

    Args:
        predicted: (N,) indices of classes. labels: (N,) the right ones. classes: how many there are.
    Returns:
        0..1, over the classes that have images; NaN when none has.
    Raises:
        ShapeError, ArgumentError: see ``confusion``.
    """
    counts = confusion(predicted, labels, classes=classes)
    shown = counts.sum(axis=1)
    recalls = shares(counts.diagonal(), shown)[shown > 0]
    return float(recalls.mean()) if recalls.size else float("nan")


def top_k_error(scores: NDArray[np.floating], labels: NDArray[np.int64], *, k: int) -> float:
    """Return the share of images whose right class is not among the k best.

    A tie counts against the answer: the right class is among the k best when fewer than k others score as
    much or more, or NaN. So a network that scores all classes alike is wrong, whatever their order.

    Args:
        scores: (N, K), higher for the more likely. labels: (N,) the right classes. k: 1..K.
    Returns:
        0..1; NaN without images.
    Raises:
        ShapeError: of ``scores``. ArgumentError: ``k`` or a label out of range.
    """
    check_shape("top_k_error", "scores", scores.shape, (len(labels), "K"), advice="Give one row a label")
    classes = scores.shape[1]
    check_that(1 <= k <= classes, "top_k_error", "k", f"from 1 to {classes}", k, advice="Choose a smaller k")
    check_labels("top_k_error", "labels", labels, classes)
    if len(labels) == 0:
        return float("nan")
    right = np.take_along_axis(scores, labels[:, None], axis=1)
    # Not "others >= right": that is false for NaN, which would make a broken network perfect.
    others = np.count_nonzero(~(scores < right), axis=1) - 1
    return float(np.mean(others >= k))


def confusion(predicted: NDArray[np.int64], labels: NDArray[np.int64], *, classes: int) -> NDArray[np.int64]:
    """Count the answers: row by right class, column by predicted class.

    Args:
        predicted: (N,) indices of classes. labels: (N,) the right ones. classes: how many there are, K.
    Returns:
        (K, K) int64 that sums to N.
    Raises:
        ShapeError: of ``predicted``. ArgumentError: an index outside 0..K-1.
    """
    check_shape("confusion", "predicted", predicted.shape, (len(labels),), advice="Give one answer a label")
    for argument, indices in (("predicted", predicted), ("labels", labels)):
        check_labels("confusion", argument, indices, classes)
    counts = np.bincount(labels * classes + predicted, minlength=classes**2)
    return counts.reshape(classes, classes).astype(np.int64)


def check_labels(function: str, argument: str, indices: NDArray[np.int64], classes: int) -> None:
    """Raise ArgumentError for an index that is no class."""
    strange = indices[(indices < 0) | (indices >= classes)]
    check_that(
        strange.size == 0,
        function,
        argument,
        f"indices of {classes} classes",
        strange[:1].tolist(),
        advice="Number the classes from 0",
    )


def shares(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return ``part / whole`` element by element; NaN where there is nothing of the whole."""
    share: NDArray[np.float64] = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return share
