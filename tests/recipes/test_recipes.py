"""The recipes' frame: found by name, run, printed against the paper, written down."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sppnet import recipes
from sppnet.backbones import PublishedNet
from sppnet.cli.commands import app
from sppnet.errors import ArgumentError, DataError

RECIPE = '''"""Table 99: how far it is to the moon.

Paper 1.50. Ours 1.25.
"""
from sppnet.recipes import Report, RecipeRequest, TableRow


def run(request: RecipeRequest) -> Report:
    rows = (TableRow("near", 1.5, 1.25, 0.5, "smaller"), TableRow("far", None, 2.0), TableRow("further", 3.0))
    return Report("Distances", "thousand km", rows, {"seed": request.seed}, request.quick)
'''


@pytest.fixture
def moon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a recipe of its own beside those of the package."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "table99.py").write_text(RECIPE)
    (folder / "_shared.py").write_text("")
    monkeypatch.setattr(recipes, "__path__", [*recipes.__path__, str(folder)])
    monkeypatch.delitem(__import__("sys").modules, "sppnet.recipes.table99", raising=False)
    return tmp_path


def _invoked(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False, env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_recipes_are_found_by_their_modules(moon: Path) -> None:
    assert recipes.names()[-1] != "_shared"
    assert "table99" in recipes.names()
    assert list(recipes.names()) == sorted(recipes.names(), key=lambda name: (not name[-1].isdigit(), len(name), name))


def test_the_list_says_what_each_is(moon: Path) -> None:
    lines = _invoked("reproduce").splitlines()
    assert len(lines) == len(recipes.names())
    assert "table99    Table 99: how far it is to the moon." in lines


def test_without_data_a_recipe_says_what_it_does(moon: Path) -> None:
    assert "Paper 1.50. Ours 1.25." in _invoked("reproduce", "table99")


def test_it_prints_paper_against_measured_and_writes_it(moon: Path) -> None:
    printed = _invoked("reproduce", "table99", "--data", moon, "--out", moon / "results", "--seed", 7)
    assert "Distances (thousand km)" in printed
    (row,) = (line for line in printed.splitlines() if "near" in line)
    assert [cell.strip() for cell in row.strip("│┃ ").split("│")] == ["near", "1.50", "1.25 ± 0.50", "smaller"]
    record = json.loads((moon / "results" / "table99.json").read_text())
    assert record["rows"][0] == {"name": "near", "paper": 1.5, "measured": 1.25, "spread": 0.5, "note": "smaller"}
    assert record["settings"] == {"seed": 7}
    assert str(moon) not in json.dumps(record)  # a result says nothing of the machine's folders


def test_a_quick_run_is_marked_and_overwrites_nothing(moon: Path) -> None:
    printed = _invoked("reproduce", "table99", "--data", moon, "--out", moon / "results", "--quick", "--json")
    assert json.loads(printed)["quick"] is True
    assert [path.name for path in (moon / "results").iterdir()] == ["table99-quick.json"]


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"reproduce: table must be one of .*, got 'table1'. Name one of these"):
        recipes.find("table1")


def test_missing_weights_are_asked_for() -> None:
    with pytest.raises(
        DataError, match=r"--weights must be given 2 times .ZF-5, Overfeat-7., got 1. Train the networks"
    ):
        recipes.need([Path("a")], 2, "ZF-5, Overfeat-7")


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_says_its_command_and_its_cost(name: str) -> None:
    said = recipes.describe(name)
    assert f"sppnet reproduce {name} --data" in said
    assert "Cost" in said
    assert "Paper:" in said
    assert "Ours:" in said


# The tables, quick


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data set of six classes, five images each: of one colour and some noise."""
    root = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(0)
    for label in range(6):
        folder = root / f"class{label}"
        folder.mkdir()
        for index in range(5):
            noise = rng.integers(0, 60, (20 + index, 24, 3))
            colour = np.array([label & 4, 2 * (label & 2), 4 * (label & 1)]) * 45
            Image.fromarray((noise + colour).astype(np.uint8)).save(folder / f"{index:02}.png")
    return root


@pytest.fixture(scope="module")
def voc(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Name the splits of the drawn shapes as VOC 2007 does."""
    root = tmp_path_factory.mktemp("voc") / "VOC2007"
    shutil.copytree(shapes, root)
    for ours, theirs in (("train", "trainval"), ("val", "test")):
        (root / f"ImageSets/Main/{ours}.txt").rename(root / f"ImageSets/Main/{theirs}.txt")
    return root


@pytest.mark.parametrize(
    ("name", "rows"), [("table3", 8), ("table4", 21), ("table6", 19), ("table7", 20), ("table8", 8), ("views", 6)]
)
def test_a_table_runs_quickly_on_little_data(name: str, rows: int, folders: Path, voc: Path, tmp_path: Path) -> None:
    request = recipes.RecipeRequest(voc if name == "table6" else folders, quick=True)
    report, path = recipes.reproduce(name, request, tmp_path)
    assert report.quick
    assert len(report.rows) == rows
    ours = [row for row in report.rows if row.measured is not None]
    assert len(ours) == {"table4": 4, "table8": 1}.get(name, rows)
    assert all(0 <= row.measured <= 100 for row in ours if row.measured is not None)
    assert json.loads(path.read_text())["rows"][0]["paper"] == report.rows[0].paper


def test_table_8_on_voc(voc: Path, tmp_path: Path) -> None:
    report, _ = recipes.reproduce("table8", recipes.RecipeRequest(voc, quick=True), tmp_path)
    assert report.rows[-1].measured == 100.0  # both classes are in every image
    assert [row.paper for row in report.rows] == [56.07, 57.66, 61.69, 75.90, 77.7, 82.42, 82.44, None]


def test_files_of_networks_are_used_and_checked(folders: Path, tmp_path: Path) -> None:
    names = [f"class{label}" for label in (5, 4, 3, 2, 1, 0)]  # in another order than the folders'
    net = PublishedNet("overfeat7", classes=6, width=0.03)
    net.save(tmp_path / "net.safetensors", notes={"classes": names})
    request = recipes.RecipeRequest(folders, (tmp_path / "net.safetensors",), quick=True)
    assert recipes.reproduce("table4", request, tmp_path)[0].rows[-1].measured is not None
    with pytest.raises(DataError, match=r"must hold ZF-5 without a pyramid \(zf5\), got overfeat7 with a pyramid"):
        recipes.reproduce("table7", recipes.RecipeRequest(folders, (tmp_path / "net.safetensors",) * 3), tmp_path)
    other = PublishedNet("overfeat7", classes=7, width=0.03)
    other.save(tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="must hold the 7 classes that the network was trained on, got 6"):
        recipes.reproduce("table4", recipes.RecipeRequest(folders, (tmp_path / "other.safetensors",)), tmp_path)
    with pytest.raises(DataError, match="--weights must be given 4 times"):
        recipes.reproduce("table3", recipes.RecipeRequest(folders), tmp_path)
