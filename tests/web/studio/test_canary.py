"""No name, place or pixel of a person's images comes out in the log, whatever goes wrong."""

import errno
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sppnet.errors import places_of
from sppnet.storage import open_file
from sppnet.web.studio.app import studio_app
from sppnet.web.studio.session import Session

ADDRESS = "http://127.0.0.1:8000"
CANARY = "bird-in-a-mine"


def _fail(kind: type[Exception], *arguments: Any) -> Callable[..., Any]:
    def failing(*_: object, **__: object) -> Any:
        raise kind(*arguments)

    return failing


def test_the_log_names_no_image_and_no_folder(
    shapes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / f"{CANARY} folder"
    folder.mkdir()
    path = folder / f"{CANARY}.png"
    shutil.copy(next((shapes / "JPEGImages").iterdir()), path)
    (folder / f"{CANARY}-broken.jpg").write_bytes(b"\xff\xd8" + CANARY.encode() * 9)
    session = Session(folder)
    app = studio_app(session)
    headers = {"Origin": ADDRESS, "User-Agent": CANARY, "Cookie": f"person={CANARY}"}
    asked: list[tuple[str, str, Any]] = [
        ("GET", f"/{CANARY}", None),
        ("GET", f"/api/images/{CANARY}", None),
        ("GET", "/api/images/99/thumbnail", None),
        ("GET", f"/api/export/{CANARY}", None),
        ("POST", "/api/changes", {"what": CANARY, "changes": [{"do": CANARY}]}),
        ("POST", "/api/changes", {"what": CANARY, "changes": [{"do": "add class", "name": CANARY * 30}]}),
        ("POST", f"/api/upload?name={CANARY}.jpg", CANARY),
    ]
    with (
        caplog.at_level(logging.DEBUG),
        TestClient(app, base_url=ADDRESS) as client,
    ):  # to which nothing is raised: a server would log its message
        for method, place, body in asked:
            client.request(method, place, json=body, headers=headers)
        image = client.get("/api/state").json()["images"][0]["id"]
        faults: list[tuple[type[Exception], tuple[Any, ...]]] = [
            (OSError, (errno.EIO, CANARY, str(path))),
            (RuntimeError, (f"{path}: {CANARY}",)),
            (ValueError, (path.read_bytes()[:30],)),
        ]
        for kind, arguments in faults:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(session, "opened", _fail(kind, *arguments))
                answer = client.get(f"/api/images/{image}")
                assert answer.status_code >= 500
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("sppnet", "uvicorn"))]
    said = "\n".join(ours) + "".join(capfd.readouterr())
    assert "the studio's requests: RuntimeError at " in said  # it is told where, for a report
    assert CANARY not in said
    assert str(tmp_path) not in said


def test_what_is_logged_of_a_fault_is_its_kind_and_its_place() -> None:
    with pytest.raises(OSError, match=CANARY) as caught:
        open_file(Path(f"/home/{CANARY}/a.jpg"))
    assert re.fullmatch(r"FileNotFoundError at test_canary\.py:\d+, files\.py:\d+", places_of(caught.value))
