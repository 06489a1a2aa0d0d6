"""Which regions of a labelled image are learnt from: positives, negatives, hard negatives, and regions to move.

The paper trains on ground truth alone as positives; here regions that overlap an object by 0.7 join them, worth
two points of mean AP where a class has a few hundred objects. The rest is the published way: negatives overlap no
object of their class by 0.3, near-duplicates among them are dropped, one round of hard negatives (Sec. 4.1).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sppnet.data import DetectionData, Sample
from sppnet.detection.settings import EVERY, OURS, Settings
from sppnet.errors import check_that
from sppnet.features.encoder import MapsEncoder
from sppnet.features.maps import Maps
from sppnet.features.scene import Scene
from sppnet.geometry import Boxes, best_iou, box_deltas, check_boxes, iou, nms
from sppnet.proposals.protocol import Proposals

NEAR_IOU: Final = 0.1  # negatives that overlap an object by this are drawn on purpose: they are the hard ones

# Regions an image, chosen so that 200 images of 8,000 regions make about a gigabyte of examples.
POSITIVES: Final = 50
NEGATIVES: Final = 60
NEAR_NEGATIVES: Final = 20
REGRESSED: Final = 60
HARD_NEGATIVES: Final = 40
FULL_SHARES: Final = 250  # images give all of these; of more, each gives so much less that rows stay as many
MOST_OBJECTS: Final = 5000  # of a class are learnt from; of more, a part of each image's
MINING_STRIDE: Final = 2  # one region in so many is looked at for hard negatives: its neighbours look the same
REJECTED_IOU: Final = 0.7  # regions this near a rejected one show the same mistake
NEAREST_REGIONS: Final = 10  # of them are taken


def no_boxes() -> Boxes:
    """Return an empty list of boxes."""
    return np.zeros((0, 4))


@dataclass(frozen=True)
class ImageLabels:
    """What is known of the objects of one image.

    Args:
        boxes: (N, 4) objects, in the image's pixels, ends excluded. classes: the name of each.
        ignored: (N,) bool, objects that are neither positive nor negative (VOC's difficult, COCO's crowds); None: none.
        rejected: (M, 4) boxes that hold no object of the class named in ``rejected_classes``.
        complete: all objects of all classes are boxed, so that the rest is background.
    """

    boxes: Boxes
    classes: tuple[str, ...]
    ignored: NDArray[np.bool_] | None = None
    rejected: Boxes = field(default_factory=no_boxes)
    rejected_classes: tuple[str, ...] = ()
    complete: bool = True

    def __post_init__(self) -> None:
        """Raise ArgumentError unless there is one class a box."""
        for name, boxes, classes in (
            ("classes", self.boxes, self.classes),
            ("rejected_classes", self.rejected, self.rejected_classes),
        ):
            fits = len(boxes) == len(classes)
            advice = "Name the class of each box"
            check_that(fits, "ImageLabels", name, f"{len(boxes)} names, one a box", len(classes), advice=advice)

    def checked(self, size: tuple[int, int]) -> "ImageLabels":
        """Return the labels clipped to an image of ``size`` (height, width).

        Raises:
            BoxError: naming the row of a box that is empty, inverted, NaN or wholly outside.
        """
        ignored = np.zeros(len(self.boxes), dtype=np.bool_) if self.ignored is None else self.ignored
        boxes, rejected = (check_boxes("ImageLabels", each, size) for each in (self.boxes, self.rejected))
        return ImageLabels(boxes, self.classes, ignored, rejected, self.rejected_classes, self.complete)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Tell which boxes are positives: (N,) bool."""
        return np.ones(len(self.boxes), dtype=np.bool_) if self.ignored is None else ~self.ignored

    def of(self, name: str) -> NDArray[np.bool_]:
        """Tell which boxes are of a class: (N,) bool."""
        return np.array([each == name for each in self.classes], dtype=np.bool_)

    def only(self, names: Sequence[str]) -> "ImageLabels":
        """Return what is known of the named classes."""
        boxes, rejected = (
            np.array([name in names for name in each], dtype=np.bool_) for each in (self.classes, self.rejected_classes)
        )
        classes, others = (
            tuple(name for name in each if name in names) for each in (self.classes, self.rejected_classes)
        )
        ignored = None if self.ignored is None else self.ignored[boxes]
        return ImageLabels(self.boxes[boxes], classes, ignored, self.rejected[rejected], others, self.complete)

    def indices(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Return each box's class as an index of ``names``: (N,) int64."""
        return np.array([names.index(name) for name in self.classes], dtype=np.int64)

    def overlaps(
        self, regions: Boxes, names: Sequence[str], settings: Settings
    ) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        """Return each region's largest IoU with an object that counts, and its targets for the named classes.

        Returns:
            (R,) IoU, and (R, K) int8: 1 positive, -1 negative, 0 neither.
        """
        targets = np.full((len(regions), len(names)), -1, dtype=np.int8)
        for label, name in enumerate(names):
            same = self.of(name)
            targets[best_iou(regions, self.boxes[same]) >= settings.negative_iou, label] = 0
            if settings.positive_iou is not None:
                targets[best_iou(regions, self.boxes[same & self.counted]) >= settings.positive_iou, label] = 1
        return best_iou(regions, self.boxes[self.counted]), targets

    def shown(self, regions: Boxes) -> NDArray[np.bool_]:
        """Tell which regions overlap a box by ``negative_iou`` or have their middle in one: what they show is known."""
        overlapping = best_iou(regions, self.boxes) >= OURS.negative_iou
        middle = ((regions[:, :2] + regions[:, 2:]) / 2)[:, None]
        inside = np.all((middle > self.boxes[None, :, :2]) & (middle < self.boxes[None, :, 2:]), axis=2)
        known: NDArray[np.bool_] = overlapping | np.any(inside, axis=1)
        return known


@dataclass(frozen=True)
class Examples:
    """Regions (N, 4), pooled (N, D), and their targets (N, K) int8: 1, -1, or 0: not used by that class."""

    features: NDArray[np.floating]
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
class Moves:
    """Pooled regions (N, D) that hold an object, the object's class (N,), and how to move onto it (N, 4)."""

    features: NDArray[np.floating]
    labels: NDArray[np.int64]
    deltas: NDArray[np.float64]


@dataclass(frozen=True)
class Shares:
    """How much is taken of what an image gives, so that thousands of images give as many rows as some hundred.

    Args:
        regions: of its regions, in 0..1. objects: of its objects, by class, in 0..1; all of a class that is not named.
    """

    regions: float = 1.0
    objects: Mapping[str, float] = field(default_factory=dict)


ALL: Final = Shares()


def shares_of(images: Sequence[ImageLabels], names: Sequence[str], settings: Settings) -> Shares:
    """Return how much is taken of what each of some images gives: all, until there are many of them, or objects."""
    objects = Counter(name for labels in images for name in labels.classes)
    many = [name for name in names if settings.sampled and objects[name] > MOST_OBJECTS]
    return Shares(min(1.0, FULL_SHARES / len(images)), {name: MOST_OBJECTS / objects[name] for name in many})


def variety_of(images: Sequence[ImageLabels], names: Sequence[str]) -> float:
    """Return how often two objects are of different classes, in 0..1: 0 of one class, 5/6 of six that are as many."""
    objects = Counter(name for labels in images for name in labels.classes if name in names)
    return 1 - sum(count**2 for count in objects.values()) / objects.total() ** 2 if objects else 0.0


def taken(share: float, count: int, rng: np.random.Generator) -> int:
    """Return a share of a number as a whole number, right on average: of one region in ten images, one now and then."""
    return count if share == 1 else int(share * count + rng.random())


def draw_examples(
    maps: Maps,
    regions: Boxes,
    labels: ImageLabels,
    names: Sequence[str],
    *,
    levels: Sequence[int],
    rng: np.random.Generator,
    shares: Shares = ALL,
    settings: Settings = OURS,
) -> tuple[Examples, Moves]:
    """Pool the ground truth, regions that hold it well or partly, and a sample of the background.

    Args:
        maps: of the image. regions: (R, 4) that were proposed. labels: checked, of no other classes than ``names``.
        levels: bins per side of each level of the pyramid. rng: of the choice among regions. shares: that are taken.
    Returns:
        The examples, objects first, and what box regression learns from.
    """
    ground_truth = labels.boxes[labels.counted]
    objects = labels.indices(names)[labels.counted]
    best, targets = labels.overlaps(regions, names, settings)

    def drawn(among: NDArray[np.bool_], count: int, share: float = shares.regions) -> NDArray[np.int64]:
        return np.sort(rng.permutation(np.flatnonzero(among))[: taken(share, count, rng)])

    # By class: an image may hold a dozen objects of one class and a single one of another.
    chosen = np.concatenate(
        [
            *(drawn(targets[:, label] == 1, POSITIVES) for label in np.unique(objects)),
            drawn(best < settings.negative_iou, NEGATIVES),
            drawn((best >= NEAR_IOU) & (best < settings.negative_iou), NEAR_NEGATIVES),
        ]
    )
    near = regions[best >= settings.regression_iou]
    nearest = iou(near, ground_truth).argmax(axis=1) if len(near) else np.zeros(0, dtype=np.int64)
    held = objects[nearest]
    most = REGRESSED if settings.sampled else EVERY
    moved = np.concatenate([drawn(held == label, most) for label in np.unique(objects)] or [nearest])
    _, ground_truth_targets = labels.overlaps(ground_truth, names, settings)
    ground_truth_targets[np.arange(len(ground_truth)), objects] = 1
    boxed = np.arange(len(objects))
    for label, share in ((names.index(name), share) for name, share in shares.objects.items() if share < 1):
        mine = objects[boxed] == label
        boxed = np.sort(np.concatenate([boxed[~mine], boxed[drawn(mine, int(mine.sum()), share)]]))
    sampled = np.concatenate([ground_truth[boxed], regions[chosen]])
    examples = Examples(
        maps.pool(sampled, levels).cpu().numpy(),
        np.concatenate([ground_truth_targets[boxed], targets[chosen]]),
        sampled,
    )
    placed = maps.pooled_maps.pool(near[moved], levels).cpu().numpy()
    return examples, Moves(placed, held[moved], box_deltas(near[moved], ground_truth[nearest[moved]]))


def hard_negatives(
    maps: Maps,
    regions: Boxes,
    scores: NDArray[np.float32],
    labels: ImageLabels,
    names: Sequence[str],
    *,
    levels: Sequence[int],
    most: int = HARD_NEGATIVES,
    settings: Settings = OURS,
) -> Examples:
    """Pool the negatives that a head scores above its margin, the worst first, near-duplicates dropped.

    Args:
        maps: of the image. regions: (R, 4) that were proposed. scores: (R, K) of them by a head.
        labels: checked. names: the head's classes, in its order. levels: bins per side of each level of the pyramid.
        most: of a class, unless settings take every one.
    """
    _, targets = labels.overlaps(regions, names, settings)
    wrong = np.zeros_like(targets)
    most = most if settings.sampled else EVERY
    for label in range(scores.shape[1]):
        found = np.flatnonzero((targets[:, label] == -1) & (scores[:, label] > settings.margin))
        found = found[nms(regions[found], scores[found, label], settings.duplicate_iou)]
        wrong[found[:most], label] = -1
    chosen = np.flatnonzero(wrong.any(axis=1))
    return Examples(maps.pool(regions[chosen], levels).cpu().numpy(), wrong[chosen], regions[chosen])


def rejected_examples(maps: Maps, regions: Boxes, labels: ImageLabels, *, levels: Sequence[int]) -> Examples:
    """Pool what was rejected, and regions so near that they show the same mistake; targets of ``rejected_names``."""
    names = rejected_names(labels)
    chosen, owners = [no_boxes()], []
    for box, name in zip(labels.rejected, labels.rejected_classes, strict=True):
        overlap = iou(box[None], regions)[0]
        near = np.argsort(-overlap, kind="stable")[:NEAREST_REGIONS]
        same = np.concatenate([box[None], regions[near[overlap[near] >= REJECTED_IOU]]])
        same = same[best_iou(same, labels.boxes[labels.of(name)]) < OURS.negative_iou]
        chosen.append(same)
        owners += [names.index(name)] * len(same)
    places = np.concatenate(chosen)
    targets = -(np.array(owners, dtype=np.int64)[:, None] == np.arange(len(names))).astype(np.int8)
    return Examples(maps.pool(places, levels).cpu().numpy(), targets, places)


def rejected_names(labels: ImageLabels) -> tuple[str, ...]:
    """Return the classes that something was rejected of, each once, in one order."""
    return tuple(sorted(set(labels.rejected_classes)))


def examples_per_image(classes: int) -> int:
    """Return about how many pooled regions are held of each image."""
    return (POSITIVES + REGRESSED) * min(classes, 2) + NEGATIVES + NEAR_NEGATIVES + HARD_NEGATIVES * classes // 2


def scene_of(sample: Sample, encoder: MapsEncoder) -> Scene:
    """Return an image of a data set as proposal methods see it: one in memory goes by what its path says."""
    return Scene(sample.source, encoder, name=sample.path.as_posix())


def labels_of(sample: Sample, classes: Sequence[str]) -> ImageLabels:
    """Return what a data set says of one image: all of its objects are boxed."""
    names = tuple(classes[label] for label in sample.labels)
    return ImageLabels(sample.boxes, names, sample.difficult | sample.crowd)


@dataclass(frozen=True)
class LabelledImage:
    """One training image.

    Args:
        load: returns its maps and its regions (R, 4). labels: checked.
    """

    load: Callable[[], tuple[Maps, Boxes]]
    labels: ImageLabels


def labelled_images(data: DetectionData, encoder: MapsEncoder, proposals: Proposals) -> list[LabelledImage]:
    """Return a data set's images; maps and regions are loaded when asked for."""

    def load(sample: Sample) -> tuple[Maps, Boxes]:
        scene = scene_of(sample, encoder)
        return scene.maps, scene.maps.unique(proposals.regions(scene))

    return [LabelledImage(partial(load, sample), labels_of(sample, data.classes)) for sample in data.samples]
