"""Fine-tuning of the layers between pooled regions and scores: fc6, fc7 and a new last layer (paper, Sec. 4.1).

What lies below, the convolutions, stays as it is, so that maps come from the cache. Positives overlap an object by
half or more and are a quarter of each mini-batch; the rest is background that overlaps objects a little.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sppnet.data import DetectionData
from sppnet.detection.detector import Detector
from sppnet.detection.examples import LabelledImage, labelled_images
from sppnet.detection.settings import Fitting, chosen_settings
from sppnet.errors import check_that
from sppnet.features.layers import FullyConnected, LayeredEncoder, RegionLayers
from sppnet.geometry import iou
from sppnet.progress import Progress, silent

TOGETHER: Final = 32  # images whose regions are mixed: what is held of them stays below a gigabyte
LAST_DEVIATION: Final = 0.01  # of the new last layer's initial weights


def fresh_layers(inputs: int, *, hidden: int = 256, seed: int = 0) -> RegionLayers:
    """Return two layers with random weights, for networks that come without fc6 and fc7.

    Args:
        inputs: length of a pooled row. hidden: outputs of each layer. seed: of the weights.
    """
    draw = torch.Generator().manual_seed(seed)
    sizes = ((hidden, inputs), (hidden, hidden))
    weights = [torch.randn(*size, generator=draw) * (2 / size[1]) ** 0.5 for size in sizes]
    return RegionLayers(tuple(FullyConnected(weight, torch.zeros(hidden)) for weight in weights))


def fine_tune(
    images: Sequence[LabelledImage],
    layers: RegionLayers,
    names: Sequence[str],
    *,
    levels: Sequence[int],
    fitting: Fitting,
    seed: int = 0,
    progress: Progress = silent,
) -> RegionLayers:
    """Train layers, with a new last one on top, to tell the classes and the background apart.

    Args:
        images: whose maps give what the layers take; each is loaded again and again and never held.
        layers: to start from; they are not changed. names: the K classes, without the background.
        levels: bins per side of each level of the pyramid.
        fitting: rates, steps and what a mini-batch holds.
        seed: of the choice among regions, the last layer and dropout; the same seed and images, the same bits.
        progress: wraps the steps.
    Returns:
        The layers as trained, without the last one: SVMs take its place, as in the paper.
    Raises:
        ArgumentError: images without regions to learn from, on objects or near them, or another number of rates than of
        steps.

    The last layer's biases start at 0, and biases do not decay. Differs from the released code: no mirrored
    images, each region at its own scale, and the last step's weights are kept, not the best on the test set's.
    """
    advice = "Give one number of steps a rate"
    fits = len(fitting.rates) == len(fitting.steps)
    check_that(fits, "fine_tune", "fitting", "of as many rates as steps", f"{len(fitting.rates)} rates", advice=advice)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        start = [tensor for layer in layers.layers for tensor in (layer.weight, layer.bias)]
        trained = [nn.Parameter(tensor.float().clone()) for tensor in start]
        last = nn.Linear(layers.length, len(names) + 1)
        nn.init.normal_(last.weight, std=LAST_DEVIATION)
        nn.init.zeros_(last.bias)
        parameters = [*trained, *last.parameters()]
        groups = [
            {"params": [each for each in parameters if each.ndim > 1], "weight_decay": fitting.decay},
            {"params": [each for each in parameters if each.ndim == 1], "weight_decay": 0.0},
        ]
        descent = torch.optim.SGD(groups, lr=fitting.rates[0], momentum=fitting.momentum)
        rates = np.repeat(fitting.rates, fitting.steps)
        batches = _batches(images, names, levels, fitting, np.random.default_rng(seed))
        for rate in progress("Fine-tuning", rates.tolist()):
            for group in descent.param_groups:
                group["lr"] = rate
            rows, targets = next(batches)
            loss = F.cross_entropy(last(_run(rows, layers, trained, fitting.dropout)), targets)
            descent.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            descent.step()
    pairs = zip(trained[::2], trained[1::2], layers.layers, strict=True)
    return RegionLayers(
        tuple(FullyConnected(weight.detach(), bias.detach(), layer.relu) for weight, bias, layer in pairs)
    )


def fine_tuned(
    detector: Detector, data: DetectionData, *, layers: RegionLayers | None = None, progress: Progress = silent
) -> Detector:
    """Fine-tune layers on what a detector pools, and train it again on top of them: ftfc7 of Table 9.

    Args:
        detector: gives encoder, regions and settings; it is not changed. One with layers has those fine-tuned.
        data: from ``load_detection``.
        layers: to start from, where the detector has none; None are two fresh ones of 256.
        progress: wraps each pass.
    Returns:
        A trained detector whose scores stand on the layers and whose boxes on the pooled maps.
    """
    encoder, proposals = detector.prepare(data, progress=progress)
    below, given = encoder.split()
    levels, seed, settings = tuple(detector.levels), detector.seed, chosen_settings(detector.settings)
    start = given or layers or fresh_layers(below.length(levels), seed=seed)
    images, fitting = labelled_images(data, below, proposals), settings.fitting
    deeper = fine_tune(images, start, data.classes, levels=levels, fitting=fitting, seed=seed, progress=progress)
    chosen = {"encoder": LayeredEncoder(below, deeper), "proposals": proposals}
    return detector.unlearnt(**chosen).fit(data, progress=progress)


def _run(rows: Tensor, layers: RegionLayers, trained: Sequence[Tensor], dropout: float) -> Tensor:
    for index, layer in enumerate(layers.layers):
        rows = F.linear(rows, trained[2 * index], trained[2 * index + 1])
        rows = F.dropout(F.relu(rows) if layer.relu else rows, dropout)
    return rows


def _batches(
    images: Sequence[LabelledImage],
    names: Sequence[str],
    levels: Sequence[int],
    fitting: Fitting,
    rng: np.random.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield mini-batches for ever: rows (N, D) and classes (N,), the background being the last."""
    objects = max(1, round(fitting.batch * fitting.positive_share))
    while True:
        order, found = rng.permutation(len(images)), np.zeros(2, dtype=np.int64)
        for start in range(0, len(order), TOGETHER):
            some = [images[index] for index in order[start : start + TOGETHER]]
            parts = [_regions(image, names, levels, fitting, rng) for image in some]
            rows, targets = torch.cat([part for part, _ in parts]), torch.cat([part for _, part in parts])
            held, rest = (np.flatnonzero(mask.numpy()) for mask in (targets < len(names), targets == len(names)))
            found += (len(held), len(rest))
            if not len(held) or not len(rest):
                continue
            for _ in range(max(1, len(rows) // fitting.batch)):
                chosen = torch.from_numpy(
                    np.concatenate([rng.choice(held, objects), rng.choice(rest, fitting.batch - objects)])
                )
                yield rows[chosen], targets[chosen]
        low, high = fitting.negative_iou
        for count, expected in zip(
            found.tolist(), ("on objects", f"that overlap objects by {low} to {high}"), strict=True
        ):
            advice = "Label objects, or propose more regions"
            check_that(count > 0, "fine_tune", "images", f"with regions {expected}", "none", advice=advice)


def _regions(
    image: LabelledImage, names: Sequence[str], levels: Sequence[int], fitting: Fitting, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Pool a mini-batch's worth of one image: of its objects and regions on them, and of the background near them."""
    feature_map, regions = image.load()
    known = image.labels
    ground_truth, labels = known.boxes[known.counted], known.indices(names)[known.counted]
    regions = np.concatenate([ground_truth, regions])
    overlap = iou(regions, known.boxes)
    best = overlap[:, known.counted].max(axis=1, initial=0.0)
    anything = overlap.max(axis=1, initial=0.0)
    low, high = fitting.negative_iou
    held = np.flatnonzero(best >= fitting.positive_iou)
    rest = np.flatnonzero((anything >= low) & (anything < high))
    objects = max(1, round(fitting.batch * fitting.positive_share))
    held = rng.permutation(held)[:objects]
    rest = rng.permutation(rest)[: fitting.batch - objects]
    nearest = labels[overlap[held][:, known.counted].argmax(axis=1)] if len(held) else held
    targets = torch.from_numpy(np.concatenate([nearest, np.full(len(rest), len(names))]))
    return feature_map.pool(regions[np.concatenate([held, rest])], levels).cpu(), targets
