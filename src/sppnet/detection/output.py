"""What models found, into files that other programs read: JSON, COCO, VOC and CSV.

Answers are written as they come into a journal, a line an image; the files are made of it at the end. A run that is
killed leaves the journal, and the same command goes on after it.
"""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from sppnet.classification.classifier import Prediction
from sppnet.data import (
    DetectionData,
    Sample,
    coco_document,
    printable,
    recognise,
    write_coco_results,
    write_voc,
    write_voc_results,
)
from sppnet.data.layouts.tables import spreadsheet_safe
from sppnet.detection.detections import Detections
from sppnet.errors import ArgumentError, message
from sppnet.storage import write_file

TOP: Final = 5  # classes of a classifier that are written for each image
FORMS: Final = ("json", "coco", "voc", "csv")
JOURNAL: Final = "predictions.partial.jsonl"
COLUMNS: Final = ("image", "left", "top", "right", "bottom", "class", "confidence")


class ImageDetections(NamedTuple):
    """The detections of one image of ``size`` (height, width)."""

    path: Path
    size: tuple[int, int]
    detections: Detections


def as_dict(found: ImageDetections) -> dict[str, Any]:
    """Return one image's detections for JSON: boxes [left, top, right, bottom] in pixels, ends excluded."""
    detections = found.detections
    rows = zip(detections.boxes, detections.labels, detections.confidence, strict=True)
    return {
        "image": printable(found.path),
        "height": found.size[0],
        "width": found.size[1],
        "counts": detections.counts(),
        "detections": [
            {"class": detections.classes[label], "confidence": round(float(sure), 4), "box": box.round(2).tolist()}
            for box, label, sure in rows
        ],
    }


def classified(path: Path, prediction: Prediction) -> dict[str, Any]:
    """Return one image's classes for JSON, the best first."""
    best = [{"class": name, "score": round(score, 6)} for name, score in prediction.top(TOP)]
    return {"image": printable(path), "class": prediction.label, "best": best}


class Journal:
    """The answers of a run, a line an image, kept on the disk as they come.

    Args:
        folder: to write into; made where it is missing. run: what the answers depend on: those of another run are
            not taken over.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / JOURNAL
        self._run = json.loads(json.dumps(run))
        self.done = self._read()
        """What is known already, by the path of the image."""
        if not self.done:
            write_file(self.file, _line({"run": self._run}), durable=False)

    def answer(self, path: Path) -> dict[str, Any] | None:
        """Return the answer for an image; None where there is none, or the file is another now."""
        before = self.done.get(printable(path))
        if before is None or before["version"] != _version(path):
            return None
        known: dict[str, Any] = before["answer"]
        return known

    def add(self, path: Path, answer: dict[str, Any]) -> dict[str, Any]:
        """Keep the answer for an image, and return it."""
        with self.file.open("a", encoding="utf-8") as file:
            file.write(_line({"image": printable(path), "version": _version(path), "answer": answer}))
        return answer

    def remove(self) -> None:
        """Remove it: the files that were asked for are there."""
        self.file.unlink(missing_ok=True)

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            lines = self.file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return {}
        rows = [row for line in lines if isinstance(row := _parsed(line), dict)]
        if not rows or rows[0] != {"run": self._run}:
            return {}
        return {row["image"]: row for row in rows[1:] if isinstance(row.get("image"), str)}


def _version(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:  # the last line of a run that was killed
        return None


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, allow_nan=False) + "\n"


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


def write_detections(folder: Path, form: str, found: Sequence[ImageDetections]) -> Path:
    """Write detections into a folder and return the file, or for VOC the folder, that holds them.

    ``counts.csv`` is written beside them: of each image, how many objects of each class.

    Args:
        folder: made where it is missing.
        form: "json": one list. "coco": a data set with the images, whose annotations have a score. "voc": one
            XML file an image. "csv": one row a detection, and one without a box for an image that shows nothing; a
            file of regions for ``FileProposals`` too.
        found: in the order to write.
    Raises:
        ArgumentError: another form. DataError: two images of one name, for VOC.
    """
    writers: Mapping[str, Callable[[Path, Sequence[ImageDetections]], Path]] = {
        "json": _write_json,
        "coco": _write_coco,
        "voc": _write_voc,
        "csv": _write_csv,
    }
    if form not in writers:
        expected = f"one of {', '.join(writers)}"
        raise ArgumentError(message("write_detections", "form", expected, repr(form), "Name one of these"))
    folder.mkdir(parents=True, exist_ok=True)
    _written(folder / "counts.csv", counts_table(found))
    return writers[form](folder, found)


def check_names(paths: Sequence[Path], form: str) -> None:
    """Raise ArgumentError where images go by names that a form cannot tell apart; asked before the work."""
    times = Counter(path.stem for path in paths)
    twice = next((stem for stem, number in times.items() if number > 1), None)
    if form == "voc" and twice is not None:
        actual = f"{times[twice]} images named {printable(twice)!r}"
        advice = "Choose coco, json or csv, which name images by their paths, or rename them"
        raise ArgumentError(message("predict", "form", "another than voc", actual, advice))


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return what images are called in tables: their paths from the folder that they all lie in."""
    base = _base(paths)
    return [printable(path.absolute().relative_to(base).as_posix()) for path in paths]


def drawing_names(paths: Sequence[Path]) -> list[str]:
    """Return a file name for the drawing of each image; no two are the same.

    >>> drawing_names([Path("a/1.jpg"), Path("a/2.jpg")]), drawing_names([Path("a/1.jpg"), Path("a/1.png")])
    (['1.detections.jpg', '2.detections.jpg'], ['1.jpg.detections.jpg', '1.png.detections.jpg'])
    """
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [name.replace("/", "_") for name in short_names(paths)]
    times: Counter[str] = Counter()
    unique = []
    for name in names:
        times[name] += 1
        unique.append(f"{name}{'' if times[name] == 1 else f'_{times[name]}'}.detections.jpg")
    return unique


def counts_table(found: Sequence[ImageDetections]) -> str:
    """Return CSV of how many objects of each class were found in each image, and in all."""
    classes = found[0].detections.classes if found else ()
    fixed = ("image", "total")
    header = [fixed[0], *(f"{name} (class)" if name in fixed else name for name in classes), fixed[1]]
    rows = [
        (name, *each.detections.counts().values(), len(each.detections))
        for name, each in zip(short_names([each.path for each in found]), found, strict=True)
    ]
    return _csv(header, rows)


def write_results(folder: Path, data: DetectionData, found: Sequence[Detections]) -> Path:
    """Write what was found in a data set for its evaluation by others, and return the folder.

    That is ``detections_<split>_sppnet_results.json`` as COCO's evaluation takes it, and of a VOC set also the files
    of its development kit: see ``data.write_coco_results`` and ``data.write_voc_results``.

    Args:
        folder: made where it is missing. data: the images. found: one an image, of the classes of ``data``.
    Raises:
        ArgumentError, DataError: as those two do; DataError, too, where ``data.root`` holds no data set.
    """
    write_coco_results(folder / f"detections_{data.name}_sppnet_results.json", data, found)
    if recognise(data.root) == "voc":
        write_voc_results(folder, data, found)
    return folder


def write_classes(folder: Path, form: str, found: Sequence[Mapping[str, Any]]) -> Path:
    """Write what ``classified`` returned into a folder, as "json" or "csv", and return the file.

    Raises:
        ArgumentError: another form.
    """
    if form not in ("json", "csv"):
        advice = "Classes have no boxes, which the other formats are for"
        raise ArgumentError(message("write_classes", "form", "json or csv", repr(form), advice))
    folder.mkdir(parents=True, exist_ok=True)
    if form == "json":
        return _written(folder / "classes.json", _json(list(found)))
    rows = [(answer["image"], answer["class"], answer["best"][0]["score"]) for answer in found]
    return _written(folder / "classes.csv", _csv(("image", "class", "confidence"), rows))


def _write_json(folder: Path, found: Sequence[ImageDetections]) -> Path:
    return _written(folder / "detections.json", _json([as_dict(each) for each in found]))


def _write_csv(folder: Path, found: Sequence[ImageDetections]) -> Path:
    rows: list[Sequence[Any]] = []
    for name, each in zip(short_names([each.path for each in found]), found, strict=True):
        rows += [
            (name, *one.boxes[0].round(2).tolist(), one.classes[one.labels[0]], f"{one.confidence[0]:.4f}")
            for one in each.detections
        ]
        rows += [(name, *[""] * (len(COLUMNS) - 1))] if not len(each.detections) else []
    return _written(folder / "detections.csv", _csv(COLUMNS, rows))


def _write_voc(folder: Path, found: Sequence[ImageDetections]) -> Path:
    write_voc(folder, _as_data(found))
    return folder


def _write_coco(folder: Path, found: Sequence[ImageDetections]) -> Path:
    """Add the scores, which a data set has no place for, to the boxes' records."""
    content = coco_document(_as_data(found))
    scores = [round(float(score), 4) for each in found for score in each.detections.confidence]
    for annotation, score in zip(content["annotations"], scores, strict=True):
        annotation["score"] = score
    return _written(folder / "detections.coco.json", _json(content))


def _as_data(found: Sequence[ImageDetections]) -> DetectionData:
    """Return detections as a data set whose root is the folder that all the images lie in."""

    def sample(each: ImageDetections) -> Sample:
        nothing = np.zeros(len(each.detections), dtype=np.bool_)
        return Sample(each.path.absolute(), each.detections.boxes, each.detections.labels, nothing, nothing, each.size)

    classes = found[0].detections.classes if found else ()
    return DetectionData(_base([each.path for each in found]), classes, tuple(map(sample, found)), (), "predictions")


def _base(paths: Sequence[Path]) -> Path:
    """Return the folder that all the images lie in."""
    return Path(os.path.commonpath([path.absolute().parent for path in paths])) if paths else Path()


def _written(path: Path, text: str) -> Path:
    write_file(path, text)
    return path


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (header, *rows):
        writer.writerow([spreadsheet_safe(cell) if isinstance(cell, str) else cell for cell in row])
    return text.getvalue()
