"""What leaves the studio: labels with their images, detections and counts, annotated images, the model.

Each export is one file to download. Labels are a zip that is a whole data set, as ``sppnet train`` reads it. Only
images with a box or the word that they are complete are in it: of all others nobody knows what they show. An image that
cannot be read now is left out and named in the zip.
"""

import csv
import io
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np

from sppnet.data import DetectionData, Sample, write_yolo
from sppnet.data.converting import WRITTEN, WrittenLayout, flat_names
from sppnet.data.parting import group_of, part
from sppnet.detection.detections import Detections
from sppnet.errors import DataError, ImageDecodeError, MissingExtraError
from sppnet.images import encode
from sppnet.storage import open_file, spreadsheet_safe, write_file
from sppnet.web.studio import imports, uploads
from sppnet.web.studio.offers import outline_of
from sppnet.web.studio.session import Session
from sppnet.web.studio.store import Box, StoredImage

PARTIAL: Final = "export-"  # how names begin of what is being written
LEFT_OUT: Final = "left-out.txt"  # in a zip: the images that are not in it, and why
JPEG_QUALITY: Final = 92


class Written(NamedTuple):
    """An export: the name that the file should have for a person, and what is not in it, each with its reason."""

    name: str
    left_out: Sequence[str]


def remove_partial(session: Session) -> None:
    """Remove what a process that was killed had begun to write, to receive or to bring in."""
    begun = (session.folder.hidden.glob(f"{start}*") for start in (PARTIAL, uploads.PARTIAL, imports.PARTIAL))
    for path in chain.from_iterable(begun):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_export(
    session: Session,
    name: str,
    file: Path,
    *,
    shares: Mapping[str, float] = MappingProxyType({}),
    groups: str = "",
    complete: bool = False,
) -> Written:
    """Write one export into a file.

    Args:
        name: one of ``FILE_NAMES``.
        shares: of the labelled images that go to "val" and to "test"; all others are "train".
        groups: what the report counts by, see ``Session.report``.
        complete: labels of complete images only; False takes those that have a box, too.
    Raises:
        DataError: there is nothing to export yet.
    """
    left_out: Sequence[str] = ()
    if name in WRITTEN:
        left_out = _write_labels(session, WRITTEN[name], file, shares, complete=complete)
    elif name == "model":
        left_out = _write_model(session, file)
    elif name == "onnx":
        left_out = _write_onnx(session, file)
    elif name == "images":
        left_out = _write_images(session, file)
    else:
        tables = {"detections": _detections, "counts": _counts}
        rows = _report(session, groups) if name == "report" else tables[name](session)
        write_file(file, _csv(rows))
    return Written(FILE_NAMES[name], left_out)


FILE_NAMES: Final[Mapping[str, str]] = {
    "voc": "labels-voc.zip",
    "coco": "labels-coco.zip",
    "yolo": "labels-yolo.zip",
    "csv": "labels-csv.zip",
    "labelstudio": "labels-labelstudio.zip",
    "model": "detector.safetensors",
    "onnx": "detector-onnx.zip",
    "detections": "detections.csv",
    "counts": "counts.csv",
    "report": "report.csv",
    "images": "annotated-images.zip",
}


# Labels


def _write_labels(
    session: Session, layout: WrittenLayout, file: Path, shares: Mapping[str, float], *, complete: bool
) -> list[str]:
    """Write a data set of the images that can be read; return the others."""
    classes = session.store.classes()
    labelled = [each for each in _said(session) if each[0].complete or (each[1] and not complete)]
    left_out = {image.id: fault for image, _ in labelled if (fault := _fault(session, image))}
    usable = [(image, boxes) for image, boxes in labelled if image.id not in left_out]
    if not usable or not classes:
        kind, advice = ("complete", "Press Done in one") if complete else ("labelled", "Draw a box")
        raise DataError(f"studio: there must be a {kind} image, got none. {advice} first.")
    names = flat_names([image.name for image, _ in usable])
    counts = [Counter(box.label for box in boxes) for _, boxes in usable]
    splits = split_of([image.name for image, _ in usable], counts, shares)
    ids = [each.id for each in classes]
    with TemporaryDirectory(dir=session.folder.hidden, prefix=PARTIAL) as folder:
        root = Path(folder)
        places = [
            PurePosixPath(layout.images.format(split=split)) / name for split, name in zip(splits, names, strict=True)
        ]
        samples = [_sample(root / place, *said, ids) for place, said in zip(places, usable, strict=True)]
        for split in dict.fromkeys(splits):
            mine = tuple(sample for sample, other in zip(samples, splits, strict=True) if other == split)
            layout.write(root, DetectionData(root, tuple(each.name for each in classes), mine, (), split))
        if layout.write is write_yolo and "val" not in splits:
            # Its trainers refuse a file that names no images to validate on.
            with (root / "data.yaml").open("a", encoding="utf-8") as document:
                document.write("val: images/train\n")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
            for path in sorted(path for path in root.rglob("*") if path.is_file()):
                archive.write(path, path.relative_to(root).as_posix())
            for place, (image, _) in zip(places, usable, strict=True):
                archive.write(session.folder.path(image.name), str(place), zipfile.ZIP_STORED)
            return _note_left_out(archive, left_out.values())


def split_of(names: Sequence[str], counts: Sequence[Mapping[int, int]], shares: Mapping[str, float]) -> list[str]:
    """Assign each image to "train", "val" or "test", the same at every export.

    Classes keep their shares, and frames of one video stay together, as ``sppnet split`` has it.

    Args:
        counts: of each image, how many objects of each class.
    Raises:
        ArgumentError: too few images.
    """
    splits = ["train"] * len(names)
    for split, share in shares.items():
        if share <= 0:
            continue
        left = [place for place, other in enumerate(splits) if other == "train"]
        groups = [group_of(Path(names[place])) for place in left]
        rest = min(0.9, share * len(names) / len(left))
        chosen = part([counts[place] for place in left], groups, rest, seed=0)
        for place, inside in zip(left, chosen, strict=True):
            splits[place] = split if inside else "train"
    return splits


def _fault(session: Session, image: StoredImage) -> str:
    """Say why an image file cannot be taken; "" if it can."""
    try:
        with open_file(session.folder.path(image.name)):
            return ""
    except OSError as error:
        return f"{image.name}: {(error.strerror or str(error)).lower()}"


def _note_left_out(archive: zipfile.ZipFile, reasons: Iterable[str]) -> list[str]:
    left_out = list(reasons)
    if left_out:
        archive.writestr(LEFT_OUT, "".join(f"{reason}\n" for reason in left_out))
    return left_out


def _sample(path: Path, image: StoredImage, boxes: Sequence[Box], ids: Sequence[int]) -> Sample:
    return Sample(
        path,
        np.array([box.edges for box in boxes]).reshape(-1, 4),
        np.array([ids.index(box.label) for box in boxes], dtype=np.int64),
        np.array([box.difficult for box in boxes], dtype=np.bool_),
        np.array([box.crowd for box in boxes], dtype=np.bool_),
        (image.height, image.width),
        outlines=tuple(outline_of(box.outline) for box in boxes),
    )


def _said(session: Session) -> Iterator[tuple[StoredImage, list[Box]]]:
    """Yield the readable images of the folder with their objects."""
    boxes: dict[int, list[Box]] = {}
    for box in session.store.boxes():
        if box.kind == "object":
            boxes.setdefault(box.image, []).append(box)
    for image in session.store.images():
        if image.id in session.learner.images and image.id not in session.learner.faults:
            yield image, boxes.get(image.id, [])


# Detections


def _write_model(session: Session, file: Path) -> Sequence[str]:
    """Write what ``sppnet train detector`` would write of these labels; return the images that are gone."""
    detector = session.learner.detector
    if detector is None:
        raise DataError("studio: there must be a detector, got none. Draw a box and teach first.")
    paths = {session.folder.path(image.name): image.name for image in session.learner.images.values()}
    gone = {path: name for path, name in paths.items() if not path.is_file()}
    detector.relearnt(without=gone).save(file)
    return sorted(gone.values())


def _write_onnx(session: Session, file: Path) -> Sequence[str]:
    """Write what ``sppnet export`` would write of the model; return the images that are gone."""
    try:
        from sppnet.export.folder import export_detector
    except ModuleNotFoundError as error:
        advice = "Install it: pip install 'sppnet[export]'"
        raise MissingExtraError(
            f"studio: ONNX needs the extra 'export', which brings {error.name}. {advice}."
        ) from error
    from sppnet.detection.detector import Detector  # torch takes seconds, and the page is there before

    with TemporaryDirectory(dir=session.folder.hidden, prefix=PARTIAL) as folder:
        model, out = Path(folder) / "detector.safetensors", Path(folder) / "out"
        left_out = _write_model(session, model)
        export_detector(Detector.load(model), out)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(out.iterdir()):
                archive.write(path, path.name)
    return left_out


def _detections(session: Session) -> Iterator[tuple[Any, ...]]:
    """Yield one row an object: those that a person boxed, then those that the detector found beside them."""
    yield "image", "class", "left", "top", "right", "bottom", "confidence", "by"
    names = {each.id: each.name for each in session.store.classes()}
    for image, boxes in _said(session):
        for box in boxes:
            yield image.name, names[box.label], *(round(edge, 2) for edge in box.edges), "", "person"
        for each in session.counted(image).as_list():
            yield image.name, names[each["label"]], *each["edges"], each["score"], "detector"


def _counts(session: Session) -> Iterator[tuple[Any, ...]]:
    """Yield one row an image: of each class, the objects boxed and those found beside them."""
    classes = session.store.classes()
    yield "image", *(each.name for each in classes), "complete"
    for image, boxes in _said(session):
        numbers = Counter(box.label for box in boxes) + Counter(session.counted(image).labels.tolist())
        yield image.name, *(numbers[each.id] for each in classes), "yes" if image.complete else "no"


def _report(session: Session, groups: str) -> Iterator[tuple[Any, ...]]:
    """Yield one row a class and group: how many objects, and the interval of 95 %."""
    yield "group", "images", "class", "boxed", "expected", "low", "high"
    report = session.report(groups)
    names = {each["id"]: each["name"] for each in report["classes"]}
    for group in report["groups"]:
        for label, counts in group["classes"].items():
            yield group["group"], group["images"], names[label], *counts.values()


def _csv(rows: Iterable[tuple[Any, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([spreadsheet_safe(cell) if isinstance(cell, str) else cell for cell in row])
    return text.getvalue()


def _write_images(session: Session, file: Path) -> list[str]:
    """Draw all images that can be read; return the others."""
    said = list(_said(session))
    left_out: list[str] = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for (image, boxes), name in zip(said, flat_names([each.name for each, _ in said]), strict=True):
            try:
                pixels = _drawn(session, image, boxes).draw(session.folder.path(image.name))
            except ImageDecodeError as error:
                left_out.append(f"{image.name}: {error.reason}")
                continue
            archive.writestr(f"{PurePosixPath(name).stem}.jpg", encode(pixels, "JPEG", quality=JPEG_QUALITY))
        return _note_left_out(archive, left_out)


def _drawn(session: Session, image: StoredImage, boxes: Sequence[Box]) -> Detections:
    """Return what counts in an image; what a person boxed is certain."""
    classes, found = session.store.classes(), session.counted(image)
    ids = [each.id for each in classes]
    labels = [ids.index(label) for label in (*(box.label for box in boxes), *found.labels.tolist())]
    return Detections(
        np.concatenate([np.array([box.edges for box in boxes]).reshape(-1, 4), found.boxes]),
        np.array(labels, dtype=np.int64),
        np.concatenate([np.ones(len(boxes)), found.scores]),
        tuple(each.name for each in classes),
    )
