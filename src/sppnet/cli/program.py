"""The program that every command joins, and what is said the same way in front of all of them."""

from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from sppnet.cli.printing import said

ORDER: Final = (  # of --help: what a beginner needs first
    *("studio", "check", "train", "evaluate", "predict", "export", "serve"),
    *("convert", "split", "features", "cache", "bench", "reproduce", "demo"),
)


class _InOrder(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Return the commands as --help lists them."""
        return sorted(self.commands, key=ORDER.index)


app = typer.Typer(
    cls=_InOrder,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Detectors and classifiers from a few hundred labelled images, on a laptop, in minutes.",
    epilog="Example: sppnet check --help",
)
train = typer.Typer(
    no_args_is_help=True, help="Learn from a folder of labelled images.", epilog="Example: sppnet train detector --help"
)
app.add_typer(train, name="train")
bench = typer.Typer(
    no_args_is_help=True,
    help="Compare with another way to the same end, on your own images.",
    epilog="Example: sppnet bench detector --help",
)
app.add_typer(bench, name="bench")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"sppnet {version('sppnet')}")
        raise typer.Exit


@app.callback()
def before_all(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print answers, warnings and errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Name every problem, show where errors arose.")] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Set how much is said."""
    said.quiet, said.verbose = quiet, verbose
