"""Table 13: ILSVRC 2014 DET with the provided data only: one network, and several combined.

    sppnet reproduce table13 --data ilsvrc-det --weights overfeat7.safetensors [--weights another.safetensors ...]

``--data``: DET in VOC's layout (Annotations, JPEGImages, ImageSets/Main/train.txt and val.txt; links to its files will
do). ``--weights``: Overfeat-7 with the pyramid, trained on the 499 leaf categories of DET at a shorter side of 400;
six of them in the paper. Paper: 31.84 mAP with one, 35.11 with six. Cost: 8 GPU-hours for the maps of 40,000 images
alone. Differs: mAP is of the area under precision over recall at IoU 0.5, without DET's allowance for small objects,
and all training images give negatives. Ours: not measured; no such weights come with the package.
"""

from sppnet.detection.detections import combine
from sppnet.evaluation.precision import detection_report
from sppnet.recipes import RecipeRequest, Report, TableRow
from sppnet.recipes._detection import FIVE, bench

PAPER_ONE, PAPER_SIX = 31.84, 35.11
SIX = 6


def run(request: RecipeRequest) -> Report:
    """Train a detector on each network given, test the first alone and all together."""
    count = max(1, len(request.weights))
    found = []
    for which in range(count):
        work = bench(request, "overfeat7", count=count, which=which)
        detector = work.detector(work.layered(FIVE, work.fine_tuned(FIVE)))
        found.append(work.found(detector, moved=True))
    together = [combine(each) for each in zip(*found, strict=True)]
    one, several = (
        100 * detection_report(images, work.test.samples, work.train.classes).mean for images in (found[0], together)
    )
    rows = [TableRow("one network", PAPER_ONE, one)]
    if count > 1:
        paper = PAPER_SIX if count == SIX else None
        rows.append(TableRow(f"{count} networks", paper, several, None, "" if paper else "six in the paper"))
    settings = {"network": work.network.describe(), "settings": work.settings.describe()}
    return Report("Table 13, ILSVRC 2014 DET", "mAP, %", tuple(rows), settings, request.quick)
