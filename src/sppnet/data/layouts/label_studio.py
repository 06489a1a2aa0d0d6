"""Label Studio's own JSON and JSON-MIN: tasks with percentages of the image; boxes, polygons and ellipses.

Images are named by addresses: /data/upload/1/0a1b2c3d-name.jpg, /data/local-files/?d=folder/name.jpg, s3://...
They are found by the end of these, without the eight letters that an upload gets.
"""

import json
import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sppnet.data.gathering import BadRowError, RawBox, Row
from sppnet.data.layouts.records import Parsed, Record, SetFiles
from sppnet.data.layouts.values import (
    angle_in,
    around,
    glance,
    has_keys,
    number_in,
    pairs_in,
    read_json,
    size_in,
    text_in,
)
from sppnet.data.problems import Problem, broken
from sppnet.data.samples import DetectionData, Sample
from sppnet.geometry import Size
from sppnet.storage import write_file

SHAPE: Final = "Label Studio (its JSON or JSON-MIN, and images)"
OUTLINE: Final = "outline"  # said of a polygon that belongs to a box, its parent, and is no object of its own
FORMS: Final = ("rectanglelabels", "polygonlabels", "ellipselabels", "labels")
Json = dict[str, Any]


def _fits(path: Path) -> bool:
    text = glance(path)
    tasks = has_keys(text, "data", "annotations") or has_keys(text, "data", "completions")
    return text.startswith("[") and (tasks or "rectanglelabels" in text or "polygonlabels" in text)


def _parse(path: Path) -> Parsed:
    document = read_json(path)
    if not isinstance(document, list):
        broken(path, "must hold a list of tasks")
    records: list[Record] = []
    strays: list[Problem] = []
    problems: list[Problem] = []
    for place, task in enumerate(document, start=1):
        where = f"task {task.get('id', place)!r:.30}" if isinstance(task, dict) else f"task {place}"
        name = _image(task) if isinstance(task, dict) else ""
        if not name:
            strays.append(Problem(path, None, f"{where}: names no image", "labels-unreadable"))
        elif _is_answered(task):
            records.append(_record(path, task, where, name))
        else:  # nobody has said that its image shows no object
            problems += _predicted(path, task, where)
    return Parsed(records, strays=strays, problems=problems)


def _is_answered(task: Json) -> bool:
    """Tell whether anybody has labelled a task: one that was skipped, or is still to be done, has no labels."""
    answers = task.get("annotations", task.get("completions", ()))
    return "data" not in task or not isinstance(answers, list) or bool(_given(answers))


def _given(answers: Sequence[Any]) -> list[Json]:
    return [each for each in answers if isinstance(each, dict) and not each.get("was_cancelled")]


def _predicted(path: Path, task: Json, where: str) -> list[Problem]:
    predictions = task.get("predictions")
    number = len(predictions) if isinstance(predictions, list) else 0
    what = f"{where}: its {number} predictions are no labels. Accept them in Label Studio, and export again"
    return [Problem(path, None, what, "predictions-left-out")] if number else []


def _image(task: Json) -> str:
    """Return the address of a task's image: under "image", or the one text that ends like an image's."""
    data = task.get("data", task)
    if not isinstance(data, dict):
        return text_in(task, "file_upload")
    texts = [text_in(data, key) for key in ("image", "img", "file", "url")] + [
        text for text in data.values() if isinstance(text, str)
    ]
    return next((text for text in texts if re.search(r"\.[A-Za-z]{3,4}(\?.*)?$", text)), "")


def _record(path: Path, task: Json, where: str, name: str) -> Record:
    results, problems = _results(path, task, where)
    shapes = _named([result for result in results if isinstance(result, dict) and _is_shape(result)])
    forms = [shape for shape in shapes if not _said(shape, OUTLINE)]
    outlines = [shape for shape in shapes if _said(shape, OUTLINE)]
    rows = [
        (Row(path, where=f"{where}, object {k}"), partial(_box, form, outlines))
        for k, form in enumerate(forms, start=1)
    ]
    problems += _odd(path, where, forms)
    sizes = [size_in(form.get("original_height"), form.get("original_width")) for form in forms]
    return Record(name, rows, next(filter(None, sizes), None), problems=tuple(problems))


def _odd(path: Path, where: str, forms: Sequence[Json]) -> list[Problem]:
    """Return what of a task's shapes is read otherwise than it may be meant."""
    problems = []
    for k, form in enumerate(forms, start=1):
        labels = _classes(form.get("value", form))
        if isinstance(labels, list) and len(labels) > 1:
            what = f"{where}, object {k}: of its classes {', '.join(map(str, labels)):.60} the first is taken"
            problems.append(Problem(path, None, what, "shape-left-out"))
    turn = next((form["image_rotation"] for form in forms if form.get("image_rotation")), 0)
    what = f"{where}: the image was turned by {turn} degrees in Label Studio, which is not followed. Look at its boxes"
    return [*problems, *([Problem(path, None, what, "size-differs")] if turn else ())]


def _results(path: Path, task: Json, where: str) -> tuple[list[Any], list[Problem]]:
    """Return the objects of a task: of several answers to it, the first that was not skipped."""
    if "data" not in task:  # JSON-MIN: one field of the task holds them
        lists = [value for value in task.values() if isinstance(value, list)]
        return next((found for found in lists if any(isinstance(each, dict) for each in found)), []), []
    answers = task.get("annotations", task.get("completions", []))
    if not isinstance(answers, list):
        return [], [Problem(path, None, f"{where}: annotations must be a list", "row-unreadable")]
    given = _given(answers)
    several = [Problem(path, None, f"{where}: of {len(given)} answers the first is read", "image-twice")]
    result = given[0].get("result", []) if given else []
    return result if isinstance(result, list) else [], several if len(given) > 1 else []


def _named(shapes: list[Json]) -> list[Json]:
    """Return shapes without those whose class stands apart, in another result of the same id, which has the shape too.

    So Label Studio writes what its tags Rectangle and Labels make together.
    """
    named = {str(each.get("id")) for each in shapes if _classes(each.get("value")) and "id" in each}
    return [each for each in shapes if _classes(each.get("value", each)) or str(each.get("id")) not in named]


def _classes(value: object) -> object:
    """Return the list of classes that a shape has; None where it has none."""
    return next((value[key] for key in FORMS if key in value), None) if isinstance(value, dict) else None


def _is_shape(result: Json) -> bool:
    return "value" in result or any(key.endswith("labels") for key in result)


def _box(result: Json, outlines: Sequence[Json], size: Size) -> RawBox | None:
    value = result.get("value", result)
    if not isinstance(value, dict):
        raise BadRowError(f"value must be a record, got {value!r:.40}")
    if "choices" in value or "text" in value or "rating" in value:
        return None  # what is said of the whole image
    labels = _classes(value)
    kind = text_in(result, "type") or next((key for key in value if key.endswith("labels")), "a shape")
    if labels is None:
        raise BadRowError(f"{kind!r:.30} is no box or polygon; it is left out", "shape-left-out")
    if not isinstance(labels, list) or not labels or not isinstance(labels[0], str):
        raise BadRowError("has no class", "row-without-box")
    if not {"width", "radiusX", "points"} & set(value):
        raise BadRowError(f"{kind!r:.30} is no box or polygon; it is left out", "shape-left-out")
    own = _polygon(value, size)
    mine = [each.get("value") for each in outlines if each.get("parentID") == result.get("id")]
    polygons = [own] if own else [_polygon(each, size) for each in mine if isinstance(each, dict)]
    edges = around(own) if own else _edges(value, size)
    difficult, crowd = _said(result, "difficult"), _said(result, "crowd")
    return RawBox(labels[0].strip(), edges, difficult=difficult, crowd=crowd, outline=polygons)


def _said(result: Json, flag: str) -> bool:
    meta = result.get("meta")
    told = meta.get("text") if isinstance(meta, dict) else None
    return isinstance(told, list) and flag in told


def _polygon(value: Json, size: Size) -> list[tuple[float, float]]:
    """Return the points of a polygon or of a turned box in pixels; none of any other shape."""
    height, width = size[0] / 100, size[1] / 100
    if "points" in value:
        return [(x * width, y * height) for x, y in pairs_in(value["points"], "points")]
    turn = math.radians(angle_in(value.get("rotation") or 0, "rotation"))
    if "radiusX" in value or not turn:
        return []
    left, top, right, bottom = _edges(value, size)
    across, down = right - left, bottom - top
    cos, sin = math.cos(turn), math.sin(turn)  # turned around the first corner
    corners = ((0.0, 0.0), (across, 0.0), (across, down), (0.0, down))
    return [(left + x * cos - y * sin, top + x * sin + y * cos) for x, y in corners]


def _edges(value: Json, size: Size) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of an upright box or an ellipse in pixels."""
    height, width = size[0] / 100, size[1] / 100
    keys = ("x", "y", "radiusX", "radiusY") if "radiusX" in value else ("x", "y", "width", "height")
    x, y, across, down = (number_in(value.get(key), key) for key in keys)
    if "radiusX" in value:
        x, y, across, down = x - across, y - down, 2 * across, 2 * down
    return x * width, y * height, (x + across) * width, (y + down) * height


FILES: Final = SetFiles("labelstudio", (".json",), "Label Studio's JSON", _fits, _parse)
look = FILES.look


# Writing


def write_labelstudio(file: Path | str, data: DetectionData) -> None:
    """Write one JSON file of tasks as Label Studio imports and exports them; no images are copied.

    Images are named by their place under ``data.root``. Flags of difficult boxes and crowds are written as "meta". An
    outline of one polygon that its box lies around is written as a polygon; any other as polygons whose parent is the
    box, said to be its outline in "meta".
    """
    tasks = [_task(number, sample, data) for number, sample in enumerate(data.samples, start=1)]
    write_file(Path(file), json.dumps(tasks, indent=1, allow_nan=False))


def _task(number: int, sample: Sample, data: DetectionData) -> Json:
    flags = zip(sample.difficult.tolist(), sample.crowd.tolist(), strict=True)
    rows = zip(sample.boxes, sample.labels.tolist(), flags, sample.all_outlines, strict=True)
    result: list[Json] = []
    for k, (box, label, (difficult, crowd), outline) in enumerate(rows, start=1):
        said = [flag for flag, holds in (("difficult", difficult), ("crowd", crowd)) if holds]
        made = partial(_result, name=data.classes[label], size=sample.size)
        alone = len(outline) == 1 and np.allclose((*outline[0].min(axis=0), *outline[0].max(axis=0)), box, atol=1e-4)
        result.append(made(f"{number}-{k}", outline[0] if alone else box, said))
        inner = [] if alone else enumerate(outline, start=1)
        result += [made(f"{number}-{k}-{j}", each, [OUTLINE]) | {"parentID": f"{number}-{k}"} for j, each in inner]
    name = sample.path.relative_to(data.root).as_posix()
    return {
        "id": number,
        "data": {"image": f"/data/local-files/?d={name}"},
        "annotations": [{"id": number, "was_cancelled": False, "result": result}],
    }


def _result(key: str, shape: NDArray[np.float64], said: Sequence[str], *, name: str, size: Size) -> Json:
    """Return a box (4,), or a polygon (K, 2), as an object of a task."""
    height, width = size
    value: Json
    if shape.ndim == 2:
        kind = "polygonlabels"
        value = {"points": (100 * shape / (width, height)).tolist(), "closed": True}
    else:
        kind = "rectanglelabels"
        left, top, right, bottom = (shape / (width, height, width, height)).tolist()
        value = {"x": 100 * left, "y": 100 * top, "width": 100 * (right - left), "height": 100 * (bottom - top)}
        value["rotation"] = 0
    return {
        "id": key,
        "type": kind,
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": value | {kind: [name]},
        **({"meta": {"text": list(said)}} if said else {}),
    }
