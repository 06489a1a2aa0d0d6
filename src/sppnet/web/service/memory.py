"""The memory that a worker computed in is given back: each size of images needs other pieces, and the heap keeps them.

glibc alone is told: other systems' libraries give back what is free by themselves.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

MORE: Final = 32_000_000  # bytes beyond what was needed when last given back: it costs 5 ms, every fifty images or so
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
