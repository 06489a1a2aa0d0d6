"""Table 10: SPP-net and R-CNN with one and the same network on VOC 2007: quality, time, times faster.

    sppnet reproduce table10 --data VOCdevkit/VOC2007 --weights zf5.safetensors

``--data`` and ``--weights`` as for table9. Paper: ftfc7 54.5, 55.2 and 55.1; with box regression 58.0, 59.2 and 59.2;
0.142, 0.382 and 14.46 s an image on a GPU: 102 and 38 times faster. Cost: R-CNN runs the network on 20 million crops.
Ours: quality not measured; times with random weights are in ``results/rcnn.json``. Differs: R-CNN's layers are those
fine-tuned on maps, not on crops.
"""

import torch

from sppnet.features.files import encoder_of
from sppnet.features.layers import LayeredEncoder, RegionLayers
from sppnet.features.scene import Scene
from sppnet.images import read_image
from sppnet.progress import timed
from sppnet.recipes import RecipeRequest, Report, TableRow
from sppnet.recipes._detection import FIVE, ONE, Bench, bench
from sppnet.recipes._rcnn import CroppingEncoder

CROPS = 32


def run(request: RecipeRequest) -> Report:
    """Train at one scale, at five and on crops, and time an image each way."""
    work = bench(request, "zf5")
    rows: list[TableRow] = []
    times = {}
    for name, scales, paper in (("one scale", ONE, (54.5, 58.0)), ("five scales", FIVE, (55.2, 59.2))):
        layers = work.fine_tuned(scales)
        rows += _quality(work, name, work.layered(scales, layers), paper)
        times[name] = sum(work.seconds(scales))
    crops = CroppingEncoder(encoder_of((work.network.map_name,), work.scales(ONE), backbone=work.network))
    rows += _quality(work, "R-CNN", LayeredEncoder(crops, layers), (55.1, 59.2))
    times["R-CNN"] = _alone(work, crops, layers)
    theirs = {"one scale": (0.142, 102.0), "five scales": (0.382, 38.0), "R-CNN": (14.46, 1.0)}
    note = "theirs on a GPU, ours on this processor"
    for name, seconds in times.items():
        rows.append(TableRow(f"seconds, {name}", theirs[name][0], seconds, None, note))
        rows.append(TableRow(f"times faster, {name}", theirs[name][1], times["R-CNN"] / seconds))
    settings = {"network": work.network.describe(), "crops_timed": CROPS}
    title, unit = "Table 10, the same network for R-CNN", "mAP, %; seconds; times"
    return Report(title, unit, tuple(rows), settings, request.quick)


def _quality(work: Bench, name: str, encoder: LayeredEncoder, paper: tuple[float, float]) -> list[TableRow]:
    detector = work.detector(encoder)
    means = [work.report(detector, moved=moved).mean for moved in (False, True)]
    kinds = ("ftfc7", "ftfc7 bb")
    return [TableRow(f"{kind}, {name}", of, 100 * mean) for kind, of, mean in zip(kinds, paper, means, strict=True)]


def _alone(work: Bench, crops: CroppingEncoder, layers: RegionLayers) -> float:
    """Time one image the way of R-CNN, from some of its crops."""
    sample = work.test.samples[0]
    pixels = read_image(sample.path)
    regions = work.proposals.regions(Scene(sample.path, crops))
    some = regions[:CROPS]
    rows = torch.zeros(len(regions), crops.length(work.levels))
    running = timed(lambda: crops.run(pixels, some, work.levels)) / len(some) * len(regions)
    return running + timed(lambda: layers(rows))
