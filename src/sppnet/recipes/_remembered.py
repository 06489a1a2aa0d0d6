"""Another method's regions, proposed once and kept: for comparisons that must look at the same ones."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from sppnet.features.scene import Scene
from sppnet.geometry import Boxes
from sppnet.proposals.protocol import Proposals


@dataclass(frozen=True)
class Remembered:
    """Another method's regions, kept by the images' names: 64 kB for each 2,000.

    Args:
        proposals: the other method.
        limit: at most this many regions an image, an even choice among them; None keeps all.
        known: its regions so far.
    """

    proposals: Proposals
    limit: int | None = None
    known: dict[str, Boxes] = field(default_factory=dict)

    def regions(self, scene: Scene) -> Boxes:
        """Return the regions (R, 4) of an image in the method's order, searched for the first time."""
        if scene.name not in self.known:
            regions = self.proposals.regions(scene)
            most = len(regions) if self.limit is None else min(self.limit, len(regions))
            self.known[scene.name] = regions[np.linspace(0, len(regions) - 1, most).round().astype(np.int64)]
        return self.known[scene.name]

    def describe(self) -> dict[str, Any]:
        """Return what the other method does."""
        return self.proposals.describe()

    def tensors(self) -> dict[str, Tensor]:
        """Return what the other method has learnt."""
        return self.proposals.tensors()
