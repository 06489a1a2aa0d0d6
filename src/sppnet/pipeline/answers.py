"""Many items through several processes: answers as they come, few at a time in memory."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, Final, NamedTuple, TypeVar, overload

from sppnet.errors import SppnetError, check_that

IN_FLIGHT: Final = 3  # items a process that are worked on or wait: enough that none waits for the parent
Item = TypeVar("Item")
Answer = TypeVar("Answer")
_ANSWER: Callable[[Any], Any] | None = None  # of a worker process, made once


class WorkerDiedError(SppnetError):
    """A worker process was ended from outside, by the system for its memory perhaps."""


class Bad(NamedTuple):
    """In place of an answer: an image that could not be read, and why."""

    path: str
    reason: str


class Lazy(Sequence[Answer]):
    """Answers for items, each made anew when it is asked for: of any number, memory holds one."""

    def __init__(self, items: Sequence[Item], make: Callable[[Item], Answer]) -> None:
        self._items, self._make = items, make

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Answer: ...

    @overload
    def __getitem__(self, index: slice) -> "Lazy[Answer]": ...

    def __getitem__(self, index: int | slice) -> "Answer | Lazy[Answer]":
        return Lazy(self._items[index], self._make) if isinstance(index, slice) else self._make(self._items[index])


def shard(items: Sequence[Item], part: int, parts: int) -> list[Item]:
    """Return every item whose turn is ``part`` of ``parts``: the parts are alike in size and hold each item once.

    Raises:
        ArgumentError: a part that is not from 1 to ``parts``.

    >>> shard("abcdefg", 2, 3)
    ['b', 'e']
    """
    fits = 1 <= part <= parts
    check_that(fits, "shard", "part", f"from 1 to {parts}", part, advice="Write the part first, as 3/10")
    return list(items[part - 1 :: parts])


def each_answer(
    prepare: Callable[[], Callable[[Item], Answer]], items: Iterable[Item], *, workers: int
) -> Iterator[Answer]:
    """Answer items in worker processes, and yield the answers in the order of the items.

    Args:
        prepare: run once in each process; returns what answers an item there, such as a loaded model's method. It is
            sent to the processes, and so are items and answers: all by pickle.
        items: read a few ahead of what is yielded.
        workers: processes; each has that part of the cores.
    Raises:
        WorkerDiedError: a process was killed. What ``prepare`` or an answer raises is raised here.
    """
    check_that(workers >= 1, "each_answer", "workers", "at least 1", workers, advice="Give the number of processes")
    threads = max(1, (os.cpu_count() or 1) // workers)
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (prepare, threads))
    waiting: deque[Future[Answer]] = deque()
    try:
        for item in items:
            with _spared_interrupts():  # the first item starts the processes
                waiting.append(pool.submit(_answered, item))
            if len(waiting) >= workers * IN_FLIGHT:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        advice = "The same command goes on from there; give fewer --workers if memory ran out"
        raise WorkerDiedError(f"each_answer: a worker process was ended from outside. {advice}.") from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _spared_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back while processes begin, which inherit that; see ``_end_by_interrupts``."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_by_interrupts() -> None:
    """End this process at once by Ctrl-C, one held back so far too: the first process tells of it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _begin(prepare: Callable[[], Callable[[Any], Any]], threads: int) -> None:
    global _ANSWER
    _end_by_interrupts()
    Thread(target=_end_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(threads)  # before numpy and torch are loaded
    _ANSWER = prepared(prepare)


def prepared(prepare: Callable[[], Callable[[Item], Answer]]) -> Callable[[Item], Answer]:
    """Return what ``prepare`` does, or what raises its error when asked for an answer.

    A worker that raised it while it begins would be taken for one that was killed.
    """
    try:
        return prepare()
    except Exception as error:
        return partial(_raise, error)


def _raise(error: Exception, _: Any) -> Any:
    raise error


def _end_with_parent() -> None:
    """End this process when its parent is gone, killed perhaps: nobody else would tell it."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _answered(item: Any) -> Any:
    if _ANSWER is None:
        raise WorkerDiedError("each_answer: a worker process was not prepared. Run it again.")
    return _ANSWER(item)
