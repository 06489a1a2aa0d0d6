"""Views on maps against the same views cropped: equal where no border reaches; counts, averages, costs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sppnet.backbones import PublishedNet
from sppnet.backbones.normalisation import LocalResponseNorm
from sppnet.classification.views import (
    CROP,
    MANY_CROPS,
    MANY_VIEWS,
    MIRRORED,
    PLANS,
    TEN_CROPS,
    TEN_VIEWS,
    WHOLE,
    Measured,
    ViewPlan,
    best_within,
    measure_plan,
    predict_views,
    view_scores,
)
from sppnet.data import FolderData
from sppnet.errors import ArgumentError
from sppnet.evaluation.classes import top_k_error
from sppnet.geometry import Layer, view_regions, windows_from_regions


def _net(name: str = "zf5", **options: object) -> PublishedNet:
    torch.manual_seed(3)
    return PublishedNet(name, **{"width": 0.05, "classes": 6} | options).eval()  # type: ignore[arg-type]


def _image(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)


# Where the views are


def test_views_of_a_image() -> None:
    assert view_regions((256, 300), 1).tolist() == [[38, 16, 262, 240]]
    nine = view_regions((256, 300), 9)
    assert len(nine) == 9
    assert set(nine[:, 0]) == {0, 38, 76}
    assert set(nine[:, 1]) == {0, 16, 32}
    assert nine[:5].tolist() == view_regions((256, 300), 5).tolist()
    assert (nine[:, 2:] - nine[:, :2] == 224).all()


@pytest.mark.parametrize(("size", "count"), [((224, 300), 3), ((224, 224), 1), ((300, 224), 3), ((224, 225), 2)])
def test_views_that_coincide_count_once(size: tuple[int, int], count: int) -> None:
    assert len(view_regions(size, 9)) == count


def test_bad_views_are_refused() -> None:
    with pytest.raises(ArgumentError, match="view_regions: places must be 1, 5 or 9, got 4"):
        view_regions((256, 256), 4)
    with pytest.raises(ArgumentError, match=r"view_regions: size must be at least 224 pixels a side, got \(200, 300\)"):
        view_regions((200, 300), 5)


@pytest.mark.parametrize(
    ("plan", "count"),
    [(CROP, 1), (WHOLE, 1), (MIRRORED, 2), (TEN_CROPS, 10), (TEN_VIEWS, 10), (MANY_VIEWS, 98), (MANY_CROPS, 96)],
)
def test_the_paper_counts_as_many_views(plan: ViewPlan, count: int) -> None:
    scores = view_scores(_net(), _image(90, 120), plan)
    assert scores.shape == (count, 6)
    torch.testing.assert_close(scores.sum(1), torch.ones(count))


# Maps against crops


def _reach(net: PublishedNet) -> int:
    """Return how many pixels off its centre a cell sees, normalisation within channels counted as a layer."""
    kernels, stride, reach = [], 1, 0.0
    for module in net.trunk:
        if isinstance(module, LocalResponseNorm):
            kernels.append(Layer(module.size if module.neighbourhood == "within" else 1, 1, 0))
        else:
            kernels.append(Layer(int(_side(module.kernel_size)), int(_side(module.stride)), 0))
    for layer in kernels:
        reach += (layer.kernel - 1) / 2 * stride
        stride *= layer.stride
    return int(np.ceil(reach))


def _side(value: int | tuple[int, int]) -> int:
    return value if isinstance(value, int) else value[0]


@pytest.mark.parametrize("name", ["zf5", "convnet5", "overfeat5", "overfeat7"])
@pytest.mark.parametrize("padding", ["training", "deployment"])
@torch.inference_mode()
def test_a_view_of_the_map_is_the_map_of_the_view_where_no_border_reaches(name: str, padding: str) -> None:
    net = _net(name, padding=padding)
    stride, offset = net.grid().down
    side, left, top = 420, 3 * int(stride), 5 * int(stride)  # a view that begins on a cell
    image = torch.rand(1, 3, side + 100, side + 70, generator=torch.Generator().manual_seed(0)) * 255 - 128
    whole = net.features(image)[0]
    cropped = net.features(image[:, :, top : top + side, left : left + side])[0]
    reach = _reach(net)
    first = int(np.ceil((reach - offset) / stride))
    last = int(np.floor((side - 1 - reach - offset) / stride))
    assert last - first >= 7
    interior = cropped[:, first : last + 1, first : last + 1]
    assert interior.std() > 0
    theirs = whole[:, first + 5 : last + 6, first + 3 : last + 4]
    torch.testing.assert_close(theirs, interior, rtol=1e-5, atol=1e-5)
    # So what is pooled from a window there, mapped from its region, is the same too.
    region = np.array([[reach, reach, side - reach, side - reach]], dtype=np.float64)
    on_crop = windows_from_regions(region, net.grid(), (cropped.shape[1], cropped.shape[2]))
    on_whole = windows_from_regions(
        region + np.array([left, top, left, top]), net.grid(), (whole.shape[1], whole.shape[2])
    )
    assert (on_whole - on_crop).tolist() == [[3, 5, 3, 5]]
    pooled = [
        net.pool_windows(values, torch.from_numpy(windows))
        for values, windows in ((whole, on_whole), (cropped, on_crop))
    ]
    torch.testing.assert_close(*pooled, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_the_only_view_of_a_image_of_224_is_the_image() -> None:
    net, image = _net(), _image(224, 224)
    plan = replace(MANY_VIEWS, scales=(224,), whole=224)
    scores = view_scores(net, image, plan)
    assert scores.shape == (4, 6)  # itself and its mirror image, each as a view and as a whole
    assert torch.equal(scores[0], scores[1])
    crops = view_scores(net, image, ViewPlan("one", scales=(224,), mirrored=True, cropped=True))
    torch.testing.assert_close(scores[[0, 2]], crops)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_scores_are_those_of_the_network_on_each_view(plan: ViewPlan) -> None:
    """The specification: views in the order of the plan, in so many words and without sharing anything."""
    net, image = _net(), _image(130, 100)
    torch.testing.assert_close(view_scores(net, image, plan), _reference(net, image, plan), rtol=1e-4, atol=1e-6)


@torch.inference_mode()
def _reference(net: PublishedNet, image: NDArray[np.uint8], plan: ViewPlan) -> Tensor:
    from sppnet.geometry import shorter_side_size
    from sppnet.images import resize

    rows = []
    for side in sorted({*plan.scales, *([plan.whole] if plan.whole else [])}):
        scaled = resize(image, shorter_side_size((130, 100), side))
        for flip in (False, True)[: 1 + plan.mirrored]:
            pixels = torch.tensor(scaled[:, ::-1].copy() if flip else scaled).permute(2, 0, 1)[None].float() - 128
            if side in plan.scales:
                for region in view_regions(scaled.shape[:2], plan.places):
                    left, top, right, bottom = map(int, region)
                    if plan.cropped:
                        rows.append(net(pixels[:, :, top:bottom, left:right]))
                        continue
                    features = net.features(pixels)
                    (cells,) = windows_from_regions(region[None], net.grid(), net.map_size(scaled.shape[:2]))
                    rows.append(net.head(net.pool(features[:, :, cells[1] : cells[3], cells[0] : cells[2]])))
            if side == plan.whole:
                rows.append(net(pixels))
    return torch.cat(rows).softmax(1)


def test_a_mirrored_image_has_the_same_score() -> None:
    net, image = _net(), _image(260, 331)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    torch.testing.assert_close(predict_views([net], image, TEN_VIEWS), predict_views([net], mirrored, TEN_VIEWS))


def test_networks_are_averaged() -> None:
    first, second, image = _net(), _net("overfeat5"), _image(100, 100)
    both = predict_views([first, second], image, CROP)
    torch.testing.assert_close(both, (predict_views([first], image, CROP) + predict_views([second], image, CROP)) / 2)
    with pytest.raises(ArgumentError, match="predict_views: networks must be one at least, got 0"):
        predict_views([], image)


# Choosing


def test_a_plan_is_measured(tmp_path: Path) -> None:
    from PIL import Image

    paths = []
    for index in range(3):
        Image.fromarray(_image(60 + index, 80)).save(path := tmp_path / f"{index}.png")
        paths.append(path)
    data = FolderData(tmp_path, tuple("abcdef"), tuple(paths), np.array([0, 1, 2]), ())
    net = _net()
    tested = measure_plan([net], data, CROP)
    scores = torch.stack([predict_views([net], path, CROP) for path in paths]).numpy()
    assert tested.top_1 == top_k_error(scores, data.labels, k=1)
    assert tested.top_5 == top_k_error(scores, data.labels, k=5)
    assert tested.views == 1
    assert tested.seconds > 0


def test_the_best_plan_within_a_budget() -> None:
    cheap, dear, bad = (Measured(CROP, 1, error, error, time) for error, time in ((0.3, 0.1), (0.2, 1.0), (0.4, 0.5)))
    assert best_within([cheap, dear, bad], 2.0) is dear
    assert best_within([cheap, dear, bad], 0.6) is cheap
    assert best_within([cheap, dear, bad], 0.05) is None


# Refusals


def test_a_network_without_a_pyramid_takes_crops_only() -> None:
    plain, image = _net(levels=None), _image(100, 130)
    assert view_scores(plain, image, TEN_CROPS).shape == (10, 6)
    with pytest.raises(
        ArgumentError, match=r"levels must be a pyramid for windows of any size, got None. Crop the view"
    ):
        view_scores(plain, image, TEN_VIEWS)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (ViewPlan("none", scales=()), "plan must be of one view at least"),
        (ViewPlan("small", scales=(200,)), r"size must be at least 224 pixels a side, got \(200, 200\)"),
        (replace(CROP, whole=256), "plan.whole must be None with crops, got 256"),
    ],
)
def test_bad_plans_are_refused(plan: ViewPlan, expected: str) -> None:
    with pytest.raises(ArgumentError, match=expected):
        view_scores(_net(), _image(100, 100), plan)
