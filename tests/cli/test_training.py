"""``sppnet train network``, as it is typed."""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.cli.stopping import stopping
from typer.testing import CliRunner

from sppnet import recipes
from sppnet.backbones import PublishedNet
from sppnet.cli.commands import app
from sppnet.data import FolderData
from sppnet.errors import ArgumentError, DataError
from sppnet.training import Images

SMALL = ["--width", "0.05", "--sizes", "72,64", "--batch", "8", "--rate", "0.001"]


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with train and val of two classes, twelve and four images each."""
    root = tmp_path_factory.mktemp("kinds")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        for name, colour in (("blue", (40, 60, 200)), ("red", (200, 60, 40))):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = np.array(colour) + rng.integers(-40, 40, (70, 90, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.jpg")
    return root


def _command(*arguments: str | Path) -> list[str]:
    return ["train", "network", *map(str, arguments)]


def _invoked(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, _command(*arguments), catch_exceptions=False)


@pytest.fixture(scope="module")
def trained(kinds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "net.safetensors"
    done = _invoked(kinds, "--out", out, *SMALL, "--epochs", "6", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {
        "model": str(out),
        "classes": ["blue", "red"],
        "bad": 0,
        "seconds": pytest.approx(30, abs=30),
    }
    assert "24 images of 2 classes, 6 epochs of 3 steps. About " in done.stderr
    assert "Epoch 2 of 6, 64 px: loss " in done.stderr
    return out


def test_a_network_is_trained_and_its_file_says_how(trained: Path) -> None:
    network = PublishedNet.load(trained)
    assert (network.name, network.levels, network.width, network.classes) == ("zf5", (6, 3, 2, 1), 0.05, 2)
    lines = [json.loads(line) for line in (trained.with_name("net.run") / "log.jsonl").read_text().splitlines()]
    assert [line["size"] for line in lines] == [72, 64, 72, 64, 72, 64]
    assert all(0 <= line["validation_error"] <= 1 for line in lines)
    assert not (trained.with_name("net.run") / "state.safetensors").exists()


@pytest.mark.slow
def test_interrupted_it_says_how_to_go_on_and_ends_with_the_same_bits(
    kinds: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "net.safetensors"
    command = _command(kinds, "--out", out, *SMALL, "--epochs", "6", "--json")
    done = subprocess.run(
        stopping("sppnet.training.trainer:Trainer.save", 1, signal.SIGINT, *command),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    assert done.returncode == 130
    assert "Interrupted. What was computed is kept: the same command goes on from there." in done.stderr
    assert not out.exists()
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert "Going on after " in done.stderr
    assert out.read_bytes() == trained.read_bytes()


def test_a_trained_network_is_fine_tuned_for_other_classes(kinds: Path, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "one").mkdir(parents=True)
    for name in ("two", "three"):
        (tmp_path / "data" / name).symlink_to(kinds / "train" / "red")
    for path in (kinds / "train" / "blue").iterdir():
        (tmp_path / "data" / "one" / path.name).write_bytes(path.read_bytes())
    options = ["--start", str(trained), "--width", "0.05", "--sizes", "64-72", "--batch", "4", "--epochs", "1"]
    done = _invoked(tmp_path / "data", "--out", tmp_path / "other.safetensors", *options)  # links are followed
    assert "These begin anew: fc.fc8.weight, fc.fc8.bias." in done.stderr
    assert PublishedNet.load(tmp_path / "other.safetensors").classes == 3


def test_classes_of_val_are_those_learnt_even_where_one_has_no_image(
    kinds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(kinds, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "val" / "blue")
    seen, begin = [], Images.__init__

    def record(images: Images, data: FolderData, **options: Any) -> None:
        seen.append(data)
        begin(images, data, **options)

    monkeypatch.setattr(Images, "__init__", record)
    done = _invoked(tmp_path / "data", "--out", tmp_path / "net.safetensors", *SMALL, "--epochs", "1")
    assert [data.classes for data in seen] == [("blue", "red")] * 2
    assert set(seen[1].labels.tolist()) == {1}
    assert "'val' has no image of blue: its error is of other classes.\n" in done.stderr
    (tmp_path / "data" / "val" / "green").symlink_to(kinds / "train" / "red")
    with pytest.raises(DataError, match="green"):
        _invoked(tmp_path / "data", "--out", tmp_path / "other.safetensors", *SMALL, "--epochs", "1")


def test_what_cannot_be_is_said_in_one_line(kinds: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.safetensors"
    expected = (
        r"train network: pyramid must be whole numbers with commas between them, got '6;3'. Write it like 6,3,2,1"
    )
    with pytest.raises(ArgumentError, match=expected):
        _invoked(kinds, "--out", out, "--pyramid", "6;3")
    with pytest.raises(ArgumentError, match="Plan: sizes must be sides of 1 to 256 pixels"):
        _invoked(kinds, "--out", out, "--sizes", "448")


# The page on training

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_runs(kinds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").symlink_to(kinds / "train")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "training.md", "exec"), names)
    assert names["trainer"].step == 6
    assert PublishedNet.load(tmp_path / "network.safetensors").classes == 2


def test_the_options_of_the_page_exist() -> None:
    shown = CliRunner().invoke(app, _command("--help"), env={"COLUMNS": "200", "TERM": "dumb"}).output
    lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL) for line in block.splitlines()]
    typed = [line.split("train network")[1] for line in lines if "train network" in line]
    assert len(typed) == 3
    named = {word for text in typed for word in text.split() if word.startswith("--")}
    named |= set(re.findall(r"`(--[a-z-]+)", PAGE)) - {"--data"}
    assert {"--out", "--sizes", "--start"} <= named
    for option in named:
        assert option in shown


# Table 2, quick


@pytest.mark.slow
def test_table_2_trains_and_tests_its_networks(kinds: Path, tmp_path: Path) -> None:
    request = recipes.RecipeRequest(kinds, quick=True, work=tmp_path / "work")
    report, path = recipes.reproduce("table2", request, tmp_path / "out")
    assert path.name == "table2-quick.json"
    assert len(report.rows) == 28
    assert report.rows[0][:2] == ("ZF-5, no pyramid, top-1", 35.99)
    assert all(0 <= row.measured <= 100 for row in report.rows if row.name.endswith("top-1"))
    random = PublishedNet.load(tmp_path / "work" / "quick" / "table2-overfeat-7-random-sizes.safetensors")
    assert random.notes["plan"]["draw_sizes"] is True
    assert random.notes["classes"] == ["blue", "red"]
    plain = PublishedNet.load(tmp_path / "work" / "quick" / "table2-zf-5-no-pyramid.safetensors")
    assert plain.levels is None
