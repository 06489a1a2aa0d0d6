"""What several commands print: bars, problems, tables, JSON. Nothing that is printed can fail for want of a letter."""

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from sppnet.data import Problem

Item = TypeVar("Item")

SHOWN: Final = 10  # problems, or classes, that are named before the rest is counted
MAX_NAME: Final = 40  # letters of a name in a table
STYLES: Final = {"error": "red", "warning": "yellow", "note": ""}


@dataclass
class _Said:
    """How much is said beside the answer: --quiet, --verbose."""

    quiet: bool = False
    verbose: bool = False


said = _Said()
notes = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)


def printable(text: object) -> str:
    """Return a text that every terminal takes, see ``data.printable``."""
    from sppnet.data import printable as made

    return made(text)


def without_folders(text: str) -> str:
    """Return a text whose paths do not begin with the folder that the command runs in, or with a person's: with ~."""
    return text.replace(f"{Path.cwd()}{os.sep}", "").replace(f"{Path.home()}{os.sep}", f"~{os.sep}")


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning of a library's as one line; a ``warnings.showwarning`` that tells no place in the program."""
    notes.print(f"Warning: {without_folders(str(message))}", style=STYLES["warning"])


def bar(name: str, items: Sequence[Item], /) -> Iterable[Item]:
    """Show a bar while one goes through the items; a ``progress.Progress``."""
    if said.quiet:
        yield from items
        return
    with counting(name, len(items)) as advance:
        for item in items:
            yield item
            advance(1)


@contextmanager
def counting(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar, how many a second, and the time left; what comes back is told how many more were done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
    with Bars(*columns, console=notes, disable=said.quiet) as bars:
        task = bars.add_task(name, total=total)
        yield lambda more: bars.advance(task, more)


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Return how many were done a second of late."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")


def tell(text: str) -> None:
    """Print what is worth knowing beside the answer; nothing under --quiet."""
    if not said.quiet:
        notes.print(text)


def warn(problems: Sequence["Problem"]) -> None:
    """Print what is wrong with a data set: the first of each kind, and how many more; notes only under --verbose."""
    told = [each for each in problems if each.level != "note" or said.verbose]
    counts = Counter(each.code for each in told)
    firsts = {each.code: each for each in reversed(told)}
    for code in dict.fromkeys(each.code for each in told):
        if said.verbose:
            for each in told:
                if each.code == code:
                    _warn(each, 0)
        else:
            _warn(firsts[code], counts[code] - 1)


def _warn(problem: "Problem", more: int) -> None:
    rest = f" ({more} more like this: 'sppnet check' names them)" if more else ""
    word = "Skipped" if problem.level == "error" else problem.level.capitalize()  # what is not skipped is raised
    notes.print(f"{word}: {problem}{rest}", style=STYLES[problem.level])


def show_report(
    content: dict[str, Any], title: str, value: float, columns: Sequence[str], rows: dict[str, list[Any]], as_json: bool
) -> None:
    """Print a report as JSON, or as a title and a table of one row a class."""
    if as_json:
        print_json(content)
        return
    print(f"{title}: {value:.1%}" if math.isfinite(value) else f"{title}: none")
    cells = {name: [as_cell(number) for number in numbers] for name, numbers in rows.items()}
    show_table(("class", *(column.replace("_", " ") for column in columns)), cells)


def show_rows(title: str, columns: Sequence[str], rows: dict[str, list[str]]) -> None:
    """Print a title and a table of texts, the first column their names."""
    print(title)
    show_table(columns, rows)


def show_table(columns: Sequence[str], rows: dict[str, list[str]]) -> None:
    """Print a table of texts; where it does not fit the terminal, row by row, so that no number is cut."""
    console = Console(highlight=False, markup=False, emoji=False)
    lines = [(shortened(name), *map(str, cells)) for name, cells in rows.items()]
    widths = [max(map(len, column)) for column in zip(columns, *lines, strict=True)]
    needed = sum(widths) + 3 * len(widths) + 1
    if needed > console.width and console.is_terminal | ("COLUMNS" in console._environ):
        for name, *cells in lines:
            print(name)
            for column, cell in zip(columns[1:], cells, strict=True):
                print(f"  {column}: {cell}")
        return
    table = Table(*columns)
    for line in lines:
        table.add_row(*line)
    Console(highlight=False, markup=False, emoji=False, width=max(needed, console.width)).print(table)


def shortened(name: str) -> str:
    """Return a name as a table shows it."""
    text = printable(name)
    return text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 1]}…"


def show_stages(title: str, stages: dict[str, float]) -> None:
    """Print the milliseconds of each stage of work and its share of them all."""
    whole = sum(stages.values())
    rows = {name: [f"{1000 * seconds:.1f}", f"{seconds / whole:.0%}"] for name, seconds in stages.items()}
    show_rows(title, ("stage", "ms", "share"), rows | {"all": [f"{1000 * whole:.1f}", ""]})


def as_cell(value: float | int | None) -> str:
    """Return a number as a table shows it: a share in percent, "none" for what is no number."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "none"
    return f"{value:.1%}" if isinstance(value, float) else str(value)


def print_json(content: Any) -> None:
    """Print one line of JSON that every parser reads: what is no number is null."""
    print(json.dumps(finite(content), ensure_ascii=True, allow_nan=False))


def print_json_list(items: Iterable[Any]) -> None:
    """Print one line of JSON, a list, whose items are made one after the other."""
    before = "["
    for item in items:
        print(before + json.dumps(finite(item), ensure_ascii=True, allow_nan=False), end="")
        before = ", "
    print("[]" if before == "[" else "]")


def finite(content: Any) -> Any:
    """Return content with None in place of numbers that JSON has no form for."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {str(key): finite(value) for key, value in content.items()}
    return [finite(value) for value in content] if isinstance(content, list | tuple) else content


def duration(seconds: float) -> str:
    """Return seconds as a person says them."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
