"""The one learner: from what is known of images to SVMs and box regressions, all at once or change by change.

It keeps what came of each image (pooled examples, hard negatives, examples of box regression) and makes anew only what
a change touches; the SVMs start from their last solution. ``Detector.fit`` tells it of all images and lets it learn
once; the studio tells it of one change after the other. Both are the same steps.

What is not boxed is background only where a person said so. In an image that is not ``complete``, a region serves as a
negative if it is centred in a box that was drawn, yet overlaps no object of its class by ``negative_iou`` (badly
placed, on an object that is known); if it was rejected; or if the detector learnt so far scores it below ``SURE`` and
lower than half of the image's regions, or lower than ``SURELY_BACKGROUND`` of them, whatever the score: one that knows
no background yet scores all alike. All else is left out, and looked at again as the detector gets better.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from sppnet.detection.examples import (
    ALL,
    HARD_NEGATIVES,
    MINING_STRIDE,
    Examples,
    ImageLabels,
    LabelledImage,
    Moves,
    draw_examples,
    hard_negatives,
    no_boxes,
    rejected_examples,
    rejected_names,
    shares_of,
    taken,
    variety_of,
)
from sppnet.detection.head import RegionHead
from sppnet.detection.kept import KeptExamples, KeptImage, Matrix, some_of_each
from sppnet.detection.published import mine_in_one_pass
from sppnet.detection.settings import Settings
from sppnet.detection.svms import train_on
from sppnet.errors import DataError, check_seed
from sppnet.features.ahead import ahead
from sppnet.features.encoder import MapsEncoder, check_finite
from sppnet.features.maps import Maps
from sppnet.geometry import Boxes, iou
from sppnet.images import Source, image_digest, read_size
from sppnet.learning.compression import Compression
from sppnet.learning.ridge import RidgeSums, ridge
from sppnet.learning.svm import LinearSvm
from sppnet.progress import Progress, silent
from sppnet.proposals.protocol import Proposals

SURE: Final = -0.5  # below this score a region of an image with objects that nobody boxed is background
SURELY_BACKGROUND: Final = 0.25  # of an image's regions, those of the lowest scores
MINED_AGAIN: Final = 2  # images at a time that did not change
AXES_IMAGES: Final = 16  # by which the axes are chosen that rows are shortened onto
GROWTH: Final = 4  # times as many images as before, as long as they are few, choose the axes anew
ALONE: Final = 30  # up to so many images, box regressions are left out of validation with their image
SUMMED: Final = 32  # images at a time, whose examples of box regression are summed
VARIETY_DRIFT: Final = 0.25  # axes are chosen anew when the objects' classes have become so much more, or less, mixed
SCALE_DRIFT: Final = 0.02  # the features' scale follows their mean length only when that moved so far


class Learner:
    """Keeps what is known of images, and learns a region head of it.

    The same sequence of calls gives the same bits. Not safe for several threads at once: the caller locks.

    Args:
        encoder: makes the maps, and caches them. levels: bins per side of each level of the pyramid.
        settings: what counts as positive, negative and hard, and all costs. seed: of the choice among regions.
    """

    def __init__(self, encoder: MapsEncoder, *, levels: Sequence[int], settings: Settings, seed: int = 0) -> None:
        self.encoder, self.levels, self.settings, self.seed = encoder, tuple(levels), settings, seed
        check_seed("Detector", seed)
        self._layered = encoder.split()[1] is not None  # boxes are moved by other rows than are scored
        self.images: dict[Hashable, KeptImage] = {}
        self._told = 0
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._scored: Compression | None = None
        self._moved: Compression | None = None
        self._shares = ALL
        self._axes_images, self._axes_variety = 0, 0.0  # that there were when the axes were chosen
        self._matrix = Matrix(self.encoder.length(self.levels))
        self._classes: tuple[str, ...] = ()
        self._head: RegionHead | None = None
        self._duals: dict[str, NDArray[np.float32]] = {}
        self._scale = 0.0
        self._regressions: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._sums: dict[str, RidgeSums] = {}
        self._turn = 0
        for kept in self.images.values():
            kept.begin_anew()

    # What is known of images

    def update(self, key: Hashable, image: Source, labels: ImageLabels) -> None:
        """Take in what is now known of one image, in place of what was known of it before.

        Raises:
            ImageDecodeError: an image that cannot be read. BoxError: naming the row of a box outside the image.
        """
        size = read_size(image)
        checked, digest = labels.checked(size), image_digest(image)  # all that may raise comes before any change
        before = self.images.get(key)
        if before is not None:
            self._drop(before)
        index, self._told = (self._told, self._told + 1) if before is None else (before.index, self._told)
        self.images[key] = KeptImage(key, image, checked, size, digest, index)

    def forget(self, key: Hashable) -> bool:
        """Drop all that was known of an image; tell whether anything was."""
        kept = self.images.pop(key, None)
        if kept is not None:
            self._drop(kept)
        return kept is not None

    def _drop(self, kept: KeptImage) -> None:
        """Let all go that came of an image."""
        self._release(*(group.rows for group in kept.groups))
        self._forget_moves(kept)
        kept.begin_anew()

    def _release(self, *groups: NDArray[np.int64]) -> None:
        for rows in groups:
            self._matrix.drop(rows)
            for duals in self._duals.values():
                duals[rows[rows < len(duals)]] = 0

    # Learning

    def learn(
        self, classes: Sequence[str], proposals: Proposals, *, anew: bool = False, progress: Progress = silent
    ) -> RegionHead:
        """Learn from all that is known.

        Args:
            classes: names, in the order of the head's rows; what is known of other ones is left out.
            proposals: where regions come from.
            anew: keep nothing of earlier learnings but the labels.
            progress: wraps the passes over images, given their name.
        Returns:
            The head; a class without a positive is untrained: its bias is minus infinity and it is never found.
        Raises:
            DataError: no object of any of the classes.
        """
        names = tuple(classes)
        if not any(name in kept.labels.classes for kept in self.images.values() for name in names):
            raise DataError(f"Detector.fit: no object of {', '.join(names)} is boxed. Draw a box first.")
        labels = [kept.labels for kept in self.images.values()]
        if anew or self._outgrown(variety_of(labels, names)):
            self._begin_anew()
        self._shares = shares_of(labels, names, self.settings)
        if self._classes != names:
            self._head = None
        for kept in [kept for kept in self.images.values() if kept.lacks(names)]:
            self._drop(kept)
        fresh = [kept for kept in self.images.values() if kept.drawn is None]
        if not self.settings.sampled:
            for kept, look in self._looks(progress("Sampling regions", fresh), proposals):
                self._draw(kept, look, names)
            self._rescale()
            return self._learn_as_published(names, proposals, progress)
        if self._scored is None:
            self._choose_axes(fresh, names, proposals)
        # What the last head finds is what the person saw. Only the first has to be learnt to be mined with.
        head = self._head or self._first_head(fresh, names, proposals, progress)
        changed = [kept for kept in self.images.values() if kept.changed]
        self._mine_in(progress("Mining hard negatives", changed), names, proposals, head)
        self._rescale()
        return self._solve(names)

    def mine_again(self, proposals: Proposals) -> None:
        """Mine some images, in turn, that were mined by an earlier head; the next learning takes in what is found."""
        images = list(self.images.values())
        turn = self._turn % max(len(images), 1)
        in_turn = [kept for kept in images[turn:] + images[:turn] if not kept.changed][:MINED_AGAIN]
        self._turn = turn + len(in_turn)
        if self._head is not None and self.settings.sampled:
            self._mine_in(in_turn, self._classes, proposals, self._head)

    def _mine_in(
        self, images: Iterable[KeptImage], names: tuple[str, ...], proposals: Proposals, head: RegionHead
    ) -> None:
        for kept, look in self._looks(images, proposals):
            if kept.drawn is None or not kept.labels.complete:  # what is background may be known better by now
                self._draw(kept, look, names)
            self._mine(kept, look, names, head)

    def _learn_as_published(self, names: tuple[str, ...], proposals: Proposals, progress: Progress) -> RegionHead:
        """Mine all images in one pass, whatever changed; objects and what was rejected alone are kept before.

        The hard negatives of the head that comes of it are kept, by which validation learns it again without images.
        """
        drawn = [kept.drawn for kept in self.images.values() if kept.drawn is not None]
        rejected = [kept.rejected for kept in self.images.values() if kept.rejected is not None]
        groups = [*drawn, *rejected]
        targets = np.concatenate([np.stack([group.target(name) for name in names], axis=1) for group in groups])
        rows = np.concatenate([group.rows for group in groups])
        told = np.arange(len(rows)) >= sum(len(group.rows) for group in drawn)
        known = Examples(self._matrix.values[rows], targets, np.concatenate([group.regions for group in groups]))
        images = [
            LabelledImage(partial(self._usable, kept, proposals), kept.labels.only(names))
            for kept in self.images.values()
        ]

        def train(known: Examples, start: LinearSvm) -> LinearSvm:
            return train_on(known.features, known.targets, scale=self._scale, settings=self.settings, start=start)

        svm = mine_in_one_pass(
            images,
            known.of((targets == 1).any(axis=1) | told),
            names,
            levels=self.levels,
            train=train,
            settings=self.settings,
            progress=progress,
        )
        weights, bias = (torch.stack(part) for part in zip(*map(self._regression, names), strict=True))
        self._classes, self._head = names, RegionHead(self.levels, svm.weights, svm.bias, weights, bias)
        for kept, look in self._looks(progress("Keeping hard negatives", list(self.images.values())), proposals):
            self._release(*(group.rows for group in kept.hard))
            kept.hard = ()
            self._mine(kept, look, names, self._head)
        return self._head

    def _looks(self, images: Iterable[KeptImage], proposals: Proposals) -> Iterator[tuple[KeptImage, "_Look"]]:
        return ahead(partial(self._look, proposals=proposals), images)

    def _look(self, kept: KeptImage, proposals: Proposals) -> "_Look":
        """Encode an image, propose regions, and tell of which it is known what they show: all of a complete one."""
        scene = kept.scene(self.encoder)
        maps, regions = scene.maps, scene.maps.unique(proposals.regions(scene))
        if kept.labels.complete:
            return _Look(maps, regions, regions, None)
        known = kept.labels.shown(regions)
        if self._head is None or len(regions) == 0:
            return _Look(maps, regions, regions[known], None)
        scores = self._head.scores(maps, regions)
        best = scores.max(axis=1)
        least, half = np.quantile(best, (SURELY_BACKGROUND, 0.5))
        known |= (best < least) | ((best < SURE) & (best <= half))
        return _Look(maps, regions, regions[known], scores[known])

    def _usable(self, kept: KeptImage, proposals: Proposals) -> tuple[Maps, Boxes]:
        """Return an image's maps, and the regions of it that may serve as examples."""
        look = self._look(kept, proposals)
        return look.maps, look.known

    def _examples(self, kept: KeptImage, look: "_Look", names: tuple[str, ...]) -> tuple[Examples, Moves]:
        return draw_examples(
            look.maps,
            look.known,
            kept.labels.only(names),
            names,
            levels=self.levels,
            rng=np.random.default_rng((self.seed, kept.index)),
            shares=self._shares,
            settings=self.settings,
        )

    def _draw(self, kept: KeptImage, look: "_Look", names: tuple[str, ...]) -> None:
        """Choose and pool an image's examples, all but the hard negatives, in place of those from before."""
        self._release(*(group.rows for group in (kept.drawn, kept.rejected) if group is not None))
        examples, moves = self._examples(kept, look, names)
        self._keep_moves(kept, replace(moves, features=self._short_moves(moves.features)), names)
        kept.drawn, kept.rejected = self._store(examples, names, other=-kept.known_background(examples.regions)), None
        if len(kept.labels.rejected):
            rejected = rejected_examples(look.maps, look.regions, kept.labels, levels=self.levels)
            kept.rejected = self._store(rejected, rejected_names(kept.labels))

    def _outgrown(self, variety: float) -> bool:
        """Tell whether the axes were chosen for too few images, or for classes of another mixture."""
        grown = self._axes_images < AXES_IMAGES and len(self.images) >= GROWTH * self._axes_images
        return self._scored is not None and (grown or abs(variety - self._axes_variety) > VARIETY_DRIFT)

    def _choose_axes(self, fresh: Sequence[KeptImage], names: tuple[str, ...], proposals: Proposals) -> None:
        """Choose by some images how rows are shortened, as long as nothing is kept."""
        places = np.linspace(0, len(fresh) - 1, min(AXES_IMAGES, len(fresh))).round().astype(int)
        rows = []
        for kept, look in self._looks([fresh[place] for place in places], proposals):
            rows.append(self._examples(kept, look, names)[0].features)
        self._moved = Compression.fit(np.concatenate(rows), look.maps.layout(self.levels))
        self._axes_images = len(self.images)
        self._axes_variety = variety_of([kept.labels for kept in self.images.values()], names)
        self._scored = self._moved.evened(self._axes_variety)
        self._matrix = Matrix(self._scored.length, np.float16)

    def _short(self, rows: NDArray[np.float32]) -> NDArray[np.floating]:
        """Return rows that are scored as they are kept."""
        return rows if self._scored is None else self._scored.shorten(rows)

    def _short_moves(self, rows: NDArray[np.float32]) -> NDArray[np.floating]:
        """Return rows that boxes are moved by as they are kept; those under layers, in half precision or whole."""
        if self._layered:
            return rows.astype(np.float16) if self.settings.sampled else rows
        return rows if self._moved is None else self._moved.shorten(rows)

    def _store(self, examples: Examples, names: tuple[str, ...], **known: NDArray[np.int8]) -> KeptExamples:
        return self._matrix.store(replace(examples, features=self._short(examples.features)), names, **known)

    def _lengthen(self, weights: torch.Tensor) -> torch.Tensor:
        """Return weights of kept rows as those of whole ones."""
        return weights if self._scored is None else self._scored.lengthen(weights)

    def _lengthen_moves(self, weights: torch.Tensor) -> torch.Tensor:
        """Return weights that move boxes as those of whole rows; under layers they are."""
        return weights if self._layered or self._moved is None else self._moved.lengthen(weights)

    def _mine(self, kept: KeptImage, look: "_Look", names: tuple[str, ...], head: RegionHead) -> None:
        """Look for hard negatives, near none that are kept; of those, drop the ones that no longer matter."""
        kept.hard = tuple(self._mattering(group) for group in kept.hard)
        before = np.concatenate([no_boxes(), *(group.regions for group in kept.hard)])
        far = np.flatnonzero(iou(look.known, before).max(axis=1, initial=0.0) < self.settings.duplicate_iou)
        places = far[::MINING_STRIDE]
        scores = head.scores(look.maps, look.known[places]) if look.scores is None else look.scores[places]
        labels = kept.labels.only(names)
        found = hard_negatives(
            look.maps,
            look.known[places],
            scores,
            labels,
            names,
            levels=self.levels,
            most=taken(self._shares.regions, HARD_NEGATIVES, np.random.default_rng((self.seed, kept.index, 1))),
            settings=self.settings,
        )
        _, targets = labels.overlaps(found.regions, names, self.settings)
        hard = self._store(found, names, other=-kept.known_background(found.regions))
        hard = KeptExamples(hard.rows, hard.regions, names, np.minimum(targets, 0), hard.other)
        kept.hard, kept.changed = (*kept.hard, hard), False

    def _mattering(self, group: KeptExamples) -> KeptExamples:
        """Return the examples that have a part in some class's weights, and drop all other ones."""
        matters = np.zeros(len(group.rows), dtype=np.bool_)
        for duals in self._duals.values():
            matters |= duals[group.rows] != 0
        self._release(group.rows[~matters])
        return group.only(matters)

    def _rescale(self) -> None:
        """Follow the examples' mean length: features times the scale have the length that costs are for."""
        rows = np.concatenate([kept.drawn.rows for kept in self.images.values() if kept.drawn is not None])
        check_finite(self._matrix.lengths[rows], self.encoder.backbone)
        wanted = self.settings.mean_norm / max(float(self._matrix.lengths[rows].mean()), 1e-12)
        if abs(wanted - self._scale) > SCALE_DRIFT * wanted:
            self._scale = wanted
            self._regressions.clear()

    def _first_head(
        self, fresh: Sequence[KeptImage], names: tuple[str, ...], proposals: Proposals, progress: Progress
    ) -> RegionHead:
        """Learn from some images of each class, without hard negatives, a head that finds these; it moves no box."""
        for kept, look in self._looks(progress("Sampling regions", some_of_each(fresh, names)), proposals):
            self._draw(kept, look, names)
        self._rescale()
        scoring, bias = self._scoring(names)
        unmoved = torch.zeros(len(names), 4, 0), torch.zeros(len(names), 4)
        self._classes, self._head = names, RegionHead(self.levels, scoring, bias, *unmoved)
        return self._head

    def _solve(self, names: tuple[str, ...]) -> RegionHead:
        """Train the SVMs from their last solution, and the box regressions, on all that is kept."""
        scoring, offsets = self._scoring(names)
        weights, bias = (torch.stack(part) for part in zip(*map(self._regression, names), strict=True))
        self._classes = names
        self._head = RegionHead(self.levels, scoring, offsets, self._lengthen_moves(weights), bias)
        return self._head

    def _scoring(self, names: tuple[str, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """Train the SVMs: weights (K, D) of whole rows and constants (K,)."""
        (svm,) = self.svms(names, [self.images.values()])
        self._duals = {name: svm.duals[:, label].copy() for label, name in enumerate(names)}
        return self._lengthen(svm.weights), svm.bias

    def without(
        self, head: RegionHead, names: Sequence[str], left_out: Sequence[Sequence[KeptImage]]
    ) -> list[RegionHead]:
        """Return a head for each group of images that is learnt without them, from the last solution.

        Box regressions are learnt without them too where images are few; of many, one more changes next to nothing.
        """
        others = [[kept for kept in self.images.values() if kept not in group] for group in left_out]
        heads = [replace(head, weights=self._lengthen(svm.weights), bias=svm.bias) for svm in self.svms(names, others)]
        return [self._moving(*pair, names) for pair in zip(heads, others, strict=True)]

    def _moving(self, head: RegionHead, images: Sequence[KeptImage], names: Sequence[str]) -> RegionHead:
        if len(self.images) > ALONE:
            return head
        moves = [self._solved(*self._examples_of(name, images)) for name in names]
        weights, constants = (torch.stack(part) for part in zip(*moves, strict=True))
        return replace(head, delta_weights=self._lengthen_moves(weights), delta_bias=constants)

    def svms(self, names: Sequence[str], groups: Sequence[Iterable[KeptImage]]) -> list[LinearSvm]:
        """Train SVMs on what is kept of each group of images, from their last solution: one pass over rows for all."""
        used, classes = len(self._matrix.values), len(names)
        targets = np.zeros((used, len(groups), classes), dtype=np.int8)
        for number, images in enumerate(groups):
            for part in (part for kept in images for part in kept.groups):
                targets[part.rows, number] = np.stack([part.target(name) for name in names], axis=1)
        duals = np.zeros((used, len(groups), classes), dtype=np.float32)
        for label, name in enumerate(names):
            known = self._duals.get(name, duals[:0, 0, label])
            duals[: len(known), :, label] = known[:, None]
        start = LinearSvm(torch.zeros(0), torch.zeros(0), duals.reshape(used, -1))
        each = targets.reshape(used, -1)
        known, products = self._matrix.values, self._matrix.products()
        svm = train_on(known, each, scale=self._scale, settings=self.settings, start=start, products=products)
        return svm.parted(len(groups))

    # Box regression

    def _forget_moves(self, kept: KeptImage) -> None:
        for name, moves in kept.moves.items():
            self._regressions.pop(name, None)
            if name in self._sums:
                self._sums[name].add(moves.features.astype(np.float32), moves.deltas, sign=-1)
        kept.moves = {}

    def _keep_moves(self, kept: KeptImage, moves: Moves, names: Sequence[str]) -> None:
        self._forget_moves(kept)
        for label, name in enumerate(names):
            mine = moves.labels == label
            if mine.any():
                kept.moves[name] = Moves(moves.features[mine], moves.labels[mine], moves.deltas[mine])
                self._regressions.pop(name, None)
                if name in self._sums:
                    self._sums[name].add(moves.features[mine].astype(np.float32), moves.deltas[mine])

    def _regression(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the class's box regression, (4, E) and (4,), learnt again if its examples changed.

        Few examples are solved for among themselves, many by sums that changes are added to.
        """
        if name in self._regressions:
            return self._regressions[name]
        parts, penalty = self._examples_of(name, self.images.values())
        count, width = sum(len(part.deltas) for part in parts), self._width()
        if name not in self._sums and count > width / 2:
            self._sums[name] = RidgeSums(width, 4)
            for some in (parts[start : start + SUMMED] for start in range(0, len(parts), SUMMED)):
                rows = np.concatenate([part.features for part in some]).astype(np.float32)
                self._sums[name].add(rows, np.concatenate([part.deltas for part in some]))
        if count and name in self._sums:
            weights, constant = self._sums[name].solve(penalty=penalty)
            self._regressions[name] = torch.from_numpy(weights), torch.from_numpy(constant)
        else:
            self._regressions[name] = self._solved(parts, penalty)
        return self._regressions[name]

    def _examples_of(self, name: str, images: Iterable[KeptImage]) -> tuple[list[Moves], float]:
        """Return what a class's box regression learns from in some images, and its penalty."""
        among = list(images)
        parts = [kept.moves[name] for kept in among if name in kept.moves]
        objects = sum(int((kept.labels.of(name) & kept.labels.counted).sum()) for kept in among)
        # Regions of one object say much the same: they count together as one.
        repeated = sum(len(part.deltas) for part in parts) / max(objects, 1) if self.settings.sampled else 1.0
        return parts, self.settings.ridge * max(repeated, 1.0) / self._moved_scale(parts) ** 2

    def _solved(self, parts: Sequence[Moves], penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Solve for a regression (4, E) and (4,) among the examples themselves; without any, boxes stay."""
        if not parts:
            return torch.zeros(4, self._width()), torch.zeros(4)
        features = np.concatenate([part.features for part in parts]).astype(np.float32)
        weights, constant = ridge(features, np.concatenate([part.deltas for part in parts]), penalty=penalty)
        return torch.from_numpy(weights), torch.from_numpy(constant)

    def _width(self) -> int:
        """Return how long the rows are that boxes are moved by: those of the pooled maps, under whatever layers."""
        return self.encoder.split()[0].length(self.levels) if self._layered else int(self._matrix.values.shape[1])

    def _moved_scale(self, parts: Sequence[Moves]) -> float:
        """Return the scale of the rows that boxes are moved by: the SVMs', or of layers' inputs their own."""
        if not parts or not self._layered:
            return self._scale
        rows = np.concatenate([part.features for part in parts]).astype(np.float32)
        return self.settings.mean_norm / max(float(np.linalg.norm(rows, axis=1).mean()), 1e-12)


@dataclass(frozen=True)
class _Look:
    """An image while it is learnt from.

    Args:
        maps: of the image. regions: (R, 4), as proposed.
        known: (S, 4), those of which it is known what they show.
        scores: (S, K) of them, by the head learnt so far, where telling them from the others took that.
    """

    maps: Maps
    regions: Boxes
    known: Boxes
    scores: NDArray[np.float32] | None
