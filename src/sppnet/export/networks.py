"""A network's layers up to its maps as a graph: what it calls while it looks at one small image, call by call.

Padding that depends on the size ("SAME") is told by its amounts on an image of 64 x 64 pixels, where it is uneven, and
becomes the operator's own; everything else that the calls say holds at any size.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sppnet.backbones.protocol import Backbone
from sppnet.errors import ArgumentError, check_that, message
from sppnet.export.graph import Graph, Value

SAMPLE: Final = 64  # pixels a side: a whole number of strides


def network_maps(graph: Graph, backbone: Backbone, pixels: Value, layers: Sequence[str]) -> dict[str, Value]:
    """Run a scaled image through a network.

    Args:
        pixels: (h, w, 3) uint8 RGB. layers: names of the network's maps.
    Returns:
        layer -> (H, W, C) float16, rounded as ``Encoder`` does.
    Raises:
        ArgumentError: the network calls a function that has no operator here.
    """
    mean, std = (np.asarray(each, dtype=np.float32) for each in (backbone.mean, backbone.std))
    normal = (pixels.to(np.float32) - mean) / std
    found = layer_values(graph, backbone, normal.transpose(2, 0, 1).insert(0), layers)
    return {layer: value.transpose(0, 2, 3, 1).drop(0).to(np.float16) for layer, value in found.items()}


def layer_values(graph: Graph, backbone: Backbone, pixels: Value, layers: Sequence[str]) -> dict[str, Value]:
    """Run normalised pixels (N, 3, H, W) through a network: layer -> (N, C, H', W'); raises as ``network_maps``."""
    recorder = _Recorder(graph)
    sample = torch.zeros(1, 3, SAMPLE, SAMPLE)
    recorder.known(sample, pixels)
    with torch.no_grad(), recorder:
        made = backbone.activations(sample, layers)
    return {layer: recorder.value_of(made[layer]) for layer in layers}


class _Recorder(TorchFunctionMode):
    """Adds an operator for each call of torch on what it knows."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self._values: dict[int, tuple[Tensor, Value, list[int]]] = {}

    def known(self, tensor: Tensor, value: Value, padding: list[int] | None = None) -> None:
        """Remember which value a tensor is, and the zeros around it that are not in the value."""
        self._values[id(tensor)] = (tensor, value, padding or [0, 0, 0, 0])

    def value_of(self, tensor: Tensor) -> Value:
        """Return a known tensor's value, a constant for others."""
        if id(tensor) in self._values:
            return self._values[id(tensor)][1]
        return self.graph.constant(tensor.detach().numpy())

    def padding_of(self, tensor: Tensor) -> list[int]:
        """Return the zeros above, left, below and right of a known tensor's value."""
        return self._values[id(tensor)][2]

    def __torch_function__(
        self, call: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = call(*args, **(kwargs or {}))
        read = [each for each in _tensors(args) if id(each) in self._values]
        if isinstance(made, Tensor) and read:
            name = getattr(call, "__name__", str(call)).strip("_")
            if name not in _OPERATORS:
                expected, advice = "on a network of known layers", "Export a model on EfficientNet-Lite"
                raise ArgumentError(message("export", "model", expected, f"one that calls {name}", advice))
            _OPERATORS[name](self, made, *args, **(kwargs or {}))
        return made


def _tensors(args: Any) -> list[Tensor]:
    if isinstance(args, Tensor):
        return [args]
    return [tensor for each in args for tensor in _tensors(each)] if isinstance(args, tuple | list) else []


def _conv(
    recorder: _Recorder,
    made: Tensor,
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> None:
    inputs = [recorder.value_of(features), recorder.value_of(weight)]
    inputs += [] if bias is None else [recorder.value_of(bias)]
    around = [own + more for own, more in zip(_pair(padding) * 2, recorder.padding_of(features), strict=True)]
    # On a whole number of strides, an uneven padding is one that follows the size.
    pads: dict[str, Any] = {"auto_pad": "SAME_UPPER"} if around[:2] != around[2:] else {"pads": around}
    pads |= {"strides": _pair(stride), "dilations": _pair(dilation), "group": groups}
    recorder.known(made, recorder.graph.op("Conv", *inputs, **pads))


def _pad(recorder: _Recorder, made: Tensor, features: Tensor, amounts: Sequence[int], *_: Any, **__: Any) -> None:
    left, right, top, bottom = amounts
    recorder.known(made, recorder.value_of(features), [top, left, bottom, right])


def _max_pool(
    recorder: _Recorder,
    made: Tensor,
    features: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    **_: Any,
) -> None:
    kernel, strides, pads = (_pair(each) for each in (kernel_size, stride or kernel_size, padding))
    places = {"kernel_shape": kernel, "strides": strides, "pads": pads * 2, "dilations": _pair(dilation)}
    value = recorder.graph.op("MaxPool", recorder.value_of(features), ceil_mode=int(ceil_mode), **places)
    recorder.known(made, value)


def _batch_norm(
    recorder: _Recorder,
    made: Tensor,
    features: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor,
    bias: Tensor,
    training: bool = False,  # noqa: ARG001
    momentum: float = 0.1,  # noqa: ARG001
    eps: float = 1e-5,
) -> None:
    inputs = [recorder.value_of(each) for each in (features, weight, bias, mean, variance)]
    recorder.known(made, recorder.graph.op("BatchNormalization", *inputs, epsilon=eps))


def _between(least: float, most: float) -> Callable[..., None]:
    def record(recorder: _Recorder, made: Tensor, features: Tensor, *_: Any, **__: Any) -> None:
        ends = [recorder.graph.constant(np.array(end, dtype=np.float32)) for end in (least, most)]
        recorder.known(made, recorder.graph.op("Clip", recorder.value_of(features), *ends))

    return record


def _same(recorder: _Recorder, made: Tensor, features: Tensor, *_: Any, **__: Any) -> None:
    recorder.known(made, recorder.value_of(features))


def _elementwise(kind: str) -> Callable[..., None]:
    def record(recorder: _Recorder, made: Tensor, *inputs: Any, **_: Any) -> None:
        values = [recorder.value_of(torch.as_tensor(each)) for each in inputs if not isinstance(each, bool)]
        recorder.known(made, recorder.graph.op(kind, *values))

    return record


def _global_average(recorder: _Recorder, made: Tensor, features: Tensor, *_: Any, **__: Any) -> None:
    whole = made.shape[2:] == (1, 1)
    expected, advice = "on a network that averages whole maps", "Export a model on EfficientNet-Lite"
    check_that(whole, "export", "model", expected, f"parts of {tuple(made.shape)}", advice=advice)
    recorder.known(made, recorder.graph.op("GlobalAveragePool", recorder.value_of(features)))


def _cat(recorder: _Recorder, made: Tensor, parts: Sequence[Tensor], dim: int = 0) -> None:
    recorder.known(made, recorder.graph.join(*(recorder.value_of(part) for part in parts), axis=dim))


def _silu(recorder: _Recorder, made: Tensor, features: Tensor, *_: Any, **__: Any) -> None:
    value = recorder.value_of(features)
    recorder.known(made, value * recorder.graph.op("Sigmoid", value))


def _hardsigmoid(recorder: _Recorder, made: Tensor, features: Tensor, *_: Any, **__: Any) -> None:
    recorder.known(made, recorder.graph.op("HardSigmoid", recorder.value_of(features), alpha=1 / 6, beta=0.5))


def _pair(sizes: Any) -> list[int]:
    return list(sizes) if isinstance(sizes, tuple | list) else [sizes, sizes]


_OPERATORS: Final[dict[str, Callable[..., None]]] = {
    "conv2d": _conv,
    "pad": _pad,
    "max_pool2d": _max_pool,
    "batch_norm": _batch_norm,
    "relu": _elementwise("Relu"),
    "sigmoid": _elementwise("Sigmoid"),
    "hardswish": _elementwise("HardSwish"),
    "silu": _silu,
    "relu6": _between(0.0, 6.0),
    "hardsigmoid": _hardsigmoid,
    "adaptive_avg_pool2d": _global_average,
    "add": _elementwise("Add"),
    "iadd": _elementwise("Add"),
    "mul": _elementwise("Mul"),
    "cat": _cat,
    "dropout": _same,
    "contiguous": _same,
    "detach": _same,
}
