"""Means by sums: those of the cells themselves, on bins of any size."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sppnet.features.sums import weighed_means, window_means
from sppnet.ops import pool_windows

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@settings(deadline=None)  # the first call compiles
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**16))
def test_means_are_those_of_average_pooling(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = torch.from_numpy(rng.normal(size=(height, width, 3)).astype(np.float32)).to(DEVICE)
    left, top = rng.integers(0, width, 7), rng.integers(0, height, 7)
    windows = np.stack([left, top, rng.integers(left + 1, width + 1), rng.integers(top + 1, height + 1)], axis=1)
    means = window_means(cells, windows, (3, 2, 1))
    pooled = pool_windows(cells.permute(2, 0, 1), torch.from_numpy(windows), levels=(3, 2, 1), mode="average")
    torch.testing.assert_close(means, pooled.transpose(1, 2).cpu(), atol=1e-5, rtol=1e-5)
    weights = torch.from_numpy(rng.normal(size=(4, 14 * 3)).astype(np.float32))
    scores = weighed_means(cells, windows, (3, 2, 1), weights)
    torch.testing.assert_close(scores, means.flatten(1) @ weights.T, atol=1e-4, rtol=1e-4)


def test_no_windows_give_no_means() -> None:
    none = np.zeros((0, 4), np.int64)
    assert window_means(torch.zeros(2, 2, 5), none, (1,)).shape == (0, 1, 5)
    assert weighed_means(torch.zeros(2, 2, 5), none, (1,), torch.zeros(3, 5)).shape == (0, 3)


@pytest.mark.parametrize("size", [1e-3, 1e4])
def test_large_maps_lose_nothing(size: float) -> None:
    """A map of 600 x 400 cells: the last cell alone is the difference of four sums of a quarter of a million."""
    cells = torch.full((600, 400, 1), size)
    assert window_means(cells, np.array([[399, 599, 400, 600]]), (1,)).item() == pytest.approx(size, rel=1e-6)


@pytest.mark.parametrize("block", [1, 100, 7 * 9 * 5])
def test_large_maps_are_summed_in_parts(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    rng = np.random.default_rng(0)
    cells = torch.from_numpy(rng.normal(size=(7, 9, 5)).astype(np.float32)).half()
    windows = np.array([[0, 0, 9, 7], [2, 3, 4, 6], [8, 6, 9, 7]])
    weights = torch.from_numpy(rng.normal(size=(3, 5 * 5)).astype(np.float32))
    means, scores = window_means(cells, windows, (2, 1)), weighed_means(cells, windows, (2, 1), weights)
    monkeypatch.setattr("sppnet.features.sums.BLOCK", block)
    assert torch.equal(window_means(cells, windows, (2, 1)), means)
    torch.testing.assert_close(weighed_means(cells, windows, (2, 1), weights), scores, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(scores, means.flatten(1) @ weights.T, atol=1e-4, rtol=1e-4)
