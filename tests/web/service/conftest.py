"""A service in a process of its own, with models of drawn shapes, short deadlines and small bounds."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from tests.web.service.alone import alone
from tests.web.service.calling import LIMITS, Served

from sppnet.classification.classifier import Classifier
from sppnet.data import FolderData, load_detection
from sppnet.detection.detector import Detector
from sppnet.export.folder import export_classifier, export_detector

START = """
import json, sys
from pathlib import Path
from sppnet.web.service.limits import ServiceLimits
from sppnet.web.service.serving import serve
serve([Path(path) for path in sys.argv[2:]], host="127.0.0.1", port=0, workers=1,
      limits=ServiceLimits(**json.loads(sys.argv[1])), started=lambda address: print(address, flush=True))
"""


@pytest.fixture(scope="session")
def models(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return files of a detector of shapes and of a classifier of their images."""
    folder = tmp_path_factory.mktemp("models")
    files = {"shapes": folder / "shapes.safetensors", "kinds": folder / "kinds.safetensors"}
    Detector(short_side=120).fit(load_detection(shapes, split="train")).save(files["shapes"])
    paths = tuple(sorted((shapes / "JPEGImages").iterdir())[:6])
    labels = np.array([0, 1, 0, 1, 0, 1])
    Classifier(short_side=64).fit(FolderData(shapes, ("even", "odd", "never"), paths, labels, ())).save(files["kinds"])
    return files


@pytest.fixture(scope="session")
def served(models: dict[str, Path]) -> Iterator[Served]:
    """Run the service for all tests."""
    command = [sys.executable, "-c", START, json.dumps(asdict(LIMITS)), *map(str, models.values())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:")
    yield Served(process, address)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    process.stdout.close()


@pytest.fixture(scope="session")
def exports(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return folders of exports of the detector and the classifier, which are scaled by Pillow as they are."""
    folder = tmp_path_factory.mktemp("exports")
    export_detector(Detector.load(models["shapes"]), folder / "shapes", scaling="outside")
    export_classifier(Classifier.load(models["kinds"]), folder / "kinds", scaling="outside")
    return {name: folder / name for name in models}


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the file ``asked`` names what that service asked to import."""
    return tmp_path_factory.mktemp("alone")


@pytest.fixture(scope="session")
def exported(exports: dict[str, Path], asked: Path) -> Iterator[Served]:
    """Run the service where nothing else is installed."""
    with alone(asked, *map(str, exports.values())) as (process, _):
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("Serving on "), process.communicate()[1]
        yield Served(process, first.split()[-1])
    assert process.returncode == 0


@pytest.fixture(scope="session")
def image(shapes: Path) -> bytes:
    """Return a PNG file with a disc and a square."""
    return (shapes / "JPEGImages/10.png").read_bytes()
