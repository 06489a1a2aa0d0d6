"""Stages of work: their times add up to the whole, whatever they hold."""

import time

import pytest

from sppnet.progress import stage, stages_of, usual_stages


def test_stages_add_up_and_an_inner_one_is_taken_out_of_the_outer() -> None:
    def work() -> None:
        with stage("outer"):
            time.sleep(0.02)
            with stage("inner"):
                time.sleep(0.05)
        with stage("inner"):
            time.sleep(0.05)
        time.sleep(0.02)

    start = time.perf_counter()
    seconds = stages_of(work)
    whole = time.perf_counter() - start
    assert list(seconds) == ["outer", "inner", "rest"]
    assert seconds["inner"] >= 0.1
    assert seconds["outer"] >= 0.02
    assert seconds["rest"] >= 0.02
    assert sum(seconds.values()) <= whole


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


def test_the_usual_stages_are_medians_without_the_first_time() -> None:
    times = iter([0.2, 0.01, 0.03, 0.02])

    def work() -> None:
        with stage("sleep"):
            time.sleep(next(times))

    seconds = usual_stages(work, repeats=3)
    assert list(seconds) == ["sleep", "rest"]
    assert 0.02 <= seconds["sleep"] < 0.2
