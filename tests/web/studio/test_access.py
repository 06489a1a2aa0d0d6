"""Who may come in where other machines reach the studio."""

import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sppnet.errors import ArgumentError
from sppnet.web.studio import access as door
from sppnet.web.studio import serving
from sppnet.web.studio.access import SESSION, Access, TooManyGuesses
from sppnet.web.studio.app import studio_app
from sppnet.web.studio.below import Below, checked_path
from sppnet.web.studio.serving import serve_studio
from sppnet.web.studio.session import Session

ADDRESS = "http://labels.example"
PASSWORD = "eight or more"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[TestClient]:
    for name in "ab":
        Image.new("RGB", (60, 40)).save(tmp_path / f"{name}.png")
    application = studio_app(Session(tmp_path), access=Access(PASSWORD))
    with TestClient(application, base_url=ADDRESS, headers={"Origin": ADDRESS}) as page:
        yield page


def _enter(page: TestClient, name: str = "Ada", password: str = PASSWORD) -> int:
    return page.post("/api/login", json={"name": name, "password": password}).status_code


@pytest.mark.parametrize(
    "path", ["/api/state", "/api/images/1/image", "/api/export/voc", "/static/main.js", "/api/events"]
)
def test_without_the_password_nothing_is_shown(page: TestClient, path: str) -> None:
    assert page.get(path).status_code == 401
    door_page = page.get("/")
    assert (door_page.status_code, "password" in door_page.text) == (401, True)
    assert "a.png" not in door_page.text


def test_with_the_password_everything_is(page: TestClient) -> None:
    assert _enter(page, password="wrong password") == 403
    assert page.get("/api/state").status_code == 401
    assert _enter(page) == 200
    state = page.get("/api/state").json()
    assert (len(state["images"]), state["me"]) == (2, "Ada")
    page.post("/api/logout", json={})
    assert page.get("/api/state").status_code == 401


def test_a_session_is_hidden_from_scripts_and_other_sites(page: TestClient) -> None:
    answer = page.post("/api/login", json={"name": "Ada", "password": PASSWORD})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    page.cookies.set(SESSION, "guessed")
    assert TestClient(page.app, base_url=ADDRESS, cookies={SESSION: "guessed"}).get("/api/state").status_code == 401


def test_other_sites_change_nothing_even_with_a_session(page: TestClient) -> None:
    _enter(page)
    answer = page.post("/api/teach", json={}, headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403


def test_guessing_is_slowed_down(page: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(door.WRONG):
        assert _enter(page, password="wrong password") == 403
    assert _enter(page) == 429
    later = door.monotonic() + door.WITHIN + 1
    monkeypatch.setattr(door, "monotonic", lambda: later)
    assert _enter(page) == 200


def test_guesses_at_the_same_time_are_counted_before_the_next_is_tried() -> None:
    access = Access(PASSWORD)

    def guess(_: int) -> str:
        try:
            return "wrong" if access.enter("Eve", "wrong password", "10.0.0.1") is None else "right"
        except TooManyGuesses:
            return "stopped"

    with ThreadPoolExecutor(16) as threads:
        said = Counter(threads.map(guess, range(16)))
    assert said == {"wrong": door.WRONG, "stopped": 16 - door.WRONG}
    assert access.enter("Ada", PASSWORD, "10.0.0.2") is not None


def test_any_number_with_the_password_come_in_at_the_same_time() -> None:
    access = Access(PASSWORD)
    with ThreadPoolExecutor(16) as threads:
        tokens = set(threads.map(lambda _: access.enter("Ada", PASSWORD, "10.0.0.1"), range(16)))
    assert len(tokens - {None}) == 16


def test_sessions_that_ended_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    access, now = Access(PASSWORD), door.monotonic()
    first = access.enter("Ada", PASSWORD, "10.0.0.1")
    monkeypatch.setattr(door, "monotonic", lambda: now + door.LASTS + 60)
    second = access.enter("Ada", PASSWORD, "10.0.0.1")
    assert set(access._sessions) == {second} != {first}


def test_a_session_ends(page: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    _enter(page)
    later = door.monotonic() + door.LASTS + 1
    monkeypatch.setattr(door, "monotonic", lambda: later)
    assert page.get("/api/state").status_code == 401


def test_each_undoes_their_own_and_gets_another_image(page: TestClient) -> None:
    other = TestClient(page.app, base_url=ADDRESS, headers={"Origin": ADDRESS})
    _enter(page, "Ada")
    _enter(other, "Bo")
    first = page.post("/api/next", json={}).json()["image"]
    second = other.post("/api/next", json={}).json()["image"]
    assert first != second
    for each, image in ((page, first), (other, second)):
        change = {"what": "Complete", "changes": [{"do": "complete", "image": image, "complete": True}]}
        assert each.post("/api/changes", json=change).status_code == 200
    assert page.post("/api/undo", json={}).json()["what"] == "Complete"
    assert page.post("/api/undo", json={}).json()["what"] == ""
    complete = {each["id"]: each["complete"] for each in page.get("/api/state").json()["images"]}
    assert complete == {first: False, second: True}
    assert {each["name"] for each in page.get("/api/state").json()["people"]} == {"Ada", "Bo"}


def test_other_machines_are_let_in_by_a_password_only(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"studio: password must be given where other machines reach the studio"):
        serve_studio(tmp_path, host="0.0.0.0")
    with pytest.raises(ArgumentError, match=r"studio: password must be of at least 8 characters, got 5"):
        serve_studio(tmp_path, host="0.0.0.0", password="short")


@pytest.mark.parametrize(("host", "named"), [("0.0.0.0", socket.gethostname()), ("127.0.0.1", "127.0.0.1")])
def test_the_address_that_is_told_is_one_that_others_can_open(
    host: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(serving, "Session", lambda *_, **__: None)
    monkeypatch.setattr(serving, "studio_app", lambda *_, **__: Starlette())
    monkeypatch.setattr(serving, "_LettingGo", lambda *_: SimpleNamespace(run=lambda sockets: sockets))
    serve_studio(tmp_path, host=host, password=PASSWORD, ready=told.append)
    assert [address.rsplit(":", 1)[0] for address in told] == [f"http://{named}"]


@pytest.mark.parametrize(("given", "path"), [("", ""), ("/", ""), ("studio", "/studio"), ("/a/b/", "/a/b")])
def test_a_path_is_brought_into_one_form(given: str, path: str) -> None:
    assert checked_path(given) == path


@pytest.mark.parametrize("given", ["/a b", "/../x", "/é", "/a?b"])
def test_a_path_that_is_no_part_of_an_address_is_refused(given: str) -> None:
    with pytest.raises(ArgumentError, match="studio: path must be letters, digits"):
        checked_path(given)


def test_below_a_path_the_page_answers_there_and_nowhere_else() -> None:
    async def answer(request: Request) -> Response:
        return PlainTextResponse(request.scope["path"])

    inner = Starlette(routes=[Route("/{rest:path}", answer)])
    with TestClient(Below(inner, "/studio"), base_url="http://127.0.0.1") as client:
        assert client.get("/studio/api/state").text == "/api/state"
        assert client.get("/studio", follow_redirects=False).headers["location"] == "/studio/"
        assert [client.get(path).status_code for path in ("/", "/studios/", "/api/state")] == [404] * 3
