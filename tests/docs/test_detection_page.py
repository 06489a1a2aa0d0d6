"""The page on detection: its code runs, on a few images; its figures are those measured."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

PAGE = Path(__file__).parents[2] / "docs" / "detection.md"


def test_what_it_costs_is_what_was_measured() -> None:
    figures = json.loads((PAGE.parents[1] / "results" / "rcnn.json").read_text())["figures"]
    clock = {name: f"{times:.0f} times" for name, times in figures["times_faster"]["clock"].items()}
    costs = " ".join(PAGE.read_text(encoding="utf-8").partition("## What it costs")[2].partition("## ")[0].split())
    for said in (
        f"{figures['regions']:,} regions, on two cores",
        f"takes {clock['one scale']} as long",
        f"{clock['one scale, no normalisation in either']} where neither normalises",
        f"{clock['one scale, layers in bfloat16 in both']} with the layers",
        f"five scales it is {clock['five scales']}",
        f"with it, {clock['with selective search']}",
        f"bfloat16, {clock['with selective search at two thirds, layers in bfloat16']}.",
    ):
        assert said in costs


@pytest.mark.slow
def test_the_code_of_the_page_on_detection_runs(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(shapes, tmp_path / "cells")
    sets = tmp_path / "cells" / "ImageSets" / "Main"
    (sets / "train.txt").write_text("00\n01\n02")
    (sets / "val.txt").write_text("08")
    Image.open(shapes / "JPEGImages" / "10.png").convert("RGB").save(tmp_path / "new.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        few = code.replace("steps=(2000, 500)", "steps=(4, 1)")  # in seconds
        exec(compile(few, "detection.md", "exec"), names)
    assert "%" in capsys.readouterr().out
    assert len(names["found"]) > 0
    assert len(names["together"]) > 0
    assert (tmp_path / "cells.safetensors").is_file()
