"""A disk without room is told of before the work, with what is full, how much is needed and what to do."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Run

from sppnet.detection.journal import JOURNAL
from sppnet.progress import Estimate
from sppnet.training import Trainer


def _free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=count))


@pytest.mark.parametrize(
    "command",
    [
        "train detector nothing --out out",
        "train classifier nothing --out out",
        "train network nothing --out out",
        "predict nothing nothing --out out",
        "predict nothing nothing --out out --format parquet",
        "features nothing --out out/features.npy",
        "features nothing --out out.parquet",
        "evaluate nothing nothing --results out",
        "export nothing --out out",
        "convert nothing --to yolo --out out",
        "reproduce table9 --data nothing --out out",
        "demo --out out/page.html",
    ],
)
def test_a_full_disk_is_told_before_anything_is_opened(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    if command.startswith("export"):
        pytest.importorskip("onnx", reason="needs the extra 'export'")
    _free(monkeypatch, 0)
    monkeypatch.chdir(tmp_path)
    done = run(*command.split())
    assert done.returncode == 1
    said = "cannot be written: it needs 4.1 kB where 0.0 kB are free. Free some space there, or name another disk."
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_a_model_or_its_answers_need_is_told_before_the_work(
    run: Run, model: Path, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / f"images of {'a long name ' * 8}"
    images.mkdir()
    for number in range(40):
        os.link(shapes / "JPEGImages" / "00.png", images / f"{number}.png")
    regions = tmp_path / "regions.csv"
    regions.write_text("image,left,top,right,bottom\n" + "0.png,1,1,20,20\n" * 500)
    kinds = _kinds(tmp_path / "kinds", shapes)
    _free(monkeypatch, 5000)
    monkeypatch.setattr(Trainer, "estimate", lambda _: Estimate(4, 4, seconds=9.0, memory=0, model=5001))
    commands: dict[str, tuple[str | Path, ...]] = {
        "detector": ("train", "detector", shapes, "--out", tmp_path / "detector"),
        "classifier": ("train", "classifier", kinds, "--out", tmp_path / "classifier"),
        "network": ("train", "network", kinds, "--width", "0.03", "--batch", "2", "--out", tmp_path / "network"),
        "predictions": ("predict", model, images, "--out", tmp_path / "predictions"),
        "features.npy": ("features", images, "--out", tmp_path / "features.npy"),
        "features.csv": ("features", images / "0.png", "--regions", regions, "--out", tmp_path / "features.csv"),
    }
    before = sorted(tmp_path.rglob("*"))
    for out, command in commands.items():
        done = run(*command, *(() if out == "network" else ("--cache", tmp_path / "cache")))
        assert done.returncode == 1, out
        said = " ".join(done.stderr.split())
        assert f"{tmp_path / out}" in said
        assert "B where 5.0 kB are free. Free some space there, or name another disk." in said
    assert not (tmp_path / "cache").exists()
    begun = tmp_path / "predictions"
    assert set(tmp_path.rglob("*")) == {*before, begun, begun / JOURNAL}


def _kinds(root: Path, shapes: Path) -> Path:
    """Return a folder of two classes, two images each."""
    for name, images in (("a", ("00", "01")), ("b", ("02", "03"))):
        (root / name).mkdir(parents=True)
        for image in images:
            shutil.copy(shapes / "JPEGImages" / f"{image}.png", root / name)
    return root


def test_an_export_that_does_not_fit_leaves_nothing(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx", reason="needs the extra 'export'")
    _free(monkeypatch, 5000)
    done = run("export", model, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "kB where 5.0 kB are free. Free some space there, or name another disk." in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("default:.*Nothing more is cached:RuntimeWarning")
def test_a_cache_that_cannot_be_filled_is_an_error_at_the_first_image(run: Run, tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(np.full((40, 50, 3), 9 * number, np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "file").write_bytes(b"")
    done = run("cache", tmp_path, "--short-side", "64", "--cache", tmp_path / "file" / "cache")
    assert done.returncode == 1
    assert "Nothing more is cached" in done.stderr
    assert "cannot be written" in done.stderr
    assert "Maps of" not in done.stdout
