"""A full disk stops what needs room, with words, and nothing else; with room again it goes on."""

import errno
import io
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sppnet.errors import WriteError
from sppnet.web.studio.app import studio_app
from sppnet.web.studio.events import Batches
from sppnet.web.studio.opening import TakenIn
from sppnet.web.studio.session import Session
from sppnet.web.studio.store import Store

ADDRESS = "http://127.0.0.1:8000"
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _full(*_: object, **__: object) -> None:
    raise FULL


@pytest.fixture
def page(shapes: Path, tmp_path: Path) -> Iterator[TestClient]:
    for path in sorted((shapes / "JPEGImages").iterdir())[:2]:
        shutil.copy(path, tmp_path)
    with TestClient(studio_app(Session(tmp_path)), base_url=ADDRESS, headers={"Origin": ADDRESS}) as client:
        yield client


def _add_many(store: Store) -> None:
    with store.step("Many") as step:
        for index in range(2000):
            step.add("class", {"name": f"{index:0500}", "colour": "red"})


def test_a_change_that_finds_no_room_is_not_stored_and_the_ones_before_are(tmp_path: Path) -> None:
    with Store(tmp_path / "studio.sqlite") as store:
        with store.step("One") as step:
            step.add("class", {"name": "one", "colour": "red"})
        store._connection.execute("PRAGMA max_page_count = 1")  # no more than there are
        with pytest.raises(WriteError) as caught:
            _add_many(store)
        assert str(caught.value) == (
            f"{store.file}: cannot be written: database or disk is full. This change is not stored, all before it are. "
            "Free some space there, or name another disk."
        )
        assert [each.name for each in store.classes()] == ["one"]
        store._connection.execute("PRAGMA max_page_count = 100000")
        with store.step("Another") as step:
            step.add("class", {"name": "two", "colour": "red"})
    with Store(tmp_path / "studio.sqlite") as store:
        assert [each.name for each in store.classes()] == ["one", "two"]


def test_thumbnails_are_shown_where_they_cannot_be_stored(page: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    image = page.get("/api/state").json()["images"][0]["id"]
    monkeypatch.setattr(Path, "replace", _full)
    answer = page.get(f"/api/images/{image}/thumbnail")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")


def test_an_export_that_finds_no_room_says_so_and_leaves_nothing(
    page: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = page.get("/api/state").json()["images"][0]["id"]
    changes = [{"do": "add class", "name": "disc"}]
    (label,) = page.post("/api/changes", json={"what": "a", "image": None, "changes": changes}).json()["added"]
    changes = [{"do": "add", "image": image, "label": label, "edges": [10, 10, 40, 40]}]
    assert page.post("/api/changes", json={"what": "b", "image": image, "changes": changes}).status_code == 200
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "write", _full)
        answer = page.get("/api/export/voc")
    assert answer.status_code == 507
    assert "cannot be written: No space left on device. Free some space there" in answer.json()["detail"]
    assert not list((tmp_path / ".sppnet").glob("*export*"))
    assert page.get("/api/export/voc").status_code == 200


def test_a_body_of_two_lengths_is_refused(page: TestClient) -> None:
    headers = {"Transfer-Encoding": "chunked", "Content-Length": "2", "Content-Type": "application/json"}
    answer = page.post("/api/undo", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (
        411,
        "content-length must be given, and no transfer-encoding.",
    )


def test_an_upload_that_finds_no_room_says_so_and_leaves_nothing(
    page: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = next(tmp_path.glob("*.png")).read_bytes()
    headers = {"Content-Type": "application/octet-stream"}
    opened = Path.open

    def full_for_writing(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        return opened(path, mode, *args, **kwargs) if mode.startswith("r") else _full()

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full_for_writing)  # the session's own thread reads meanwhile
        answer = page.post("/api/uploads?name=new.png", content=content, headers=headers)
    hidden = tmp_path / ".sppnet"
    assert (answer.status_code, answer.json()["detail"]) == (
        507,
        f"{hidden}: cannot be written: No space left on device. Free some space there, or name another disk.",
    )
    assert not list(hidden.glob("upload-*"))
    assert page.post("/api/uploads?name=new.png", content=content, headers=headers).status_code == 200


def test_a_zip_that_finds_no_room_is_not_called_broken(page: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "0 0.5 0.5 0.1 0.1")
    headers = {"Content-Type": "application/octet-stream"}
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", _full)
        answer = page.post("/api/imports?name=labels.zip", content=file.getvalue(), headers=headers)
    assert answer.status_code == 507
    assert "cannot be written: No space left on device. Free some space there" in answer.json()["detail"]
    assert page.post("/api/imports?name=labels.zip", content=file.getvalue(), headers=headers).status_code == 200


def test_the_folder_is_watched_on_after_a_full_disk_that_is_told_once(
    page: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sppnet.web.studio.session.LOOK_EVERY", 0.01)
    path, again, looks = next(tmp_path.glob("*.png")), threading.Event(), iter(range(1000))

    def take_in(*_: object) -> TakenIn:
        if next(looks) < 3:
            raise WriteError(path, FULL)
        again.set()
        return TakenIn()

    monkeypatch.setattr("sppnet.web.studio.session.take_in", take_in)
    assert again.wait(20)
    said = [record.getMessage() for record in caplog.records if "look at its folder" in record.getMessage()]
    assert len(said) == 1
    assert path.name not in said[0]


def test_numbers_are_handed_on_after_a_failure() -> None:
    got, second = [], threading.Event()

    def send(numbers: list[int]) -> None:
        got.extend(numbers)
        if len(got) == 1:
            raise FULL
        second.set()

    batches = Batches(send)
    batches.start()
    batches.add(1, at_once=True)
    while not got:
        second.wait(0.01)
    batches.add(2, at_once=True)
    assert second.wait(20)
    batches.stop()
    assert got == [1, 2]


def test_features_of_the_other_images_are_computed_whatever_one_of_them_runs_into(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for path in sorted((shapes / "JPEGImages").iterdir())[:2]:
        shutil.copy(path, tmp_path)
    prepared = iter([RuntimeError("a name"), None])

    def prepare(*_: object) -> None:
        error = next(prepared)
        if error is not None:
            raise error

    monkeypatch.setattr("sppnet.detection.detector.Detector.prepare_image", prepare)
    session, both = Session(tmp_path), threading.Event()
    tell = session.learner.tell

    def told(name: str, content: dict[str, Any]) -> None:
        tell(name, content)
        if len(session.learner.ready) == 1 and len(session.learner.faults) == 1:
            both.set()

    session.learner.tell = told
    session.start()
    assert both.wait(60)
    session.close()
    assert list(session.learner.faults.values()) == ["a name"]
    said = [record.getMessage() for record in caplog.records if "features" in record.getMessage()]
    assert len(said) == 1
    assert "RuntimeError at" in said[0]
    assert "a name" not in said[0]
