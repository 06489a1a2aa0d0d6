"""What to label next: the images on which a person's word would teach most."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sppnet.detection.detections import Detections

Key = TypeVar("Key")


def suggest_order(found: Mapping[Key, Detections], thresholds: NDArray[np.float64]) -> tuple[Key, ...]:
    """Order images by what labels of them would teach: the least certain and most surprising first.

    An image is uncertain by its detections of middling confidence, and surprising by how far its counts are from
    those of all images.

    Args:
        found: what ``detect`` gave for each image, whatever the confidence.
        thresholds: (K,) the confidence from which a detection counts.
    Returns:
        The images; of equal ones, in the order given.
    """
    if not found:
        return ()
    shown = [each[each.confidence >= thresholds[each.labels]] for each in found.values()]
    counts = np.array([list(each.counts().values()) for each in shown], dtype=np.float64)
    worth = usefulness(np.array([doubt_of(each) for each in found.values()]), counts)
    keys = list(found)
    return tuple(keys[place] for place in np.argsort(-worth, kind="stable"))


def doubt_of(found: Detections) -> float:
    """Return how uncertain the detections of an image are: 1 for each that is as likely right as wrong."""
    return float((4 * found.confidence * (1 - found.confidence)).sum())


def usefulness(doubt: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what labels of each image would teach (N,): doubt (N,), and how unusual its counts (N, K) are."""
    usual = np.median(counts, axis=0)
    surprise = (np.abs(counts - usual) / np.sqrt(usual + 1)).sum(axis=1)
    worth: NDArray[np.float64] = doubt / max(float(doubt.mean()), 1e-12) + surprise / max(float(surprise.mean()), 1e-12)
    return worth
