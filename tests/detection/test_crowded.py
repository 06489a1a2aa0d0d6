"""Images that hold more objects than a photograph does: all of them are found."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sppnet.data import load_detection
from sppnet.detection.detector import Detector
from sppnet.detection.model import PER_CLASS

OBJECTS = 2 * PER_CLASS + 50  # more than both turns of suppression leave where nothing is good


def _dots(folder: Path, images: int) -> None:
    """Draw discs that do not touch, each about 18 pixels wide, and write where they are as COCO does."""
    rng, listed, boxes = np.random.default_rng(0), [], []
    for number in range(images):
        image = Image.fromarray(rng.normal(180, 12, (480, 640, 3)).clip(0, 255).astype(np.uint8))
        pen, places = ImageDraw.Draw(image), np.zeros((0, 2))
        while len(places) < OBJECTS:
            place = rng.uniform((12, 12), (628, 468))
            if (np.hypot(*(places - place).T) > 19).all():
                places = np.vstack([places, place])
                pen.ellipse([*place - 9, *place + 9], fill=tuple(rng.integers(60, 140, 3).tolist()))
                boxes.append({"image_id": number, "category_id": 1, "bbox": [*(place - 9).tolist(), 18, 18]})
        image.save(folder / f"{number}.png")
        listed.append({"id": number, "file_name": f"{number}.png", "width": 640, "height": 480})
    rows = [row | {"id": number, "iscrowd": 0, "area": 324} for number, row in enumerate(boxes)]
    told = {"images": listed, "annotations": rows, "categories": [{"id": 1, "name": "dot"}]}
    (folder / "annotations.json").write_text(json.dumps(told))


@pytest.mark.slow
def test_all_of_hundreds_are_found(tmp_path: Path) -> None:
    _dots(tmp_path, 3)
    data = load_detection(tmp_path)
    detector = Detector().fit(data.subset([0, 1]))
    report = detector.evaluate(data.subset([2]))
    assert report.recall[0] > 0.98
    assert report.precision[0] > 0.98
