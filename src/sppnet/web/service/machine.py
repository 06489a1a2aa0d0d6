"""How many workers fit this machine, or the part of it that a container may use."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

WORKER_BYTES: Final = 1_200_000_000  # of a worker with a detector at work, and its share of the server
CGROUPS: Final = Path("/sys/fs/cgroup")


def usable_workers(cgroups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Return how many processes can compute at once: cores of this process, limited by control groups, at least 1.

    Args:
        cgroups: where the system mounts control groups. own: the file that names those of this process.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    bounds = [cores]
    for folder in _groups(cgroups, own):
        shares = _numbers(folder / "cpu.max")
        shares = shares or _numbers(folder / "cpu.cfs_quota_us") + _numbers(folder / "cpu.cfs_period_us")
        if len(shares) == 2 and min(shares) > 0:
            bounds.append(shares[0] // shares[1])
        for name in ("memory.max", "memory.limit_in_bytes"):
            bounds += [most // WORKER_BYTES - 1 for most in _numbers(folder / name)]  # one more stands by
    return max(1, min(bounds))


def _groups(cgroups: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of the groups of this process, and of those around them."""
    yield from (cgroups, cgroups / "cpu", cgroups / "memory")
    try:
        lines = own.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        root = cgroups / kinds
        inner = root / path.lstrip("/")
        yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(root))


def _numbers(file: Path) -> tuple[int, ...]:
    """Return the numbers of a limit's file; none where there is no file, or no limit."""
    try:
        words = file.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return ()
    return tuple(int(word) for word in words) if all(word.lstrip("-").isdecimal() for word in words) else ()
