"""Who may ask, and with which parameters."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from tests.web.service.calling import LIMITS, Served

from sppnet.errors import ArgumentError
from sppnet.web.service.app import make_app
from sppnet.web.service.serving import serve
from sppnet.web.service.workers import Workers

KEY = "a key of many letters"


@pytest.fixture
def keyed() -> Iterator[TestClient]:
    """Return a service without models that asks for a key."""
    app = make_app(Workers([], count=1, limits=LIMITS), limits=LIMITS, local=True, key=KEY)
    with TestClient(app, base_url="http://127.0.0.1:8080") as client:
        yield client


@pytest.mark.parametrize("given", [None, "", KEY, f"Basic {KEY}", f"Bearer {KEY[:-1]}", f"Bearer {KEY}x", "Bearer é"])
@pytest.mark.parametrize("path", ["/v1/model", "/v1/detect", "/metrics"])
def test_without_the_key_nothing_is_answered(keyed: TestClient, given: str | None, path: str) -> None:
    headers = {} if given is None else {"Authorization": given.encode()}
    answer = keyed.request("POST" if path == "/v1/detect" else "GET", path, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "a key must come in the header Authorization, as 'Bearer KEY'" in answer.json()["detail"]


def test_with_the_key_it_answers_and_its_pages_come_to_all(keyed: TestClient) -> None:
    assert keyed.get("/v1/model", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
    assert [keyed.get(path).status_code for path in ("/", "/docs", "/openapi.json", "/static/page.js")] == [200] * 4
    assert keyed.get("/openapi.json").json()["security"] == [{"key": []}]
    assert keyed.get("/healthz").status_code == 503  # no worker, and asked without a key


def test_a_short_key_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(
        ArgumentError, match=r"serve: key must be of at least 16 printable ASCII characters, got 5 char"
    ):
        serve([Path("none")], host="127.0.0.1", port=0, key="short")


@pytest.mark.parametrize("path", ["/v1/detect?treshold=0.5", "/v1/classify?threshold=0.5", "/v1/features?top=1"])
def test_a_parameter_that_is_none_is_refused(served: Served, image: bytes, path: str) -> None:
    answer = served.post(path, image)
    assert answer.status == 422
    name = path.partition("?")[2].partition("=")[0]
    assert answer.detail.startswith("parameters must be one of model, ")
    assert answer.detail.endswith(f"got {name!r}. See /docs.")
    assert served.ask("GET", "/v1/model?x=1").detail.startswith("parameters must be left out, for there are none")


def test_a_model_is_known_by_its_bytes_and_its_date(served: Served, models: dict[str, Path]) -> None:
    facts = {each["name"]: each for each in served.ask("GET", "/v1/model").json()["models"]}
    for name, path in models.items():
        assert facts[name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert datetime.fromisoformat(facts[name]["date"]).timestamp() == int(path.stat().st_mtime)
