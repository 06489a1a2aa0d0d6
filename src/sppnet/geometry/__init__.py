"""Every coordinate rule, once: boxes, regions to windows, bin edges, box deltas, suppression.

Boxes are (N, 4) float64 ``[left, top, right, bottom]`` in 0-based pixels, ends excluded: the pixels of a box
are ``left .. right - 1``. Sizes are ``(height, width)``. Windows are the same in whole cells of a feature map.
"""

from sppnet.geometry.boxes import (
    MAX_LOG_RATIO,
    VOTE_SHARPNESS,
    Boxes,
    ScoredBoxes,
    Size,
    apply_deltas,
    area,
    box_deltas,
    check_boxes,
    clip_boxes,
    clip_polygon,
    flip_boxes,
    iou,
    nms,
    scale_boxes,
    vote,
)
from sppnet.geometry.sizes import SHORT_SIDES, longer_side_size, shorter_side_size, usual_short_side
from sppnet.geometry.upright import FROM_BELOW, FROM_RIGHT, SIDEWAYS, upright_boxes, upright_points
from sppnet.geometry.views import VIEW_SIDE, nearest_scale, view_regions, warp_places
from sppnet.geometry.windows import (
    RELEASED_SHRINK,
    AxisGrid,
    CellGrid,
    Layer,
    WindowRule,
    axis_grid,
    bin_edges,
    cells_along,
    regions_of_windows,
    unique_windows,
    windows_from_regions,
)

__all__ = [
    "FROM_BELOW",
    "FROM_RIGHT",
    "MAX_LOG_RATIO",
    "RELEASED_SHRINK",
    "SHORT_SIDES",
    "SIDEWAYS",
    "VIEW_SIDE",
    "VOTE_SHARPNESS",
    "AxisGrid",
    "Boxes",
    "CellGrid",
    "Layer",
    "ScoredBoxes",
    "Size",
    "WindowRule",
    "apply_deltas",
    "area",
    "axis_grid",
    "bin_edges",
    "box_deltas",
    "cells_along",
    "check_boxes",
    "clip_boxes",
    "clip_polygon",
    "flip_boxes",
    "iou",
    "longer_side_size",
    "nearest_scale",
    "nms",
    "regions_of_windows",
    "scale_boxes",
    "shorter_side_size",
    "unique_windows",
    "upright_boxes",
    "upright_points",
    "usual_short_side",
    "view_regions",
    "vote",
    "warp_places",
    "windows_from_regions",
]
