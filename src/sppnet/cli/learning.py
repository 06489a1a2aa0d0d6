"""``train``: from a folder of labelled pictures to a model file."""

import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from sppnet.cli.asking import Bad, Cache, Data, Json, OnBad, Out, Regions, Split, cache_in, named_proposals
from sppnet.cli.printing import SHOWN, bar, duration, notes, print_json, warn
from sppnet.cli.program import train


@train.command("detector")
def train_detector(
    data: Data,
    out: Out,
    split: Split = None,
    short_side: Annotated[
        list[int] | None, typer.Option(help="Scale pictures to this shorter side; again for several scales.")
    ] = None,
    procedure: Annotated[str, typer.Option(help="How to learn and answer: 'ours', 'paper' or 'released'.")] = "ours",
    proposals: Regions = "grid",
    seed: Annotated[int, typer.Option(help="Of the choice among training regions.")] = 0,
    on_bad: Bad = OnBad.FAIL,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Learn to find objects from pictures with boxes."""
    from sppnet.data import load_detection
    from sppnet.detector import Detector

    start = time.perf_counter()
    pictures = load_detection(data, split=split, on_bad=on_bad.value)
    warn(pictures.problems)
    detector = Detector(
        short_side=short_side or None,
        proposals=named_proposals(proposals),
        procedure=procedure,
        cache=cache_in(cache),
        seed=seed,
    )
    cost = detector.estimate(pictures)
    notes.print(
        f"{cost.pictures} pictures, {sum(len(sample.boxes) for sample in pictures.samples)} objects of "
        f"{len(pictures.classes)} classes; {cost.missing} feature maps to compute. "
        f"About {duration(cost.seconds)} and {cost.memory / 1e9:.1f} GB of memory."
    )
    detector.fit(pictures, progress=bar)
    detector.save(out)
    summary = {"model": str(out), "pictures": cost.pictures, "classes": list(detector.classes)}
    _trained(summary, detector.untrained, start, as_json)


@train.command("classifier")
def train_classifier(
    data: Data,
    out: Out,
    split: Split = None,
    short_side: Annotated[int, typer.Option(help="Scale pictures to this shorter side.")] = 224,
    on_bad: Bad = OnBad.FAIL,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Learn to tell pictures apart from one folder of pictures a class."""
    from sppnet.classifier import Classifier
    from sppnet.data import load_folders

    start = time.perf_counter()
    pictures = load_folders(data, split=split, on_bad=on_bad.value)
    warn(pictures.problems)
    classifier = Classifier(short_side=short_side, cache=cache_in(cache))
    cost = classifier.estimate(pictures)
    notes.print(
        f"{cost.pictures} pictures of {len(pictures.classes)} classes; {cost.missing} features to compute. "
        f"About {duration(cost.seconds)} and {cost.memory / 1e9:.1f} GB of memory."
    )
    classifier.fit(pictures, progress=bar)
    classifier.save(out)
    summary = {"model": str(out), "pictures": cost.pictures, "classes": list(classifier.classes)}
    _trained(summary, classifier.untrained, start, as_json)


def _trained(summary: dict[str, Any], untrained: Sequence[str], start: float, as_json: bool) -> None:
    for name in untrained:
        notes.print(f"Warning: the class {name!r} has no training example and will never be found.", markup=False)
    seconds = time.perf_counter() - start
    if as_json:
        print_json(summary | {"untrained": list(untrained), "seconds": round(seconds, 2)})
        return
    print(f"{summary['model']}: knows {', '.join(summary['classes'][:SHOWN])}; trained in {duration(seconds)}.")
