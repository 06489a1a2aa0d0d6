"""When the learner works, and when it rests."""

import shutil
from pathlib import Path

import pytest

from sppnet.web.studio.session import Session


def test_the_learner_rests_once_there_is_nothing_to_do_and_nothing_was_said_for_a_while(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(shapes / "JPEGImages", tmp_path / "images")
    session = Session(tmp_path / "images")
    learner, seen = session.learner, []
    with session.store:

        def wait(_: float | None) -> None:
            seen.append(learner.rests)
            learner._stopped = True

        monkeypatch.setattr(learner._now, "wait", wait)
        monkeypatch.setattr("sppnet.web.studio.learner.REST", -1.0)
        assert not learner.rests
        learner._missing.clear()
        assert learner._wait_for_work() is None
        learner._stopped = False
        monkeypatch.setattr("sppnet.web.studio.learner.REST", 1e9)
        assert learner._wait_for_work() is None
    assert seen == [True, False]
