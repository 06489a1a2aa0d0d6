"""The command line, ended by its own hand at a chosen point, so that no test has to catch the moment.

``python stopping.py MODULE:CLASS.METHOD COUNT SIGNAL ARGUMENTS...`` sends itself the signal after so many calls.
"""

import os
import signal as signals
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from sppnet.cli import main


def stop_after(place: str, count: int, signal: int) -> None:
    """Wrap a method so that the process gets the signal when it was called ``count`` times."""
    module, _, rest = place.partition(":")
    owner, _, name = rest.partition(".")
    kind = getattr(import_module(module), owner)
    method, calls = getattr(kind, name), iter(range(1, count + 1))

    def counted(*arguments: Any, **options: Any) -> Any:
        result = method(*arguments, **options)
        if next(calls, None) == count:
            os.kill(os.getpid(), signal)
        return result

    setattr(kind, name, counted)


def stopping(place: str, count: int, signal: int, *arguments: str | Path) -> list[str]:
    """Return the command that runs sppnet with these arguments and ends itself."""
    return [sys.executable, __file__, place, str(count), str(int(signal)), *map(str, arguments)]


if __name__ == "__main__":
    signals.signal(signals.SIGINT, signals.default_int_handler)  # shells have what runs in the background ignore it
    stop_after(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    sys.argv[1:] = sys.argv[4:]
    main()
