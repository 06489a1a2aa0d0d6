"""An image at the network's scales, inside the graph or before it."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from sppnet.export.graph import Graph, Value
from sppnet.export.regions import scaled_size

TOGETHER: Final = 16  # lines: of 8 as of 16, the time is the same
UNIT: Final = 1 << 22  # Pillow's weights are whole numbers of this part
FINE: Final = 1 << 7  # of a weight's lower part: sums of images up to 250 times as large are exact


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
    return [_resized(image, scaled_size(graph, own, side, multiple=multiple)) for side in short_sides], own


def _resized(image: Value, size: Value) -> Value:
    """(H, W, 3) -> (h, w, 3) uint8: ``images.resize``, bit for bit, as far as its numbers are computed in 64 bits."""
    three = image.graph.constant(np.array(3))
    height, (tall, wide) = image.shape(0), (size.take(axis) for axis in range(2))
    columns = image.reshape(0, -1).transpose(1, 0)  # (W * 3, H)
    columns = _shaped(_line_by_line(_shaped(columns, image.shape(1), height * three), wide), wide * three, height)
    return _shaped(_line_by_line(columns.transpose(1, 0), tall), tall, wide, three)


def _line_by_line(lines: Value, count: Value) -> Value:
    """Make ``count`` lines of lines (L, N) uint8, each the weighted sum of some beside each other, as Pillow does it.

    Lines that are made of almost the same ones are made together, ``TOGETHER`` by one product of matrices. Pillow's
    weights are whole numbers of 22 bits: in two parts, each sum is a whole number that 32 bits of float hold.
    """
    graph, length = lines.graph, lines.shape(0)
    scale = length.to(np.float64) / count.to(np.float64)
    spread = scale.larger(1.0)  # lines that a unit of the kernel is: more when the image shrinks, which smooths
    groups = (count + (TOGETHER - 1)) // TOGETHER
    centres = (graph.range(groups * TOGETHER).smaller(count - 1).to(np.float64) + 0.5) * scale
    first = (centres - spread * 2 + 0.5).larger(0.0).to(np.int64).reshape(-1, TOGETHER, 1)
    end = (centres + spread * 2 + 0.5).to(np.int64).smaller(length).reshape(-1, TOGETHER, 1)
    most = (length * (TOGETHER - 1) + length.larger(count) * 4) // count + 3  # lines that one group is made of
    places = first.part(0, 1, 1) + graph.range(most)  # (groups, 1, most)
    distances = graph.op("Abs", (places.to(np.float64) - centres.reshape(-1, TOGETHER, 1) + 0.5) * (1.0 / spread))
    among = (places >= first) & (places < end)
    weights = graph.where(among, _bicubic(distances), graph.constant(np.array(0.0)))
    whole = graph.op("Floor", weights / weights.over("ReduceSum", 2, keep=True) * UNIT + 0.5)
    coarse = graph.op("Floor", whole / FINE)
    taken = lines.take(places.smaller(length - 1).drop(1)).to(np.float32)
    high, low = ((part.to(np.float32) @ taken).to(np.int32) for part in (coarse, whole - coarse * FINE))
    sums = ((high * FINE + low + UNIT // 2) // UNIT).larger(0).smaller(255).to(np.uint8)
    return _shaped(sums, groups * TOGETHER, lines.shape(1)).part(graph.constant(np.array([0])), count.insert(0), 0)


def _bicubic(distances: Value) -> Value:
    """Return Keys' kernel with a = -0.5, in Pillow's order of operations."""
    graph, far = distances.graph, (((distances - 5.0) * distances + 8.0) * distances - 4.0) * -0.5
    near = (distances * 1.5 - 2.5) * distances * distances + 1.0
    return graph.where(distances < 1.0, near, graph.where(distances < 2.0, far, graph.constant(np.array(0.0))))


def _shaped(value: Value, *lengths: Value) -> Value:
    return value.graph.op("Reshape", value, value.graph.stack(*lengths))


def input_names(short_sides: Sequence[int]) -> list[str]:
    """Return what the inputs for images that come scaled are called."""
    return ["image"] if len(short_sides) == 1 else [f"image{side}" for side in short_sides]
