"""Answers of several processes: in order, a few ahead, and what becomes of a process that is killed."""

import os
import pickle
import signal
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from sppnet.errors import ArgumentError, DataError
from sppnet.pipeline import IN_FLIGHT, WorkerDiedError, each_answer, shard
from sppnet.pipeline.cluster import _Worker


def _adder(more: int) -> Callable[[int], tuple[int, str]]:
    return partial(_added, more)


def _added(more: int, item: int) -> tuple[int, str]:
    if item < 0:
        raise ArgumentError("a negative one")
    if item == 666:
        os.kill(os.getpid(), signal.SIGKILL)
    return item + more, os.environ["OMP_NUM_THREADS"]


def test_answers_come_in_order_and_share_the_cores() -> None:
    answers = list(each_answer(partial(_adder, 10), range(40), workers=2))
    assert [number for number, _ in answers] == list(range(10, 50))
    assert {threads for _, threads in answers} == {str(max(1, (os.cpu_count() or 1) // 2))}


def test_items_are_read_a_few_ahead_only() -> None:
    read = []

    def items() -> Iterator[int]:
        for number in range(1000):
            read.append(number)
            yield number

    answers = each_answer(partial(_adder, 0), items(), workers=1)
    next(answers)
    assert len(read) == IN_FLIGHT
    answers.close()  # type: ignore[attr-defined]


def test_what_an_answer_raises_is_raised() -> None:
    with pytest.raises(ArgumentError, match="a negative one"):
        list(each_answer(partial(_adder, 0), [1, -1], workers=1))


def _unprepared() -> Callable[[int], int]:
    raise DataError("no such file. Name another one.")


def test_what_a_worker_raises_while_it_begins_is_raised(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match=r"^no such file\. Name another one\.$"):
        list(each_answer(_unprepared, [1, 2, 3], workers=2))
    assert capfd.readouterr().err == ""


def test_a_worker_of_a_cluster_tells_what_it_raised_while_it_began() -> None:
    told = _Worker(_unprepared)({"item": pickle.dumps(1)})
    assert told == {"answer": b"", "error": "no such file. Name another one."}


def test_a_killed_process_is_told() -> None:
    with pytest.raises(WorkerDiedError, match=r"ended from outside\. The same command goes on from there; give fewer"):
        list(each_answer(partial(_adder, 0), [1, 666, 2], workers=1))


def test_no_workers_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"each_answer: workers must be at least 1, got 0\. Give the number"):
        next(each_answer(partial(_adder, 0), [1], workers=0))


def test_shards_are_a_partition() -> None:
    parts = [shard(range(23), part, 5) for part in range(1, 6)]
    assert sorted(number for part in parts for number in part) == list(range(23))
    assert {len(part) for part in parts} == {4, 5}
    with pytest.raises(ArgumentError, match=r"shard: part must be from 1 to 5, got 6\. Write the part first, as 3/10"):
        shard(range(23), 6, 5)


def _quiet() -> Callable[[int], bool]:
    return _is_quiet


def _is_quiet(_: int) -> bool:
    held = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return not held and signal.getsignal(signal.SIGINT) == signal.SIG_DFL


def test_ctrl_c_ends_processes_without_a_word_and_is_heard_by_the_first() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert all(each_answer(_quiet, range(4), workers=2))
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.getsignal(signal.SIGINT) == before
