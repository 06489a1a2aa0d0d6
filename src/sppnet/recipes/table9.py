"""Table 9: detection on VOC 2007, layer by layer, at one and at five scales.

    sppnet reproduce table9 --data VOCdevkit/VOC2007 --weights zf5.safetensors

``--data``: VOC 2007 with the splits trainval and test. ``--weights``: ZF-5 with the pyramid, trained on ImageNet at
one size. Paper: pool5 43.0 and 44.9, ftfc7 with box regression 58.0 and 59.2 mAP (11-point). Cost in the paper: an hour
of caching maps, two hours of fine-tuning on a GPU, less than an hour of SVMs. Ours: not measured; no weights trained
on ImageNet come with the package.
"""

from sppnet.recipes import RecipeRequest, Report, TableRow
from sppnet.recipes._detection import FIVE, ONE, Bench, bench

PAPER = {
    "one scale": {"pool5": 43.0, "fc6": 42.5, "ftfc6": 52.3, "ftfc7": 54.5, "ftfc7 bb": 58.0},
    "five scales": {"pool5": 44.9, "fc6": 44.8, "ftfc6": 53.7, "ftfc7": 55.2, "ftfc7 bb": 59.2},
}


def run(request: RecipeRequest) -> Report:
    """Train on each layer and test; the layers' fine-tuning is shared by the last three rows."""
    work = bench(request, "zf5")
    rows = [row for name, scales in (("one scale", ONE), ("five scales", FIVE)) for row in _rows(work, name, scales)]
    settings = {"network": work.network.describe(), "settings": work.settings.describe()}
    return Report("Table 9, detection on VOC 2007", "mAP, %; seconds", tuple(rows), settings, request.quick)


def _rows(work: Bench, name: str, scales: tuple[int, ...]) -> list[TableRow]:
    paper = PAPER[name]
    rows = []
    for layer in ("pool5", "fc6"):
        mean = work.report(work.detector(work.encoder(scales, layer)), moved=False).mean
        rows.append(TableRow(f"{layer}, {name}", paper[layer], 100 * mean))
    tuned = work.fine_tuned(scales)
    for depth, layer in ((1, "ftfc6"), (2, "ftfc7")):
        detector = work.detector(work.layered(scales, tuned.first(depth)))
        rows.append(TableRow(f"{layer}, {name}", paper[layer], 100 * work.report(detector, moved=False).mean))
    rows.append(TableRow(f"ftfc7 bb, {name}", paper["ftfc7 bb"], 100 * work.report(detector, moved=True).mean))
    seconds = dict(zip(("convolutions", "layers"), work.seconds(scales), strict=True))
    on_gpu = {"convolutions": 0.053 if len(scales) == 1 else 0.293, "layers": 0.089}
    note = "theirs on a GPU, ours on this processor"
    return rows + [TableRow(f"{part} s, {name}", on_gpu[part], value, None, note) for part, value in seconds.items()]
