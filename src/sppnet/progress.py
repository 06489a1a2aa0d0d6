"""What long work tells: beforehand what it will cost, and during it how far it is."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from statistics import median
from typing import Final, Protocol, TypeVar

BASE_MEMORY: Final = 600_000_000  # bytes: the libraries, the network and one image in it

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
        images: how many. missing: of them without cached features.
        seconds: of work. memory: in bytes, at its peak.
        model: bytes that the model's file will have at least.
    """

    images: int
    missing: int
    seconds: float
    memory: int
    model: int


def timed(work: Callable[[], object]) -> float:
    """Do work twice and return the seconds of the second time: the first one pays for compiling."""
    work()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# Stages


class _Clock:
    """Seconds by stage: each moment counts for the innermost stage that it falls into."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.open: list[str] = []
        self.since = 0.0

    def turn(self) -> None:
        """Give the time since the last turn to the stage that is open."""
        now = time.perf_counter()
        if self.open:
            self.seconds[self.open[-1]] += now - self.since
        self.since = now


_CLOCK: ContextVar[_Clock | None] = ContextVar("clock", default=None)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Name what the work inside is, for whoever measures it with ``stages_of``; costs nothing otherwise."""
    clock = _CLOCK.get()
    if clock is None:
        yield
        return
    clock.turn()
    clock.seconds.setdefault(name, 0.0)
    clock.open.append(name)
    try:
        yield
    finally:
        clock.turn()
        clock.open.pop()


def stages_of(work: Callable[[], object]) -> dict[str, float]:
    """Do work and return the seconds of its stages, in the order in which they were first entered.

    A stage inside another one is taken out of it, so that the stages add up to the whole; what no stage names
    is under "rest".
    """
    clock = _Clock()
    token = _CLOCK.set(clock)
    start = time.perf_counter()
    try:
        work()
    finally:
        _CLOCK.reset(token)
    whole = time.perf_counter() - start
    return clock.seconds | {"rest": whole - sum(clock.seconds.values())}


def usual_stages(work: Callable[[], object], *, repeats: int = 5) -> dict[str, float]:
    """Return each stage's median seconds over some repeats of work, after a first time that pays for compiling."""
    stages_of(work)
    runs = [stages_of(work) for _ in range(repeats)]
    return {name: median(run.get(name, 0.0) for run in runs) for name in runs[0]}
