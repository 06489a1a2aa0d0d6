"""What is kept of each labelled image between two learnings: its labels, and the rows of examples that came of it."""

import os
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from sppnet.detection.examples import Examples, ImageLabels, Moves
from sppnet.features.encoder import MapsEncoder
from sppnet.features.scene import Scene
from sppnet.geometry import Boxes
from sppnet.images import Source
from sppnet.learning.svm import solved_by_products

ROWS: Final = 512  # by which the matrix of examples grows: what lies free is solved for too
FIRST: Final = 40  # images that hold a class teach the first head, which is only mined with


@dataclass(frozen=True)
class KeptExamples:
    """Examples that lie in rows of the matrix.

    Args:
        rows: (n,) int64. regions: (n, 4) where they lie on the image.
        names: of k classes. targets: (n, k) int8 for them. other: (n,) int8 for every other class.
    """

    rows: NDArray[np.int64]
    regions: Boxes
    names: tuple[str, ...]
    targets: NDArray[np.int8]
    other: NDArray[np.int8]

    def target(self, name: str) -> NDArray[np.int8]:
        """Return the targets (n,) of a class."""
        column: NDArray[np.int8] = self.targets[:, self.names.index(name)] if name in self.names else self.other
        return column

    def only(self, chosen: NDArray[np.bool_]) -> "KeptExamples":
        """Return those of the examples that are chosen, (n,) bool."""
        targets, other = self.targets[chosen], self.other[chosen]
        return KeptExamples(self.rows[chosen], self.regions[chosen], self.names, targets, other)


@dataclass
class KeptImage:
    """All that is kept of one image.

    Args:
        key: what the caller calls it. image: where it is read from. labels: checked. size: (height, width).
        digest: stands for its content.
        index: how many came before it: with the seed it decides which of its regions are drawn.
        drawn, rejected, hard: examples of the SVMs: drawn from labels and background, rejected by a person, and each
            mining's hard negatives. moves: examples of the box regressions, by class.
        changed: whether its labels changed since it was last learnt from.
    """

    key: Hashable
    image: Source
    labels: ImageLabels
    size: tuple[int, int]
    digest: str
    index: int
    drawn: KeptExamples | None = None
    rejected: KeptExamples | None = None
    hard: tuple[KeptExamples, ...] = ()
    moves: dict[str, Moves] = field(default_factory=dict)
    changed: bool = True

    @property
    def groups(self) -> tuple[KeptExamples, ...]:
        """All examples of the SVMs."""
        return tuple(group for group in (self.drawn, self.rejected, *self.hard) if group is not None)

    def scene(self, encoder: MapsEncoder) -> Scene:
        """Return the image as proposal methods see it."""
        return Scene(self.image, encoder, name=str(self.key))

    def begin_anew(self) -> None:
        """Forget all that came of the image: only what is known of it stays."""
        self.drawn, self.rejected, self.hard, self.moves, self.changed = None, None, (), {}, True

    def known_background(self, regions: Boxes) -> NDArray[np.int8]:
        """Return 1 for regions (R, 4) that are background to classes nobody named yet, else 0."""
        known: NDArray[np.int8] = (self.labels.complete | self.labels.shown(regions)).astype(np.int8)
        return known

    def lacks(self, names: Collection[str]) -> bool:
        """Tell whether it holds objects of a named class that some of its examples were chosen without.

        Those take all that they do not know for background, these objects too.
        """
        held = set(names).intersection(self.labels.classes)
        return any(not held.issubset(group.names) for group in (self.drawn, *self.hard) if group is not None)


class Matrix:
    """Examples of all images in one matrix (N, D), whose rows are used again when examples are dropped."""

    def __init__(self, features: int, dtype: type[np.floating] = np.float32) -> None:
        self.values = np.zeros((0, features), dtype=dtype)
        self.lengths = np.zeros(0)  # of the rows
        self._free: list[int] = []
        self._products = torch.zeros(0, 0)
        self._written = np.zeros(0, dtype=np.bool_)  # since the products were computed

    def store(
        self, examples: Examples, names: tuple[str, ...], *, other: NDArray[np.int8] | None = None
    ) -> KeptExamples:
        """Put examples into free rows; ``other`` is their target for classes that are not named, 0 where not given."""
        missing = len(examples.features) - len(self._free)
        if missing > 0:
            known, grown = len(self.values), max(missing, ROWS)
            # In place: no other array shares this memory between two calls, and the system moves pages, not bytes.
            self.values.resize((known + grown, self.values.shape[1]), refcheck=False)
            self.lengths.resize(known + grown, refcheck=False)
            self._written.resize(known + grown, refcheck=False)
            self._free += range(known, known + grown)
        count = len(examples.features)
        rows, self._free = np.array(self._free[:count], dtype=np.int64), self._free[count:]
        self.values[rows] = examples.features
        self._written[rows] = True
        self.lengths[rows] = np.linalg.norm(examples.features.astype(np.float32), axis=1)
        others = np.zeros(count, dtype=np.int8) if other is None else other
        return KeptExamples(rows, examples.regions, names, examples.targets, others)

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Let rows be used again.

        Raises:
            ValueError: some of them are free: what is dropped twice would be given out twice.
        """
        if not set(rows.tolist()).isdisjoint(self._free):
            raise ValueError(f"Matrix.drop: rows must be in use, got {rows.tolist()}, some of which are free already.")
        self._free = sorted([*self._free, *rows.tolist()])

    def products(self) -> NDArray[np.float32] | None:
        """Return the inner products (N, N) of all rows; None where there are too many rows for their use.

        Computed are those of rows that were written since: a change of one image's labels is a few of a thousand.
        """
        used = len(self.values)
        if not solved_by_products(*self.values.shape):
            self._products = torch.zeros(0, 0)
            self._written[:] = True
            return None
        known = self._products
        if len(known) < used:
            self._products = torch.zeros(used, used)
            self._products[: len(known), : len(known)] = known
        if self._written.any():
            written, values = torch.from_numpy(np.flatnonzero(self._written)), torch.from_numpy(self.values)
            fresh = torch.mm(values[written].float(), values.float().T)
            self._products[written], self._products[:, written] = fresh, fresh.T
            self._written[:] = False
        products: NDArray[np.float32] = self._products.numpy()
        return products


def name_of(image: Source | os.PathLike[str], key: Hashable) -> Hashable:
    """Return what an image goes by: its key, or its path; None for one in memory without a key."""
    return key if key is not None else Path(image) if isinstance(image, str | os.PathLike) else None


def known_as(name: Hashable, told: Collection[Hashable]) -> Hashable:
    """Return the one of the names told before that names the same image; a new name as it is.

    A file is the same whether its path is text or a ``Path``, from the root or from where one is.
    """
    if name in told or not isinstance(name, str | os.PathLike):
        return name
    place = Path(name).absolute()
    paths = (known for known in told if isinstance(known, str | os.PathLike))
    return next((known for known in paths if Path(known).absolute() == place), name)


def some_of_each(images: Sequence[KeptImage], names: Sequence[str]) -> list[KeptImage]:
    """Return, in their order, up to ``FIRST`` of the images that hold each class, evenly chosen."""
    chosen: set[int] = set()
    for name in names:
        holding = [place for place, kept in enumerate(images) if name in kept.labels.classes]
        spread = np.linspace(0, len(holding) - 1, min(FIRST, len(holding))).round().astype(int)
        chosen.update(holding[place] for place in spread)
    return [images[place] for place in sorted(chosen)]
