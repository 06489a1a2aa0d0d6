"""Exported detectors beside the detectors: the same boxes? And, ``export_times``, how long from a file to boxes?

Of each of four data sets a default detector learns from 20 labelled images. Its graph, in ONNX Runtime, is asked about
13 images of the val split: one as it is, the others scaled to sizes from 1 x 1 to 2000 x 1500 pixels.
"""

import dataclasses
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import onnxruntime
import openvino
import torch
from numpy.typing import NDArray

from benchmarks import records
from sppnet import Detector, TensorCache, load_detection, pool_windows
from sppnet.detection.detections import Detections
from sppnet.export.detector import detector_graph
from sppnet.export.engine import ENGINES, run_by
from sppnet.export.folder import export_detector
from sppnet.export.graph import Graph
from sppnet.export.openvino import OPTIONS
from sppnet.export.pooling import block_table, pooled_windows
from sppnet.export.run import answer, load, pixels, scaled
from sppnet.geometry import iou
from sppnet.images import read_image, resize

SETS: Final = ("bccd", "raccoon", "cards", "pcb")
LABELLED: Final = 20
SIZES: Final = (  # (height, width)
    *((1, 1), (2, 3), (37, 53), (97, 131), (240, 320), (480, 640)),
    *((640, 450), (768, 1024), (1000, 300), (1200, 1600), (1500, 2000), (2000, 1500)),
)
AGREEMENTS: Final = ("outside", "inside", "outside, by OpenVINO")
NEAR: Final = {"pixels": 0.05, "confidence": 1e-3}
ROUNDS: Final = 15
LEVELS: Final = (3, 2, 1)

Run = Callable[[dict[str, NDArray[Any]]], list[NDArray[Any]]]


def measure() -> None:
    """Write how far exports are from their detectors."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = TensorCache(os.environ.get("SPPNET_CACHE", folder))
        for name in SETS:
            figures[name] = _agreement(*_learnt(name, cache))
            print(json.dumps({name: figures[name]}), flush=True)
    records.write("export", seed=0, figures={"agreement": figures})


def measure_times() -> None:
    """Write what an image and the pooling cost by each engine."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        detector, _ = _learnt("bccd", TensorCache(os.environ.get("SPPNET_CACHE", folder)))
        detector.save(Path(folder) / "model.safetensors")
        figures = {"image": _by_engine(Path(folder), next(_images("bccd"))), "pooling": _pooling()}
    records.write("export_times", seed=0, figures=figures)
    print(json.dumps(figures, indent=1))


def _learnt(name: str, cache: TensorCache) -> tuple[Detector, list[NDArray[np.uint8]]]:
    data = load_detection(records.data_folder(name), split="train", on_bad="skip")
    chosen = np.sort(np.random.default_rng(0).permutation(len(data.samples))[:LABELLED])
    detector = Detector(cache=cache).fit(dataclasses.replace(data, samples=tuple(data.samples[row] for row in chosen)))
    detector.save(Path(cache.folder) / "learnt.safetensors")
    paths = _images(name)
    images = [read_image(next(paths)), *(resize(read_image(next(paths)), size) for size in SIZES)]
    return Detector.load(Path(cache.folder) / "learnt.safetensors"), images


def _images(name: str) -> Iterator[Path]:
    data = load_detection(records.data_folder(name), split="val", on_bad="skip")
    return (sample.path for sample in data.samples)


def _agreement(detector: Detector, images: list[NDArray[np.uint8]]) -> dict[str, Any]:
    """Compare what the graph finds, of images that are scaled before it and within it, with what the detector finds."""
    figures: dict[str, Any] = {"images": len(images), "detections": 0}
    expected = [detector.detect(image) for image in images]
    figures["detections"] = sum(map(len, expected))
    for way in AGREEMENTS:
        outside = way != "inside"
        graph = detector_graph(detector.model_, scaled=outside).SerializeToString()
        run = (_by_openvino if way == "outside, by OpenVINO" else _by_onnxruntime)(graph)
        told = []
        for image, wanted in zip(images, expected, strict=True):
            given = {"image": image}
            if outside:
                short_side = detector.model_.encoder.scales[0]
                given = {"image": scaled(image, short_side, 1), "size": np.array(image.shape[:2], dtype=np.int64)}
            boxes, labels, sure = run(given)
            told.append(_compared(boxes, labels, sure, wanted))
        figures[way] = {
            "images with the same detections": sum(same for same, *_ in told),
            "lost or added": sum(others for _, others, *_ in told),
            "pixels": max(apart for *_, apart, _ in told),
            "confidence": max(apart for *_, apart in told),
        }
    return figures


def _by_onnxruntime(graph: bytes) -> Run:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, given)


def _by_openvino(graph: bytes) -> Run:
    program = openvino.compile_model(openvino.Core().read_model(graph), "CPU", OPTIONS)
    return lambda given: [program(given)[name] for name in ("boxes", "labels", "confidence")]


def _compared(
    boxes: NDArray[np.float32], labels: NDArray[np.int64], sure: NDArray[np.float32], wanted: Detections
) -> tuple[bool, int, float, float]:
    """Pair detections of a class, the nearest first: all within ``NEAR``? How many alone? How far apart the others?"""
    overlap = iou(boxes.astype(np.float64), wanted.boxes) * (labels[:, None] == wanted.labels)
    distance = np.abs(sure[:, None] - wanted.confidence)
    pairs = 0
    pixel, confidence = 0.0, 0.0
    while overlap.size and overlap.max() >= 0.5:
        row, column = np.unravel_index(np.lexsort((distance.ravel(), -overlap.ravel().round(4)))[0], overlap.shape)
        pixel = max(pixel, float(np.abs(boxes[row] - wanted.boxes[column]).max()))
        confidence = max(confidence, float(distance[row, column]))
        overlap[row], overlap[:, column], pairs = 0, 0, pairs + 1
    others = len(labels) + len(wanted) - 2 * pairs
    return others == 0 and pixel <= NEAR["pixels"] and confidence <= NEAR["confidence"], others, pixel, confidence


def _by_engine(folder: Path, image: Path) -> dict[str, Any]:
    """Time a file of 640 x 480 pixels to boxes on one thread, by engine and by the exported folder's script."""
    file = folder / "model.safetensors"
    models = {name: cast(Detector, run_by(Detector.load(file), name)) for name in ("torch", *ENGINES)}
    contenders: dict[str, Callable[[], object]] = {name: partial(model.detect, image) for name, model in models.items()}
    one_thread = onnxruntime.SessionOptions()
    one_thread.intra_op_num_threads = 1
    for scaling in ("inside", "outside"):
        export_detector(models["torch"], folder / scaling, scaling=scaling)
        session, told = load(folder / scaling, one_thread)

        def script(session: onnxruntime.InferenceSession = session, told: dict[str, Any] = told) -> object:
            return answer(session, told, pixels(image))

        contenders[f"run.py, scaled {scaling}"] = script
    return _in_turn(contenders)


def _pooling() -> dict[str, Any]:
    """Time the pooling of 3,000 windows of a map, by the kernel and by the graph, in turn, on one thread."""
    rng = np.random.default_rng(0)
    height, width, channels, count = 60, 80, 240, 3000
    first = np.stack([rng.integers(0, width - 1, count), rng.integers(0, height - 1, count)], axis=1)
    sides = rng.integers(1, 24, (count, 2))
    windows = np.concatenate([first, np.minimum(first + sides, (width, height))], axis=1)
    rounded = torch.rand(1, channels, height, width).half().float()  # as maps are
    last = rounded.contiguous(memory_format=torch.channels_last)[0]
    graph = Graph()
    cells, places = graph.input("cells", np.float16, ["h", "w", channels]), graph.input("windows", np.int64, ["r", 4])
    graph.output("rows", pooled_windows(block_table(graph, cells, LEVELS), places, LEVELS), ["r", "d"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        graph.model().SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    given = {"cells": last.permute(1, 2, 0).half().numpy(), "windows": windows}
    kernel = torch.from_numpy(windows)
    return _in_turn(
        {
            "kernel": lambda: pool_windows(last, kernel, levels=LEVELS),
            "graph": lambda: session.run(None, given),
        }
    )


def _in_turn(contenders: Mapping[str, Callable[[], object]]) -> dict[str, Any]:
    """Run all in turn; return the median of each and that over the first one's, of the processor's own time."""
    for work in contenders.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, work in contenders.items():
            start = time.process_time()
            work()
            seconds[name].append(time.process_time() - start)
    first = statistics.median(seconds[next(iter(contenders))])
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    return {name: {"ms": round(1000 * taken, 1), "share": round(taken / first, 3)} for name, taken in medians.items()}
