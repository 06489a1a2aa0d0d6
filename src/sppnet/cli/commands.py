"""All commands, and how one is run: its words are parsed, and every error it ends with becomes one message."""

import os
import re
import sys
import warnings
from collections.abc import Collection
from io import TextIOWrapper
from typing import Any, Final

# Before torch is imported. Threads that spin while they wait make an image 25 times slower beside another busy
# program (240 to 690 ms instead of 28); asleep they cost nothing.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Every new image size adds to oneDNN's cache of compiled layers; unbounded it grows by half a gigabyte.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

from typer.exceptions import TyperException
from typer.main import get_command

# Each adds its commands.
from sppnet.cli import (  # noqa: F401
    INTERRUPTED,
    bench,
    cache,
    check,
    datasets,
    evaluate,
    export,
    features,
    predict,
    reproduce,
    serve,
    studio,
    train,
    train_network,
)
from sppnet.cli.misuse import in_words
from sppnet.cli.printing import notes, printable, said, show_warning
from sppnet.cli.program import app
from sppnet.errors import ArgumentError, MissingExtraError, SppnetError, WriteError, causes_of, is_full, places_of
from sppnet.web.shared.memory import reuse_memory

__all__ = ["app", "run"]

BAD_DATA: Final = 1
BAD_COMMAND: Final = 2
GO_ON: Final = [[name] for name in ("train", "predict", "features", "cache", "evaluate", "reproduce")]
ANYWHERE: Final = ("--quiet", "-q", "--verbose")  # taken before a command and after it
# How messages of the library begin: "load_detection: split must be ...". A user knows options, not functions.
_OF_LIBRARY: Final = re.compile(r"^[A-Za-z_]+(?:\.[a-z_]+)?: (\w+) must be ")
_GIVEN: Final = re.compile(r"(?<![^ (])([a-z_]+)=(True|[A-Z]+)\b")  # "download=True", "weights=FILE"
_OPTIONS: Final = {
    "data": "DATA",
    "root": "DATA",
    "form": "--format",
    "model": "MODEL",
    "models": "MODELS",
    "file": "--plot",
    "name": "--backbone",
    "share": "--val",
    "table": "TABLE",
}


def run() -> None:
    """Run the command that the program was called with, and end with its code."""
    reuse_memory()  # before there are threads, whose heaps would be others
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that lacks a letter gets its number
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = show_warning
    words = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    first = [word for word in words if word in ANYWHERE]
    rest = [word for word in sys.argv[1:] if word not in first]
    try:
        code = app([*first, *rest], standalone_mode=False)
    except TyperException as error:
        text = error.format_message()
        if text.lstrip().startswith("Usage:"):  # of a command that was given nothing
            notes.print(text)
        else:
            notes.print(f"Error: {in_words(error)}", style="red")
        sys.exit(BAD_COMMAND)
    except (SppnetError, OSError, MemoryError) as error:
        if said.verbose:
            for each in causes_of(error):  # for a report: no folder of this machine, and no line of a file
                notes.print(f"Arose: {places_of(each)}")
        if isinstance(error, OSError) and is_full(error) and not isinstance(error, WriteError):
            error = WriteError(error.filename2 or error.filename or "the disk", error)
        text = str(error)
        if isinstance(error, OSError) and not isinstance(error, SppnetError) and error.filename is not None:
            name = error.filename if isinstance(error.filename, int) else os.fsdecode(error.filename)
            text = f"{printable(str(name))}: {(error.strerror or text).lower()}."
        notes.print(f"Error: {in_options(text) or type(error).__name__}", style="red")
        sys.exit(BAD_COMMAND if isinstance(error, ArgumentError | MissingExtraError) else BAD_DATA)
    if code == INTERRUPTED:
        on = " What was computed is kept: the same command goes on from there." if rest[:1] in GO_ON else ""
        notes.print(f"Interrupted.{on}")
    sys.exit(code or 0)


def in_options(text: str) -> str:
    """Return a message of the library in the words of the command line; what is no option stays as it is.

    >>> in_options("load_detection: split must be one of train, val, got 'winter'. Name one.")
    "--split must be one of train, val, got 'winter'. Name one."
    >>> in_options("backbone: weights must be a file or download=True, got none. Give weights=FILE.")
    '--weights must be a file or --download, got none. Give --weights FILE.'
    >>> in_options("draw: matplotlib must be installed, got none. Install it.")
    'draw: matplotlib must be installed, got none. Install it.'
    """
    found = _OF_LIBRARY.match(text)
    if found is None:
        return text
    options = {*_OPTIONS.values(), *_options_of(get_command(app))}
    option = _option(found.group(1))
    rest = _GIVEN.sub(lambda given: _as_given(given, options), text[found.end() :])
    return f"{option} must be {rest}" if option in options else text


def _option(argument: str) -> str:
    return _OPTIONS.get(argument, f"--{argument.replace('_', '-')}")


def _as_given(given: re.Match[str], options: Collection[str]) -> str:
    """Return what is written for an argument in Python as it is for an option, if it is one."""
    option, value = _option(given.group(1)), given.group(2)
    if option not in options:
        return given.group()
    return option if value == "True" else f"{option} {value}"


def _options_of(command: Any) -> set[str]:
    """Return the options of a command and of those below it."""
    below: list[Any] = list(getattr(command, "commands", {}).values())
    return {name for each in command.params for name in each.opts}.union(*map(_options_of, below))
