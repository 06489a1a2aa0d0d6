"""What the operator promises to PyTorch, to compilers and to callers who make mistakes."""

import copy
import re
import shutil
from collections.abc import Callable
from math import ceil, floor

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sppnet.errors import ArgumentError, ShapeError
from sppnet.ops import Mode, SpatialPyramidPool, bins, pool_chunks, pool_image, pool_windows
from sppnet.ops.contract import Backend
from sppnet.ops.definition import pool, pool_backward

MODES: list[Mode] = ["max", "average"]
NEEDS_COMPILER = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler: apt-get install g++"
)
COMPILERS = ["aot_eager", pytest.param("inductor", marks=[pytest.mark.slow, NEEDS_COMPILER])]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]

# PyTorch's own check looks at the gradient of a tensor that is no leaf.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
each_mode = pytest.mark.parametrize("mode", MODES)


def random_map(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def numbered_windows(count: int) -> Tensor:
    """(count, 5), inside any batch of two maps of 8 x 8 or more."""
    rows = [[i % 2, i % 3, i % 4, i % 3 + 1 + i % 5, i % 4 + 1 + i % 4] for i in range(count)]
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 5)


# The operator


@each_mode
@pytest.mark.parametrize("shape", [(2, 3, 8, 9), (2, 1, 8, 8)])
@pytest.mark.parametrize("count", [0, 4])
@pytest.mark.slow
def test_the_operator_keeps_pytorchs_rules(shape: tuple[int, ...], count: int, mode: Mode) -> None:
    features = random_map(*shape).requires_grad_()
    torch.library.opcheck(pool, (features, numbered_windows(count), [3, 1], mode, ""))


@pytest.mark.slow
@each_mode
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_backward_operator_keeps_pytorchs_rules(dtype: torch.dtype, mode: Mode) -> None:
    features, windows = random_map(2, 3, 8, 9).to(dtype), numbered_windows(4)
    torch.library.opcheck(pool, (features, windows, [3, 1], mode, ""))
    torch.library.opcheck(pool_backward, (torch.ones(4, 10, 3, dtype=dtype), features, windows, [3, 1], mode, ""))


@each_mode
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_operators_foretell_the_layout_of_their_results(layout: torch.memory_format, mode: Mode) -> None:
    features, windows = random_map(2, 3, 8, 9).contiguous(memory_format=layout), numbered_windows(4)
    torch.library.opcheck(pool, (features.requires_grad_(), windows, [3, 1], mode, ""))
    inputs = (torch.ones(4, 10, 3), features.detach(), windows, [3, 1], mode, "")
    torch.library.opcheck(pool_backward, inputs)
    assert pool_backward(*inputs).is_contiguous(memory_format=layout)


def test_a_second_derivative_is_refused_and_not_zero() -> None:
    features = random_map(3, 8, 8).requires_grad_()
    (first,) = torch.autograd.grad((pool_image(features) ** 2).sum(), features, create_graph=True)
    with pytest.raises(RuntimeError, match=r"pool_backward.* no autograd formula was registered"):
        torch.autograd.grad(first.sum(), features)


# Compilers


class Everything(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = SpatialPyramidPool((3, 2, 1))

    def forward(self, features: Tensor, windows: Tensor) -> Tensor:
        regions = pool_windows(features, windows, levels=(2, 1)).flatten(1).sum(0) * 2
        whole = pool_image(features.relu(), levels=(4, 1), mode="average")
        return torch.cat([regions, whole.flatten(), self.layer(features + 1).flatten()])


def values_and_gradient(model: Callable[..., Tensor], features: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
    leaf = features.clone().requires_grad_()
    values = model(leaf, windows)
    (found,) = torch.autograd.grad(values.sin().sum(), leaf)
    return values.detach(), found


@pytest.mark.parametrize("compiler", COMPILERS)
def test_compiled_code_gives_the_same_values_and_gradients(compiler: str) -> None:
    plain = Everything()
    compiled = torch.compile(plain, fullgraph=True, backend=compiler)
    for shape, count in [((2, 3, 8, 9), 4), ((2, 3, 13, 10), 7)]:  # the second time, sizes have become symbols
        inputs = random_map(*shape), numbered_windows(count)
        expected, found = values_and_gradient(plain, *inputs), values_and_gradient(compiled, *inputs)
        torch.testing.assert_close(found, expected)


def test_compiled_code_refuses_windows_outside_too() -> None:
    compiled = torch.compile(pool_windows, fullgraph=True, backend="aot_eager")
    features = torch.arange(32.0).reshape(1, 8, 4)
    assert compiled(features, torch.tensor([[0, 0, 4, 1]]), levels=(1,)).item() == 3
    with pytest.raises(ShapeError, match=r"windows\[0\] must be at least one cell inside 1 map\(s\) of 8 x 4 cells"):
        compiled(features, torch.tensor([[0, 0, 5, 1]]), levels=(1,))


def test_the_layer_can_be_exported() -> None:
    features = random_map(2, 3, 9, 9)
    exported = torch.export.export(SpatialPyramidPool(), (features,))
    assert torch.equal(exported.module()(features), SpatialPyramidPool()(features))


@each_mode
def test_autocast_pools_what_the_convolution_gave(mode: Mode) -> None:
    convolution, images = nn.Conv2d(3, 4, 3), random_map(2, 3, 12, 12)
    with torch.autocast("cpu", torch.bfloat16):
        features = convolution(images)
        pooled = pool_image(features, mode=mode)
        wide = pool_image(images, mode=mode)
    assert features.dtype == pooled.dtype == torch.bfloat16
    assert torch.equal(pooled, pool_image(features, mode=mode))
    assert torch.equal(wide, pool_image(images, mode=mode))
    (found,) = torch.autograd.grad(pooled.float().sum(), convolution.weight)
    assert found.abs().sum() > 0


# Mistakes


WRONG_LEVELS = [(), (0,), (3, -1), (2.0,), ("3",), (None,)]


@pytest.mark.parametrize("levels", WRONG_LEVELS)
@pytest.mark.parametrize("function", ["pool_windows", "pool_image", "SpatialPyramidPool"])
def test_wrong_levels_are_named(function: str, levels: tuple[int, ...]) -> None:
    expected = f"{function}: levels must be whole numbers from 1, at least one, got {levels}. Try (6, 3, 2, 1)."
    with pytest.raises(ArgumentError, match=f"^{re.escape(expected)}$"):
        call(function, levels=levels)


@pytest.mark.parametrize("function", ["pool_windows", "pool_image", "SpatialPyramidPool"])
def test_an_unknown_mode_is_named(function: str) -> None:
    expected = f"{function}: mode must be max or average, got 'avg'. Name one of these."
    with pytest.raises(ArgumentError, match=f"^{re.escape(expected)}$"):
        call(function, mode="avg")


@pytest.mark.parametrize("function", ["pool_windows", "pool_image"])
def test_an_unknown_backend_is_named(function: str) -> None:
    expected = (
        f"{function}: backend must be None, reference, numba or triton, got 'cuda'. Leave it out for the fastest."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(expected)}$"):
        call(function, backend="cuda")


def call(function: str, **options: object) -> object:
    features, windows = torch.zeros(1, 4, 4), torch.tensor([[0, 0, 4, 4]])
    if function == "SpatialPyramidPool":
        return SpatialPyramidPool(**options)  # type: ignore[arg-type]
    if function == "pool_image":
        return pool_image(features, **options)  # type: ignore[arg-type]
    return pool_windows(features, windows, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(), (4,), (4, 4), (1, 2, 3, 4, 4)])
def test_features_of_a_wrong_shape_are_named(shape: tuple[int, ...]) -> None:
    expected = f"features must be (N, C, H, W), got {shape}. Give the map of one image, or a batch."
    with pytest.raises(ShapeError, match=f"^{re.escape('pool_image: ' + expected)}$"):
        pool_image(torch.zeros(shape))
    with pytest.raises(ShapeError, match=f"^{re.escape('pool_windows: ' + expected)}$"):
        pool_windows(torch.zeros(shape), torch.tensor([[0, 0, 4, 4]]))


@pytest.mark.parametrize("shape", [(4,), (2, 5), (0, 5), (1, 2, 4)])
def test_windows_of_a_wrong_shape_are_named(shape: tuple[int, ...]) -> None:
    advice = "Make windows with geometry.windows_from_regions."
    expected = f"pool_windows: windows must be (R, 4), got {shape}. {advice}"
    with pytest.raises(ShapeError, match=f"^{re.escape(expected)}$"):
        pool_windows(torch.zeros(1, 4, 4), torch.zeros(shape, dtype=torch.int64))


def test_windows_of_a_batch_need_the_index_of_their_map() -> None:
    expected = (
        "pool_windows: windows must be (R, 5), got (1, 4). "
        "Make windows with geometry.windows_from_regions, the map's index before them."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(expected)}$"):
        pool_windows(torch.zeros(2, 1, 4, 4), torch.tensor([[0, 0, 4, 4]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.bool])
def test_windows_of_a_wrong_type_are_named(dtype: torch.dtype) -> None:
    expected = f"pool_windows: windows must be int64, got {dtype}. Give whole cells."
    with pytest.raises(ArgumentError, match=f"^{re.escape(expected)}$"):
        pool_windows(torch.zeros(1, 4, 4), torch.tensor([[0, 0, 1, 1]]).to(dtype))


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
@pytest.mark.parametrize("function", ["pool_windows", "pool_image"])
def test_features_of_a_wrong_type_are_named(function: str, dtype: torch.dtype) -> None:
    features = torch.zeros(1, 4, 4, dtype=dtype)
    with pytest.raises(ArgumentError, match=f"^{function}: features must be floating point, got {dtype}"):
        pool_image(features) if function == "pool_image" else pool_windows(features, torch.tensor([[0, 0, 4, 4]]))


OUTSIDE = [
    [-1, 0, 2, 2],
    [0, -1, 2, 2],
    [0, 0, 6, 2],
    [0, 0, 2, 5],
    [2, 0, 2, 2],
    [0, 2, 2, 2],
    [3, 0, 2, 2],
    [0, 3, 2, 2],
    [2**40, 0, 2**41, 2],
]


@pytest.mark.parametrize("window", OUTSIDE)
@pytest.mark.parametrize("row", [0, 2])
def test_the_first_window_outside_its_map_is_named(window: list[int], row: int) -> None:
    windows = torch.tensor([[0, 0, 5, 4]] * 4)
    windows[row] = windows[3] = torch.tensor(window)
    expected = (
        f"pool_windows: windows[{row}] must be at least one cell inside 1 map(s) of 4 x 5 cells, "
        f"got {[0, *window]}. Clip regions to the image first."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(expected)}$"):
        pool_windows(torch.zeros(2, 4, 5), windows)


@pytest.mark.parametrize("index", [-1, 2])
def test_a_window_of_no_map_is_named(index: int) -> None:
    expected = f"windows[0] must be at least one cell inside 2 map(s) of 4 x 5 cells, got [{index}, 0, 0, 1, 1]"
    with pytest.raises(ShapeError, match=re.escape(expected)):
        pool_windows(torch.zeros(2, 1, 4, 5), torch.tensor([[index, 0, 0, 1, 1]]))


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, 0), (0, 0)])
def test_a_map_without_cells_is_refused(height: int, width: int) -> None:
    with pytest.raises(ArgumentError, match=rf"got \({height}, {width}\) cells"):
        pool_image(torch.zeros(1, 3, height, width))


# The layer


@each_mode
@pytest.mark.parametrize("levels", [(6, 3, 2, 1), (4, 3, 2, 1), (4, 2, 1), (3, 2, 1), (1,)])
def test_the_layers_length_does_not_depend_on_the_size(levels: tuple[int, ...], mode: Mode) -> None:
    layer = SpatialPyramidPool(levels, mode)
    for size in [(1, 1), (1, 40), (7, 20), (10, 10), (13, 13), (18, 18), (37, 23)]:
        assert layer(random_map(2, 16, *size)).shape == (2, 16 * bins(levels))


def test_bins_are_counted_as_in_the_paper() -> None:
    assert [bins(levels) for levels in [(6, 3, 2, 1), (4, 3, 2, 1), (4, 2, 1), (3, 2, 1)]] == [50, 30, 21, 14]
    assert SpatialPyramidPool()(torch.zeros(1, 256, 13, 13)).shape == (1, 12_800)


def test_the_layer_goes_channel_by_channel_and_level_by_level() -> None:
    batch = torch.arange(2 * 3 * 4 * 6.0).reshape(2, 3, 4, 6)
    found = SpatialPyramidPool((2, 1))(batch).reshape(2, 3, 5)
    corners = torch.tensor([8.0, 11.0, 20.0, 23.0, 23.0])  # bins of 2 x 3 cells, row by row, then the whole
    firsts = torch.arange(6.0).reshape(2, 3, 1) * 24
    assert torch.equal(found, firsts + corners)
    assert torch.equal(SpatialPyramidPool((1, 2))(batch).reshape(2, 3, 5), firsts + corners[[4, 0, 1, 2, 3]])


def test_the_layer_fits_between_a_convolution_and_a_classifier() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), SpatialPyramidPool((3, 1), "average"), nn.Linear(40, 2))
    for size in [(12, 12), (9, 31)]:
        assert model(random_map(2, 3, *size)).shape == (2, 2)
    layer = model[2]
    assert list(layer.state_dict()) == []
    assert repr(copy.deepcopy(layer)) == "SpatialPyramidPool(levels=(3, 1), mode='average')"


def test_the_layer_uses_its_mode_and_levels() -> None:
    batch = random_map(2, 3, 9, 9)
    found = SpatialPyramidPool([3, 1], "average")(batch)
    assert torch.equal(found, pool_image(batch, levels=(3, 1), mode="average").flatten(1))
    assert not torch.equal(found, SpatialPyramidPool([3, 1])(batch))


def sliding(features: Tensor, level: int) -> Tensor:
    """The paper's rule for training (Sec. 2.3): windows of ceil(a / n) cells, every floor(a / n) cells."""
    side = features.shape[-1]
    return F.max_pool2d(features, ceil(side / level), floor(side / level)).flatten(-2)


@pytest.mark.parametrize("level", [6, 4, 3, 2, 1])
def test_on_13_by_13_the_papers_sliding_windows_are_the_bins(level: int) -> None:
    features = random_map(2, 3, 13, 13)
    assert torch.equal(pool_image(features, levels=(level,)), sliding(features, level))


def test_on_10_by_10_the_papers_sliding_windows_are_too_many() -> None:
    features = random_map(2, 3, 10, 10)
    assert sliding(features, 6).shape == (2, 3, 81)
    assert pool_image(features, levels=(6,)).shape == (2, 3, 36)
    assert torch.equal(pool_image(features, levels=(6,)), F.adaptive_max_pool2d(features, 6).flatten(-2))


# Memory of the caller's


@pytest.mark.parametrize("backend", [None, "reference", "triton"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_pooling_into_memory_that_is_there(backend: Backend | None, dtype: torch.dtype) -> None:
    features = random_map(3, 8, 9).to(dtype)
    windows = torch.tensor([[0, 0, 9, 8], [2, 3, 4, 4]])
    out = torch.full((2, 14, 3), torch.nan, dtype=dtype)
    pooled = pool_windows(features, windows, levels=(3, 2, 1), backend=backend, out=out)
    assert pooled.data_ptr() == out.data_ptr()
    assert torch.equal(pooled, pool_windows(features, windows, levels=(3, 2, 1)))


@pytest.mark.parametrize(
    ("out", "said"),
    [
        (torch.zeros(2, 3, 14), r"out must be \(2, 14, 3\), got \(2, 3, 14\)"),
        (torch.zeros(2, 14, 3, dtype=torch.float64), "out must be contiguous torch.float32 on cpu, got torch.float64"),
        (torch.zeros(2, 3, 14).transpose(1, 2), "got not contiguous torch.float32"),
        (torch.zeros(2, 14, 3, requires_grad=True), "left out where gradients are asked for, got one"),
    ],
)
def test_memory_that_does_not_fit_is_refused(out: torch.Tensor, said: str) -> None:
    windows = torch.tensor([[0, 0, 9, 8], [2, 3, 4, 4]])
    with pytest.raises(ArgumentError, match=said):
        pool_windows(random_map(3, 8, 9), windows, levels=(3, 2, 1), out=out)


def test_chunks_are_the_windows_in_order() -> None:
    features = random_map(3, 8, 9)
    windows = torch.tensor([[0, 0, 9, 8], [2, 3, 4, 4], [1, 1, 7, 8], [0, 0, 1, 1], [5, 2, 9, 8]])
    parts = [part.clone() for part in pool_chunks(features, windows, levels=(3, 1), size=2)]
    assert [len(part) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat(parts).transpose(1, 2), pool_windows(features, windows, levels=(3, 1)))
    assert [tuple(part.shape) for part in pool_chunks(features, windows[:0], levels=(3, 1))] == [(0, 10, 3)]


# Maps of different sizes


def test_maps_of_different_sizes_are_pooled_one_after_the_other() -> None:
    maps = [random_map(3, 8, 9).requires_grad_(), random_map(3, 2, 5), random_map(3, 6, 6)]
    windows = [
        torch.tensor([[0, 0, 9, 8], [2, 3, 4, 4]]),
        torch.zeros(0, 4, dtype=torch.int64),
        torch.tensor([[0, 0, 6, 6]]),
    ]
    pooled = pool_windows(maps, windows, levels=(2, 1))
    each = [pool_windows(cells, rows, levels=(2, 1)) for cells, rows in zip(maps, windows, strict=True)]
    assert torch.equal(pooled, torch.cat(each))
    assert torch.autograd.grad(pooled.sum(), maps[0])[0].sum() == 2 * 3 * 5
    out = torch.full((3, 5, 3), torch.nan)
    plain = [cells.detach() for cells in maps]
    assert torch.equal(pool_windows(plain, windows, levels=(2, 1), out=out), pooled)


@pytest.mark.parametrize(
    ("features", "windows", "kinds"),
    [
        ([torch.zeros(3, 8, 9)], torch.zeros(1, 4), "list and Tensor"),
        (torch.zeros(3, 8, 9), [[0, 0, 3, 3]], "Tensor and list"),
        (torch.zeros(3, 8, 9).numpy(), torch.zeros(1, 4), "ndarray and Tensor"),
    ],
)
def test_a_map_needs_a_tensor_of_windows_and_several_a_list(features: object, windows: object, kinds: str) -> None:
    expected = (
        "pool_windows: features and windows must be two tensors, or a list of maps and one of windows, got "
        f"{kinds}. Make tensors: torch.as_tensor(windows)"
    )
    with pytest.raises(ArgumentError, match=re.escape(expected)):
        pool_windows(features, windows)


@pytest.mark.parametrize("windows", [[], [torch.zeros(1, 4)] * 2], ids=["none", "more"])
def test_each_map_needs_its_windows(windows: object) -> None:
    with pytest.raises(ArgumentError, match="windows must be one tensor for each map, got 1 maps and"):
        pool_windows([random_map(3, 8, 9)], windows)
