"""What several commands print: bars, warnings, tables, JSON."""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

if TYPE_CHECKING:
    from sppnet.data import Problem

Item = TypeVar("Item")

SHOWN: Final = 10  # problems printed before the rest is counted

notes = Console(stderr=True, soft_wrap=True, highlight=False)


def bar(name: str, items: Sequence[Item], /) -> Iterable[Item]:
    """Show a bar while one goes through the items; a ``progress.Progress``."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=notes) as bars:
        yield from bars.track(items, description=name)


def warn(problems: Sequence["Problem"]) -> None:
    """Print the first problems of a data set."""
    for problem in problems[:SHOWN]:
        notes.print(f"Warning: {problem}", markup=False, style="yellow")
    if len(problems) > SHOWN:
        notes.print(f"Warning: and {len(problems) - SHOWN} more. See them all with 'sppnet check'.")


def show_report(
    content: dict[str, Any], title: str, value: float, columns: Sequence[str], rows: dict[str, list[Any]], as_json: bool
) -> None:
    """Print a report as JSON, or as a title and a table of one row a class."""
    if as_json:
        print_json(content)
        return
    print(f"{title}: {value:.1%}")
    table = Table("class", *(column.replace("_", " ") for column in columns))
    for name, numbers in rows.items():
        table.add_row(name, *(_cell(number) for number in numbers))
    Console().print(table)


def show_rows(title: str, columns: Sequence[str], rows: dict[str, list[str]]) -> None:
    """Print a title and a table of texts, the first column their names."""
    print(title)
    table = Table(*columns)
    for name, cells in rows.items():
        table.add_row(name, *cells)
    Console().print(table)


def show_stages(title: str, stages: dict[str, float]) -> None:
    """Print the milliseconds of each stage of work and its share of them all."""
    whole = sum(stages.values())
    rows = {name: [f"{1000 * seconds:.1f}", f"{seconds / whole:.0%}"] for name, seconds in stages.items()}
    show_rows(title, ("stage", "ms", "share"), rows | {"all": [f"{1000 * whole:.1f}", ""]})


def _cell(value: float | int | None) -> str:
    if value is None:
        return "none"
    return f"{value:.1%}" if isinstance(value, float) else str(value)


def print_json(content: Any) -> None:
    """Print one line of JSON."""
    print(json.dumps(content, ensure_ascii=False))


def duration(seconds: float) -> str:
    """Return seconds as a person says them."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
