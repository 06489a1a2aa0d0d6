"""``train``: from a folder of labelled images to a model file."""

import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from sppnet.cli.options import (
    Bad,
    Cache,
    Data,
    Download,
    Json,
    Network,
    OnBad,
    Out,
    Regions,
    Split,
    Weights,
    cache_in,
    named_proposals,
)
from sppnet.cli.printing import SHOWN, bar, duration, notes, print_json, warn
from sppnet.cli.program import train


@train.command("detector")
def train_detector(
    data: Data,
    out: Out,
    split: Split = None,
    short_side: Annotated[
        list[int] | None, typer.Option(help="Scale images to this shorter side; again for several scales.")
    ] = None,
    backbone: Network = "efficientnet_lite0",
    weights: Weights = None,
    download: Download = False,
    settings: Annotated[str, typer.Option(help="How to learn and answer: 'ours', 'paper' or 'released'.")] = "ours",
    proposals: Regions = "grid",
    seed: Annotated[int, typer.Option(help="Of the choice among training regions.")] = 0,
    on_bad: Bad = OnBad.FAIL,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Learn to find objects from images with boxes."""
    from sppnet.backbones import backbone as named_backbone
    from sppnet.data import load_detection
    from sppnet.detection.detector import Detector

    start = time.perf_counter()
    images = load_detection(data, split=split, on_bad=on_bad.value)
    warn(images.problems)
    detector = Detector(
        short_side=short_side or None,
        backbone=named_backbone(backbone, weights=weights, download=download),
        proposals=named_proposals(proposals),
        settings=settings,
        cache=cache_in(cache),
        seed=seed,
    )
    cost = detector.estimate(images)
    notes.print(
        f"{cost.images} images, {sum(len(sample.boxes) for sample in images.samples)} objects of "
        f"{len(images.classes)} classes; {cost.missing} feature maps to compute. "
        f"About {duration(cost.seconds)} and {cost.memory / 1e9:.1f} GB of memory."
    )
    detector.fit(images, progress=bar)
    detector.save(out)
    summary = {"model": str(out), "images": cost.images, "classes": list(detector.classes_)}
    _trained(summary, detector.untrained_, start, as_json)


@train.command("classifier")
def train_classifier(
    data: Data,
    out: Out,
    split: Split = None,
    short_side: Annotated[int, typer.Option(help="Scale images to this shorter side.")] = 224,
    backbone: Network = "efficientnet_lite0",
    weights: Weights = None,
    download: Download = False,
    on_bad: Bad = OnBad.FAIL,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Learn to tell images apart from one folder of images a class."""
    from sppnet.backbones import backbone as named_backbone
    from sppnet.classification.classifier import Classifier
    from sppnet.data import load_folders

    start = time.perf_counter()
    images = load_folders(data, split=split, on_bad=on_bad.value)
    warn(images.problems)
    network = named_backbone(backbone, weights=weights, download=download)
    classifier = Classifier(short_side=short_side, backbone=network, cache=cache_in(cache))
    cost = classifier.estimate(images)
    notes.print(
        f"{cost.images} images of {len(images.classes)} classes; {cost.missing} features to compute. "
        f"About {duration(cost.seconds)} and {cost.memory / 1e9:.1f} GB of memory."
    )
    classifier.fit(images, progress=bar)
    classifier.save(out)
    summary = {"model": str(out), "images": cost.images, "classes": list(classifier.classes_)}
    _trained(summary, classifier.untrained_, start, as_json)


def _trained(summary: dict[str, Any], untrained: Sequence[str], start: float, as_json: bool) -> None:
    for name in untrained:
        notes.print(f"Warning: the class {name!r} has no training example and will never be found.", markup=False)
    seconds = time.perf_counter() - start
    if as_json:
        print_json(summary | {"untrained": list(untrained), "seconds": round(seconds, 2)})
        return
    print(f"{summary['model']}: knows {', '.join(summary['classes'][:SHOWN])}; trained in {duration(seconds)}.")
