"""Where a detector looks when it is not told: a grid of the shapes that its boxes need; of a large one the best."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

import torch

from sppnet.detection.kept import KeptImage
from sppnet.detection.learner import Learner
from sppnet.errors import ArgumentError, DataError, message
from sppnet.progress import Progress, silent
from sppnet.proposals.files import check_names
from sppnet.proposals.grid import GridProposals, fitting_grid
from sppnet.proposals.learnt import LEVELS as RANKING_LEVELS
from sppnet.proposals.learnt import LIMIT, METHOD, BoxedImage, LearntProposals, learn_proposals
from sppnet.proposals.protocol import Proposals

RANKED_FROM: Final = 5  # boxed images, from which on a large grid is ranked and cut
UNRANKED: Final = 200_000  # regions of an image, beyond which a grid is ranked from the first box on
RANKED_AGAIN: Final = 2  # times as many boxed images, and it is ranked anew

Choice = Proposals | Literal["learnt"] | None


class FittingRegions:
    """Fits a grid to all boxes that a learner knows, and ranks it: anew only where that may change much."""

    def __init__(self) -> None:
        self._learnt: LearntProposals | None = None
        self._learnt_of: tuple[tuple[str, ...], str] | None = None
        self._images = 0  # boxed ones, when it was learnt

    def chosen(
        self,
        choice: Choice,
        learner: Learner,
        names: Sequence[str],
        *,
        anew: bool = False,
        seed: int = 0,
        progress: Progress = silent,
    ) -> Proposals:
        """Return the user's method, the grid, or what was learnt to be the best of it.

        Args:
            choice: of ``Detector``: "learnt" ranks the grid in any case; None from ``RANKED_FROM`` images on, if it has
                more regions than are kept of it, and a huge one at once.
            learner: that was told of images. names: of the classes.
            anew: whatever was learnt before. seed: of the choice among regions to learn from.
            progress: wraps the pass over the images.
        Raises:
            DataError: no box of any of the classes. ArgumentError: a name of no method.
        """
        if choice is not None and choice != METHOD:
            return _given(choice, learner)
        grid, boxed = _grid(learner, names)
        if not (choice == METHOD or _is_large(grid, boxed)):
            return grid
        wanted = tuple(names), learner.encoder.fingerprint
        same = self._learnt_of == wanted and len(boxed) < RANKED_AGAIN * self._images
        if self._learnt is None or anew or not same:
            images = [(kept, kept.labels.only(names)) for kept in learner.images.values()]
            examples = [
                BoxedImage(kept.image, labels.boxes, labels.indices(names), ~labels.counted, labels.complete)
                for kept, labels in images
            ]
            self._learnt = learn_proposals(examples, learner.encoder, grid, len(names), seed=seed, progress=progress)
            self._learnt_of, self._images = wanted, len(boxed)
        return replace(self._learnt, grid=grid)  # what looks like an object does so in any shape


def unlearnt_regions(choice: Choice, learner: Learner, names: Sequence[str]) -> Proposals:
    """Return what takes as long as what ``FittingRegions`` would give, before anything is encoded or learnt."""
    if choice is not None and choice != METHOD:
        return _given(choice, learner)
    grid, boxed = _grid(learner, names)
    if not (choice == METHOD or _is_large(grid, boxed)):
        return grid
    encoder, classes = learner.encoder, len(names)
    weights = torch.zeros(classes, encoder.split()[0].length(RANKING_LEVELS))
    return LearntProposals(encoder.fingerprint, grid, weights, torch.zeros(classes))


def _given(choice: Proposals | str, learner: Learner) -> Proposals:
    if isinstance(choice, str):
        expected, advice = f"{METHOD!r} or a method", "Name it, or give an object of sppnet.proposals"
        raise ArgumentError(message("Detector", "proposals", expected, repr(choice), advice))
    check_names(choice, (kept.scene(learner.encoder).name for kept in learner.images.values()))
    return choice


def _grid(learner: Learner, names: Sequence[str]) -> tuple[GridProposals, list[KeptImage]]:
    """Fit a grid to all boxes; return it with the images that have some."""
    labelled = [(kept, kept.labels.only(names)) for kept in learner.images.values()]
    boxed = [(kept, labels) for kept, labels in labelled if len(labels.boxes)]
    if not boxed:
        raise DataError(f"Detector.fit: no object of {', '.join(names)} is boxed. Draw a box first.")
    columns = ((labels.boxes, labels.indices(names), kept.size) for kept, labels in boxed)
    boxes, objects, sizes = zip(*columns, strict=True)
    return fitting_grid(boxes, objects, sizes, learner.encoder.scales[0]), [kept for kept, _ in boxed]


def _is_large(grid: GridProposals, boxed: Sequence[KeptImage]) -> bool:
    count = grid.count(boxed[0].size)
    return count > UNRANKED or (len(boxed) >= RANKED_FROM and count > LIMIT)
