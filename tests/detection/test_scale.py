"""Which size images are scaled to, by their own sizes and by those of their objects."""

from pathlib import Path

import numpy as np
import pytest

from sppnet import Detector
from sppnet.data import DetectionData
from sppnet.detection.cost import A_MEGAPIXEL
from sppnet.detection.scale import fitting_short_side, scales_for, tiled
from sppnet.errors import ArgumentError
from sppnet.images import MAX_SCALED_PIXELS
from sppnet.proposals.grid import GridProposals
from sppnet.proposals.learnt import LearntProposals


def _box(side: float) -> np.ndarray:
    return np.array([[10.0, 20.0, 10 + side, 20 + side]])


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((480, 640), 60, 480),  # large enough as they are
        ((480, 640), 40, 672),  # 56 pixels
        ((480, 640), 5, 720),  # at most a half more
        ((2000, 3000), 400, 640),
        ((2000, 3000), 120, 933),
        ((2000, 3000), 60, 960),
        ((2000, 3000), 30, 1600),  # 24 pixels
        ((2000, 3000), 10, 2000),  # as large as they are
    ],
)
def test_small_objects_have_images_scaled_up_or_down_less(size: tuple[int, int], side: float, expected: int) -> None:
    assert fitting_short_side([size], [_box(side)], [np.zeros(1, dtype=np.int64)]) == expected


def test_the_class_of_the_smallest_objects_decides_by_its_median() -> None:
    sizes, large, small, tiny = [(480, 640)] * 5, _box(200), _box(40), _box(2)
    labels = [np.array([label]) for label in (0, 1, 1, 1, 0)]
    assert fitting_short_side(sizes, [large, small, small, tiny, large], labels) == 672


def test_no_image_of_the_set_is_scaled_to_more_than_can_be() -> None:
    sizes = [(4000, 6000), (4000, 16000)]
    side = fitting_short_side(sizes, [_box(12)] * 2, [np.zeros(1)] * 2)
    assert side == 2000
    assert 4 * side * side <= MAX_SCALED_PIXELS


def test_without_tiles_every_image_of_the_set_goes_through_the_network_at_once() -> None:
    sizes, boxes, labels = [(4000, 6000), (1000, 8000)], [_box(12)] * 2, [np.zeros(1)] * 2
    side = fitting_short_side(sizes, boxes, labels, tiles=False)
    assert (side, tiled(sizes, (side,))) == (559, 0)  # 559 x 4,472 pixels
    assert tiled(sizes, (side + 1,)) == 1
    assert tiled(sizes, (300, 1300)) == 2
    for strip in ((601, 4244), (602, 4251), (606, 4265)):  # whose other side is rounded up
        assert tiled([strip], (fitting_short_side([strip], tiles=False),)) == 0
    assert fitting_short_side([(700, 9000)], tiles=False) == 440  # 640, the usual, with tiles
    assert fitting_short_side([(1, 3_000_000)], tiles=False) == 1
    alike = [(480, 640)], [_box(100)], [np.zeros(1)]
    assert fitting_short_side(*alike, tiles=False) == fitting_short_side(*alike)


def test_without_objects_the_median_decides_within_limits() -> None:
    assert fitting_short_side([(100, 90), (300, 400), (2000, 3000)]) == 300
    assert fitting_short_side([(300, 400)], [np.zeros((0, 4))], [np.zeros(0, dtype=np.int64)]) == 300


def test_a_detector_scales_so_and_a_users_choice_stands() -> None:
    image, target = np.zeros((1500, 1600, 3), dtype=np.uint8), {"boxes": _box(30), "labels": np.array([0])}
    data = DetectionData.from_arrays([image], [target], classes=["mark"])
    assert scales_for(data) == (1200,)
    assert scales_for(data, 700) == (700,)
    assert scales_for(data, (300, 600)) == (300, 600)
    assert Detector().prepare(data)[0].scales == (1200,)


def test_a_side_that_is_none_is_refused_and_a_searchs_number_taken(tmp_path: Path) -> None:
    image, target = np.zeros((96, 128, 3), dtype=np.uint8), {"boxes": _box(30), "labels": np.array([0])}
    data = DetectionData.from_arrays([image], [target], classes=["mark"])
    for side in (0, -5, 96.5, ()):
        with pytest.raises(ArgumentError, match=r"short_side must be a whole number of pixels from 1, or several, got"):
            Detector(short_side=side).fit(data)  # type: ignore[arg-type]
    found = Detector(short_side=np.int64(96)).fit(data)  # type: ignore[arg-type]
    found.save(tmp_path / "model")
    assert Detector.load(tmp_path / "model").short_side == 96


def test_a_huge_grid_is_ranked_from_the_first_image_on(monkeypatch: pytest.MonkeyPatch) -> None:
    image, target = np.zeros((300, 400, 3), dtype=np.uint8), {"boxes": _box(40), "labels": np.array([0])}
    data = DetectionData.from_arrays([image], [target], classes=["mark"])
    assert isinstance(Detector().prepare(data)[1], GridProposals)
    monkeypatch.setattr("sppnet.detection.regions.UNRANKED", 100)
    assert isinstance(Detector().prepare(data)[1], LearntProposals)


def test_the_memory_of_large_images_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    image, target = np.zeros((300, 400, 3), dtype=np.uint8), {"boxes": _box(60), "labels": np.array([0])}
    data = DetectionData.from_arrays([image], [target], classes=["mark"])
    usual = Detector().estimate(data).memory
    monkeypatch.setattr("sppnet.geometry.sizes.LARGE", 300 * 400 / 11)
    assert Detector().estimate(data).memory == usual + 10 * A_MEGAPIXEL
