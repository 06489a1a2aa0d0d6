"""Teaching a detector picture by picture: after each change of a label it has learnt again within a second.

``Detector.fit`` goes twice over all pictures. ``Teacher`` keeps what came of each picture (pooled examples, hard
negatives, examples of box regression) and makes anew only what a change touches; the SVM starts from the last
solution. What comes out is the same ``Detector``, learnt by the same steps of ``region_head``.

What is not boxed is background only where a person said so. In a picture that is not ``complete``, a region serves as
a negative if it is centred in a box that was drawn, yet overlaps no object of its class by ``negative_iou`` (badly
placed, on an object that is known); if it was rejected; or if the detector learnt so far scores it below ``SURE`` and
lower than half of the picture's regions. All else is left out, and looked at again as the detector gets better.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from sppnet.detector import LEVELS, Detections, Detector
from sppnet.encoding import Encoder, Maps
from sppnet.errors import ArgumentError, DataError, message
from sppnet.examples import Kept, Matrix, Moved, Picture, Taught, no_boxes
from sppnet.geometry import Boxes, check_boxes, iou
from sppnet.images import read_size
from sppnet.metrics import match
from sppnet.ops import bins
from sppnet.procedure import OURS
from sppnet.progress import Progress, silent
from sppnet.proposals import SHARE, GridProposals, fitting_shapes, reached
from sppnet.region_head import (
    Examples,
    LabelledPicture,
    RegionHead,
    Regressed,
    first_examples,
    hard_negatives,
    train_on,
)
from sppnet.storage import TensorCache
from sppnet.svm import LinearSvm, RidgeSums, ridge

SURE: Final = -0.5  # below this score a region of a picture with objects that nobody boxed is background
OTHERS: Final = 2  # pictures that are mined again at each learning beside those that changed
SAME_IOU: Final = 0.7  # regions this near a rejected one show the same mistake
SAME: Final = 10  # of them are taken
TOLERANCE: Final = 1e-2  # of the SVMs: a tenth of what a region's score changes by from cell to cell, and seen at once
SCALE_DRIFT: Final = 0.02  # the features' scale follows their mean length only when that moved so far
FOUND_IOU: Final = 0.5  # from this overlap a detection is right


class Teacher:
    """Keeps what a person says of pictures, and learns a detector of it again in a fraction of a second.

    The same sequence of calls gives the same bits. ``prepare`` may be called from any thread at any time; all other
    methods wait for each other, so call them from one thread. The detectors that ``learn`` returned never change,
    and any thread may ask them.

    Args:
        cache: where feature maps are kept; what is prepared there costs milliseconds.
        short_side: pictures are scaled to this shorter side; see ``usual_short_side``.
        tap: the feature map that regions are pooled from, see ``EfficientNetLite0``.
        levels: bins per side of each level of the pyramid.
        seed: of the choice among training regions.
    """

    def __init__(
        self,
        *,
        cache: TensorCache | None,
        short_side: int = 480,
        tap: str = "stride8",
        levels: Sequence[int] = LEVELS,
        seed: int = 0,
    ) -> None:
        self.encoder, self.levels, self.seed = Encoder(tap, short_side, cache=cache), tuple(levels), seed
        self._grid = GridProposals((), short_side)
        self._matrix = Matrix(self.encoder.channels * bins(self.levels))
        self._pictures: dict[Path, Picture] = {}
        self._head: RegionHead | None = None
        self._classes: tuple[str, ...] = ()
        self._duals: dict[str, NDArray[np.float32]] = {}
        self._scale = 0.0
        self._deltas: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._sums: dict[str, RidgeSums] = {}
        self._turn = 0
        self._lock = threading.RLock()

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The pictures that something was said about, in the order in which it was said first."""
        return tuple(self._pictures)

    # Being told

    def prepare(self, path: Path) -> None:
        """Compute and cache the feature map of a picture, which is what takes long; from any thread."""
        if not self.encoder.is_cached(path):
            self.encoder(path)

    def update(self, taught: Taught) -> None:
        """Take in what is now said of one picture, in place of what was said of it before.

        Raises:
            ImageDecodeError: a picture that cannot be read. BoxError: naming the row of a box outside the picture.
        """
        with self._lock:
            size = read_size(taught.path)
            boxes = check_boxes("Teacher.update", taught.boxes, size)
            rejected = check_boxes("Teacher.update", taught.rejected, size)
            complete = taught.complete
            checked = Taught(taught.path, boxes, taught.classes, rejected, taught.rejected_classes, complete)
            before = self._pictures.get(taught.path)
            if before is not None:
                self._drop(before)
            picture = Picture(checked, size)
            self._pictures[taught.path] = picture
            self._extend_grid()
            self._sample(picture)

    def forget(self, path: Path) -> None:
        """Drop all that was said of a picture; nothing happens if nothing was."""
        with self._lock:
            picture = self._pictures.pop(path, None)
            if picture is not None:
                self._drop(picture)

    def _drop(self, picture: Picture) -> None:
        for group in picture.groups:
            self._release(group.rows)
        self._forget_moves(picture)

    def _forget_moves(self, picture: Picture) -> None:
        for name, moved in picture.moved.items():
            self._deltas.pop(name, None)
            if name in self._sums:
                self._sums[name].add(moved.features.astype(np.float32), moved.deltas, sign=-1)
        picture.moved = {}

    def _keep_moves(self, picture: Picture, regressed: Regressed) -> None:
        self._forget_moves(picture)
        for label, name in enumerate(picture.names):
            mine = regressed.labels == label
            if mine.any():
                picture.moved[name] = Moved(regressed.features[mine].astype(np.float16), regressed.deltas[mine])
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
        pictures = self._pictures.values()
        names = sorted({name for picture in pictures for name in picture.taught.classes})
        missed, labels = [], []
        for label, name in enumerate(names):
            boxes = np.concatenate([self._missed(picture)[picture.of(name)] for picture in pictures])
            unreached = boxes[~np.isnan(boxes[:, 0])]
            if len(unreached) > SHARE * len(boxes):
                missed.append(unreached)
                labels.append(np.full(len(unreached), label))
        if missed:
            shapes = fitting_shapes(np.concatenate(missed), np.concatenate(labels))
            self._grid = GridProposals(tuple(sorted({*self._grid.shapes, *shapes})), self._grid.short_side)
            for picture in pictures:
                picture.missed = None

    def _missed(self, picture: Picture) -> Boxes:
        """Return the boxes (N, 4), in pixels of the scaled picture; NaN for those that some region overlaps enough."""
        if picture.missed is None:
            boxes = picture.taught.boxes
            found = reached(self._grid.regions(picture.size), boxes, threshold=OURS.regression_iou)
            scaled = boxes * (self._grid.short_side / min(picture.size))
            picture.missed = np.where(found[:, None], np.nan, scaled)
        return picture.missed

    def _sample(self, picture: Picture) -> None:
        """Choose and pool the picture's examples, all but the hard negatives."""
        # Classes that the head knows have a column of their own: only of them can it say what is background.
        names = (*picture.names, *(name for name in self._classes if name not in picture.names))
        index = list(self._pictures).index(picture.taught.path)
        rng = np.random.default_rng((self.seed, index))
        labelled = self._labelled(picture, names)
        examples, regressed = first_examples(labelled, len(names), self.levels, rng)
        self._keep_moves(picture, regressed)
        sure = picture.taught.complete | picture.centred(examples.regions)
        rows = self._matrix.keep(examples.features)
        picture.drawn = Kept(rows, examples.regions, names, examples.targets, -sure.astype(np.int8))
        if len(picture.taught.rejected):
            picture.rejected = self._sample_rejected(picture)

    def _sample_rejected(self, picture: Picture) -> Kept:
        """Pool what was rejected, and regions so near that they show the same mistake."""
        feature_map = self.encoder(picture.taught.path)
        regions = feature_map.distinct(self._grid.regions(picture.size))
        names = tuple(sorted(set(picture.taught.rejected_classes)))
        chosen, owners = [no_boxes()], []
        for box, name in zip(picture.taught.rejected, picture.taught.rejected_classes, strict=True):
            overlap = iou(box[None], regions)[0]
            near = np.argsort(-overlap, kind="stable")[:SAME]
            same = np.concatenate([box[None], regions[near[overlap[near] >= SAME_IOU]]])
            same = same[iou(same, picture.taught.boxes[picture.of(name)]).max(axis=1, initial=0.0) < OURS.negative_iou]
            chosen.append(same)
            owners += [names.index(name)] * len(same)
        places = np.concatenate(chosen)
        targets = -(np.array(owners, dtype=np.int64)[:, None] == np.arange(len(names))).astype(np.int8)
        rows = self._matrix.keep(feature_map.pool(places, self.levels).numpy())
        return Kept(rows, places, names, targets, np.zeros(len(rows), dtype=np.int8))

    def _labelled(self, picture: Picture, names: Sequence[str]) -> LabelledPicture:
        taught = picture.taught

        def load() -> tuple[Maps, Boxes]:
            feature_map = self.encoder(taught.path)
            regions = feature_map.distinct(self._grid.regions(picture.size))
            return feature_map, regions if taught.complete else regions[self._known(picture, feature_map, regions)]

        labels = np.array([names.index(name) for name in taught.classes], dtype=np.int64)
        return LabelledPicture(load, taught.boxes, labels, np.zeros(len(labels), dtype=np.bool_))

    def _known(self, picture: Picture, feature_map: Maps, regions: Boxes) -> NDArray[np.bool_]:
        """Tell which regions of a picture with objects that nobody boxed may serve as examples."""
        known = picture.centred(regions)
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
            progress: wraps the passes over pictures, given their name.
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
            if not any(name in picture.taught.classes for picture in self._pictures.values() for name in names):
                raise DataError(f"Teacher.learn: no object of {', '.join(names)} is boxed. Draw a box first.")
            self._rescale()
            # What the last detector finds is what the person saw. Only the first has to be learnt to be mined with.
            head = self._head if self._head is not None and self._classes == names else self._solve(names)
            for path in progress("Mining hard negatives", self._due()):
                self._mine(self._pictures[path], head)
            head = self._solve(names)
            return Detector.of_parts(self.encoder, self._grid, head, names, seed=self.seed)

    def _rescale(self) -> None:
        rows = np.concatenate([each.drawn.rows for each in self._pictures.values() if each.drawn is not None])
        wanted = OURS.mean_norm / max(float(self._matrix.lengths[rows].mean()), 1e-12)
        if abs(wanted - self._scale) > SCALE_DRIFT * wanted:
            self._scale = wanted
            self._deltas.clear()

    def _solve(self, names: tuple[str, ...]) -> RegionHead:
        """Train the SVMs from their last solution on all that is kept."""
        svm = self._trained(names, self._pictures.values())
        self._duals = {name: svm.duals[:, label].copy() for label, name in enumerate(names)}
        weights, bias = (torch.stack(part) for part in zip(*map(self._moves, names), strict=True))
        self._classes, self._head = names, RegionHead(self.levels, svm.weights, svm.bias, weights, bias)
        return self._head

    def _trained(self, names: tuple[str, ...], pictures: Iterable[Picture]) -> LinearSvm:
        used = len(self._matrix.values)
        targets, duals = np.zeros((used, len(names)), dtype=np.int8), np.zeros((used, len(names)), dtype=np.float32)
        for picture in pictures:
            for group in picture.groups:
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
            parts = [picture.moved[name] for picture in self._pictures.values() if name in picture.moved]
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
        """Return the pictures to mine: those that changed, and some others in turn."""
        changed = [path for path, picture in self._pictures.items() if picture.changed]
        others = [path for path, picture in self._pictures.items() if not picture.changed]
        turn = self._turn % len(others) if others else 0
        in_turn = (others[turn:] + others[:turn])[:OTHERS]
        self._turn = turn + len(in_turn)
        return changed + in_turn

    def _mine(self, picture: Picture, head: RegionHead) -> None:
        """Look for hard negatives, near none that are kept; of those, drop the ones that no longer matter."""
        if not picture.taught.complete:
            self._release(*(group.rows for group in (picture.drawn, picture.rejected) if group is not None))
            self._sample(picture)
        picture.hard = tuple(self._mattering(group) for group in picture.hard)
        known = np.concatenate([no_boxes(), *(group.regions for group in picture.hard)])
        names = (*self._classes, *(name for name in picture.names if name not in self._classes))
        labelled = self._labelled(picture, names)

        def load() -> tuple[Maps, Boxes]:
            feature_map, regions = labelled.load()
            return feature_map, regions[iou(regions, known).max(axis=1, initial=0.0) < OURS.duplicate_iou]

        found = hard_negatives(replace(labelled, load=load), head)
        _, targets = labelled.overlaps(found.regions, len(names))
        sure = picture.taught.complete | picture.centred(found.regions)
        rows = self._matrix.keep(found.features)
        hard = Kept(rows, found.regions, names, np.minimum(targets, 0), -sure.astype(np.int8))
        picture.hard, picture.changed = (*picture.hard, hard), False

    def _mattering(self, group: Kept) -> Kept:
        """Return the examples that have a part in some class's weights, and drop all other ones."""
        matters = np.zeros(len(group.rows), dtype=np.bool_)
        for duals in self._duals.values():
            matters |= duals[group.rows] != 0
        self._release(group.rows[~matters])
        return group.only(matters)

    # Looking ahead

    def suggest_order(self, found: Mapping[Path, Detections]) -> tuple[Path, ...]:
        """Order pictures by what a person's word on them would teach: the least certain and most surprising first.

        A picture is uncertain by its detections near the threshold, each counted by how near, and surprising by
        how far its counts are from those of all pictures.

        Args:
            found: what ``detect`` of one detector gave for each picture.
        Returns:
            The pictures that nothing was said of; of equal ones, in the order given.
        """
        told = set(self._pictures)
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
        """Tell how good the detector is on pictures that it did not learn from, by cross-validation.

        The SVMs are learnt again without each fold's pictures, from the last solution, and detect in these. Box
        regressions are those of all pictures, and each picture's hard negatives those found before: learning it
        all again would take minutes, and makes the figures no more than a little better than they are.

        Args:
            classes: as of the last ``learn``.
            folds: how many parts the pictures are split into, each in turn left out.
            progress: wraps the pass over the folds.
        Raises:
            DataError: nothing was learnt, or fewer than two pictures were told of.
        """
        with self._lock:
            names, pictures = tuple(classes), list(self._pictures.values())
            if self._head is None or names != self._classes or len(pictures) < 2:
                advice = "Label two pictures and learn first"
                raise DataError(f"Teacher.validate: needs two pictures and a detector of the same classes. {advice}.")
            judged = []
            for fold in progress("Validating", range(min(folds, len(pictures)))):
                kept = [picture for place, picture in enumerate(pictures) if place % folds != fold]
                svm = self._trained(names, kept)
                head = replace(self._head, weights=svm.weights, bias=svm.bias)
                detector = Detector.of_parts(self.encoder, self._grid, head, names, seed=self.seed)
                judged += [_judged(picture, detector) for picture in pictures[fold::folds]]
            labels, scores, right = (np.concatenate(part) for part in zip(*judged, strict=True))
            positives = [sum(int(picture.of(name).sum()) for picture in pictures) for name in names]
            return Validation(names, labels, scores, right, np.array(positives, dtype=np.int64))


@dataclass(frozen=True)
class Validation:
    """The detections of pictures that the detector did not learn from, and which of them are right.

    Of a picture that is not complete only the right ones are held: nobody knows about the others.

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


def _judged(picture: Picture, detector: Detector) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
    found = detector.detect(picture.taught.path)
    right = np.zeros(len(found), dtype=np.bool_)
    for label, name in enumerate(detector.classes):
        mine, boxes = np.flatnonzero(found.labels == label), picture.taught.boxes[picture.of(name)]
        ignored = np.zeros(len(boxes), dtype=np.bool_)
        right[mine] = match(found.boxes[mine], boxes, ignored=ignored, iou=FOUND_IOU) == 1
    held = right | picture.taught.complete
    return found.labels[held], found.scores[held], right[held]


def _shares(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return shares
