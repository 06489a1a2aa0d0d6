"""An image at the network's scales, inside the graph or before it."""

from collections.abc import Sequence

import numpy as np

from sppnet.export.graph import Graph, Value
from sppnet.export.regions import scaled_size


def image_inputs(
    graph: Graph, short_sides: Sequence[int], *, scaled: bool, multiple: int = 1
) -> tuple[list[Value], Value]:
    """Add the input ``image``, (height, width, 3) uint8 RGB, and scale it as ``images.resize`` does.

    Args:
        short_sides, multiple: of the scaled images, see ``geometry.shorter_side_size``.
        scaled: whether they come scaled: of one scale as ``image``, of several as ``image480``, ``image688``, ...
    Returns:
        (h, w, 3) uint8 the image at each scale, and (2,) int64 the (height, width) of the first input.
    """
    if scaled:
        names = input_names(short_sides)
        images = [graph.input(name, np.uint8, [f"height_{name}", f"width_{name}", 3]) for name in names]
        return images, graph.op("Shape", images[0], end=2)
    image = graph.input("image", np.uint8, ["height", "width", 3])
    own = graph.op("Shape", image, end=2)
    # Pillow's bicubic filter: smoothed when it shrinks, and what lies outside the image counts nothing.
    options = {"mode": "cubic", "cubic_coeff_a": -0.5, "antialias": 1, "exclude_outside": 1}
    images = []
    for short_side in short_sides:
        wanted = scaled_size(graph, own, short_side, multiple=multiple)
        sizes = graph.join(graph.constant(np.array([1])), wanted, graph.constant(np.array([3])))
        images.append(graph.op("Resize", image.insert(0), None, None, sizes, **options).drop(0))
    return images, own


def input_names(short_sides: Sequence[int]) -> list[str]:
    """Return what the inputs for images that come scaled are called."""
    return ["image"] if len(short_sides) == 1 else [f"image{side}" for side in short_sides]
