"""What tests of the command line share: how it is run, and a model that costs no training."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.export.conftest import LEVELS, drawn_model

from sppnet import cli
from sppnet.detection.detector import Detector

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs the whole command line in this process, which spares its start."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["sppnet", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return subprocess.CompletedProcess(sys.argv, int(end.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a detector of drawn weights."""
    drawn = drawn_model(("stride8",))
    detector = Detector(levels=LEVELS, encoder=drawn.encoder)
    detector._model = drawn
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    detector.save(path)
    return path
