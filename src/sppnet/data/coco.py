"""COCO: one JSON file a split, with images under images/, <split>/, images/<split>/ or beside it.

Its boxes are left, top, width, height; they are converted here and nowhere else.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from sppnet.data.gathering import Listing, RawBox, RawImage, answer_rows, check_found
from sppnet.data.rules import broken, files_in, find_image, folders_in, has_suffix, read_text, split_names
from sppnet.data.samples import DetectionData, Sample, ScoredBoxes
from sppnet.errors import DataError
from sppnet.storage import write_file

LAYOUT: Final = "COCO (annotations/instances_<split>.json, or <split>/_annotations.coco.json, and images)"
MAX_BYTES: Final = 2_000_000_000
WHOLE: Final = ("annotations.json", "_annotations.coco.json")
USUAL_SPLITS: Final = frozenset({"train", "val", "valid", "validation", "trainval", "test"})
Record = dict[str, Any]
T = TypeVar("T")


def matches(root: Path) -> bool:
    """Tell whether a folder has this layout."""
    return bool(_split_files(root) or _whole_file(root))


def splits(root: Path) -> tuple[str, ...]:
    """Return the names of the splits, sorted; empty if there are none. A year at the end is no part of a name."""
    return tuple(split_names(_split_files(root)))


def listing(root: Path, split: str | None) -> Listing:
    """List the images of a split, None for all; the classes are in the order of their ids.

    Several files may give one number to two images or classes: all their images together have no numbers.

    Raises:
        DataError: a file that is not COCO's JSON.
    """
    files, names = _split_files(root), split_names(_split_files(root))
    if split is not None:
        return _listed(root, files[names[split]], (names[split], split))
    whole = _whole_file(root)
    parts = [_listed(root, files[name], (name, short)) for short, name in names.items()]
    parts += [_listed(root, whole, ())] if whole and not parts else []
    if len(parts) == 1:
        return parts[0]
    classes = [name for part in parts for name in part.classes or ()]
    return Listing(classes, [partial(_unnumbered, image) for part in parts for image in part.images])


def _unnumbered(image: Callable[[], RawImage]) -> RawImage:
    return image()._replace(number=None)


def _split_files(root: Path) -> dict[str, Path]:
    """Return the file of each split by its name; other files of the whole COCO (captions, keypoints) don't count."""
    is_json = has_suffix(".json")
    beside = [path for path in files_in(root / "annotations", is_json) if path.name not in WHOLE]
    instances = {path.stem.removeprefix("instances_"): path for path in beside if path.stem.startswith("instances_")}
    loose = {path.stem: path for path in files_in(root, is_json) if path.stem in USUAL_SPLITS}
    exported = {path.parent.name: path for folder in folders_in(root) for path in files_in(folder, _is_export)}
    return instances or {path.stem: path for path in beside} or loose or exported


def _is_export(path: Path) -> bool:
    return path.name == "_annotations.coco.json"


def _whole_file(root: Path) -> Path | None:
    places = [folder / name for folder in (root, root / "annotations") for name in WHOLE]
    return next((path for path in places if path.is_file()), None)


# Reading


class _File(NamedTuple):
    """One JSON file: its names of classes by category id, its annotations by image id, where images lie."""

    root: Path
    path: Path
    classes: dict[int, str]
    annotations: dict[int, list[Record]]
    folders: Sequence[Path]


def _listed(root: Path, path: Path, names: Sequence[str]) -> Listing:
    document = _document(root, path)
    image_rows, annotations, categories = (
        _records(path, document, key) for key in ("images", "annotations", "categories")
    )
    classes = {_field(path, row, "id", int): _field(path, row, "name", str) for row in categories}
    grouped: dict[int, list[Record]] = defaultdict(list)
    for row in annotations:
        grouped[_field(path, row, "image_id", int)].append(row)
    known = {_field(path, row, "id", int) for row in image_rows}
    if len(known) < len(image_rows):
        broken(path, "two images have the same id")
    strays = [partial(_stray, path, row) for row in annotations if row["image_id"] not in known]
    nearest = [base / name for base in (root / "images", root) for name in names]
    file = _File(root, path, classes, grouped, [*nearest, path.parent, root / "images", root])
    images = [partial(_read, file, row) for row in image_rows] + strays
    numbers = {classes[key]: key for key in sorted(classes, reverse=True)}  # of two of one name, the first
    return Listing([classes[key] for key in sorted(classes)], images, numbers)


def _document(root: Path, path: Path) -> Record:
    try:
        document = json.loads(read_text(root, path, limit=MAX_BYTES))
    except json.JSONDecodeError as error:
        broken(path, f"is not JSON: {error.msg}", line=error.lineno)
    except (ValueError, RecursionError) as error:
        broken(path, f"is not usable JSON: {error}")
    if not isinstance(document, dict):
        broken(path, "must hold images, annotations and categories")
    return document


def _records(path: Path, document: Record, key: str) -> list[Record]:
    rows = document.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        broken(path, f"must hold a list of records named {key}")
    return rows


def _field(path: Path, row: Record, key: str, kind: type[T]) -> T:
    value = row.get(key)
    if not isinstance(value, kind):
        broken(path, f"{_named(row)}: {key} must be of type {kind.__name__}, got {value!r:.40}")
    return value


def _named(row: Record) -> str:
    return f"id {row.get('id')!r:.40}"


def _stray(path: Path, row: Record) -> RawImage:
    broken(path, f"annotation {row.get('id')!r:.40}: there is no image with id {row['image_id']}")


def _read(file: _File, row: Record) -> RawImage:
    name = _field(file.path, row, "file_name", str)
    path, size = find_image(file.root, [folder / name for folder in file.folders], source=file.path, name=name)
    boxes = [_box(file, annotation) for annotation in file.annotations.get(row["id"], ())]
    return RawImage(path, size, file.path, boxes, row["id"])


def _box(file: _File, row: Record) -> RawBox:
    where = f"annotation {row.get('id')!r:.40}"
    category, box = row.get("category_id"), row.get("bbox")
    if not isinstance(category, int) or category not in file.classes:
        broken(file.path, f"{where}: category_id must be an id of categories, got {category!r:.40}")
    try:
        left, top, width, height = map(float, box if isinstance(box, list) else ())
    except (TypeError, ValueError, OverflowError):
        broken(file.path, f"{where}: bbox must be 4 numbers (left, top, width, height), got {box!r:.80}")
    edges = (left, top, left + width, top + height)
    return RawBox(file.classes[category], edges, where=where, crowd=bool(row.get("iscrowd", 0)))


# Writing


def write_coco(file: Path | str, data: DetectionData) -> None:
    """Write ``coco_document(data)`` as one JSON file; no images are copied."""
    write_file(Path(file), json.dumps(coco_document(data), indent=1))


def coco_document(data: DetectionData) -> dict[str, Any]:
    """Return a data set as COCO has it; annotations follow each other as the boxes of ``data`` do.

    Images are named by their place under ``data.root``. COCO does not know which boxes are difficult.

    Raises:
        DataError: an image outside ``data.root``.
    """
    annotations = [
        {"image_id": number, **record}
        for number, sample in enumerate(data.samples, start=1)
        for record in _annotations(sample)
    ]
    return {
        "images": [_image(number, sample, data.root) for number, sample in enumerate(data.samples, start=1)],
        "annotations": [{"id": number, **record} for number, record in enumerate(annotations, start=1)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(data.classes, start=1)],
    }


def _image(number: int, sample: Sample, root: Path) -> Record:
    height, width = sample.size
    if not sample.path.is_relative_to(root):
        raise DataError(f"{sample.path}: the image must lie in {root}. Move it there.")
    return {
        "id": number,
        "file_name": sample.path.relative_to(root).as_posix(),
        "height": height,
        "width": width,
    }


def _annotations(sample: Sample) -> list[Record]:
    lefts_tops, sides = sample.boxes[:, :2], sample.boxes[:, 2:] - sample.boxes[:, :2]
    rows = zip(lefts_tops.tolist(), sides.tolist(), sample.labels.tolist(), sample.crowd.tolist(), strict=True)
    return [
        {"category_id": label + 1, "bbox": corner + side, "area": side[0] * side[1], "iscrowd": int(crowd)}
        for corner, side, label, crowd in rows
    ]


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
