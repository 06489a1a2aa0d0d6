"""No name, place or byte that a client sends comes out in the log or in the figures, whatever goes wrong."""

import io
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.web.service.calling import LIMITS
from tests.web.service.conftest import START

from sppnet.web.service import frames, worker
from sppnet.web.service.limits import ServiceLimits

CANARY = "bird-in-a-mine"
FORM = f'--b\r\nContent-Disposition: form-data; name="{{name}}"; filename="{CANARY}.png"\r\n\r\n'
FORMS = {"Content-Type": "multipart/form-data; boundary=b"}


def _asked(address: str, path: str, body: bytes | None, headers: dict[str, str]) -> int:
    known = {"User-Agent": CANARY, "Cookie": f"person={CANARY}", "Referer": f"http://{CANARY}/"}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{address}{path}", body, known | headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_what_strangers_send_is_not_said(models: dict[str, Path], image: bytes, tmp_path: Path) -> None:
    folder = tmp_path / f"home of {CANARY}"
    folder.mkdir()
    model = folder / "shapes.safetensors"
    model.write_bytes(models["shapes"].read_bytes())
    end = b"\r\n--b--\r\n"
    asked: list[tuple[str, bytes | None, dict[str, str]]] = [
        (f"/{CANARY}", None, {}),
        (f"/static/{CANARY}", None, {}),
        (f"/v1/model?{CANARY}={CANARY}", None, {}),
        (f"/v1/detect?model={CANARY}", image, {"Content-Type": "image/png"}),
        (f"/v1/features?boxes={CANARY}", image, {"Content-Type": "image/png"}),
        ("/v1/detect", CANARY.encode() * 99, {"Content-Type": "image/png"}),
        ("/v1/detect", b"\xff\xd8" + CANARY.encode() * 99, {"Content-Type": "image/jpeg"}),
        ("/v1/detect", image[:-300] + CANARY.encode(), {"Content-Type": "image/png"}),
        ("/v1/detect", image, {"Content-Type": f"{CANARY}/png"}),
        ("/v1/detect", image, {"Content-Type": "image/png", "Host": f"{CANARY}.example"}),
        ("/v1/detect", image, {"Content-Type": "image/png", "Origin": f"https://{CANARY}.example"}),
        ("/v1/detect", FORM.format(name="image").encode() + image + end, FORMS),
        ("/v1/detect", FORM.format(name=CANARY).encode() + image + end, FORMS),
        ("/v1/detect", FORM.format(name="image").encode() + CANARY.encode(), FORMS),
    ]
    log = tmp_path / "log"
    command = [sys.executable, "-c", START, json.dumps(asdict(LIMITS)), str(model)]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as server,
    ):
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        statuses = [_asked(address, *each) for each in asked]
        with urllib.request.urlopen(f"{address}/metrics") as answer:
            figures = answer.read().decode()
        server.terminate()
    assert {status // 100 for status in statuses} == {2, 4}
    assert "sppnet" in figures
    for said in (figures, log.read_text()):
        assert CANARY not in said
        assert str(tmp_path) not in said


def test_of_a_fault_of_a_worker_the_log_has_the_kind_and_the_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"/home/{CANARY}/a.png: {CANARY}")

    monkeypatch.setattr("torch.set_num_threads", lambda _: None)  # it would stay so
    monkeypatch.setattr("sppnet.web.service.answers.load", lambda *_: {})
    monkeypatch.setattr("sppnet.web.service.answers.answer", fail)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as questions, os.fdopen(writing, "wb") as asker:
        frames.write(asker, {"name": CANARY}, CANARY.encode())
        asker.close()
        worker._work([], "torch", ServiceLimits(), questions, answers := io.BytesIO())
    said = capsys.readouterr().err
    assert said.startswith("RuntimeError at worker.py:")
    assert CANARY not in said
    assert CANARY.encode() not in answers.getvalue()
