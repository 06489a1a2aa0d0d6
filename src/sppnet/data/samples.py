"""What every layout is read into: typed samples, which can be counted, indexed, cut and put together."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from sppnet.data.parting import compiled, group_of, part
from sppnet.data.problems import Problem
from sppnet.errors import check_that
from sppnet.geometry import Boxes, Size, check_boxes
from sppnet.images import Source, as_source, image_digest, read_size

ALL: Final = "all"  # the name of every image together
OnBad = Literal["fail", "skip"]
Outline = tuple[NDArray[np.float64], ...]  # polygons of one object, each (K, 2) [x, y] in pixels, K at least 3


def check_on_bad(function: str, on_bad: OnBad) -> None:
    """Raise ArgumentError unless ``on_bad`` is "fail" or "skip"."""
    advice = "Stop at the first bad image, or leave bad images out"
    check_that(on_bad in ("fail", "skip"), function, "on_bad", "fail or skip", repr(on_bad), advice=advice)


@dataclass(frozen=True)
class Sample:
    """One image and the objects in it.

    Args:
        path: of the image; of one that lies in memory, what it goes by.
        boxes: (N, 4) float64 [left, top, right, bottom] in 0-based pixels, ends excluded, within the image.
        labels: (N,) int64, indices into the data's classes.
        difficult: (N,) bool: finding it is not asked for (VOC).
        crowd: (N,) bool: the box holds a crowd, not one object (COCO).
        size: (height, width) in pixels, as the image is seen.
        number: of the image in the data set's own file (COCO); None where it has none.
        pixels: (H, W, 3) uint8 RGB, or a file's bytes, of an image in memory; None where ``path`` is its file.
        outlines: the polygons that came with each of the N boxes, within the image, ``()`` for a box without; all of
            it ``()`` where no box has any. Nothing is learnt from them: they are kept, and written back.
    """

    path: Path
    boxes: Boxes
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    crowd: NDArray[np.bool_]
    size: Size
    number: int | None = None
    pixels: NDArray[np.uint8] | bytes | None = None
    outlines: tuple[Outline, ...] = ()

    @property
    def outlined(self) -> NDArray[np.bool_]:
        """Which boxes have an outline, (N,) bool."""
        return np.array([bool(each) for each in self.all_outlines], dtype=np.bool_)

    @property
    def all_outlines(self) -> tuple[Outline, ...]:
        """The outline of each of the N boxes, ``()`` for one without."""
        return self.outlines or ((),) * len(self.boxes)

    @property
    def source(self) -> Source:
        """What ``images.read_image`` reads: the pixels in memory, or the path."""
        return self.path if self.pixels is None else self.pixels


@dataclass(frozen=True)
class DetectionData:
    """Images with boxes, in a stable order.

    Args:
        root: the data set's folder. classes: names, in the order of the labels.
        samples: the usable images. problems: what was left out, and what is worth knowing.
        name: of the split, "all" when every image was asked for.
        numbers: of the classes that the data set's own file numbers (COCO), by name.
        layout: that was read, such as "voc"; "" of what lies in memory, or was put together of several.
    """

    root: Path
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...]
    name: str
    numbers: Mapping[str, int] = field(default_factory=dict)
    layout: str = ""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths of the images."""
        return tuple(sample.path for sample in self.samples)

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.samples)

    def counts(self) -> Counter[str]:
        """Return how many objects of each class there are; a crowd is none."""
        return Counter(self.classes[k] for each in self.samples for k in each.labels[~each.crowd].tolist())

    def examples(self) -> Counter[str]:
        """Return how many objects of each class can be learnt from: neither crowds nor difficult ones can."""
        learnt = ((each, ~each.crowd & ~each.difficult) for each in self.samples)
        return Counter(self.classes[k] for each, kept in learnt for k in each.labels[kept].tolist())

    def crowds(self) -> Counter[str]:
        """Return how many boxes of each class are crowds."""
        return Counter(self.classes[k] for each in self.samples for k in each.labels[each.crowd].tolist())

    def lacks(self) -> tuple[str, str] | None:
        """Return what is missing of these images for anything to be learnt from them, and its code; None: nothing."""
        number = sum(len(sample.boxes) for sample in self.samples)
        if not number:
            return f"holds no box in {len(self)} images", "no-objects"
        if all(sample.crowd.all() for sample in self.samples):
            return f"has {number} boxes, all marked as crowds (iscrowd), which are not learnt from", "only-crowds"
        return None

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @classmethod
    def from_arrays(
        cls, images: Sequence[Any], targets: Sequence[Mapping[str, Any]], classes: Sequence[str] | None = None
    ) -> "DetectionData":
        """Make data of images and boxes in memory, as torchvision's data sets have them.

        Args:
            images: paths, files' bytes, PIL images, arrays (H, W, 3) uint8 or tensors (3, H, W).
            targets: for each image "boxes", (N, 4) left, top, right, bottom in pixels, ends excluded, and "labels",
                (N,) indices into ``classes`` or names; "difficult" and "iscrowd", (N,) bool, if there are any.
            classes: names; None: the names that are used, sorted.
        Returns:
            DetectionData, in the order given; boxes are cut to their image.
        Raises:
            ArgumentError: another number of targets, boxes of another shape, empty or outside, a label without name.
        """
        advice = "Give one target an image"
        check_that(
            len(images) == len(targets),
            "from_arrays",
            "targets",
            f"{len(images)}, one an image",
            len(targets),
            advice=advice,
        )
        for place, target in enumerate(targets):
            _check_target(f"targets[{place}]", target)
        names, numbers = _numbered("from_arrays", [_list_of(target["labels"]) for target in targets], classes)
        rows = enumerate(zip(map(as_source, images), targets, numbers, strict=True))
        samples = [_in_memory(place, source, target, mine) for place, (source, target, mine) in rows]
        return cls(Path(), names, tuple(samples), (), "all")

    def split(self, share: float, seed: int = 0, *, groups: str | None = None) -> "tuple[DetectionData, DetectionData]":
        """Part the images at random: classes keep their shares, and frames of one video stay together.

        Args:
            share: of the images, for the second part. seed: of the choice.
            groups: a pattern whose first group, in an image's path, names what must stay together.
        Returns:
            The larger part, named "train", and the smaller, "val".
        Raises:
            ArgumentError: a share that is not between 0 and 1, too few images.
        """
        return _split(self, [Counter(sample.labels.tolist()) for sample in self.samples], share, seed, groups)

    def subset(self, indices: Sequence[int]) -> "DetectionData":
        """Return the images of these indices, in this order; the problems stay with the whole."""
        return replace(self, samples=tuple(self.samples[index] for index in indices), problems=())

    def only(self, classes: Sequence[str]) -> "DetectionData":
        """Return the same images with the objects of these classes alone, in their order."""
        samples = []
        for each in self.samples:
            kept = np.array([self.classes[label] in classes for label in each.labels], dtype=np.bool_)
            fields = {key: getattr(each, key)[kept] for key in ("boxes", "labels", "difficult", "crowd")}
            outlines = tuple(itertools.compress(each.outlines, kept))
            samples.append(replace(each, **fields, outlines=outlines if any(outlines) else ()))
        return replace(self, samples=tuple(samples)).relabelled(classes)

    def relabelled(self, classes: Sequence[str]) -> "DetectionData":
        """Return the same objects with labels into another list of classes, which holds all that are used."""
        place = np.array([classes.index(name) if name in classes else -1 for name in self.classes], dtype=np.int64)
        samples = tuple(replace(each, labels=place[each.labels]) for each in self.samples)
        return replace(self, classes=tuple(classes), samples=samples)

    def merge(self, *others: "DetectionData") -> "DetectionData":
        """Put data sets together: an image that several hold counts once, the classes are those of all, sorted."""
        parts = (self, *others)
        classes = sorted({name for each in parts for name in each.classes})
        unique: dict[tuple[Path, int], Sample] = {}
        for sample in (sample for each in parts for sample in each.relabelled(classes).samples):
            unique.setdefault((sample.path, 0 if sample.pixels is None else id(sample.pixels)), sample)
        numbered = all(each.numbers == self.numbers for each in parts) and len({each.name for each in parts}) == 1
        samples = tuple(unique.values()) if numbered else tuple(replace(each, number=None) for each in unique.values())
        problems = tuple(dict.fromkeys(problem for each in parts for problem in each.problems))
        name = "+".join(dict.fromkeys(each.name for each in parts))
        numbers = self.numbers if numbered else {}
        layout = self.layout if len({each.layout for each in parts}) == 1 else ""
        return DetectionData(self.root, tuple(classes), samples, problems, name, numbers, layout)


def as_detection_data(
    data: DetectionData | Sequence[Any], targets: Sequence[Mapping[str, Any]] | None, classes: Sequence[str] | None
) -> DetectionData:
    """Return data as it is, or what ``DetectionData.from_arrays`` makes of images and their targets."""
    if targets is not None:
        return DetectionData.from_arrays(cast(Sequence[Any], data), targets, classes)
    expected, advice = "a data set, or images with their targets", "Give load_detection(folder), or targets too"
    fits = isinstance(data, DetectionData) and classes is None
    check_that(fits, "Detector.fit", "data", expected, type(data).__name__, advice=advice)
    return cast(DetectionData, data)


@dataclass(frozen=True)
class FolderData:
    """Images with one label each, in a stable order.

    Args:
        root: the data set's folder. classes: names, in the order of the labels.
        paths: of the N images. labels: (N,) int64, indices into ``classes``.
        problems: what was left out, and classes without images.
        name: of the split, "all" when every image was asked for.
    """

    root: Path
    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    problems: tuple[Problem, ...]
    name: str = "all"

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.paths)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The images with boxes: none has any."""
        return ()

    def counts(self) -> Counter[str]:
        """Return how many images of each class there are."""
        return Counter(self.classes[label] for label in self.labels.tolist())

    def examples(self) -> Counter[str]:
        """Return how many images of each class can be learnt from: all."""
        return self.counts()

    def crowds(self) -> Counter[str]:
        """Return how many boxes of each class are crowds: none."""
        return Counter()

    def only(self, classes: Sequence[str]) -> "FolderData":
        """Return the images of these classes alone, the classes in their order."""
        kept = [index for index, label in enumerate(self.labels.tolist()) if self.classes[label] in classes]
        labels = np.array([classes.index(self.classes[self.labels[index]]) for index in kept], dtype=np.int64)
        paths = tuple(self.paths[index] for index in kept)
        return replace(self, classes=tuple(classes), paths=paths, labels=labels)

    def lacks(self) -> tuple[str, str] | None:
        """Return what is missing of these images for anything to be learnt from them, and its code; None: nothing."""
        return None if len(set(self.labels.tolist())) > 1 else ("holds images of one class only", "one-class")

    def __getitem__(self, index: int) -> tuple[Path, int]:
        return self.paths[index], int(self.labels[index])

    def __iter__(self) -> Iterator[tuple[Path, int]]:
        return iter(zip(self.paths, self.labels.tolist(), strict=True))

    def split(self, share: float, seed: int = 0, *, groups: str | None = None) -> tuple["FolderData", "FolderData"]:
        """Part the images at random: classes keep their shares, and frames of one video stay together.

        Args:
            share: of the images, for the second part. seed: of the choice.
            groups: a pattern whose first group, in an image's path, names what must stay together.
        Returns:
            The larger part, named "train", and the smaller, "val".
        Raises:
            ArgumentError: a share that is not between 0 and 1, too few images.
        """
        return _split(self, [{label: 1} for label in self.labels.tolist()], share, seed, groups)

    def subset(self, indices: Sequence[int]) -> "FolderData":
        """Return the images of these indices, in this order; the problems stay with the whole."""
        chosen = np.asarray(indices, dtype=np.int64)
        paths = tuple(self.paths[index] for index in chosen.tolist())
        return replace(self, paths=paths, labels=self.labels[chosen], problems=())

    def merge(self, *others: "FolderData") -> "FolderData":
        """Put data sets together: an image that several hold counts once, the classes are those of all, sorted."""
        parts = (self, *others)
        classes = tuple(sorted({name for each in parts for name in each.classes}))
        place = {name: index for index, name in enumerate(classes)}
        rows = {path: place[each.classes[label]] for each in reversed(parts) for path, label in each}
        ordered = dict.fromkeys(path for each in parts for path in each.paths)
        labels = np.array([rows[path] for path in ordered], dtype=np.int64)
        problems = tuple(dict.fromkeys(problem for each in parts for problem in each.problems))
        name = "+".join(dict.fromkeys(each.name for each in parts))
        return FolderData(self.root, classes, tuple(ordered), labels, problems, name)


_Data = TypeVar("_Data", DetectionData, FolderData)


def _split(
    data: _Data, counts: Sequence[Mapping[int, int]], share: float, seed: int, groups: str | None
) -> tuple[_Data, _Data]:
    """Part data whose images show so many objects of each class, ``counts``; see ``DetectionData.split``."""
    pattern = compiled(groups)
    chosen = part(counts, [group_of(path, pattern) for path in data.paths], share, seed)
    larger = data.subset([index for index, inside in enumerate(chosen) if not inside])
    smaller = data.subset([index for index, inside in enumerate(chosen) if inside])
    return replace(larger, name="train"), replace(smaller, name="val")


def as_labelled_images(
    data: FolderData | Sequence[Any], labels: Sequence[int | str] | None, classes: Sequence[str] | None
) -> tuple[list[Source], NDArray[np.int64], tuple[str, ...]]:
    """Return images, their labels (N,) and the names of the classes, of a data set or of images in memory.

    Args:
        data: a data set; or images: paths, files' bytes, PIL images, arrays (H, W, 3) uint8 or tensors (3, H, W).
        labels: of images, (N,) indices into ``classes`` or names. classes: names; None: those that are used, sorted.
    """
    if labels is None:
        expected, advice = "a data set, or images with their labels", "Give load_folders(folder), or labels too"
        fits = hasattr(data, "paths") and classes is None
        check_that(fits, "Classifier.fit", "data", expected, type(data).__name__, advice=advice)
        known = cast(FolderData, data)
        return list(known.paths), known.labels, known.classes
    images = [as_source(image) for image in cast(Sequence[Any], data)]
    names, numbers = _numbered("Classifier.fit", [[label] for label in _list_of(labels)], classes)
    expected, advice = f"{len(images)}, one an image", "Give one label an image"
    check_that(len(numbers) == len(images), "Classifier.fit", "labels", expected, len(numbers), advice=advice)
    return images, np.array(numbers, dtype=np.int64).reshape(-1), names


def _list_of(values: Any) -> list[Any]:
    return list(values.tolist() if hasattr(values, "tolist") else values)


def _numbered(
    function: str, labels: Sequence[Sequence[int | str]], classes: Sequence[str] | None
) -> tuple[tuple[str, ...], list[list[int]]]:
    """Return the names of the classes, and labels, which are names or numbers, as indices of them."""
    labels = [[label.item() if hasattr(label, "item") else label for label in mine] for mine in labels]
    each = [label for mine in labels for label in mine]
    others = sorted({type(label).__name__ for label in each if not isinstance(label, int | str)})
    check_that(
        not others, function, "labels", "names or whole numbers", ", ".join(others), advice="Number classes from 0"
    )
    used, numbers = {label for label in each if isinstance(label, str)}, {n for n in each if isinstance(n, int)}
    names = tuple(sorted(used) if classes is None else classes)
    if classes is None and not used:
        names = tuple(map(str, range(max(numbers, default=-1) + 1)))
    wrong = sorted({*used.difference(names), *(str(number) for number in numbers if not 0 <= number < len(names))})
    expected = f"of {', '.join(names)}, or places in these from 0"
    check_that(not wrong, function, "labels", expected, ", ".join(wrong), advice="Name the classes")
    return names, [[names.index(each) if isinstance(each, str) else each for each in mine] for mine in labels]


def _check_target(argument: str, target: Any) -> None:
    holds = isinstance(target, Mapping) and {"boxes", "labels"} <= target.keys()
    keys = isinstance(target, Mapping) and f"one with {', '.join(map(repr, target)) or 'nothing'}"
    got = keys or type(target).__name__
    advice = "Give {'boxes': [[left, top, right, bottom]], 'labels': ['cell']}, for one"
    check_that(holds, "from_arrays", argument, "a mapping with 'boxes' and 'labels'", got, advice=advice)


def _in_memory(place: int, source: Source, target: Mapping[str, Any], labels: Sequence[int]) -> Sample:
    boxes = np.asarray(_list_of(target["boxes"]), dtype=np.float64).reshape(-1, 4)
    expected = f"one for each of {len(labels)} labels"
    check_that(len(boxes) == len(labels), "from_arrays", "boxes", expected, len(boxes), advice="Pair them")
    size = read_size(source)
    nothing = [False] * len(labels)
    difficult, crowd = (
        np.asarray(_list_of(target.get(key, nothing)), dtype=np.bool_) for key in ("difficult", "iscrowd")
    )
    path = Path(source) if isinstance(source, str | Path) else Path(f"image {place}")
    return Sample(
        path=path,
        boxes=check_boxes(f"from_arrays, targets[{place}]", boxes, size),
        labels=np.asarray(labels, dtype=np.int64),
        difficult=difficult,
        crowd=crowd,
        size=size,
        pixels=None if isinstance(source, str | Path) else source,
    )


class Duplicate(NamedTuple):
    """One image that two splits hold, byte for byte."""

    split: str
    path: Path
    other_split: str
    other_path: Path


def duplicates(splits: Mapping[str, Sequence[Path]]) -> list[Duplicate]:
    """Find the images that lie in more than one split: measured on them, a model looks better than it is.

    Args:
        splits: the images of each split by its name.
    Returns:
        Each image that a split before has too, in the order of ``splits``, with the first of its like there.
    Raises:
        ImageDecodeError: a file that cannot be read.
    """
    digest = cache(image_digest)  # splits share files
    seen: dict[str, dict[str, Path]] = {}  # of each digest, the first image in each split
    twins: list[Duplicate] = []
    for split, paths in splits.items():
        for path in paths:
            firsts = seen.setdefault(digest(path), {})
            twins += [Duplicate(*first, split, path) for first in list(firsts.items())[:1] if first[0] != split]
            firsts.setdefault(split, path)
    return twins
