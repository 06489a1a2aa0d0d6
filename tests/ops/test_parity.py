"""The kernel, the specification, PyTorch's adaptive pooling and the authors' released kernel give the same bits."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_pool

from sppnet.ops import Backend, Mode, bins, cpu_numba, pool_image, pool_windows

GOLDEN = np.load(Path(__file__).parent / "authors_pooling.npz")
BACKENDS: list[Backend | None] = [None, "reference"]
MODES: list[Mode] = ["max", "average"]
EVERY_LEVEL = (1, 2, 3, 4, 5, 6, 7, 8)
PYRAMID = (6, 3, 2, 1)
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]

both = pytest.mark.parametrize("backend", BACKENDS, ids=["kernel", "reference"])
each_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Thousands of tiny pools would each wait for a second thread; the tests of threads ask for more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_map(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def whole_numbers(*shape: int, seed: int = 0) -> Tensor:
    """Few values, so that almost every bin has ties, and sums of gradients are exact in any order."""
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(seed)).float()


def random_windows(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    draw = np.random.default_rng(seed)
    ends = [np.sort(draw.permuted(np.tile(np.arange(side + 1), (count, 1)), axis=1)[:, :2]) for side in (width, height)]
    return torch.from_numpy(np.stack([ends[0][:, 0], ends[1][:, 0], ends[0][:, 1], ends[1][:, 1]], axis=1))


def windows_of_every_size(side: int, margin: int) -> Tensor:
    """Every height and width up to ``side``, each somewhere on a map of ``side + margin`` cells."""
    draw = np.random.default_rng(side)
    sizes = np.stack(np.meshgrid(np.arange(1, side + 1), np.arange(1, side + 1)), axis=-1).reshape(-1, 2)
    corners = draw.integers(0, side + margin - sizes + 1)
    return torch.from_numpy(np.concatenate([corners, corners + sizes], axis=1))


def adaptive(features: Tensor, levels: Sequence[int], mode: Mode = "max") -> Tensor:
    """(..., H, W) -> (..., B) by PyTorch's own pooling."""
    pool = F.adaptive_max_pool2d if mode == "max" else F.adaptive_avg_pool2d
    return torch.cat([pool(features, level).flatten(-2) for level in levels], dim=-1)


def adaptive_windows(features: Tensor, windows: Tensor, levels: Sequence[int], mode: Mode = "max") -> Tensor:
    cut = [features[:, top:bottom, left:right] for left, top, right, bottom in windows.tolist()]
    return torch.stack([adaptive(window, levels, mode) for window in cut])


def same(found: Tensor, expected: Tensor) -> None:
    """The same bits; NaN equals NaN."""
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def gradient(pool: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    """The gradient under whole-numbered weights, different for every output."""
    leaf = features.detach().clone().requires_grad_()
    pooled = pool(leaf)
    weights = (torch.arange(pooled.numel()) % 61 - 30).reshape(pooled.shape).to(pooled.dtype)
    (found,) = torch.autograd.grad(pooled, leaf, weights)
    return found


def gradients_of_both(features: Tensor, windows: Tensor, levels: Sequence[int], mode: Mode) -> list[Tensor]:
    """The kernel's gradient and the specification's."""

    def pool(leaf: Tensor, backend: Backend | None) -> Tensor:
        return pool_windows(leaf, windows, levels=levels, mode=mode, backend=backend)

    return [gradient(partial(pool, backend=backend), features) for backend in BACKENDS]


# Forward


@both
@pytest.mark.slow
def test_every_window_up_to_32_by_32_is_adaptive_pooling(backend: Backend | None) -> None:
    features, windows = random_map(3, 37, 37), windows_of_every_size(32, 5)
    assert len(windows) == 1024
    expected = adaptive_windows(features, windows, EVERY_LEVEL)
    same(pool_windows(features, windows, levels=EVERY_LEVEL, backend=backend), expected)


def test_every_map_up_to_32_by_32_is_adaptive_pooling() -> None:
    for height in range(1, 33):
        for width in range(1, 33):
            features = random_map(3, height, width, seed=32 * height + width)
            same(pool_image(features, levels=EVERY_LEVEL), adaptive(features, EVERY_LEVEL))


@both
@each_mode
@pytest.mark.parametrize(
    "levels", [(1,), (7,), (1, 2, 3, 6), (2, 6, 1, 3), (3, 3), (6, 3, 6, 1, 1), (5, 4, 2), (12, 4, 6, 1), (1, 9, 3)]
)
def test_levels_come_in_the_order_asked_for(levels: tuple[int, ...], mode: Mode, backend: Backend | None) -> None:
    features, windows = whole_numbers(3, 17, 20), random_windows(30, 17, 20)
    together = pool_windows(features, windows, levels=levels, mode=mode, backend=backend)
    alone = [pool_windows(features, windows, levels=(level,), mode=mode, backend=backend) for level in levels]
    assert together.shape == (30, 3, bins(levels))
    same(together, torch.cat(alone, dim=2))


@both
@pytest.mark.parametrize("net", ["zf5", "overfeat"])
def test_the_authors_kernel_gives_the_same_bits(net: str, backend: Backend | None) -> None:
    features, windows = torch.from_numpy(GOLDEN[f"{net}_map_chw"]), GOLDEN[f"{net}_windows_end_exclusive"]
    found = pool_windows(features, torch.from_numpy(windows).long(), levels=PYRAMID, backend=backend)
    assert torch.equal(found, torch.from_numpy(GOLDEN[f"{net}_pooled"]))


def roi_pooled(features: Tensor, windows: Tensor, level: int) -> Tensor:
    """Torchvision's region pooling, whose boxes count both ends, on windows of whole cells."""
    inclusive = F.pad(windows - torch.tensor([0, 0, 1, 1]), (1, 0)).to(features.dtype)
    pooled: Tensor = roi_pool(features[None], inclusive, level)
    return pooled.flatten(2)


@pytest.mark.parametrize("level", EVERY_LEVEL)
def test_roi_pool_gives_the_same_bits(level: int) -> None:
    features, windows = random_map(3, 37, 37), windows_of_every_size(32, 5)
    same(pool_windows(features, windows, levels=(level,)), roi_pooled(features, windows, level))


@both
def test_bins_end_with_the_window_where_roi_pool_reads_past_it(backend: Backend | None) -> None:
    # Torchvision's edges are floating point: in float32, 13 * (7 / 13) is a little more than 7.
    features, window = torch.zeros(1, 7, 8), torch.tensor([[0, 0, 7, 7]])
    features[:, :, 7] = 1
    assert roi_pooled(features, window, 13).sum() == 13
    assert pool_windows(features, window, levels=(13,), backend=backend).sum() == 0


@both
def test_average_is_adaptive_average(backend: Backend | None) -> None:
    features, windows = random_map(5, 19, 23).abs(), random_windows(40, 19, 23)
    found = pool_windows(features, windows, levels=EVERY_LEVEL, mode="average", backend=backend)
    expected = adaptive_windows(features, windows, EVERY_LEVEL, "average")
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@both
@each_mode
def test_one_cell_fills_every_bin(mode: Mode, backend: Backend | None) -> None:
    features = random_map(4, 1, 1)
    same(pool_image(features, levels=PYRAMID, mode=mode, backend=backend), features.flatten(1).expand(4, 50))
    cell = torch.tensor([[2, 1, 3, 2]])
    larger = random_map(4, 3, 5)
    found = pool_windows(larger, cell, levels=PYRAMID, mode=mode, backend=backend)
    same(found, larger[None, :, 1, 2, None].expand(1, 4, 50))


@both
@each_mode
def test_no_windows_give_no_rows(mode: Mode, backend: Backend | None) -> None:
    features = random_map(4, 5, 6).requires_grad_()
    found = pool_windows(features, torch.zeros(0, 4, dtype=torch.int64), mode=mode, backend=backend)
    assert found.shape == (0, 4, 50)
    assert found.dtype == features.dtype
    (found_gradient,) = torch.autograd.grad(found.sum(), features)
    assert torch.equal(found_gradient, torch.zeros_like(features))


@both
@each_mode
def test_windows_of_a_batch_read_the_map_they_name(mode: Mode, backend: Backend | None) -> None:
    batch, windows = random_map(4, 3, 11, 9), random_windows(40, 11, 9)
    index = torch.arange(40) * 7 % 4
    found = pool_windows(batch, torch.cat([index[:, None], windows], 1), levels=PYRAMID, mode=mode, backend=backend)
    for row in range(40):
        alone = pool_windows(batch[index[row]], windows[row : row + 1], levels=PYRAMID, mode=mode, backend=backend)
        same(found[row], alone[0])


@both
@each_mode
def test_a_batch_of_maps_is_each_map(mode: Mode, backend: Backend | None) -> None:
    batch = random_map(3, 5, 8, 13)
    alone = [pool_image(features, levels=(4, 3), mode=mode, backend=backend) for features in batch]
    same(pool_image(batch, levels=(4, 3), mode=mode, backend=backend), torch.stack(alone))


# Values that are not numbers


@both
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
def test_special_values_pass_as_in_adaptive_pooling(value: float, share: float, backend: Backend | None) -> None:
    features, windows = random_map(3, 14, 15), random_windows(40, 14, 15)
    features[torch.rand(features.shape, generator=torch.Generator().manual_seed(1)) < share] = value
    found = pool_windows(features, windows, levels=PYRAMID, backend=backend)
    same(found, adaptive_windows(features, windows, PYRAMID))


@both
def test_nan_beside_infinity_is_nan(backend: Backend | None) -> None:
    for row in ([float("nan"), float("inf"), 1.0], [float("inf"), 1.0, float("nan")], [0.0, float("nan"), -1.0]):
        features = torch.tensor(row)[None, None]
        assert pool_image(features, levels=(1,), backend=backend).isnan().all()
        assert pool_image(features, levels=(2, 1), backend=backend)[:, -1].isnan().all()


@pytest.mark.parametrize("backend", [None, "triton"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values_of_every_type_pass_alike(dtype: torch.dtype, backend: Backend | None) -> None:
    draw = torch.Generator().manual_seed(1)
    values = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, -0.0, 1e-7, -1.0, torch.finfo(dtype).max])
    features = values[torch.randint(0, len(values), (3, 9, 8), generator=draw)].to(dtype)
    windows = random_windows(20, 9, 8)
    expected = pool_windows(features, windows, levels=(3, 2, 1), backend="reference")
    same(pool_windows(features, windows, levels=(3, 2, 1), backend=backend), expected)


@pytest.mark.parametrize("backend", [None, "reference", "triton"])
@pytest.mark.parametrize("zeros", [[-0.0, 0.0], [0.0, -0.0], [-0.0, -0.0]])
def test_both_zeros_are_one_and_the_first_has_the_gradient(zeros: list[float], backend: Backend | None) -> None:
    leaf = torch.tensor([[[-1.0, *zeros]]], requires_grad=True)
    pooled = pool_image(leaf, levels=(1,), backend=backend)
    assert pooled.item() == 0
    assert not pooled.signbit().any()
    (found,) = torch.autograd.grad(pooled.sum(), leaf)
    assert found.flatten().tolist() == [0, 1, 0]
    assert torch.equal(found, gradient(lambda maps: F.adaptive_max_pool2d(maps, 1), leaf) * -1 / 30)


def test_the_first_nan_has_the_gradient_in_both() -> None:
    features, windows = whole_numbers(2, 9, 9), random_windows(20, 9, 9)
    features[torch.rand(features.shape, generator=torch.Generator().manual_seed(1)) < 0.2] = float("nan")
    found, expected = gradients_of_both(features, windows, PYRAMID, "max")
    assert torch.equal(found, expected)
    assert found.abs().sum() > 0


# Gradients


@both
def test_ties_give_the_gradient_to_the_first_as_adaptive_pooling_does(backend: Backend | None) -> None:
    features, windows = whole_numbers(3, 14, 15), windows_of_every_size(12, 2)
    found = gradient(lambda leaf: pool_windows(leaf, windows, levels=PYRAMID, backend=backend), features)
    expected = gradient(lambda leaf: adaptive_windows(leaf, windows, PYRAMID), features)
    assert torch.equal(found, expected)


@both
def test_a_constant_map_gives_each_bins_gradient_to_its_first_cell(backend: Backend | None) -> None:
    leaf = torch.zeros(1, 4, 6, requires_grad=True)
    (found,) = torch.autograd.grad(pool_image(leaf, levels=(2, 1), backend=backend).sum(), leaf)
    expected = torch.zeros(1, 4, 6)
    expected[0, ::2, ::3] = 1
    expected[0, 0, 0] = 2
    assert torch.equal(found, expected)


@both
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2), (13, 13), (10, 10), (20, 11)])
def test_gradients_of_whole_maps_are_adaptive_poolings(size: tuple[int, int], backend: Backend | None) -> None:
    batch = whole_numbers(2, 5, *size)
    found = gradient(lambda leaf: pool_image(leaf, levels=EVERY_LEVEL, backend=backend), batch)
    assert torch.equal(found, gradient(lambda leaf: adaptive(leaf, EVERY_LEVEL), batch))


def test_average_gradients_are_adaptive_averages() -> None:
    features, windows = random_map(3, 14, 15, dtype=torch.float64), windows_of_every_size(12, 2)
    found = gradient(lambda leaf: pool_windows(leaf, windows, levels=PYRAMID, mode="average"), features)
    expected = gradient(lambda leaf: adaptive_windows(leaf, windows, PYRAMID, "average"), features)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-9)


@both
@each_mode
@pytest.mark.slow
def test_gradients_are_those_of_finite_differences(mode: Mode, backend: Backend | None) -> None:
    order = torch.randperm(2 * 2 * 5 * 4, generator=torch.Generator().manual_seed(0))
    batch = order.reshape(2, 2, 5, 4).double().requires_grad_()
    windows = torch.tensor([[0, 0, 0, 4, 5], [1, 1, 1, 4, 3], [0, 3, 2, 4, 3], [1, 0, 0, 4, 5]])
    assert torch.autograd.gradcheck(
        lambda leaf: pool_windows(leaf, windows, levels=(3, 2, 1), mode=mode, backend=backend), batch
    )
    assert torch.autograd.gradcheck(lambda leaf: pool_image(leaf, levels=(4, 2), mode=mode, backend=backend), batch)


# Types and memory


@both
@pytest.mark.parametrize("dtype", DTYPES)
def test_maxima_are_exact_in_every_type(dtype: torch.dtype, backend: Backend | None) -> None:
    features, windows = random_map(3, 14, 15, dtype=dtype), random_windows(40, 14, 15)
    found = pool_windows(features, windows, levels=PYRAMID, backend=backend)
    assert found.dtype == dtype
    same(found, adaptive_windows(features.double(), windows, PYRAMID).to(dtype))


@both
@pytest.mark.parametrize("dtype", DTYPES)
def test_averages_are_those_of_exact_sums(dtype: torch.dtype, backend: Backend | None) -> None:
    features, windows = random_map(3, 14, 15, dtype=dtype).abs(), random_windows(40, 14, 15)
    found = pool_windows(features, windows, levels=PYRAMID, mode="average", backend=backend)
    assert found.dtype == dtype
    exact = adaptive_windows(features.double(), windows, PYRAMID, "average")
    # Half precision is summed in float32 and rounded once, by half of the last place at most.
    places = 0.501 if dtype in (torch.float16, torch.bfloat16) else 8
    torch.testing.assert_close(found.double(), exact, rtol=places * torch.finfo(dtype).eps, atol=0)


@each_mode
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_keep_type_and_shape(dtype: torch.dtype, mode: Mode) -> None:
    features, windows = whole_numbers(3, 8, 8).to(dtype), torch.tensor([[0, 0, 8, 8], [4, 2, 6, 4]])
    found, expected = gradients_of_both(features, windows, (2, 1), mode)
    assert (found.dtype, found.shape) == (dtype, features.shape)
    assert torch.equal(found, expected)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda batch: batch.transpose(2, 3).contiguous().transpose(2, 3),
    "channels last": lambda batch: batch.contiguous(memory_format=torch.channels_last),
    "strided slice": lambda batch: batch.repeat_interleave(2, 3).repeat_interleave(3, 1)[:, ::3, :, ::2],
    "part of a larger one": lambda batch: F.pad(batch, (1, 2, 3, 4), value=99.0)[..., 3:-4, 1:-2],
    "expanded": lambda batch: batch[:1].expand(2, -1, -1, -1),
    "flipped view of rows": lambda batch: batch.flip(2).flip(2),
}


@both
@each_mode
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_memory_layout_changes_nothing(layout: Callable[[Tensor], Tensor], mode: Mode, backend: Backend | None) -> None:
    laid_out = layout(whole_numbers(2, 3, 9, 12))
    plain = laid_out.clone(memory_format=torch.contiguous_format)
    assert torch.equal(laid_out, plain)

    def pool(batch: Tensor) -> Tensor:
        return pool_image(batch, levels=(4, 2, 1), mode=mode, backend=backend)

    same(pool(laid_out), pool(plain))
    leaves = laid_out.detach().requires_grad_(), plain.requires_grad_()
    found, expected = (torch.autograd.grad(pool(leaf).sum(), leaf)[0] for leaf in leaves)
    same(found, expected)


@each_mode
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_the_gradient_lies_in_memory_as_the_features_do(layout: Callable[[Tensor], Tensor], mode: Mode) -> None:
    leaf = layout(random_map(2, 3, 9, 12)).detach().requires_grad_()
    for backend in (None, "reference"):
        pooled = pool_image(leaf, levels=(2, 1), mode=mode, backend=backend)  # type: ignore[arg-type]
        (found,) = torch.autograd.grad(pooled.sum(), leaf)
        assert found.stride() == torch.empty_like(leaf).stride()


GRADIENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "bins first": lambda given: given.transpose(1, 2).contiguous().transpose(1, 2),
    "one number": lambda given: given[:1, :1, :1].expand(given.shape),
    "every second": lambda given: given.repeat_interleave(2, 1)[:, ::2],
}


@both
@each_mode
@pytest.mark.parametrize("layout", GRADIENTS.values(), ids=GRADIENTS.keys())
def test_gradients_may_come_in_any_layout(
    layout: Callable[[Tensor], Tensor], mode: Mode, backend: Backend | None
) -> None:
    leaf, windows = whole_numbers(20, 9, 12).requires_grad_(), random_windows(10, 9, 12)
    pooled = pool_windows(leaf, windows, levels=(4, 2, 1), mode=mode, backend=backend)
    given = layout(whole_numbers(*pooled.shape))
    found = torch.autograd.grad(pooled, leaf, given, retain_graph=True)
    same(found[0], torch.autograd.grad(pooled, leaf, given.contiguous())[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 16, 64, 128, 144, 250, 256, 320])
def test_results_past_the_cache_are_the_same(
    channels: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, windows = random_map(channels, 12, 13, dtype=dtype), random_windows(30, 12, 13)
    expected = pool_windows(features, windows, levels=(3, 2, 1))
    monkeypatch.setattr("sppnet.ops.cpu_numba.WORTH_STREAMING", 0)
    memory = torch.full((30 * 14 * channels + 64,), torch.nan, dtype=dtype)
    for shift in (0, 1):  # the second does not begin a line of the cache
        out = memory[shift : shift + expected.numel()].view(30, 14, channels)
        same(pool_windows(features, windows, levels=(3, 2, 1), out=out), expected)
        assert memory[shift + expected.numel() :].isnan().all()
        memory.fill_(torch.nan)


def test_results_may_lie_further_than_31_bits_count() -> None:
    # 167,773 windows of 50 bins and 256 channels pass 2^31 numbers; of all but the last, memory is never touched.
    features, last = random_map(256, 6, 6, dtype=torch.bfloat16), 167_800
    try:
        pooled = torch.empty(last + 1, 50, 256, dtype=torch.bfloat16)
    except RuntimeError:
        pytest.skip("the system promises no 4.3 GB of memory")
    work = cpu_numba._work(features[None], np.array([[0, 0, 0, 6, 6]]), PYRAMID, width=cpu_numba.WIDE)
    work = work._replace(rows=np.array([last]))
    cpu_numba._pool(work, (1, 1, True), cpu_numba._tables(work, features.dtype), pooled, 0, work.blocks)
    same(pooled[last].T, pool_image(features, backend="reference"))


@both
def test_windows_may_be_a_strided_view(backend: Backend | None) -> None:
    batch, windows = random_map(1, 3, 11, 9), F.pad(random_windows(20, 11, 9), (1, 0))
    expected = pool_windows(batch, windows, backend=backend)
    same(pool_windows(batch, windows.T.contiguous().T, backend=backend), expected)
    same(pool_windows(batch, windows.repeat_interleave(2, 0)[::2], backend=backend), expected)


@each_mode
def test_features_and_windows_are_left_as_they_were(mode: Mode) -> None:
    features, windows = random_map(3, 11, 9).requires_grad_(), random_windows(20, 11, 9)
    before, windows_before = features.detach().clone(), windows.clone()
    torch.autograd.grad(pool_windows(features, windows, mode=mode).sum(), features)
    assert torch.equal(features, before)
    assert torch.equal(windows, windows_before)


@pytest.mark.usefixtures("eager_threads")
@each_mode
@pytest.mark.parametrize("channels", [1, 2, 7, 33, 70])
def test_gradients_of_any_number_of_channels_are_shared_among_threads(channels: int, mode: Mode) -> None:
    torch.set_num_threads(2)
    features, windows = whole_numbers(channels, 8, 8), torch.tensor([[0, 0, 8, 8], [4, 2, 6, 4], [1, 1, 2, 2]])
    found, expected = gradients_of_both(features, windows, (2, 1), mode)
    assert torch.equal(found, expected)


# Memory that nobody wrote, and threads


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Fill what the kernel allocates with NaN, so that a cell that it does not write shows."""
    allocate: Callable[..., Tensor] = torch.empty
    sizes: list[int] = []

    def poisoned_empty(*args: Any, **options: Any) -> Tensor:
        found = allocate(*args, **options).fill_(float("nan"))
        sizes.append(found.numel())
        return found

    with monkeypatch.context() as patch:
        patch.setattr("sppnet.ops.cpu_numba.torch.empty", poisoned_empty)
        yield sizes


@each_mode
@pytest.mark.parametrize("levels", [PYRAMID, (1, 2, 3, 6), (5,), (3, 3), (7, 4, 2, 1), (8, 6, 4, 3, 2)])
def test_every_cell_of_the_output_is_written(levels: tuple[int, ...], mode: Mode, poisoned: list[int]) -> None:
    features, windows = random_map(5, 37, 37).abs(), windows_of_every_size(10, 27)
    found = pool_windows(features, windows, levels=levels, mode=mode)
    assert found.numel() in poisoned
    expected = adaptive_windows(features, windows, levels, mode)
    torch.testing.assert_close(found, expected, rtol=0 if mode == "max" else 1e-6, atol=0)


@pytest.fixture
def eager_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let threads share even the little work of a test."""
    monkeypatch.setattr("sppnet.ops.cpu_numba.WORTH_THREADS", 0)


@pytest.mark.usefixtures("eager_threads")
@each_mode
@pytest.mark.parametrize(("channels", "count"), [(7, 100), (300, 100), (300, 1)])
def test_the_number_of_threads_changes_no_bit(channels: int, count: int, mode: Mode) -> None:
    features, windows = random_map(channels, 20, 20), random_windows(count, 20, 20)
    found = []
    for threads in (1, 2, 5, 64):
        torch.set_num_threads(threads)
        found.append(pool_windows(features, windows, mode=mode))
        found.append(gradient(lambda leaf: pool_windows(leaf, windows, mode=mode), features))
    for again in (2, 4, 6):
        assert torch.equal(found[0], found[again])
        assert torch.equal(found[1], found[again + 1])


@pytest.mark.usefixtures("eager_threads")
def test_two_threads_at_once_each_get_their_own_answer() -> None:
    torch.set_num_threads(2)
    windows = random_windows(50, 20, 20)
    maps = [whole_numbers(4, 20, 20, seed=seed) for seed in range(24)]

    def both_ways(features: Tensor) -> tuple[Tensor, Tensor]:
        return pool_windows(features, windows), gradient(lambda leaf: pool_windows(leaf, windows), features)

    expected = [both_ways(features) for features in maps]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(both_ways, maps))
    for pair, expected_pair in zip(found, expected, strict=True):
        assert torch.equal(pair[0], expected_pair[0])
        assert torch.equal(pair[1], expected_pair[1])


FORKED = """
import multiprocessing, numpy, torch
from sppnet.ops import pool_image
torch.set_num_threads(2)
features = torch.from_numpy(numpy.arange(256 * 90 * 100, dtype=numpy.float32).reshape(256, 90, 100))

def right(_):  # torch's own threads would not outlive a fork: nothing else is computed by it
    return bool((pool_image(features).numpy()[:, -1] == features.numpy()[:, -1, -1]).all())

ours = right(0)
with multiprocessing.get_context("fork").Pool(2) as processes:
    print(ours, *processes.map_async(right, range(4)).get(timeout=60), torch.get_num_threads())
"""


@pytest.mark.slow
def test_forked_processes_pool_with_threads_as_their_parent_did() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["True"] * 5 + ["2"], done.stderr
