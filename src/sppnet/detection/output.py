"""What models found, into files that other programs read: JSON, COCO, VOC and CSV.

What is written is read one image at a time, so that it may be a sequence that lies on the disk.
"""

import csv
import io
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from sppnet.classification.prediction import Prediction
from sppnet.data import (
    DetectionData,
    Sample,
    printable,
    result_names,
    write_coco_results,
    write_voc_results,
)
from sppnet.data.layouts.coco import coco_annotations, coco_categories, coco_images
from sppnet.data.layouts.voc import write_voc_samples
from sppnet.detection.detections import Detections
from sppnet.errors import ArgumentError, message
from sppnet.pipeline.parts import Columns, Table
from sppnet.storage import spreadsheet_safe, write_file

TOP: Final = 5  # classes of a classifier that are written for each image
SPLIT: Final = "predictions"  # of the data set that detections make
EDGES: Final[Columns] = {"left": "number", "top": "number", "right": "number", "bottom": "number"}
COLUMNS: Final[Columns] = {"image": "text", **EDGES, "class": "text", "confidence": "number"}
CLASS_COLUMNS: Final[Columns] = {"image": "text", "class": "text", "confidence": "number"}


class ImageDetections(NamedTuple):
    """The detections of one image of ``size`` (height, width)."""

    path: Path
    size: tuple[int, int]
    detections: Detections


def as_dict(image: Path | str, size: tuple[int, int], detections: Detections) -> dict[str, Any]:
    """Return one image's detections for JSON: what ``Detections.as_dict`` tells, and which image they are of.

    Args:
        image: its path, or its address. size: (height, width).
    """
    return {"image": printable(image), "height": size[0], "width": size[1], **detections.as_dict()}


def classified(image: Path | str, prediction: Prediction) -> dict[str, Any]:
    """Return one image's classes for JSON, the best first."""
    best = [{"class": name, "score": round(score, 6)} for name, score in prediction.top(TOP)]
    return {"image": printable(image), "class": prediction.label, "best": best}


def from_dict(path: Path, answer: Mapping[str, Any]) -> ImageDetections:
    """Return the detections that ``as_dict`` made a record of."""
    classes = tuple(answer["counts"])
    rows = answer["detections"]
    detections = Detections(
        np.array([row["box"] for row in rows], dtype=np.float64).reshape(-1, 4),
        np.array([classes.index(row["class"]) for row in rows], dtype=np.int64),
        np.array([row["confidence"] for row in rows], dtype=np.float32),
        classes,
    )
    return ImageDetections(path, (answer["height"], answer["width"]), detections)


def write_detections(folder: Path, form: str, found: Sequence[ImageDetections], *, base: Path | None = None) -> Path:
    """Write detections into a folder and return the file, or for VOC the folder, that holds them.

    ``counts.csv`` is written beside them: of each image, how many objects of each class.

    Args:
        folder: made where it is missing.
        form: "json": one list. "jsonl": a line an image. "coco": a data set with the images, whose annotations have a
            score. "voc": one XML file an image. "csv": one row a detection, and one without a box for an image that
            shows nothing; a file of regions for ``FileProposals`` too.
        found: in the order to write; read one at a time.
        base: the folder from which CSV and COCO name images; None: ``common_folder`` of those that are written.
    Raises:
        ArgumentError: another form, or two images of one name for VOC.
    """
    start = base or common_folder([each.path for each in found])
    writers: Mapping[str, Callable[[Path, Sequence[ImageDetections]], Path]] = {
        "json": lambda folder, found: _written(
            folder / "detections.json", _json_list(as_dict(*each) for each in found)
        ),
        "jsonl": lambda folder, found: _written(
            folder / "detections.jsonl", _json_lines(as_dict(*each) for each in found)
        ),
        "coco": lambda folder, found: _written(folder / "detections.coco.json", _coco(found, start)),
        "voc": _write_voc,
        "csv": lambda folder, found: _written(folder / "detections.csv", _detections_csv(found, start)),
    }
    if form not in writers:
        expected = f"one of {', '.join(writers)}"
        raise ArgumentError(message("write_detections", "form", expected, repr(form), "Name one of these"))
    _written(folder / "counts.csv", _counts_csv(found, start))
    return writers[form](folder, found)


def check_names(paths: Sequence[Path], form: str) -> None:
    """Raise ArgumentError where images go by names that a form cannot tell apart; asked before the work."""
    times = Counter(path.stem for path in paths)
    twice = next((stem for stem, number in times.items() if number > 1), None)
    if form == "voc" and twice is not None:
        actual = f"{times[twice]} images named {printable(twice)!r}"
        advice = "Choose another, which names images by their paths, or rename them"
        raise ArgumentError(message("predict", "form", "another than voc", actual, advice))


def common_folder(paths: Iterable[Path]) -> Path:
    """Return the folder that images all lie in.

    Tables name images by their paths from there: of all that were given, those of other parts and those that cannot
    be read too, so that a name tells the same image in every part.
    """
    folders = {str(path.absolute().parent) for path in paths}
    return Path(os.path.commonpath(folders)) if folders else Path().absolute()


def short_name(path: Path, base: Path) -> str:
    """Return what an image is called in tables, ``base`` being the ``common_folder`` of all."""
    return _named(path).relative_to(_named(base)).as_posix()


def drawing_names(paths: Sequence[Path]) -> list[str]:
    """Return a file name for the drawing of each of all images that were given; no two are the same.

    >>> drawing_names([Path("a/1.jpg"), Path("a/2.jpg")]), drawing_names([Path("a/1.jpg"), Path("a/1.png")])
    (['1.detections.jpg', '2.detections.jpg'], ['1.jpg.detections.jpg', '1.png.detections.jpg'])
    """
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        base = common_folder(paths)
        names = [short_name(path, base).replace("/", "_") for path in paths]
    times: Counter[str] = Counter()
    unique = []
    for name in names:
        times[name] += 1
        unique.append(f"{name}{'' if times[name] == 1 else f'_{times[name]}'}.detections.jpg")
    return unique


def _counts_csv(found: Sequence[ImageDetections], base: Path) -> Iterator[str]:
    """Yield lines of CSV of how many objects of each class were found in each image, and in all."""
    classes = found[0].detections.classes if found else ()
    fixed = ("image", "total")
    header = [fixed[0], *(f"{name} (class)" if name in fixed else name for name in classes), fixed[1]]
    rows = ((short_name(each.path, base), *each.detections.counts().values(), len(each.detections)) for each in found)
    return _csv(header, rows)


def check_results(data: DetectionData) -> None:
    """Raise DataError where ``write_results`` has no place for a name; asked before the work."""
    if data.layout == "voc":
        result_names(data)


def write_results(folder: Path, data: DetectionData, found: Sequence[Detections]) -> Path:
    """Write what was found in a data set for its evaluation by others, and return the folder.

    That is ``detections_<split>_sppnet_results.json`` as COCO's evaluation takes it, and of a VOC set also the files
    of its development kit: see ``data.write_coco_results`` and ``data.write_voc_results``.

    Args:
        folder: made where it is missing. data: the images. found: one an image, of the classes of ``data``.
    Raises:
        ArgumentError, DataError: as those two do.
    """
    check_results(data)
    write_coco_results(folder / f"detections_{data.name}_sppnet_results.json", data, found)
    if data.layout == "voc":
        write_voc_results(folder, data, found)
    return folder


def write_classes(folder: Path, form: str, found: Sequence[Mapping[str, Any]], *, base: Path | None = None) -> Path:
    """Write what ``classified`` returned into a folder, as "json", "jsonl" or "csv", and return the file.

    Args:
        folder, found, base: see ``write_detections``.
    Raises:
        ArgumentError: another form.
    """

    def rows() -> Iterator[tuple[Any, ...]]:
        start = base or common_folder(Path(each["image"]) for each in found)
        return (row for each in found for row in class_rows(short_name(Path(each["image"]), start), each))

    writers: Mapping[str, Callable[[], Path]] = {
        "json": lambda: _written(folder / "classes.json", _json_list(found)),
        "jsonl": lambda: _written(folder / "classes.jsonl", _json_lines(found)),
        "csv": lambda: _written(folder / "classes.csv", _csv(list(CLASS_COLUMNS), rows())),
    }
    if form not in writers:
        advice = "Classes have no boxes, which the other formats are for"
        raise ArgumentError(message("write_classes", "form", "json, jsonl or csv", repr(form), advice))
    return writers[form]()


def class_rows(name: str, answer: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return the row of a table, of ``CLASS_COLUMNS``, that an answer of ``classified`` makes.

    An image that is none of the classes has no confidence: that of the best of them is not how sure this is.
    """
    best = answer["best"][0]
    return [(name, answer["class"], best["score"] if answer["class"] == best["class"] else None)]


def detection_rows(name: str, answer: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a table, of ``COLUMNS``, that an answer of ``as_dict`` makes: one at least."""
    rows = [(name, *each["box"], each["class"], each["confidence"]) for each in answer["detections"]]
    return rows or [(name, *[None] * (len(COLUMNS) - 1))]


TABLE: Final = Table(COLUMNS, detection_rows)
CLASS_TABLE: Final = Table(CLASS_COLUMNS, class_rows)


def _detections_csv(found: Sequence[ImageDetections], base: Path) -> Iterator[str]:
    rows = (
        (*row[:-1], "" if row[-1] is None else f"{row[-1]:.4f}")
        for each in found
        for row in detection_rows(short_name(each.path, base), as_dict(*each))
    )
    return _csv(list(COLUMNS), rows)


def _write_voc(folder: Path, found: Sequence[ImageDetections]) -> Path:
    check_names([each.path for each in found], "voc")
    stems = [_named(each.path).stem for each in found]
    write_voc_samples(folder, map(_sample, found), _classes(found), stems, SPLIT)
    return folder


def _coco(found: Sequence[ImageDetections], base: Path) -> Iterator[str]:
    """Add the scores, which a data set has no place for, to the boxes' records."""
    scores = (round(float(score), 4) for each in found for score in each.detections.confidence)
    annotations = zip(coco_annotations(map(_sample, found)), scores, strict=True)
    content = {
        "images": coco_images(map(_sample, found), _named(base)),
        "annotations": (annotation | {"score": score} for annotation, score in annotations),
        "categories": coco_categories(_classes(found)),
    }
    return _json_lists(content)


def _sample(found: ImageDetections) -> Sample:
    """Return detections as a data set's sample."""
    nothing = np.zeros(len(found.detections), dtype=np.bool_)
    return Sample(_named(found.path), found.detections.boxes, found.detections.labels, nothing, nothing, found.size)


def _named(path: Path) -> Path:
    """Return what files name an image by: bytes that are no UTF-8, which none can hold, are spelt out."""
    return Path(printable(path.absolute()))


def _classes(found: Sequence[ImageDetections]) -> tuple[str, ...]:
    return found[0].detections.classes if found else ()


def _written(path: Path, texts: Iterable[str]) -> Path:
    write_file(path, texts)
    return path


def _json_lists(lists: Mapping[str, Iterable[Any]]) -> Iterator[str]:
    """Yield an object of lists as ``json.dumps(..., indent=1)`` lays it out, one item of them in memory at a time."""
    for number, (name, items) in enumerate(lists.items()):
        yield f"{',' if number else '{'}\n {json.dumps(name)}: "
        yield from _json_items(items, 1)
    yield "\n}\n"


def _json_list(items: Iterable[Any]) -> Iterator[str]:
    """Yield a list in the same layout."""
    yield from _json_items(items, 0)
    yield "\n"


def _json_items(items: Iterable[Any], depth: int) -> Iterator[str]:
    margin, before = "\n" + " " * (depth + 1), "["
    for item in items:
        text = json.dumps(item, indent=1, ensure_ascii=False, allow_nan=False)
        yield before + margin + text.replace("\n", margin)
        before = ","
    yield f"{margin[:-1]}]" if before == "," else "[]"


def _json_lines(items: Iterable[Any]) -> Iterator[str]:
    return (json.dumps(item, ensure_ascii=False, allow_nan=False) + "\n" for item in items)


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    for row in itertools.chain([header], rows):
        text = io.StringIO()
        safe = [spreadsheet_safe(cell) if isinstance(cell, str) else cell for cell in row]
        csv.writer(text, lineterminator="\n").writerow(safe)
        yield text.getvalue()
