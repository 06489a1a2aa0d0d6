"""``train``: from a folder of labelled images to a model file."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sppnet.cli.options import (
    Bad,
    Cache,
    Data,
    Device,
    Download,
    Groups,
    Json,
    LayoutName,
    Network,
    OnBad,
    Out,
    Part,
    Regions,
    Seed,
    Split,
    ValShare,
    Weights,
    cache_in,
    check_out_file,
    named_proposals,
    refuse_given,
    refuse_without,
    usable,
)
from sppnet.cli.printing import SHOWN, bar, duration, notes, print_json, printable, tell, warn
from sppnet.cli.program import train
from sppnet.errors import counted

if TYPE_CHECKING:
    from sppnet.classification.classifier import Classifier
    from sppnet.data import DetectionData, FolderData
    from sppnet.detection.deep import DeepPlan
    from sppnet.detection.detector import Detector

FIGURES: Final = ("mean_average_precision", "accuracy")  # of a detector, of a classifier


class Tiles(StrEnum):
    """Whether images may be scaled to more than goes through the network at once."""

    AUTO = "auto"
    OFF = "off"


class Views(StrEnum):
    """What of an image a classifier sees."""

    WHOLE = "whole"
    MIRRORED = "mirrored"


@contextmanager
def told_by_the_first() -> Iterator[None]:
    """Join the processes that ``torchrun`` started, if it did; only the first one tells."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    from sppnet.learning.processes import joined_processes, rank

    with joined_processes(), ExitStack() as silenced:
        if rank() > 0:
            nowhere = silenced.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            silenced.enter_context(redirect_stdout(nowhere))
            silenced.enter_context(redirect_stderr(nowhere))
        yield


@train.command("detector", epilog="Example: sppnet train detector cells --out cells.safetensors")
@told_by_the_first()
def train_detector(
    context: typer.Context,
    data: Data,
    out: Out,
    split: Split = None,
    short_side: Annotated[
        list[int] | None, typer.Option(help="Scale images to this shorter side; again for several scales.")
    ] = None,
    tiles: Annotated[
        Tiles, typer.Option(help="Large images of small objects, piece by piece ('auto') or scaled down ('off').")
    ] = Tiles.AUTO,
    backbone: Network = "efficientnet_lite0",
    weights: Weights = None,
    download: Download = False,
    device: Device = "cpu",
    settings: Annotated[str, typer.Option(help="How to learn and answer: 'ours', 'paper' or 'released'.")] = "ours",
    proposals: Regions = "grid",
    deep: Annotated[
        bool, typer.Option("--deep", help="Have the network's convolutions learn too, if that is better.")
    ] = False,
    minutes: Annotated[float, typer.Option(help="That --deep may take, beside the linear detectors.")] = 15.0,
    epochs: Annotated[
        int | None, typer.Option(help="Passes of --deep over the images, instead of the minutes: the same bits twice.")
    ] = None,
    seed: Seed = 0,
    val: ValShare = None,
    groups: Groups = None,
    layout: LayoutName = None,
    on_bad: Bad = OnBad.FAIL,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Learn to find objects from images with boxes.

    'torchrun' starts --deep in several processes.
    """
    from sppnet.backbones import backbone as named_backbone
    from sppnet.data import load_detection
    from sppnet.detection.deep import DeepPlan
    from sppnet.detection.detector import Detector
    from sppnet.detection.scale import scales_for
    from sppnet.storage import run_folder

    start = time.perf_counter()
    refuse_without(context, ("groups",), "val")
    refuse_without(context, ("minutes", "epochs"), "deep")
    if short_side:
        refuse_given(context, ("tiles",), "learnt at a chosen --short-side")
    check_out_file(out)
    regions = named_proposals(proposals)
    parts = _parted(load_detection(data, split=split, on_bad=on_bad.value, layout=layout), val, seed, groups)
    detector = Detector(
        short_side=short_side or (scales_for(parts[0], tiles=False) if tiles is Tiles.OFF else None),
        backbone=named_backbone(backbone, weights=weights, download=download),
        proposals=regions,
        settings=settings,
        cache=cache_in(cache),
        device=device,
        seed=seed,
    )
    plan = DeepPlan(epochs, minutes, folder=run_folder(out)) if deep else None
    summary = _train(detector, parts, partial(_fit_detector, detector, plan, out), on_bad, out)
    _trained(summary | _deepened(detector, out), detector.untrained_, start, as_json)


def _fit_detector(detector: "Detector", plan: "DeepPlan | None", out: Path, part: "DetectionData") -> None:
    """Say what learning will take, and learn."""
    from sppnet.detection.deep import held_back
    from sppnet.detection.scale import scales_for

    _announce(detector, part, _boxed(part, scales_for(part, detector.short_side)), out)
    if plan and held_back(part) is not None:
        minutes = f"about {duration(60 * plan.minutes)}, an epoch at least"
        long = counted(plan.epochs, "epoch") if plan.epochs else minutes
        tell(
            f"Then the convolutions for {long}, and the linear detector up to three times more. "
            "Ctrl-C loses no epoch: the same command goes on."
        )
    detector.fit(part, deep=plan or False, progress=bar)


def _deepened(detector: "Detector", out: Path) -> dict[str, Any]:
    """Say what tuning the convolutions came to, and remove the state from which it would have gone on."""
    from sppnet.detection.deep import remove_state
    from sppnet.learning.processes import rank
    from sppnet.storage import run_folder

    if detector.deep_ is None:
        return {}
    notes.print(str(detector.deep_), markup=False)
    if rank() == 0:
        remove_state(run_folder(out))
    return {"deep": detector.deep_.as_dict()}


def _boxed(part: "DetectionData", scales: Sequence[int]) -> str:
    from sppnet.detection.scale import tiled

    objects, sides = part.counts().total(), " and ".join(f"{side:,}" for side in scales)
    count = f"{counted(objects, 'object')} of {counted(len(part.classes), 'class')}"
    pieces = tiled([sample.size for sample in part.samples], scales)
    told = f" ({counted(pieces, 'image')} in tiles)" if pieces else ""
    return f"{count}, scaled to a shorter side of {sides} pixels{told}"


@train.command("classifier", epilog="Example: sppnet train classifier kinds --out kinds.safetensors")
def train_classifier(
    context: typer.Context,
    data: Data,
    out: Out,
    split: Split = None,
    short_side: Annotated[int, typer.Option(help="Scale images to this shorter side.")] = 224,
    views: Annotated[
        Views, typer.Option(help="Answer from the image, or from its mirror image too, in twice the time.")
    ] = Views.WHOLE,
    backbone: Network = "efficientnet_lite0",
    weights: Weights = None,
    download: Download = False,
    seed: Seed = 0,
    val: ValShare = None,
    groups: Groups = None,
    on_bad: Bad = OnBad.FAIL,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Learn to tell images apart from one folder a class."""
    from sppnet.backbones import backbone as named_backbone
    from sppnet.classification.classifier import Classifier
    from sppnet.data import load_folders

    start = time.perf_counter()
    refuse_without(context, ("groups",), "val")
    check_out_file(out)
    parts = _parted(load_folders(data, split=split, on_bad=on_bad.value), val, seed, groups)
    network = named_backbone(backbone, weights=weights, download=download)
    classifier = Classifier(short_side=short_side, backbone=network, views=views.value, cache=cache_in(cache))

    def learn(part: "FolderData") -> None:
        _announce(classifier, part, counted(len(part.classes), "class"), out)
        classifier.fit(part, progress=bar)

    summary = _train(classifier, parts, learn, on_bad, out)
    _trained(summary, classifier.untrained_, start, as_json)


def _parted(data: Part, val: float | None, seed: int, groups: str | None) -> tuple[Part, Part | None]:
    """Warn of what is wrong, refuse what nothing can be learnt from, and keep a share to validate on."""
    from sppnet.data.inspection import unlearnt, unusable
    from sppnet.errors import DataError

    warn(data.problems)
    problem = unusable(data.name, data)
    if problem is not None:
        raise DataError(f"{problem}. See it with 'sppnet check'.")
    learnt, kept = (data, None) if val is None else data.split(val, seed, groups=groups)
    warn(unlearnt(data.name, learnt))
    return learnt, kept


def _train(
    model: "Detector | Classifier",
    parts: tuple[Part, Part | None],
    learn: Callable[[Part], None],
    on_bad: OnBad,
    out: Path,
) -> dict[str, Any]:
    """Learn from the first part, save, and judge by the second, if there is one; return what there is to tell."""
    from sppnet.learning.processes import rank

    images, kept = _learn(parts[0], on_bad, learn), parts[1]
    if rank() == 0:
        model.save(out)
    summary: dict[str, Any] = {"model": str(out), "images": len(images), "classes": list(model.classes_)}
    if kept is not None:
        judged: Any = _without_bad(kept, on_bad)
        report = model.evaluate(judged, progress=bar).as_dict()
        figure = next(name for name in FIGURES if name in report)
        summary |= {"validated_on": len(judged), figure: report[figure]}
    return summary


def _learn(data: Part, on_bad: OnBad, learn: Callable[[Part], None]) -> Part:
    """Learn; where an image turns out to be bad that may be skipped, find all that are, and learn without them."""
    from sppnet.errors import ImageDecodeError

    try:
        learn(data)
    except ImageDecodeError:
        if on_bad is OnBad.FAIL:
            raise
        good = _without_bad(data, on_bad)
        learn(good)
        return good
    return data


def _without_bad(data: Part, on_bad: OnBad) -> Part:
    """Return data without the images that cannot be decoded, if they are to be skipped, and tell which these are."""
    good = usable(data, on_bad)
    if len(good) < len(data):
        warn([problem for problem in good.problems if problem not in data.problems])
        tell(f"{len(data) - len(good)} of {counted(len(data), 'image')} could not be read and are skipped.")
    return good


def _announce(model: "Detector | Classifier", data: Any, what: str, out: Path) -> None:
    """Tell what learning will cost, and refuse to begin where the model would plainly not fit."""
    from sppnet.storage import check_room

    cost = model.estimate(data)
    check_room(out, cost.model)
    tell(
        f"{counted(cost.images, 'image')}, {what}; features of {cost.missing} to compute. "
        f"About {duration(cost.seconds)} and {cost.memory / 1e9:.1f} GB of memory."
    )


def _trained(summary: dict[str, Any], untrained: Sequence[str], start: float, as_json: bool) -> None:
    for name in untrained:
        notes.print(f"Warning: the class {printable(name)!r} has no training example and will never be found.")
    seconds = time.perf_counter() - start
    if as_json:
        print_json(summary | {"untrained": list(untrained), "seconds": round(seconds, 2)})
        return
    names = ", ".join(map(printable, summary["classes"][:SHOWN]))
    print(f"{printable(summary['model'])}: knows {names}; trained in {duration(seconds)}.")
    for key in FIGURES:
        if key in summary:
            value = "none" if summary[key] is None else f"{summary[key]:.1%}"
            kept = counted(summary["validated_on"], "image")
            print(f"{key.replace('_', ' ').capitalize()} on {kept} kept back: {value}")
