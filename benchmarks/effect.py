"""What the pyramid and several sizes give when a network is trained from nothing: the paper's Table 2, in small.

ZF-5 at an eighth of its width learns ten classes of Caltech-101 three times over (seeds of weights, order and changes)
as no pyramid, pyramid and pyramid with two sizes; the same images, epochs and rates for all. Each network is then
tested by single views and by several. Runs go on where they were interrupted; their files lie in ``runs/effect``.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import records
from sppnet import load_folders
from sppnet.backbones import PublishedNet
from sppnet.classification.views import CROP, TEN_CROPS, TEN_VIEWS, WHOLE, measure_plan
from sppnet.data import FolderData
from sppnet.training import Batch, Images, Plan, SampleRequest, Trainer

RUNS: Final = records.ROOT / "runs" / "effect"
SEEDS: Final = (0, 1, 2)
WIDTH: Final = 1 / 8
CLASSES: Final = 10  # the largest, but for the background and for faces cut out of their images
LEFT_OUT: Final = ("BACKGROUND_Google", "Faces_easy")
TRAIN, TEST = 40, 40
INPUT_DEVIATION: Final = (
    64.0  # pixels are divided by it: with the published range of +-128 so short a run learns nothing
)
LEVELS: Final = (6, 3, 2, 1)
PLAN: Final = Plan(epochs=32, batch=16, rate=0.01, divide_at=(22, 28))
WAYS: Final[dict[str, tuple[tuple[int, ...] | None, tuple[int, ...]]]] = {
    "no pyramid": (None, (224,)),
    "pyramid, one size": (LEVELS, (224,)),
    "pyramid, two sizes": (LEVELS, (224, 180)),
}
PLAIN_TESTS: Final = (CROP, TEN_CROPS)  # without a pyramid only crops can be seen
TESTS: Final = (CROP, WHOLE, TEN_CROPS, TEN_VIEWS)


def measure() -> None:
    """Train what is not trained yet, test every network in several ways, and write errors with mean and spread."""
    train_all()
    accuracies: dict[str, list[float]] = {}
    for way in WAYS:
        for seed in SEEDS:
            for name, accuracy in test(way, seed).items():
                accuracies.setdefault(f"{way}, {name}", []).append(accuracy)
    figures = {
        "accuracy": {name: _summary(values) for name, values in accuracies.items()},
        "images": {"train": TRAIN * CLASSES, "test": TEST * CLASSES, "classes": list(parts()[1].classes)},
        "width": WIDTH,
        "plan": PLAN.as_dict(),
    }
    records.write("effect", seed=list(SEEDS), figures=figures)
    print(json.dumps(figures, indent=1))


def _summary(accuracies: list[float]) -> dict[str, Any]:
    """Return mean and deviation over the seeds that learnt, and every seed's: a run can stay at chance."""
    learnt = [value for value in accuracies if value > 1.5 / CLASSES]
    deviation = float(np.std(learnt, ddof=1)) if len(learnt) > 1 else None
    return {"mean": float(np.mean(learnt)), "deviation": deviation, "learnt": len(learnt), "seeds": accuracies}


def table() -> str:
    """Return the rows of the page on training; nothing as long as nothing was measured."""
    record = records.read("effect")
    if record is None:
        return ""
    shown = record["figures"]["accuracy"]

    def cell(way: str, name: str) -> str:
        row = shown.get(f"{way}, {name}")
        if row is None:
            return ""
        spread = "" if row["deviation"] is None else f" ± {100 * row['deviation']:.1f}"
        seeds = "" if row["learnt"] == len(SEEDS) else f" ({row['learnt']} of {len(SEEDS)} runs)"
        return f"{100 * row['mean']:.1f}{spread}{seeds}"

    lines = ["| right answers, % | " + " | ".join(WAYS) + " |", "|---" * (1 + len(WAYS)) + "|"]
    lines += [f"| {plan.name} | " + " | ".join(cell(way, plan.name) for way in WAYS) + " |" for plan in TESTS]
    return "\n".join(lines) + "\n"


def test(way: str, seed: int) -> dict[str, float]:
    """Return a trained network's accuracy by each test; kept beside the network."""
    kept = _file(way, seed).with_suffix(".json")
    if not kept.exists():
        torch.set_num_threads(1)
        network = PublishedNet.load(_file(way, seed))
        network.std = INPUT_DEVIATION  # type: ignore[misc]  # a constant of the paper's networks
        tests = PLAIN_TESTS if network.levels is None else TESTS
        found = {plan.name: 1 - measure_plan([network], parts()[1], plan).top_1 for plan in tests}
        kept.write_text(json.dumps(found))
    accuracies: dict[str, float] = json.loads(kept.read_text())
    return accuracies


def train_all() -> None:
    """Train the nine networks, seed by seed; those that are there already are left alone."""
    torch.set_num_threads(1)
    learn, _ = parts()
    for seed in SEEDS:
        for way in WAYS:
            if not _file(way, seed).exists():
                _train(way, seed, learn)


def parts() -> tuple[FolderData, FolderData]:
    """Return the images to learn from and those to test on, drawn once for all runs."""
    data = load_folders(records.data_folder("caltech101") / "101_ObjectCategories")
    counts = np.bincount(data.labels)
    largest = [label for label in np.argsort(-counts, kind="stable") if data.classes[label] not in LEFT_OUT][:CLASSES]
    rng = np.random.default_rng(0)
    rows = [rng.permutation(np.flatnonzero(data.labels == label))[: TRAIN + TEST] for label in largest]
    names = tuple(data.classes[label] for label in largest)

    def part(first: int, last: int) -> FolderData:
        chosen = [own[first:last] for own in rows]
        labels = np.repeat(np.arange(CLASSES), [len(own) for own in chosen])
        return replace(
            data, classes=names, paths=tuple(data.paths[row] for row in np.concatenate(chosen)), labels=labels
        )

    return part(0, TRAIN), part(TRAIN, TRAIN + TEST)


def _train(way: str, seed: int, learn: FolderData) -> None:
    levels, sizes = WAYS[way]
    torch.manual_seed(seed)
    network = PublishedNet("zf5", levels=levels, classes=CLASSES, width=WIDTH)
    network.std = INPUT_DEVIATION  # type: ignore[misc]  # a constant of the paper's networks
    images, plan = Images(learn, workers=1), replace(PLAN, sizes=sizes, seed=seed)
    some = np.random.default_rng(seed).permutation(len(images))[:32]
    (batch,) = images.batches([SampleRequest(some, 224, 224, None)])
    _balance(network, batch)
    trainer = Trainer(network, images, plan, folder=_file(way, seed).with_suffix(""))
    for epoch in trainer.epochs():
        print(f"{way}, seed {seed}: {epoch}", flush=True)
    network.save(_file(way, seed))


@torch.no_grad()
def _balance(network: PublishedNet, batch: Batch) -> None:
    """Scale each layer's first weights until its responses deviate by 1 (Mishkin and Matas 2016), the last's by 0.1."""
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]

    def scale(layer: nn.Conv2d | nn.Linear, _: Any, responses: Tensor) -> Tensor:
        deviation = responses.std() * (10 if layer is layers[-1] else 1)
        layer.weight.div_(deviation)
        return responses / deviation

    for layer in layers:
        nn.init.kaiming_normal_(layer.weight)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
    hooks = [layer.register_forward_hook(scale) for layer in layers]
    network.eval()(batch.normalised(torch.device("cpu"), mean=network.mean, std=network.std))
    for hook in hooks:
        hook.remove()


def _file(way: str, seed: int) -> Path:
    return RUNS / f"{way.replace(', ', '-').replace(' ', '-')}-{seed}.safetensors"
