"""What the gallery shows of each image."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from sppnet.web.studio.board import Board, Limits
from sppnet.web.studio.learner import StudioLearner
from sppnet.web.studio.session import Session
from sppnet.web.studio.store import Store
from sppnet.web.studio.suggestions import Suggestions


def test_what_every_complete_image_holds_is_expected_of_the_others(tmp_path: Path) -> None:
    with Store(tmp_path / "studio.sqlite") as store:
        with store.step("Open", undoable=False) as step:
            label, other = (step.add("class", {"name": name, "colour": "#000000"}) for name in ("a", "b"))
            keys = [step.add("image", {"name": f"{place}.png", "height": 99, "width": 99}) for place in range(5)]
        whole = {"left": 0, "top": 0, "right": 9, "bottom": 9, "kind": "object"}

        def complete(place: int, *labels: int) -> None:
            with store.step("Label", undoable=False) as step:
                step.change("image", keys[place], {"complete": 1})
                for each in labels:
                    step.add("box", whole | {"image": keys[place], "class": each})
            board.read([keys[place]])

        images = {each.id: each for each in store.images()}
        suggested = Suggestions(np.eye(3, 4, dtype=np.float32), *_three(label, other))
        found = {key: SimpleNamespace(doubt=0.0, suggestions=suggested) for key in keys}
        board = Board(store, cast(StudioLearner, SimpleNamespace(images=images, found=found, faults={}, ready=set())))
        complete(0, label, label, other)
        complete(1, label, label)
        assert board.usual() == {}
        complete(2, label, label, label, other)
        assert board.usual() == {label: 2}
        limits = Limits({label: 0.7, other: 0.9}, board.usual())
        shown = board.open_suggestions(keys[3], limits)
        assert [(each["label"], "expected" in each) for each in shown] == [(label, True), (other, False), (label, True)]
        assert board.summaries(limits, [keys[3]])[0]["found"] == {label: 2}
        assert board.summaries(Limits(limits.thresholds, {}), [keys[3]])[0]["found"] == {}
        exporting: Any = SimpleNamespace(board=board, thresholds=limits.thresholds)
        assert len(Session.counted(exporting, images[keys[3]]).scores) == 0  # what is expected is asked, not exported


def _three(label: int, other: int) -> tuple[Any, Any]:
    """Labels and scores of three detections, all below their thresholds."""
    return np.array([label, other, label], dtype=np.int32), np.array([0.6, 0.5, 0.4], dtype=np.float32)
