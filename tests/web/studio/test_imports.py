"""Labels and predictions that are brought into a folder that is open: what is shown first, and what is taken in."""

import dataclasses
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sppnet.data import DetectionData, Sample, load_detection
from sppnet.data.converting import WRITTEN, convert
from sppnet.detection.detections import Detections
from sppnet.detection.output import ImageDetections, write_detections
from sppnet.errors import ImageDecodeError
from sppnet.web.studio.app import studio_app
from sppnet.web.studio.offers import Offer, compare, detect_with, write_labels, write_suggestions
from sppnet.web.studio.session import Session
from sppnet.web.studio.store import Store

ADDRESS = "http://127.0.0.1:8770"
BYTES = {"Content-Type": "application/octet-stream", "Origin": ADDRESS}
SIZE = (60, 90)  # height, width
BOXES = {"a.png": [[1, 2, 30, 40], [50, 5, 80, 45]], "deep/b.png": [[10, 10, 40, 50]]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    (root / "deep").mkdir(parents=True)
    for place, name in enumerate((*BOXES, "c.png")):
        Image.new("RGB", SIZE[::-1], (place * 60, 0, 0)).save(root / name)
    return root


@pytest.fixture
def page(root: Path) -> Iterator[TestClient]:
    with TestClient(studio_app(Session(root)), base_url=ADDRESS) as page:
        page.headers["Origin"] = ADDRESS
        yield page


def _data(root: Path, boxes: Mapping[str, list[list[float]]] = BOXES) -> DetectionData:
    samples = []
    for name, edges in boxes.items():
        nothing = np.zeros(len(edges), dtype=np.bool_)
        labels = np.arange(len(edges)) % 2
        samples.append(Sample(root / name, np.array(edges, dtype=float).reshape(-1, 4), labels, nothing, nothing, SIZE))
    return DetectionData(root, ("cell", "disc"), tuple(samples), (), "train")


def _zip(folder: Path, *, images: bool) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and (images or path.suffix != ".png"):
                archive.write(path, path.relative_to(folder).as_posix())
    return file.getvalue()


def _read(page: TestClient, *files: tuple[str, bytes]) -> tuple[str, dict[str, Any]]:
    token = ""
    for name, content in files:
        answer = page.post("/api/imports", params={"name": name, "token": token}, content=content, headers=BYTES)
        assert answer.status_code == 200, answer.text
        token = answer.json()["token"]
    return token, _state(page, token)


def _state(page: TestClient, token: str) -> dict[str, Any]:
    state: dict[str, Any] = page.post("/api/imports/read", json={"token": token}).json()
    while state["state"] == "reading":
        state = page.get(f"/api/imports/{token}").json()
    return state


def _take(page: TestClient, token: str, into: str, **how: bool) -> dict[str, Any]:
    answer = page.post("/api/imports/take", json={"token": token, "into": into, **how})
    assert answer.status_code == 200, answer.text
    taken: dict[str, Any] = answer.json()
    return taken


def _images(page: TestClient) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in page.get("/api/state").json()["images"]}


def _edges(page: TestClient, name: str) -> list[list[float]]:
    return [box["edges"] for box in page.get(f"/api/images/{_images(page)[name]['id']}").json()["boxes"]]


@pytest.mark.parametrize("images", [False, True], ids=["labels alone", "with images"])
@pytest.mark.parametrize("layout", WRITTEN)
def test_every_layout_finds_the_images_of_the_folder(
    page: TestClient, root: Path, tmp_path: Path, layout: str, images: bool
) -> None:
    convert([_data(root)], layout, tmp_path / "set")
    token, state = _read(page, ("labels.zip", _zip(tmp_path / "set", images=images)))
    assert state["state"] == "read", state
    assert state["totals"] == {"new": 3, "same": 0, "changed": 0, "images": 2, "empty": 0}
    assert state["classes"] == [{"name": "cell", "fresh": True}, {"name": "disc", "fresh": True}]
    assert (state["unmatched"]["number"], state["problems"]["number"], state["predicted"]) == (0, 0, False)
    assert _images(page)["a.png"]["objects"] == {}  # nothing changes before it is taken in
    _take(page, token, "labels", complete=True)
    assert np.abs(np.array(_edges(page, "a.png")) - BOXES["a.png"]).max() < 0.01
    assert _images(page)["deep/b.png"]["complete"]
    assert not _images(page)["c.png"]["complete"]
    assert page.post("/api/undo", json={}).json()["what"].startswith("Import ")
    assert (_edges(page, "a.png"), page.get("/api/state").json()["classes"]) == ([], [])


POLYGON = np.array([[1, 2], [30, 10], [20, 40]], dtype=float)


def test_polygons_stay_move_with_their_box_and_are_exported_again(page: TestClient, root: Path, tmp_path: Path) -> None:
    data = _data(root)
    outlined = dataclasses.replace(data[0], outlines=((POLYGON,), ()))
    convert([dataclasses.replace(data, samples=(outlined, data[1]))], "coco", tmp_path / "set")
    token, _ = _read(page, ("labels.zip", _zip(tmp_path / "set", images=False)))
    _take(page, token, "labels")
    assert _outlines(page) == [[POLYGON.tolist()], None]
    (tmp_path / "out.zip").write_bytes(page.get("/api/export/coco").content)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        archive.extractall(tmp_path / "out")
    again = {sample.path.name: sample for sample in load_detection(tmp_path / "out").samples}
    np.testing.assert_allclose(again["a.png"].all_outlines[0][0], POLYGON)
    image = _images(page)["a.png"]["id"]
    box = page.get(f"/api/images/{image}").json()["boxes"][0]["id"]
    for edges, expected in (([3, 4, 32, 42], [(POLYGON + 2).tolist()]), ([3, 4, 33, 42], None)):
        page.post("/api/changes", json={"what": "x", "changes": [{"do": "edit", "box": box, "edges": edges}]})
        assert _outlines(page) == [expected, None]
    for _ in range(2):
        page.post("/api/undo", json={})
    assert _outlines(page) == [[POLYGON.tolist()], None]


def _outlines(page: TestClient) -> list[Any]:
    opened = page.get(f"/api/images/{_images(page)['a.png']['id']}").json()
    return [box.get("outline") for box in opened["boxes"]]


@pytest.mark.parametrize("layout", ["voc", "yolo", "labelstudio", "coco"])
def test_labels_that_say_that_an_image_shows_no_object_complete_it(
    page: TestClient, root: Path, tmp_path: Path, layout: str
) -> None:
    data = _data(root)
    nothing = np.zeros(0, dtype=np.bool_)
    bare = Sample(root / "c.png", np.zeros((0, 4)), np.zeros(0, np.int64), nothing, nothing, SIZE)
    convert([dataclasses.replace(data, samples=(*data.samples, bare))], layout, tmp_path / "set")
    token, state = _read(page, ("labels.zip", _zip(tmp_path / "set", images=False)))
    says_so = layout != "coco"  # which lists images that nobody has labelled yet, too
    assert (state["totals"]["empty"], state["problems"]["number"]) == (int(says_so), 0)
    _take(page, token, "labels", complete=True)
    assert {name: each["complete"] for name, each in _images(page).items()} == {
        "a.png": True, "c.png": says_so, "deep/b.png": True
    }  # fmt: skip


def test_several_files_of_labels_come_together(page: TestClient, root: Path, tmp_path: Path) -> None:
    convert([_data(root)], "voc", tmp_path / "set")
    files = sorted((tmp_path / "set" / "Annotations").iterdir())
    _, state = _read(page, *((file.name, file.read_bytes()) for file in files))
    assert state["totals"]["new"] == 3


def test_a_path_is_read_where_it_lies_and_stays(page: TestClient, root: Path, tmp_path: Path) -> None:
    convert([_data(root)], "coco", tmp_path / "set")
    before = sorted(path for path in (tmp_path / "set").rglob("*"))
    answer = page.post("/api/imports/path", json={"path": str(tmp_path / "set")})
    token = answer.json()["token"]
    assert _state(page, token)["totals"]["new"] == 3
    page.post("/api/imports/drop", json={"token": token})
    assert sorted(path for path in (tmp_path / "set").rglob("*")) == before
    assert not list((root / ".sppnet").glob("import-*"))
    os.mkfifo(tmp_path / "pipe.json")
    for none in ("none", "pipe.json"):
        missing = page.post("/api/imports/path", json={"path": str(tmp_path / none)})
        assert (missing.status_code, "Path must be a file or folder" in missing.json()["detail"]) == (422, True)


def test_what_differs_is_told_and_taken_only_when_asked(page: TestClient, root: Path, tmp_path: Path) -> None:
    convert([_data(root)], "csv", tmp_path / "first")
    token, _ = _read(page, ("labels.zip", _zip(tmp_path / "first", images=False)))
    _take(page, token, "labels")
    moved = {"a.png": [[1, 2, 30, 40], [52, 7, 82, 47], [0, 45, 20, 58]], "gone.png": [[1, 1, 9, 9]]}
    (tmp_path / "second").mkdir()
    WRITTEN["csv"].write(tmp_path / "second", _data(tmp_path / "second", moved))
    content = _zip(tmp_path / "second", images=False)
    for theirs, expected in ((False, BOXES["a.png"][1]), (True, moved["a.png"][1])):
        token, state = _read(page, ("labels.zip", content))
        assert state["totals"] == {"new": 1, "same": 1, "changed": 1, "images": 1, "empty": 0}
        assert state["unmatched"]["number"] == 1
        assert state["unmatched"]["first"] == ["train.csv:5: the image 'gone.png' is missing"]
        _take(page, token, "labels", theirs=theirs)
        assert _edges(page, "a.png") == [BOXES["a.png"][0], expected, moved["a.png"][2]]
        page.post("/api/undo", json={})
        assert _edges(page, "a.png") == BOXES["a.png"]


def test_problems_are_named_with_file_and_line(page: TestClient) -> None:
    rows = "image,left,top,right,bottom,class\na.png,1,2,30,40,cell\na.png,9,9,9,9,cell\na.png,x,1,2,3,cell\n"
    _, state = _read(page, ("boxes.csv", rows.encode()))
    assert state["totals"]["new"] == 1
    assert state["problems"]["number"] == 2
    assert sorted(text[:12] for text in state["problems"]["first"]) == ["boxes.csv:3:", "boxes.csv:4:"]


def test_predictions_become_suggestions_with_their_confidence(page: TestClient, root: Path, tmp_path: Path) -> None:
    found = Detections(np.array(BOXES["a.png"], dtype=float), np.array([0, 1]), np.array([0.9, 0.75]), ("cell", "disc"))
    write_detections(tmp_path, "json", [ImageDetections(Path("/elsewhere/a.png"), SIZE, found)])
    content = (tmp_path / "detections.json").read_bytes()
    token, state = _read(page, ("detections.json", content))
    assert (state["predicted"], state["totals"]["new"]) == (True, 2)
    _take(page, token, "suggestions")
    image = _images(page)["a.png"]
    opened = page.get(f"/api/images/{image['id']}").json()
    assert [each["score"] for each in opened["suggestions"]] == [0.9, 0.75]
    assert (opened["boxes"], sum(image["found"].values()), image["complete"]) == ([], 2, False)
    first = opened["suggestions"][0]
    accepted = {"do": "add", "image": image["id"], "label": first["label"], "edges": first["edges"]}
    page.post("/api/changes", json={"what": "Accept", "changes": [accepted]})
    assert [each["score"] for each in page.get(f"/api/images/{image['id']}").json()["suggestions"]] == [0.75]
    for _ in range(2):
        page.post("/api/undo", json={})
    assert page.get(f"/api/images/{image['id']}").json()["suggestions"] == []


def test_of_imported_objects_that_touch_each_is_answered_by_itself(page: TestClient, tmp_path: Path) -> None:
    boxes = np.array([[2, 2, 12, 12], [6, 2, 16, 12]], dtype=float)  # an overlap of 0.43
    found = Detections(boxes, np.array([0, 0]), np.array([0.9, 0.8]), ("cell",))
    write_detections(tmp_path, "json", [ImageDetections(Path("/elsewhere/a.png"), SIZE, found)])
    token, _ = _read(page, ("detections.json", (tmp_path / "detections.json").read_bytes()))
    _take(page, token, "suggestions")
    image = _images(page)["a.png"]["id"]
    first = page.get(f"/api/images/{image}").json()["suggestions"][0]
    accepted = {"do": "add", "image": image, "label": first["label"], "edges": first["edges"]}
    page.post("/api/changes", json={"what": "Accept", "changes": [accepted]})
    assert [each["score"] for each in page.get(f"/api/images/{image}").json()["suggestions"]] == [0.8]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.exe", b"", "The file must be labels"),
        ("../../etc/passwd", b"", "The file must be labels"),
        ("a.zip", b"no zip", "a.zip must be a zip file"),
    ],
)
def test_a_file_of_another_kind_is_refused(page: TestClient, name: str, content: bytes, reason: str) -> None:
    answer = page.post("/api/imports", params={"name": name}, content=content, headers=BYTES)
    assert (answer.status_code, reason in answer.json()["detail"]) == (422, True)


def test_a_zip_leads_nowhere_else(page: TestClient, root: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../out.txt", "0 0.5 0.5 0.1 0.1")
    answer = page.post("/api/imports", params={"name": "a.zip"}, content=file.getvalue(), headers=BYTES)
    assert (answer.status_code, "files below its root" in answer.json()["detail"]) == (422, True)
    assert not list(root.parent.rglob("out.txt"))


def test_what_is_no_data_set_is_said(page: TestClient) -> None:
    _, state = _read(page, ("notes.txt", b"buy milk"))
    assert (state["state"], "boxes in a layout that is known, got notes.txt." in state["detail"]) == ("failed", True)
    unknown = page.get("/api/imports/none")
    assert (unknown.status_code, "one that was begun" in unknown.json()["detail"]) == (422, True)


@pytest.mark.parametrize("name", ["labels.json", "detections.json"])
def test_a_file_that_was_cut_off_is_said_to_end_in_the_middle(page: TestClient, name: str) -> None:
    record = {"image": "a.png", "counts": {"cell": 1}, "detections": [], "height": 60, "width": 90}
    whole = {"labels.json": {"images": [record], "annotations": [], "categories": []}, "detections.json": [record]}
    _, state = _read(page, (name, json.dumps(whole[name]).encode()[:-20]))
    assert state == {
        "state": "failed",
        "detail": f"{name} ends in the middle: it was not saved or sent whole. Choose it anew once it is.",
    }


def test_a_box_that_lies_almost_as_yours_is_the_same_and_the_nearest_of_two_stands_for_it(tmp_path: Path) -> None:
    with Store(tmp_path / "studio.sqlite") as store:
        with store.step("Open", undoable=False) as step:
            step.add("image", {"name": "a", "height": 100, "width": 100})
        images = {image.name: image for image in store.images()}
        near, yours = _offer([("x", 12, 11, 40, 40)]), _offer([("x", 10, 10, 40, 40), ("x", 11, 10, 40, 40)])
        with store.step("Import") as step:
            write_labels(store, step, yours, compare(yours, store, images))
        (found,) = compare(near, store, images)
        assert (found.new, found.same, found.changed) == ([], 1, [])
        (apart,) = compare(_offer([("x", 16, 10, 40, 40), ("y", 10, 10, 40, 40)]), store, images)
        assert (apart.new, apart.same, len(apart.changed)) == ([], 0, 2)


EDGE = st.integers(0, 40)
ROWS = st.lists(st.tuples(st.sampled_from("xyz"), EDGE, EDGE, st.integers(1, 19), st.integers(1, 19)), max_size=6)


@settings(max_examples=40)
@given(mine=ROWS, theirs=ROWS)
def test_taking_theirs_leaves_nothing_to_take_and_undo_all_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, mine: list[Any], theirs: list[Any]
) -> None:
    with Store(tmp_path_factory.mktemp("store") / "studio.sqlite") as store:
        with store.step("Open", undoable=False) as step:
            step.add("image", {"name": "a", "height": 60, "width": 60})
        images = {image.name: image for image in store.images()}
        for rows in (mine, theirs):
            offer = _offer(rows)
            before = store.images(), store.classes(), store.boxes()
            with store.step("Import") as step:
                write_labels(store, step, offer, compare(offer, store, images), theirs=True)
            (left,) = compare(offer, store, images)
            assert (left.new, left.changed, left.same) == ([], [], len(offer.boxes["a"]))
            after = store.images(), store.classes(), store.boxes()
            if after == before:  # no step, then
                continue
            assert store.undo() is not None
            assert (store.images(), store.classes(), store.boxes()) == before
            assert store.redo() is not None
            assert (store.images(), store.classes(), store.boxes()) == after
        with store.step("Suggest") as step:
            write_suggestions(store, step, offer, compare(offer, store, images))
        assert store.offered() == []  # all is answered


def _offer(rows: list[Any]) -> Offer:
    boxes = [
        {"class": name, "left": left * 1.0, "top": top * 1.0, "right": left + wide * 1.0, "bottom": top + high * 1.0}
        for name, left, top, wide, high in dict.fromkeys(rows)
    ]
    return Offer("rows", tuple(sorted({row["class"] for row in boxes})), {"a": boxes})


def test_predictions_of_another_size_are_said(page: TestClient) -> None:
    record = {"image": "a.png", "height": 6, "width": 9, "counts": {"cell": 1}, "detections": []}
    broken = {"image": "a.png"}
    _, state = _read(page, ("detections.json", json.dumps([record, broken]).encode()))
    assert "was made for an image of 9 x 6 pixels, a.png has 90 x 60" in state["problems"]["first"][0]
    assert "record 2: cannot be understood" in state["problems"]["first"][1]


class _Detector:
    """Finds a cell in the corner of each image, and one that is broken nowhere."""

    classes_ = ("cell",)

    def detect(self, path: Path) -> Detections:
        if path.name == "c.png":
            raise ImageDecodeError(path, "cut short")
        return Detections(np.array([[0.0, 0, 9, 9]]), np.array([0]), np.array([0.8]), ("cell",))


def test_a_detector_offers_what_it_finds_and_names_what_it_cannot_read() -> None:
    paths = {name: Path("/images") / name for name in ("a.png", "c.png")}
    offer = detect_with(_Detector(), paths)  # type: ignore[arg-type]
    assert offer.boxes == {"a.png": [{"left": 0, "top": 0, "right": 9, "bottom": 9, "class": "cell", "score": 0.8}]}
    assert (offer.classes, offer.problems) == (("cell",), ["c.png: cut short"])
