"""One image through ZF-5 with pooling, and R-CNN's way with the same network: Table 10's times, on a processor.

Weights are random, which changes no time. 2,000 windows of selective search on a 640 x 480 image; R-CNN's
convolutions are timed on some of its crops and multiplied. Seconds are of the processor, all threads together, and by
the clock; every repeat takes all variants in turn.
"""

import json
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks import records
from sppnet.backbones import PublishedNet
from sppnet.features.files import encoder_of, published_encoder, published_layers
from sppnet.features.layers import LayeredMaps, RegionLayers
from sppnet.features.multiscale import PAPER_SCALES
from sppnet.features.scene import Scene
from sppnet.geometry import Boxes
from sppnet.images import read_image, resize
from sppnet.proposals.opencv import SelectiveSearch
from sppnet.recipes._rcnn import CroppingEncoder

IMAGE = "BloodImage_00047.jpg"  # the first of every tenth in which the search finds 2,000 regions
LEVELS = (6, 3, 2, 1)
CROPS = 32
REPEATS = 3
SCORES = 21
PAPER = {"one scale": 102, "five scales": 38}  # Table 10, on a GPU
Timed = Callable[[], object]


def measure() -> None:
    """Time map, layers and proposals of one image, and crops and layers of R-CNN; print the ratios."""
    pixels = read_image(records.data_folder("bccd") / "JPEGImages" / IMAGE)
    torch.manual_seed(0)
    network = PublishedNet("zf5", padding="deployment").eval()
    regions = _searched(network, pixels)
    variants = _variants(published_layers(network))
    seconds = _interleaved(_parts(network, variants, pixels, regions))
    figures = {
        "regions": len(regions),
        "threads": torch.get_num_threads(),
        "crops_timed": CROPS,
        "seconds": seconds,
        "times_faster": {clock: _ratios(seconds, clock, len(regions)) for clock in ("processor", "clock")},
        "paper_times_faster": PAPER,
        "error_of_fc7": _errors(network, variants, pixels, regions),
    }
    records.write("rcnn", seed=0, figures=figures)
    print(json.dumps(figures, indent=1))


def _parts(
    network: PublishedNet,
    variants: dict[str, RegionLayers],
    pixels: NDArray[np.uint8],
    regions: NDArray[np.float64],
) -> dict[str, Timed]:
    bare = deepcopy(network)
    for name in dict(network.trunk.named_children()):
        if name.startswith("norm"):
            setattr(bare.trunk, name, nn.Identity())
    smaller = resize(pixels, (pixels.shape[0] * 2 // 3, pixels.shape[1] * 2 // 3))
    parts: dict[str, Timed] = {
        "search": partial(_searched, network, pixels),
        "search at two thirds": partial(_searched, network, smaller),
    }
    for kind, net in (("", network), (", no normalisation", bare)):
        below = encoder_of((net.map_name,), (688,), backbone=net)
        crops = CroppingEncoder(below)
        parts[f"map{kind}"] = partial(below.compute, pixels)
        parts[f"crops{kind}"] = partial(crops.run, pixels, regions[:: len(regions) // CROPS][:CROPS], LEVELS)
    five = encoder_of((network.map_name,), PAPER_SCALES, backbone=network)
    parts["maps of five scales"] = partial(five.compute, pixels)
    one = encoder_of((network.map_name,), (688,), backbone=network).compute(pixels)
    several = five.compute(pixels)
    rows = one.pool(regions, LEVELS)
    for kind, variant in variants.items():
        head = torch.zeros(SCORES, variant.length), torch.zeros(SCORES)
        parts[f"layers{kind}"] = partial(LayeredMaps(one, variant).score, regions, LEVELS, *head)
        parts[f"layers{kind}, every crop"] = partial(variant, rows)
    parts["layers, five scales"] = partial(LayeredMaps(several, variants[""]).score, regions, LEVELS, *head)
    return parts


def _searched(network: PublishedNet, pixels: NDArray[np.uint8]) -> Boxes:
    return SelectiveSearch().regions(Scene(pixels, encoder_of((network.map_name,), (688,), backbone=network)))


def _variants(layers: RegionLayers) -> dict[str, RegionLayers]:
    thin = layers.truncated((1024, 256))
    return {"": layers, " in bfloat16": layers.halved(), " of rank 1024 and 256": thin}


def _interleaved(parts: dict[str, Timed]) -> dict[str, dict[str, float]]:
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in parts}
    for repeat in range(REPEATS + 1):
        for name, work in parts.items():
            start = time.process_time(), time.perf_counter()
            work()
            if repeat:  # the first one compiles
                runs[name].append((time.process_time() - start[0], time.perf_counter() - start[1]))
    medians = {name: np.median(times, axis=0).tolist() for name, times in runs.items()}
    return {name: dict(zip(("processor", "clock"), pair, strict=True)) for name, pair in medians.items()}


def _ratios(seconds: dict[str, dict[str, float]], clock: str, regions: int) -> dict[str, float]:
    def of(name: str) -> float:
        return seconds[name][clock]

    def crops(kind: str = "", layers: str = "") -> float:
        return of(f"crops{kind}") / CROPS * regions + of(f"layers{layers}, every crop")

    search, small = of("search"), of("search at two thirds")
    half = " in bfloat16"
    return {
        "one scale": crops() / (of("map") + of("layers")),
        "five scales": crops() / (of("maps of five scales") + of("layers, five scales")),
        "one scale, no normalisation in either": crops(", no normalisation")
        / (of("map, no normalisation") + of("layers")),
        "one scale, layers in bfloat16 in both": crops(layers=half) / (of("map") + of(f"layers{half}")),
        "one scale, layers in bfloat16 in both, no normalisation in either": crops(", no normalisation", half)
        / (of("map, no normalisation") + of(f"layers{half}")),
        "with selective search": (crops() + search) / (of("map") + of("layers") + search),
        "with selective search, layers in bfloat16": (crops(layers=half) + search)
        / (of("map") + of(f"layers{half}") + search),
        "with selective search at two thirds, layers in bfloat16": (crops(layers=half) + small)
        / (of("map") + of(f"layers{half}") + small),
    }


def _errors(
    network: PublishedNet,
    variants: dict[str, RegionLayers],
    pixels: NDArray[np.uint8],
    regions: NDArray[np.float64],
) -> dict[str, Any]:
    """Return how far the cheaper layers' output lies from the exact one's, relative to its length."""
    rows = published_encoder(network, (688,)).compute(pixels).pool(regions[::10], LEVELS)
    exact = variants[""](rows)
    return {
        kind.strip() or "float32": float(torch.dist(variant(rows), exact) / exact.norm())
        for kind, variant in variants.items()
    }
