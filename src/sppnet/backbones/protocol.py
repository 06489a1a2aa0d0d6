"""A network as the rest of the house sees it: feature maps by name, and where their cells lie."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from torch import Tensor

from sppnet.geometry import CellGrid


class Backbone(Protocol):
    """A network as encoders use it: its maps by name, and where their cells lie."""

    @property
    def mean(self) -> float:
        """What is subtracted from pixels 0..255."""

    @property
    def std(self) -> float:
        """What they are then divided by."""

    @property
    def channels(self) -> Mapping[str, int]:
        """The layers: names of the maps that can be taken, and how many channels each has."""

    @property
    def fingerprint(self) -> str:
        """Stands for the weights: maps of other weights never meet in one cache."""

    def activations(self, pixels: Tensor, names: Iterable[str]) -> Mapping[str, Tensor]:
        """(N, 3, H, W) -> name -> (N, C, H', W'), non-negative."""

    def grid(self, layer: str, size: tuple[int, int]) -> CellGrid:
        """Return where the cells of a layer lie on pixels of ``size`` (height, width)."""

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``backbones.from_description`` makes the same network: its "kind", and more."""

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights that a model file must hold: none where an installed package brings them."""
