"""``python -m benchmarks gpu``: what a GPU makes of it all, in minutes, with the package alone and no network.

Every part is timed by the device's own clock, medians of many runs, and written as soon as it is known. Times of
pooling and networks are of replayed graphs, which leave out what Python needs to launch kernels; "as called" has it.
Without a GPU ``--tiny`` runs the same code under Triton's interpreter on small sizes: it proves that the command works,
and its times say nothing.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torchvision.ops import roi_pool

from sppnet import Detector
from sppnet.backbones import EfficientNetLite0, PublishedNet
from sppnet.errors import MissingExtraError
from sppnet.ops import bins, pool_windows
from sppnet.ops.contract import Backend, Mode

LEVELS = (6, 3, 2, 1)
SCALES = (480, 576, 688, 864, 1200)
VIEW = 227
TYPES = (torch.float32, torch.bfloat16)


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    device: torch.device
    rounds: int
    windows: tuple[int, ...]
    maps: Mapping[int, tuple[int, int]]
    regions: int
    crops: int
    width: float
    scales: tuple[int, ...]
    steps: int
    levels: tuple[int, ...] = LEVELS
    channels: int = 256

    @classmethod
    def full(cls) -> "Sizes":
        """Return what a GPU is given: the paper's sizes."""
        maps = {600: (38, 50), 1200: (75, 100)}
        return cls(torch.device("cuda"), 30, (500, 2000, 20_000), maps, 2000, 256, 1.0, SCALES, 20)

    @classmethod
    def tiny(cls) -> "Sizes":
        """Return what Triton's interpreter can run in seconds."""
        return cls(torch.device("cpu"), 1, (2,), {32: (3, 4)}, 6, 2, 0.05, (240,), 1, (2, 1), 4)


def measure(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure all parts, print them and write them to a file; return them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/gpu.json"), help="file to write")
    parser.add_argument("--tiny", action="store_true", help="small sizes, on the processor where there is no GPU")
    parser.add_argument("--parts", default=",".join(PARTS), help="of these, with commas between them")
    options = parser.parse_args(arguments)
    if not options.tiny and not torch.cuda.is_available():
        raise SystemExit("benchmarks gpu: no GPU is here. Give --tiny to try the command on the processor.")
    sizes = Sizes.tiny() if options.tiny else Sizes.full()
    record: dict[str, Any] = {
        "command": "python -m benchmarks gpu",
        "device": torch.cuda.get_device_name() if sizes.device.type == "cuda" else "processor, Triton's interpreter",
        "tiny": options.tiny,
        "versions": {"torch": torch.__version__},
        "figures": {},
    }
    start = time.perf_counter()
    for name in options.parts.split(","):
        began = time.perf_counter()
        try:
            record["figures"][name] = PARTS[name](sizes)
        except Exception as error:  # one part that fails must not cost the others
            record["figures"][name] = {"failed": f"{type(error).__name__}: {error}"[:2000]}
        record["figures"][name]["seconds"] = round(time.perf_counter() - began, 1)
        record["seconds"] = round(time.perf_counter() - start, 1)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(name, json.dumps(record["figures"][name]), flush=True)
    return record


# Kernels against the specification


def _windows(count: int, height: int, width: int, seed: int) -> Tensor:
    """Return windows (R, 4) of all sizes and places of a map."""
    rng = np.random.default_rng(seed)
    left, top = rng.integers(0, width, count), rng.integers(0, height, count)
    right, bottom = rng.integers(left + 1, width + 1), rng.integers(top + 1, height + 1)
    return torch.from_numpy(np.stack([left, top, right, bottom], axis=1))


def kernels(sizes: Sizes) -> dict[str, Any]:
    """Compare forward and backward of both kernels with the reference: odd sizes, ties, NaN, no windows, four types."""
    worst: dict[str, float] = {}
    cases, equal = 0, 0
    full = sizes.width == 1.0
    shapes = [(1, 1, 1, 1), (2, 5, 7, 9), (1, 129, 13, 11)] if full else [(2, 2, 3, 2)]
    counts = (0, 17) if full else (0, 2)
    for number, shape in enumerate(shapes):
        draw = torch.Generator().manual_seed(number)
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            for special in (None, float("nan"), float("inf")):
                features = torch.randint(-4, 5, shape, generator=draw).to(dtype)
                if special is not None:
                    features[:, ::2, shape[2] // 2, shape[3] // 2] = special
                for mode in ("max", "average") if special is None else ("max",):
                    for count in counts:
                        places = _windows(count, shape[2], shape[3], number)
                        indices = torch.arange(count)[:, None] % shape[0]
                        error = _difference(features, torch.cat([indices, places], dim=1), mode, sizes)
                        cases, equal = cases + 1, equal + (error == 0)
                        worst[f"{mode}, {dtype}"] = max(worst.get(f"{mode}, {dtype}", 0.0), error)
    return {"cases": cases, "equal bits": equal, "largest relative difference": worst}


def _difference(features: Tensor, windows: Tensor, mode: Mode, sizes: Sizes) -> float:
    """Return the largest difference from the reference in double precision, relative to its value or 1."""
    answers, device = [], sizes.device
    backends: tuple[tuple[Backend, torch.dtype], ...] = (("triton", features.dtype), ("reference", torch.float64))
    for backend, dtype in backends:
        leaf = features.to(device, dtype).requires_grad_()
        pooled = pool_windows(leaf, windows.to(device), levels=sizes.levels, mode=mode, backend=backend)
        weights = (torch.arange(pooled.numel(), device=device) % 7).reshape(pooled.shape).to(pooled.dtype)
        (gradient,) = torch.autograd.grad(pooled, leaf, weights)
        answers.append((pooled.detach().double(), gradient.double()))
    errors = [0.0]
    for ours, expected in zip(*answers, strict=True):
        same = (ours == expected) | (ours.isnan() & expected.isnan())
        differing = torch.where(same, 0.0, (ours - expected).abs() / expected.abs().clamp(min=1.0))
        errors.append(float(differing.max()) if differing.numel() else 0.0)
    return max(errors)


# Pooling against its peers


def pooling(sizes: Sizes) -> dict[str, Any]:
    """Time pooling windows beside four ``roi_pool`` and one write of the result, forward and with gradient."""
    figures: dict[str, Any] = {}
    for side, (height, width) in sizes.maps.items():
        for count in sizes.windows:
            windows = _windows(count, height, width, 0).to(sizes.device)
            boxes = torch.cat([torch.zeros(count, 1, device=sizes.device), windows.float()], dim=1)
            boxes[:, 3:] -= 1
            features = torch.rand(1, sizes.channels, height, width, device=sizes.device)
            last = features.contiguous(memory_format=torch.channels_last)[0]
            out = torch.empty(count, bins(sizes.levels), sizes.channels, device=sizes.device)
            half, half_out = last.bfloat16(), out.bfloat16()
            works: dict[str, Callable[[], object]] = {
                "sppnet": _pooled(last, windows, sizes, out),
                "sppnet, bfloat16": _pooled(half, windows, sizes, half_out),
                "one write": partial(out.fill_, 1.0),
                "one write, bfloat16": partial(half_out.fill_, 1.0),
                "roi_pool x 4": _peer(features, boxes, sizes),
            }
            if count <= 2000:
                leaf, plain = last.clone().requires_grad_(), features.clone().requires_grad_()
                works["sppnet, with gradient"] = _with_gradient(_pooled(leaf, windows, sizes, None), leaf)
                works["roi_pool x 4, with gradient"] = _with_gradient(_peer(plain, boxes, sizes), plain)
            times = {name: _milliseconds(work, sizes) for name, work in works.items()}
            times["sppnet, as called"] = _milliseconds(works["sppnet"], sizes, replayed=False)
            ratios = {
                "over one write": times["sppnet"] / times["one write"],
                "bfloat16 over one write": times["sppnet, bfloat16"] / times["one write, bfloat16"],
                "times roi_pool x 4": times["roi_pool x 4"] / times["sppnet"],
            }
            figures[f"{count} windows, short side {side}"] = {"ms": _rounded(times), "ratios": _rounded(ratios)}
    return figures


def _pooled(features: Tensor, windows: Tensor, sizes: Sizes, out: Tensor | None) -> Callable[[], Tensor]:
    return lambda: pool_windows(features, windows, levels=sizes.levels, backend="triton", out=out)


def _peer(features: Tensor, boxes: Tensor, sizes: Sizes) -> Callable[[], Tensor]:
    return lambda: torch.cat([roi_pool(features, boxes, level).flatten(2) for level in sizes.levels], dim=2)


def _with_gradient(pool: Callable[[], Tensor], leaf: Tensor) -> Callable[[], object]:
    weights = torch.rand_like(pool())
    return lambda: torch.autograd.grad(pool(), leaf, weights)


# SPP-net against R-CNN


@torch.inference_mode()
def rcnn(sizes: Sizes) -> dict[str, Any]:
    """Time ZF-5 on one image and 2,000 regions, once and for all regions (SPP-net), and on each region (R-CNN).

    As in Table 10, without proposals: convolutions, pooling, fc6 and fc7, and the scores of 20 classes.
    """
    network = PublishedNet("zf5", levels=LEVELS, width=sizes.width).to(sizes.device).eval()
    network = network.to(memory_format=torch.channels_last)
    return {str(dtype).removeprefix("torch."): _compared(network.to(dtype), sizes) for dtype in TYPES}


def _compared(network: PublishedNet, sizes: Sizes) -> dict[str, float]:
    fc7 = network.fc_names[1]
    first, second = (cast(nn.Linear, network.fc[name]) for name in network.fc_names[:2])
    dtype = first.weight.dtype
    weights = torch.rand(20, second.out_features, device=sizes.device, dtype=dtype)

    def scored(rows: Tensor) -> Tensor:
        return F.linear(network.head_activations(rows, [fc7])[fc7], weights)

    def pixels(count: int, height: int, width: int) -> Tensor:
        made = torch.rand(count, 3, height, width, device=sizes.device, dtype=dtype)
        return made.contiguous(memory_format=torch.channels_last)

    def at_scales(scales: tuple[int, ...]) -> Callable[[], Tensor]:
        inputs = [pixels(1, side, side * 4 // 3) for side in scales]
        share = -(-sizes.regions // len(scales))
        shapes = [network.map_size((each.shape[2], each.shape[3])) for each in inputs]
        windows = [_windows(share, *shape, 1).to(sizes.device) for shape in shapes]

        def work() -> Tensor:
            maps = [network.features(each)[0] for each in inputs]
            rows = [network.pool_windows(each, places) for each, places in zip(maps, windows, strict=True)]
            return scored(torch.cat(rows)[: sizes.regions])

        return work

    crops, one = pixels(sizes.crops, VIEW, VIEW), (688,) if sizes.width == 1.0 else sizes.scales[:1]
    rows = torch.rand(sizes.regions, first.in_features, device=sizes.device, dtype=dtype)
    times = {
        "one scale": _milliseconds(at_scales(one), sizes),
        "five scales": _milliseconds(at_scales(sizes.scales), sizes),
        "R-CNN": _milliseconds(lambda: scored(network.pool(network.features(crops))), sizes)
        * (sizes.regions / sizes.crops),
        "of these, layers of all regions": _milliseconds(lambda: scored(rows), sizes),
        "one scale, as called": _milliseconds(at_scales(one), sizes, replayed=False),
    }
    ratios = {f"times faster, {name}": times["R-CNN"] / times[name] for name in ("one scale", "five scales")}
    return _rounded(times | ratios)


# Detection and tuning


def detection(sizes: Sizes) -> dict[str, Any]:
    """Learn squares and discs on noise; find them on the device and on the processor, the same ones."""
    full = sizes.width == 1.0
    images, targets = _drawn(240 if full else 14, (480, 640) if full else (96, 128))
    first = -(-len(images) * 5 // 6)
    detector = Detector(backbone=_backbone(sizes), device=sizes.device.type)
    began = time.perf_counter()
    detector.fit(images[:first], targets[:first])
    figures: dict[str, Any] = {"learnt from": first, "seconds of learning": time.perf_counter() - began}
    found = {}
    for device in (sizes.device.type, "cpu"):
        detector.to(device)
        list(detector.detect(images[first : first + 3]))  # compiles
        began = time.perf_counter()
        found[device] = list(detector.detect(images[first:]))
        figures[f"images a second, {device}"] = (len(images) - first) / (time.perf_counter() - began)
    pairs = list(zip(found[sizes.device.type], found["cpu"], strict=True))
    matched = [matches(ours.boxes, theirs.boxes) for ours, theirs in pairs]
    figures["detections"] = sum(len(theirs) for _, theirs in pairs)
    figures["of these found alike"] = sum(matched)
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def matches(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> int:
    """Return how many boxes have one of the others' within half a pixel."""
    return int((np.abs(theirs[:, None] - ours[None]).max(axis=2, initial=0.0).min(axis=1, initial=np.inf) < 0.5).sum())


def _drawn(count: int, size: tuple[int, int]) -> tuple[list[NDArray[np.uint8]], list[dict[str, Any]]]:
    """Return images of noise with up to eight squares and discs, and their boxes."""
    images, targets, rng = [], [], np.random.default_rng(0)
    height, width = size
    for _ in range(count):
        image = Image.fromarray(rng.integers(90, 160, (height, width, 3)).astype(np.uint8))
        pen, boxes, labels = ImageDraw.Draw(image), [], []
        for number in range(int(rng.integers(2, 9))):
            side = int(rng.integers(height // 12, height // 4))
            left, top = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
            box, label = (left, top, left + side, top + side), number % 2
            (pen.rectangle, pen.ellipse)[label](box, fill=(("red", "blue")[label]))
            boxes.append(box)
            labels.append(label)
        images.append(np.asarray(image))
        targets.append({"boxes": np.array(boxes, dtype=np.float64), "labels": np.array(labels)})
    return images, targets


def _backbone(sizes: Sizes) -> Any:
    """Return the default backbone, or ZF-5 where the package of its weights is not installed."""
    try:
        return EfficientNetLite0()
    except MissingExtraError:
        return PublishedNet("zf5", levels=LEVELS, width=sizes.width).eval()


def tuning(sizes: Sizes) -> dict[str, Any]:
    """Time a step of tuning the convolutions: forward, pooling of 224 windows, backward, AdamW."""
    network = _backbone(sizes).to(sizes.device).requires_grad_(True)
    pixels = torch.rand(1, 3, *((480, 640) if sizes.width == 1.0 else (32, 48)), device=sizes.device)
    count = 224 if sizes.width == 1.0 else 2
    rows = _rows(network, pixels, _places(network, pixels, count, sizes), sizes)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(rows().square().mean())
        optimiser.step()

    milliseconds = _milliseconds(step, sizes, replayed=False)
    return _rounded({"ms a step": milliseconds, "steps a second": 1000 / milliseconds})


def _layers(network: Any) -> tuple[str, ...]:
    return tuple(network.detector_layers)


def _places(network: Any, pixels: Tensor, count: int, sizes: Sizes) -> list[Tensor]:
    with torch.no_grad():
        maps = network.activations(pixels, _layers(network))
    shapes = [maps[layer].shape for layer in _layers(network)]
    return [_windows(count, shape[2], shape[3], 2).to(sizes.device) for shape in shapes]


def _rows(network: Any, pixels: Tensor, places: list[Tensor], sizes: Sizes) -> Callable[[], Tensor]:
    shares = [(3, 2, 1), *[(1,)] * (len(places) - 1)] if sizes.width == 1.0 else [(1,)] * len(places)

    def rows() -> Tensor:
        maps = network.activations(pixels, _layers(network))
        return torch.cat(
            [
                pool_windows(maps[layer][0], windows, levels=share, backend="triton").flatten(1)
                for layer, windows, share in zip(_layers(network), places, shares, strict=True)
            ],
            dim=1,
        )

    return rows


# The clock


def _milliseconds(work: Callable[[], object], sizes: Sizes, *, replayed: bool = True) -> float:
    """Return the median time of many runs, on a GPU by its own clock: of a replayed graph, or as called."""
    for _ in range(3 if sizes.rounds > 1 else 1):
        work()
    if sizes.device.type != "cuda":
        began = time.perf_counter()
        work()
        return 1000 * (time.perf_counter() - began)
    run: Callable[[], object] = work
    if replayed:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            work()
        run = graph.replay
    times: list[float] = []
    for _ in range(sizes.rounds):
        # torch leaves it untyped
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


PARTS: dict[str, Callable[[Sizes], dict[str, Any]]] = {
    "rcnn": rcnn,
    "pooling": pooling,
    "detection": detection,
    "tuning": tuning,
    "kernels": kernels,
}
