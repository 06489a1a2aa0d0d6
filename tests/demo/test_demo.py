"""The demo does what its page says."""

import re
from pathlib import Path

import numpy as np
import pytest

from sppnet.demo import demo


@pytest.mark.slow
def test_the_page_is_whole_and_asks_for_nothing_else(tmp_path: Path) -> None:
    demo.write_page(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<section>") == 3
    assert page.count("<figure>") == page.count("data:image/jpeg;base64,") == 7
    assert "://" not in page
    assert "Egyptian cat" in page
    assert re.search(r"2,000 regions: \d+ times faster", page)


def test_the_detector_finds_coins_that_it_has_not_seen() -> None:
    learnt = demo.learn_coins(demo._coins())
    assert learnt.report.recall[0] >= 10 / 12
    assert learnt.report.precision[0] >= 0.8


def test_the_embedded_boxes_hold_the_coins() -> None:
    photograph = demo._coins()[:, :, 0].astype(float)
    for left, top, right, bottom in demo.COINS:
        inside = photograph[top:bottom, left:right].mean()
        height, width = bottom - top, right - left
        around = photograph[max(0, top - 8) : bottom + 8, max(0, left - 8) : right + 8]
        ring = (around.sum() - inside * height * width) / (around.size - height * width)
        assert inside > ring + 15


def test_cropped_features_have_the_vectors_of_whole_images() -> None:
    from sppnet.features.encoder import Encoder

    photograph = np.random.default_rng(0).integers(0, 255, (224, 224, 3)).astype(np.uint8)
    encoder = Encoder("head", 224)
    whole = np.array([[0.0, 0.0, 224.0, 224.0]] * 10)
    features = demo._crop_features(encoder.backbone, photograph, whole)
    expected = encoder.compute(photograph).values.float().amax((1, 2))
    np.testing.assert_allclose(features[3].numpy(), expected.numpy(), atol=4e-3)
