"""The page on detection: its code runs, on a few images; its figures are those measured."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sppnet.detection.settings import SETTINGS

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


def test_the_settings_of_the_table_are_those_of_the_presets() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert "| | ours | paper | released |" in page
    ours, paper, released = (SETTINGS[name] for name in ("ours", "paper", "released"))
    times, easy = {1: "once", 2: "twice"}, f"{paper.retrain_after:,}, easy under {paper.evict_below:g}"
    boxes = [f"{each.regression_iou:g}, {each.ridge:g}, {times[each.rounds]}" for each in (paper, released)]
    double = {2.0: "positives twice"}[paper.positive_weight]
    for row in (
        f"| positives | objects, and regions that overlap one by {ours.positive_iou:g} | objects | objects |",
        f"| negatives: overlap with objects of the class |{3 * f' < {ours.negative_iou:g} |'}",
        f"| near-duplicates among negatives |{2 * f' over {ours.duplicate_iou:g} dropped |'} those of one window |",
        f"| hard negatives | score over {ours.margin:g}, once "
        f"| over {paper.margin:.5g}, retrained after {easy} | the same |",
        f"| SVM | C {ours.cost:g} | C {paper.cost:g}, bias {paper.bias:g}, {double} | the same |",
        f"| box regression from overlap | {ours.regression_iou:g}, penalty {ours.ridge:g}, moved {times[ours.rounds]} "
        f"| {boxes[0]} | {boxes[1]} |",
        f"| boxes of the kept | mean of their voters from {ours.voting_iou:g} | as they are | as they are |",
        f"| window and scale rule | {ours.rule} | {paper.rule} | {released.rule} |",
        f"| suppression | {ours.nms_iou:g} | {paper.nms_iou:g} | {released.nms_iou:g} |",
        f"| a second turn for those that overlap none of the kept by more than | {ours.apart_iou:g} | none | none |",
    ):
        assert row in page
    assert (paper.apart_iou, released.apart_iou) == (None, None)
    assert (paper.positive_iou, paper.voting_iou, paper.sampled, released.sampled) == (None, None, False, False)


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
