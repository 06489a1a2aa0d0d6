"""How sure a measured accuracy is: bootstrap over images."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sppnet.errors import check_that
from sppnet.evaluation.matching import Judged
from sppnet.evaluation.precision import Rule

RESAMPLES: Final = 1000
AT_ONCE: Final = 2_000_000  # weights held at a time, 16 MB


def resampled_precision(
    judged: Judged, *, resamples: int = RESAMPLES, rule: Rule = "area", seed: int = 0
) -> NDArray[np.float64]:
    """Compute the average precision of many data sets of as many images, drawn from these with replacement.

    The same seed draws the same images, so that of two detectors judged on the same images the difference of
    what is returned tells how sure the difference between them is (a paired bootstrap).

    Args:
        judged: from ``metrics.judge``. resamples: how many data sets, S. seed: of the drawing.
        rule: see ``metrics.average_precision``.
    Returns:
        (S, K) float64; NaN where no image with an object of the class was drawn.
    Raises:
        ArgumentError: no images, or fewer than one resample.
    """
    images, classes = judged.objects.shape
    check_that(images > 0, "resampled_precision", "judged", "of one image at least", 0, advice="Judge images")
    check_that(resamples > 0, "resampled_precision", "resamples", "at least 1", resamples, advice="1000 is usual")
    drawn = np.random.default_rng(seed).integers(images, size=(resamples, images))
    copies = np.stack([np.bincount(row, minlength=images) for row in drawn])
    found = [_precision(judged, copies, label, rule) for label in range(classes)]
    return np.stack(found, axis=1) if classes else np.zeros((resamples, 0))


def _precision(judged: Judged, copies: NDArray[np.int64], label: int, rule: Rule) -> NDArray[np.float64]:
    """Compute one class's average precision (S,) where each image is there as often as ``copies`` (S, P) says."""
    mine = (judged.labels == label) & (judged.verdicts >= 0)
    images, right = judged.images[mine], judged.verdicts[mine] == 1
    wanted = copies @ judged.objects[:, label]
    parts = []
    rows = max(1, AT_ONCE // max(1, len(images)))
    for start in range(0, len(copies), rows):
        times = copies[start : start + rows][:, images]
        hits = times * right
        precision = np.cumsum(hits, axis=1) / np.maximum(np.cumsum(times, axis=1), 1)
        # Copies of one detection come one after the other: right ones all have the precision of the last of them.
        falling = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        if rule == "area":
            parts.append((falling * hits).sum(axis=1))
        else:
            recalls = 10 * np.cumsum(hits, axis=1)
            goals = np.arange(11) * wanted[start : start + rows, None]
            reached_at = [np.searchsorted(*pair) for pair in zip(recalls, goals, strict=True)]
            ended = np.pad(falling, ((0, 0), (0, 1)))
            means = np.take_along_axis(ended, np.array(reached_at), axis=1).mean(axis=1)
            parts.append(means * wanted[start : start + rows])
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
