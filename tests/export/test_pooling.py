"""Windows pooled in standard operators by onnxruntime: the bits of the kernels."""

from collections.abc import Sequence

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from sppnet.export.graph import Graph
from sppnet.export.pooling import block_table, pooled_windows, window_scores
from sppnet.ops import bins, pool_windows

SIZES = [(13, 13), (1, 1), (2, 7), (38, 50), (5, 131), (64, 3), (1, 300), (60, 80)]
PYRAMIDS = [(6, 3, 2, 1), (3, 2, 1), (2, 1), (1,), (4, 3), (1, 2, 5)]
CHANNELS = 4


def _map(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.randn(CHANNELS, height, width, generator=generator)


def _windows(height: int, width: int, *, count: int = 60) -> Tensor:
    """Return windows of all sizes, the whole map and single cells at its corners among them."""
    rng = np.random.default_rng(height * 1000 + width)
    drawn = []
    for side in (width, height):
        first = rng.integers(0, side, count)
        drawn.append((first, first + 1 + (rng.random(count) * (side - first)).astype(np.int64)))
    (left, right), (top, bottom) = drawn
    fixed = [[0, 0, width, height], [0, 0, 1, 1], [width - 1, height - 1, width, height]]
    return torch.from_numpy(np.concatenate([fixed, np.stack([left, top, right, bottom], axis=1)]))


def _session(
    levels: Sequence[int], weights: np.ndarray | None = None, *, dtype: type = np.float32
) -> onnxruntime.InferenceSession:
    graph = Graph()
    cells, windows = graph.input("cells", dtype, ["h", "w", CHANNELS]), graph.input("windows", np.int64, ["r", 4])
    table = block_table(graph, cells, levels)
    rows = pooled_windows(table, windows, levels) if weights is None else window_scores(table, windows, levels, weights)
    graph.output("rows", rows, ["r", "d"])
    return onnxruntime.InferenceSession(graph.model().SerializeToString(), providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, features: Tensor, windows: Tensor) -> np.ndarray:
    cells = np.ascontiguousarray(features.permute(1, 2, 0).numpy())
    return session.run(None, {"cells": cells, "windows": windows.numpy()})[0]


def _expected(features: Tensor, windows: Tensor, levels: Sequence[int]) -> np.ndarray:
    return pool_windows(features, windows, levels=levels).transpose(1, 2).flatten(1).numpy()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("levels", PYRAMIDS, ids=str)
def test_it_has_the_bits_of_the_kernels(levels: tuple[int, ...], dtype: type) -> None:
    session = _session(levels, dtype=dtype)
    for size in SIZES:
        features, windows = torch.from_numpy(_map(*size).numpy().astype(dtype)), _windows(*size)
        found = _run(session, features, windows)
        np.testing.assert_array_equal(found, _expected(features, windows, levels))
        assert not np.signbit(found[found == 0]).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_nan_and_infinities_go_where_the_kernels_take_them(dtype: type) -> None:
    features, windows = torch.from_numpy(_map(19, 23).numpy().astype(dtype)), _windows(19, 23)
    features[0, 4, 4], features[1], features[2, 0, 0], features[3] = torch.nan, -torch.inf, torch.inf, -0.0
    found = _run(_session((3, 2, 1), dtype=dtype), features, windows)
    np.testing.assert_array_equal(found, _expected(features, windows, (3, 2, 1)))


def test_no_windows_give_no_rows() -> None:
    none = torch.zeros(0, 4, dtype=torch.int64)
    assert _run(_session((3, 1)), _map(5, 6), none).shape == (0, CHANNELS * bins((3, 1)))


def test_scores_are_the_products_of_the_pooled_rows() -> None:
    features, windows = _map(30, 40), _windows(30, 40)
    weights = np.random.default_rng(0).normal(size=(5, CHANNELS * bins((3, 2, 1)))).astype(np.float32)
    found = _run(_session((3, 2, 1), weights), features, windows)
    np.testing.assert_allclose(found, _expected(features, windows, (3, 2, 1)) @ weights.T, rtol=1e-4, atol=1e-4)
