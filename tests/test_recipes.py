"""The recipes' frame: found by name, run, printed against the paper, written down."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sppnet import cli, recipes
from sppnet.errors import ArgumentError, DataError

RECIPE = '''"""Table 99: how far it is to the moon.

Paper 1.50. Ours 1.25.
"""
from sppnet.recipes import Report, Request, Row


def run(request: Request) -> Report:
    rows = (Row("near", 1.5, 1.25, 0.5, "smaller"), Row("far", None, 2.0), Row("further", 3.0))
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
    result = CliRunner().invoke(cli.app, list(map(str, arguments)), catch_exceptions=False, env={"COLUMNS": "120"})
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
    assert "Cost:" in said
    assert "Paper:" in said
    assert "Ours:" in said
