"""``bench``: a detector against another way to the same end, on the user's own images."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sppnet.cli.options import Bad, Cache, Data, Json, OnBad, Regions, cache_in, named_proposals
from sppnet.cli.printing import bar, notes, print_json, warn
from sppnet.cli.program import bench


class Rival(StrEnum):
    """What a detector is compared with."""

    RCNN = "rcnn"


@bench.command("detector", epilog="Example: sppnet bench detector cells --against rcnn")
def bench_detector(
    data: Data,
    against: Annotated[Rival, typer.Option(help="R-CNN: every region cropped and run through the network alone.")],
    images: Annotated[int, typer.Option(min=3, help="Learn from so many images, and test on half as many.")] = 20,
    regions: Annotated[int, typer.Option(min=10, help="Regions an image, for the quality.")] = 300,
    proposals: Regions = "grid",
    on_bad: Bad = OnBad.FAIL,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Compare pooling one map with R-CNN's way.

    Quality and time, by the same regions, network and labels, on few images.
    """
    from sppnet.data import load_detection, splits
    from sppnet.detection.detector import Detector
    from sppnet.recipes._rcnn import compare, few_images

    held_out = next((name for name in ("val", "test") if name in splits(data)), None)
    train = load_detection(data, on_bad=on_bad.value)
    warn(train.problems)
    test = load_detection(data, split=held_out, on_bad=on_bad.value, classes=train.classes) if held_out else None
    detector = Detector(proposals=named_proposals(proposals), cache=cache_in(cache))
    compared = compare(detector, *few_images(train, test, images), regions=regions, progress=bar)
    if as_json:
        print_json(compared.as_dict() | {"against": against.value})
        return
    table = Table("", "mean average precision", "seconds an image")
    for name, side in (("one map, pooled", compared.pooled), ("each region alone (R-CNN)", compared.alone)):
        table.add_row(name, f"{side.quality:.1%}", f"{side.seconds:.3f}")
    Console().print(table)
    print(f"Pooling one map is {compared.times_faster:.0f} times faster.")
    notes.print(
        f"Quality: learnt from {compared.learnt} images, tested on {compared.tested}, {compared.compared} regions a "
        f"image. Time: network, features and scores of {compared.regions} regions; of these, {compared.timed} were "
        "run alone and their time multiplied."
    )
