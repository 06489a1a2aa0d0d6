"""Table 12: two networks combined on VOC 2007: each scores all regions, suppression over the union.

    sppnet reproduce table12 --data VOCdevkit/VOC2007 --weights first.safetensors --weights second.safetensors

``--data`` as for table9. ``--weights``: two ZF-5 with the pyramid, trained from different seeds: two fine-tunings of
one network gain nothing. Paper: 59.2 and 59.1, combined 60.9 mAP (11-point). Cost: twice table11's. Ours: not
measured; no weights trained on ImageNet come with the package.
"""

from sppnet.detector import combine
from sppnet.metrics import detection_report
from sppnet.recipes import Report, Request
from sppnet.recipes._detection import FIVE, bench
from sppnet.recipes.table11 import rows_of

PAPER = (59.2, 59.1, 60.9)


def run(request: Request) -> Report:
    """Train a detector on each network, and combine what both find in each picture."""
    found = []
    for which in range(2):
        work = bench(request, "zf5", count=2, which=which)
        detector = work.detector(work.layered(FIVE, work.fine_tuned(FIVE)))
        found.append(work.found(detector, moved=True))
    found.append([combine(pair) for pair in zip(*found, strict=True)])
    names = ("network 1", "network 2", "combined")
    rows = tuple(
        row
        for name, paper, pictures in zip(names, PAPER, found, strict=True)
        for row in rows_of(
            name, detection_report(pictures, work.test.samples, work.train.classes, rule="eleven"), {"mean": paper}
        )
    )
    settings = {"network": work.network.describe(), "procedure": work.procedure.describe()}
    return Report("Table 12, two networks combined", "AP, %", rows, settings, request.quick)
