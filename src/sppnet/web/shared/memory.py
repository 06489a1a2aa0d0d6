"""Memory that was computed in is given back: glibc's heaps, one or more a thread, keep what was freed in pieces.

Other systems' libraries give back by themselves what is free.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

MORE: Final = 32_000_000  # bytes more than there were when it was last given back: it costs some milliseconds
STATM: Final = Path("/proc/self/statm")


def given_back() -> Callable[[], bool]:
    """Return what gives free memory back to the system once more of it gathered; it returns whether it did."""
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is None or not STATM.exists():
        return lambda: False
    least = _resident()

    def give_back() -> bool:
        nonlocal least
        if (held := _resident()) <= least + MORE:
            least = min(least, held)
            return False
        trim(0)
        least = _resident()
        return True

    return give_back


def _resident() -> int:
    return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
