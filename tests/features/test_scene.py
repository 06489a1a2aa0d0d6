"""A scene makes what is asked for, once, and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sppnet.errors import ImageDecodeError
from sppnet.features.scene import Scene


class _Counting:
    """Encodes an image into the number of times that it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, image: object) -> int:
        self.asked += 1
        return self.asked


def _scene(image: Any, **options: str) -> tuple[Scene, _Counting]:
    encoder: Any = _Counting()
    return Scene(image, encoder, **options), encoder


def test_an_image_is_encoded_once_however_often_its_maps_are_asked_for(shapes: Path) -> None:
    scene, encoder = _scene(shapes / "JPEGImages/00.png")
    assert encoder.asked == 0
    assert (scene.maps, scene.maps, encoder.asked) == (1, 1, 1)


def test_size_and_pixels_need_no_network(shapes: Path) -> None:
    scene, encoder = _scene((shapes / "JPEGImages/00.png").read_bytes())
    assert scene.pixels.shape == (*scene.size, 3)
    assert scene.pixels is scene.pixels
    assert encoder.asked == 0


def test_a_path_has_its_own_name_and_pixels_the_one_that_they_are_given() -> None:
    whole = (Path.cwd() / "folder/a.png").as_posix()  # the folders tell apart images of one name
    assert _scene("folder/a.png", name="other")[0].name == whole
    assert _scene(Path("folder/a.png"))[0].name == whole
    pixels = np.zeros((4, 6, 3), np.uint8)
    assert (_scene(pixels)[0].name, _scene(pixels, name="b.png")[0].name) == ("", "b.png")
    assert _scene(pixels)[0].size == (4, 6)


def test_what_cannot_be_read_says_so_when_it_is_asked_for(tmp_path: Path) -> None:
    scene, _ = _scene(tmp_path / "none.png")
    with pytest.raises(ImageDecodeError, match=r"none\.png"):
        scene.size  # noqa: B018
