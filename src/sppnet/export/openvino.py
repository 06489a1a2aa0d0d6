"""A detector by OpenVINO, which computes coordinates in 32 bits: do its regions fall on the same cells?"""

from itertools import product
from typing import Any, Final

import numpy as np
import torch

from sppnet.detection.model import DetectorModel
from sppnet.errors import check_that
from sppnet.export.graph import Graph
from sppnet.export.installed import check_engine
from sppnet.export.regions import grid_regions, map_cells, windows_of
from sppnet.features.maps import FeatureMap
from sppnet.geometry import shorter_side_size
from sppnet.proposals.grid import GridProposals

SIZES: Final = ((97, 131), (240, 320), (333, 500), (480, 640), (640, 480), (1080, 1920), (1500, 2000))
MOST: Final = (
    1e-3  # of the windows, by chance; where a side ends on the edge of a cell again and again, it is a percent
)
OPTIONS: Final = {"INFERENCE_PRECISION_HINT": "f32"}


def check_windows(model: DetectorModel) -> None:
    """Compare the windows of a detector's grid with OpenVINO's, at each scale of images of some sizes.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        ArgumentError: more than one window in a thousand is another one.
    """
    check_engine("openvino")
    import openvino

    encoder, told = model.encoder.split()[0], model.proposals.describe()
    grid, layer, rule = told.get("grid", told), encoder.layers[0], encoder.describe()["rule"]
    graph = Graph()
    sizes = graph.input("size", np.int64, [2]), graph.input("scaled", np.int64, [2])
    cells = graph.input("cells", np.float16, ["height", "width", 1])
    regions = grid_regions(graph, sizes[0].to(np.float64), grid["shapes"], grid["short_side"], grid["step"])
    graph.output("windows", windows_of(regions, map_cells(cells, encoder.backbone, layer, sizes, rule)), ["r", 4])
    read = openvino.Core().read_model(graph.model().SerializeToString())
    program: Any = openvino.compile_model(read, "CPU", OPTIONS)
    for size, short_side in product(SIZES, encoder.scales):
        scaled = shorter_side_size(size, short_side)
        place = encoder.backbone.grid(layer, scaled)
        counts = [int(side // axis.stride) for side, axis in zip(scaled, (place.down, place.across), strict=True)]
        proposed = GridProposals(tuple(map(tuple, grid["shapes"])), grid["short_side"], grid["step"]).of_size(size)
        expected = FeatureMap(torch.zeros(1, *counts), place, size, scaled, rule).windows(proposed)
        given = {"size": np.array(size), "scaled": np.array(scaled), "cells": np.zeros((*counts, 1), np.float16)}
        (found,) = program(given).values()
        alike = found.shape == expected.shape and (found != expected).any(axis=1).mean() <= MOST
        what = "one whose regions fall on the same cells in 32 bits"
        advice = "Export it with --format onnx or pt2, or have 'sppnet predict --engine openvino' run the network alone"
        check_that(alike, "export", "model", what, f"others in {size[0]} x {size[1]} pixels", advice=advice)
