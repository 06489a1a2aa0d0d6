"""Table 4: one Overfeat-7 with many views, errors on ImageNet's validation images.

``sppnet reproduce table4 --data IMAGENET --weights O7_MULTI``

IMAGENET holds ``val/<class>/*``; the weights are the multi-size Overfeat-7 with the pyramid that
``sppnet reproduce table2`` trained. The 96 views are windows of the maps of six scales and their mirror images. At
which scale the paper adds the two views of the whole image it does not say; here it is 256. Rows of other authors'
networks have the published number only.

Cost: 13 passes over 50,000 images at 224 to 560 pixels: hours on a GPU, days on a processor.
Paper: 10 views 29.68 and 10.95; 96 views and 2 of the whole 27.86 and 9.14.
Ours: not measured: needs a network trained on ImageNet.
"""

from typing import Final

from sppnet.classification.views import MANY_VIEWS, TEN_CROPS, measure_plan
from sppnet.recipes import RecipeRequest, Report, TableRow
from sppnet.recipes._networks import Wanted, networks_of, validation_images

NETWORKS: Final[tuple[Wanted, ...]] = (("Overfeat-7 multi-size", "overfeat7", True),)
OTHERS: Final = (
    ("Krizhevsky et al., 10 views", 40.7, 18.2),
    ("Overfeat (fast), 1 scale", 39.01, 16.97),
    ("Overfeat (fast), 6 scales", 38.12, 16.27),
    ("Overfeat (big), 4 scales", 35.74, 14.18),
    ("Howard (base), 162 views", 37.0, 15.8),
    ("Howard (high resolution), 162 views", 36.8, 16.2),
    ("Zeiler and Fergus (fast), 10 views", 38.4, 16.5),
    ("Zeiler and Fergus (big), 10 views", 37.5, 16.0),
    ("Chatfield et al., 10 views", None, 13.1),
)


def run(request: RecipeRequest) -> Report:
    """Test the network with ten crops and with all views."""
    classes = len(validation_images(request, None).classes) if request.quick else 1000
    (network,) = networks_of(request, NETWORKS, classes=classes)
    data = validation_images(request, network)
    rows = [
        TableRow(f"{who}, {error}", paper)
        for who, *papers in OTHERS
        for error, paper in zip(("top-1", "top-5"), papers, strict=True)
        if paper is not None
    ]
    for plan, top_1, top_5 in ((TEN_CROPS, 29.68, 10.95), (MANY_VIEWS, 27.86, 9.14)):
        tested = measure_plan([network], data, plan, progress=request.progress)
        rows.append(TableRow(f"Overfeat-7, {plan.name}, top-1", top_1, 100 * tested.top_1))
        found = None if tested.top_5 is None else 100 * tested.top_5
        rows.append(TableRow(f"Overfeat-7, {plan.name}, top-5", top_5, found))
    return Report("Table 4: one network, many views", "error, %", tuple(rows), {}, request.quick)
