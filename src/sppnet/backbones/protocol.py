"""A network as the rest of the house sees it: feature maps by name, and where their cells lie."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sppnet.geometry import CellGrid
from sppnet.images import Channels


class Backbone(Protocol):
    """A network as encoders use it: its maps by name, and where their cells lie.

    Every backbone is a ``torch.nn.Module`` as well, and can be moved to a device as one.
    """

    @property
    def name(self) -> str:
        """What ``backbones.backbone`` knows it by; of timm's and torchvision's with the library's name before it."""

    @property
    def mean(self) -> Channels:
        """What is subtracted from pixels 0..255, for all channels or for each."""

    @property
    def std(self) -> Channels:
        """What they are then divided by."""

    @property
    def channels(self) -> Mapping[str, int]:
        """The layers: names of the maps that can be taken, and how many channels each has."""

    @property
    def detector_layers(self) -> tuple[str, ...]:
        """The layers that detectors pool unless others are named, the finest first."""

    @property
    def classifier_layer(self) -> str:
        """The layer that classifiers pool unless another is named."""

    @property
    def fingerprint(self) -> str:
        """Stands for the weights: maps of other weights never meet in one cache."""

    def activations(self, pixels: Tensor, names: Iterable[str]) -> Mapping[str, Tensor]:
        """(N, 3, H, W) -> name -> (N, C, H', W')."""

    def grid(self, layer: str, size: tuple[int, int]) -> CellGrid:
        """Return where the cells of a layer lie on pixels of ``size`` (height, width)."""

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``backbones.kinds`` makes the same network: its "kind", and more."""

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights that a model file must hold: none where an installed package brings them."""

    def trainable(self) -> nn.Module:
        """Return what learns when the network is tuned: its weights are, by name, those of ``tensors``."""

    @property
    def device(self) -> torch.device:
        """Where the weights lie, and where maps are computed."""
