"""How fast training is: beside a plain torchvision script, and whether reading images ever holds it up.

Rounds of a few steps, in turn: torchvision's AlexNet as its documentation would have one train it, the same AlexNet
by ``sppnet.training``, and ZF-5. Speeds of different networks are compared by multiply-adds. Images are decoded anew
for every step.
"""

import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models, transforms

from benchmarks import records
from sppnet import load_folders
from sppnet.backbones import PublishedNet
from sppnet.data import FolderData
from sppnet.training import Images, Plan, SampleRequest, Trainer

Item = TypeVar("Item")

ROUNDS: Final = 3
BATCH: Final = 16
STEPS: Final = 8  # the first one is not counted
WORKERS: Final = 2
CLASSES: Final = 10
PLAN: Final = Plan(epochs=1, batch=BATCH, rate=1e-4)


def measure() -> None:
    """Write images a second, and the ratios that matter."""
    data = _images(STEPS)
    half = _images(STEPS // 2)
    contenders: dict[str, Callable[[], float]] = {
        "torchvision script, AlexNet": lambda: _plain(data),
        "sppnet, AlexNet": lambda: _ours(_alexnet(), data),
        "sppnet, ZF-5": lambda: _ours(PublishedNet("zf5", classes=CLASSES), half),
        "torchvision script, reading alone": lambda: _reading(_plain_batches(data)),
        "sppnet, reading alone": lambda: _reading(_our_batches(data)),
    }
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(ROUNDS + 1):
        for name, work in contenders.items():
            speed = work()
            if turn > 0:  # the first round compiles
                speeds[name].append(speed)
    figures = _figures(speeds)
    records.write("training", seed=0, figures=figures)
    print(json.dumps(figures, indent=1))


def _figures(speeds: dict[str, list[float]]) -> dict[str, Any]:
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    alexnet, zf5 = _multiply_adds(_alexnet()), _multiply_adds(PublishedNet("zf5"))
    plain = medians["torchvision script, AlexNet"]
    return {
        "images_per_second": {
            name: {"median": round(medians[name], 1), "rounds": [round(value, 1) for value in values]}
            for name, values in speeds.items()
        },
        "multiply_adds": {"AlexNet": alexnet, "ZF-5": zf5},
        "sppnet over torchvision script, both AlexNet": round(medians["sppnet, AlexNet"] / plain, 3),
        "sppnet's ZF-5 over torchvision script's AlexNet, by multiply-adds": round(
            medians["sppnet, ZF-5"] * zf5 / (plain * alexnet), 3
        ),
        "reading over training, AlexNet": round(medians["sppnet, reading alone"] / medians["sppnet, AlexNet"], 2),
        "reading over training, ZF-5": round(medians["sppnet, reading alone"] / medians["sppnet, ZF-5"], 2),
        "reading, sppnet over torchvision script": round(
            medians["sppnet, reading alone"] / medians["torchvision script, reading alone"], 2
        ),
    }


def _images(steps: int) -> FolderData:
    """Return as many images as so many steps take, always the same."""
    data = load_folders(records.data_folder("caltech101") / "101_ObjectCategories")
    rows = np.random.default_rng(0).permutation(len(data.paths))[: BATCH * steps]
    return replace(data, paths=tuple(data.paths[row] for row in rows), labels=data.labels[rows] % CLASSES)


def _alexnet() -> nn.Module:
    network = models.alexnet(num_classes=CLASSES)
    network.mean, network.std = 128.0, 64.0
    return cast(nn.Module, network)


def _multiply_adds(network: nn.Module) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 3, 224, 224))
    operations: int = counter.get_total_flops()
    return operations / 2


# sppnet


class _EnoughError(Exception):
    """Ends a run before it writes half a gigabyte of state."""


def _ours(network: nn.Module, data: FolderData) -> float:
    stamps: list[float] = []

    def stamped(_: str, steps: Sequence[Item], /) -> Iterable[Item]:
        for step in steps:
            stamps.append(time.perf_counter())  # when the step before it is done
            if len(stamps) == len(steps):
                raise _EnoughError
            yield step

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(_EnoughError):
        images = Images(data, workers=WORKERS, memory=0)
        Trainer(network, images, PLAN, folder=Path(folder)).fit(progress=stamped)
    return _speed(stamps[1:])


def _our_batches(data: FolderData) -> Iterator[object]:
    images = Images(data, workers=WORKERS, memory=0)
    rows = np.arange(BATCH * STEPS).reshape(STEPS, BATCH)
    return (
        batch.normalised(torch.device("cpu"), mean=128.0, std=64.0)
        for batch in images.batches(SampleRequest(part, 224, 224, (0, 0)) for part in rows)
    )


# What one would write with torchvision alone


class _Folder(Dataset[tuple[torch.Tensor, int]]):
    def __init__(self, data: FolderData) -> None:
        self.data = data
        self.change = transforms.Compose(
            [
                transforms.Resize(256),
                transforms.RandomCrop(224),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

    def __len__(self) -> int:
        return len(self.data.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.change(Image.open(self.data.paths[index]).convert("RGB")), int(self.data.labels[index])


def _plain_batches(data: FolderData) -> Iterable[Any]:
    return DataLoader(_Folder(data), batch_size=BATCH, shuffle=True, num_workers=WORKERS)


def _plain(data: FolderData) -> float:
    network = _alexnet().train()
    optimiser = torch.optim.SGD(network.parameters(), 1e-4, momentum=0.9, weight_decay=5e-4)
    stamps = []
    for pixels, labels in _plain_batches(data):
        loss = F.cross_entropy(network(pixels), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimiser.step()
        stamps.append(time.perf_counter())
    return _speed(stamps)


def _reading(batches: Iterable[object]) -> float:
    stamps = [time.perf_counter() for _ in batches]
    return _speed(stamps)


def _speed(stamps: Sequence[float]) -> float:
    """Return images a second from when each step was done."""
    return BATCH * (len(stamps) - 1) / (stamps[-1] - stamps[0])
