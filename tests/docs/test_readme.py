"""README: its code runs, its commands exist, its table is the measured one."""

import dataclasses
import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sppnet.cli.commands import app
from sppnet.data import Sample, load_detection
from sppnet.detection.detections import Detections

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def blood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the folder that README's code works on: two labelled images in VOC's layout."""
    root = tmp_path / "blood"
    for folder in ("JPEGImages", "Annotations"):
        (root / folder).mkdir(parents=True)
    for name in ("a", "b", "new"):
        pixels = np.full((96, 128, 3), 230, dtype=np.uint8)
        pixels[30:60, 40:70] = (180, 40, 60)
        folder = tmp_path if name == "new" else root / "JPEGImages"
        Image.fromarray(pixels).save(folder / f"{name}.jpg")
    box = "<bndbox><xmin>41</xmin><ymin>31</ymin><xmax>70</xmax><ymax>60</ymax></bndbox>"
    for name in ("a", "b"):
        text = f"<annotation><object><name>cell</name>{box}</object></annotation>"
        (root / "Annotations" / f"{name}.xml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return root


def test_the_python_of_the_readme_runs(blood: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = _blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    assert "cell" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["start.md", "howto.md", "backbones.md"])
@pytest.mark.slow
def test_the_python_of_a_page_runs(name: str, blood: Path) -> None:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    for code in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(compile(code, name, "exec"), {})


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_the_commands_of_a_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.startswith("sppnet ")]
    assert len(lines) >= (6 if page.name == "README.md" else 0)
    for line in lines:
        words = shlex.split(line.split("#")[0])[1:]
        names = [word for word in words[:2] if re.fullmatch("[a-z]+", word)]
        command = names if names[0] in ("train", "bench") else names[:1]
        shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
        assert shown.exit_code == 0, line
        for option in (word for word in words if word.startswith("--")):
            assert option in shown.output, f"{line}: {option}"


def test_the_code_of_the_page_on_pooling_runs() -> None:
    page = (ROOT / "docs" / "pooling.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "pooling.md", "exec"), names)
    assert names["a"].shape == names["b"].shape == (2, 256 * 50)
    assert names["pooled"].shape == (2, 256, 50)
    assert names["whole"].shape == (256, 14)
    assert names["features"].grad is not None


def test_the_code_of_the_page_on_classification_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "classification.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(compile(code, "classification.md", "exec"), names)
    assert names["scores"].shape == names["wide"].shape == names["resnet_scores"].shape == (1, 10)
    assert names["window_scores"].shape == (2, 10)
    assert names["layers"]["pool5"].shape == (1, 32 * 50)
    assert names["again"].notes == {"classes": [str(k) for k in range(10)]}
    assert names["many"].shape == (98, 10)
    assert names["whole"].shape == names["ten"].shape == (10,)
    assert [len(vector) for vector in names["found"].values()][1:] == [32 * 36, 32 * 50, 512]


def _exists(dotted: str) -> bool:
    """Tell whether a dotted name can be imported, or is an attribute of something that can."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            found = getattr(found, name, None)
        return found is not None
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_name_that_a_page_tells_of_exists(page: Path) -> None:
    names = re.findall(r"`(sppnet(?:\.\w+)+)", page.read_text(encoding="utf-8"))
    assert [name for name in names if not _exists(name)] == []


def test_a_name_that_does_not_exist_is_seen() -> None:
    assert _exists("sppnet.ops.pool_windows")
    assert not _exists("sppnet.ops.pool_widows")
    assert not _exists("sppnet.oops")


def test_the_code_of_the_page_on_proposals_runs() -> None:
    page = (ROOT / "docs" / "proposals.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "proposals.md", "exec"), names)
    assert names["found"].tolist() == [True]


def test_the_code_of_the_page_on_evaluation_runs(blood: Path) -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(compile(code, "evaluation.md", "exec"), names)
    nothing = np.zeros(1, dtype=bool)
    sample = Sample(Path(), np.array([[0.0, 0, 9, 9]]), np.zeros(1, np.int64), nothing, nothing, (9, 9))
    right = Detections(sample.boxes, sample.labels, np.ones(1, np.float32), ("a",))
    wrong = dataclasses.replace(right, boxes=sample.boxes + 100)
    assert names["difference"]([wrong], [right], [sample], ("a",)) == (1.0, 1.0)
    data = load_detection(blood)
    names["publish"]([right] * 2, data, blood.parent / "out")
    written = {path.name for path in (blood.parent / "out").iterdir()}
    assert written == {"curves.svg", "detections_all_sppnet_results.json", "comp4_det_all_cell.txt"}
