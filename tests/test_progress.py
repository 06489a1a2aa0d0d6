"""Stages of work: their times add up to the whole, whatever they hold."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from sppnet import progress
from sppnet.progress import stage, stages_of, usual_stages


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what lets seconds pass on a clock of the test's own."""
    now = [100.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_stages_add_up_and_an_inner_one_is_taken_out_of_the_outer(passing: Callable[[float], None]) -> None:
    def work() -> None:
        with stage("outer"):
            passing(1)
            with stage("inner"):
                passing(2)
        with stage("inner"):
            passing(4)
        passing(8)

    seconds = stages_of(work)
    assert list(seconds) == ["outer", "inner", "rest"]
    assert seconds == {"outer": 1, "inner": 6, "rest": 8}


def test_stages_that_nobody_measures_pass_values_and_errors() -> None:
    with stage("alone"):
        done = 1
    assert done == 1
    with pytest.raises(ValueError, match="broken"), stage("alone"):
        raise ValueError("broken")


def test_work_that_fails_leaves_no_clock_behind() -> None:
    def work() -> None:
        with stage("bad"):
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        stages_of(work)
    assert list(stages_of(lambda: None)) == ["rest"]


def test_the_usual_stages_are_medians_without_the_first_time(passing: Callable[[float], None]) -> None:
    times = iter([64, 1, 4, 2])

    def work() -> None:
        with stage("waiting"):
            passing(next(times))

    assert usual_stages(work, repeats=3) == {"waiting": 2, "rest": 0}
