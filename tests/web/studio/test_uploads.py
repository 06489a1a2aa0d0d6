"""Files that come from the page."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from sppnet.web.studio.app import studio_app
from sppnet.web.studio.session import Session

BYTES = {"Content-Type": "application/octet-stream", "Origin": "http://127.0.0.1:8770"}


@pytest.fixture
def page(tmp_path: Path) -> Iterator[TestClient]:
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    with TestClient(studio_app(Session(tmp_path)), base_url="http://127.0.0.1:8770") as page:
        yield page


def _png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (50, 30), colour).save(file, "PNG")
    return file.getvalue()


def _names(page: TestClient) -> list[str]:
    return sorted(each["name"] for each in page.get("/api/state").json()["images"])


def test_an_image_is_added_once_and_another_of_its_name_beside_it(page: TestClient) -> None:
    first = page.post("/api/uploads?name=new.png", content=_png("red"), headers=BYTES).json()
    again = page.post("/api/uploads?name=new.png", content=_png("red"), headers=BYTES).json()
    other = page.post("/api/uploads?name=new.png", content=_png("blue"), headers=BYTES).json()
    assert first == again
    assert other["image"] != first["image"]
    assert _names(page) == ["a.png", "new 2.png", "new.png"]


@pytest.mark.parametrize(
    "name", ["..", "a.exe", "../../etc/passwd", "x" * 300 + ".png", "a\n.png", ".sppnet/studio.sqlite", ""]
)
def test_a_name_of_no_image_is_refused(page: TestClient, tmp_path: Path, name: str) -> None:
    answer = page.post("/api/uploads", params={"name": name}, content=_png("red"), headers=BYTES)
    assert answer.status_code == 422
    assert "must be the name of an image" in answer.json()["detail"]
    assert _names(page) == ["a.png"]


def test_a_path_is_no_way_out(page: TestClient, tmp_path: Path) -> None:
    page.post("/api/uploads", params={"name": "../../out.png"}, content=_png("red"), headers=BYTES)
    assert (tmp_path / "out.png").is_file()
    assert not (tmp_path.parent / "out.png").exists()


def test_bytes_that_are_no_image_are_refused_and_leave_nothing(page: TestClient, tmp_path: Path) -> None:
    answer = page.post("/api/uploads?name=b.png", content=b"nothing", headers=BYTES)
    assert (answer.status_code, "must be an image" in answer.json()["detail"]) == (422, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".sppnet", "a.png"]
    assert not list((tmp_path / ".sppnet").glob("upload-*"))


def test_files_come_only_as_bytes_from_the_page_itself(page: TestClient) -> None:
    assert page.post("/api/uploads?name=b.png", json={}, headers={"Origin": BYTES["Origin"]}).status_code == 415
    foreign = BYTES | {"Origin": "http://evil.example"}
    assert page.post("/api/uploads?name=b.png", content=_png("red"), headers=foreign).status_code == 403
    assert page.post("/api/changes", content=b"{}", headers=BYTES).status_code == 415


def test_a_video_becomes_its_frames(page: TestClient, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    import numpy as np

    file = tmp_path / ".sppnet" / "made.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(25):
        writer.write(np.full((48, 64, 3), number * 10, dtype=np.uint8))
    writer.release()
    answer = page.post("/api/uploads?name=film.avi", content=file.read_bytes(), headers=BYTES)
    assert answer.json()["files"] == 3  # at 0, 1 and 2 seconds
    assert [name for name in _names(page) if name.startswith("film/")] == [
        "film/frame_0000000.jpg", "film/frame_0000010.jpg", "film/frame_0000020.jpg",
    ]  # fmt: skip
