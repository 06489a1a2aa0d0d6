"""One module for each table of the paper: the docstring says command, cost, the paper's numbers and ours.

A recipe is a module of this package whose name does not begin with an underscore, with ``run(request) -> Report``;
``sppnet reproduce NAME`` finds it by its name. ``--quick`` runs the same code on little data in seconds.
"""

import json
import os
import pkgutil
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

from sppnet.errors import ArgumentError, DataError, message
from sppnet.progress import Progress, silent
from sppnet.storage import write_file

PACKAGES: Final = ("sppnet", "torch", "numpy", "numba")


class TableRow(NamedTuple):
    """One number of a table.

    Args:
        name: what was measured, as the table has it.
        paper: the published number; None where the paper has none.
        measured: ours, in the same unit; None where it was not measured.
        spread: of ours, the standard deviation over splits or seeds; None for a single run.
        note: what differs from the paper, if anything does.
    """

    name: str
    paper: float | None
    measured: float | None = None
    spread: float | None = None
    note: str = ""


@dataclass(frozen=True)
class RecipeRequest:
    """What a recipe is to run on.

    Args:
        data: the folder of the data set that the recipe names.
        weights: files of trained networks, in the order that the recipe asks for.
        quick: little data, few images, narrow networks: the code is tried, the numbers mean nothing.
        seed: of everything that is drawn.
        cache: where features are kept between runs; None keeps nothing.
        work: where checkpoints and models of this run go.
        progress: wraps long passes.
    """

    data: Path
    weights: tuple[Path, ...] = ()
    quick: bool = False
    seed: int = 0
    cache: Path | str | None = None
    work: Path = Path("runs")
    progress: Progress = silent


@dataclass(frozen=True)
class Report:
    """Paper against measured.

    Args:
        title: of the table. unit: of its numbers, such as "mAP, %".
        rows: in the table's order.
        settings: what the numbers depend on, for JSON.
        quick: whether the numbers only prove that the code runs.
    """

    title: str
    unit: str
    rows: tuple[TableRow, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    quick: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        rows = [row._asdict() for row in self.rows]
        return {"title": self.title, "unit": self.unit, "quick": self.quick, "rows": rows, "settings": self.settings}


def names() -> tuple[str, ...]:
    """Return the names of all recipes: tables by their number, then the others."""
    found = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    return tuple(sorted(found, key=_by_number))


def _by_number(name: str) -> tuple[bool, int, str]:
    digits = name.removeprefix("table")
    number = int(digits) if digits.isdecimal() else 0
    return number == 0, number, name


def find(name: str) -> Callable[[RecipeRequest], Report]:
    """Return what runs a recipe.

    Raises:
        ArgumentError: no recipe of this name; the message lists them.
    """
    _check_known(name)
    run: Callable[[RecipeRequest], Report] = import_module(f"{__name__}.{name}").run
    return run


def describe(name: str) -> str:
    """Return a recipe's docstring: command, cost, the paper's numbers and ours."""
    _check_known(name)
    return (import_module(f"{__name__}.{name}").__doc__ or "").strip()


def _check_known(name: str) -> None:
    if name not in names():
        raise ArgumentError(
            message("reproduce", "table", f"one of {', '.join(names())}", repr(name), "Name one of these")
        )


def need(given: Sequence[Path], count: int, what: str) -> tuple[Path, ...]:
    """Return the weight files of a request; raise DataError unless there are ``count`` of them."""
    if len(given) != count:
        raise DataError(
            f"reproduce: --weights must be given {count} times ({what}), got {len(given)}. "
            "Train the networks first, with 'sppnet reproduce table2', or name files that PublishedNet.save wrote."
        )
    return tuple(given)


def reproduce(name: str, request: RecipeRequest, out: Path) -> tuple[Report, Path]:
    """Run a recipe and write what came out to ``out/<name>.json`` (``<name>-quick.json`` where it was quick).

    Returns:
        The report, and the file.
    Raises:
        ArgumentError: no such recipe. DataError: data or weights that it cannot use.
    """
    run, start = find(name), time.perf_counter()
    report = run(request)
    record = {
        "command": f"sppnet reproduce {name} --data {request.data.name}{' --quick' if request.quick else ''}",
        "seed": request.seed,
        "seconds": round(time.perf_counter() - start, 1),
        "machine": {"processor": platform.processor(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": {package: version(package) for package in PACKAGES},
        **report.as_dict(),
    }
    path = out / f"{name}{'-quick' if request.quick else ''}.json"
    write_file(path, json.dumps(record, indent=1, allow_nan=False) + "\n")
    return report, path
