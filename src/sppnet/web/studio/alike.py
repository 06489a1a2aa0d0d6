"""Objects and images that look like one: looked for image by image, a while a request, the best of each first."""

from heapq import nlargest
from time import perf_counter
from typing import Annotated, Any, Final

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from sppnet.errors import DataError
from sppnet.geometry import iou
from sppnet.web.studio.changes import Edges, Row
from sppnet.web.studio.session import Session
from sppnet.web.studio.suggestions import Suggestions

SECONDS: Final = 0.4  # that a request takes; then it says from which image on to ask again
OF_AN_IMAGE: Final = 5  # places at most
MOST: Final = 60  # answers of a request
ELSEWHERE: Final = 0.3  # overlap with the example itself, below which a place is another one


class Sought(BaseModel):
    """A box of an image, whose class is ``label``; or, without ``edges``, the image. ``start``: as was answered."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    image: Row
    edges: Edges | None = None
    label: Row | None = None
    start: Annotated[int, Field(ge=0)] = 0


def add_alike(app: FastAPI, session: Session) -> None:
    """Add the request."""

    @app.post("/api/alike")
    def alike(asked: Sought) -> dict[str, Any]:
        return look_for(session, asked)


def look_for(session: Session, asked: Sought) -> dict[str, Any]:
    """Return what looks alike in other images, for JSON.

    Complete images hold no more objects to be found; in the others places that have been answered are left out.

    Returns:
        ``rows``, the best first: image, edges, cosine; ``next``, the image to go on with, None at the end; how many of
        ``total`` images could not be looked at yet, ``missing`` their features.
    Raises:
        Missing: no such image. DataError: its own features are missing.
    """
    from sppnet.detection.likeness import Example

    learner = session.learner
    session.known(asked.image)
    own = learner.map_of(asked.image)
    if own is None:
        raise DataError("studio: the features of this image are not computed yet. Ask again when they are.")
    example = Example.of(own, None if asked.edges is None else np.array(asked.edges))
    keys = sorted(learner.images)
    place, missing, until = min(asked.start, len(keys)), 0, perf_counter() + SECONDS
    rows: list[dict[str, Any]] = []
    while place < len(keys) and (place == asked.start or perf_counter() < until):
        key = keys[place]
        place += 1
        if key in learner.faults or (asked.edges is not None and session.known(key).complete):
            continue
        feature_map = learner.map_of(key)
        if feature_map is None:
            missing += 1
        else:
            found = _unanswered(session, asked, key, *example.find(feature_map, OF_AN_IMAGE))
            rows += [{"image": key, "edges": edges, "cosine": score} for edges, score in found]
    return {
        "rows": nlargest(MOST, rows, key=lambda row: float(row["cosine"])),
        "next": place if place < len(keys) else None,
        "total": len(keys),
        "missing": missing,
    }


def _unanswered(session: Session, asked: Sought, key: int, boxes: Any, cosines: Any) -> list[tuple[list[float], float]]:
    """Return what is new to the person who asked: neither the example itself nor what has a box."""
    if asked.edges is None:
        return [] if key == asked.image else [(boxes[0].tolist(), round(float(cosines[0]), 4))]
    if key == asked.image:
        others = iou(np.array([asked.edges]), boxes)[0] < ELSEWHERE
        boxes, cosines = boxes[others], cosines[others]
    labels = np.full(len(boxes), asked.label or 0, dtype=np.int32)
    found = Suggestions(boxes.astype(np.float32), labels, cosines).unanswered(session.store.boxes(key))
    return [(each["edges"], each["score"]) for each in found.as_list()]
