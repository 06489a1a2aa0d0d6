"""How many actions the studio saves: sets are labelled from their true boxes as a person would label them.

Of each set 120 images lie in the folder without labels. The person opens what the studio hands out, and has told it
once to accept what is sure when an image is done. What is missing is drawn, each box by one drag, with one more key
where its class is another than the last one's, also over a suggestion that is badly placed; a guess that is right is
accepted, by one click or key; a sure suggestion that is wrong, and still there, is rejected, by one; then the image is
done, by one key. By hand it is one drag a box, the keys for classes, and the key for the next image. Counted over the
first 30 images, from none, in three runs: which image comes next hangs on what the studio has looked at by then.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import records
from sppnet.data import Sample, load_detection
from sppnet.geometry import iou
from sppnet.web.studio.changes import Changes
from sppnet.web.studio.session import Session
from sppnet.web.studio.suggestions import Suggestions

SETS = ("raccoon", "cards", "bccd")
IMAGES, LABELLED, RUNS = 120, 30, 3
GUESSES, GUESSED = 2, 4  # of a class in an image, and of all, as the page shows them (``page/shown.js``)
HARDLY = 0.05  # confidence below which a guess is shown only where there is nothing else
SAME = 0.7  # IoU from which on two suggestions are of one object
RIGHT_IOU = 0.5
PATIENCE = 120.0  # seconds


def measure() -> None:
    """Label all sets and write the actions."""
    figures = {name: _together([_label(name, run) for run in range(RUNS)]) for name in SETS}
    records.write("studio_actions", seed=0, figures=figures)
    print(json.dumps(figures, indent=1))


def _together(runs: Sequence[dict[str, int]]) -> dict[str, Any]:
    """Return the sums of all runs, and what each saved."""
    total = {what: sum(run[what] for run in runs) for what in runs[0]}
    return total | {
        "actions_per_box": round(total["actions"] / total["boxes"], 3),
        "share_of_by_hand": round(total["actions"] / total["actions_by_hand"], 3),
        "share_of_each_run": [round(run["actions"] / run["actions_by_hand"], 3) for run in runs],
    }


def _label(name: str, run: int) -> dict[str, int]:
    data = load_detection(records.data_folder(name), split="train")
    chosen = np.random.default_rng(run).permutation(len(data.samples))[:IMAGES]
    truth = {data.samples[place].path.name: data.samples[place] for place in chosen}
    with tempfile.TemporaryDirectory() as folder:
        for sample in truth.values():
            shutil.copy(sample.path, folder)
        session = Session(Path(folder))
        session.start()
        labels = session.change(_asked(*({"do": "add class", "name": each} for each in data.classes)))["added"]
        person, hand, boxes, silent = 0, 0, 0, 0
        with_studio, alone = Drawing(), Drawing()
        image: int | None = None
        for _ in range(LABELLED):
            image = session.next_image("", image)
            assert image is not None
            opened = _looked_at(session, image)
            sample = truth[opened["name"]]
            actions, said = _answer(session, opened, sample, labels, with_studio)
            person, boxes = person + actions, boxes + len(sample.boxes)
            hand += alone.actions([labels[label] for label in sample.labels])
            silent += said == 0
        session.close()
    return {
        "images": LABELLED,
        "boxes": boxes,
        "actions": person,
        "actions_by_hand": hand,
        "images_without_suggestions": silent,
    }


def _looked_at(session: Session, image: int) -> dict[str, Any]:
    """Wait until the detector has learnt all, knows how sure it may be, and has looked at an image.

    A person gives it the time for that: it takes a pause of two seconds, less than it takes to look at an image.

    Returns:
        What the page shows of the image.
    """
    session.learner.look_at(image)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        status, opened = session.status(), session.opened(image)
        settled = opened["ready"] and not (status["behind"] or status["learning"] or status["measuring"])
        if settled and (not status["taught"] or opened["round"] == status["round"]):
            return opened
        time.sleep(0.02)
    raise TimeoutError("the studio did not come to rest")


@dataclass
class Drawing:
    """What a person does by hand; ``label`` is the class that is drawn next."""

    label: int = -1

    def actions(self, labels: Sequence[int]) -> int:
        """Return the actions of drawing boxes and going on: drags, a key where the class changes, one at the end."""
        order = sorted(set(labels), key=lambda label: label != self.label)
        keys = sum(label != before for before, label in pairwise([self.label, *order]))
        self.label = order[-1] if order else self.label
        return len(labels) + keys + 1


def _answer(
    session: Session, opened: dict[str, Any], sample: Sample, labels: Sequence[int], drawing: Drawing
) -> tuple[int, int]:
    """Answer and draw as a person would; return the actions, and how many suggestions there were."""
    sure, guesses = _shown(session, opened)
    missing = set(range(len(sample.boxes)))
    right_sure = [each for each in sure if _takes(each, sample, labels, missing)]
    right_guesses = [each for each in guesses if _takes(each, sample, labels, missing)]
    drawn = [{"label": labels[sample.labels[row]], "edges": sample.boxes[row].tolist()} for row in sorted(missing)]
    image = opened["id"]
    added = [
        {"do": "add", "image": image, "label": each["label"], "edges": each["edges"]}
        for each in (*right_sure, *right_guesses, *drawn)
    ]
    session.change(_asked(*added, {"do": "complete", "image": image, "complete": True}, image=image))
    left = _suggestions(opened["suggestions"]).unanswered(session.store.boxes(image)).as_list()
    wrong = sum(each["edges"] in [other["edges"] for other in left] for each in sure if each not in right_sure)
    actions = wrong + len(right_guesses) + drawing.actions([each["label"] for each in drawn])
    return actions, len(sure) + len(guesses)


def _suggestions(rows: Sequence[dict[str, Any]]) -> Suggestions:
    edges = np.array([each["edges"] for each in rows], dtype=np.float32).reshape(-1, 4)
    labels = np.array([each["label"] for each in rows], dtype=np.int32)
    return Suggestions(edges, labels, np.array([each["score"] for each in rows], dtype=np.float32))


def _shown(session: Session, opened: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what the page shows: sure suggestions, and guesses of classes that are not trusted yet."""
    thresholds, trusted = session.thresholds, session.learner.trusted
    found = opened["suggestions"]
    sure = _acceptable([each for each in found if each["score"] >= thresholds[each["label"]] or "expected" in each])
    unsure = [each for each in found if each["score"] < thresholds[each["label"]] and "expected" not in each]
    room = {label: 0 if label in trusted else GUESSES for label in thresholds}
    guesses = _guesses(unsure, room, HARDLY)
    return sure, guesses if sure or guesses else _guesses(unsure, room, 0)


def _guesses(unsure: Sequence[dict[str, Any]], room: Mapping[int, int], least: float) -> list[dict[str, Any]]:
    left = dict(room)
    guesses: list[dict[str, Any]] = []
    for each in unsure:
        if left[each["label"]] > 0 and each["score"] >= least and len(guesses) < GUESSED:
            left[each["label"]] -= 1
            guesses.append(each)
    return guesses


def _acceptable(sure: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is accepted at once: of two classes on one object the surer."""
    kept: list[dict[str, Any]] = []
    for each in sorted(sure, key=lambda each: -float(each["score"])):
        others = np.array([other["edges"] for other in kept if other["label"] != each["label"]]).reshape(-1, 4)
        if not (iou(np.array([each["edges"]]), others) >= SAME).any():
            kept.append(each)
    return kept


def _takes(each: dict[str, Any], sample: Sample, labels: Sequence[int], missing: set[int]) -> bool:
    """Tell whether a suggestion is right, and take its object from those that are missing."""
    overlap = iou(np.array([each["edges"]]), sample.boxes)[0]
    fits = [row for row in missing if overlap[row] >= RIGHT_IOU and labels[sample.labels[row]] == each["label"]]
    if fits:
        missing.discard(max(fits, key=lambda row: float(overlap[row])))
    return bool(fits)


def _asked(*changes: dict[str, Any], image: int | None = None) -> Changes:
    return Changes.model_validate({"what": "Label", "image": image, "changes": list(changes)})
