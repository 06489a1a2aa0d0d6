"""The command line: parses, calls, prints.

Exit codes: 0, done; 1, the data or a file cannot be used; 2, the command cannot be understood; 130, interrupted. An
error is one message on what and where, in the words of the options.
"""

import sys
from typing import Final

__all__ = ["INTERRUPTED", "main"]

INTERRUPTED: Final = 130  # how typer ends after Ctrl-C


def main() -> None:
    """Run the command line. Nothing else is imported before: Ctrl-C ends in one line while all else still is."""
    try:
        from sppnet.cli.commands import run

        run()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED)
