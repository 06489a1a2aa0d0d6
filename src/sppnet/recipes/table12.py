"""Table 12: two networks combined on VOC 2007: each scores all regions, suppression over the union.

    sppnet reproduce table12 --data VOCdevkit/VOC2007 --weights first.safetensors --weights second.safetensors

``--data`` as for table9. ``--weights``: two ZF-5 with the pyramid, trained from different seeds: two fine-tunings of
one network gain nothing. Paper: 59.2 and 59.1, combined 60.9 mAP (11-point). Cost: twice table11's. Ours: not
measured; no weights trained on ImageNet come with the package.
"""

from sppnet.detection.detections import combine
from sppnet.evaluation.precision import detection_report
from sppnet.recipes import RecipeRequest, Report
from sppnet.recipes._detection import FIVE, bench
from sppnet.recipes.table11 import rows_of

PAPER = (59.2, 59.1, 60.9)


def run(request: RecipeRequest) -> Report:
    """Train a detector on each network, and combine what both find in each image."""
    found = []
    for which in range(2):
        work = bench(request, "zf5", count=2, which=which)
        detector = work.detector(work.layered(FIVE, work.fine_tuned(FIVE)))
        found.append(work.found(detector, moved=True))
    found.append([combine(pair) for pair in zip(*found, strict=True)])
    names = ("network 1", "network 2", "combined")
    rows = tuple(
        row
        for name, paper, images in zip(names, PAPER, found, strict=True)
        for row in rows_of(
            name, detection_report(images, work.test.samples, work.train.classes, rule="eleven"), {"mean": paper}
        )
    )
    settings = {"network": work.network.describe(), "settings": work.settings.describe()}
    return Report("Table 12, two networks combined", "AP, %", rows, settings, request.quick)
