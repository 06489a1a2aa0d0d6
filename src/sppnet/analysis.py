"""How sure a measured accuracy is, and what kinds of mistakes there are: both from the same judged detections."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sppnet import geometry
from sppnet.errors import MissingExtraError, check_that, message
from sppnet.geometry import Boxes
from sppnet.metrics import FoundObjects, Judged, Rule, TrueObjects, judge
from sppnet.proposals import reached

RESAMPLES: Final = 1000
NEAR_IOU: Final = 0.1  # below it a detection has nothing to do with an object
AT_ONCE: Final = 2_000_000  # weights held at a time, 16 MB


def resampled_precision(
    judged: Judged, *, resamples: int = RESAMPLES, rule: Rule = "area", seed: int = 0
) -> NDArray[np.float64]:
    """Compute the average precision of many data sets of as many pictures, drawn from these with replacement.

    The same seed draws the same pictures, so that of two detectors judged on the same pictures the difference of
    what is returned tells how sure the difference between them is (a paired bootstrap).

    Args:
        judged: from ``metrics.judge``. resamples: how many data sets, S. seed: of the drawing.
        rule: see ``metrics.average_precision``.
    Returns:
        (S, K) float64; NaN where no picture with an object of the class was drawn.
    Raises:
        ArgumentError: no pictures, or fewer than one resample.
    """
    pictures, classes = judged.objects.shape
    check_that(pictures > 0, "resampled_precision", "judged", "of one picture at least", 0, advice="Judge pictures")
    check_that(resamples > 0, "resampled_precision", "resamples", "at least 1", resamples, advice="1000 is usual")
    drawn = np.random.default_rng(seed).integers(pictures, size=(resamples, pictures))
    copies = np.stack([np.bincount(row, minlength=pictures) for row in drawn])
    found = [_precision(judged, copies, label, rule) for label in range(classes)]
    return np.stack(found, axis=1) if classes else np.zeros((resamples, 0))


def _precision(judged: Judged, copies: NDArray[np.int64], label: int, rule: Rule) -> NDArray[np.float64]:
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


# Mistakes


@dataclass(frozen=True)
class Mistakes:
    """What went wrong above a threshold, each mistake counted once, by class: (K,) int64 each.

    Args:
        classes: K names.
        duplicate: detections of an object that a better one has found.
        confused: detections that lie on an object of another class.
        badly_placed: detections that overlap an object of their class, by ``NEAR_IOU`` but not enough.
        background: all other wrong detections.
        missed: objects that no detection has found.
        unreached: objects that no region overlaps enough, of which box regression may still reach some; None where
            the regions were not given.
    """

    classes: tuple[str, ...]
    duplicate: NDArray[np.int64]
    confused: NDArray[np.int64]
    badly_placed: NDArray[np.int64]
    background: NDArray[np.int64]
    missed: NDArray[np.int64]
    unreached: NDArray[np.int64] | None

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Return the counts by class, for JSON."""
        columns = {name: getattr(self, name) for name in MISTAKES if getattr(self, name) is not None}
        return {
            name: {key: int(column[row]) for key, column in columns.items()} for row, name in enumerate(self.classes)
        }


MISTAKES: Final = ("duplicate", "confused", "badly_placed", "background", "missed", "unreached")


def mistakes(
    found: Sequence[FoundObjects],
    samples: Sequence[TrueObjects],
    classes: Sequence[str],
    *,
    iou: float = 0.5,
    threshold: float = 0.0,
    regions: Sequence[Boxes] | None = None,
) -> Mistakes:
    """Sort what went wrong by what would have put it right (after Hoiem et al. 2012, and TIDE).

    Args:
        found: one a picture. samples: the same pictures in the same order. classes: K names.
        iou: the overlap from which a box counts as found. threshold: detections that score above count.
        regions: (R, 4) of each picture, where the detections come from, to tell what they missed.
    Raises:
        ArgumentError: as ``metrics.judge`` does; or regions of another number of pictures.
    """
    given = len(found) if regions is None else len(regions)
    advice = "Propose regions in every picture, in their order"
    expected = f"one list for each of the {len(found)} pictures"
    check_that(given == len(found), "mistakes", "regions", expected, given, advice=advice)
    judged = judge(found, samples, classes, iou=iou)
    counts = {name: np.zeros(len(classes), dtype=np.int64) for name in MISTAKES[:-1]}
    boxes = np.concatenate([np.zeros((0, 4)), *(each.boxes for each in found)])[judged.order]
    for place in np.flatnonzero((judged.verdicts == 0) & (judged.scores > threshold)):
        label = judged.labels[place]
        counts[_kind(boxes[place], label, samples[judged.pictures[place]], iou)][label] += 1
    right = judged.labels[(judged.verdicts == 1) & (judged.scores > threshold)]
    counts["missed"] = judged.objects.sum(axis=0) - np.bincount(right, minlength=len(classes))
    far = None if regions is None else np.zeros(len(classes), dtype=np.int64)
    for sample, proposed in zip(samples, regions or (), strict=regions is not None):
        wanted = ~(sample.difficult | sample.crowd)
        missed = ~reached(proposed, sample.boxes[wanted], threshold=iou)
        far = np.bincount(sample.labels[wanted][missed], minlength=len(classes)) + (0 if far is None else far)
    return Mistakes(tuple(classes), **counts, unreached=far)


def _kind(box: Boxes, label: np.int64, sample: TrueObjects, iou: float) -> str:
    overlap = geometry.iou(box[None], sample.boxes)[0]
    own = overlap[sample.labels == label].max(initial=0.0)
    if own >= iou:
        return "duplicate"
    if overlap[sample.labels != label].max(initial=0.0) >= iou:
        return "confused"
    return "badly_placed" if own >= NEAR_IOU else "background"


# COCO


def coco_precision(
    found: Sequence[FoundObjects], samples: Sequence[TrueObjects], classes: Sequence[str]
) -> dict[str, float]:
    """Measure as COCO does, by faster-coco-eval: ``pip install 'sppnet[coco]'``.

    COCO knows no difficult objects: they are given to it as crowds, which need not be found either. An object's
    area is that of its box.

    Returns:
        By name: AP (the mean over IoU 0.5 to 0.95, 100 detections a picture), AP50, AP75, and AP of small, medium
        and large objects; NaN where there is no object.
    Raises:
        ArgumentError: as ``metrics.judge`` does. MissingExtraError: the package is not installed.
    """
    judge(found, samples, classes)  # for its checks
    coco, evaluator = _coco_tools()
    images = [{"id": place + 1} for place in range(len(samples))]
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(classes)]
    truths = [
        _coco_row(place, box, label) | {"iscrowd": int(crowd)}
        for place, sample in enumerate(samples)
        for box, label, crowd in zip(sample.boxes, sample.labels, sample.difficult | sample.crowd, strict=True)
    ]
    answers = [
        _coco_row(place, box, label) | {"score": float(score)}
        for place, each in enumerate(found)
        for box, label, score in zip(each.boxes, each.labels, each.scores, strict=True)
    ]
    if not truths or not answers:
        value = 0.0 if truths else float("nan")
        return dict.fromkeys(COCO_FIGURES, value)
    numbered = [{"id": place + 1} | row for place, row in enumerate(truths)]
    truth = coco({"images": images, "categories": categories, "annotations": numbered})
    run = evaluator(truth, truth.loadRes(answers), "bbox", print_function=lambda *_: None)
    for step in (run.evaluate, run.accumulate, run.summarize):
        step()
    figures = [float(value) for value in run.stats[: len(COCO_FIGURES)]]
    return {name: value if value >= 0 else float("nan") for name, value in zip(COCO_FIGURES, figures, strict=True)}


COCO_FIGURES: Final = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")


def _coco_row(place: int, box: Boxes, label: np.int64) -> dict[str, Any]:
    left, top, right, bottom = box.tolist()
    sides = [left, top, right - left, bottom - top]
    return {"image_id": place + 1, "category_id": int(label) + 1, "bbox": sides, "area": sides[2] * sides[3]}


def _coco_tools() -> tuple[Any, Any]:
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        advice = "Install it with: pip install 'sppnet[coco]'"
        raise MissingExtraError(
            message("coco_precision", "faster-coco-eval", "installed", str(error), advice)
        ) from error
    return COCO, COCOeval_faster
