"""The service's models are run by the engine that was asked for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.web.service.calling import LIMITS

from sppnet.web.service import frames
from sppnet.web.service.answers import answer, load
from sppnet.web.service.worker import arguments


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_it_answers_as_pytorch_does(engine: str, models: dict[str, Path], image: bytes) -> None:
    pytest.importorskip(engine, reason=f"needs {engine}")
    question = {"model": "shapes", "verb": "detect", "before": {}, "threshold": None, "most": 100, "explain": True}
    found, expected = (
        json.loads(answer(load([models["shapes"]], by), LIMITS, question, image).content) for by in (engine, "torch")
    )
    assert found["counts"] == expected["counts"]
    assert len(found["detections"]) > 0
    for one, another in zip(found["detections"], expected["detections"], strict=True):
        assert one["box"] == pytest.approx(another["box"], abs=0.06)
        assert one["contribution"]["window"] == another["contribution"]["window"]


@pytest.mark.slow
def test_each_worker_is_told_the_engine(models: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "sppnet.web.service.worker", *arguments(LIMITS, "tvm", [models["shapes"]])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        frame = frames.read(worker.stdout)
        worker.communicate()
    assert frame is not None
    told = "EngineNetwork: engine must be one of torch, onnxruntime, openvino, got 'tvm'. Name one of these."
    assert frame[0] == {"error": told}
