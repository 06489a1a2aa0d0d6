"""The GPU's kernels against the specification: under Triton's interpreter, and on a GPU where there is one."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sppnet.errors import ShapeError
from sppnet.ops import pool_image, pool_windows

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WINDOWS = [[0, 0, 0, 9, 7], [1, 2, 3, 5, 4], [1, 0, 0, 1, 1], [0, 3, 2, 9, 7], [1, 0, 6, 9, 7]]
LEVELS = [(6, 3, 2, 1), (3, 2, 1), (1, 2, 4), (5, 1), (2, 2)]


def _features(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    values = torch.randint(-4, 5, shape, generator=torch.Generator().manual_seed(seed))  # whole: many ties
    return values.to(dtype).to(DEVICE)


def _both(features: Tensor, levels: tuple[int, ...], mode: str) -> list[tuple[Tensor, Tensor]]:
    """Return the pooled bins and the gradient of the features, by Triton and by the specification."""
    results = []
    windows = torch.tensor(WINDOWS, device=DEVICE)
    for backend in ("triton", "reference"):
        leaf = features.clone().requires_grad_()
        pooled = pool_windows(leaf, windows, levels=levels, mode=mode, backend=backend)
        weights = torch.arange(pooled.numel(), device=DEVICE).reshape(pooled.shape) % 7
        (gradient,) = torch.autograd.grad(pooled, leaf, weights.to(pooled.dtype))
        results.append((pooled.detach(), gradient))
    return results


@pytest.mark.parametrize("levels", LEVELS, ids=str)
@pytest.mark.parametrize("mode", ["max", "average"])
@pytest.mark.slow
def test_bins_and_gradients_agree(levels: tuple[int, ...], mode: str) -> None:
    (pooled, gradient), (expected, expected_gradient) = _both(_features(2, 5, 7, 9), levels, mode)
    if mode == "max":
        assert torch.equal(pooled, expected)
        assert torch.equal(gradient, expected_gradient)  # whole numbers: any order of adding gives the same
    torch.testing.assert_close(pooled, expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types(dtype: torch.dtype) -> None:
    (pooled, gradient), (expected, expected_gradient) = _both(_features(2, 3, 7, 9, dtype=dtype), (3, 1), "max")
    assert pooled.dtype == gradient.dtype == dtype
    assert torch.equal(pooled, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("special", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.slow
def test_what_is_not_finite_goes_the_same_way(special: float) -> None:
    features = _features(2, 4, 7, 9)
    features[:, ::2, 3, 4] = special
    features[1, 1] = special
    (pooled, gradient), (expected, expected_gradient) = _both(features, (4, 2, 1), "max")
    torch.testing.assert_close(pooled, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(gradient, expected_gradient)


@pytest.mark.parametrize("channels", [1, 2, 127, 129])
def test_any_number_of_channels(channels: int) -> None:
    features = _features(1, channels, 4, 5, seed=channels)
    pooled = pool_image(features, levels=(2, 1), backend="triton")
    assert torch.equal(pooled, pool_image(features, levels=(2, 1), backend="reference"))


@pytest.mark.slow
def test_every_size_up_to_eight() -> None:
    for height in range(1, 9):
        for width in range(1, 9):
            features = _features(1, 2, height, width, seed=9 * height + width)
            pooled = pool_image(features, levels=(6, 3, 2, 1), backend="triton")
            assert torch.equal(pooled, pool_image(features, levels=(6, 3, 2, 1), backend="reference"))


def test_no_channels_and_no_windows_of_a_large_map() -> None:
    for channels, windows in ((0, [[0, 0, 0, 19, 17]]), (2, [])):
        features = torch.zeros(1, channels, 17, 19, device=DEVICE, requires_grad=True)
        places = torch.tensor(windows, dtype=torch.int64, device=DEVICE).reshape(-1, 5)
        pooled = pool_windows(features, places, levels=(2, 1), backend="triton")
        assert pooled.shape == (len(windows), channels, 5)
        (gradient,) = torch.autograd.grad(pooled.sum(), features)
        assert torch.equal(gradient, torch.zeros_like(features))


def test_no_windows_and_other_strides() -> None:
    features = _features(1, 6, 9, 8).transpose(2, 3)[:, ::2]
    none = torch.zeros(0, 5, dtype=torch.int64, device=DEVICE)
    assert pool_windows(features, none, levels=(2,), backend="triton").shape == (0, 3, 4)
    pooled = pool_image(features, levels=(3, 2), backend="triton")
    assert torch.equal(pooled, pool_image(features, levels=(3, 2), backend="reference"))


def test_a_window_outside_its_map_is_nan_and_has_no_gradient() -> None:
    """What the kernels do where windows lie on a GPU, and are not looked at before."""
    from sppnet.ops import gpu_triton

    features, kinds = _features(2, 3, 5, 4), ((2, 0, 0, 4, 5), (-1, 0, 0, 4, 5), (0, 3, 0, 5, 5), (0, 0, -1, 4, 5))
    sound = (1, 1, 2, 4, 5)
    windows = torch.tensor([sound, *kinds, (0, 2, 0, 2, 5), (0, 0, 4, 4, 6), sound], device=DEVICE)
    for mode in ("max", "average"):
        pooled = torch.zeros(len(windows), 5, 3, device=DEVICE)
        gpu_triton.forward(features, windows, (2, 1), mode, pooled)
        expected = pool_windows(features, windows[:1], levels=(2, 1), mode=mode, backend="reference").transpose(1, 2)
        torch.testing.assert_close(pooled[[0, -1]], expected.expand(2, -1, -1))
        assert pooled[1:-1].isnan().all()
        ours = gpu_triton.backward(torch.ones_like(pooled), features, windows, (2, 1), mode)
        once = gpu_triton.backward(torch.ones_like(pooled[:1]), features, windows[:1], (2, 1), mode)
        torch.testing.assert_close(ours, 2 * once)


def test_windows_of_no_maps_read_nothing() -> None:
    from sppnet.ops import gpu_triton

    features, windows = torch.zeros(0, 3, 5, 4, device=DEVICE), torch.tensor([[0, 0, 0, 2, 2]], device=DEVICE)
    for mode in ("max", "average"):
        pooled = torch.zeros(1, 5, 3, device=DEVICE)
        gpu_triton.forward(features, windows, (2, 1), mode, pooled)
        assert pooled.isnan().all()
        assert gpu_triton.backward(pooled, features, windows, (2, 1), mode).shape == features.shape


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
def test_nothing_waits_for_the_gpu() -> None:
    """What waits cannot be captured in a graph."""
    features, windows = _features(2, 5, 7, 9).requires_grad_(), torch.tensor(WINDOWS, device=DEVICE)

    def work() -> Tensor:
        pooled = pool_windows(features, windows, levels=(3, 2, 1))
        (gradient,) = torch.autograd.grad(pooled.sum() + pool_image(features, levels=(2,)).sum(), features)
        return gradient

    expected, graph = work(), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = work()
    graph.replay()
    assert torch.equal(found, expected)


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
def test_windows_on_the_processor_are_checked_and_moved_without_waiting() -> None:
    features, windows = _features(2, 5, 7, 9), torch.tensor(WINDOWS)
    expected = pool_windows(features, windows.to(DEVICE), levels=(3, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the mode is a prototype, it says
        try:
            torch.cuda.set_sync_debug_mode("error")
            found = pool_windows(features, windows, levels=(3, 1))
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(found, expected)
    with pytest.raises(ShapeError, match=r"windows\[0\]"):
        pool_windows(features, torch.tensor([[2, 0, 0, 1, 1]]))


def test_unwritten_memory_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    from sppnet.ops import gpu_triton

    empty = torch.empty
    monkeypatch.setattr(gpu_triton.torch, "empty", lambda *size, **more: empty(*size, **more).fill_(float("nan")))
    assert torch.isfinite(pool_image(_features(1, 3, 5, 4), levels=(6, 3, 2, 1), backend="triton")).all()


COMPILE = """
import triton.language as tl, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sppnet.ops import gpu_triton

SIZES = ("number", "total", "maps", "height", "width", "channels", "bins")
KERNELS = ("_make_squares", "_pool_max", "_pool_average", "_max_gradient", "_average_gradient")
CHOSEN = {"squares": 3, "size": 8, "block": 128, "side": 2, "asked": True}
# Whatever is 1 becomes a constant when a kernel is called.
for cells, wide, ones in (
    ("bf16", tl.float32, ()), ("fp32", tl.float32, ()), ("fp32", tl.float32, SIZES[2:]), ("fp64", tl.float64, ())
):
    sums = "*fp64" if cells == "fp64" else "*fp32"
    pointers = {"windows": "*i64", "plan": "*i32", "places": "*i32", "gradient": sums, "found": sums}
    pointers |= dict.fromkeys(("cells", "tables", "pooled"), "*" + cells)
    for name in KERNELS:
        kernel = getattr(gpu_triton, name)
        given = CHOSEN | {"wide": wide} | dict.fromkeys(ones, 1)
        constants = {each: given[each] for each in kernel.arg_names if each in given}
        sizes = dict.fromkeys(SIZES, "i32")
        types = {each: "constexpr" if each in constants else (pointers | sizes)[each] for each in kernel.arg_names}
        source = ASTSource(kernel, types, constexprs=constants)
        assert triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["cubin"]
print("compiled")
"""


@pytest.mark.slow
def test_the_kernels_compile_for_a_gpu_where_there_is_none(tmp_path: Path) -> None:
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["compiled"], done.stderr


@pytest.mark.slow
def test_heights_and_widths_up_to_32() -> None:
    features = _features(1, 2, 33, 34)
    sizes = [(7 * height % 32 + 1, height) for height in (1, 5, 9, 13, 17, 22, 27, 32)]
    windows = torch.tensor([[0, 1, 1, 1 + width, 1 + height] for width, height in sizes], device=DEVICE)
    pooled = pool_windows(features, windows, levels=(8, 5), backend="triton")
    assert torch.equal(pooled, pool_windows(features, windows, levels=(8, 5), backend="reference"))
