"""Large images through the network tile by tile: one feature map in bounded memory.

A map is computed in parts that overlap, and only the middle of each is taken. Regions are pooled from the one map that
comes of it, so that an object on the border of two tiles is found once, like any other. What a cell can see ends
``HALO`` pixels from its tile, less than the deepest cells see of a whole image: their values differ a little.
"""

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

TILE: Final = 768  # pixels a side that a tile adds to the map
HALO: Final = 128  # pixels around it that are looked at too
UNIT: Final = 32  # the strides of all layers divide it


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
        rows, columns = (range(0, side, TILE) for side in padded_size((height, width)))
        for corner in product(rows, columns):
            _take(whole, backbone, pixels, corner, layers)
        return {name: values.permute(2, 0, 1) for name, values in whole.items()}


def _inputs(backbone: Backbone, pixels: NDArray[np.uint8]) -> Tensor:
    return to_tensor(pixels, mean=backbone.mean, std=backbone.std)[None].to(backbone.device)


def _take(
    whole: dict[str, Tensor],
    backbone: Backbone,
    pixels: NDArray[np.uint8],
    corner: tuple[int, int],
    layers: Sequence[str],
) -> None:
    """Run one tile with its surroundings, and put its cells into the whole maps (H', W', C)."""
    size = padded_size((pixels.shape[0], pixels.shape[1]))
    first = [max(0, side - HALO) for side in corner]
    last = [min(length, side + TILE + HALO) for side, length in zip(corner, size, strict=True)]
    seen = pixels[first[0] : last[0], first[1] : last[1]]
    inputs = _inputs(backbone, seen)
    lacking = [(last[axis] - first[axis]) - seen.shape[axis] for axis in (0, 1)]
    inputs = torch.nn.functional.pad(inputs, (0, lacking[1], 0, lacking[0]))  # as the network's own padding
    values = backbone.activations(inputs, layers)
    for name in layers:
        map_of_tile = values[name][0]
        stride = inputs.shape[2] // map_of_tile.shape[1]
        if name not in whole:
            shape = size[0] // stride, size[1] // stride, map_of_tile.shape[0]
            whole[name] = torch.empty(shape, dtype=torch.float16, device=map_of_tile.device)
        cells = [
            (start // stride, min(length, start + TILE) // stride, begin // stride)
            for start, length, begin in zip(corner, size, first, strict=True)
        ]
        (top, bottom, above), (left, right, before) = cells
        taken = map_of_tile[:, top - above : bottom - above, left - before : right - before]
        whole[name][top:bottom, left:right] = taken.permute(1, 2, 0).half()
