"""A network run by another engine than PyTorch: the same maps but for rounding, in less time.

Everything after the maps stays as it is, so that all that can be asked of a model can be asked by any engine: boxes,
features, explanations, learning. Which one is fastest depends on processor and network: ``compare_engines`` measures.
"""

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from statistics import median
from threading import Lock
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sppnet.backbones.protocol import Backbone
from sppnet.classification.classifier import Classifier
from sppnet.detection.detector import Detector
from sppnet.errors import ArgumentError, MissingExtraError, check_that
from sppnet.export.installed import TORCH, check_engine
from sppnet.features.encoder import MapsEncoder
from sppnet.geometry import CellGrid, shorter_side_size
from sppnet.images import Source, read_image, resize, to_tensor

CHECKED: Final = ((97, 131), (160, 90))  # (height, width) on which an engine is compared with the network
REPEATS: Final = 5  # of each engine, in turn

Run = Callable[[NDArray[np.float32]], Sequence[NDArray[np.float32]]]


class EngineNetwork(nn.Module):
    """A network whose layers another engine runs, on the processor; in all else it is the network itself.

    Args:
        network: whose weights it has as they are now.
        engine: one of ``ENGINES``. It takes as many threads as PyTorch has when it is first asked.
    Raises:
        MissingExtraError: an engine that is not installed. ArgumentError: a network on another device; or, when it
            is asked first, one with layers that have no operator, or whose maps differ.
    """

    def __init__(self, network: Backbone, engine: str) -> None:
        super().__init__()
        self.network, self.engine = network, engine
        check_engine(engine)
        _check_on_processor("EngineNetwork", network)
        self._opener = ENGINES[engine]
        self._runs: dict[tuple[str, ...], Run] = {}
        self._opening = Lock()

    def activations(self, pixels: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """(N, 3, H, W) -> name -> (N, C, H', W') float32, channels last in memory."""
        layers = tuple(names)
        with self._opening:
            if layers not in self._runs:
                self._runs[layers] = self._opened(layers)
        return self._run(self._runs[layers], pixels, layers)

    @staticmethod
    def _run(run: Run, pixels: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        made = run(np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy()))
        return {name: torch.from_numpy(values).permute(0, 3, 1, 2) for name, values in zip(layers, made, strict=True)}

    def _opened(self, layers: Sequence[str]) -> Run:
        """Open the graph of some layers, and compare what comes of it with PyTorch's on images of odd sides."""
        run = self._opener(_network_graph(self.network, layers), torch.get_num_threads())
        for size in CHECKED:
            image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
            inputs = to_tensor(image, mean=self.network.mean, std=self.network.std)[None]
            with torch.inference_mode():
                expected = self.network.activations(inputs, layers)
            for layer, given in self._run(run, inputs, layers).items():
                wanted = expected[layer]
                alike = given.shape == wanted.shape and torch.allclose(given, wanted, rtol=1e-2, atol=1e-2)
                what, advice = "on a network whose layers do the same at any size", "Take a model on EfficientNet-Lite"
                check_that(alike, self.engine, "model", what, f"one whose {layer} differs", advice=advice)
        return run

    @property
    def name(self) -> str:
        """The network's."""
        return self.network.name

    @property
    def mean(self) -> Any:
        """The network's."""
        return self.network.mean

    @property
    def std(self) -> Any:
        """The network's."""
        return self.network.std

    @property
    def channels(self) -> Mapping[str, int]:
        """The network's."""
        return self.network.channels

    @property
    def detector_layers(self) -> tuple[str, ...]:
        """The network's."""
        return self.network.detector_layers

    @property
    def classifier_layer(self) -> str:
        """The network's."""
        return self.network.classifier_layer

    @property
    def fingerprint(self) -> str:
        """The network's: it has the same weights."""
        return self.network.fingerprint

    @property
    def device(self) -> torch.device:
        """The processor."""
        return torch.device("cpu")

    def grid(self, layer: str, size: tuple[int, int]) -> CellGrid:
        """Return the network's."""
        return self.network.grid(layer, size)

    def describe(self) -> dict[str, Any]:
        """Return the network's: a model file does not tell what ran it."""
        return self.network.describe()

    def tensors(self) -> dict[str, Tensor]:
        """Return the network's."""
        return self.network.tensors()

    def trainable(self) -> nn.Module:
        """Return the network's: PyTorch trains."""
        return self.network.trainable()

    def _apply(self, *given: Any) -> "EngineNetwork":
        """Have the network moved, as PyTorch's modules are; raises as ``__init__`` where it goes off the processor."""
        super()._apply(*given)  # type: ignore[no-untyped-call]
        _check_on_processor("EngineNetwork", self.network)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Module:
        """Copy the network: what is tuned is run by PyTorch."""
        return copy.deepcopy(cast(nn.Module, self.network), memo)


def network_by(network: Backbone, engine: str) -> Backbone:
    """Return a network as an engine runs it; raises as ``EngineNetwork``."""
    return network if engine == TORCH else EngineNetwork(network, engine)


def run_by(model: Detector | Classifier, engine: str) -> Detector | Classifier:
    """Have another engine run the network of a model that was trained or loaded; raises as ``EngineNetwork``."""
    if engine == TORCH:
        return model
    encoder = model.model_.encoder if model.kind == "detector" else model.encoder_.encoder
    network = network_by(encoder.backbone, engine)
    network.activations(torch.zeros(1, 3, 32, 32), encoder.layers)  # what it cannot do is told before the work
    return model.encode_by(network)


def compare_engines(encoder: MapsEncoder, image: Source) -> dict[str, float]:
    """Return the median seconds of an encoder's network on an image at its first scale, by engine.

    Engines that are installed and agree with PyTorch take turns.

    Raises:
        ArgumentError: a network on another device than the processor, where engines run.
    """
    network = encoder.backbone.network if isinstance(encoder.backbone, EngineNetwork) else encoder.backbone
    _check_on_processor("compare_engines", network)
    pixels = read_image(image)
    scaled = resize(pixels, shorter_side_size((pixels.shape[0], pixels.shape[1]), encoder.scales[0]))
    inputs = to_tensor(scaled, mean=network.mean, std=network.std)[None]
    runs: dict[str, Backbone] = {TORCH: network}
    for engine in ENGINES:
        with suppress(MissingExtraError, ArgumentError):
            other = EngineNetwork(network, engine)
            other.activations(inputs, encoder.layers)
            runs[engine] = other
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(REPEATS):
        for name, each in runs.items():
            start = time.perf_counter()
            with torch.inference_mode():
                each.activations(inputs, encoder.layers)
            seconds[name].append(time.perf_counter() - start)
    return {name: median(taken) for name, taken in seconds.items()}


def check_maps(network: Backbone, layers: Sequence[str]) -> None:
    """Compare the graph of a network's layers with the network, in ONNX Runtime.

    Raises:
        ArgumentError: a layer that has no operator, the network does something by the image's size that no call
            tells, or lies on another device than the processor.
    """
    EngineNetwork(network, "onnxruntime").activations(torch.zeros(1, 3, 32, 32), layers)


def _check_on_processor(function: str, network: Backbone) -> None:
    device = network.device
    advice = 'Move its model there with model.to("cpu")'
    check_that(device.type == "cpu", function, "network", "on the processor", f"one on {device}", advice=advice)


def _network_graph(network: Backbone, layers: Sequence[str]) -> bytes:
    """(N, H, W, 3) float32 -> (N, H', W', C) float32 of each layer."""
    from sppnet.export.graph import Graph
    from sppnet.export.networks import layer_values

    graph = Graph()
    pixels = graph.input("pixels", np.float32, ["n", "height", "width", 3]).transpose(0, 3, 1, 2)
    for number, value in enumerate(layer_values(graph, network, pixels, layers).values()):
        cells = [f"{axis}{number}" for axis in ("height", "width")]
        graph.output(f"map{number}", value.transpose(0, 2, 3, 1), ["n", *cells, f"channels{number}"])
    content: bytes = graph.model().SerializeToString()
    return content


def _onnxruntime(graph: bytes, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # beside another program it costs both
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {"pixels": pixels})


def _openvino(graph: bytes, threads: int) -> Run:
    import openvino

    # Of what newer processors have, 16 bits a number would be taken unasked.
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(graph), "CPU", options)

    def run(pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        request = compiled.create_infer_request()  # one of its own: several threads may ask
        request.infer([pixels])
        return [request.get_output_tensor(number).data.copy() for number in range(len(compiled.outputs))]

    return run


ENGINES: Final[dict[str, Callable[[bytes, int], Run]]] = {"onnxruntime": _onnxruntime, "openvino": _openvino}
