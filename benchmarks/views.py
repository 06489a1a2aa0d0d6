"""96 views of one photograph as windows of maps, against the same 96 views cropped and run through the network.

Full-width networks with random weights, which time does not depend on. The arithmetic of the convolutions alone bounds
what maps can save: the six scales and their mirror images hold about half as many pixels as the crops.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import records
from sppnet.backbones import PublishedNet
from sppnet.backbones.published import Name
from sppnet.classification.views import MANY_CROPS, MANY_VIEWS, SIX_SCALES, view_scores
from sppnet.geometry import shorter_side_size, view_regions
from sppnet.images import crop, resize, to_tensor

ROUNDS = 3
SIZE = (375, 500)  # a usual image of ImageNet
NETWORKS: tuple[Name, ...] = ("zf5", "overfeat7")


def measure() -> None:
    """Write seconds an image and their ratios."""
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    figures = {name: _timed(name, image) for name in NETWORKS}
    records.write(
        "views", seed=0, figures={"pixels_ratio": _pixels_ratio(), "threads": torch.get_num_threads()} | figures
    )
    print(json.dumps(figures, indent=1))


def _timed(name: Name, image: NDArray[np.uint8]) -> dict[str, Any]:
    network = PublishedNet(name).eval()
    maps = replace(MANY_VIEWS, whole=None)
    ways: dict[str, Callable[[], Any]] = {
        "windows_of_maps": lambda: view_scores(network, image, maps),
        "crops_ten_at_a_time": lambda: view_scores(network, image, MANY_CROPS),
        "crops_one_by_one": lambda: _one_by_one(network, image),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(1 + ROUNDS):  # the first compiles and is left out
        for way, work in ways.items():
            start = time.perf_counter()
            work()
            times[way].append(time.perf_counter() - start)
    seconds = {way: median(each[1:]) for way, each in times.items()}
    ratios = {way: seconds[way] / seconds["windows_of_maps"] for way in ways if way != "windows_of_maps"}
    return {"seconds": seconds, "times_slower_than_maps": ratios}


@torch.inference_mode()
def _one_by_one(network: PublishedNet, image: NDArray[np.uint8]) -> torch.Tensor:
    scores = []
    for side in SIX_SCALES:
        scaled = resize(image, shorter_side_size(SIZE, side))
        for seen in (scaled, np.ascontiguousarray(scaled[:, ::-1])):
            for region in view_regions((seen.shape[0], seen.shape[1]), 9):
                pixels = to_tensor(crop(seen, region), mean=network.mean, std=network.std)
                scores.append(network(pixels[None]).softmax(dim=1))
    return torch.cat(scores).mean(dim=0)


def _pixels_ratio() -> float:
    """Return the pixels of all crops over those of all scaled images."""
    sizes = [shorter_side_size(SIZE, side) for side in SIX_SCALES]
    crops = sum(224 * 224 * len(view_regions(size, 9)) for size in sizes)
    return crops / sum(height * width for height, width in sizes)
