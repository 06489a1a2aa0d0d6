"""Mutated files of labels of every layout: ``python -m benchmarks.mutations``, some six minutes on a quiet core.

The files are those that the tests of the layouts write, in each of the ways that people have them. What came out is
written to ``results/mutations.json`` and rendered into ``docs/reliability.md``.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from tests.data.test_mutations import Build, builders, try_mutations

from benchmarks import records

MEMORY: Final = Path("/dev/shm")  # no disk is worn, and trials are several times as fast
EXPECTED: Final = ("read", "refused")


def tried(builds: Sequence[Build], count: int, seed: int) -> dict[str, Any]:
    """Return what came of ``count`` mutated files of one layout, parted among the ways that people have it."""
    came: Counter[str] = Counter()
    shares = [count // len(builds) + (place < count % len(builds)) for place in range(len(builds))]
    for build, share in zip(builds, shares, strict=True):
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            came += try_mutations(Path(folder), build, share, seed)
    faults = sorted(set(came) - set(EXPECTED))
    return {**{name: came[name] for name in EXPECTED}, "ways": len(builds), "faults": faults}


def table() -> str:
    """Return the rows of the page on reliability; nothing as long as nothing was measured."""
    record = records.read("mutations")
    if record is None:
        return ""
    lines = ["| layout | ways of writing it | read | refused | other exceptions |", "|---|---|---|---|---|"]
    lines += [
        f"| `{layout}` | {each['ways']} | {each['read']:,} | {each['refused']:,} | {len(each['faults'])} |"
        for layout, each in record["figures"].items()
    ]
    return "\n".join([*lines, f"\nSeed {record['seed']}, commit {record['commit'][:10]}.\n"])


def main() -> None:
    """Mutate files of every layout, or of one, and write down what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutations", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dry", action="store_true", help="write no results")
    given = parser.parse_args()
    figures = {}
    for layout, builds in builders().items():
        start = time.perf_counter()
        figures[layout] = tried(builds, given.count, given.seed)
        print(f"{layout}: {figures[layout]}, {time.perf_counter() - start:.0f} s", flush=True)
    if not given.dry:
        records.write("mutations", seed=given.seed, figures=figures)
        import_module("benchmarks.render").update_pages()  # which imports this module
    sys.exit("\n".join(fault for each in figures.values() for fault in each["faults"]) or 0)


if __name__ == "__main__":
    main()
