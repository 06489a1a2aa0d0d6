"""A small network and a run of it, in a test's process or its own: ``python tiny_training.py DATA FOLDER DROPOUT``."""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: see sppnet.cli

import torch
from torch import Tensor, nn

from sppnet import SpatialPyramidPool, load_folders
from sppnet.learning.processes import joined_processes
from sppnet.progress import Progress, silent
from sppnet.storage import write_tensors
from sppnet.training import Images, Plan, Trainer

Item = TypeVar("Item")

PLAN = Plan(epochs=4, batch=8, sizes=(32, 24), short_side=36, rate=0.05, divide_at=(3,), average=0.9)


class TinyNetwork(nn.Module):
    """(N, 3, S, S) -> (N, classes): two convolutions, a pyramid, dropout, one linear layer."""

    mean, std = 128.0, 64.0

    def __init__(self, classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.map = nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU())
        self.head = nn.Sequential(SpatialPyramidPool((2, 1)), nn.Dropout(dropout), nn.Linear(80, classes))

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(self.map(pixels))
        return logits


def tiny_network(classes: int = 2, *, dropout: float = 0.5, seed: int = 0) -> TinyNetwork:
    torch.manual_seed(seed)
    return TinyNetwork(classes, dropout)


def telling(name: str, items: Sequence[Item], /) -> Iterable[Item]:
    """Print each step before it is done, so that a test knows when to kill."""
    for item in items:
        print(item, flush=True)
        yield item


def run(data: Path, folder: Path, *, dropout: float, progress: Progress = silent) -> None:
    """Train, with a state after each step so that a kill often meets a process that writes; write the result."""
    images, validation = (Images(load_folders(data), short_side=PLAN.short_side, workers=2) for _ in range(2))
    trainer = Trainer(tiny_network(dropout=dropout), images, PLAN, folder=folder, validation=validation)
    trainer.save_every = 0.0
    trainer.fit(progress=progress)
    write_tensors(folder / "network.safetensors", trainer.result.state_dict(), metadata={})


def main() -> None:
    torch.set_num_threads(1)
    with joined_processes():
        run(Path(sys.argv[1]), Path(sys.argv[2]), dropout=float(sys.argv[3]), progress=telling)


if __name__ == "__main__":
    main()
