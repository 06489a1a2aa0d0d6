"""A cluster of two nodes gives what one machine gives, whatever dies meanwhile."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.test_predict_many import images  # noqa: F401
from typer.testing import CliRunner

from sppnet.cli.commands import app

pytest.importorskip("ray", reason="needs Ray: pip install 'sppnet[ray]'")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'sppnet[parquet]'")

pytestmark = pytest.mark.slow

SIZE = 2  # images a part


def _on_two_nodes(deaths: str, *command: str | Path) -> dict:
    script = [sys.executable, str(Path(__file__).with_name("two_nodes.py")), deaths, str(SIZE)]
    done = subprocess.run([*script, *map(str, command), "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    return told


def _rows(folder: Path) -> list[dict]:
    rows: list[dict] = parquet.read_table(folder).to_pylist()
    return rows


@pytest.mark.parametrize("deaths", ["", "node:1", "worker:1,node:2"])
def test_the_rows_are_those_of_one_machine(model: Path, images: Path, tmp_path: Path, deaths: str) -> None:  # noqa: F811
    command = ["predict", model, images, "--format", "parquet", "--cache", tmp_path / "cache"]
    told = _on_two_nodes(deaths, *command, "--out", tmp_path / "cluster")
    assert (told["images"], told["parts"], told["skipped"]) == (7, 4, 1)
    done = CliRunner().invoke(app, [*map(str, command), "--out", str(tmp_path / "here")], catch_exceptions=False)
    assert done.exit_code == 0
    assert _rows(tmp_path / "cluster" / "detections.parquet") == _rows(tmp_path / "here" / "detections.parquet")


def test_features_and_maps_are_made_there_too(images: Path, tmp_path: Path) -> None:  # noqa: F811
    told = _on_two_nodes("", "features", images, "--out", tmp_path / "rows.parquet", "--short-side", "64")
    assert (told["images"], told["skipped"]) == (7, 1)
    assert len(_rows(tmp_path / "rows.parquet")) == 6
    cache = ["--short-side", "64", "--cache", tmp_path / "maps"]
    assert _on_two_nodes("", "cache", images, *cache)["skipped"] == 1
    assert len(list((tmp_path / "maps").rglob("*.safetensors"))) == 6 * 3  # three layers an image
