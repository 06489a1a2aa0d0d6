"""Everything that can go wrong, over and over: ``python -m benchmarks.torture --seconds 3600`` (``make torture``).

Each trial is made of its section's name, the seed and its number alone, so that one can be done again. Sections run one
after the other, each in a process of its own: one that dies counts as a crash. What came out is written to
``results/torture.json`` and rendered into ``docs/reliability.md``. Runs with other seeds, of all sections or of some,
add up with ``--add``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks import records
from benchmarks.tally import Tally, added
from benchmarks.torture_files import hostile_images, images, labels, model_file, models
from benchmarks.torture_load import load
from benchmarks.torture_power import power_loss
from benchmarks.torture_soak import soak
from benchmarks.torture_writes import failing_writes, full_disks, kills

# What was freed goes back to the system at once: so that what a file takes can be seen.
FREED_AT_ONCE: Final = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
# Processes are forked: OpenMP's threads, which numba would use, cannot be.
FORKED: Final = {"NUMBA_THREADING_LAYER": "workqueue", "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def clients(seed: int, until: float, tally: Tally) -> None:
    """Odd and hostile clients in turn; /healthz is asked meanwhile."""
    from benchmarks.torture_clients import torment

    with tempfile.TemporaryDirectory() as folder:
        torment(model_file(Path(folder)), seed, until, tally)


class Section(NamedTuple):
    """A kind of trial, and its share of the time."""

    run: Callable[[int, float, Tally], None]
    share: float
    environment: dict[str, str] = {}  # noqa: RUF012 (never written)


SECTIONS: Final = {
    "images": Section(images, 0.07),
    "hostile images": Section(hostile_images, 0.09, FREED_AT_ONCE),
    "labels": Section(labels, 0.09),
    "models": Section(models, 0.09),
    "kills": Section(kills, 0.11, FORKED),
    "failing writes": Section(failing_writes, 0.11, FORKED),
    "full disks": Section(full_disks, 0.09, FORKED),
    "power loss": Section(power_loss, 0.03),
    "clients": Section(clients, 0.06),
    "load": Section(load, 0.04),
    "soak": Section(soak, 0.22),
}
ALONE: Final = "from benchmarks.torture import alone; alone({name!r}, {seed}, {seconds})"


def alone(name: str, seed: int, seconds: float) -> None:
    """Run a section in this process, and print its figures."""
    tally = Tally()
    SECTIONS[name].run(seed, time.monotonic() + seconds, tally)
    print(json.dumps(tally.figures()))


def in_a_process(name: str, seed: int, seconds: float) -> dict[str, Any]:
    """Run a section in a process of its own; one that dies is a crash."""
    environment = os.environ | (SECTIONS[name].environment if name in SECTIONS else {})
    command = [sys.executable, "-c", ALONE.format(name=name, seed=seed, seconds=seconds)]
    # Decoders print what they think of broken files; of a crash the last lines are told.
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env=environment)
    if done.returncode:
        fault = f"{name} ended with {done.returncode}: {done.stderr[-300:]}"
        return {"counts": {"crashes": 1}, "most": {}, "faults": [fault]}
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def bad(figures: dict[str, dict[str, Any]]) -> list[str]:
    """Return what must not have happened."""
    return [f"{name}: {fault}" for name, section in figures.items() for fault in section["faults"]]


def merged(known: dict[str, Any], figures: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return what is known of each section with a run of some of them.

    Raises:
        ValueError: a section was run with this seed: the same trials would count twice.
    """
    together = dict(known)
    for name, more in figures.items():
        before = known.get(name)
        if before and seed in before["seeds"]:
            raise ValueError(f"torture: {name} was run with seed {seed} already. Give another seed.")
        summed, seeds = (added(before, more), before["seeds"]) if before else (more, [])
        together[name] = {**summed, "seeds": [*seeds, seed]}
    return {name: together[name] for name in SECTIONS if name in together}


def table() -> str:
    """Return the rows of the page on reliability; nothing as long as nothing was measured."""
    record = records.read("torture")
    if record is None:
        return ""
    lines = ["| tried | what came of it | at most | faults |", "|---|---|---|---|"]
    for name, section in record["figures"].items():
        counted, most = (
            ", ".join(f"{key}: {value:,}" for key, value in sorted(section[part].items()))
            for part in ("counts", "most")
        )
        lines.append(f"| {name} | {counted} | {most} | {len(section['faults'])} |")
    lines.append(f"\nCommit {record['commit'][:10]}, {record['machine']['cores']} cores.\n")
    return "\n".join(lines)


def main() -> None:
    """Run all sections, or some of them, and write down what came out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--section", choices=list(SECTIONS), action="append", help="only this one; may be repeated")
    parser.add_argument("--add", action="store_true", help="to what results/torture.json holds, of other seeds")
    parser.add_argument("--dry", action="store_true", help="write no results")
    given = parser.parse_args()
    chosen = given.section or list(SECTIONS)
    shares = sum(SECTIONS[name].share for name in chosen)
    record = records.read("torture") if given.add else None
    figures: dict[str, Any] = {}
    for name in chosen:
        figures[name] = in_a_process(name, given.seed, given.seconds * SECTIONS[name].share / shares)
        print(f"{name}: {json.dumps(figures[name])}", flush=True)
    if not given.dry:
        together = merged(record["figures"] if record else {}, figures, given.seed)
        records.write(
            "torture", seed=sorted({seed for each in together.values() for seed in each["seeds"]}), figures=together
        )
        import_module("benchmarks.render").update_pages()  # which imports this module
    sys.exit("\n".join(bad(figures)) or 0)


if __name__ == "__main__":
    main()
