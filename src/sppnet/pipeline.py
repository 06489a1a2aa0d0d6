"""Many items through several processes, or the machines of a cluster: answers as they come, few at a time in memory."""

import logging
import os
import pickle  # between processes of one run alone: never a file
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stdout
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, Final, NamedTuple, TypeVar, overload

from sppnet.errors import MissingExtraError, SppnetError, check_that

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


class ClusterError(SppnetError):
    """A cluster that cannot be reached, or a worker on it that failed; the message says why."""


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
        WorkerDiedError: a process was killed. What an answer raises is raised here.
    """
    check_that(workers >= 1, "each_answer", "workers", "at least 1", workers, advice="Give the number of processes")
    threads = max(1, (os.cpu_count() or 1) // workers)
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (prepare, threads))
    waiting: deque[Future[Answer]] = deque()
    try:
        for item in items:
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


def _begin(prepare: Callable[[], Callable[[Any], Any]], threads: int) -> None:
    global _ANSWER
    Thread(target=_end_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(threads)  # before numpy and torch are loaded
    _ANSWER = prepare()


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


# The machines of a cluster


class Cluster(NamedTuple):
    """A cluster of Ray.

    Args:
        address: of its head; None: the one that this machine belongs to, or else this machine alone.
        workers: at most, over all machines; None: as many as there are processors, or GPUs where they take any.
        gpus: that each worker takes, such as 1 or 0.5.
    """

    address: str | None = None
    workers: int | None = None
    gpus: float = 0.0


def each_on_cluster(
    prepare: Callable[[], Callable[[Item], Answer]], items: Sequence[Item], cluster: Cluster
) -> Iterator[Answer]:
    """Answer items in worker processes on the machines of a cluster, and yield the answers as they come.

    Workers and machines that are lost are replaced, and their items done again, by Ray.

    Args:
        prepare: run once in each worker; what it returns answers an item there. It is sent by pickle, as items and
            answers are; the package must be installed on each machine.
    Raises:
        MissingExtraError: Ray is not installed. ClusterError: no such cluster, or what a worker raised.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("--on ray: needs Ray. Install it: pip install 'sppnet[ray]'.") from error
    if not items:
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody unasked
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    mine = not ray.is_initialized()
    with redirect_stdout(sys.stderr):  # Ray prints what becomes of its workers, where answers are printed
        try:
            ray.init(cluster.address, ignore_reinit_error=True, logging_level=logging.ERROR, log_to_driver=False)
            ray.data.DataContext.get_current().enable_progress_bars = False
            workers = cluster.workers or _room(ray.cluster_resources(), cluster.gpus)
            rows = [{"item": pickle.dumps(item)} for item in items]
            done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
                _Worker,
                fn_constructor_args=(prepare,),
                concurrency=(1, min(workers, len(rows))),
                num_cpus=1,
                num_gpus=cluster.gpus or None,
            )
            for row in done.iter_rows():
                if row["error"]:
                    raise ClusterError(row["error"])
                yield pickle.loads(row["answer"])
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise ClusterError(f"--on ray: {error}. The same command goes on where it was.") from error
        finally:
            if mine:
                ray.shutdown()


class _Worker:
    """What a worker process of a cluster holds: a loaded model's method, perhaps."""

    def __init__(self, prepare: Callable[[], Callable[[Any], Any]]) -> None:
        self.answer = prepare()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"answer": pickle.dumps(self.answer(pickle.loads(row["item"]))), "error": ""}
        except (SppnetError, OSError) as error:  # trying it again would not help
            return {"answer": b"", "error": str(error) or type(error).__name__}


def _room(resources: Mapping[str, float], gpus: float) -> int:
    """Return how many workers a cluster of these resources has room for, at least one."""
    return max(1, int(resources.get("GPU", 0) / gpus) if gpus else int(resources.get("CPU", 1)))
