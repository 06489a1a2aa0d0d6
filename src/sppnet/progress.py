"""What long work tells: beforehand what it will cost, and during it how far it is."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

BASE_MEMORY: Final = 600_000_000  # bytes: the libraries, the network and one picture in it

Item = TypeVar("Item")


class Progress(Protocol):
    """Wraps a pass over items, given its name, and yields them one after the other."""

    def __call__(self, name: str, items: Sequence[Item], /) -> Iterable[Item]:
        """Return the items, telling somebody as each is asked for."""


def silent(name: str, items: Sequence[Item], /) -> Iterable[Item]:  # noqa: ARG001
    """Tell nobody."""
    return items


@dataclass(frozen=True)
class Estimate:
    """What learning will cost.

    Args:
        pictures: how many. missing: of them without cached features.
        seconds: of work. memory: in bytes, at its peak.
    """

    pictures: int
    missing: int
    seconds: float
    memory: int


def timed(work: Callable[[], object]) -> float:
    """Do work twice and return the seconds of the second time: the first one pays for compiling."""
    work()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
