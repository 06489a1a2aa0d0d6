"""The command line: parses, calls, prints. Bad input is one line on what and where, and exit code 2."""

import os
import sys
from typing import Final

# Before torch is imported. Threads that spin while they wait make an image 25 times slower beside another busy
# program (240 to 690 ms instead of 28); asleep they cost nothing.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Every new image size adds to oneDNN's cache of compiled layers; unbounded it grows by half a gigabyte.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

# Each adds its commands, in the order of --help.
from sppnet.cli import bench, check, evaluate, export, predict, reproduce, serve, studio, train, train_network  # noqa: F401
from sppnet.cli.printing import notes
from sppnet.cli.program import app
from sppnet.errors import SppnetError

__all__ = ["app", "main"]

INTERRUPTED: Final = 130  # how typer ends after Ctrl-C
BAD_INPUT: Final = 2


def main() -> None:
    """Run the command line."""
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            notes.print("Interrupted. What was computed is kept: the same command goes on from there.")
        raise
    except (SppnetError, OSError, MemoryError) as error:
        notes.print(f"Error: {str(error) or type(error).__name__}", markup=False, style="red")
        sys.exit(BAD_INPUT)
