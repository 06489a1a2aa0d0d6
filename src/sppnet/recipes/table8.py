"""Table 8: whole systems on Caltech-101 and VOC 2007.

``sppnet reproduce table8 --data DATA``

DATA is Caltech-101 (the folder that holds its 102 folders of images) or VOC 2007 (``Annotations``, ``JPEGImages``,
``ImageSets`` with trainval and test). Measured is what sppnet gives its users: ``Classifier`` on Caltech-101 (least
squares on square roots, where the paper has SVMs), and the same features with an SVM a class on VOC 2007. Its network,
EfficientNet-Lite0, is younger and better than the paper's and comes with its weights; the comparison is of systems,
not of networks. Protocols as in table6 and table7.

Cost: 9,144 images and ten solutions of least squares: about six minutes on two cores.
Paper: SPP-net 93.42 ± 0.5 on Caltech-101 (accuracy), 82.44 on VOC 2007 (mAP).
Ours: 95.77 ± 0.46 on Caltech-101; 93.04 ± 0.34 by the same network without a pyramid. VOC 2007 was not at hand.
"""

from dataclasses import replace
from typing import Final

import numpy as np
import torch

from sppnet.classification.classifier import Classifier
from sppnet.classification.transfer import CALTECH_TRAIN, caltech_split, mean_precision, voc_precisions, voc_targets
from sppnet.data import DetectionData, FolderData, load_detection, load_folders, recognise
from sppnet.recipes import RecipeRequest, Report, TableRow
from sppnet.recipes._networks import QUICK_IMAGES, QUICK_TRAIN, some_of
from sppnet.storage import TensorCache

# Method, mAP on VOC 2007, accuracy on Caltech-101.
PAPER: Final = (
    ("VQ", 56.07, 74.41),
    ("LLC", 57.66, 76.95),
    ("FK", 61.69, 77.78),
    ("DeCAF", None, 86.91),
    ("Zeiler and Fergus", 75.90, 86.5),
    ("Oquab et al.", 77.7, None),
    ("Chatfield et al.", 82.42, 88.54),
    ("SPP-net, Overfeat-7", 82.44, 93.42),
)
SPLITS: Final = 10
OURS: Final = "sppnet, EfficientNet-Lite0"


def run(request: RecipeRequest) -> Report:
    """Measure on the data set that was named."""
    voc = recognise(request.data) == "voc"
    rows = [TableRow(who, numbers[not voc]) for who, *numbers in PAPER if numbers[not voc] is not None]
    rows.append(_on_voc(request) if voc else _on_caltech(request))
    unit = "mAP on VOC 2007, %" if voc else "accuracy on Caltech-101, %"
    return Report("Table 8: whole systems", unit, tuple(rows), {}, request.quick)


def _on_caltech(request: RecipeRequest) -> TableRow:
    data, found = load_folders(request.data), []
    data, few = (some_of(data), QUICK_TRAIN) if request.quick else (data, CALTECH_TRAIN)
    cache = TensorCache(request.cache) if request.cache else None
    for seed in range(request.seed, request.seed + (1 if request.quick else SPLITS)):
        train, test = caltech_split(data.labels, seed, train=few)
        classifier = Classifier(cache=cache).fit(_part(data, train), progress=request.progress)
        found.append(100 * classifier.evaluate(_part(data, test), progress=request.progress).accuracy)
    spread = None if request.quick else float(np.std(found))
    return TableRow(OURS, None, float(np.mean(found)), spread, f"{len(found)} splits")


def _part(data: FolderData, rows: np.typing.NDArray[np.int64]) -> FolderData:
    return replace(data, paths=tuple(data.paths[row] for row in rows), labels=data.labels[rows])


def _on_voc(request: RecipeRequest) -> TableRow:
    cache = TensorCache(request.cache) if request.cache else None
    encoder = Classifier(cache=cache).encoder_
    train = load_detection(request.data, split="trainval")
    test = load_detection(request.data, split="test", classes=train.classes)

    def learnt(data: DetectionData) -> tuple[np.typing.NDArray[np.float16], np.typing.NDArray[np.int8]]:
        rows = slice(QUICK_IMAGES if request.quick else None)
        paths = [sample.path for sample in data.samples[rows]]
        vectors = [encoder(path).half() for path in request.progress(f"Features of {data.name}", paths)]
        return torch.stack(vectors).numpy(), voc_targets(data)[rows]

    return TableRow(OURS, None, 100 * mean_precision(voc_precisions(learnt(train), learnt(test))))
