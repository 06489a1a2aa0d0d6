"""SVMs of pooled regions, at the cost that the settings state for features of one mean length."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sppnet.detection.settings import Settings
from sppnet.learning.svm import LinearSvm, train_svm

TOLERANCE: Final = 1e-2  # a tenth of what a region's score changes by from cell to cell, and seen at once


def train_on(
    features: NDArray[np.floating],
    targets: NDArray[np.int8],
    *,
    scale: float,
    settings: Settings,
    start: LinearSvm | None = None,
    products: NDArray[np.float32] | None = None,
) -> LinearSvm:
    """Train one SVM a class on features (N, D) which times ``scale`` have the length that the cost is for."""
    # Features times s with cost C and bias B have the same solution as the features themselves with cost
    # C s^2 and bias B / s: the matrix, the largest thing in memory, is not scaled, nor are maps later.
    return train_svm(
        features,
        targets,
        cost=settings.cost * scale**2,
        positive_weight=settings.positive_weight,
        bias=settings.bias / scale,
        start=start,
        products=products,
        tolerance=TOLERANCE,
    )
