"""Short rows: their scores are those of whole rows, up to the hundredth that is left out."""

import numpy as np
import torch

from sppnet.learning.compression import EVENED, MOST, Compression

LAYOUT = [((2, 1), 6), ((1,), 8)]


def _rows(count: int, rank: int) -> np.ndarray:
    """Return rows of two maps whose channels have few degrees of freedom."""
    rng = np.random.default_rng(0)
    parts = [
        rng.normal(size=(count * bins, rank)) @ rng.normal(size=(rank, channels)) for bins, channels in ((5, 6), (1, 8))
    ]
    return np.concatenate([part.reshape(count, -1) for part in parts], axis=1).astype(np.float32)


def test_weights_of_short_rows_score_whole_rows_alike() -> None:
    rows = _rows(40, rank=2)
    axes = Compression.fit(rows, LAYOUT)
    short = axes.shorten(rows)
    assert axes.length == short.shape[1] == 2 * 5 + 2
    weights = torch.randn(3, axes.length, generator=torch.Generator().manual_seed(1))
    whole = torch.from_numpy(rows) @ axes.lengthen(weights).T
    torch.testing.assert_close(torch.from_numpy(short).float() @ weights.T, whole, atol=0.05, rtol=0.01)


def test_a_hundredth_of_the_length_at_most_is_left_out() -> None:
    rows = np.random.default_rng(2).normal(size=(200, 38)).astype(np.float32)
    short = Compression.fit(rows, LAYOUT).shorten(rows).astype(np.float64)
    assert 0.985 <= (short**2).sum() / (rows.astype(np.float64) ** 2).sum() <= 1.001


def test_wide_maps_keep_a_bounded_number_of_channels() -> None:
    rows = np.random.default_rng(3).normal(size=(900, 600)).astype(np.float32)
    assert Compression.fit(rows, [((1,), 600)]).length == MOST


def test_no_rows_are_short_too() -> None:
    axes = Compression.fit(_rows(9, rank=3), LAYOUT)
    assert axes.shorten(np.zeros((0, 38), np.float32)).shape == (0, axes.length)


def test_channels_that_are_zero_throughout_have_no_part_in_the_axes() -> None:
    """Hundreds of them, as a network that was tuned on few images has: LAPACK finds no axes of their products."""
    rng = np.random.default_rng(4)
    alive = np.sort(rng.choice(1280, 55, replace=False))
    rows = np.zeros((1347, 1280), np.float32)
    rows[:, alive] = np.clip(rng.normal(size=(1347, 55)) - 0.5, 0, 6)
    axes = Compression.fit(rows, [((1,), 1280)])
    (basis,), (without,) = axes.bases, Compression.fit(rows[:, alive], [((1,), 55)]).bases
    assert torch.equal(basis[alive], without)
    assert int(basis.any(dim=1).sum()) == 55


def test_rows_of_nothing_but_zeros_keep_one_axis() -> None:
    assert Compression.fit(np.zeros((5, 8), np.float32), [((1,), 8)]).length == 1


def test_evened_rows_hold_as_much_and_their_weights_score_whole_rows_alike() -> None:
    rng = np.random.default_rng(5)
    rows = (rng.normal(size=(300, 38)) * np.r_[np.tile([6, 5, 4, 3, 2, 1], 5), np.arange(1, 9)]).astype(np.float32)
    plain = Compression.fit(rows, LAYOUT)
    evened = plain.evened(0.8)
    before, after = (axes.shorten(rows).astype(np.float32) for axes in (plain, evened))
    np.testing.assert_allclose((after**2).sum(), (before**2).sum(), rtol=1e-3)
    np.testing.assert_array_equal(after[:, 30:], before[:, 30:])  # what one bin pools stays
    energies = [(short[:, :30].reshape(-1, 6) ** 2).mean(axis=0) for short in (before, after)]
    slopes = np.log(energies[1] / energies[1][0]) / np.log(energies[0] / energies[0][0]).clip(max=-1e-9)
    np.testing.assert_allclose(slopes[1:], 1 - EVENED * 0.8, rtol=0.02)
    weights = torch.randn(3, evened.length, generator=torch.Generator().manual_seed(1))
    whole = torch.from_numpy(rows) @ evened.lengthen(weights).T
    torch.testing.assert_close(torch.from_numpy(after) @ weights.T, whole, atol=0.1, rtol=0.01)


def test_the_deepest_of_the_maps_that_the_whole_pyramid_pools_is_evened() -> None:
    rows = np.random.default_rng(6).normal(size=(50, 68)).astype(np.float32) * np.tile([1, 2], 34)
    plain = Compression.fit(rows, [((2, 1), 6), ((2, 1), 6), ((1,), 8)])
    changed = [not torch.equal(*pair) for pair in zip(plain.bases, plain.evened(0.5).bases, strict=True)]
    assert changed == [False, True, False]


def test_of_one_class_or_one_bin_nothing_is_evened() -> None:
    plain = Compression.fit(_rows(40, rank=2), LAYOUT)
    assert plain.evened(0) is plain
    single = Compression.fit(_rows(40, rank=2)[:, 30:], LAYOUT[1:])
    assert single.evened(0.8) is single


def test_nothing_but_zeros_is_evened_into_zeros() -> None:
    axes = Compression.fit(np.zeros((5, 30), np.float32), LAYOUT[:1]).evened(0.8)
    assert not axes.shorten(np.zeros((5, 30), np.float32)).any()
    assert torch.isfinite(axes.bases[0]).all()
