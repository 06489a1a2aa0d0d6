"""A classifier as a graph: image -> a score for each class."""

import numpy as np
import onnx

from sppnet.classification.classifier import Classifier
from sppnet.errors import check_that
from sppnet.export.graph import Graph, Value
from sppnet.export.images import image_inputs
from sppnet.export.networks import network_maps
from sppnet.export.pooling import block_table, pooled_windows
from sppnet.features.whole_image import ImageEncoder

SHORTEST = 1e-12  # vectors are divided by their length, or by this


def classifier_graph(classifier: Classifier, *, scaled: bool = False) -> onnx.ModelProto:
    """Write a classifier as a graph.

    Args:
        classifier: that was trained or loaded.
        scaled: whether images come scaled; otherwise the graph scales.
    Returns:
        ``image`` (height, width, 3) uint8 RGB -> ``scores`` (K,) float32, as
        ``Classifier.predict`` gives them.
    Raises:
        ArgumentError: averages of more than the whole map.
    """
    images, encoder = classifier.encoder_, classifier.encoder_.encoder
    plain = images.mode == "max" or images.levels == (1,)
    advice = "Train it with maxima"
    check_that(plain, "export", "model", "of maxima, or of one average", images.levels, advice=advice)
    graph = Graph()
    (image,), _ = image_inputs(graph, [encoder.short_side], scaled=scaled, multiple=encoder.multiple)
    vector = _vector(graph, images, image)
    if images.mirrored:
        vector = (vector + _vector(graph, images, _mirrored(graph, image))) / 2
    weights, bias = classifier.planes_
    scores = graph.op("Softmax", vector @ weights.numpy().T + bias.numpy(), axis=1)
    graph.output("scores", scores.reshape(-1), ["classes"])
    return graph.model()


def _mirrored(graph: Graph, image: Value) -> Value:
    """Turn (h, w, 3) left to right."""
    width = image.shape(1)
    return image.take(width - 1 - graph.range(width), axis=1)


def _vector(graph: Graph, images: ImageEncoder, image: Value) -> Value:
    """Run a scaled image through the network, and pool and scale its map: (1, C * B) float32."""
    encoder = images.encoder
    cells = network_maps(graph, encoder.backbone, image, [encoder.layer])[encoder.layer]
    vector = _pooled(graph, cells, images.levels, images.mode).to(np.float16).to(np.float32)
    if not images.normalised:
        return vector
    roots = graph.op("Sqrt", graph.op("Abs", vector))
    vector = graph.op("Sign", vector) * roots  # a map of hardswish or SiLU has values below 0
    length = graph.op("Sqrt", (vector * vector).over("ReduceSum", 1, keep=True))
    return vector / length.larger(SHORTEST)


def _pooled(graph: Graph, cells: Value, levels: tuple[int, ...], mode: str) -> Value:
    """Pool a whole map (H, W, C) into one row (1, C * B), channel by channel."""
    if mode == "average":
        return cells.to(np.float32).over("ReduceMean", 0).over("ReduceMean", 0, keep=False).insert(0)
    height, width, channels = (cells.shape(axis) for axis in range(3))
    whole = graph.stack(graph.constant(np.array(0)), graph.constant(np.array(0)), width, height).insert(0)
    rows = pooled_windows(block_table(graph, cells, levels), whole, levels)
    by_bin = graph.op("Reshape", rows, graph.stack(graph.constant(np.array(-1)), channels))
    return by_bin.transpose(1, 0).reshape(1, -1)
