"""Files that come from the page."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from sppnet.web.studio import uploads
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
    assert first["image"] == again["image"]
    assert other["image"] != first["image"]
    assert _names(page) == ["a.png", "new 2.png", "new.png"]


@pytest.mark.parametrize(
    "name", ["..", "a.exe", "../../etc/passwd", "x" * 300 + ".png", "a\n.png", ".sppnet/studio.sqlite", ""]
)
def test_a_name_of_no_image_is_refused(page: TestClient, tmp_path: Path, name: str) -> None:
    answer = page.post("/api/uploads", params={"name": name}, content=_png("red"), headers=BYTES)
    assert answer.status_code == 422
    assert "is the name of neither an image (JPEG, " in answer.json()["detail"]
    assert _names(page) == ["a.png"]


def test_a_path_is_no_way_out(page: TestClient, tmp_path: Path) -> None:
    page.post("/api/uploads", params={"name": "../../out.png"}, content=_png("red"), headers=BYTES)
    assert (tmp_path / "out.png").is_file()
    assert not (tmp_path.parent / "out.png").exists()


def test_bytes_that_are_no_image_are_refused_and_leave_nothing(page: TestClient, tmp_path: Path) -> None:
    answer = page.post("/api/uploads?name=b.png", content=b"nothing", headers=BYTES)
    assert (answer.status_code, "b.png cannot be read: " in answer.json()["detail"]) == (422, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".sppnet", "a.png"]
    assert not list((tmp_path / ".sppnet").glob("upload-*"))


def test_files_come_only_as_bytes_from_the_page_itself(page: TestClient) -> None:
    assert page.post("/api/uploads?name=b.png", json={}, headers={"Origin": BYTES["Origin"]}).status_code == 415
    foreign = BYTES | {"Origin": "http://evil.example"}
    assert page.post("/api/uploads?name=b.png", content=_png("red"), headers=foreign).status_code == 403
    assert page.post("/api/changes", content=b"{}", headers=BYTES).status_code == 415


def _video(tmp_path: Path, *, frames: int = 25, shade: int = 10, start: int = 0) -> bytes:
    """Write a film of 10 frames a second, each of another grey, and return it."""
    cv2 = pytest.importorskip("cv2")
    file = tmp_path / ".sppnet" / "made.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), start + number * shade, dtype=np.uint8))
    writer.release()
    content = file.read_bytes()
    file.unlink()
    return content


def test_a_video_becomes_its_frames_in_their_order(page: TestClient, tmp_path: Path) -> None:
    answer = page.post("/api/uploads?name=film.avi", content=_video(tmp_path), headers=BYTES).json()
    assert (answer["files"], answer["cut"]) == (3, False)  # at 0, 1 and 2 seconds
    names = [name for name in _names(page) if name.startswith("film/")]
    assert names == ["film/frame_0000000.jpg", "film/frame_0000010.jpg", "film/frame_0000020.jpg"]
    greys = [int(np.array(Image.open(tmp_path / name).convert("L")).mean()) for name in names]
    np.testing.assert_allclose(greys, [0, 100, 200], atol=4)
    assert not list((tmp_path / ".sppnet").glob("upload-*"))


@pytest.mark.parametrize(("every", "numbers"), [(0.5, [0, 5, 10, 15, 20]), (0.001, list(range(25))), (10, [0])])
def test_the_step_between_frames_is_chosen(page: TestClient, tmp_path: Path, every: float, numbers: list[int]) -> None:
    page.post(f"/api/uploads?name=film.avi&every={every}", content=_video(tmp_path), headers=BYTES)
    assert [int(name[-11:-4]) for name in _names(page) if name.startswith("film/")] == numbers


@pytest.mark.parametrize("every", ["0", "-1", "nan", "4000", "x"])
def test_a_step_that_is_none_is_refused(page: TestClient, every: str) -> None:
    answer = page.post(f"/api/uploads?name=film.avi&every={every}", content=b"", headers=BYTES)
    assert (answer.status_code, "every" in answer.json()["detail"]) == (422, True)


def test_another_video_of_the_name_lies_beside_it_and_the_same_one_is_there_once(
    page: TestClient, tmp_path: Path
) -> None:
    first, other = _video(tmp_path), _video(tmp_path, frames=11, shade=20, start=40)
    for content in (first, other, first):
        page.post("/api/uploads?name=film.avi", content=content, headers=BYTES)
    folders = [name.split("/")[0] for name in _names(page) if "/" in name]
    assert folders == ["film 2"] * 2 + ["film"] * 3


def test_of_a_long_video_the_first_frames_are_taken_and_that_is_said(
    page: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_FRAMES", 2)
    answer = page.post("/api/uploads?name=film.avi", content=_video(tmp_path), headers=BYTES).json()
    assert (answer["files"], answer["cut"]) == (2, True)


def test_frames_that_are_too_large_and_bytes_that_are_no_video_are_refused(
    page: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = _video(tmp_path)
    monkeypatch.setattr(uploads, "MAX_PIXELS", 3000)
    answer = page.post("/api/uploads?name=film.avi", content=content, headers=BYTES)
    assert answer.json()["detail"].startswith("The file must be a video of up to 3000 pixels a frame, got one")
    answer = page.post("/api/uploads?name=film.avi", content=b"nothing", headers=BYTES)
    assert "The file must be a video, got one without a frame" in answer.json()["detail"]
    assert _names(page) == ["a.png"]


def test_an_image_that_is_here_already_is_not_called_new(page: TestClient) -> None:
    fresh = [
        page.post(f"/api/uploads?name={name}", content=_png("red"), headers=BYTES).json()["fresh"]
        for name in ("new.png", "new.png", "other.png")
    ]
    assert fresh == [1, 0, 1]


def test_an_image_that_cannot_be_decoded_is_refused_with_the_reason(page: TestClient, tmp_path: Path) -> None:
    half = io.BytesIO()
    Image.effect_noise((200, 200), 80).save(half, "PNG")
    answer = page.post("/api/uploads?name=half.png", content=half.getvalue()[:9000], headers=BYTES)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("half.png cannot be read: ")
    assert answer.json()["detail"].endswith("Choose another file.")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".sppnet", "a.png"]
