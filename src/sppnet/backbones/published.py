"""The paper's four networks as one table of layers and one builder: ZF-5, Convnet*-5, Overfeat-5, Overfeat-7.

The last pooling of each is the plain one (the paper's baseline, for images of 224 x 224 only) or a pyramid
(any size). Weights trained on ImageNet are not to be had: train some, or load a file that ``save`` wrote.

Source: He et al. 2015, Table 1 and Sec. 3.1.1. What the paper leaves open (padding, constants of the
normalisation, initial weights) is the released ZF-5's where there is one, and named where it is not.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sppnet.backbones.normalisation import LocalResponseNorm
from sppnet.errors import ArgumentError, ShapeError, check_shape, check_that, message
from sppnet.geometry import VIEW_SIDE, CellGrid, Layer, axis_grid, cells_along
from sppnet.ops import bins, pool_image, pool_windows
from sppnet.storage import TensorCache, check_model, read_tensors, write_tensors

Padding = Literal["training", "deployment"]
Name = Literal["zf5", "convnet5", "overfeat5", "overfeat7"]

KIND: Final = "network"
VERSION: Final = 1  # of the layout of its files
LEVELS: Final = (6, 3, 2, 1)
HIDDEN: Final = 4096
DROPOUT: Final = 0.5
WEIGHT_DEVIATION: Final = 0.01  # of every layer's initial weights in the released ZF-5


class Conv(NamedTuple):
    """A convolution and the ReLU after it. ``pad`` is the training's; ``bias`` the initial one."""

    filters: int
    kernel: int
    stride: int
    pad: int
    bias: float


class Pool(NamedTuple):
    """Maxima of ``kernel`` x ``kernel`` cells; without padding and rounded up in training, as Caffe has it."""

    kernel: int
    stride: int


class Norm(NamedTuple):
    """Local response normalisation, see ``LocalResponseNorm``."""

    size: int
    alpha: float
    constant: float
    neighbourhood: Literal["across", "within"]


class NetworkTable(NamedTuple):
    """Everything before the last pooling, and that pooling."""

    layers: tuple[Conv | Pool | Norm, ...]
    plain: Pool


RELEASED_NORM: Final = Norm(3, 5e-5, 1.0, "within")
# Krizhevsky et al. 2012, from whom the other networks descend; their alpha is for the sum, not the mean.
KRIZHEVSKY_NORM: Final = Norm(5, 5e-4, 2.0, "across")

_OVERFEAT_5: Final = (
    Conv(96, 7, 2, 0, 0.0),
    Pool(3, 3),
    KRIZHEVSKY_NORM,
    Conv(256, 5, 1, 1, 1.0),
    Pool(2, 2),
    Conv(512, 3, 1, 1, 0.0),
    Conv(512, 3, 1, 1, 1.0),
    Conv(512, 3, 1, 1, 1.0),
)
NETWORKS: Final[Mapping[str, NetworkTable]] = {
    "zf5": NetworkTable(
        (
            Conv(96, 7, 2, 1, 0.0),
            RELEASED_NORM,
            Pool(3, 2),
            Conv(256, 5, 2, 0, 1.0),
            RELEASED_NORM,
            Pool(3, 2),
            Conv(384, 3, 1, 1, 0.0),
            Conv(384, 3, 1, 1, 1.0),
            Conv(256, 3, 1, 1, 1.0),
        ),
        Pool(3, 2),
    ),
    "convnet5": NetworkTable(
        (
            Conv(96, 11, 4, 2, 0.0),
            KRIZHEVSKY_NORM,
            Conv(256, 5, 1, 2, 1.0),
            KRIZHEVSKY_NORM,
            Pool(3, 2),
            Conv(384, 3, 1, 1, 0.0),
            Pool(3, 2),
            Conv(384, 3, 1, 1, 1.0),
            Conv(256, 3, 1, 1, 1.0),
        ),
        Pool(3, 2),
    ),
    "overfeat5": NetworkTable(_OVERFEAT_5, Pool(3, 3)),
    "overfeat7": NetworkTable((*_OVERFEAT_5, Conv(512, 3, 1, 1, 1.0), Conv(512, 3, 1, 1, 1.0)), Pool(3, 3)),
}


class PublishedNet(nn.Module):
    """One of the paper's networks: pixels -> feature map -> pooled -> fc -> fc -> scores.

    Layers have the paper's names: ``conv1`` to ``conv5``, ``pool5``, ``fc6``, ``fc7``, ``fc8``; in Overfeat-7 to
    ``conv7``, then ``pool7``, ``fc8``, ``fc9``, ``fc10``. Each is taken after its ReLU, ``pool`` as one row a
    image, the last before the softmax.

    Args:
        name: "zf5", "convnet5", "overfeat5" or "overfeat7".
        levels: bins per side of each level of the pyramid; None for the plain last pooling (6 x 6 at 224).
        classes: how many scores.
        width: multiplies the number of filters and of hidden units, for networks that can be trained on less.
        padding: "training", the published map sizes (13 and 18 cells at 224); "deployment", floor(p / 2) in
            every layer of size p, which centres the cells on multiples of the stride (Appendix A).
    """

    mean: Final = 128.0  # of every channel, on pixels 0..255 (paper, Sec. 3.2 and 3.3)
    std: Final = 1.0

    def __init__(
        self,
        name: Name,
        *,
        levels: Sequence[int] | None = LEVELS,
        classes: int = 1000,
        width: float = 1.0,
        padding: Padding = "training",
    ) -> None:
        super().__init__()
        advice = "Name one of these"
        check_that(name in NETWORKS, "PublishedNet", "name", f"one of {', '.join(NETWORKS)}", repr(name), advice=advice)
        known = padding in ("training", "deployment")
        check_that(known, "PublishedNet", "padding", "training or deployment", repr(padding), advice=advice)
        check_that(width > 0, "PublishedNet", "width", "above 0", width, advice="Try 0.5")
        self.name: Name = name
        self.levels = None if levels is None else tuple(levels)
        self.classes, self.width, self.padding = classes, width, padding
        self.notes: dict[str, Any] = {}
        """What was saved with the network; under "classes", the names of its scores."""
        self.trunk, self.channels = self._trunk()
        convs = len(self.channels)
        self.pool_name, self.map_name = f"pool{convs}", f"conv{convs}"
        self.fc_names = tuple(f"fc{convs + place}" for place in (1, 2, 3))
        pooled = self.channels[self.map_name] * (36 if self.levels is None else bins(self.levels))
        hidden = _widened(HIDDEN, width)
        sizes = ((pooled, hidden), (hidden, hidden), (hidden, classes))
        self.fc = nn.ModuleDict({fc: nn.Linear(*size) for fc, size in zip(self.fc_names, sizes, strict=True)})
        self._initialise()
        self.to(memory_format=torch.channels_last)

    @property
    def detector_layers(self) -> tuple[str, ...]:
        """The last convolution, as in the paper."""
        return (self.map_name,)

    @property
    def classifier_layer(self) -> str:
        """The last convolution, as in the paper."""
        return self.map_name

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The names of the layers that ``activations`` returns, from the pixels on."""
        return (*self.channels, self.pool_name, *self.fc_names)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device

    # Answering

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) RGB, ``value - mean`` of 0..255 -> (N, K) scores before the softmax; see ``features``."""
        return self.head(self.pool(self.features(pixels)))

    def features(self, pixels: Tensor) -> Tensor:
        """Return the last convolutional map: (N, 3, H, W) -> (N, C, H', W'), non-negative.

        Raises:
            ShapeError: pixels of another shape, or fewer than the kernels need.
        """
        return self.activations(pixels, [self.map_name])[self.map_name]

    def pool(self, features: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, B * C), bin by bin and in it channel by channel, as ``FeatureMap.pool`` has windows.

        Raises:
            ShapeError: without a pyramid, a map that is not pooled to 6 x 6.
        """
        if self.levels is not None:
            return pool_image(features, levels=self.levels).transpose(1, 2).flatten(1)
        kernel, stride = NETWORKS[self.name].plain
        pooled = F.max_pool2d(features, kernel, stride, ceil_mode=True)
        if pooled.shape[2:] != (6, 6):
            actual = f"{pooled.shape[2]} x {pooled.shape[3]} cells of {tuple(features.shape[2:])}"
            advice = f"Give images of {VIEW_SIDE} x {VIEW_SIDE}, or build the network with a pyramid"
            raise ShapeError(message("PublishedNet", "features", "6 x 6 cells once pooled", actual, advice))
        return pooled.permute(0, 2, 3, 1).flatten(1)

    def pool_windows(self, features: Tensor, windows: Tensor) -> Tensor:
        """Pool windows (R, 4) int64 of one map (C, H, W) into rows (R, B * C) for ``head``.

        Raises:
            ArgumentError: a network without a pyramid.
        """
        if self.levels is None:
            advice = "Crop the views, or build the network with a pyramid"
            raise ArgumentError(message("PublishedNet", "levels", "a pyramid for windows of any size", None, advice))
        return pool_windows(features, windows, levels=self.levels).transpose(1, 2).flatten(1)

    def head(self, pooled: Tensor) -> Tensor:
        """(N, B * C) in the order of ``pool`` -> (N, K) scores before the softmax."""
        last = self.fc_names[-1]
        return self.head_activations(pooled, [last])[last]

    def activations(self, pixels: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Return the named layers, and compute nothing past the deepest of them.

        Args:
            pixels: (N, 3, H, W) float RGB, ``value - mean`` of 0..255.
            names: from ``layer_names``.
        Returns:
            name -> (N, C, H', W') of a convolution, (N, D) of the others.
        Raises:
            ArgumentError: an unknown name. ShapeError: see ``features``.
        """
        wanted = self._checked_names(names)
        self._check_pixels(pixels)
        found: dict[str, Tensor] = {}
        features = pixels
        for name, module in self.trunk.named_children():
            features = module(features)
            if name in self.channels:
                features = F.relu(features, inplace=True)
                if name in wanted:
                    found[name] = features
                if len(found) == len(wanted):
                    return found
        pooled = self.pool(features)
        if self.pool_name in wanted:
            found[self.pool_name] = pooled
        return found | self.head_activations(pooled, [name for name in self.fc_names if name in wanted])

    def head_activations(self, pooled: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """(N, B * C) in the order of ``pool`` -> the named fully connected layers, each (N, D)."""
        wanted, found, values = set(names), {}, pooled
        for name in self.fc_names[: 1 + max((self.fc_names.index(name) for name in wanted), default=-1)]:
            values = self.fc[name](values)
            if name != self.fc_names[-1]:
                values = F.relu(values)
            if name in wanted:
                found[name] = values
            values = F.dropout(values, DROPOUT, self.training)
        return found

    # Where the cells lie

    def grid(self, layer: str | None = None, size: tuple[int, int] | None = None) -> CellGrid:  # noqa: ARG002
        """Return where the cells of a convolution's map lie on the input.

        Args:
            layer: its name; None for the last one.
            size: changes nothing: this padding does not depend on it, as that of other backbones does.
        """
        axis = axis_grid(self._layers(layer or self.map_name))
        return CellGrid(axis, axis)

    def map_size(self, size: tuple[int, int], layer: str | None = None) -> tuple[int, int]:
        """Return the (height, width) in cells of a map for pixels of ``size``; 0 where a kernel does not fit."""
        layers = self._layers(layer or self.map_name)
        return cells_along(layers, size[0]), cells_along(layers, size[1])

    @property
    def smallest_side(self) -> int:
        """The fewest pixels a side that give a map of one cell."""
        layers = self._layers(self.map_name)
        return next(side for side in range(1, 1000) if cells_along(layers, side) > 0)

    def _layers(self, last: str) -> list[Layer]:
        (last,) = self._checked_names([last])
        layers = []
        for name, module in self.trunk.named_children():
            if isinstance(module, nn.Conv2d):
                layers.append(Layer(module.kernel_size[0], module.stride[0], int(module.padding[0])))
            elif isinstance(module, nn.MaxPool2d):
                sizes = (int(module.kernel_size), int(module.stride), int(module.padding))  # type: ignore[arg-type]
                layers.append(Layer(*sizes, ceil=bool(module.ceil_mode)))
            if name == last:
                break
        return layers

    # Building

    def _trunk(self) -> tuple[nn.Sequential, dict[str, int]]:
        channels: dict[str, int] = {}
        trunk, inputs = nn.Sequential(), 3
        deployed = self.padding == "deployment"
        for layer in NETWORKS[self.name].layers:
            number = len(channels)
            if isinstance(layer, Conv):
                filters = _widened(layer.filters, self.width)
                pad = layer.kernel // 2 if deployed else layer.pad
                trunk.add_module(f"conv{number + 1}", nn.Conv2d(inputs, filters, layer.kernel, layer.stride, pad))
                channels[f"conv{number + 1}"] = inputs = filters
            elif isinstance(layer, Pool):
                pad = layer.kernel // 2 if deployed else 0
                pooling = nn.MaxPool2d(layer.kernel, layer.stride, pad, ceil_mode=not deployed)
                trunk.add_module(f"pool{number}", pooling)
            else:
                size, alpha, constant, neighbourhood = layer
                norm = LocalResponseNorm(size, alpha=alpha, constant=constant, neighbourhood=neighbourhood)
                trunk.add_module(f"norm{number}", norm)
        return trunk, channels

    def _initialise(self) -> None:
        """Draw normal weights as released; where layers are narrower, wider by as much as keeps their responses."""
        biases = iter([layer.bias for layer in NETWORKS[self.name].layers if isinstance(layer, Conv)] + [1.0] * 3)
        first = True
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                shrunk = 1.0 if first else self.width
                nn.init.normal_(module.weight, std=WEIGHT_DEVIATION / shrunk**0.5)
                nn.init.constant_(module.bias, next(biases))  # type: ignore[arg-type]
                first = False

    # Files

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the trunk and its padding: maps of other weights never meet in one cache."""
        digest = hashlib.sha256(f"{self.name} {self.width} {self.padding}".encode())
        for tensor in self.trunk.state_dict().values():
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return JSON from which ``from_description`` builds the same network again, without its weights."""
        levels = None if self.levels is None else list(self.levels)
        own = {"kind": "published", "name": self.name, "levels": levels, "classes": self.classes}
        return own | {"width": self.width, "padding": self.padding}

    def trainable(self) -> nn.Module:
        """Return what learns when the network is tuned."""
        return self.trunk

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights of the trunk, which maps are computed by."""
        return dict(self.trunk.state_dict())

    @classmethod
    def from_description(cls, description: Mapping[str, Any], *, padding: Padding | None = None) -> "PublishedNet":
        """Build the network that ``describe`` told of; ``padding``, where given, instead of its own."""
        options = {key: description[key] for key in ("levels", "classes", "width")}
        return cls(description["name"], padding=padding or description["padding"], **options)

    def save(self, path: Path | str, *, notes: Mapping[str, Any] | None = None) -> None:
        """Write the network to one safetensors file, whole or not at all; ``notes`` are added to its own.

        Recipes and tests take the order of the classes from ``notes["classes"]``, a list of names.
        """
        told = {"network": self.describe(), "notes": self.notes | dict(notes or {})}
        write_tensors(Path(path), self.state_dict(), metadata={"kind": KIND, "version": VERSION, **told})

    @classmethod
    def load(cls, path: Path | str, *, padding: Padding | None = None) -> "PublishedNet":
        """Read a network that ``save`` wrote, in ``eval`` mode; ``padding``, where given, instead of its own.

        Raises:
            CorruptFileError: a damaged file, or one that is no network. DataError: one that cannot be opened.
        """
        tensors, metadata = read_tensors(Path(path))
        return cls.from_file(Path(path), tensors, metadata, padding=padding)

    @classmethod
    def from_file(
        cls,
        path: Path,
        tensors: Mapping[str, Tensor],
        metadata: Mapping[str, Any],
        *,
        cache: TensorCache | None = None,  # noqa: ARG003 (one signature for all kinds; a network keeps nothing)
        padding: Padding | None = None,
    ) -> "PublishedNet":
        """Make the network of what a file holds; raises as ``load``."""
        check_model(path, metadata, kind=KIND, version=VERSION)
        network = cls.from_description(metadata["network"], padding=padding)
        network.load_state_dict(dict(tensors))
        network.notes = dict(metadata["notes"])
        return network.eval()

    # Checks

    def _check_pixels(self, pixels: Tensor) -> None:
        check_shape("PublishedNet", "pixels", pixels.shape, ("N", 3, "H", "W"), advice="Use images.to_tensor")
        size = (pixels.shape[2], pixels.shape[3])
        if min(self.map_size(size)) < 1:
            expected = f"at least {self.smallest_side} pixels a side"
            advice = "Scale the image up: its shorter side to 224, as in training"
            raise ShapeError(message("PublishedNet", "pixels", expected, f"{size[0]} x {size[1]}", advice))

    def _checked_names(self, names: Iterable[str]) -> list[str]:
        wanted = list(dict.fromkeys(names))
        known = self.layer_names
        for name in wanted:
            expected = f"one of {', '.join(known)}"
            check_that(name in known, "PublishedNet", "layer", expected, repr(name), advice="Name one of these")
        return wanted


def _widened(count: int, width: float) -> int:
    """Return ``count`` times ``width``, as a multiple of 8 where that is no more than it was."""
    return min(count, max(8, round(count * width / 8) * 8)) if width <= 1 else round(count * width / 8) * 8
