"""Rows of pooled regions in fewer numbers while they are learnt from; what is learnt answers on whole rows.

A row of three maps has some 14,000 numbers, and learning holds tens of thousands of rows. The channels of each map are
turned onto their principal axes, the same in all bins, and those that hold the last hundredth of what there is are left
out. A linear score of the short row is one of the whole row, so that answering knows nothing of it.

Where classes look alike, what tells them apart is seldom what there is most of: ``evened`` weighs it up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ENERGY: Final = 0.99  # of the squared length of rows that is kept, at least unless ``MOST`` is less
MOST: Final = 256  # channels that are left of a map
EVENED: Final = 0.3  # power of what an axis holds that is taken from it where no two objects are of one class


@dataclass(frozen=True)
class Compression:
    """Short rows for whole ones, and back.

    Args:
        bases: of each part of a row, (C, c) float32 orthogonal columns: axes, each as long as it weighs.
        bins: of each part.
        held: of each part, (c,) float32 mean square that the axes hold.
    """

    bases: tuple[Tensor, ...]
    bins: tuple[int, ...]
    held: tuple[Tensor, ...]

    @classmethod
    def fit(cls, rows: NDArray[np.float32], layout: Sequence[tuple[tuple[int, ...], int]]) -> "Compression":
        """Choose the axes.

        Args:
            rows: (N, D) float32 to keep most of. layout: levels and channels of each part of a row.
        """
        axes, counts, start = [], [], 0
        for levels, channels in layout:
            count = sum(level * level for level in levels)
            part = torch.from_numpy(rows[:, start : start + count * channels]).reshape(-1, channels)
            axes.append(_principal_axes(part))
            counts.append(count)
            start += count * channels
        bases, held = zip(*axes, strict=True)
        return cls(bases, tuple(counts), held)

    def evened(self, share: float) -> "Compression":
        """Return one whose rows hold the same in all, more evenly: what there is much of weighs less, and little more.

        Only on the deepest map that the whole pyramid pools. Six kinds of cards gain two to four points by it from few
        labels; place, told by the finer maps, and what sets objects off from background, lose by it.

        Args:
            share: how often two objects are of different classes, in 0..1. At 0, of one class, nothing changes.
        """
        part = max(range(len(self.bins)), key=lambda part: (self.bins[part], part))
        if share == 0 or self.bins[part] == 1:
            return self
        held = self.held[part].clamp(min=torch.finfo(torch.float32).tiny)
        weights = (held / held.max()) ** (-EVENED * share / 2)
        weights *= (held.sum() / (held * weights**2).sum()).sqrt()
        bases = [*self.bases[:part], self.bases[part] * weights, *self.bases[part + 1 :]]
        return replace(self, bases=tuple(bases))

    @property
    def length(self) -> int:
        """How long short rows are."""
        return sum(basis.shape[1] * count for basis, count in zip(self.bases, self.bins, strict=True))

    def shorten(self, rows: NDArray[np.float32]) -> NDArray[np.float16]:
        """Return whole rows (N, D) as short ones (N, d)."""
        parts, start = [], 0
        for basis, count in zip(self.bases, self.bins, strict=True):
            end = start + count * basis.shape[0]
            part = torch.from_numpy(rows[:, start:end]).reshape(-1, basis.shape[0])
            parts.append((part @ basis).half().reshape(len(rows), count * basis.shape[1]))
            start = end
        short: NDArray[np.float16] = torch.cat(parts, dim=1).numpy()
        return short

    def lengthen(self, weights: Tensor) -> Tensor:
        """Return weights of short rows (..., d) as those of whole ones (..., D) that give the same scores."""
        parts, start = [], 0
        for basis, count in zip(self.bases, self.bins, strict=True):
            end = start + count * basis.shape[1]
            part = weights[..., start:end].reshape(*weights.shape[:-1], count, basis.shape[1])
            parts.append((part @ basis.T).flatten(-2))
            start = end
        return torch.cat(parts, dim=-1)


def _principal_axes(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (C, c) axes that hold ``ENERGY`` of the vectors (N, C), at most ``MOST``, and what each holds (c,).

    The axis that holds the most is the first.

    Channels that are zero throughout, as most are of a network tuned on few images, have no part in them: LAPACK, given
    hundreds of equal eigenvalues, may not converge.
    """
    alive = vectors.any(dim=0)
    alive[0] |= not alive.any()  # there is one axis at least
    living = vectors[:, alive]
    values, axes = torch.linalg.eigh((living.T @ living).double())
    falling = values.flip(0).clamp(min=0).cumsum(0)
    enough = int((falling < ENERGY * falling[-1]).sum()) + 1
    kept = torch.zeros(vectors.shape[1], min(enough, MOST))
    kept[alive] = axes.flip(1)[:, : kept.shape[1]].float()
    return kept, values.flip(0)[: kept.shape[1]].clamp(min=0).float() / max(len(vectors), 1)
