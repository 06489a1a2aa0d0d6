"""The grid's regions ranked by how likely they hold an object of any class, by what is learnt from labelled boxes.

Scored is the detector's own feature map, pooled by a pyramid of few bins: the network runs once for both, and a region
costs a dot product. The paper takes 2,000 regions of selective search, which does not learn (Sec. 4.1).
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
from sppnet.geometry import Boxes, iou
from sppnet.images import Source
from sppnet.learning.ridge import ridge
from sppnet.progress import Progress, silent
from sppnet.proposals.grid import GridProposals

METHOD: Final = "learnt"
TENSORS: Final = ("objectness_weights", "objectness_bias")
LEVELS: Final = (2, 1)  # (1,) takes 0.6 of the time, and reaches as much with 2,000 regions, less with 300
LIMIT: Final = 2000  # as many as the paper's selective search gives an image
NEAR_IOU: Final = 0.1  # regions that overlap an object by this are drawn on purpose
FLOOR: Final = 0.3  # an IoU below it is as good as none: such a region is a negative
HELD: Final = 0.5  # regions that overlap an object by this are drawn apart from those that do so less
DRAWN: Final = (200, 100, 100)  # regions an image: that hold an object, that touch one, of the background
PENALTY: Final = 0.1  # times the squared mean length of the features


@dataclass(frozen=True)
class LearntProposals:
    """The best regions of a grid, by a linear score of a small pyramid over the detector's feature map.

    Args:
        encoder: the fingerprint of the encoder on whose maps the score was learnt.
        grid: the regions to choose among.
        weights: (1, D) float32. bias: (1,) float32. The score estimates a region's IoU with its nearest object.
        levels: bins per side of each level of the pyramid.
        limit: at most this many regions.
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
        """Return the regions (R, 4) of an image by falling score; of equal scores in the grid's order.

        Of regions that fall on one window, one stands for all. Near-duplicates stay: dropping them wins regions that
        overlap an object by half and loses those that lie well.

        Raises:
            ArgumentError: the scene's maps are of another encoder than the score was learnt on.
        """
        expected, actual = "learnt on the detector's encoder", "some of other layers, scales or weights"
        same, advice = scene.encoder.fingerprint == self.encoder, 'Give proposals="learnt" to learn them anew'
        check_that(same, "Detector", "proposals", expected, actual, advice=advice)
        maps = scene.maps.pooled_maps
        regions = maps.unique(self.grid.of_size(maps.size))
        scores = maps.score(regions, self.levels, self.weights, self.bias)[:, 0].numpy()
        best: Boxes = regions[np.argsort(-scores, kind="stable")[: self.limit]]
        return best

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
        boxes: (N, 4). ignored: (N,) bool, objects that teach nothing.
    """

    image: Source
    boxes: Boxes
    ignored: NDArray[np.bool_]


def learn_proposals(
    images: Sequence[BoxedImage],
    encoder: MapsEncoder,
    grid: GridProposals,
    *,
    levels: Sequence[int] = LEVELS,
    seed: int = 0,
    progress: Progress = silent,
) -> LearntProposals:
    """Learn from labelled boxes of any class which regions of a grid hold an object: ridge regression of the IoU.

    Args:
        images: each is encoded once and never held.
        encoder: of the detector; the score stands on what it pools, whatever layers stand on that.
        grid: the regions that will be chosen among.
        levels: bins per side of each level of the pyramid; few, or it costs as much as the classes' scores.
        seed: of the choice among regions; the same seed and images give the same bits.
        progress: wraps the pass over the images.
    Returns:
        The proposals. Objects that are ``ignored`` teach nothing, nor do the regions on them.
    Raises:
        ArgumentError: no object in all images.
    """
    objects = sum(int((~image.ignored).sum()) for image in images)
    check_that(objects > 0, "learn_proposals", "images", "with an object", "none", advice="Label an object first")
    parts = []
    for index, image in enumerate(progress("Learning what holds an object", images)):
        maps, rng = encoder(image.image).pooled_maps, np.random.default_rng((seed, index))
        parts.append(_examples(maps, grid, image, levels, rng))
    features, overlap = (np.concatenate(part) for part in zip(*parts, strict=True))
    squared = float(np.einsum("nd,nd->n", features, features).mean())
    weights, bias = ridge(features, overlap[:, None], penalty=PENALTY * max(squared, 1e-12))
    learnt = torch.from_numpy(weights), torch.from_numpy(bias)
    return LearntProposals(encoder.fingerprint, grid, *learnt, tuple(levels))


def _examples(
    maps: Maps, grid: GridProposals, image: BoxedImage, levels: Sequence[int], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Pool the objects and a sample of the regions (N, D), and tell how far each holds an object (N,)."""
    regions = maps.unique(grid.of_size(maps.size))
    regions = np.concatenate([image.boxes[~image.ignored], regions])
    best = iou(regions, image.boxes[~image.ignored]).max(axis=1, initial=0.0)
    unsure = iou(regions, image.boxes[image.ignored]).max(axis=1, initial=0.0) >= FLOOR
    groups = (best >= HELD, (best >= NEAR_IOU) & (best < HELD) & ~unsure, (best < FLOOR) & ~unsure)
    chosen = np.unique(np.concatenate(list(_drawn(groups, rng))))
    return maps.pool(regions[chosen], levels).numpy(), np.maximum(best[chosen], FLOOR)


def _drawn(groups: Sequence[NDArray[np.bool_]], rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    for among, count in zip(groups, DRAWN, strict=True):
        yield rng.permutation(np.flatnonzero(among))[:count]
