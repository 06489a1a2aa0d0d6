"""The grid's regions ranked by how likely they hold an object of each class, by what is learnt from labelled boxes.

Scored are the detector's own maps, averaged over a pyramid of few bins: the map is weighed once for each bin, and a
region then costs four sums a bin, whatever its size. The paper takes 2,000 regions of selective search, which does not
learn (Sec. 4.1).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.errors import CorruptFileError, check_that
from sppnet.features.encoder import MapsEncoder
from sppnet.features.maps import Maps
from sppnet.features.scene import Scene
from sppnet.geometry import Boxes, Size, best_iou, images_in
from sppnet.images import Source
from sppnet.learning.compression import Compression
from sppnet.learning.ridge import ridge
from sppnet.progress import Progress, silent
from sppnet.proposals.grid import GridProposals

METHOD: Final = "learnt"
TENSORS: Final = ("objectness_weights", "objectness_bias")
LEVELS: Final = (2, 1)
LIMIT: Final = 3000  # half as many again as the paper's selective search gives an image
NEAR_IOU: Final = 0.1  # regions that overlap an object by this are drawn on purpose
FLOOR: Final = 0.3  # an IoU below it is as good as none: such a region is a negative
HELD: Final = 0.5  # regions that overlap an object by this are drawn apart from those that do so less
MOST_IMAGES: Final = 40  # are looked at: more change little
MOST_PAIRS: Final = 20_000_000  # regions times objects that are compared: no image of a megapixel has so many
DRAWN: Final = (80, 50, 70)  # regions an image: that hold an object, that touch one, of the background
PENALTY: Final = 0.1  # times the squared mean length of the features


@dataclass(frozen=True)
class LearntProposals:
    """The best regions of a grid, by a linear score of a small pyramid over the detector's feature map.

    Args:
        encoder: the fingerprint of the encoder on whose maps the score was learnt.
        grid: the regions to choose among.
        weights: (K, D) float32. bias: (K,) float32. A score estimates the IoU with the nearest object of a class.
        levels: bins per side of each level of the pyramid.
        limit: at most this many regions of an image, and of one that is large when scaled as many more.
    """

    encoder: str
    grid: GridProposals
    weights: Tensor
    bias: Tensor
    levels: tuple[int, ...] = LEVELS
    limit: int = LIMIT

    def __post_init__(self) -> None:
        """Raise ArgumentError for a limit below 1."""
        advice = "Give how many regions to keep"
        check_that(self.limit >= 1, "LearntProposals", "limit", "at least 1", self.limit, advice=advice)

    def regions(self, scene: Scene) -> Boxes:
        """Return the regions (R, 4) of an image that rank highest in some class, in the grid's order.

        Of regions that fall on one window, one stands for all. Near-duplicates stay: dropping them wins regions that
        overlap an object by half and loses those that lie well.

        Raises:
            ArgumentError: the scene's maps are of another encoder than the score was learnt on.
        """
        expected, actual = "learnt on the detector's encoder", "some of other layers, scales or weights"
        same, advice = scene.encoder.fingerprint == self.encoder, 'Give proposals="learnt" to learn them anew'
        check_that(same, "Detector", "proposals", expected, actual, advice=advice)
        maps = scene.maps.pooled_maps
        limit = int(self.limit * images_in(maps.size, self.grid.short_side))
        best, ranks = np.zeros((0, 4)), np.zeros(0, dtype=np.int64)
        for chunk in self.grid.chunks(maps.size):
            regions = maps.unique(np.concatenate([best, chunk]))
            among = self._ranks(maps, regions) if len(regions) > limit else np.zeros(len(regions), dtype=np.int64)
            best, ranks = regions[among < limit], among[among < limit]
        return best[np.sort(np.argsort(ranks, kind="stable")[:limit])]

    def _ranks(self, maps: Maps, regions: Boxes) -> NDArray[np.int64]:
        """Return each region's place (R,) in the class in which it ranks highest."""
        scores = (maps.score_averages(regions, self.levels, self.weights) + self.bias).numpy()
        places = np.argsort(np.argsort(-scores, axis=0, kind="stable"), axis=0, kind="stable")
        return np.asarray(places.min(axis=1), dtype=np.int64)

    def describe(self) -> dict[str, Any]:
        """Return all but ``tensors``."""
        own = {"levels": list(self.levels), "limit": self.limit, "encoder": self.encoder}
        return {"method": METHOD, "grid": self.grid.describe(), **own}

    def tensors(self) -> dict[str, Tensor]:
        """Return what a model file keeps of it beside ``describe``."""
        return dict(zip(TENSORS, (self.weights, self.bias), strict=True))

    @classmethod
    def from_description(
        cls, description: Mapping[str, Any], tensors: Mapping[str, Tensor], grid: GridProposals
    ) -> "LearntProposals":
        """Make the proposals that ``describe`` and ``tensors`` told of.

        Raises:
            CorruptFileError: the weights are missing.
        """
        if not set(TENSORS) <= set(tensors):
            raise CorruptFileError(f"the model's proposals lack {' and '.join(TENSORS)}. Train it again.")
        weights, bias = (tensors[name] for name in TENSORS)
        return cls(description["encoder"], grid, weights, bias, tuple(description["levels"]), int(description["limit"]))


@dataclass(frozen=True)
class BoxedImage:
    """An image and its ground truth.

    Args:
        image: a path, a file's bytes, or (H, W, 3) uint8 RGB.
        boxes: (N, 4). labels: (N,) int64 class of each. ignored: (N,) bool, objects that teach nothing.
        complete: whether every object is boxed; otherwise only what touches a box is known not to hold one.
    """

    image: Source
    boxes: Boxes
    labels: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    complete: bool = True


def learn_proposals(
    images: Sequence[BoxedImage],
    encoder: MapsEncoder,
    grid: GridProposals,
    classes: int,
    *,
    levels: Sequence[int] = LEVELS,
    seed: int = 0,
    progress: Progress = silent,
) -> LearntProposals:
    """Learn from labelled boxes which regions of a grid hold an object: ridge regression of the IoU, class by class.

    Args:
        images: some of them, evenly chosen, are encoded once and never held.
        encoder: of the detector; the score stands on what it pools, whatever layers stand on that.
        grid: the regions that will be chosen among. classes: how many.
        levels: bins per side of each level of the pyramid.
        seed: of the choice among regions; the same seed and images give the same bits.
        progress: wraps the pass over the images.
    Returns:
        The proposals. Objects that are ``ignored`` teach nothing, nor do the regions on them.
    Raises:
        ArgumentError: no object in all images.
    """
    objects = sum(int((~image.ignored).sum()) for image in images)
    check_that(objects > 0, "learn_proposals", "images", "with an object", "none", advice="Label an object first")
    telling = [image for image in images if image.complete or len(image.boxes)]
    places = np.linspace(0, len(telling) - 1, min(MOST_IMAGES, len(telling))).round().astype(int)
    parts, layout = [], []
    for place in progress("Learning what holds an object", places.tolist()):
        maps, rng = encoder(telling[place].image).pooled_maps, np.random.default_rng((seed, place))
        parts.append(_examples(maps, grid, telling[place], classes, levels, rng))
        layout = maps.layout(levels)
    features, overlap = (np.concatenate(part) for part in zip(*parts, strict=True))
    axes = Compression.fit(features, layout)
    short = axes.shorten(features).astype(np.float32)
    squared = float(np.einsum("nd,nd->n", short, short).mean())
    weights, bias = ridge(short, overlap, penalty=PENALTY * max(squared, 1e-12))
    learnt = axes.lengthen(torch.from_numpy(weights)), torch.from_numpy(bias)
    return LearntProposals(encoder.fingerprint, grid, *learnt, tuple(levels))


def _examples(
    maps: Maps, grid: GridProposals, image: BoxedImage, classes: int, levels: Sequence[int], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Average the objects and a sample of the regions (N, D), and tell how far each holds an object (N, K)."""
    regions = maps.unique(_looked_at(grid, maps.size, len(image.boxes), rng))
    regions = np.concatenate([image.boxes[~image.ignored], regions])
    boxes, owners = image.boxes[~image.ignored], image.labels[~image.ignored]
    held = np.stack([best_iou(regions, boxes[owners == label]) for label in range(classes)], axis=1)
    best = held.max(axis=1, initial=0.0)
    unsure = best_iou(regions, image.boxes[image.ignored]) >= FLOOR
    off = (best < FLOOR) & ~unsure & (image.complete | (best > 0))
    groups = (best >= HELD, (best >= NEAR_IOU) & (best < HELD) & ~unsure, off)
    chosen = np.unique(np.concatenate(list(_drawn(groups, rng))))
    return maps.averages(regions[chosen], levels).numpy(), np.maximum(held[chosen], FLOOR)


def _looked_at(grid: GridProposals, size: Size, objects: int, rng: np.random.Generator) -> Boxes:
    """Return the grid of an image; of a large image's with many objects, a part."""
    share = MOST_PAIRS / max(grid.count(size) * objects, 1)
    if share >= 1:
        return grid.of_size(size)
    return np.concatenate([chunk[rng.random(len(chunk)) < share] for chunk in grid.chunks(size)])


def _drawn(groups: Sequence[NDArray[np.bool_]], rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    for among, count in zip(groups, DRAWN, strict=True):
        yield rng.permutation(np.flatnonzero(among))[:count]
