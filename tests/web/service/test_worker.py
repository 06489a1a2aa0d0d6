"""A worker that nobody asks gives back what is free, and answers the next question."""

import os

import pytest

from sppnet.web.service import frames, worker


@pytest.mark.skipif(not hasattr(worker.select, "poll"), reason="needs a system that tells of pipes")
def test_who_waits_for_a_question_gives_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "REST", 0.0)
    reading, writing = os.pipe()
    given = []
    with os.fdopen(reading, "rb") as questions, os.fdopen(writing, "wb") as asker:

        def give_back(*, rests: bool = False) -> bool:  # the question comes while it is given back
            given.append(rests)
            frames.write(asker, {"number": len(given)}, b"image")
            return True

        assert worker._next_question(questions, give_back) == ({"number": 1}, b"image")
        frames.write(asker, {"number": 2}, b"another")
        assert worker._next_question(questions, give_back) == ({"number": 2}, b"another")
    assert given == [True]
