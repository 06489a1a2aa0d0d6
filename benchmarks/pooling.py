"""The pooling beside its peers, interleaved in one run: medians, quartiles, and their ratios.

Windows come from selective search on a photograph, as in the paper; maps are random, at stride 16.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor
from torchvision.ops import roi_pool

from benchmarks import records
from sppnet import SelectiveSearch, SpatialPyramidPool, pool_windows
from sppnet.geometry import AxisGrid, CellGrid, scale_boxes, windows_from_regions
from sppnet.images import resize

LEVELS = (6, 3, 2, 1)
CHANNELS = 256
ROUNDS = 5
SIDES = {480: (30, 40), 600: (38, 50), 688: (43, 58), 864: (54, 72), 1200: (75, 100)}  # short side -> map


def measure() -> None:
    """Write ratios for windows at five sizes, for one and two threads, with gradient, and for whole maps."""
    windows = {side: _windows(side) for side in SIDES}
    figures: dict[str, Any] = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for side, shape in SIDES.items() if threads == 1 else ((600, SIDES[600]), (1200, SIDES[1200])):
            figures[f"2000 windows, short side {side}, {threads} threads"] = _forward(shape, windows[side][:2000])
    torch.set_num_threads(1)
    for count in (500, 20_000):
        rows = windows[600][torch.arange(count) % len(windows[600])]
        figures[f"{count} windows, short side 600, 1 threads"] = _forward(SIDES[600], rows)
    figures["2000 windows, short side 600, 1 threads, with gradient"] = _backward(SIDES[600], windows[600][:2000])
    figures["32 whole maps of 13 x 13, 1 threads, with gradient"] = _whole_maps()
    one, two = (figures[f"2000 windows, short side 600, {threads} threads"]["sppnet"] for threads in (1, 2))
    figures["two threads over one, short side 600"] = round(one["median_ms"] / two["median_ms"], 2)
    records.write("pooling", seed=0, figures=figures)
    print(json.dumps(figures, indent=1))


def _windows(side: int) -> Tensor:
    """Return at least 2,000 windows (R, 4) of selective search's regions on the map of a scaled photograph."""
    photograph = resize(np.ascontiguousarray(data.astronaut()[:384]), (375, 500))
    regions = SelectiveSearch(limit=2000)(photograph, "")
    grid = CellGrid(AxisGrid(16.0, 0.0), AxisGrid(16.0, 0.0))
    windows = windows_from_regions(scale_boxes(regions, (side / 375, side / 375)), grid, SIDES[side])
    repeated = np.arange(2000) % len(windows)
    return torch.from_numpy(windows[repeated])


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
    if len(windows) <= 2000:
        contenders["adaptive_max_pool2d in a loop"] = lambda: _adaptive(features, windows)
    return _compared(contenders)


def _backward(shape: tuple[int, int], windows: Tensor) -> dict[str, Any]:
    features = torch.rand(CHANNELS, *shape, generator=torch.Generator().manual_seed(0))
    leaf = features[None].contiguous(memory_format=torch.channels_last)[0].requires_grad_()
    plain = features.clone().requires_grad_()
    boxes = _roi_boxes(windows)

    def peer() -> None:
        torch.cat([roi_pool(plain[None], boxes, n).flatten(2) for n in LEVELS], dim=2).sum().backward()

    ours = {"sppnet": lambda: pool_windows(leaf, windows, levels=LEVELS).sum().backward()}
    return _compared(ours | {"roi_pool x 4": peer})


def _whole_maps() -> dict[str, Any]:
    layer = SpatialPyramidPool(LEVELS)
    plain = torch.rand(32, CHANNELS, 13, 13).requires_grad_()
    last = plain.detach().contiguous(memory_format=torch.channels_last).requires_grad_()

    def adaptive(maps: Tensor) -> None:
        torch.cat([F.adaptive_max_pool2d(maps, n).flatten(1) for n in LEVELS], dim=1).sum().backward()

    contenders = {
        "sppnet": lambda: layer(plain).sum().backward(),
        "adaptive_max_pool2d x 4": lambda: adaptive(plain),
        "sppnet, channels last": lambda: layer(last).sum().backward(),
        "adaptive_max_pool2d x 4, channels last": lambda: adaptive(last),
    }
    return _compared(contenders)


def _roi_boxes(windows: Tensor) -> Tensor:
    """Return windows as roi_pool wants them: the map's index, and ends included."""
    return torch.cat([torch.zeros(len(windows), 1), windows[:, :2].float(), windows[:, 2:].float() - 1], dim=1)


def _adaptive(features: Tensor, windows: Tensor) -> Tensor:
    rows = []
    for left, top, right, bottom in windows.tolist():
        window = features[None, :, top:bottom, left:right]
        rows.append(torch.cat([F.adaptive_max_pool2d(window, n).flatten(2) for n in LEVELS], dim=2))
    return torch.cat(rows)


def _compared(contenders: Mapping[str, Callable[[], object]]) -> dict[str, Any]:
    """Run all in turn, ROUNDS times; return medians, quartiles, and each median over that of the first."""
    for work in contenders.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, work in contenders.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    first = statistics.median(seconds[next(iter(contenders))])
    return {name: _spread(times, first) for name, times in seconds.items()}


def _spread(times: list[float], first: float) -> dict[str, float]:
    low, median, high = (1000 * quartile for quartile in statistics.quantiles(times, n=4))
    return {
        "median_ms": round(median, 2),
        "quartiles_ms": [round(low, 2), round(high, 2)],
        "over_sppnet": round(median / 1000 / first, 3),
    }
