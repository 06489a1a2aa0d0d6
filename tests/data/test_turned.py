"""Labels that were made before EXIF data turned their image: turned with it where they tell their size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.data.drawing import NAMES, SIZE, Box, coco, dump, text, voc, yolo

from sppnet.data import Sample, load_detection
from sppnet.geometry import upright_boxes, upright_points
from sppnet.images import read_header, read_image

WIDTH, HEIGHT = SIZE
BOX: Box = (0, 20, 70, 50, 110)  # red, in the image as it is stored


def stored(path: Path, orientation: int, *, size: tuple[int, int] = SIZE) -> None:
    pixels = np.full((size[1], size[0], 3), 120, dtype=np.uint8)
    pixels[BOX[2] : BOX[4], BOX[1] : BOX[3]] = (230, 20, 20)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif)


def red(path: Path) -> list[float]:
    """Return the box around what is red in the image as it is seen."""
    rows, columns = np.nonzero(read_image(path)[:, :, 1] < 70)
    return [float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_boxes_and_points_turn_as_pixels_do(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored(tmp_path / f"a.{suffix}", orientation)
    size, told = read_header(tmp_path / f"a.{suffix}")
    assert (size, told) == (read_image(tmp_path / f"a.{suffix}").shape[:2], orientation)
    boxes = upright_boxes(np.array([BOX[1:]], dtype=np.float64), (HEIGHT, WIDTH), orientation)
    assert boxes.tolist() == [red(tmp_path / f"a.{suffix}")]
    corners = np.array([[BOX[1], BOX[2]], [BOX[3], BOX[4]]], dtype=np.float64)
    turned = upright_points(corners, (HEIGHT, WIDTH), orientation)
    assert [*turned.min(axis=0), *turned.max(axis=0)] == boxes[0].tolist()
    inverted = np.array([[BOX[3], BOX[2], BOX[1], BOX[4]]], dtype=np.float64)
    again = upright_boxes(inverted, (HEIGHT, WIDTH), orientation)[0]
    assert again[2] < again[0] or again[3] < again[1]  # what is bad stays so


def of_voc(root: Path) -> None:
    text(root / "0.xml", voc([BOX], "0.jpg"))


def of_coco(root: Path) -> None:
    document = coco({"0.jpg": [BOX]})
    left, top, right, bottom = BOX[1:]
    document["annotations"][0]["segmentation"] = [[left, top, right, top, right, bottom]]
    dump(root / "labels.json", document)


def of_labelme(root: Path) -> None:
    shape = {"label": NAMES[0], "shape_type": "rectangle", "points": [[BOX[1], BOX[2]], [BOX[3], BOX[4]]]}
    dump(root / "0.json", {"imagePath": "0.jpg", "imageHeight": HEIGHT, "imageWidth": WIDTH, "shapes": [shape]})


def of_cvat(root: Path) -> None:
    box = f'<box label="a" xtl="{BOX[1]}" ytl="{BOX[2]}" xbr="{BOX[3]}" ybr="{BOX[4]}"/>'
    image = f'<image id="0" name="0.jpg" width="{WIDTH}" height="{HEIGHT}">{box}</image>'
    text(root / "annotations.xml", f"<annotations>{image}</annotations>")


def of_csv(root: Path) -> None:
    header = "filename,width,height,class,xmin,ymin,xmax,ymax"
    text(root / "labels.csv", f"{header}\n0.jpg,{WIDTH},{HEIGHT},a,{','.join(map(str, BOX[1:]))}\n")


def of_label_studio(root: Path) -> None:
    left, top, right, bottom = BOX[1:]
    value = {
        "x": 100 * left / WIDTH,
        "y": 100 * top / HEIGHT,
        "width": 100 * (right - left) / WIDTH,
        "height": 100 * (bottom - top) / HEIGHT,
        "rectanglelabels": ["a"],
    }
    shape = {"type": "rectanglelabels", "original_width": WIDTH, "original_height": HEIGHT, "value": value}
    dump(root / "a.json", [{"id": 1, "data": {"image": "0.jpg"}, "annotations": [{"result": [shape]}]}])


TOLD = {
    "VOC": of_voc,
    "COCO": of_coco,
    "LabelMe": of_labelme,
    "CVAT": of_cvat,
    "CSV": of_csv,
    "Label Studio": of_label_studio,
}


def only(root: Path) -> tuple[Sample, list[tuple[str, str]]]:
    data = load_detection(root)
    (sample,) = data.samples
    return sample, [(problem.level, problem.code) for problem in data.problems]


@pytest.mark.parametrize("build", TOLD.values(), ids=TOLD)
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labels_of_the_image_as_it_is_stored_are_turned_with_it(tmp_path: Path, build: Any, orientation: int) -> None:
    stored(tmp_path / "0.jpg", orientation)
    build(tmp_path)
    sample, said = only(tmp_path)
    assert said == [("note", "labels-turned")]
    np.testing.assert_allclose(sample.boxes[0], red(tmp_path / "0.jpg"), atol=1e-4)
    if sample.outlines:
        (points,) = sample.outlines[0]
        assert [*points.min(axis=0), *points.max(axis=0)] == sample.boxes[0].tolist()


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
def test_labels_of_the_size_that_is_seen_stay(tmp_path: Path, orientation: int) -> None:
    stored(tmp_path / "0.jpg", orientation)
    of_voc(tmp_path)
    sample, said = only(tmp_path)
    assert sample.boxes[0].tolist() == [*map(float, BOX[1:])]
    assert said == ([] if orientation == 1 else [("note", "turned-unsure")])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_square_image_cannot_tell_how_its_labels_lie_and_that_is_said(tmp_path: Path, orientation: int) -> None:
    stored(tmp_path / "0.jpg", orientation, size=(HEIGHT, HEIGHT))
    text(tmp_path / "0.xml", voc([BOX], "0.jpg").replace(f"<width>{WIDTH}", f"<width>{HEIGHT}"))
    data = load_detection(tmp_path)
    told = "is turned by its EXIF data; its labels, whose size is that of either, are taken to be of the image as it is"
    assert [str(problem) for problem in data.problems] == (
        [] if orientation == 1 else [f"{tmp_path / '0.jpg'}: {told} seen"]
    )


def test_sizes_that_are_exchanged_without_exif_data_stay_a_warning(tmp_path: Path) -> None:
    stored(tmp_path / "0.jpg", 1, size=(HEIGHT, WIDTH))
    of_voc(tmp_path)
    sample, said = only(tmp_path)
    assert (sample.boxes[0].tolist(), said) == ([*map(float, BOX[1:])], [("warning", "size-differs")])


def test_labels_that_tell_no_size_are_taken_as_seen_and_that_is_said(tmp_path: Path) -> None:
    stored(tmp_path / "yolo/0.jpg", 6)
    text(tmp_path / "yolo/0.txt", yolo([BOX]))
    text(tmp_path / "yolo/classes.txt", "a\n")
    stored(tmp_path / "csv/0.jpg", 6)
    text(tmp_path / "csv/labels.csv", "image,left,top,right,bottom,class\n0.jpg,10,10,20,20,a\n")
    for kind in ("yolo", "csv"):
        data = load_detection(tmp_path / kind)
        told = "is turned by its EXIF data; its labels, which tell no size, are taken to be of the image as it is seen"
        assert [str(problem) for problem in data.problems] == [f"{tmp_path / kind / '0.jpg'}: {told}"]
