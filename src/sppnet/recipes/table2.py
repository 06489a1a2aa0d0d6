"""Table 2: four networks without pyramid, with it, and with it at two sizes; with 30 bins, and at random sizes.

``sppnet reproduce table2 --data IMAGENET --work RUNS``

IMAGENET holds ``train/<class>/*`` and ``val/<class>/*``. Fourteen networks are trained, one after the other, each
into ``RUNS/table2-<what>.safetensors``; one whose file is there is only tested, one that was interrupted goes on. To
train one on several GPUs or machines, first run what ``docs/training.md`` says with that file as ``--out``.

Cost: 70 epochs for ZF-5, 90 for the others (Sec. 3.1.1), on one GTX Titan two to four weeks a network then. In
multiply-adds, three times the forward pass: 3.2e17 for ZF-5, 1.0e18 for Convnet*-5 and Overfeat-5, 1.6e18 for
Overfeat-7, each time it is trained.
Paper: top-1 / top-5 error, ZF-5 35.99 / 14.76, 34.98 / 14.14, 34.60 / 13.64; Convnet*-5 34.93 / 13.92, 34.38 / 13.54,
33.94 / 13.33; Overfeat-5 34.13 / 13.52, 32.87 / 12.80, 32.26 / 12.33; Overfeat-7 32.01 / 11.97, 30.36 / 11.12,
29.68 / 10.95. ZF-5 with 30 bins 35.06 / 14.04. Overfeat-7 at random sizes 30.06 / 10.96.
Ours: not measured, it needs ImageNet; the same comparison in small is in ``results/effect.json``.
"""

from dataclasses import replace
from typing import Final, NamedTuple

import torch

from sppnet.backbones import PublishedNet
from sppnet.backbones.published import Name
from sppnet.classification.views import TEN_CROPS, measure_plan
from sppnet.data import FolderData, load_folders
from sppnet.recipes import RecipeRequest, Report, TableRow
from sppnet.recipes._networks import QUICK_WIDTH, some_of, validation_images
from sppnet.training import Images, Plan, Trainer, own_device, run_folder, train_to_file

FIFTY_BINS: Final = (6, 3, 2, 1)
THIRTY_BINS: Final = (4, 3, 2, 1)
ONE_SIZE: Final = (224,)
TWO_SIZES: Final = (224, 180)
EPOCHS: Final = {"zf5": 70}
OTHER_EPOCHS: Final = 90


class Entry(NamedTuple):
    """One network of the table, and its published errors of the best and of the best five classes, in %."""

    what: str
    name: Name
    levels: tuple[int, ...] | None
    sizes: tuple[int, ...]
    draw_sizes: bool
    top_1: float
    top_5: float

    @property
    def file(self) -> str:
        """The name of its file."""
        words = "".join(letter if letter.isalnum() else " " for letter in self.what.lower()).split()
        return f"table2-{'-'.join(words)}.safetensors"


def _three(title: str, name: Name, *errors: tuple[float, float]) -> tuple[Entry, ...]:
    ways = (("no pyramid", None, ONE_SIZE), ("one size", FIFTY_BINS, ONE_SIZE), ("two sizes", FIFTY_BINS, TWO_SIZES))
    return tuple(
        Entry(f"{title}, {way}", name, levels, sizes, False, *both)
        for (way, levels, sizes), both in zip(ways, errors, strict=True)
    )


ENTRIES: Final = (
    *_three("ZF-5", "zf5", (35.99, 14.76), (34.98, 14.14), (34.60, 13.64)),
    *_three("Convnet*-5", "convnet5", (34.93, 13.92), (34.38, 13.54), (33.94, 13.33)),
    *_three("Overfeat-5", "overfeat5", (34.13, 13.52), (32.87, 12.80), (32.26, 12.33)),
    *_three("Overfeat-7", "overfeat7", (32.01, 11.97), (30.36, 11.12), (29.68, 10.95)),
    Entry("ZF-5, one size, 30 bins", "zf5", THIRTY_BINS, ONE_SIZE, False, 35.06, 14.04),
    Entry("Overfeat-7, random sizes", "overfeat7", FIFTY_BINS, TWO_SIZES, True, 30.06, 10.96),
)


def run(request: RecipeRequest) -> Report:
    """Train what is not trained yet, and test every network on ten crops."""
    learn = load_folders(request.data)
    rows: list[TableRow] = []
    for entry in ENTRIES:
        network = _trained(entry, some_of(learn) if request.quick else learn, request)
        tested = measure_plan([network], validation_images(request, network), TEN_CROPS, progress=request.progress)
        rows.append(TableRow(f"{entry.what}, top-1", entry.top_1, 100 * tested.top_1))
        top_5 = None if tested.top_5 is None else 100 * tested.top_5
        rows.append(TableRow(f"{entry.what}, top-5", entry.top_5, top_5))
    settings = {"plans": {entry.what: _plan(entry, request).as_dict() for entry in ENTRIES}}
    return Report("Table 2: ten crops", "error, %", tuple(rows), settings, request.quick)


def _trained(entry: Entry, learn: FolderData, request: RecipeRequest) -> PublishedNet:
    """Return a network in ``eval`` mode, from its file if that is there."""
    out = request.work / ("quick" if request.quick else "") / entry.file
    if request.quick or not out.exists():
        torch.manual_seed(request.seed)
        width = QUICK_WIDTH if request.quick else 1.0
        network = PublishedNet(entry.name, levels=entry.levels, classes=len(learn.classes), width=width)
        plan = _plan(entry, request)
        trainer = Trainer(network.to(own_device()), Images(learn), plan, folder=run_folder(out))
        for _ in train_to_file(trainer, out, progress=request.progress):
            pass
    return PublishedNet.load(out).to(own_device())


def _plan(entry: Entry, request: RecipeRequest) -> Plan:
    published = Plan(
        epochs=EPOCHS.get(entry.name, OTHER_EPOCHS), sizes=entry.sizes, draw_sizes=entry.draw_sizes, seed=request.seed
    )
    return replace(published, epochs=2, batch=4) if request.quick else published
