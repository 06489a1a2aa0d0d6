"""Memory that was computed in: what one layer freed serves the next, and goes back to the system once work has ended.

Both are asked of glibc, whose heaps, one or more a thread, keep what was freed in pieces, and which gives blocks of
more than 32 MB back at once. Other systems' libraries are left alone.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

MORE: Final = 32_000_000  # bytes more than there were when it was last given back: it costs some milliseconds, and
# what is computed next has to ask for it again, some hundredths of a second
LITTLE: Final = 1_000_000  # the same at rest, when nobody waits
HEAPS: Final = 2  # glibc would make eight a core
ARENA_MAX: Final = -8  # what ``mallopt`` calls their number
REUSED: Final = {  # by their names in the environment of programs that this one starts, and for ``mallopt``
    # Bytes: a layer takes 59 MB of an image of 0.6 megapixels; 100 MB of a tile, which in a heap would leave holes.
    "MALLOC_MMAP_THRESHOLD_": (-3, 64 << 20),
    "MALLOC_TRIM_THRESHOLD_": (-1, 128 << 20),
    "MALLOC_ARENA_MAX": (ARENA_MAX, 1),  # of several heaps each would keep as much
}
STATM: Final = Path("/proc/self/statm")


class GiveBack(Protocol):
    """Gives free memory back to the system."""

    def __call__(self, *, rests: bool = False) -> bool:
        """Do so where much gathered, or where work has ended and ``rests``; return whether it was done."""


def reuse_memory() -> None:
    """Have what one layer of a network freed serve the next, here and in programs that are started from here.

    Else each block is given back to the system and asked for again, page by page: an image of 0.6 megapixels is encoded
    in 0.06 s instead of 0.11, and detected in in three quarters of the time. What the environment says already stays.
    """
    mallopt: Callable[[int, int], int] | None = _of_libc("mallopt")
    if mallopt is None or any(name in os.environ for name in REUSED):
        return
    for name, (number, value) in REUSED.items():
        os.environ[name] = str(value)
        mallopt(number, value)


def share_heaps() -> None:
    """Have all threads that are yet to come share a few heaps: each of its own would keep what is free in it."""
    mallopt: Callable[[int, int], int] | None = _of_libc("mallopt")
    if mallopt is not None:
        mallopt(ARENA_MAX, HEAPS)


def given_back() -> GiveBack:
    """Return what gives free memory back, to be called again and again."""
    trim: Callable[[int], int] | None = _of_libc("malloc_trim")
    if trim is None or not STATM.exists():
        return lambda *, rests=False: False  # noqa: ARG005
    least, rested = _resident(), False

    def give_back(*, rests: bool = False) -> bool:
        nonlocal least, rested
        ended, rested = rests and not rested, rests  # what work still held, when it was last given back, is free now
        if (held := _resident()) <= least + (LITTLE if rests else MORE) and not ended:
            least = min(least, held)
            return False
        trim(0)
        least = _resident()
        return True

    return give_back


def _of_libc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None


def _resident() -> int:
    return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
