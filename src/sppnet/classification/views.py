"""Several views of an image, averaged: cropped and run one by one, or as windows of maps computed once.

A view is a square of 224 pixels of the image at some scale. The maps of the scaled image and of its mirror
image hold all views of that scale, so each scale costs two passes over the image, whatever the number of views.

Source: He et al. 2015, Sec. 3.1.2, 3.1.4 and 3.1.5, Appendix A.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.backbones import PublishedNet
from sppnet.data import FolderData
from sppnet.errors import ArgumentError, check_that, message
from sppnet.evaluation.classes import top_k_error
from sppnet.geometry import shorter_side_size, view_regions, windows_from_regions
from sppnet.images import Source, crop, mirror, read_image, resize, to_tensor
from sppnet.progress import Progress, silent

Views = Literal["whole", "mirrored"]  # a classifier's on frozen features: windows of the same map gave no more

CROPS_AT_ONCE: Final = 10  # more run no faster on a processor, and take memory


@dataclass(frozen=True)
class ViewPlan:
    """Which views of an image are averaged, and how they are come by.

    Args:
        name: what the paper calls it.
        scales: shorter sides of the scaled image that views are taken of, each at least 224.
        places: 1 the centre; 5 and the corners; 9 and the middles of the sides.
        mirrored: take them of the mirror image too.
        whole: shorter side at which the whole image is one more view; None for none.
        cropped: run the network on each view by itself instead of on the scaled image; the only way for a
            network without a pyramid.
    """

    name: str
    scales: tuple[int, ...] = (256,)
    places: int = 1
    mirrored: bool = False
    whole: int | None = None
    cropped: bool = False


CROP: Final = ViewPlan("centre crop", cropped=True)
TEN_CROPS: Final = ViewPlan("10 crops", places=5, mirrored=True, cropped=True)
WHOLE: Final = ViewPlan("whole image", scales=(), whole=256)
MIRRORED: Final = ViewPlan("whole image and its mirror image", scales=(), whole=256, mirrored=True)
TEN_VIEWS: Final = ViewPlan("10 views on maps", places=5, mirrored=True)
SIX_SCALES: Final = (224, 256, 300, 360, 448, 560)
# At which scale the paper sees the whole image beside its 96 views it does not say: 256, as in its Table 3.
MANY_VIEWS: Final = ViewPlan("96 views and 2 of the whole", scales=SIX_SCALES, places=9, mirrored=True, whole=256)
MANY_CROPS: Final = ViewPlan("96 crops", scales=SIX_SCALES, places=9, mirrored=True, cropped=True)
PLANS: Final = (CROP, WHOLE, MIRRORED, TEN_CROPS, TEN_VIEWS, MANY_VIEWS)


def named_views(name: str) -> ViewPlan:
    """Return the plan of a classifier's option ``views``; raises ArgumentError for a name that is none."""
    known = {"whole": WHOLE, "mirrored": MIRRORED}
    advice = "Name one of these"
    check_that(name in known, "Classifier", "views", "'whole' or 'mirrored'", repr(name), advice=advice)
    return known[name]


def view_scores(network: PublishedNet, image: Source, plan: ViewPlan) -> Tensor:
    """Return what a network makes of every view: (V, K) probabilities, scale by scale, mirror images last.

    Args:
        network: used as it is; put it into ``eval`` mode first.
        image: a path, a file's bytes, or (H, W, 3) uint8 RGB.
        plan: which views.
    Raises:
        ImageDecodeError: an image that cannot be read. ArgumentError: a plan without views, with maps for a
            network without a pyramid, or with a scale below 224.
    """
    if not plan.scales and plan.whole is None:
        advice = "Name a scale, or the whole image"
        raise ArgumentError(message("view_scores", "plan", "of one view at least", plan, advice))
    pixels = read_image(image)
    with torch.inference_mode():
        rows = list(_cropped(network, pixels, plan) if plan.cropped else _on_maps(network, pixels, plan))
        return network.head(torch.cat(rows)).softmax(dim=1).cpu()


def _on_maps(network: PublishedNet, pixels: NDArray[np.uint8], plan: ViewPlan) -> Iterable[Tensor]:
    """Yield the pooled windows of every scale, the mirror image's after the image's: (V, B * C) each."""
    for side in dict.fromkeys([*plan.scales, *([] if plan.whole is None else [plan.whole])]):
        inputs = _scaled(network, pixels, side, plan.mirrored)
        features = network.features(inputs)
        regions = view_regions((inputs.shape[2], inputs.shape[3]), plan.places) if side in plan.scales else None
        for values in features:
            height, width = values.shape[1:]
            windows = [[0, 0, width, height]] if side == plan.whole else []
            if regions is not None:
                windows = [*windows_from_regions(regions, network.grid(), (height, width)).tolist(), *windows]
            yield network.pool_windows(values, torch.tensor(windows))


def _cropped(network: PublishedNet, pixels: NDArray[np.uint8], plan: ViewPlan) -> Iterable[Tensor]:
    """Yield what is pooled from crops, a few at a time: (V, B * C) each."""
    check_that(plan.whole is None, "view_scores", "plan.whole", "None with crops", plan.whole, advice="Leave it out")
    for side in plan.scales:
        scaled = resize(pixels, shorter_side_size(pixels.shape[:2], side))
        regions = view_regions((scaled.shape[0], scaled.shape[1]), plan.places)
        for mirrored in (False, True)[: 1 + plan.mirrored]:
            seen = mirror(scaled) if mirrored else scaled
            crops = [to_tensor(crop(seen, each), mean=network.mean, std=network.std) for each in regions]
            for some in _batches(crops):
                yield network.pool(network.features(torch.stack(some).to(network.device)))


def _batches(crops: list[Tensor]) -> Iterable[list[Tensor]]:
    return (crops[start : start + CROPS_AT_ONCE] for start in range(0, len(crops), CROPS_AT_ONCE))


def _scaled(network: PublishedNet, pixels: NDArray[np.uint8], side: int, mirrored: bool) -> Tensor:
    """Return the scaled image, and its mirror image after it, as the network takes them: (1 or 2, 3, H, W)."""
    scaled = to_tensor(resize(pixels, shorter_side_size(pixels.shape[:2], side)), mean=network.mean, std=network.std)
    return torch.stack([scaled, scaled.flip(2)] if mirrored else [scaled]).to(network.device)


def predict_views(networks: Sequence[PublishedNet], image: Source, plan: ViewPlan = WHOLE) -> Tensor:
    """Return the mean of the probabilities over all views, and over networks trained on the same classes: (K,)."""
    check_that(len(networks) > 0, "predict_views", "networks", "one at least", 0, advice="Train or load one")
    scores = [view_scores(network, image, plan).mean(dim=0) for network in networks]
    return torch.stack(scores).mean(dim=0)


@dataclass(frozen=True)
class Measured:
    """How good and how dear a plan is.

    Args:
        plan: which views.
        views: the mean number of them an image.
        top_1, top_5: errors, 0..1; top_5 is None below five classes.
        seconds: an image, with decoding, on the machine that it was tested on.
    """

    plan: ViewPlan
    views: float
    top_1: float
    top_5: float | None
    seconds: float


def measure_plan(
    networks: Sequence[PublishedNet], data: FolderData, plan: ViewPlan, *, progress: Progress = silent
) -> Measured:
    """Measure one plan on labelled images: its errors and its cost.

    Args:
        networks: averaged, see ``predict_views``. data: in the order of the networks' classes.
    """
    check_that(len(data.paths) > 0, "measure_plan", "data", "of one image at least", 0, advice="Name another split")
    start, scores, views = time.perf_counter(), [], 0
    for path in progress(plan.name, data.paths):
        each = [view_scores(network, path, plan) for network in networks]
        views += len(each[0])
        scores.append(torch.stack([rows.mean(dim=0) for rows in each]).mean(dim=0))
    seconds = (time.perf_counter() - start) / len(data.paths)
    found = torch.stack(scores).numpy()
    top_5 = top_k_error(found, data.labels, k=5) if found.shape[1] >= 5 else None
    return Measured(plan, views / len(data.paths), top_k_error(found, data.labels, k=1), top_5, seconds)


def best_within(tested: Sequence[Measured], seconds: float) -> Measured | None:
    """Return the plan with the least top-1 error of those that take no longer an image; None if none does."""
    affordable = [each for each in tested if each.seconds <= seconds]
    return min(affordable, key=lambda each: (each.top_1, each.seconds), default=None)
