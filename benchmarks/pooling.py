"""The pooling beside its peers, interleaved in one run: medians, quartiles, and their ratios.

Windows come from selective search on a photograph, as in the paper; maps are random, at stride 16.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor
from torchvision.ops import roi_pool

from benchmarks import plots, records
from sppnet import SelectiveSearch, SpatialPyramidPool, pool_windows
from sppnet.features.files import encoder_of
from sppnet.features.scene import Scene
from sppnet.geometry import AxisGrid, CellGrid, scale_boxes, shorter_side_size, windows_from_regions
from sppnet.images import resize

PLOT = records.ROOT / "docs" / "pooling.svg"
LEVELS = (6, 3, 2, 1)
CHANNELS = 256
ROUNDS = 9
SIDES = {480: (30, 40), 600: (38, 50), 688: (43, 58), 864: (54, 72), 1200: (75, 100)}  # short side -> map


def measure() -> None:
    """Write times and ratios: windows by map size, by number and by threads, with gradient, and whole maps."""
    windows = {side: _windows(side) for side in SIDES}
    figures: dict[str, Any] = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        figures[f"whole maps, {threads} threads"] = _whole_maps()
        for side in SIDES if threads == 1 else (600, 1200):
            figures[_name(2000, side, threads)] = _forward(SIDES[side], windows[side])
        for side in (600, 1200):
            figures[_name(2000, side, threads) + ", with gradient"] = _backward(SIDES[side], windows[side])
    torch.set_num_threads(1)
    for count in (500, 20_000):
        rows = windows[600][torch.arange(count) % len(windows[600])]
        figures[_name(count, 600, 1)] = _forward(SIDES[600], rows)
    for side in (600, 1200):
        figures[f"two threads over one, short side {side}"] = _two_over_one(SIDES[side], windows[side])
    figures["first call of a process, seconds"] = _first_calls()
    records.write("pooling", seed=0, figures=figures)
    plots.draw_pooling(figures, PLOT)
    print(json.dumps(figures, indent=1))


def _name(count: int, side: int, threads: int) -> str:
    return f"{count} windows, short side {side}, {threads} threads"


FIRST_CALL = """
import time, torch
from sppnet import pool_windows
features, windows = torch.rand(256, 38, 50), torch.tensor([[0, 0, 50, 38]])
start = time.perf_counter()
pool_windows(features, windows)
print(time.perf_counter() - start)
"""


def _first_calls() -> dict[str, float]:
    """Return how long the first pooling of a process takes, with nothing compiled before, and after that."""
    with tempfile.TemporaryDirectory() as empty:
        environment = os.environ | {"NUMBA_CACHE_DIR": empty}
        command = [sys.executable, "-c", FIRST_CALL]
        seconds = [float(subprocess.check_output(command, env=environment, text=True)) for _ in range(2)]
    return {"nothing compiled": round(seconds[0], 2), "compiled by an earlier process": round(seconds[1], 2)}


def _windows(side: int) -> Tensor:
    """Return 2,000 windows (R, 4) of selective search's regions on the map of a scaled photograph.

    It finds 1,801; the first come twice, which gains nothing: no kernel here reuses what it did for a window.
    """
    photograph = resize(np.ascontiguousarray(data.astronaut()[:384]), (375, 500))
    regions = SelectiveSearch(limit=2000).regions(Scene(photograph, encoder_of(("stride16",), (side,))))
    grid = CellGrid(AxisGrid(16.0, 0.0), AxisGrid(16.0, 0.0))
    scaled = scale_boxes(regions, (375, 500), shorter_side_size((375, 500), side))
    windows = windows_from_regions(scaled, grid, SIDES[side])
    return torch.from_numpy(windows[np.arange(2000) % len(windows)])


def _forward(shape: tuple[int, int], windows: Tensor) -> dict[str, Any]:
    features = torch.rand(CHANNELS, *shape, generator=torch.Generator().manual_seed(0))
    last = features[None].contiguous(memory_format=torch.channels_last)[0]
    out = torch.empty(len(windows), 50, CHANNELS)
    boxes = _roi_boxes(windows)
    contenders = {
        "sppnet": lambda: pool_windows(last, windows, levels=LEVELS, out=out),
        "sppnet, fresh memory": lambda: pool_windows(last, windows, levels=LEVELS),
        "one write of the output": lambda: out.fill_(1.0),
        "roi_pool x 4": lambda: torch.cat([roi_pool(features[None], boxes, n).flatten(2) for n in LEVELS], dim=2),
    }
    half, half_out = last.bfloat16(), torch.empty(len(windows), 50, CHANNELS, dtype=torch.bfloat16)
    contenders["sppnet, bfloat16"] = lambda: pool_windows(half, windows, levels=LEVELS, out=half_out)
    if len(windows) <= 2000:
        contenders["adaptive_max_pool2d in a loop"] = lambda: _adaptive(features, windows)
    return _compared(contenders)


def _backward(shape: tuple[int, int], windows: Tensor) -> dict[str, Any]:
    features = torch.rand(CHANNELS, *shape, generator=torch.Generator().manual_seed(0))
    leaf = features[None].contiguous(memory_format=torch.channels_last)[0].requires_grad_()
    plain = features.clone().requires_grad_()
    boxes = _roi_boxes(windows)

    def ours(maps: Tensor) -> Tensor:
        return pool_windows(maps, windows, levels=LEVELS)

    def peer(maps: Tensor) -> Tensor:
        return torch.cat([roi_pool(maps[None], boxes, n).flatten(2) for n in LEVELS], dim=2)

    return _compared({"sppnet": _with_gradient(ours, leaf), "roi_pool x 4": _with_gradient(peer, plain)})


def _whole_maps() -> dict[str, Any]:
    layer = SpatialPyramidPool(LEVELS)
    plain = torch.rand(32, CHANNELS, 13, 13, generator=torch.Generator().manual_seed(0))

    def adaptive(maps: Tensor) -> Tensor:
        return torch.cat([F.adaptive_max_pool2d(maps, n).flatten(2) for n in LEVELS], dim=2).flatten(1)

    figures = {}
    for layout, form in (("contiguous", torch.contiguous_format), ("channels last", torch.channels_last)):
        maps = plain.contiguous(memory_format=form)
        leaf = maps.clone().requires_grad_()
        figures[layout] = _compared(
            {"sppnet": partial(layer, maps), "adaptive_max_pool2d x 4": partial(adaptive, maps)}
        )
        both = {
            name: _with_gradient(pool, leaf)
            for name, pool in (("sppnet", layer), ("adaptive_max_pool2d x 4", adaptive))
        }
        figures[f"{layout}, with gradient"] = _compared(both)
    return figures


def _with_gradient(pool: Callable[[Tensor], Tensor], leaf: Tensor) -> Callable[[], object]:
    weights = torch.rand(pool(leaf).shape, generator=torch.Generator().manual_seed(1))
    return lambda: torch.autograd.grad(pool(leaf), leaf, weights)


def _roi_boxes(windows: Tensor) -> Tensor:
    """Return windows as roi_pool wants them: the map's index, and ends included."""
    return torch.cat([torch.zeros(len(windows), 1), windows[:, :2].float(), windows[:, 2:].float() - 1], dim=1)


def _adaptive(features: Tensor, windows: Tensor) -> Tensor:
    rows = []
    for left, top, right, bottom in windows.tolist():
        window = features[None, :, top:bottom, left:right]
        rows.append(torch.cat([F.adaptive_max_pool2d(window, n).flatten(2) for n in LEVELS], dim=2))
    return torch.cat(rows)


def _two_over_one(shape: tuple[int, int], windows: Tensor) -> float:
    """Return how many times as fast two threads are: of 40 turns each, the fastest, which least else disturbed."""
    features = torch.rand(1, CHANNELS, *shape).contiguous(memory_format=torch.channels_last)[0]
    out = torch.empty(len(windows), 50, CHANNELS)
    least = {1: math.inf, 2: math.inf}
    for turn in range(80):
        torch.set_num_threads(1 + turn % 2)
        start = time.perf_counter()
        pool_windows(features, windows, levels=LEVELS, out=out)
        least[1 + turn % 2] = min(least[1 + turn % 2], time.perf_counter() - start)
    torch.set_num_threads(1)
    return round(least[1] / least[2], 2)


def _compared(contenders: Mapping[str, Callable[[], object]]) -> dict[str, Any]:
    """Run all in turn; return medians, quartiles, and each median over that of the first.

    Of one thread the processor's time counts, which others on the machine disturb little, of two the clock's.
    Three rounds are enough of what takes long.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for work in contenders.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(ROUNDS):
        for name, work in contenders.items():
            if number >= 3 and sum(seconds[name]) > 0.5:
                continue
            start = clock()
            work()
            seconds[name].append(clock() - start)
    first = statistics.median(seconds[next(iter(contenders))])
    return {name: _spread(times, first) for name, times in seconds.items()}


def _spread(times: list[float], first: float) -> dict[str, Any]:
    low, median, high = (1000 * quartile for quartile in statistics.quantiles(times, n=4))
    return {
        "median_ms": round(median, 2),
        "quartiles_ms": [round(low, 2), round(high, 2)],
        "over_sppnet": round(median / 1000 / first, 3),
    }
