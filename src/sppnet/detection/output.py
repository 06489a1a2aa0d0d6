"""What models found, into files that other programs read: JSON, COCO, VOC and CSV."""

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from sppnet.classification.classifier import Prediction
from sppnet.data import (
    DetectionData,
    Sample,
    coco_document,
    recognise,
    write_coco_results,
    write_voc,
    write_voc_results,
)
from sppnet.detection.detections import Detections
from sppnet.errors import ArgumentError, message
from sppnet.storage import write_file

TOP: Final = 5  # classes of a classifier that are written for each image


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
        "image": str(found.path),
        "height": found.size[0],
        "width": found.size[1],
        "counts": detections.counts(),
        "detections": [
            {"class": detections.classes[label], "confidence": round(float(score), 4), "box": box.round(2).tolist()}
            for box, label, score in rows
        ],
    }


def classified(path: Path, prediction: Prediction) -> dict[str, Any]:
    """Return one image's classes for JSON, the best first."""
    best = [{"class": name, "score": round(score, 6)} for name, score in prediction.top(TOP)]
    return {"image": str(path), "class": prediction.label, "best": best}


def write_detections(folder: Path, form: str, found: Sequence[ImageDetections]) -> Path:
    """Write detections into a folder and return the file, or for VOC the folder, that holds them.

    Args:
        folder: made where it is missing.
        form: "json": one list. "coco": a data set with the images, whose annotations have a score. "voc": one
            XML file an image. "csv": one row a detection; a file of regions for ``FileProposals`` too.
        found: in the order to write.
    Raises:
        ArgumentError: another form.
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
    return writers[form](folder, found)


def write_results(folder: Path, data: DetectionData, found: Sequence[Detections]) -> Path:
    """Write what was found in a data set for its evaluation by others, and return the folder.

    That is ``detections_<split>_sppnet_results.json`` as COCO's evaluation takes it, and of a VOC set also the files
    of its development kit: see ``data.write_coco_results`` and ``data.write_voc_results``.

    Args:
        folder: made where it is missing. data: the images. found: one an image, of the classes of ``data``.
    Raises:
        ArgumentError, DataError: as those two do; DataError, too, where ``data.root`` holds no data set.
    """
    write_coco_results(folder / f"detections_{data.split}_sppnet_results.json", data, found)
    if recognise(data.root) == "voc":
        write_voc_results(folder, data, found)
    return folder


def write_classes(folder: Path, form: str, found: Sequence[tuple[Path, Prediction]]) -> Path:
    """Write classes of images into a folder, as "json" or "csv", and return the file.

    Raises:
        ArgumentError: another form.
    """
    if form not in ("json", "csv"):
        advice = "Classes have no boxes, which the other formats are for"
        raise ArgumentError(message("write_classes", "form", "json or csv", repr(form), advice))
    folder.mkdir(parents=True, exist_ok=True)
    if form == "json":
        return _written(folder / "classes.json", _json([classified(*pair) for pair in found]))
    rows = [(path, name, score) for path, prediction in found for name, score in prediction.top(1)]
    return _written(folder / "classes.csv", _csv(("image", "class", "confidence"), rows))


def _write_json(folder: Path, found: Sequence[ImageDetections]) -> Path:
    return _written(folder / "detections.json", _json([as_dict(each) for each in found]))


def _write_csv(folder: Path, found: Sequence[ImageDetections]) -> Path:
    rows = [
        (each.path.name, *one.boxes[0].round(2).tolist(), one.classes[one.labels[0]], f"{one.confidence[0]:.4f}")
        for each in found
        for one in each.detections
    ]
    header = ("image", "left", "top", "right", "bottom", "class", "confidence")
    return _written(folder / "detections.csv", _csv(header, rows))


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
    root = Path(os.path.commonpath([each.path.absolute().parent for each in found])) if found else Path()
    return DetectionData(root, classes, tuple(map(sample, found)), (), "predictions")


def _written(path: Path, text: str) -> Path:
    write_file(path, text)
    return path


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
