"""Large images through the network tile by tile: one feature map in bounded memory.

A map is computed in parts that overlap, and only the middle of each is taken. Regions are pooled from the one map that
comes of it, so that an object on the border of two tiles is found once, like any other. What a cell can see ends
``HALO`` pixels from its tile, less than the deepest cells see of a whole image: their values differ a little. To a
transformer each part is an image of its own.
"""

import math
from collections.abc import Sequence
from itertools import product
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.backbones.protocol import Backbone
from sppnet.geometry import Size
from sppnet.images import MAX_WHOLE_PIXELS, to_tensor
from sppnet.progress import stage

TILE: Final = 768  # pixels a side that a tile adds to the map: at most, in whole cells of all layers
HALO: Final = 128  # pixels around it that are looked at too, at least
UNIT: Final = 32  # the strides of all layers divide it, but for patches of other sizes

Span = tuple[int, int]  # first and last pixel of an axis, the last one not included


def padded_size(size: Size) -> Size:
    """Return the (height, width) for which the cells of an image's map lie: of a tiled one, whole units.

    >>> padded_size((480, 641)), padded_size((4000, 6001))
    ((480, 641), (4000, 6016))
    """
    height, width = size
    if height * width <= MAX_WHOLE_PIXELS:
        return size
    return -(-height // UNIT) * UNIT, -(-width // UNIT) * UNIT


def activations(backbone: Backbone, pixels: NDArray[np.uint8], layers: Sequence[str]) -> dict[str, Tensor]:
    """Run an image through the network, whole or in tiles.

    Args:
        pixels: (H, W, 3) uint8 RGB, scaled. layers: names of feature maps.
    Returns:
        layer -> (C, H', W') float16, channels last in memory, with the cells of ``padded_size``.
    """
    height, width = pixels.shape[:2]
    with stage("network"), torch.inference_mode():
        if height * width <= MAX_WHOLE_PIXELS:
            values = backbone.activations(_inputs(backbone, pixels), layers)
            return {name: values[name][0].half() for name in layers}
        whole: dict[str, Tensor] = {}
        strides = {name: round(backbone.grid(name, (TILE, TILE)).down.stride) for name in layers}
        unit = math.lcm(UNIT, *strides.values())
        step, halo = max(unit, TILE // unit * unit), -(-HALO // unit) * unit
        size = padded_size((height, width))
        # The last tile comes first: it tells how many cells there are.
        for corner in reversed(list(product(*(range(0, side, step) for side in size)))):
            tile = [(start, min(length, start + step)) for start, length in zip(corner, size, strict=True)]
            seen = [
                (max(0, top - halo), min(length, end + halo)) for (top, end), length in zip(tile, size, strict=True)
            ]
            values = backbone.activations(_cut(backbone, pixels, seen), layers)
            for name, stride in strides.items():
                _put(whole, name, values[name][0], stride, size, tile, seen)
        return {name: values.permute(2, 0, 1) for name, values in whole.items()}


def _inputs(backbone: Backbone, pixels: NDArray[np.uint8]) -> Tensor:
    return to_tensor(pixels, mean=backbone.mean, std=backbone.std)[None].to(backbone.device)


def _cut(backbone: Backbone, pixels: NDArray[np.uint8], seen: Sequence[Span]) -> Tensor:
    """Return a part of an image as the network takes it, filled up as the network's own padding does."""
    (top, bottom), (left, right) = seen
    inputs = _inputs(backbone, pixels[top:bottom, left:right])
    return torch.nn.functional.pad(inputs, (0, right - left - inputs.shape[3], 0, bottom - top - inputs.shape[2]))


def _put(
    whole: dict[str, Tensor],
    name: str,
    values: Tensor,
    stride: int,
    size: Size,
    tile: Sequence[Span],
    seen: Sequence[Span],
) -> None:
    """Put the cells of one tile, of the map (C, h, w) of what was seen, into the whole map (H', W', C)."""
    before = [first // stride for first, _ in seen]
    if name not in whole:  # the last tile: it sees to the end
        counts = [others + own for others, own in zip(before, values.shape[1:], strict=True)]
        whole[name] = torch.empty((*counts, values.shape[0]), dtype=torch.float16, device=values.device)
    rows, columns = (
        slice(min(start // stride, count), count if end == length else min(end // stride, count))
        for (start, end), length, count in zip(tile, size, whole[name].shape[:2], strict=True)
    )
    above, left = before
    taken = values[:, rows.start - above : rows.stop - above, columns.start - left : columns.stop - left]
    whole[name][rows, columns] = taken.permute(1, 2, 0).half()
