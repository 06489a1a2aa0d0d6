"""What looks like one box or one image, by request."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.web.studio.paging import until

from sppnet.errors import DataError
from sppnet.geometry import iou
from sppnet.web.studio import alike
from sppnet.web.studio.alike import MOST, OF_AN_IMAGE, Sought, look_for
from sppnet.web.studio.changes import Changes
from sppnet.web.studio.session import Session
from sppnet.web.studio.store import Missing


@pytest.fixture(scope="module")
def session(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("images")
    shutil.copytree(shapes / "JPEGImages", folder, dirs_exist_ok=True)
    session = Session(folder)
    session.start()
    until(lambda: len(session.learner.ready) == len(session.learner.images))
    yield session
    session.close()


def _asked(*changes: dict[str, Any]) -> Changes:
    return Changes.model_validate({"what": "Say", "changes": list(changes)})


def _whole_search(session: Session, **asked: Any) -> list[dict[str, Any]]:
    rows, start = [], 0
    while start is not None:
        answer = look_for(session, Sought(**asked, start=start))
        rows += answer["rows"]
        start = answer["next"]
    return rows


def test_a_box_finds_places_elsewhere_and_not_where_it_lies_itself(session: Session) -> None:
    image = next(iter(session.learner.images))
    edges = (20.0, 20.0, 60.0, 60.0)
    rows = _whole_search(session, image=image, edges=edges, label=1)
    assert {row["image"] for row in rows} == set(session.learner.images)
    assert max(sum(row["image"] == key for row in rows) for key in session.learner.images) <= OF_AN_IMAGE
    own = np.array([row["edges"] for row in rows if row["image"] == image])
    assert iou(np.array([edges]), own).max() < alike.ELSEWHERE
    for row in rows:
        size = session.known(row["image"])
        assert 0 <= row["edges"][0] < row["edges"][2] <= size.width
        assert 0 <= row["edges"][1] < row["edges"][3] <= size.height


def test_a_search_goes_on_where_a_request_ends(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    image = next(iter(session.learner.images))
    at_once = _whole_search(session, image=image)
    monkeypatch.setattr(alike, "SECONDS", 0.0)  # one image a request
    answer = look_for(session, Sought(image=image, start=3))
    assert (answer["next"], answer["total"], len(answer["rows"])) == (4, 12, 1)
    one_by_one = _whole_search(session, image=image)
    assert sorted(row["image"] for row in one_by_one) == sorted(row["image"] for row in at_once)
    assert image not in [row["image"] for row in one_by_one]
    assert len(at_once) <= MOST


def test_what_is_answered_or_complete_is_left_out_and_what_is_suggested_waits_for_an_answer(session: Session) -> None:
    image, other, third = list(session.learner.images)[:3]
    (label,) = session.change(_asked({"do": "add class", "name": "disc"}))["added"]
    sought = {"image": image, "edges": (20.0, 20.0, 60.0, 60.0), "label": label}
    best = next(row for row in _whole_search(session, **sought) if row["image"] == other)
    suggested = session.change(_asked({"do": "suggest", "image": other, "label": label, "edges": best["edges"]}))
    assert suggested["images"][0]["found"] == {label: 1}
    (open_suggestion,) = session.opened(other)["suggestions"]
    assert (open_suggestion["edges"], open_suggestion["score"]) == (best["edges"], 1.0)
    accepted = {"do": "add", "image": other, "label": label, "edges": best["edges"]}
    session.change(_asked(accepted, {"do": "complete", "image": third, "complete": True}))
    rows = _whole_search(session, **sought)
    assert best["edges"] not in [row["edges"] for row in rows if row["image"] == other]
    assert third not in [row["image"] for row in rows]
    session.undo()
    session.undo()
    assert session.opened(other)["suggestions"] == []


def test_features_that_are_missing_are_said(session: Session) -> None:
    image, other = list(session.learner.images)[:2]
    session.learner.ready.discard(other)
    try:
        assert look_for(session, Sought(image=image))["missing"] == 1
        with pytest.raises(DataError, match="the features of this image are not computed yet"):
            look_for(session, Sought(image=other))
        with pytest.raises(Missing, match="there is no image 999"):
            look_for(session, Sought(image=999))
    finally:
        session.learner.ready.add(other)
