"""Table 3: the centre crop against the whole image, top-1 error on ImageNet's validation images.

``sppnet reproduce table3 --data IMAGENET --weights ZF5 --weights ZF5_MULTI --weights O7 --weights O7_MULTI``

IMAGENET holds ``val/<class>/*``; the weights are what ``sppnet reproduce table2`` trained, in this order: ZF-5
single-size, ZF-5 multi-size, Overfeat-7 single-size, Overfeat-7 multi-size, all with the pyramid. Shorter side 256.

Cost: two passes over 50,000 images a network; ZF-5 takes 0.2 s an image on one core, a GPU some minutes in all.
Paper: crop 38.01 37.57 33.18 32.57, whole 37.55 37.07 32.72 31.25.
Ours: not measured: needs networks trained on ImageNet.
"""

from typing import Final

from sppnet.classification.views import CROP, WHOLE, measure_plan
from sppnet.recipes import RecipeRequest, Report, TableRow
from sppnet.recipes._networks import Wanted, networks_of, validation_images

NETWORKS: Final[tuple[Wanted, ...]] = (
    ("ZF-5 single-size", "zf5", True),
    ("ZF-5 multi-size", "zf5", True),
    ("Overfeat-7 single-size", "overfeat7", True),
    ("Overfeat-7 multi-size", "overfeat7", True),
)
PAPER: Final = ((38.01, 37.55), (37.57, 37.07), (33.18, 32.72), (32.57, 31.25))


def run(request: RecipeRequest) -> Report:
    """Test every network on both views."""
    classes = len(validation_images(request, None).classes) if request.quick else 1000
    networks, rows = networks_of(request, NETWORKS, classes=classes), []
    for network, (what, _, _), papers in zip(networks, NETWORKS, PAPER, strict=True):
        data = validation_images(request, network)
        for plan, paper in zip((CROP, WHOLE), papers, strict=True):
            tested = measure_plan([network], data, plan, progress=request.progress)
            rows.append(TableRow(f"{what}, {plan.name}", paper, 100 * tested.top_1))
    return Report("Table 3: one view", "top-1 error, %", tuple(rows), {"short_side": 256}, request.quick)
