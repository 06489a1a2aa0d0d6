"""Regions by OpenCV: selective search, as in the paper, and edge boxes."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sppnet.errors import MissingExtraError, message
from sppnet.features.scene import Scene
from sppnet.geometry import Boxes

EDGE_BLUR: Final = 1.0  # pixels
SMALLEST_SIDE: Final = 10  # of an image that edge boxes are looked for in


@dataclass(frozen=True)
class SelectiveSearch:
    """Selective search (Uijlings et al. 2013) by OpenCV, as the paper uses it: fast mode, about 2,000 regions.

    OpenCV returns its boxes in another order each call. They are re-ranked here by size and place, so that
    the same image always gives the same regions in the same order. Needs ``pip install 'sppnet[proposals]'``.

    Args:
        quality: the slower mode with more colour spaces.
        limit: at most this many regions, the largest and the smallest alike: an even choice over the ranking.
    """

    quality: bool = False
    limit: int = 2000

    def regions(self, scene: Scene) -> Boxes:
        """Return the regions by area, the largest first."""
        search = _opencv("SelectiveSearch").ximgproc.segmentation.createSelectiveSearchSegmentation()
        search.setBaseImage(np.ascontiguousarray(scene.pixels[:, :, ::-1]))  # OpenCV's order is blue, green, red
        (search.switchToSelectiveSearchQuality if self.quality else search.switchToSelectiveSearchFast)()
        found = np.unique(np.asarray(search.process(), dtype=np.int64).reshape(-1, 4), axis=0)
        left, top, width, height = found.T
        order = np.lexsort((left, top, -width * height))
        ranked = np.stack([left, top, left + width, top + height], axis=1)[order].astype(np.float64)
        if len(ranked) <= self.limit:
            return ranked
        return ranked[np.linspace(0, len(ranked) - 1, self.limit).round().astype(np.int64)]

    def describe(self) -> dict[str, Any]:
        """Return the mode and the limit."""
        return {"method": "selective-search", "quality": self.quality, "limit": self.limit}

    def tensors(self) -> dict[str, Tensor]:
        """Return nothing: nothing is learnt."""
        return {}


@dataclass(frozen=True)
class EdgeBoxes:
    """Edge boxes (Zitnick and Dollar 2014) by OpenCV, on an edge map that is computed here: a fifth of a second.

    The authors' edges come from a forest that was trained on labelled ones; these are Sobel's, the strongest of the
    three colours, thinned to their crests. Needs ``pip install 'sppnet[proposals]'``.

    Args:
        limit: at most this many regions.
    """

    limit: int = 2000

    def regions(self, scene: Scene) -> Boxes:
        """Return the regions by falling score; of equal scores by place."""
        edges, normals = edge_map(scene.pixels)
        if not edges.any() or min(edges.shape) < SMALLEST_SIDE:
            return np.zeros((0, 4))
        search = _opencv("EdgeBoxes").ximgproc.createEdgeBoxes(maxBoxes=self.limit)
        found, scores = search.getBoundingBoxes(edges, normals)
        if not len(found):
            return np.zeros((0, 4))
        left, top, width, height = np.asarray(found, dtype=np.int64).T
        order = np.lexsort((height, width, left, top, -np.asarray(scores, dtype=np.float64).reshape(-1)))
        return np.stack([left, top, left + width, top + height], axis=1)[order].astype(np.float64)

    def describe(self) -> dict[str, Any]:
        """Return the limit."""
        return {"method": "edge-boxes", "limit": self.limit}

    def tensors(self) -> dict[str, Tensor]:
        """Return nothing: nothing is learnt."""
        return {}


def edge_map(image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute how strong the edge is at each pixel, 0 off its crest, and where it faces.

    Args:
        image: (H, W, 3) uint8.
    Returns:
        (H, W) float32 in 0..1, and (H, W) float32 angles of the normal in 0..pi, from rightwards to downwards.
    """
    opencv = _opencv("EdgeBoxes")
    smooth = opencv.GaussianBlur(image.astype(np.float32) / 255, (0, 0), EDGE_BLUR)
    across, down = (opencv.Sobel(smooth, opencv.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    strongest = np.hypot(across, down).argmax(axis=2)[..., None]
    across, down = (np.take_along_axis(each, strongest, axis=2)[..., 0] for each in (across, down))
    strength, normals = np.hypot(across, down), np.arctan2(down, across) % np.pi
    # Compared with the two neighbours along the normal, which is rounded to one of four directions.
    sector, padded = np.rint(normals / (np.pi / 4)).astype(np.int64) % 4, np.pad(strength, 1)
    rows, columns = np.indices(strength.shape) + 1
    step_down, step_across = np.array([0, 1, 1, 1])[sector], np.array([1, 1, 0, -1])[sector]
    before = padded[rows - step_down, columns - step_across]
    after = padded[rows + step_down, columns + step_across]
    crest = np.where((strength >= before) & (strength > after), strength, 0.0)
    return (crest / max(float(crest.max()), 1e-6)).astype(np.float32), normals.astype(np.float32)


def _opencv(method: str) -> Any:
    try:
        import cv2

        cv2.ximgproc  # noqa: B018 (plain OpenCV lacks it)
    except (ImportError, AttributeError) as error:
        advice = "Install it with: pip install 'sppnet[proposals]'"
        expected = "OpenCV with its contributed modules"
        raise MissingExtraError(message(method, expected, "installed", str(error), advice)) from error
    return cv2
