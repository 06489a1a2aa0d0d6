"""``reproduce``: the paper's tables, published against measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sppnet.cli.options import Cache, Json, Seed, check_out_folder
from sppnet.cli.printing import bar, print_json, show_rows
from sppnet.cli.program import app

if TYPE_CHECKING:
    from sppnet.recipes import TableRow


@app.command(epilog="Example: sppnet reproduce table9 --data VOCdevkit")
def reproduce(
    table: Annotated[
        str | None, typer.Argument(metavar="TABLE", help="A table of the paper, such as table7; without one, a list.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with the data set; without one, what the recipe does.")
    ] = None,
    weights: Annotated[
        list[Path] | None, typer.Option(help="A trained network; again for each that is asked for.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Little data: tries the code, the numbers mean nothing.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write results to.")] = Path("results"),
    work: Annotated[Path, typer.Option(help="Folder for checkpoints and models.")] = Path("runs"),
    seed: Seed = 0,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Run a table of the paper: published against measured."""
    from sppnet import recipes
    from sppnet.storage import default_cache_folder

    if table is None:
        for name in recipes.names():
            print(f"{name:10} {recipes.describe(name).splitlines()[0]}")
        return
    if data is None:
        print(recipes.describe(table).replace("``", "'"))
        return
    check_out_folder(out)
    check_out_folder(work, "--work")
    kept = cache or default_cache_folder()
    request = recipes.RecipeRequest(data, tuple(weights or ()), quick, seed, kept, work, bar)
    report, path = recipes.reproduce(table, request, out)
    if as_json:
        print_json(report.as_dict())
        return
    rows = {row.name: [_number(row.paper), _measured(row), row.note] for row in report.rows}
    title = f"{report.title} ({report.unit})" + (", quick: the numbers mean nothing" if report.quick else "")
    show_rows(title, ("", "paper", "measured", "note"), rows)
    print(f"Written to {path}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _measured(row: "TableRow") -> str:
    return _number(row.measured) + (f" ± {row.spread:.2f}" if row.spread is not None else "")
