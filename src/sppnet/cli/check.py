"""``check`` and ``demo``: what a data set holds, and what this package does."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sppnet.cli.options import Data, Json, LayoutName, check_out_file
from sppnet.cli.printing import bar, print_json, printable, said, show_table, tell
from sppnet.cli.program import app

if TYPE_CHECKING:
    from sppnet.data import Problem
    from sppnet.data.inspection import Inspection


@app.command(epilog="Example: sppnet check cells --html report.html")
def check(
    data: Data,
    layout: LayoutName = None,
    strict: Annotated[bool, typer.Option("--strict", help="Count warnings as errors.")] = False,
    page: Annotated[Path | None, typer.Option("--html", help="Write a page with images, boxes and problems.")] = None,
    as_json: Json = False,
) -> None:
    """Check a data set and report its problems.

    Ends with code 1 if it cannot be used as it is.
    """
    from sppnet.data.inspection import inspect
    from sppnet.data.report_page import report_page
    from sppnet.storage import write_file

    if page is not None:
        check_out_file(page, "--html")
    found = inspect(data, layout=layout, progress=bar)
    if page is not None:
        write_file(page, report_page(str(data), found))
        tell(f"Written to {printable(page)}")
    if as_json:
        print_json(found.as_dict())
    else:
        _show(data, found)
    if found.counts["error"] or (strict and found.counts["warning"]):
        raise typer.Exit(1)


def _show(data: Path, found: "Inspection") -> None:
    images = ", ".join(f"{number} {split}" for split, number in found.images.items())
    sides = "" if found.sizes is None else " Shorter side {0} to {2}, median {1} pixels.".format(*found.sizes)
    print(f"{printable(data)}: layout {found.layout} ({printable(found.saw)}); images: {images or 'none'}.{sides}")
    columns = ("class", *found.images, *(("recall 0.5", "recall 0.7") if found.proposal_recall else ()))
    rows = {}
    for name, counts in found.objects.items():
        recall = [f"{share:.1%}" for share in found.proposal_recall.get(name, ())]
        cells = [*map(str, counts.values()), *recall]
        rows[name] = cells + [""] * (len(columns) - 1 - len(cells))
    if rows:
        show_table(columns, rows)
    if found.proposal_recall:
        tell("recall: the share of objects that some proposed region overlaps by so much; the others cannot be found.")
    for code in dict.fromkeys(problem.code for problem in found.problems):
        _show_kind([problem for problem in found.problems if problem.code == code])
    print(", ".join(f"{number} {level}{'' if number == 1 else 's'}" for level, number in found.counts.items()) + ".")


def _show_kind(problems: "Sequence[Problem]") -> None:
    """Print the problems of one code: how many, what they mean, the first of them or all under --verbose."""
    from sppnet.data import CODES

    level, meaning = CODES[problems[0].code]
    print(f"{len(problems)} x {level} ({problems[0].code}): {meaning}")
    for problem in problems if said.verbose else problems[:1]:
        print(f"  {problem}")


@app.command(epilog="Example: sppnet demo --out page.html")
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML page to write.")] = Path("sppnet-demo.html"),
) -> None:
    """Classify, teach a detector and time it, on sample photographs.

    They come with Python packages: needs sppnet[demo].
    """
    from sppnet.demo.demo import write_page

    check_out_file(out)
    write_page(out, progress=bar)
    print(f"Open {out.resolve()}")
