"""The GPU's benchmark, under Triton's interpreter: every part runs, and its kernels agree with the specification."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_part_runs_on_tiny_sizes(tmp_path: Path) -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "benchmarks", "gpu", "--tiny", "--out", tmp_path / "gpu.json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert record["tiny"]
    assert set(record["figures"]) == {"rcnn", "pooling", "detection", "tuning", "kernels"}
    assert [part for part in record["figures"].values() if "failed" in part] == []
    kernels = record["figures"]["kernels"]
    assert max(kernels["largest relative difference"].values()) < 0.02  # sums in bfloat16
    assert kernels["largest relative difference"]["max, torch.float32"] == 0


@pytest.mark.slow
def test_without_a_gpu_it_says_what_to_do() -> None:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "benchmarks", "gpu"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no GPU is here. Give --tiny" in done.stderr
