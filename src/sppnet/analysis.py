"""How sure a measured accuracy is, and what kinds of mistakes there are: both from the same judged detections."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sppnet.errors import check_that
from sppnet.metrics import Judged

RESAMPLES: Final = 1000
AT_ONCE: Final = 2_000_000  # weights held at a time, 16 MB


def resampled_precision(judged: Judged, *, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.float64]:
    """Compute the average precision of many data sets of as many pictures, drawn from these with replacement.

    The same seed draws the same pictures, so that of two detectors judged on the same pictures the difference of
    what is returned tells how sure the difference between them is (a paired bootstrap).

    Args:
        judged: from ``metrics.judge``. resamples: how many data sets, S. seed: of the drawing.
    Returns:
        (S, K) float64: the area under precision made falling over recall, as ``metrics.average_precision`` has it;
        NaN where no picture with an object of the class was drawn.
    Raises:
        ArgumentError: no pictures, or fewer than one resample.
    """
    pictures, classes = judged.objects.shape
    check_that(pictures > 0, "resampled_precision", "judged", "of one picture at least", 0, advice="Judge pictures")
    check_that(resamples > 0, "resampled_precision", "resamples", "at least 1", resamples, advice="1000 is usual")
    drawn = np.random.default_rng(seed).integers(pictures, size=(resamples, pictures))
    copies = np.stack([np.bincount(row, minlength=pictures) for row in drawn])
    found = [_precision(judged, copies, label) for label in range(classes)]
    return np.stack(found, axis=1) if classes else np.zeros((resamples, 0))


def _precision(judged: Judged, copies: NDArray[np.int64], label: int) -> NDArray[np.float64]:
    """Compute one class's average precision (S,) where each picture is there as often as ``copies`` (S, P) says."""
    mine = (judged.labels == label) & (judged.verdicts >= 0)
    pictures, right = judged.pictures[mine], judged.verdicts[mine] == 1
    wanted = copies @ judged.objects[:, label]
    parts = []
    rows = max(1, AT_ONCE // max(1, len(pictures)))
    for start in range(0, len(copies), rows):
        times = copies[start : start + rows][:, pictures]
        hits = times * right
        precision = np.cumsum(hits, axis=1) / np.maximum(np.cumsum(times, axis=1), 1)
        # Copies of one detection come one after the other: right ones all have the precision of the last of them.
        falling = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        parts.append((falling * hits).sum(axis=1))
    area = np.concatenate(parts)
    shares: NDArray[np.float64] = np.divide(area, wanted, out=np.full(len(area), np.nan), where=wanted > 0)
    return shares


def mean_precision(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean (S,) over the classes of (S, K) that have objects; NaN where none has."""
    known = ~np.isnan(precision)
    total, count = np.where(known, precision, 0.0).sum(axis=1), known.sum(axis=1)
    means: NDArray[np.float64] = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return means


def interval(values: NDArray[np.float64], *, level: float = 0.95) -> tuple[float, float]:
    """Return the limits between which the middle ``level`` of the values lie, NaN left out.

    >>> interval(np.arange(101.0), level=0.5)
    (25.0, 75.0)
    """
    check_that(0 < level < 1, "interval", "level", "between 0 and 1", level, advice="0.95 is usual")
    known = values[~np.isnan(values)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
