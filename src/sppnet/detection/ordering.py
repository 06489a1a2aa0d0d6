"""What to label next: the images on which a person's word would teach most."""

import numpy as np
from numpy.typing import NDArray

from sppnet.detection.detections import Detections


def doubt_of(found: Detections) -> float:
    """Return how uncertain the detections of an image are: 1 for each that is as likely right as wrong."""
    return float((4 * found.confidence * (1 - found.confidence)).sum())


def usefulness(doubt: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what labels of each image would teach (N,): doubt (N,), and how unusual its counts (N, K) are."""
    usual = np.median(counts, axis=0)
    surprise = (np.abs(counts - usual) / np.sqrt(usual + 1)).sum(axis=1)
    worth: NDArray[np.float64] = doubt / max(float(doubt.mean()), 1e-12) + surprise / max(float(surprise.mean()), 1e-12)
    return worth
