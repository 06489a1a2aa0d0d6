"""``check`` and ``demo``: what a data set holds, and what this package does."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sppnet.cli.options import Data, Json
from sppnet.cli.printing import bar, print_json
from sppnet.cli.program import app


@app.command()
def check(data: Data, as_json: Json = False) -> None:
    """Tell what a data set holds and what is wrong with it."""
    from sppnet.data.inspection import inspect

    found = inspect(data, progress=bar)
    if as_json:
        print_json(found.as_dict())
        return
    images = ", ".join(f"{number} {split}" for split, number in found.images.items())
    sides = "" if found.sizes is None else " Shorter side {} to {}, median {} pixels.".format(*_ends_first(found.sizes))
    print(f"{data}: layout {found.layout}; images: {images}.{sides}")
    table = Table("class", *found.images, *(("recall 0.5", "recall 0.7") if found.proposal_recall else ()))
    for name, counts in found.objects.items():
        recall = [f"{share:.1%}" for share in found.proposal_recall.get(name, ())]
        table.add_row(name, *map(str, counts.values()), *recall)
    Console().print(table)
    for twin in found.twins:
        print(f"In two splits: {twin.path} ({twin.split}) and {twin.other_path} ({twin.other_split})")
    for problem in found.problems:
        print(problem)
    print(f"{len(found.problems)} problems, {len(found.twins)} images in two splits.")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML page to write.")] = Path("sppnet-demo.html"),
) -> None:
    """Classify, teach a detector and time it, on photographs that come with Python packages."""
    from sppnet.demo.demo import write_page

    write_page(out, progress=bar)
    print(f"Open {out.resolve()}")


def _ends_first(sizes: tuple[int, int, int]) -> tuple[int, int, int]:
    least, middle, most = sizes
    return least, most, middle
