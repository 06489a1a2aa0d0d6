"""The page of documentation: its commands and its Python run as they stand."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.web.service.calling import Served

PAGE = (Path(__file__).parents[3] / "docs/service.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with Image.open(shapes / "JPEGImages/10.png") as image:
        image.save(tmp_path / "new.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _code(language: str, containing: str, served: Served) -> str:
    (code,) = [each for each in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if containing in each]
    return str(code).replace("http://127.0.0.1:8080", served.address)


def test_its_python_runs(served: Served, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(compile(_code("python", "explain", served), "service.md", "exec"), names)
    assert "disc" in capsys.readouterr().out
    assert len(names["rows"]) == 2


def test_its_commands_run(served: Served, folder: Path) -> None:
    lines = _code("sh", "curl", served).splitlines()
    replies = [subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout for line in lines]
    found, named, _, facts = replies
    assert json.loads(found)["detections"]
    assert json.loads(named)["best"]
    assert json.loads(facts)["models"]
    assert np.load(folder / "rows.npy").shape[0] == 1
