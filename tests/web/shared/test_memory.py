"""What was freed in pieces goes back to the system, once it is much; until then nothing is done."""

import ctypes
import os
import subprocess
import sys

import pytest

from sppnet.web.shared.memory import HEAPS, MORE, REUSED, STATM, given_back, reuse_memory

HAS_GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim")


# In a process of its own: what a test before it freed would be taken for the pieces.
PIECES = """
import numpy as np
from sppnet.web.shared.memory import _resident, given_back

give_back = given_back()
assert not give_back()
pieces = [np.ones(8_000) for _ in range(3000)]  # 192 MB in pieces, which no map of its own is made for
held = _resident()
kept = pieces[-1]
del pieces  # all but the last, above which nothing is free
assert give_back()
assert _resident() < held - 100_000_000
assert kept.sum() == 8000
assert not give_back()
assert give_back(rests=True)  # once, when work has ended
assert not give_back(rests=True)
pieces = [np.ones(8_000) for _ in range(100)]  # 6 MB
assert not give_back()
del pieces
assert give_back(rests=True)
"""


@pytest.mark.skipif(not HAS_GLIBC, reason="needs glibc, whose heap keeps what lies below what is used")
def test_memory_in_pieces_goes_back() -> None:
    assert MORE < 100_000_000
    subprocess.run([sys.executable, "-c", PIECES], check=True)


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sppnet.web.shared.memory.STATM", STATM / "none")
    assert not given_back()(rests=True)


# The heaps of a process of many threads, each of which asks for memory while all others hold some.
THREADS = """
import ctypes, threading
from sppnet.web.shared.memory import share_heaps

share_heaps()
malloc = ctypes.CDLL(None).malloc
together = threading.Barrier(16)

def work():
    malloc(1000)
    together.wait()

threads = [threading.Thread(target=work) for _ in range(16)]
for each in threads:
    each.start()
for each in threads:
    each.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""


@pytest.mark.skipif(not HAS_GLIBC, reason="needs glibc, which makes a heap for each thread")
def test_threads_share_few_heaps() -> None:
    told = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True).stdout
    assert 1 <= told.count("<heap nr=") <= HEAPS
    alone = THREADS.replace("share_heaps()\nmalloc", "malloc")
    usual = {name: value for name, value in os.environ.items() if name not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")}
    told = subprocess.run([sys.executable, "-c", alone], env=usual, capture_output=True, text=True, check=True).stdout
    assert told.count("<heap nr=") > HEAPS


# A block of 60 MB, as a layer takes, again and again; faults are of pages that the system gave anew.
AGAIN = """
import os, resource
import numpy as np
from sppnet.web.shared.memory import REUSED, reuse_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.empty(60_000_000, np.uint8)[::4096] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

asked_anew = faults()
reuse_memory()
faults()
assert faults() < asked_anew / 10, (asked_anew, faults())
assert set(REUSED) <= set(os.environ)
"""


@pytest.mark.skipif(not HAS_GLIBC, reason="needs glibc")
def test_what_was_freed_serves_again() -> None:
    free = {name: value for name, value in os.environ.items() if name not in REUSED}
    subprocess.run([sys.executable, "-c", AGAIN], check=True, env=free)


@pytest.mark.skipif(not HAS_GLIBC, reason="needs glibc")
def test_what_the_environment_says_of_memory_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in REUSED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    reuse_memory()
    assert {name: os.environ.get(name) for name in REUSED} == dict.fromkeys(REUSED) | {"MALLOC_ARENA_MAX": "4"}
