"""Accuracy against cost: one crop, the whole image, it and its mirror image, ten crops, ten views, 96 views.

``sppnet reproduce views --data DATA --weights NETWORK``

DATA holds ``val/<class>/*``, or one folder a class; NETWORK is a file of a network with a pyramid, trained on the same
classes. Choose the last row that is fast enough: ``sppnet.classification.views.best_within`` does.

Cost: about 30 passes over the images, at 224 to 560 pixels.
Paper: ZF-5 multi-size 37.57 by the crop and 37.07 by the whole image (Table 3), 34.60 by ten crops (Table 2).
Ours: depends on the network; docs/classification.md shows one.
"""

from sppnet.backbones import PublishedNet
from sppnet.classification.views import PLANS, measure_plan
from sppnet.recipes import RecipeRequest, Report, TableRow, need
from sppnet.recipes._networks import networks_of, validation_images


def run(request: RecipeRequest) -> Report:
    """Measure every plan."""
    if request.quick and not request.weights:
        classes = len(validation_images(request, None).classes)
        (network,) = networks_of(request, [("ZF-5", "zf5", True)], classes=classes)
    else:
        network = PublishedNet.load(need(request.weights, 1, "a network with a pyramid")[0])
    data = validation_images(request, network)
    rows = []
    for plan in PLANS:
        tested = measure_plan([network], data, plan, progress=request.progress)
        note = f"{tested.views:.0f} views, {1000 * tested.seconds:.0f} ms an image"
        rows.append(TableRow(plan.name, None, 100 * tested.top_1, note=note))
    settings = {"images": len(data.paths)}
    return Report(f"Views of {network.name}", "top-1 error, %", tuple(rows), settings, request.quick)
