"""``train network``: a whole network from labelled images, alone or in several processes."""

import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sppnet.cli.options import Bad, Json, OnBad, Seed, Split, check_out_file
from sppnet.cli.printing import SHOWN, bar, duration, notes, print_json, warn
from sppnet.cli.program import train
from sppnet.cli.train import told_by_the_first
from sppnet.errors import ArgumentError, counted, message

if TYPE_CHECKING:
    from sppnet.training import Epoch, Trainer


class Architecture(StrEnum):
    """The paper's networks."""

    ZF5 = "zf5"
    CONVNET5 = "convnet5"
    OVERFEAT5 = "overfeat5"
    OVERFEAT7 = "overfeat7"


class Precision(StrEnum):
    """Of the arithmetic."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@train.command("network", epilog="Example: sppnet train network kinds --out zf5.safetensors --epochs 70")
@told_by_the_first()
def train_network(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder with one folder a class, below train and val if there are.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write the network to.")],
    architecture: Annotated[Architecture, typer.Option(help="Which of the paper's networks.")] = Architecture.ZF5,
    pyramid: Annotated[str, typer.Option(help="Bins per side of each level, or 'none'.")] = "6,3,2,1",
    width: Annotated[float, typer.Option(help="Share of the published filters and hidden units.")] = 1.0,
    sizes: Annotated[str, typer.Option(help="'224', epochs in turn '224,180', or drawn an epoch '180-224'.")] = "224",
    epochs: Annotated[int, typer.Option(help="Passes over the images.")] = 70,
    batch: Annotated[int, typer.Option(help="Images a step, of all processes together.")] = 128,
    rate: Annotated[float, typer.Option(help="Of learning, at first; divided by 10 at plateaus, twice.")] = 0.01,
    precision: Annotated[Precision, typer.Option(help="bfloat16 is faster where the device has it.")] = (
        Precision.FLOAT32
    ),
    start: Annotated[Path | None, typer.Option(help="Network to fine-tune; by default random weights.")] = None,
    split: Split = None,
    seed: Seed = 0,
    on_bad: Bad = OnBad.FAIL,
    as_json: Json = False,
) -> None:
    """Learn a whole network from nothing, or fine-tune one.

    'torchrun' starts it in several processes.
    """
    import torch

    from sppnet.backbones import PublishedNet
    from sppnet.data import load_folders, splits
    from sppnet.learning.processes import own_device
    from sppnet.training import Images, Plan, Trainer, run_folder, start_from

    check_out_file(out)
    levels = None if pyramid == "none" else _numbers(pyramid, "pyramid")
    drawn = "-" in sizes
    plan = Plan(
        epochs=epochs,
        batch=batch,
        sizes=_numbers(sizes.replace("-", ","), "sizes"),
        draw_sizes=drawn,
        rate=rate,
        precision=precision.value,
        seed=seed,
    )
    learn = load_folders(data, split=split, on_bad=on_bad.value)
    check = (
        load_folders(data, split="val", on_bad=on_bad.value, classes=learn.classes) if "val" in splits(data) else None
    )
    torch.manual_seed(seed)
    network = PublishedNet(architecture.value, levels=levels, classes=len(learn.classes), width=width)
    anew = [] if start is None else start_from(network, PublishedNet.load(start).state_dict())
    trainer = Trainer(
        network.to(own_device()),
        Images(learn, on_bad=on_bad.value),
        plan,
        folder=run_folder(out),
        validation=None if check is None else Images(check, on_bad=on_bad.value),
    )
    warn([*learn.problems, *(check.problems if check else [])])
    absent = [] if check is None else [name for label, name in enumerate(check.classes) if label not in check.labels]
    if absent:
        notes.print(f"'val' has no image of {', '.join(absent[:SHOWN])}: its error is of other classes.", markup=False)
    _announce(trainer, anew, out)
    _train(trainer, out, as_json)


def _numbers(text: str, option: str) -> tuple[int, ...]:
    """Return the whole numbers of a list with commas."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        expected, advice = "whole numbers with commas between them", "Write it like 6,3,2,1"
        raise ArgumentError(message("train network", option, expected, repr(text), advice)) from None


def _announce(trainer: "Trainer", anew: Sequence[str], out: Path) -> None:
    from sppnet.storage import check_room

    if anew:
        notes.print(f"These begin anew: {', '.join(anew)}.", markup=False)
    if trainer.step:
        notes.print(f"Going on after {trainer.step} of {trainer.plan.epochs * trainer.steps_per_epoch} steps.")
    cost = trainer.estimate()
    check_room(out, cost.model)
    count = f"{counted(cost.images, 'image')} of {counted(len(trainer.images.data.classes), 'class')}"
    notes.print(
        f"{count}, {counted(trainer.plan.epochs, 'epoch')} of {counted(trainer.steps_per_epoch, 'step')}. "
        f"About {duration(cost.seconds)} and {cost.memory / 1e9:.1f} GB of memory."
    )


def _train(trainer: "Trainer", out: Path, as_json: bool) -> None:
    """Train and tell of each epoch."""
    from sppnet.progress import silent
    from sppnet.training import train_to_file

    start = time.perf_counter()
    for done in train_to_file(trainer, out, progress=bar if sys.stderr.isatty() else silent):
        notes.print(_told(done, trainer.plan.epochs), markup=False)
    warn(trainer.images.problems)
    seconds = time.perf_counter() - start
    classes = list(trainer.images.data.classes)
    if as_json:
        bad = len(trainer.images.problems)
        print_json({"model": str(out), "classes": classes, "bad": bad, "seconds": round(seconds, 2)})
        return
    print(f"{out}: knows {', '.join(classes[:SHOWN])}; trained in {duration(seconds)}.")


def _told(done: "Epoch", epochs: int) -> str:
    checked = "" if done.validation_error is None else f", on 'val' {done.validation_error:.1%}"
    return (
        f"Epoch {done.epoch} of {epochs}, {done.size} px: loss {done.loss:.3f}, error {done.error:.1%}{checked}; "
        f"{done.images_per_second:.0f} images a second"
    )
