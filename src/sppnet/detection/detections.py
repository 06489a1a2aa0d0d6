"""What was found in an image: boxes, classes, confidence; and the same in the forms that other libraries have."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sppnet.detection.drawing import draw_boxes
from sppnet.errors import MissingExtraError, check_shape, check_that, message
from sppnet.geometry import Boxes, nms
from sppnet.images import Source, read_image

if TYPE_CHECKING:
    import pandas
    import supervision

NMS_IOU: Final = 0.3  # of detections of a class that overlap by more, the best is kept (paper, Sec. 4.1)

Rows = int | slice | NDArray[np.bool_] | NDArray[np.int64]


@dataclass(frozen=True)
class Detections:
    """What was found in one image, the most certain first.

    Args:
        boxes: (N, 4) float64 in the image's pixels, ends excluded.
        labels: (N,) int64, indices into ``classes``.
        confidence: (N,) float64 in 0..1, the probability that the detection is right.
        classes: names.
        scores: (N,) float32, what the head gave each region: signed distance to the class's separating plane; None
            where that is not known.
        regions: (N, 4) what each score is the score of: the region that was last moved onto the object; None where
            that is not known.
        rivals: (N, 2) what speaks against each beside its score: surer ones around it, of its class and of others, see
            ``geometry.rivals``; None where that is not known.
    """

    boxes: Boxes
    labels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    classes: tuple[str, ...]
    scores: NDArray[np.float32] | None = None
    regions: Boxes | None = None
    rivals: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Raise ShapeError unless everything has one row a detection."""
        count = len(self.confidence)
        rows = {"boxes": (count, 4), "labels": (count,), "scores": (count,), "regions": (count, 4)}
        rows["rivals"] = (count, 2)
        for name, expected in rows.items():
            column = getattr(self, name)
            if column is not None:
                check_shape("Detections", name, column.shape, expected, advice="Give one row a detection")

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.confidence)

    def __getitem__(self, rows: Rows) -> "Detections":
        """Return some: by index (one detection, as ``Detections`` of length 1), slice, mask or indices."""
        chosen = np.atleast_1d(np.arange(len(self))[rows])
        return self._each(lambda column: column[chosen])

    def __iter__(self) -> Iterator["Detections"]:
        """Yield one at a time, each as ``Detections`` of length 1."""
        return (self[row] for row in range(len(self)))

    def above(self, threshold: float) -> "Detections":
        """Return those of at least this confidence."""
        return self[self.confidence >= threshold]

    def first(self, count: int) -> "Detections":
        """Return the most certain ones, at most ``count``."""
        return self[:count]

    def of(self, *names: str) -> "Detections":
        """Return those of some classes.

        Raises:
            ArgumentError: a name that is no class.
        """
        for name in names:
            expected = f"one of {', '.join(self.classes)}"
            check_that(name in self.classes, "Detections.of", "names", expected, repr(name), advice="Name a class")
        return self[np.isin(self.labels, [self.classes.index(name) for name in names])]

    def merge(self, *others: "Detections") -> "Detections":
        """Return these and others of the same image and classes together, the most certain first; nothing is dropped.

        Raises:
            ArgumentError: others of different classes.
        """
        together = (self, *others)
        same = len({each.classes for each in together}) == 1
        advice = "Train them on the same classes"
        actual = [each.classes for each in together]
        check_that(same, "Detections.merge", "others", "of the same classes", actual, advice=advice)
        joined = self._each(None, others)
        return joined[np.argsort(-joined.confidence, kind="stable")]

    def _each(self, change: Callable[[Any], Any] | None, others: Sequence["Detections"] = ()) -> "Detections":
        columns: dict[str, Any] = {}
        for name in (each.name for each in fields(self) if each.name != "classes"):
            parts = [getattr(each, name) for each in (self, *others)]
            known = all(part is not None for part in parts)
            column = np.concatenate(parts) if known else None
            columns[name] = change(column) if change and known else column
        return replace(self, **columns)

    def counts(self) -> dict[str, int]:
        """Return how many there are of each class."""
        return dict(zip(self.classes, np.bincount(self.labels, minlength=len(self.classes)).tolist(), strict=True))

    # Other forms

    def draw(self, image: Source) -> NDArray[np.uint8]:
        """Return a copy of the image, (H, W, 3) uint8 RGB, with every box, class and confidence, the best on top."""
        captions = [
            f"{self.classes[label]} {sure:.0%}" for label, sure in zip(self.labels, self.confidence, strict=True)
        ]
        return draw_boxes(read_image(image), self.boxes, self.labels, captions)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON: how many of each class, and one record a detection, with its name, confidence and box.

        Confidence has four digits, boxes, [left, top, right, bottom], have hundredths of a pixel, as in files.
        """
        rows = zip(self.boxes, self.labels, self.confidence, strict=True)
        found = [
            {"class": self.classes[label], "confidence": round(float(sure), 4), "box": box.round(2).tolist()}
            for box, label, sure in rows
        ]
        return {"counts": self.counts(), "detections": found}

    def to_coco(self, image_id: int, *, numbers: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Return COCO results of one image.

        Args:
            image_id: the image's number in the data set.
            numbers: of the classes there, in their order; None counts from 1.
        """
        known = range(1, len(self.classes) + 1) if numbers is None else numbers
        left, top, right, bottom = self.boxes.T
        boxes = np.stack([left, top, right - left, bottom - top], axis=1).tolist()
        rows = zip(self.labels.tolist(), boxes, self.confidence.tolist(), strict=True)
        return [
            {"image_id": image_id, "category_id": known[label], "bbox": box, "score": sure} for label, box, sure in rows
        ]

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a table: class, confidence, left, top, right, bottom. Needs pandas.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        frame = _library("pandas").DataFrame
        names = [self.classes[label] for label in self.labels]
        edges = dict(zip(("left", "top", "right", "bottom"), self.boxes.T, strict=True))
        return frame({"class": names, "confidence": self.confidence, **edges})

    def to_supervision(self) -> "supervision.Detections":
        """Return supervision's ``Detections``, with the classes' names as it keeps them. Needs supervision.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        names = np.array([self.classes[label] for label in self.labels], dtype=str)
        return _library("supervision").Detections(
            xyxy=self.boxes.astype(np.float32),
            confidence=self.confidence.astype(np.float32),
            class_id=self.labels.astype(int),
            data={"class_name": names},
        )

    @classmethod
    def from_supervision(cls, found: "supervision.Detections", classes: Sequence[str]) -> "Detections":
        """Take supervision's ``Detections``.

        Args:
            found: with class ids. classes: what the ids stand for, in their order. No confidence counts as 1.
        Raises:
            ArgumentError: class ids that are missing or no index of ``classes``.
        """
        labels = np.asarray([] if found.class_id is None else found.class_id, dtype=np.int64)
        fits = len(labels) == len(found.xyxy) and bool(((labels >= 0) & (labels < len(classes))).all())
        expected, advice = f"class ids of {len(classes)} classes, one a box", "Name all classes"
        check_that(fits, "from_supervision", "found", expected, labels.tolist(), advice=advice)
        given = np.ones(len(labels)) if found.confidence is None else found.confidence
        order = np.argsort(-np.asarray(given, dtype=np.float64), kind="stable")
        boxes = np.asarray(found.xyxy, dtype=np.float64).reshape(-1, 4)
        return cls(boxes[order], labels[order], np.asarray(given, dtype=np.float64)[order], tuple(classes))


def _library(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError as error:
        advice = f"Install it with: pip install 'sppnet[{name}]'"
        raise MissingExtraError(message("Detections", name, "installed", str(error), advice)) from error


def combine(found: Sequence[Detections], *, iou: float = NMS_IOU) -> Detections:
    """Combine what several detectors found in one image: suppression over all of it (paper, Sec. 4.4, Table 12).

    Args:
        found: one a detector, all of the same classes in the same order.
        iou: of detections of a class that overlap by more, the best is kept.
    Raises:
        ArgumentError: detectors of different classes.
    """
    together = found[0].merge(*found[1:])
    rows = [np.flatnonzero(together.labels == label) for label in range(len(together.classes))]
    kept = [each[nms(together.boxes[each], together.confidence[each], iou)] for each in rows]
    return together[np.sort(np.concatenate(kept))]


def check_threshold(function: str, threshold: float | None) -> None:
    """Raise ArgumentError unless a threshold is a probability, or None: each class's own."""
    fits = threshold is None or 0 <= threshold <= 1
    advice = "Give a confidence such as 0.5, or leave it out for each class's own"
    check_that(fits, function, "threshold", "from 0 to 1", threshold, advice=advice)
