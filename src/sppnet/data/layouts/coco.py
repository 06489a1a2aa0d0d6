"""COCO: one JSON file a split or a whole set, under whatever name, with images near it.

Its boxes are left, top, width, height; they are converted here and nowhere else.
"""

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from sppnet.data.gathering import BadRowError, RawBox, Row, answer_rows, check_found, classes_twice
from sppnet.data.layouts.records import Parsed, Record, SetFiles
from sppnet.data.layouts.values import (
    are_shares,
    around,
    glance,
    has_keys,
    number_in,
    on_whole_pixels,
    read_json,
    size_in,
    text_in,
)
from sppnet.data.misreading import SIDES
from sppnet.data.problems import Problem, broken
from sppnet.data.samples import DetectionData, Outline, Sample
from sppnet.errors import DataError
from sppnet.geometry import ScoredBoxes, Size
from sppnet.storage import write_file

SHAPE: Final = "COCO (a JSON file with images, annotations and categories: annotations/instances_<split>.json)"
USUAL: Final = ("annotations.json", "_annotations.coco.json")
OTHER_TASKS: Final = ("captions_", "person_keypoints_", "panoptic_", "stuff_", "image_info_")
Json = dict[str, Any]
T = TypeVar("T")


def _fits(path: Path) -> bool:
    text = glance(path)
    if not text.startswith("{"):
        return path.name in USUAL and not has_keys(text, "coordinates") and not has_keys(text, "data")
    told = has_keys(text, "images") and (has_keys(text, "annotations") or has_keys(text, "categories"))
    usual = path.name in USUAL or path.name.startswith("instances_")
    return told or usual


def _prefer(files: Sequence[str]) -> Sequence[str]:
    """Leave out what the whole COCO has beside boxes: captions, keypoints and more."""
    instances = [name for name in files if Path(name).name.startswith("instances_")]
    return instances or [name for name in files if not Path(name).name.startswith(OTHER_TASKS)]


def _parse(path: Path) -> Parsed:
    document = read_json(path)
    if not isinstance(document, dict):
        broken(path, "must hold images, annotations and categories")
    image_rows, annotations, categories = (
        _records(path, document, key) for key in ("images", "annotations", "categories")
    )
    used = {_key(row.get("category_id")) for row in annotations}
    ids = _ids(path, categories, "categories")
    classes = {
        number: _name(path, row)
        for number, row in zip(ids, categories, strict=True)
        if number in used or not _is_group(row, categories)
    }
    _check_numbers(path, ids, used)
    known = _ids(path, image_rows, "images")
    grouped: dict[int | str, list[Json]] = defaultdict(list)
    strays: list[Problem] = []
    numbers = set(known)
    for row in annotations:
        number = _key(row.get("image_id"))
        if number in numbers:
            grouped[number].append(row)
        else:
            strays.append(_stray(path, row))
    read = partial(_box, classes=classes, share=are_shares(_numbers(annotations)))  # as Azure writes boxes
    records = []
    for row, number in zip(image_rows, known, strict=True):
        name = row.get("file_name", row.get("coco_url"))  # LVIS names images by their addresses alone
        if isinstance(name, str):
            records.append(_record(path, row, name, grouped[number], read))
        else:
            what = f"id {number}: file_name must be of type str, got {name!r:.40}"
            strays.append(Problem(path, None, what, "labels-unreadable"))
    # Of two classes of one name, the first number counts.
    numbers_of = {classes[key]: key for key in sorted(filter(_is_number, classes), reverse=True)}
    problems = [*classes_twice(path, list(classes.values())), *_scored(path, annotations)]
    return Parsed(records, list(classes.values()), numbers_of, strays, problems, SIDES)


def _records(path: Path, document: Json, key: str) -> list[Json]:
    rows = document.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        broken(path, f"must hold a list of records named {key}")
    return rows


def _ids(path: Path, rows: Sequence[Json], what: str) -> list[Any]:
    """Return what each row is known by, a whole number or a text; BrokenSampleError where two are known by the same."""
    ids = [_field(path, row, "id", int) if _key(row.get("id")) is None else _key(row.get("id")) for row in rows]
    number, times = Counter(ids).most_common(1)[0] if ids else (0, 0)
    if times > 1:
        broken(path, f"two {what} have the same id, {number!r:.40}. Number them apart")
    return ids


def _is_number(key: object) -> bool:
    return isinstance(key, int)


def _check_numbers(path: Path, ids: Sequence[Any], used: Collection[Any]) -> None:
    """Raise BrokenSampleError where annotations count the categories from another number than these are given."""
    if not ids or not all(map(_is_number, ids)) or max(ids) - min(ids) + 1 != len(ids):
        return
    odd, first, last = set(used) - set(ids) - {None}, min(ids), max(ids)
    for wrong, unused, advice in ((first - 1, last, "Add 1 to"), (last + 1, first, "Take 1 from")):
        if odd == {wrong} and unused not in used:
            what = f"category_id {wrong} is used and {unused} is not, though categories are {first} to {last}"
            broken(path, f"{what}. {advice} each category_id", code="numbers-from-one")


def _is_group(row: Json, categories: Sequence[Json]) -> bool:
    """Tell whether a category only groups others, as the first one does that Roboflow writes."""
    return any(other is not row and other.get("supercategory") == row.get("name") for other in categories)


def _field(path: Path, row: Json, key: str, kind: type[T]) -> T:
    value = _whole(row.get(key)) if kind is int else row.get(key)
    if not isinstance(value, kind):
        broken(path, f"id {row.get('id')!r:.40}: {key} must be of type {kind.__name__}, got {row.get(key)!r:.40}")
    return value


def _name(path: Path, row: Json) -> str:
    return text_in(row, "name").strip() if isinstance(row.get("name"), int) else _field(path, row, "name", str).strip()


def _scored(path: Path, annotations: Sequence[Json]) -> list[Problem]:
    scored = next((row for row in annotations if "score" in row), None)
    what = f"annotation {scored.get('id')!r:.40}: its score is not used" if scored else ""
    return [Problem(path, None, what, "score-ignored")] if scored else []


def _whole(value: object) -> Any:
    """Return a whole number that may be written as a text; anything else as it is, None if it cannot be a key."""
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal() and len(value) < 20:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _key(value: object) -> Any:
    """Return what an image is known by in the file: a whole number or a text, None if it is neither."""
    number = _whole(value)
    return value if number is None and isinstance(value, str) and value else number


def _numbers(annotations: Sequence[Json]) -> list[float]:
    boxes = [row["bbox"] for row in annotations if isinstance(row.get("bbox"), list)]
    return [number for box in boxes for number in box if isinstance(number, int | float)]


def _stray(path: Path, row: Json) -> Problem:
    what = f"annotation {row.get('id')!r:.40}: there is no image with id {row.get('image_id')!r:.40}"
    return Problem(path, None, what, "image-missing")


def _record(path: Path, row: Json, name: str, annotations: Sequence[Json], read: Callable[..., RawBox]) -> Record:
    rows = []
    for annotation in annotations:
        where = f"annotation {annotation.get('id')!r:.40}"
        rows.append((Row(path, where=where), partial(read, annotation, where)))
    return Record(name, rows, size_in(row.get("height"), row.get("width")), _whole(row.get("id")))


def _box(row: Json, where: str, size: Size, *, classes: dict[Any, str], share: bool) -> RawBox:
    category, box = _key(row.get("category_id")), row.get("bbox")
    if category not in classes:
        expected = "category_id must be an id of categories"
        raise BadRowError(f"{expected}, got {row.get('category_id')!r:.40}", "row-without-box")
    outline = _polygons(row.get("segmentation"))
    if not box and any(outline):  # a polygon alone
        box = _around(outline)
    if not isinstance(box, list) or len(box) != 4:
        raise BadRowError(f"bbox must be 4 numbers (left, top, width, height), got {box!r:.80}", "row-without-box")
    left, top, width, height = (number_in(value, "bbox", "row-without-box") for value in box)
    edges = (left, top, left + width, top + height)
    difficult, crowd = _flag(row, "difficult"), _flag(row, "iscrowd")
    found = RawBox(classes[category], edges, where=where, difficult=difficult, crowd=crowd, outline=outline)
    return _scaled(found, size) if share else found


def _scaled(box: RawBox, size: Size) -> RawBox:
    """Return a box in pixels that was read in parts of its image."""
    height, width = size
    left, top, right, bottom = box.edges
    outline = [[(x * width, y * height) for x, y in points] for points in box.outline]
    edges = (left * width, top * height, right * width, bottom * height)
    return on_whole_pixels(box._replace(edges=edges, outline=outline), size)


def _polygons(segmentation: object) -> list[list[tuple[float, float]]]:
    """Return the polygons of an annotation, [x, y, x, y, ...] each; what is none, such as a mask, without points."""
    if not segmentation or not isinstance(segmentation, list | dict):
        return []
    if isinstance(segmentation, dict):
        return [[]]
    flats = segmentation if isinstance(segmentation[0], list) else [segmentation]
    return [_points(flat) for flat in flats]


def _points(flat: object) -> list[tuple[float, float]]:
    try:
        numbers = [float(number) for number in flat]  # type: ignore[attr-defined]
        return list(zip(numbers[::2], numbers[1::2], strict=True))
    except (TypeError, ValueError, OverflowError):
        return []


def _around(polygons: Sequence[Sequence[tuple[float, float]]]) -> list[float]:
    left, top, right, bottom = around([point for points in polygons for point in points])
    return [left, top, right - left, bottom - top]


def _flag(row: Json, key: str) -> bool:
    value = row.get(key, 0)
    if value is None or isinstance(value, bool):
        return bool(value)
    text = str(value).strip().lower()
    if text not in ("0", "1", "0.0", "1.0", "true", "false", ""):
        raise BadRowError(f"{key} must be 0 or 1, got {value!r:.40}")
    return text in ("1", "1.0", "true")


FILES: Final = SetFiles("coco", (".json",), "COCO JSON", _fits, _parse, _prefer)
look = FILES.look


# Writing


def write_coco(file: Path | str, data: DetectionData) -> None:
    """Write ``coco_document(data)`` as one JSON file; no images are copied."""
    write_file(Path(file), json.dumps(coco_document(data), indent=1, allow_nan=False))


def coco_document(data: DetectionData) -> dict[str, Any]:
    """Return a data set as COCO has it; annotations follow each other as the boxes of ``data`` do.

    Images are named by their place under ``data.root``. COCO does not know which boxes are difficult: these get a
    field of their own.

    Raises:
        DataError: an image outside ``data.root``.
    """
    return {
        "images": list(coco_images(data.samples, data.root)),
        "annotations": list(coco_annotations(data.samples)),
        "categories": coco_categories(data.classes),
    }


def coco_images(samples: Iterable[Sample], root: Path) -> Iterator[Json]:
    """Yield the images' records of ``coco_document``, one sample after the other."""
    for number, sample in enumerate(samples, start=1):
        yield _image(number, sample, root)


def coco_annotations(samples: Iterable[Sample]) -> Iterator[Json]:
    """Yield the annotations of ``coco_document``, one sample after the other."""
    count = itertools.count(1)
    for number, sample in enumerate(samples, start=1):
        for record in _annotations(sample):
            yield {"id": next(count), "image_id": number, **record}


def coco_categories(classes: Sequence[str]) -> list[Json]:
    """Return the categories of ``coco_document``."""
    return [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]


def _image(number: int, sample: Sample, root: Path) -> Json:
    height, width = sample.size
    if not sample.path.is_relative_to(root):
        raise DataError(f"{sample.path}: the image must lie in {root}. Move it there.")
    return {
        "id": number,
        "file_name": sample.path.relative_to(root).as_posix(),
        "height": height,
        "width": width,
    }


def _annotations(sample: Sample) -> list[Json]:
    lefts_tops, sides = sample.boxes[:, :2], sample.boxes[:, 2:] - sample.boxes[:, :2]
    flags = zip(sample.crowd.tolist(), sample.difficult.tolist(), strict=True)
    rows = zip(lefts_tops.tolist(), sides.tolist(), sample.labels.tolist(), flags, sample.all_outlines, strict=True)
    return [
        {"category_id": label + 1, "bbox": corner + side, "area": side[0] * side[1], "iscrowd": int(crowd)}
        | ({"difficult": 1} if difficult else {})
        | (_segmentation(outline) if outline else {})
        for corner, side, label, (crowd, difficult), outline in rows
    ]


def _segmentation(outline: Outline) -> Json:
    """Return polygons as COCO has them, whose area is the object's then, by the shoelace formula."""
    turned = [(x * np.roll(y, -1) - y * np.roll(x, -1)).sum() for x, y in (points.T for points in outline)]
    return {
        "segmentation": [points.ravel().tolist() for points in outline],
        "area": float(np.abs(turned).sum() / 2),
    }


def write_coco_results(file: Path | str, data: DetectionData, found: Sequence[ScoredBoxes]) -> None:
    """Write detections as COCO's evaluation takes them: ``[{image_id, category_id, bbox [x, y, w, h], score}]``.

    Images and classes have the numbers of the data set's own file. Where it has none, which only COCO's have, they
    are counted from 1, as ``write_coco`` does. A class that the file lacks has no number: it is left out, nothing in
    the file being one.

    Args:
        file: to write, whole or not at all. data: the images. found: one an image; labels are indices into
            ``data.classes``.
    Raises:
        ArgumentError: another number of answers than images.
    """
    check_found("write_coco_results", found, data)
    numbers = data.numbers or {name: place for place, name in enumerate(data.classes, start=1)}
    records = [
        {"image_id": place if sample.number is None else sample.number, "category_id": numbers[name]}
        | {"bbox": [*box[:2], box[2] - box[0], box[3] - box[1]], "score": score}
        for place, (sample, answer) in enumerate(zip(data.samples, found, strict=True), start=1)
        for name, box, score in answer_rows(answer, data.classes)
        if name in numbers
    ]
    write_file(Path(file), json.dumps(records))
