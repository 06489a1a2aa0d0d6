"""The studio without a browser: what is kept, what is refused, what leaves it."""

import asyncio
import io
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from sppnet.cli.commands import app
from sppnet.data import load_detection
from sppnet.detection.detections import Detections
from sppnet.detection.detector import Detector
from sppnet.errors import ArgumentError, BoxError, DataError
from sppnet.web.shared.guard import MAX_BODY
from sppnet.web.studio.app import studio_app
from sppnet.web.studio.changes import Changes, apply
from sppnet.web.studio.events import Events
from sppnet.web.studio.exports import FILE_NAMES, flat_names, split_of
from sppnet.web.studio.folder import Folder
from sppnet.web.studio.opening import take_in
from sppnet.web.studio.said import labels_of
from sppnet.web.studio.serving import serve_studio
from sppnet.web.studio.session import Session
from sppnet.web.studio.store import Box, Missing, Store
from sppnet.web.studio.suggestions import BINS, STEP, Suggestions, histogram

ADDRESS = "http://127.0.0.1:8770"


def _image(store: Store, name: str = "a.png") -> int:
    with store.step("Open", undoable=False) as step:
        return step.add("image", {"name": name, "height": 100, "width": 200})


def _asked(*changes: dict[str, Any], image: int | None = None) -> Changes:
    return Changes.model_validate({"what": "Something", "image": image, "changes": list(changes)})


def _said(store: Store) -> tuple[Any, ...]:
    return store.images(), store.classes(), store.boxes()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "studio.sqlite")
    yield opened
    opened.close()


# The store


def test_a_step_that_raises_writes_nothing(store: Store) -> None:
    image = _image(store)
    before = _said(store)
    with pytest.raises(Missing, match="there is no class 7"):
        apply(
            store,
            _asked(
                {"do": "complete", "image": image, "complete": True},
                {"do": "add", "image": image, "label": 7, "edges": [0, 0, 1, 1]},
            ),
        )
    assert _said(store) == before
    assert store.undoable().undo == ""


WAYS = ("add", "reject", "edit", "relabel", "remove", "complete", "class", "rename", "drop class", "undo")


@settings(max_examples=30, deadline=None)
@given(story=st.lists(st.tuples(st.sampled_from(WAYS), st.integers(0, 10**6)), max_size=25))
def test_undo_goes_back_through_every_state_and_redo_comes_again(
    tmp_path_factory: pytest.TempPathFactory, story: list[tuple[str, int]]
) -> None:
    store = Store(tmp_path_factory.mktemp("store") / "studio.sqlite")
    images = [_image(store, name) for name in "ab"]
    states, undone = [_said(store)], []
    for number, (kind, choice) in enumerate(story):
        if kind == "undo":
            assert (store.undo() is not None) == (len(states) > 1)
            undone += states[1:][-1:]
            states = states[:-1] or states
            assert _said(store) == states[-1]
        elif (change := _chosen(store, images, kind, choice, number)) is not None:
            apply(store, _asked(change))
            states.append(_said(store))
            undone = []
    for state in states[-2::-1]:
        assert store.undo() is not None
        assert _said(store) == state
    assert store.undo() is None
    for state in (*states[1:], *reversed(undone)):
        assert store.redo() is not None
        assert _said(store) == state
    assert store.redo() is None
    store.close()


def _chosen(store: Store, images: list[int], kind: str, choice: int, number: int) -> dict[str, Any] | None:
    """Return a change of a kind that is possible now."""
    boxes, classes = store.boxes(), store.classes()
    box = boxes[choice % len(boxes)].id if boxes else None
    label = classes[choice % len(classes)].id if classes else None
    image = images[choice % len(images)]
    edges = [choice % 150, choice % 70, choice % 150 + 20, choice % 70 + 20]
    changes: dict[str, dict[str, Any] | None] = {
        "add": label and {"do": "add", "image": image, "label": label, "edges": edges},
        "reject": label and {"do": "add", "image": image, "label": label, "edges": edges, "kind": "rejected"},
        "edit": box and {"do": "edit", "box": box, "edges": edges},
        "relabel": box and {"do": "edit", "box": box, "label": label},
        "remove": box and {"do": "remove", "box": box},
        "complete": {"do": "complete", "image": image, "complete": bool(choice % 2)},
        "class": {"do": "add class", "name": f"class {number}"},
        "rename": label and {"do": "edit class", "label": label, "name": f"name {number}", "colour": "#123abc"},
        "drop class": label and {"do": "remove class", "label": label},
    }
    return changes[kind]


def test_a_new_step_drops_what_was_undone(store: Store) -> None:
    apply(store, _asked({"do": "add class", "name": "cell"}))
    assert store.undo() is not None
    apply(store, _asked({"do": "add class", "name": "disc"}))
    assert store.redo() is None
    assert [each.name for each in store.classes()] == ["disc"]


def test_undo_tells_the_images_whose_labels_changed(store: Store) -> None:
    first, second = _image(store), _image(store, "b.png")
    (label,), _ = apply(store, _asked({"do": "add class", "name": "cell"}))
    for image in (first, second):
        apply(store, _asked({"do": "add", "image": image, "label": label, "edges": [1, 2, 3, 4]}, image=image))
    _, touched = apply(store, _asked({"do": "edit class", "label": label, "name": "disc"}))
    assert touched == {first, second}
    turned = store.undo()
    assert turned is not None
    assert turned.touched == {first, second}
    turned = store.undo()
    assert turned is not None
    assert (turned.what, turned.image, turned.touched) == ("Something", second, {second})


def test_boxes_are_cut_to_the_image_and_names_are_distinct(store: Store) -> None:
    image = _image(store)
    (label,), _ = apply(store, _asked({"do": "add class", "name": " cell "}))
    apply(store, _asked({"do": "add", "image": image, "label": label, "edges": [-5, -5, 900, 50]}))
    assert store.boxes(image)[0].edges == (0, 0, 200, 50)
    with pytest.raises(BoxError, match=r"studio: regions\[0\] must be a box that holds some of the image"):
        apply(store, _asked({"do": "add", "image": image, "label": label, "edges": [300, 0, 400, 50]}))
    with pytest.raises(ArgumentError, match=r"studio: there is a class named cell already\. Choose another name\."):
        apply(store, _asked({"do": "add class", "name": "cell"}))


WRITING = """
import sys
from pathlib import Path
from sppnet.web.studio.store import Store
store = Store(Path(sys.argv[1]))
with store.step("Open", undoable=False) as step:
    image = step.add("image", {"name": "a", "height": 100, "width": 200})
    label = step.add("class", {"name": "cell", "colour": "#ffffff"})
for number in range(10**6):
    edges = {"left": 0, "top": 0, "right": 1 + number, "bottom": 1}
    with store.step("Draw", image) as step:
        box = step.add("box", edges | {"image": image, "class": label, "kind": "object"})
    print(box, flush=True)
"""


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    file = tmp_path / "studio.sqlite"
    with subprocess.Popen([sys.executable, "-c", WRITING, str(file)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        answered = [int(process.stdout.readline()) for _ in range(20)]
        with pytest.raises(DataError, match=r"it is open in another studio\. Close that one\."):
            Store(file)
        os.kill(process.pid, signal.SIGKILL)
        answered += [int(line) for line in process.stdout.read().splitlines()]
    store = Store(file)
    boxes = store.boxes()
    # The last one may be written without having been answered.
    assert [box.id for box in boxes][: len(answered)] == answered
    assert len(boxes) - len(answered) in (0, 1)
    for _ in boxes:
        assert store.undo() is not None
    assert (store.undo(), store.boxes()) == (None, [])
    store.close()


def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_bytes(b"no database at all, but long enough to be one" * 100)
    with pytest.raises(DataError, match=r"the labels cannot be opened: file is not a database\. Move it away"):
        Store(tmp_path / "a.sqlite")
    other = sqlite3.connect(tmp_path / "b.sqlite")
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(DataError, match=r"must be of version 1, got 99\. Update sppnet\."):
        Store(tmp_path / "b.sqlite")
    other = sqlite3.connect(tmp_path / "b.sqlite", timeout=0)
    other.execute("PRAGMA user_version = 0")  # what was refused holds the file no longer
    other.close()


# The folder


def test_labels_that_lie_in_the_folder_are_read_once(shapes: Path, tmp_path: Path) -> None:
    root = tmp_path / "shapes"
    shutil.copytree(shapes, root)
    (root / "JPEGImages" / "broken.png").write_bytes(b"nothing")
    (root / "JPEGImages" / "new.png").write_bytes((root / "JPEGImages" / "00.png").read_bytes())
    folder = Folder(root)
    with Store(folder.hidden / "studio.sqlite") as store:
        take_in(folder, store)
        expected = {sample.path.name: sample for split in ("train", "val") for sample in _samples(root, split)}
        classes = {each.id: each.name for each in store.classes()}
        assert sorted(classes.values()) == ["disc", "square"]
        images = {Path(each.name).name: each for each in store.images()}
        assert len(images) == 14
        for name, sample in expected.items():
            boxes = store.boxes(images[name].id)
            assert images[name].complete
            assert [list(box.edges) for box in boxes] == sample.boxes.tolist()
            assert [classes[box.label] for box in boxes] == [("disc", "square")[label] for label in sample.labels]
        assert not images["new.png"].complete
        assert "none of" in images["broken.png"].fault
        before = _said(store)
        take_in(folder, store)
        assert _said(store) == before
        shutil.copy(root / "JPEGImages/00.png", root / "JPEGImages/broken.png")
        take_in(folder, store)
        mended = next(each for each in store.images() if each.name.endswith("broken.png"))
        assert (mended.fault, mended.height > 0) == ("", True)


def _samples(root: Path, split: str) -> tuple[Any, ...]:
    return load_detection(root, split=split).samples


def test_hidden_images_and_litter_are_left_alone_and_links_followed(shapes: Path, tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside.png"
    (root / ".hidden").mkdir(parents=True)
    (root / "__MACOSX").mkdir()
    (root / "deep").mkdir()
    shutil.copy(shapes / "JPEGImages/00.png", outside)
    for place in ("deep/a.png", ".hidden/b.png", ".c.png", "__MACOSX/d.png"):
        shutil.copy(outside, root / place)
    (root / "link.png").symlink_to(outside)
    assert Folder(root).names == ["deep/a.png", "link.png"]
    with pytest.raises(ArgumentError, match=r"is no folder\. Name one; images and videos can be dropped onto its page"):
        Folder(tmp_path / "missing")


def test_a_image_is_shown_upright_and_its_thumbnail_is_made_once(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[:, :30] = 255  # the left half, the upper one when it is upright
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    folder = Folder(tmp_path)
    shown = np.asarray(Image.open(io.BytesIO(folder.shown("a.jpg"))))
    assert shown.shape == (60, 40, 3)
    assert shown[10].mean() > 200 > 50 > shown[50].mean()
    first = folder.thumbnail("a.jpg")
    assert Image.open(io.BytesIO(first)).size == (40, 60)
    (kept,) = (folder.hidden / "thumbnails").iterdir()
    written = kept.stat().st_mtime_ns
    assert folder.thumbnail("a.jpg") == first
    assert kept.stat().st_mtime_ns == written
    Image.new("RGB", (300, 600)).save(tmp_path / "a.jpg")
    assert Image.open(io.BytesIO(folder.thumbnail("a.jpg"))).size == (128, 256)


# Suggestions


def _box(edges: tuple[float, float, float, float], label: int, kind: Any = "object", **flags: bool) -> Box:
    return Box(1, 1, label, kind, edges, **flags)


def test_a_suggestion_is_answered_by_a_box_on_its_object() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60], [80, 0, 90, 10]], dtype=np.float64)
    found = Detections(boxes, np.array([0, 1, 0, 1]), np.array([0.9, 0.7, 0.6, 0.2]), ("a", "b"))
    all_found = Suggestions.of(found, (7, 9))
    assert all_found.counts() == {7: 2, 9: 2}
    assert all_found.above(0.5).counts() == {7: 2, 9: 1}
    assert all_found.counting({7: 0.8, 9: 0.1}, {}).counts() == {7: 1, 9: 2}
    assert all_found.counting({7: 0.95, 9: 0.95}, {7: 1, 9: 2}).counts() == {7: 1, 9: 1}  # one lies below half of 0.95
    assert all_found.counting({7: 0.5, 9: 0.95}, {7: 1, 9: 0}).counts() == {7: 2}

    def left(*said: Box) -> list[float]:
        return [each["score"] for each in all_found.unanswered(said).as_list()]

    assert left() == [0.9, 0.7, 0.6, 0.2]
    assert left(_box((0, 0, 10, 6), 7)) == [0.7, 0.6, 0.2]  # 0.6: the same object for its own class alone
    assert left(_box((0, 0, 10, 9), 7)) == [0.6, 0.2]  # 0.9: of whatever class
    assert left(_box((0, 0, 10, 9), 7, "rejected")) == [0.7, 0.6, 0.2]  # a rejection speaks of one class
    assert left(_box((50, 50, 60, 54), 7)) == [0.9, 0.7, 0.2]  # 0.4: drawn over what was badly placed
    assert left(_box((50, 50, 60, 54), 9)) == [0.9, 0.7, 0.6, 0.2]  # of its own class alone
    assert left(_box((50, 50, 60, 54), 7, "rejected")) == [0.9, 0.7, 0.6, 0.2]  # a rejection speaks of its place
    assert left(_box((50, 50, 60, 52), 7)) == [0.9, 0.7, 0.6, 0.2]  # 0.2: another object
    assert left(_box((0, 0, 55, 90), 7, crowd=True)) == [0.7, 0.2]  # what lies in it, half at least
    assert left(_box((0, 0, 54, 90), 7, crowd=True)) == [0.7, 0.6, 0.2]
    touching = np.array([[0, 0, 10, 10], [4, 0, 14, 10]], dtype=np.float64)  # an overlap of 0.43
    found = Detections(touching, np.array([0, 0]), np.array([0.9, 0.85]), ("a",))
    beside = Suggestions.of(found, (7,)).unanswered([_box((0, 0, 10, 9), 7)])
    assert beside.scores.tolist() == pytest.approx([0.85])  # the box is of the first, as it was found: one is left
    unsure = Detections(touching, np.array([0, 0]), np.array([0.9, 0.7]), ("a",))
    assert len(Suggestions.of(unsure, (7,)).unanswered([_box((0, 0, 10, 9), 7)]).scores) == 0  # hardly another object
    assert len(Suggestions.of(found[1:], (7,)).unanswered([_box((0, 0, 10, 9), 7)]).scores) == 0  # drawn over it
    many = Detections(np.tile(boxes[:1], (150, 1)), np.zeros(150, np.int64), np.r_[[0.9] * 120, [0.01] * 30], ("a",))
    assert len(Suggestions.of(many, (7,)).scores) == 120  # of noise no more than fills the hundred
    assert len(Suggestions.of(many[60:], (7,)).scores) == 90
    counted = histogram([all_found], [7, 9, 11])
    assert (sum(counted["counts"][7]), sum(counted["counts"][9]), sum(counted["counts"][11])) == (2, 2, 0)
    assert len(counted["counts"][7]) == BINS
    assert [counted["counts"][9][int(score / STEP)] for score in (0.7, 0.21)] == [1, 1]


def test_what_is_learnt_from_leaves_crowds_and_difficult_objects_out() -> None:
    said = [_box((0, 0, 5, 5), 1), _box((9, 9, 20, 20), 2, "rejected")]
    labels = labels_of(said, {1: "cell", 2: "disc"}, complete=True)
    assert (labels.classes, labels.rejected_classes, labels.complete) == (("cell",), ("disc",), True)
    crowded = labels_of([*said, _box((30, 30, 90, 90), 1, crowd=True)], {1: "cell", 2: "disc"}, complete=True)
    assert (crowded.boxes.tolist(), crowded.complete) == (labels.boxes.tolist(), False)
    hard = labels_of([*said, _box((30, 30, 90, 90), 1, difficult=True)], {1: "cell", 2: "disc"}, complete=True)
    assert (hard.counted.tolist(), hard.complete) == ([True, False], True)


# Events


def test_events_reach_every_listener_and_slow_ones_are_let_go() -> None:
    async def told() -> tuple[list[str], list[str]]:
        events = Events()
        events.tell("nobody", {})
        listeners = [events.listen() for _ in range(2)]
        hellos = [await anext(each) for each in listeners]
        events.tell("learnt", {"a": 1})
        heard = [await anext(each) for each in listeners]
        events.close()
        ends = [[text async for text in each] for each in listeners]
        assert ends == [[], []]
        return hellos, heard

    hellos, heard = asyncio.run(told())
    assert hellos == ["event: hello\ndata: {}\n\n"] * 2
    assert heard == ['event: learnt\ndata: {"a": 1}\n\n'] * 2


# The requests


@pytest.fixture(scope="module")
def root(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of images without labels."""
    folder = tmp_path_factory.mktemp("images")
    for path in sorted((shapes / "JPEGImages").iterdir()):
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def page(root: Path) -> Iterator[TestClient]:
    session = Session(root)
    with TestClient(studio_app(session), base_url=ADDRESS, headers={"Origin": ADDRESS}) as client:
        yield client


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 600  # ends a test that would hang; nothing takes so long, whatever else the machine does
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def _change(page: TestClient, *changes: dict[str, Any], image: int | None = None) -> dict[str, Any]:
    answer = page.post("/api/changes", json={"what": "Change", "image": image, "changes": list(changes)})
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def test_a_story_from_a_box_to_a_model(page: TestClient, shapes: Path, root: Path, tmp_path: Path) -> None:
    truth = {sample.path.name: sample for sample in _samples(shapes, "train")}
    labels = _change(page, {"do": "add class", "name": "disc"}, {"do": "add class", "name": "square"})["added"]
    images = [each for each in page.get("/api/state").json()["images"] if each["name"] in truth][:3]
    for each in images:
        sample = truth[each["name"]]
        boxes = [
            {"do": "add", "image": each["id"], "label": labels[label], "edges": edges}
            for edges, label in zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True)
        ]
        _change(page, *boxes, {"do": "complete", "image": each["id"], "complete": True}, image=each["id"])

    def state() -> dict[str, Any]:
        content: dict[str, Any] = page.get("/api/state").json()
        return content

    _until(lambda: not state()["status"]["behind"] and len(state()["order"]) == len(state()["images"]) - 3)
    # Every other image shows one square and one disc.
    rest = [each for each in state()["images"] if each["id"] not in [told["id"] for told in images]]
    found = {each["name"]: each["found"] for each in rest}
    assert sum(set(each) == set(map(str, labels)) for each in found.values()) >= 0.7 * len(found), found

    other = max(rest, key=lambda each: sum(each["found"].values()))["id"]
    opened = page.get(f"/api/images/{other}").json()
    best, second = opened["suggestions"][:2]
    answers = [{"do": "add", "image": other, "label": each["label"], "edges": each["edges"]} for each in (best, second)]
    answers[1]["kind"] = "rejected"
    after = _change(page, *answers, image=other)["opened"]
    assert [box["kind"] for box in after["boxes"]] == ["object", "rejected"]
    assert not any(each["edges"] in (best["edges"], second["edges"]) for each in after["suggestions"])

    page.post("/api/measure", json={})
    _until(lambda: bool(page.get("/api/quality").json()["measured"]))
    for row in page.get("/api/quality").json()["measured"]:
        assert row["objects"] >= 3
        assert row["recall"] is not None

    exported = tmp_path / "detector.safetensors"
    exported.write_bytes(page.get("/api/export/model").content)
    model = Detector.load(exported)
    assert model.classes_ == ("disc", "square")
    assert len(model.detect(root / images[0]["name"])) >= 2


@pytest.mark.slow
def test_the_saved_model_is_the_one_that_the_command_line_trains(shapes: Path, tmp_path: Path) -> None:
    """From the same complete labels: the same objects, scale and settings, and it knows what it learnt from."""
    root = tmp_path / "shapes"
    shutil.copytree(shapes, root)
    session = Session(root)
    with TestClient(studio_app(session), base_url=ADDRESS) as page:
        _until(lambda: page.get("/api/state").json()["status"]["taught"])
        (tmp_path / "studio").write_bytes(page.get("/api/export/model").content)
    data = load_detection(root, split="all")
    saved = Detector.load(tmp_path / "studio")
    trained = Detector().fit(data)
    assert saved.model_.encoder.scales == trained.model_.encoder.scales
    assert set(saved.learnt_from_) == set(trained.learnt_from_)
    assert saved.model_.settings == trained.model_.settings
    for iou in (0.5, 0.7):
        assert abs(saved.evaluate(data, iou=iou).mean - trained.evaluate(data, iou=iou).mean) <= 0.005


@pytest.mark.slow
def test_small_objects_have_the_images_looked_at_larger(shapes: Path, tmp_path: Path) -> None:
    """From the first labels on; what was said stays, every image is looked at anew, and maps of no use are removed."""
    root = tmp_path / "marks"
    shutil.copytree(shapes / "JPEGImages", root)
    session = Session(root)
    with TestClient(studio_app(session), base_url=ADDRESS) as page:
        before = session.store.setting("short_side", None)
        label = _change(page, {"do": "add class", "name": "mark"})["added"][0]
        images = [each["id"] for each in page.get("/api/state").json()["images"]]
        edges = [5, 5, 12, 12]
        boxes = [{"do": "add", "image": each, "label": label, "edges": edges} for each in images[:2]]
        _change(page, *boxes, image=images[0])
        _until(lambda: page.get("/api/state").json()["status"]["taught"])
        _until(lambda: len(session.learner.ready) == len(images))
        after, detector = session.store.setting("short_side", None), session.learner.detector
        assert len(session.store.boxes()) == 2
        maps = session.folder.hidden / "features"
        _until(lambda: [each.name.rsplit("-", 1)[1] for each in maps.iterdir()] == [str(after)])
    assert detector is not None
    assert detector.model_.encoder.scales == (after,)
    assert after > 1.2 * before


@pytest.mark.slow
def test_the_network_is_run_by_the_engine_that_was_asked_for(shapes: Path, tmp_path: Path) -> None:
    root = tmp_path / "shapes"
    shutil.copytree(shapes, root)
    session = Session(root, engine="onnxruntime")
    with TestClient(studio_app(session), base_url=ADDRESS) as page:
        _until(lambda: page.get("/api/state").json()["status"]["taught"])
        (tmp_path / "studio").write_bytes(page.get("/api/export/model").content)
    assert Detector.load(tmp_path / "studio").backbone == "efficientnet_lite0"
    folders = {path.parent.parent.name for path in (session.folder.hidden / "features").rglob("*.safetensors")}
    assert folders == {"onnxruntime"}


@pytest.mark.parametrize("name", ["voc", "coco", "yolo"])
def test_exported_labels_are_read_back(page: TestClient, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(io.BytesIO(page.get(f"/api/export/{name}").content)) as archive:
        archive.extractall(tmp_path)
    data = load_detection(tmp_path, split="train")
    state = page.get("/api/state").json()
    names = {each["id"]: each["name"] for each in state["classes"]}
    expected = {}
    for each in state["images"]:
        boxes = [box for box in page.get(f"/api/images/{each['id']}").json()["boxes"] if box["kind"] == "object"]
        if boxes or each["complete"]:
            expected[each["name"]] = sorted((names[box["label"]], box["edges"]) for box in boxes)
    assert len(expected) >= 3
    assert {problem.level for problem in data.problems} <= {"note"}
    assert {sample.path.name for sample in data.samples} == set(expected)
    for sample in data.samples:
        rows = zip(sample.labels.tolist(), sample.boxes.tolist(), strict=True)
        got = sorted((data.classes[label], edges) for label, edges in rows)
        assert [each for each, _ in got] == [each for each, _ in expected[sample.path.name]]
        for (_, edges), (_, wanted) in zip(got, expected[sample.path.name], strict=True):
            assert np.abs(np.subtract(edges, wanted)).max() < 1e-3


def test_tables_and_annotated_images(page: TestClient, tmp_path: Path) -> None:
    detections = page.get("/api/export/detections").text.splitlines()
    assert detections[0] == "image,class,left,top,right,bottom,confidence,by"
    assert sum(line.endswith(",person") for line in detections) >= 6
    counts = page.get("/api/export/counts").text.splitlines()
    assert counts[0] == "image,disc,square,complete"
    state = page.get("/api/state").json()
    labels = [str(each["id"]) for each in state["classes"]]
    rows = {
        each["name"]: [each["objects"].get(key, 0) + each["found"].get(key, 0) for key in labels]
        for each in state["images"]
    }
    for line in counts[1:]:
        name, *numbers, complete = line.split(",")
        assert list(map(int, numbers)) == rows[name]
        assert complete in ("yes", "no")
    answer = page.get("/api/export/images")
    assert FILE_NAMES["images"] in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert len(archive.namelist()) == len(state["images"])
        Image.open(io.BytesIO(archive.read(archive.namelist()[0]))).load()


def test_no_export_is_left_behind(page: TestClient, root: Path) -> None:
    assert not list((root / ".sppnet").glob("export-*"))
    assert {path.name for path in (root / ".sppnet").iterdir()} <= {
        "features", "studio.sqlite", "studio.sqlite-wal", "studio.sqlite-shm", "thumbnails",
    }  # fmt: skip


@pytest.mark.slow
def test_a_model_leaves_as_onnx_too(page: TestClient, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    answer = page.get("/api/export/onnx")
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert set(archive.namelist()) == {"README.md", "labels.json", "model.onnx", "run.py"}
        run = onnxruntime.InferenceSession(archive.read("model.onnx"))
    assert {each.name for each in run.get_outputs()} == {"boxes", "labels", "confidence"}


def test_splits_of_an_export_keep_frames_together_and_leave_some_to_learn_from() -> None:
    names = [f"film/frame_{number}.jpg" for number in range(8)] + [f"{number}.jpg" for number in range(8)]
    shares = {"val": 0.25, "test": 0.25}
    splits = split_of(names, [{1: 1}] * 16, shares)
    assert set(splits) == {"train", "val", "test"}
    assert len(set(splits[:8])) == 1
    assert splits == split_of(names, [{1: 1}] * 16, shares)
    assert split_of(names, [{1: 1}] * 16, {"val": 0.0}) == ["train"] * 16


def test_flat_names_never_meet() -> None:
    names = ["a/1.jpg", "b/1.png", "a_1.jpg", "1.jpg"]
    flat = flat_names(names)
    assert len({Path(name).stem for name in flat}) == len(names)
    assert [Path(name).suffix for name in flat] == [Path(name).suffix for name in names]


def test_undo_and_redo_by_request(page: TestClient) -> None:
    _change(page, {"do": "add class", "name": "extra"})
    assert page.post("/api/undo", json={}).json()["what"] == "Change"
    assert "extra" not in [each["name"] for each in page.get("/api/state").json()["classes"]]
    assert page.post("/api/redo", json={}).json()["what"] == "Change"
    assert page.post("/api/redo", json={}).json()["what"] == ""
    assert "extra" in [each["name"] for each in page.get("/api/state").json()["classes"]]
    page.post("/api/undo", json={})


def test_settings_are_kept(page: TestClient) -> None:
    answer = page.post("/api/settings", json={"threshold": 0.9, "by_itself": False}).json()
    assert (answer["threshold"], answer["by_itself"]) == (0.9, False)
    few = sum(sum(each["found"].values()) for each in page.get("/api/state").json()["images"])
    page.post("/api/settings", json={"threshold": 0.01})
    many = sum(sum(each["found"].values()) for each in page.get("/api/state").json()["images"])
    assert many > few
    page.post("/api/settings", json={"threshold": None, "by_itself": True})


def test_images_are_served_by_their_number_and_only_once(page: TestClient) -> None:
    image = page.get("/api/images/1/image")
    assert (image.status_code, image.headers["content-type"]) == (200, "image/jpeg")
    again = page.get("/api/images/1/image", headers={"If-None-Match": image.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert page.get("/api/images/1/thumbnail").headers["content-type"] == "image/webp"


@pytest.mark.parametrize(
    "path",
    [
        "/api/images/999",
        "/api/images/999/image",
        "/api/images/0/image",
        "/api/images/..%2f..%2fetc%2fpasswd/image",
        "/api/images/1e3/thumbnail",
        "/api/images/99999999999999999999999/image",
        "/api/export/../../studio.sqlite",
        "/api/export/secrets",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2f..%2f__init__.py",
        "/static//etc/passwd",
        "/.sppnet/studio.sqlite",
        "/docs",
        "/openapi.json",
    ],
)
def test_no_path_leads_to_another_file(page: TestClient, path: str) -> None:
    answer = page.get(path)
    assert answer.status_code in (404, 422), answer.text
    assert b"root:" not in answer.content
    assert b"import" not in answer.content


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 422),
        ("[]", 422),
        ('{"what": "x", "changes": []}', 422),
        ('{"what": "x", "changes": [{"do": "drop table"}]}', 422),
        ('{"what": "x", "changes": [{"do": "remove", "box": "1 or 1"}]}', 422),
        ('{"what": "x", "changes": [{"do": "remove", "box": 12345}]}', 404),
        ('{"what": "x", "changes": [{"do": "remove", "box": 1e40}]}', 422),
        ('{"what": "x", "changes": [{"do": "add", "image": 1, "label": 1, "edges": [NaN, 0, 1, 1]}]}', 422),
        ('{"what": "x", "changes": [{"do": "add", "image": 1, "label": 1, "edges": [9, 9, 1, 1]}]}', 422),
        ('{"what": "x", "changes": [{"do": "add", "image": 1, "label": 1, "edges": [1, 1, 1e400, 9]}]}', 422),
        ('{"what": "x", "changes": [{"do": "add", "image": 77, "label": 1, "edges": [1, 1, 9, 9]}]}', 404),
        ('{"what": "x", "changes": [{"do": "add", "image": 1, "label": 77, "edges": [1, 1, 9, 9]}]}', 404),
        ('{"what": "x", "changes": [{"do": "add class", "name": "  "}]}', 422),
        ('{"what": "x", "changes": [{"do": "add class", "name": "a\\u0000b"}]}', 422),
        ('{"what": "x", "changes": [{"do": "add class", "name": "disc"}]}', 422),
        ('{"what": "x", "changes": [{"do": "edit class", "label": 1, "colour": "red;"}]}', 422),
        ('{"what": "x", "image": 77, "changes": [{"do": "complete", "image": 1, "complete": true}]}', 404),
    ],
)
def test_bad_changes_are_refused_with_a_reason(page: TestClient, body: str, status: int) -> None:
    page.post(
        "/api/changes", json={"what": "x", "changes": [{"do": "add class", "name": "disc"}]}
    )  # if it is not there
    before = _shown(page)
    answer = page.post("/api/changes", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]
    assert _shown(page) == before


def _shown(page: TestClient) -> list[Any]:
    """Return what a person said; what the detector finds meanwhile changes by itself."""
    state = page.get("/api/state").json()
    told = ("id", "complete", "objects", "rejected")
    return [state["classes"], state["undo"], [[image[key] for key in told] for image in state["images"]]]


def test_nothing_to_export_is_said(shapes: Path, tmp_path: Path) -> None:
    shutil.copy(shapes / "JPEGImages/00.png", tmp_path)
    with TestClient(studio_app(Session(tmp_path)), base_url=ADDRESS) as page:
        for name, reason in (("voc", "a labelled image"), ("model", "a detector")):
            answer = page.get(f"/api/export/{name}")
            assert answer.status_code == 409
            assert f"There must be {reason}, got none." in answer.json()["detail"]
        assert page.get("/api/export/counts").text == "image,complete\n00.png,no\n"
        assert not list((tmp_path / ".sppnet").glob("export-*"))
        (tmp_path / ".sppnet" / "export-killed").mkdir()
        (tmp_path / ".sppnet" / "export-0123").write_bytes(b"half")
    with TestClient(studio_app(Session(tmp_path)), base_url=ADDRESS):
        assert not list((tmp_path / ".sppnet").glob("export-*"))


# Who may ask


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400),
        ({"Host": "127.0.0.1.evil.example:8770"}, 400),
        ({"Host": "[::1"}, 400),
        ({"Host": ""}, 400),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "https://127.0.0.1:8770"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Length": str(MAX_BODY + 1)}, 413),
        ({"Content-Length": "9" * 5000}, 413),
        ({}, 200),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_only_pages_of_this_server_may_change_anything(page: TestClient, headers: dict[str, str], status: int) -> None:
    answer = page.post("/api/teach", content="{}", headers={"Content-Type": "application/json", **headers})
    assert answer.status_code == status, answer.text


def test_a_body_without_a_length_is_refused(page: TestClient) -> None:
    answer = page.post("/api/teach", content=iter([b"{}"]), headers={"Content-Type": "application/json"})
    assert answer.status_code == 411


def test_other_sites_cannot_show_the_images(page: TestClient) -> None:
    assert page.get("/api/images/1/image", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    headers = page.get("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cross-origin-resource-policy"] == "same-origin"


# The command


def test_the_commands_of_the_documentation_exist() -> None:
    page = (Path(__file__).parents[3] / "docs" / "studio.md").read_text(encoding="utf-8")
    shown = CliRunner().invoke(app, ["studio", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    assert {"--no-browser", "--port"} <= set(re.findall(r"`(--[a-z-]+)`", page))
    assert all(option in shown.output for option in re.findall(r"`(--[a-z-]+)`", page))
    for image in re.findall(r"\]\((images/[^)]+)\)", page):
        assert (Path(__file__).parents[3] / "docs" / image).is_file()


def test_a_port_that_is_taken_is_said(root: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            ArgumentError, match=f"studio: port must be a free port, got {port}: Address already in use."
        ):
            serve_studio(root, port=port)
