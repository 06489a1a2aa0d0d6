"""How many workers fit: cores, and what a container may use of them and of memory."""

import os
from pathlib import Path

import pytest

from sppnet.web.service import machine
from sppnet.web.service.machine import usable_workers


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def _usable(root: Path, files: dict[str, str], own: str = "0::/") -> int:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content + "\n")
    (root / "own").write_text(own + "\n")
    return usable_workers(root, root / "own")


@pytest.mark.parametrize(
    ("files", "own", "expected"),
    [
        ({}, "0::/", 8),
        ({"cpu.max": "max 100000", "memory.max": "max"}, "0::/", 8),
        ({"cpu.max": "250000 100000"}, "0::/", 2),
        ({"cpu.max": "50000 100000"}, "0::/", 1),
        ({"memory.max": "5000000000"}, "0::/", 3),
        ({"memory.max": "500000000"}, "0::/", 1),
        ({"a/b/cpu.max": "300000 100000"}, "0::/a/b", 3),
        ({"a/cpu.max": "400000 100000"}, "0::/a/b", 4),  # of the group around
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/", 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/", 8),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, "9:memory:/", 8),
    ],
)
def test_control_groups_bound_the_number(tmp_path: Path, files: dict[str, str], own: str, expected: int) -> None:
    assert _usable(tmp_path, files, own) == expected


def test_without_affinity_or_groups_each_core_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS and Windows
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 5)
    assert usable_workers(tmp_path, tmp_path / "none") == 5
    monkeypatch.setattr(machine.os, "cpu_count", lambda: None)
    assert usable_workers(tmp_path, tmp_path / "none") == 1
