"""When the learner works, and when it rests."""

import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sppnet.errors import DataError
from sppnet.web.studio.changes import Changes
from sppnet.web.studio.session import Session


def in_a_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


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


def test_work_that_nobody_waits_for_gives_way(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(shapes / "JPEGImages", tmp_path / "images")
    session = Session(tmp_path / "images")
    learner, goes_on = session.learner, []
    with session.store:
        monkeypatch.setattr(learner._now, "wait_for", lambda holds: goes_on.append(holds()))
        for learner.learning in (True, False):
            learner.give_way()
    assert goes_on == [False, True]


def test_features_give_way_to_the_page_and_answers(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(shapes / "JPEGImages", tmp_path / "images")
    session = Session(tmp_path / "images")
    priorities = []

    def prepare() -> None:
        session.learner._prepare_all()
        priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    with session.store:
        session.learner._stopped = True
        session.learner._begins.set()
        in_a_thread(prepare)
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert priorities == [min(ours + 10, 19) if sys.platform == "linux" else ours]


def test_features_that_were_computed_by_what_is_no_longer_in_use_are_computed_again(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(shapes / "JPEGImages", tmp_path / "images")
    session = Session(tmp_path / "images")
    learner, prepared = session.learner, []

    class Estimator:
        def prepare_image(self, image: Path) -> None:
            prepared.append((self, image.name))
            vars(learner)["_estimator"] = later

    def wait_for(_: object) -> None:
        learner._stopped = not learner._missing

    later = Estimator()
    with session.store:
        first = vars(learner)["_estimator"] = Estimator()
        monkeypatch.setattr(learner._now, "wait_for", wait_for)
        learner._begins.set()
        in_a_thread(learner._prepare_all)
    names = sorted(learner.folder.names)
    assert prepared[0][0] is first
    assert sorted(name for by, name in prepared if by is later) == names
    assert learner.ready == set(learner.images)


def test_images_that_could_not_be_read_while_the_folder_was_away_are_read_when_it_is_back(
    shapes: Path, tmp_path: Path
) -> None:
    shutil.copytree(shapes / "JPEGImages", tmp_path / "images")
    session = Session(tmp_path / "images")
    learner, before = session.learner, session.summaries()
    with session.store:
        (tmp_path / "images").rename(tmp_path / "renamed")
        session.look_again()
        assert session.state()["away"].startswith(f"The folder {tmp_path / 'images'} is not there any more")
        with pytest.raises(DataError, match="start the studio with its new place"):
            session.change(Changes.model_validate({"what": "Add", "changes": [{"do": "add class", "name": "disc"}]}))
        image = learner._next_to_prepare()
        assert image is not None
        learner.faults[image.id] = "no such file"  # its features were to be computed just then
        (tmp_path / "renamed").rename(tmp_path / "images")
        session.look_again()
        assert (session.state()["away"], session.summaries()) == ("", before)
        assert image.id in learner._missing
