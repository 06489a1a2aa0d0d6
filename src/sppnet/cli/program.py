"""The program that every command joins."""

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Detectors and classifiers from a few hundred labelled images, on a laptop, in minutes.",
)
train = typer.Typer(no_args_is_help=True, help="Learn from a folder of labelled images.")
app.add_typer(train, name="train")
bench = typer.Typer(no_args_is_help=True, help="Compare with another way to the same end, on your own images.")
app.add_typer(bench, name="bench")
