"""``sppnet train detector --tiles``: what it does to the size that images are scaled to, told before any work."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Run

from sppnet.detection.detector import Detector
from sppnet.errors import DataError


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Return a COCO set of an image of 640 x 4,000 pixels and one of 640 x 900, with a tiny object in each."""
    images, annotations = [], []
    for number, width in enumerate((4000, 900)):
        Image.fromarray(np.zeros((640, width, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": width, "height": 640})
        annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": [9, 9, 14, 14], "area": 196})
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "speck"}]}
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    return tmp_path


@pytest.mark.parametrize(
    ("options", "told", "chosen"),
    [
        ((), "scaled to a shorter side of 960 pixels (1 image in tiles)", None),
        (("--tiles", "off"), "scaled to a shorter side of 632 pixels;", (632,)),
    ],
)
def test_without_tiles_images_are_scaled_down(
    wide: Path, run: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], told: str, chosen: Any
) -> None:
    def stop(self: Detector, *_: Any, **__: Any) -> None:
        assert self.short_side == chosen
        raise DataError("seen enough")

    monkeypatch.setattr(Detector, "fit", stop)
    done = run("train", "detector", wide, "--out", wide / "model.safetensors", "--cache", wide / "cache", *options)
    assert done.returncode == 1
    assert told in done.stderr
    assert "seen enough" in done.stderr


def test_tiles_of_a_chosen_scale_are_no_choice(wide: Path, run: Run) -> None:
    done = run("train", "detector", wide, "--out", wide / "model", "--tiles", "off", "--short-side", "300")
    assert done.returncode == 2
    assert (
        "--tiles: the model is learnt at a chosen --short-side, which has no use for this. Leave it out." in done.stderr
    )
