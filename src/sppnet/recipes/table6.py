"""Table 6: classification of VOC 2007 by layer, mean average precision.

``sppnet reproduce table6 --data VOC2007 --weights ZF5_PLAIN --weights ZF5_MULTI --weights O7_MULTI``

VOC2007 is the folder of the development kit that holds ``Annotations``, ``JPEGImages`` and ``ImageSets``, with the
splits trainval and test. The weights, in this order: ZF-5 without a pyramid, ZF-5 multi-size with it, Overfeat-7
multi-size with it, as ``sppnet reproduce table2`` trained them on ImageNet. Protocol: features of length 1, one
linear SVM a class, cost 1, no mirror images; objects marked difficult are left out.

Cost: five passes over 9,963 images and 23 trainings of 20 SVMs; 6 GB of memory; about three hours on two cores.
Paper: (a) to (e) of the table, 57.28 to 82.44.
Ours: not measured: needs networks trained on ImageNet.
"""

from pathlib import Path
from typing import Final

from sppnet.classification.transfer import FINEST, View, all_features, mean_precision, voc_precisions, voc_targets
from sppnet.data import DetectionData, load_detection
from sppnet.recipes import RecipeRequest, Report, TableRow
from sppnet.recipes._networks import QUICK_IMAGES, Wanted, networks_of

NETWORKS: Final[tuple[Wanted, ...]] = (
    ("ZF-5 without a pyramid", "zf5", False),
    ("ZF-5 multi-size", "zf5", True),
    ("Overfeat-7 multi-size", "overfeat7", True),
)
ZF5_LAYERS: Final = ("conv4", "conv5", FINEST, "fc6", "fc7")
# Which network, view and side; its layers, and the paper's numbers.
COLUMNS: Final[tuple[tuple[str, int, View, int, tuple[str, ...], tuple[float, ...]], ...]] = (
    ("(a) no SPP ZF-5, crop 224", 0, "crop", 224, ZF5_LAYERS, (59.96, 66.34, 69.14, 74.86, 75.90)),
    ("(b) SPP ZF-5, crop 224", 1, "crop", 224, ZF5_LAYERS, (57.28, 65.43, 68.76, 75.55, 76.45)),
    ("(c) SPP ZF-5, whole 224", 1, "whole", 224, ZF5_LAYERS[2:], (70.82, 77.32, 78.39)),
    ("(d) SPP ZF-5, whole 392", 1, "whole", 392, ZF5_LAYERS[2:], (71.67, 78.78, 80.10)),
    ("(e) SPP Overfeat-7, whole 364", 2, "whole", 364, (FINEST, "fc8", "fc9"), (76.09, 81.58, 82.44)),
)


def run(request: RecipeRequest) -> Report:
    """Compute every column's features once, and learn from each layer."""
    networks = networks_of(request, NETWORKS)
    train = _part(load_detection(request.data, split="trainval"), request.quick)
    test = _part(load_detection(request.data, split="test", classes=train.classes), request.quick)
    rows = []
    for column, which, view, side, layers, papers in COLUMNS:
        learnt, tested = (
            all_features(networks[which], _paths(data), layers, view=view, side=side, progress=request.progress)
            for data in (train, test)
        )
        for layer, paper in zip(layers, papers, strict=True):
            precisions = voc_precisions((learnt[layer], voc_targets(train)), (tested[layer], voc_targets(test)))
            rows.append(TableRow(f"{column}, {layer}", paper, 100 * mean_precision(precisions)))
    settings = {"train": len(train.samples), "test": len(test.samples), "cost": 1.0}
    return Report("Table 6: VOC 2007 by layer", "mAP, %", tuple(rows), settings, request.quick)


def _part(data: DetectionData, quick: bool) -> DetectionData:
    samples = data.samples[:QUICK_IMAGES] if quick else data.samples
    return DetectionData(data.root, data.classes, samples, data.problems, data.name)


def _paths(data: DetectionData) -> list[Path]:
    return [sample.path for sample in data.samples]
