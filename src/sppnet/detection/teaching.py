"""Teaching a detector image by image: after each change of a label it has learnt again within a second.

``Detector.fit`` goes twice over all images. ``Teacher`` keeps what came of each image (pooled examples, hard
negatives, examples of box regression) and makes anew only what a change touches; the SVM starts from the last
solution. What comes out is the same ``Detector``, learnt by the same steps of ``region_head``.

What is not boxed is background only where a person said so. In an image that is not ``complete``, a region serves as
a negative if it is centred in a box that was drawn, yet overlaps no object of its class by ``negative_iou`` (badly
placed, on an object that is known); if it was rejected; or if the detector learnt so far scores it below ``SURE`` and
lower than half of the image's regions. All else is left out, and looked at again as the detector gets better.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from sppnet.detection.detections import Detections
from sppnet.detection.detector import LEVELS, Detector
from sppnet.detection.examples import Image, Kept, Matrix, Moved, Taught, no_boxes
from sppnet.detection.head import (
    Examples,
    LabelledImage,
    RegionHead,
    Regressed,
    first_examples,
    hard_negatives,
    train_on,
)
from sppnet.detection.settings import OURS
from sppnet.errors import ArgumentError, DataError, message
from sppnet.evaluation.matching import match
from sppnet.features.encoder import Encoder
from sppnet.features.maps import Maps
from sppnet.geometry import Boxes, check_boxes, iou
from sppnet.images import read_size
from sppnet.learning.ridge import RidgeSums, ridge
from sppnet.learning.svm import LinearSvm
from sppnet.ops import bins
from sppnet.progress import Progress, silent
from sppnet.proposals.grid import SHARE, GridProposals, fitting_shapes
from sppnet.proposals.protocol import covered
from sppnet.storage import TensorCache

SURE: Final = -0.5  # below this score a region of an image with objects that nobody boxed is background
OTHERS: Final = 2  # images that are mined again at each learning beside those that changed
SAME_IOU: Final = 0.7  # regions this near a rejected one show the same mistake
SAME: Final = 10  # of them are taken
TOLERANCE: Final = 1e-2  # of the SVMs: a tenth of what a region's score changes by from cell to cell, and seen at once
SCALE_DRIFT: Final = 0.02  # the features' scale follows their mean length only when that moved so far
FOUND_IOU: Final = 0.5  # from this overlap a detection is right


class Teacher:
    """Keeps what a person says of images, and learns a detector of it again in a fraction of a second.

    The same sequence of calls gives the same bits. ``prepare`` may be called from any thread at any time; all other
    methods wait for each other, so call them from one thread. The detectors that ``learn`` returned never change,
    and any thread may ask them.

    Args:
        cache: where feature maps are kept; what is prepared there costs milliseconds.
        short_side: images are scaled to this shorter side; see ``usual_short_side``.
        layer: the feature map that regions are pooled from, see ``EfficientNetLite0``.
        levels: bins per side of each level of the pyramid.
        seed: of the choice among training regions.
    """

    def __init__(
        self,
        *,
        cache: TensorCache | None,
        short_side: int = 480,
        layer: str = "stride8",
        levels: Sequence[int] = LEVELS,
        seed: int = 0,
    ) -> None:
        self.encoder, self.levels, self.seed = Encoder(layer, short_side, cache=cache), tuple(levels), seed
        self._grid = GridProposals((), short_side)
        self._matrix = Matrix(self.encoder.channels * bins(self.levels))
        self._images: dict[Path, Image] = {}
        self._head: RegionHead | None = None
        self._classes: tuple[str, ...] = ()
        self._duals: dict[str, NDArray[np.float32]] = {}
        self._scale = 0.0
        self._deltas: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._sums: dict[str, RidgeSums] = {}
        self._turn = 0
        self._lock = threading.RLock()

    @property
    def images(self) -> tuple[Path, ...]:
        """The images that something was said about, in the order in which it was said first."""
        return tuple(self._images)

    # Being told

    def prepare(self, path: Path) -> None:
        """Compute and cache the feature map of an image, which is what takes long; from any thread."""
        if not self.encoder.is_cached(path):
            self.encoder(path)

    def update(self, taught: Taught) -> None:
        """Take in what is now said of one image, in place of what was said of it before.

        Raises:
            ImageDecodeError: an image that cannot be read. BoxError: naming the row of a box outside the image.
        """
        with self._lock:
            size = read_size(taught.path)
            boxes = check_boxes("Teacher.update", taught.boxes, size)
            rejected = check_boxes("Teacher.update", taught.rejected, size)
            complete = taught.complete
            checked = Taught(taught.path, boxes, taught.classes, rejected, taught.rejected_classes, complete)
            before = self._images.get(taught.path)
            if before is not None:
                self._drop(before)
            image = Image(checked, size)
            self._images[taught.path] = image
            self._extend_grid()
            self._sample(image)

    def forget(self, path: Path) -> None:
        """Drop all that was said of an image; nothing happens if nothing was."""
        with self._lock:
            image = self._images.pop(path, None)
            if image is not None:
                self._drop(image)

    def _drop(self, image: Image) -> None:
        for group in image.groups:
            self._release(group.rows)
        self._forget_moves(image)

    def _forget_moves(self, image: Image) -> None:
        for name, moved in image.moved.items():
            self._deltas.pop(name, None)
            if name in self._sums:
                self._sums[name].add(moved.features.astype(np.float32), moved.deltas, sign=-1)
        image.moved = {}

    def _keep_moves(self, image: Image, regressed: Regressed) -> None:
        self._forget_moves(image)
        for label, name in enumerate(image.names):
            mine = regressed.labels == label
            if mine.any():
                image.moved[name] = Moved(regressed.features[mine].astype(np.float16), regressed.deltas[mine])
                self._deltas.pop(name, None)
                if name in self._sums:
                    self._sums[name].add(regressed.features[mine], regressed.deltas[mine])

    def _release(self, *groups: NDArray[np.int64]) -> None:
        for rows in groups:
            self._matrix.drop(rows)
            for duals in self._duals.values():
                duals[rows[rows < len(duals)]] = 0

    def _extend_grid(self) -> None:
        """Add shapes for boxes that no region of the grid overlaps enough, once they are a share of their class."""
        images = self._images.values()
        names = sorted({name for image in images for name in image.taught.classes})
        missed, labels = [], []
        for label, name in enumerate(names):
            boxes = np.concatenate([self._missed(image)[image.of(name)] for image in images])
            unreached = boxes[~np.isnan(boxes[:, 0])]
            if len(unreached) > SHARE * len(boxes):
                missed.append(unreached)
                labels.append(np.full(len(unreached), label))
        if missed:
            shapes = fitting_shapes(np.concatenate(missed), np.concatenate(labels))
            self._grid = GridProposals(tuple(sorted({*self._grid.shapes, *shapes})), self._grid.short_side)
            for image in images:
                image.missed = None

    def _missed(self, image: Image) -> Boxes:
        """Return the boxes (N, 4), in pixels of the scaled image; NaN for those that some region overlaps enough."""
        if image.missed is None:
            boxes = image.taught.boxes
            found = covered(self._grid.regions(image.size), boxes, threshold=OURS.regression_iou)
            scaled = boxes * (self._grid.short_side / min(image.size))
            image.missed = np.where(found[:, None], np.nan, scaled)
        return image.missed

    def _sample(self, image: Image) -> None:
        """Choose and pool the image's examples, all but the hard negatives."""
        # Classes that the head knows have a column of their own: only of them can it say what is background.
        names = (*image.names, *(name for name in self._classes if name not in image.names))
        index = list(self._images).index(image.taught.path)
        rng = np.random.default_rng((self.seed, index))
        labelled = self._labelled(image, names)
        examples, regressed = first_examples(labelled, len(names), self.levels, rng)
        self._keep_moves(image, regressed)
        sure = image.taught.complete | image.centred(examples.regions)
        rows = self._matrix.keep(examples.features)
        image.drawn = Kept(rows, examples.regions, names, examples.targets, -sure.astype(np.int8))
        if len(image.taught.rejected):
            image.rejected = self._sample_rejected(image)

    def _sample_rejected(self, image: Image) -> Kept:
        """Pool what was rejected, and regions so near that they show the same mistake."""
        feature_map = self.encoder(image.taught.path)
        regions = feature_map.unique(self._grid.regions(image.size))
        names = tuple(sorted(set(image.taught.rejected_classes)))
        chosen, owners = [no_boxes()], []
        for box, name in zip(image.taught.rejected, image.taught.rejected_classes, strict=True):
            overlap = iou(box[None], regions)[0]
            near = np.argsort(-overlap, kind="stable")[:SAME]
            same = np.concatenate([box[None], regions[near[overlap[near] >= SAME_IOU]]])
            same = same[iou(same, image.taught.boxes[image.of(name)]).max(axis=1, initial=0.0) < OURS.negative_iou]
            chosen.append(same)
            owners += [names.index(name)] * len(same)
        places = np.concatenate(chosen)
        targets = -(np.array(owners, dtype=np.int64)[:, None] == np.arange(len(names))).astype(np.int8)
        rows = self._matrix.keep(feature_map.pool(places, self.levels).numpy())
        return Kept(rows, places, names, targets, np.zeros(len(rows), dtype=np.int8))

    def _labelled(self, image: Image, names: Sequence[str]) -> LabelledImage:
        taught = image.taught

        def load() -> tuple[Maps, Boxes]:
            feature_map = self.encoder(taught.path)
            regions = feature_map.unique(self._grid.regions(image.size))
            return feature_map, regions if taught.complete else regions[self._known(image, feature_map, regions)]

        labels = np.array([names.index(name) for name in taught.classes], dtype=np.int64)
        return LabelledImage(load, taught.boxes, labels, np.zeros(len(labels), dtype=np.bool_))

    def _known(self, image: Image, feature_map: Maps, regions: Boxes) -> NDArray[np.bool_]:
        """Tell which regions of an image with objects that nobody boxed may serve as examples."""
        known = image.centred(regions)
        if self._head is None:
            return known
        best = self._head.scores(feature_map, regions).max(axis=1)
        known |= (best < SURE) & (best <= np.median(best))
        return known

    # Learning

    def learn(self, classes: Sequence[str], *, progress: Progress = silent) -> Detector:
        """Learn from all that was said.

        Args:
            classes: names, in the order of the detector's classes; what was said of other ones is left out.
            progress: wraps the passes over images, given their name.
        Returns:
            A detector of its own; a class without a box is untrained.
        Raises:
            DataError: no box of any of the classes. ArgumentError: a class named twice, or none.
        """
        with self._lock:
            names = tuple(classes)
            if not names or len(set(names)) < len(names):
                advice = "Name each class once"
                raise ArgumentError(message("Teacher.learn", "classes", "different names", list(names), advice))
            if not any(name in image.taught.classes for image in self._images.values() for name in names):
                raise DataError(f"Teacher.learn: no object of {', '.join(names)} is boxed. Draw a box first.")
            self._rescale()
            # What the last detector finds is what the person saw. Only the first has to be learnt to be mined with.
            head = self._head if self._head is not None and self._classes == names else self._solve(names)
            for path in progress("Mining hard negatives", self._due()):
                self._mine(self._images[path], head)
            head = self._solve(names)
            return Detector.of_parts(self.encoder, self._grid, head, names, seed=self.seed)

    def _rescale(self) -> None:
        rows = np.concatenate([each.drawn.rows for each in self._images.values() if each.drawn is not None])
        wanted = OURS.mean_norm / max(float(self._matrix.lengths[rows].mean()), 1e-12)
        if abs(wanted - self._scale) > SCALE_DRIFT * wanted:
            self._scale = wanted
            self._deltas.clear()

    def _solve(self, names: tuple[str, ...]) -> RegionHead:
        """Train the SVMs from their last solution on all that is kept."""
        svm = self._trained(names, self._images.values())
        self._duals = {name: svm.duals[:, label].copy() for label, name in enumerate(names)}
        weights, bias = (torch.stack(part) for part in zip(*map(self._moves, names), strict=True))
        self._classes, self._head = names, RegionHead(self.levels, svm.weights, svm.bias, weights, bias)
        return self._head

    def _trained(self, names: tuple[str, ...], images: Iterable[Image]) -> LinearSvm:
        used = len(self._matrix.values)
        targets, duals = np.zeros((used, len(names)), dtype=np.int8), np.zeros((used, len(names)), dtype=np.float32)
        for image in images:
            for group in image.groups:
                targets[group.rows] = np.stack([group.target(name) for name in names], axis=1)
        for label, name in enumerate(names):
            known = self._duals.get(name, duals[:0, label])
            duals[: len(known), label] = known
        start = LinearSvm(torch.zeros(0), torch.zeros(0), duals)
        return train_on(
            Examples(self._matrix.values, targets, no_boxes()), scale=self._scale, start=start, tolerance=TOLERANCE
        )

    def _moves(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the class's box regression, (4, D) and (4,), learnt again if its examples changed.

        Few examples are solved for among themselves, many by sums that changes are added to.
        """
        if name not in self._deltas:
            width = self._matrix.values.shape[1]
            parts = [image.moved[name] for image in self._images.values() if name in image.moved]
            count, penalty = sum(len(part.deltas) for part in parts), OURS.ridge / self._scale**2
            if name not in self._sums and count > width / 2:
                self._sums[name] = RidgeSums(width, 4)
                for part in parts:
                    self._sums[name].add(part.features.astype(np.float32), part.deltas)
            if count == 0:
                self._deltas[name] = torch.zeros(4, width), torch.zeros(4)
            elif name in self._sums:
                weights, constant = self._sums[name].solve(penalty=penalty)
                self._deltas[name] = torch.from_numpy(weights), torch.from_numpy(constant)
            else:
                features, deltas = (np.concatenate(part) for part in zip(*parts, strict=True))
                weights, constant = ridge(features.astype(np.float32), deltas, penalty=penalty)
                self._deltas[name] = torch.from_numpy(weights), torch.from_numpy(constant)
        return self._deltas[name]

    def _due(self) -> list[Path]:
        """Return the images to mine: those that changed, and some others in turn."""
        changed = [path for path, image in self._images.items() if image.changed]
        others = [path for path, image in self._images.items() if not image.changed]
        turn = self._turn % len(others) if others else 0
        in_turn = (others[turn:] + others[:turn])[:OTHERS]
        self._turn = turn + len(in_turn)
        return changed + in_turn

    def _mine(self, image: Image, head: RegionHead) -> None:
        """Look for hard negatives, near none that are kept; of those, drop the ones that no longer matter."""
        if not image.taught.complete:
            self._release(*(group.rows for group in (image.drawn, image.rejected) if group is not None))
            self._sample(image)
        image.hard = tuple(self._mattering(group) for group in image.hard)
        known = np.concatenate([no_boxes(), *(group.regions for group in image.hard)])
        names = (*self._classes, *(name for name in image.names if name not in self._classes))
        labelled = self._labelled(image, names)

        def load() -> tuple[Maps, Boxes]:
            feature_map, regions = labelled.load()
            return feature_map, regions[iou(regions, known).max(axis=1, initial=0.0) < OURS.duplicate_iou]

        found = hard_negatives(replace(labelled, load=load), head)
        _, targets = labelled.overlaps(found.regions, len(names))
        sure = image.taught.complete | image.centred(found.regions)
        rows = self._matrix.keep(found.features)
        hard = Kept(rows, found.regions, names, np.minimum(targets, 0), -sure.astype(np.int8))
        image.hard, image.changed = (*image.hard, hard), False

    def _mattering(self, group: Kept) -> Kept:
        """Return the examples that have a part in some class's weights, and drop all other ones."""
        matters = np.zeros(len(group.rows), dtype=np.bool_)
        for duals in self._duals.values():
            matters |= duals[group.rows] != 0
        self._release(group.rows[~matters])
        return group.only(matters)

    # Looking ahead

    def suggest_order(self, found: Mapping[Path, Detections]) -> tuple[Path, ...]:
        """Order images by what a person's word on them would teach: the least certain and most surprising first.

        An image is uncertain by its detections near the threshold, each counted by how near, and surprising by
        how far its counts are from those of all images.

        Args:
            found: what ``detect`` of one detector gave for each image.
        Returns:
            The images that nothing was said of; of equal ones, in the order given.
        """
        told = set(self._images)
        counts = np.array([list(each.above(0).counts().values()) for each in found.values()], dtype=np.float64)
        doubt = np.array([np.clip(1 - np.abs(each.scores), 0, None).sum() for each in found.values()])
        if not len(counts):
            return ()
        usual = np.median(counts, axis=0)
        surprise = (np.abs(counts - usual) / np.sqrt(usual + 1)).sum(axis=1)
        worth = doubt / max(float(doubt.mean()), 1e-12) + surprise / max(float(surprise.mean()), 1e-12)
        order, paths = np.argsort(-worth, kind="stable"), list(found)
        return tuple(paths[place] for place in order if paths[place] not in told)

    def validate(self, classes: Sequence[str], *, folds: int = 5, progress: Progress = silent) -> "Validation":
        """Tell how good the detector is on images that it did not learn from, by cross-validation.

        The SVMs are learnt again without each fold's images, from the last solution, and detect in these. Box
        regressions are those of all images, and each image's hard negatives those found before: learning it
        all again would take minutes, and makes the figures no more than a little better than they are.

        Args:
            classes: as of the last ``learn``.
            folds: how many parts the images are split into, each in turn left out.
            progress: wraps the pass over the folds.
        Raises:
            DataError: nothing was learnt, or fewer than two images were told of.
        """
        with self._lock:
            names, images = tuple(classes), list(self._images.values())
            if self._head is None or names != self._classes or len(images) < 2:
                advice = "Label two images and learn first"
                raise DataError(f"Teacher.validate: needs two images and a detector of the same classes. {advice}.")
            judged = []
            for fold in progress("Validating", range(min(folds, len(images)))):
                kept = [image for place, image in enumerate(images) if place % folds != fold]
                svm = self._trained(names, kept)
                head = replace(self._head, weights=svm.weights, bias=svm.bias)
                detector = Detector.of_parts(self.encoder, self._grid, head, names, seed=self.seed)
                judged += [_judged(image, detector) for image in images[fold::folds]]
            labels, scores, right = (np.concatenate(part) for part in zip(*judged, strict=True))
            positives = [sum(int(image.of(name).sum()) for image in images) for name in names]
            return Validation(names, labels, scores, right, np.array(positives, dtype=np.int64))


@dataclass(frozen=True)
class Validation:
    """The detections of images that the detector did not learn from, and which of them are right.

    Of an image that is not complete only the right ones are held: nobody knows about the others.

    Args:
        classes: K names. labels: (N,) int64. scores: (N,) float32. right: (N,) bool. positives: (K,) objects to find.
    """

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    right: NDArray[np.bool_]
    positives: NDArray[np.int64]

    def precision(self, threshold: float = 0.0) -> NDArray[np.float64]:
        """Return the share (K,) of each class's detections from ``threshold`` up that are right; NaN without any."""
        return _shares(self._count(self.right, threshold), self._count(np.ones_like(self.right), threshold))

    def recall(self, threshold: float = 0.0) -> NDArray[np.float64]:
        """Return the share (K,) of each class's objects that are found from ``threshold`` up; NaN without any."""
        return _shares(self._count(self.right, threshold), self.positives)

    def _count(self, chosen: NDArray[np.bool_], threshold: float) -> NDArray[np.int64]:
        labels = self.labels[chosen & (self.scores >= threshold)]
        counts: NDArray[np.int64] = np.bincount(labels, minlength=len(self.classes))
        return counts


def _judged(image: Image, detector: Detector) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
    found = detector.detect(image.taught.path)
    right = np.zeros(len(found), dtype=np.bool_)
    for label, name in enumerate(detector.classes):
        mine, boxes = np.flatnonzero(found.labels == label), image.taught.boxes[image.of(name)]
        ignored = np.zeros(len(boxes), dtype=np.bool_)
        right[mine] = match(found.boxes[mine], boxes, ignored=ignored, iou=FOUND_IOU) == 1
    held = right | image.taught.complete
    return found.labels[held], found.scores[held], right[held]


def _shares(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return shares
