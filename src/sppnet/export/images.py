"""An image at the network's scale, inside the graph or before it."""

import numpy as np

from sppnet.export.graph import Graph, Value
from sppnet.export.regions import scaled_size


def image_input(graph: Graph, short_side: int | None, *, multiple: int = 1) -> tuple[Value, Value]:
    """Add the input ``image``, (height, width, 3) uint8 RGB, and scale it as ``images.resize`` does.

    Args:
        short_side, multiple: of the scaled image, see ``geometry.shorter_side_size``; None: it comes scaled.
    Returns:
        (h, w, 3) uint8 the scaled image, and (2,) int64 the (height, width) of the input.
    """
    image = graph.input("image", np.uint8, ["height", "width", 3])
    own = graph.op("Shape", image, end=2)
    if short_side is None:
        return image, own
    wanted = scaled_size(graph, own, short_side, multiple=multiple)
    sizes = graph.join(graph.constant(np.array([1])), wanted, graph.constant(np.array([3])))
    # Pillow's bicubic filter: smoothed when it shrinks, and what lies outside the image counts nothing.
    options = {"mode": "cubic", "cubic_coeff_a": -0.5, "antialias": 1, "exclude_outside": 1}
    return graph.op("Resize", image.insert(0), None, None, sizes, **options).drop(0), own
