"""What every proposal method promises, and every wrapper around one."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from skimage import data

from sppnet.backbones import EfficientNetLite, EfficientNetLite0
from sppnet.features.encoder import Encoder
from sppnet.features.scene import Scene
from sppnet.proposals.files import FileProposals
from sppnet.proposals.grid import GridProposals
from sppnet.proposals.kinds import METHODS, proposals_from_description
from sppnet.proposals.learnt import LearntProposals
from sppnet.proposals.opencv import EdgeBoxes, SelectiveSearch
from sppnet.proposals.protocol import Proposals
from sppnet.recipes._remembered import Remembered

pytest.importorskip("cv2")

SHAPES = ((60.0, 60.0), (30.0, 70.0), (200.0, 90.0))
NAME = "coins.png"
Make = Callable[[Encoder, Path], Proposals]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder("stride16", 96, backbone=EfficientNetLite0())


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.ascontiguousarray(np.stack([data.coins()[:110, :150]] * 3, axis=2))


def _grid(encoder: Encoder, folder: Path) -> GridProposals:
    return GridProposals(SHAPES, 110)


def _learnt(encoder: Encoder, folder: Path) -> LearntProposals:
    weights = torch.randn(1, encoder.length((2, 1)), generator=torch.Generator().manual_seed(0))
    return LearntProposals(encoder.fingerprint, GridProposals(SHAPES, 110), weights, torch.zeros(1), (2, 1), 40)


def _selective(encoder: Encoder, folder: Path) -> SelectiveSearch:
    return SelectiveSearch(limit=30)


def _edges(encoder: Encoder, folder: Path) -> EdgeBoxes:
    return EdgeBoxes(limit=30)


def _file(encoder: Encoder, folder: Path) -> FileProposals:
    rows = [f"{NAME},{left},{left},{left + 60},{left + 200}" for left in range(0, 100, 7)]
    (folder / "regions.csv").write_text("image,left,top,right,bottom\n" + "\n".join(rows))
    return FileProposals(folder / "regions.csv")


def _remembered(encoder: Encoder, folder: Path) -> Remembered:
    return Remembered(_learnt(encoder, folder))


METHODS_MADE = [_grid, _learnt, _selective, _edges, _file]
every_method = pytest.mark.parametrize("make", METHODS_MADE)
every_one = pytest.mark.parametrize("make", [*METHODS_MADE, _remembered])


def test_no_method_is_left_out(encoder: Encoder, tmp_path: Path) -> None:
    assert {make(encoder, tmp_path).describe()["method"] for make in METHODS_MADE} == set(METHODS)


@every_one
def test_regions_lie_inside_the_image_and_come_in_one_order(
    make: Make, encoder: Encoder, image: np.ndarray, tmp_path: Path
) -> None:
    first, again = (make(encoder, tmp_path).regions(Scene(image, encoder, name=NAME)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first.dtype, first.shape[1]) == (np.float64, 4)
    assert len(first) > 5
    assert (first[:, :2] >= 0).all()
    assert (first[:, 2:] <= [150, 110]).all()
    assert (first[:, :2] < first[:, 2:]).all()


@every_method
def test_a_method_is_made_again_from_what_a_file_tells(
    make: Make, encoder: Encoder, image: np.ndarray, tmp_path: Path
) -> None:
    method, scene = make(encoder, tmp_path), Scene(image, encoder, name=NAME)
    again = proposals_from_description(json.loads(json.dumps(method.describe())), method.tensors())
    assert type(again) is type(method)
    assert again.describe() == method.describe()
    np.testing.assert_array_equal(again.regions(scene), method.regions(scene))


@every_one
def test_the_network_runs_at_most_once_an_image(
    make: Make, encoder: Encoder, image: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    original = EfficientNetLite.activations

    def counting(self: EfficientNetLite, pixels: torch.Tensor, names: list[str]) -> dict[str, torch.Tensor]:
        runs.append(names)
        return original(self, pixels, names)

    monkeypatch.setattr(EfficientNetLite, "activations", counting)
    scene, method = Scene(image, encoder, name=NAME), make(encoder, tmp_path)
    method.regions(scene)
    asked = len(runs)
    assert asked <= 1
    scene.maps.unique(method.regions(scene))
    assert len(runs) == 1


def _nothing(make: Make, encoder: Encoder, folder: Path) -> Proposals:
    """Return the method where it has nothing to propose in an image of one colour."""
    empty = GridProposals((), 110)
    if make is _grid:
        return empty
    if make in (_learnt, _remembered):
        weights = torch.zeros(1, encoder.length((2, 1)))
        learnt = LearntProposals(encoder.fingerprint, empty, weights, torch.zeros(1), (2, 1))
        return Remembered(learnt) if make is _remembered else learnt
    if make is _selective:
        return SelectiveSearch(limit=0)
    if make is _edges:
        return EdgeBoxes()
    cells = np.empty((1, 2), dtype=object)
    cells[0, 0], cells[0, 1] = np.zeros((0, 4)), np.array([[1.0, 1, 9, 9]])
    names = np.empty((1, 2), dtype=object)
    names[0, 0], names[0, 1] = "coins", "other"
    scipy.io.savemat(folder / "regions.mat", {"boxes": cells, "images": names})
    return FileProposals(folder / "regions.mat")


@every_one
def test_an_image_may_have_no_region(make: Make, encoder: Encoder, tmp_path: Path) -> None:
    plain = np.full((110, 150, 3), 90, np.uint8)
    scene = Scene(plain, encoder, name=NAME)
    regions = _nothing(make, encoder, tmp_path).regions(scene)
    assert (regions.dtype, regions.shape) == (np.float64, (0, 4))
    assert scene.maps.unique(regions).shape == (0, 4)
