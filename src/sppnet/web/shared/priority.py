"""Work that nobody waits for at this moment gives way to the page, and to what answers it."""

import os
import sys
from typing import Final

NICER: Final = 10
LAST: Final = 19  # whatever else there is to do comes first


def process_gives_way(nicer: int = NICER) -> None:
    """Have this process compute only where nothing else does; Windows has no such thing."""
    if hasattr(os, "nice"):
        os.nice(nicer)


def thread_gives_way() -> None:
    """Have this thread alone, and those that it starts, compute only where nothing else does: Linux can."""
    if sys.platform == "linux":
        os.nice(NICER)
