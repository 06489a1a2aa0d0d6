"""Table 11: detection on VOC 2007, class by class, with fine-tuned fc7 at five scales.

    sppnet reproduce table11 --data VOCdevkit/VOC2007 --weights zf5.safetensors

``--data`` and ``--weights`` as for table9. Paper: 55.2 mAP, 59.2 with box regression (11-point). Cost: a
fine-tuning and a training of table9's. Ours: not measured; no weights trained on ImageNet come with the package.
"""

from sppnet.evaluation.precision import DetectionReport
from sppnet.recipes import RecipeRequest, Report, TableRow
from sppnet.recipes._detection import FIVE, bench

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
FTFC7 = (65.5, 65.9, 51.7, 38.4, 32.7, 62.6, 68.6, 69.7, 33.1, 66.6, 53.1, 58.2, 63.6, 68.8, 50.4, 27.4, 53.7, 48.2)
MOVED = (68.6, 69.7, 57.1, 41.2, 40.5, 66.3, 71.3, 72.5, 34.4, 67.3, 61.7, 63.1, 71.0, 69.8, 57.6, 29.7, 59.0, 50.2)
PAPER = {
    "ftfc7": dict(zip(CLASSES, (*FTFC7, 61.7, 64.7), strict=True)) | {"mean": 55.2},
    "ftfc7 bb": dict(zip(CLASSES, (*MOVED, 65.2, 68.0), strict=True)) | {"mean": 59.2},
}


def run(request: RecipeRequest) -> Report:
    """Fine-tune, train once, and test with the boxes left and moved."""
    work = bench(request, "zf5")
    detector = work.detector(work.layered(FIVE, work.fine_tuned(FIVE)))
    reports = {"ftfc7": work.report(detector, moved=False), "ftfc7 bb": work.report(detector, moved=True)}
    rows = tuple(row for kind, report in reports.items() for row in rows_of(kind, report, PAPER[kind]))
    settings = {"network": work.network.describe(), "settings": work.settings.describe()}
    return Report("Table 11, VOC 2007 class by class", "AP, %", rows, settings, request.quick)


def rows_of(kind: str, report: DetectionReport, paper: dict[str, float]) -> list[TableRow]:
    """Return the mean and one row a class."""
    precisions = zip(report.classes, report.average_precision.tolist(), strict=True)
    means = [TableRow(f"{kind}, mean", paper["mean"], 100 * report.mean)]
    return means + [TableRow(f"{kind}, {name}", paper.get(name), 100 * precision) for name, precision in precisions]
