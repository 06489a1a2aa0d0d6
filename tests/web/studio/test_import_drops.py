"""Labels that come out of folders: each goes to the image that it lies with, and none is lost without a word."""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from sppnet.detection.detections import Detections
from sppnet.detection.output import ImageDetections, write_detections
from sppnet.web.studio.app import studio_app
from sppnet.web.studio.session import Session

ADDRESS = "http://127.0.0.1:8770"
BYTES = {"Content-Type": "application/octet-stream", "Origin": ADDRESS}
SIZE = (100, 100)
LEFT, RIGHT = b"0 0.2 0.5 0.2 0.4", b"0 0.8 0.5 0.2 0.4"
BOX_LEFT, BOX_RIGHT = [10, 30, 30, 70], [70, 30, 90, 70]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[TestClient]:
    (tmp_path / "001.png").write_bytes(_png("black"))
    with TestClient(studio_app(Session(tmp_path)), base_url=ADDRESS) as page:
        page.headers["Origin"] = ADDRESS
        yield page


def _png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", SIZE, colour).save(file, "PNG")
    return file.getvalue()


def _coco(name: str, box: list[float]) -> bytes:
    left, top, right, bottom = box
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [left, top, right - left, bottom - top]}
    image = {"id": 1, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
    return json.dumps({"images": [image], "annotations": [annotation], "categories": [{"id": 1, "name": "x"}]}).encode()


def _zip(files: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def _drop(page: TestClient, files: Mapping[str, bytes]) -> tuple[str, dict[str, Any]]:
    """Bring files as the page does: the images, then what became of them, then the labels."""
    images = []
    for path in (path for path in files if path.endswith(".png")):
        name = path.rpartition("/")[2]
        answer = page.post("/api/uploads", params={"name": name}, content=files[path], headers=BYTES)
        images.append({"path": path, "image": answer.json().get("image")})
    token = page.post("/api/imports/images", json={"token": "", "images": images}).json()["token"]
    for path in (path for path in files if not path.endswith(".png")):
        answer = page.post("/api/imports", params={"name": path, "token": token}, content=files[path], headers=BYTES)
        assert answer.status_code == 200, answer.text
    state = page.post("/api/imports/read", json={"token": token}).json()
    while state["state"] == "reading":
        state = page.get(f"/api/imports/{token}").json()
    return token, state


def _taken(page: TestClient, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Drop files and take their labels in; return the boxes and the completeness of each image, and what was told."""
    token, state = _drop(page, files)
    assert state["state"] == "read", state
    page.post("/api/imports/take", json={"token": token, "into": "labels", "complete": True})
    return _labels(page) | {"told": [*state["problems"]["first"], *state["unmatched"]["first"]]}


def _labels(page: TestClient) -> dict[str, Any]:
    images = page.get("/api/state").json()["images"]
    boxes = {each["name"]: page.get(f"/api/images/{each['id']}").json()["boxes"] for each in images}
    return {
        each["name"]: ([[round(edge) for edge in box["edges"]] for box in boxes[each["name"]]], each["complete"])
        for each in images
    }


NAMES = {"classes.txt": b"x"}
NOTHING: tuple[list[list[int]], bool] = ([], False)


def test_labels_of_one_name_each_go_to_the_image_of_their_folder(page: TestClient) -> None:
    files = {"plate1/001.png": _png("red"), "plate1/001.txt": LEFT, "plate2/001.png": _png("blue")}
    assert _taken(page, NAMES | files | {"plate2/001.txt": RIGHT}) == {
        "001.png": NOTHING, "001 2.png": ([BOX_LEFT], True), "001 3.png": ([BOX_RIGHT], True), "told": []
    }  # fmt: skip


@pytest.mark.parametrize("folder", ["", "plate2/"])
@pytest.mark.parametrize(
    "labels",
    [
        {"001.txt": RIGHT, "classes.txt": b"x"},
        {"001.png.txt": RIGHT, "classes.txt": b"x"},
        {"annotations.json": _coco("001.png", BOX_RIGHT)},
        {"boxes.csv": b"image,left,top,right,bottom,class\n001.png,70,30,90,70,x\n"},
    ],
    ids=["YOLO", "whole names", "COCO", "CSV"],
)
def test_labels_follow_an_image_that_is_stored_under_another_name(
    page: TestClient, labels: dict[str, bytes], folder: str
) -> None:
    files = {"001.png": _png("blue"), **labels}
    found = _taken(page, {folder + name: content for name, content in files.items()})
    assert found == {"001.png": NOTHING, "001 2.png": ([BOX_RIGHT], True), "told": []}


def test_predictions_follow_an_image_that_is_stored_under_another_name(page: TestClient, tmp_path: Path) -> None:
    found = Detections(np.array([BOX_RIGHT], dtype=float), np.array([0]), np.array([0.9]), ("x",))
    (tmp_path / ".out").mkdir()
    write_detections(tmp_path / ".out", "json", [ImageDetections(Path("/elsewhere/001.png"), SIZE, found)])
    content = (tmp_path / ".out" / "detections.json").read_bytes()
    _, state = _drop(page, {"001.png": _png("blue"), "detections.json": content, "other.csv": b"image"})
    assert [each["name"] for each in state["images"]] == ["001 2.png"]
    (told,) = state["problems"]["first"]
    assert told == (
        "other.csv is not taken: detections.json came with it, which is imported by itself. Import this one after it."
    )


def test_an_image_of_another_ending_takes_no_label_of_the_one_that_was_dropped(
    page: TestClient, tmp_path: Path
) -> None:
    Image.new("RGB", SIZE).save(tmp_path / "002.jpg")
    files = {"002.png": _png("blue"), "002.txt": RIGHT, "classes.txt": b"x"}
    found = _taken(page, files)
    assert (found["002.png"], found.get("002.jpg", NOTHING), found["told"]) == (([BOX_RIGHT], True), NOTHING, [])


def test_files_of_one_name_for_a_whole_set_are_all_read(page: TestClient) -> None:
    files = {"plate1/001.png": _png("red"), "plate1/annotations.json": _coco("001.png", BOX_LEFT)}
    files |= {"plate2/001.png": _png("blue"), "plate2/annotations.json": _coco("001.png", BOX_RIGHT)}
    assert _taken(page, files) == {
        "001.png": NOTHING, "001 2.png": ([BOX_LEFT], True), "001 3.png": ([BOX_RIGHT], True), "told": []
    }  # fmt: skip


def test_an_image_without_labels_is_not_complete_because_another_of_its_name_shows_nothing(page: TestClient) -> None:
    files = {"plate1/001.png": _png("red"), "plate1/001.txt": b"", "plate2/001.png": _png("blue")}
    found = _taken(page, NAMES | files | {"plate2/002.png": _png("green"), "plate2/002.txt": RIGHT})
    assert (found["001 2.png"], found["001 3.png"]) == (([], True), NOTHING)


def test_of_labels_of_one_name_for_one_image_the_second_is_named(page: TestClient) -> None:
    found = _taken(page, NAMES | {"plate1/001.txt": LEFT, "plate2/001.txt": RIGHT})
    assert found["001.png"] == ([BOX_LEFT], True)
    assert found["told"] == [
        "plate2/001.txt is not taken: the image 001.png has the labels of plate1/001.txt already. "
        "Import it together with its own image, or by itself."
    ]


def test_labels_of_an_image_that_was_refused_go_to_no_other(page: TestClient) -> None:
    files = {"plate2/001.png": b"no image", "plate2/001.txt": RIGHT, "003.png": _png("red"), "003.txt": LEFT}
    found = _taken(page, NAMES | files)
    assert (found["001.png"], found["003.png"]) == (NOTHING, ([BOX_LEFT], True))
    assert found["told"][0] == (
        "plate2/001.txt is not taken: its image plate2/001.png was not either. "
        "Drop both again once the image can be read."
    )
    _, state = _drop(page, {"001.png": b"no image", "001.txt": RIGHT})
    assert (state["state"], state["detail"].startswith("001.txt is not taken: its image 001.png was not either. ")) == (
        "failed",
        True,
    )


def test_labels_that_may_be_of_several_images_are_named(page: TestClient) -> None:
    files = {"plate1/001.png": _png("red"), "plate2/001.png": _png("blue"), "plate3/001.txt": RIGHT}
    found = _taken(page, NAMES | files | {"plate1/001.txt": LEFT})
    assert (found["001 2.png"], found["001 3.png"]) == (([BOX_LEFT], True), NOTHING)
    assert found["told"] == [
        "plate3/001.txt is not taken: several images have its name. Import a zip with it in the folder of its image."
    ]


def test_what_another_file_of_its_place_came_before_is_named(page: TestClient) -> None:
    first, second = _zip({"annotations.json": _coco("001.png", BOX_LEFT)}), _zip({"annotations.json": b"{}"})
    found = _taken(page, {"a.zip": first, "b.zip": second, "c.zip": first})
    assert found["001.png"] == ([BOX_LEFT], True)
    told = "annotations.json is not taken: another file of this name came before it. Import it by itself."
    assert found["told"] == [told]


def test_zips_in_folders_are_sets_of_their_own(page: TestClient) -> None:
    zips = {
        f"{plate}/labels.zip": _zip({"annotations.json": _coco("001.png", box)})
        for plate, box in (("plate1", BOX_LEFT), ("plate2", BOX_RIGHT))
    }
    images = {"plate1/001.png": _png("red"), "plate2/001.png": _png("blue")}
    assert _taken(page, zips | images) == {
        "001.png": NOTHING, "001 2.png": ([BOX_LEFT], True), "001 3.png": ([BOX_RIGHT], True), "told": []
    }  # fmt: skip


def test_a_second_detector_and_labels_beside_one_are_named(page: TestClient) -> None:
    files = {"a.safetensors": b"no model", "b.safetensors": b"no model", "boxes.csv": b"image"}
    _, state = _drop(page, files)
    assert state["detail"].startswith(
        "b.safetensors is not taken: one detector looks at a time, and another came before it. Import it by itself. "
        "boxes.csv is not taken: a detector came with it, which is imported by itself. Import this one after it. "
    )


def test_a_file_that_names_an_image_that_was_refused_says_so_and_means_no_other(page: TestClient) -> None:
    files = {"plate1/002.png": _png("red"), "plate1/annotations.json": _coco("002.png", BOX_LEFT)}
    files |= {"plate2/002.png": b"no image", "plate2/annotations.json": _coco("002.png", BOX_RIGHT)}
    found = _taken(page, files)
    assert found["002.png"] == ([BOX_LEFT], True)
    assert [each.startswith("plate2/002.png: cannot be read: ") for each in found["told"]] == [True]
