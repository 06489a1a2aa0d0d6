"""Table 7: Caltech-101 by layer, accuracy over ten random splits.

``sppnet reproduce table7 --data CALTECH --weights ZF5_PLAIN --weights ZF5_MULTI --weights O7_MULTI``

CALTECH is the folder that holds the 102 folders of images, the background's among them. The weights, in this
order: ZF-5 without a pyramid, ZF-5 multi-size with it, Overfeat-7 multi-size with it, as ``sppnet reproduce table2``
trained them on ImageNet. Protocol: 30 images a class to learn from and up to 50 to test on, features of length 1,
one linear SVM a class, cost 1, accuracy the mean over classes.

Cost: five passes over 9,144 images and 210 trainings of 102 SVMs; 3 GB of memory; about four hours on two cores.
Paper: (a) to (d) of the table, 80.12 to 93.42; warped to 224 x 224, the pyramid of ZF-5 gives 89.91.
Ours: not measured: needs networks trained on ImageNet. See table8 for the network that comes with sppnet.
"""

from typing import Final

from sppnet.classification.transfer import CALTECH_TRAIN, FINEST, View, all_features, caltech_accuracy
from sppnet.data import load_folders
from sppnet.recipes import RecipeRequest, Report, TableRow
from sppnet.recipes._networks import QUICK_TRAIN, Wanted, networks_of, some_of

NETWORKS: Final[tuple[Wanted, ...]] = (
    ("ZF-5 without a pyramid", "zf5", False),
    ("ZF-5 multi-size", "zf5", True),
    ("Overfeat-7 multi-size", "overfeat7", True),
)
PLAIN: Final = ("conv4", "conv5", FINEST, "fc6", "fc7")
PYRAMID: Final = ("conv4", "conv5", FINEST, "pool5", "fc6", "fc7")
COLUMNS: Final[tuple[tuple[str, int, View, tuple[str, ...], tuple[float, ...]], ...]] = (
    ("(a) no SPP ZF-5, crop", 0, "crop", PLAIN, (80.12, 84.40, 87.98, 87.86, 85.30)),
    ("(b) SPP ZF-5, crop", 1, "crop", PYRAMID, (81.03, 83.76, 87.60, 89.47, 88.54, 86.10)),
    ("(c) SPP ZF-5, whole", 1, "whole", PYRAMID[2:], (89.46, 91.44, 89.50, 87.08)),
    ("(d) SPP Overfeat-7, whole", 2, "whole", (FINEST, "pool7", "fc8", "fc9"), (91.46, 93.42, 91.83, 90.00)),
    ("SPP ZF-5, warped", 1, "warp", ("pool5",), (89.91,)),
)
SIDE: Final = 224
SPLITS: Final = 10


def run(request: RecipeRequest) -> Report:
    """Compute every column's features once, and learn from each layer on every split."""
    networks = networks_of(request, NETWORKS)
    data = load_folders(request.data)
    data, train = (some_of(data), QUICK_TRAIN) if request.quick else (data, CALTECH_TRAIN)
    seeds = range(request.seed, request.seed + (1 if request.quick else SPLITS))
    rows = []
    for column, which, view, layers, papers in COLUMNS:
        found = all_features(networks[which], data.paths, layers, view=view, side=SIDE, progress=request.progress)
        for layer, paper in zip(layers, papers, strict=True):
            accuracies = 100 * caltech_accuracy(found[layer], data.labels, seeds=seeds, train=train)
            spread = None if request.quick else float(accuracies.std())
            rows.append(TableRow(f"{column}, {layer}", paper, float(accuracies.mean()), spread))
    settings = {"images": len(data.paths), "splits": len(seeds), "short_side": SIDE, "cost": 1.0}
    return Report("Table 7: Caltech-101 by layer", "accuracy, %", tuple(rows), settings, request.quick)
