"""YOLO: a text file an image, in labels/ beside images/ or beside the images; data.yaml, classes.txt or obj.names.

Its boxes are centre and size relative to the image, or the corners of a polygon, of which the box around them
is taken and the polygon kept; they are converted here and nowhere else.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import yaml

from sppnet.data.contents import Contents
from sppnet.data.gathering import BadRowError, Listing, RawBox, RawImage, Row, read_rows, size_of, unique_stems
from sppnet.data.layouts.records import LOOKED_AT, Found, counted, on_whole_pixels, outlined, place_of, read_text
from sppnet.data.layouts.yolo_places import (
    MAX_BYTES,
    NAME_LISTS,
    Named,
    Place,
    classes_in,
    named,
    places,
    read_yaml,
)
from sppnet.data.names import Pairing, split_of_name
from sppnet.data.problems import Problem, broken
from sppnet.data.samples import DetectionData, Sample
from sppnet.errors import DataError
from sppnet.geometry import Size
from sppnet.storage import write_file

SHAPE: Final = "YOLO (a text file an image: images/ and labels/, or beside the images; data.yaml or classes.txt)"

_LONG: Final = re.compile(r"\.\d{7}|e", re.IGNORECASE)  # a number of more than the usual six decimals


def look(listed: Contents) -> Found | None:
    """Tell what speaks for this layout.

    Raises:
        BrokenSampleError: a data.yaml that cannot be read.
    """
    known = named(listed)
    images = counted(listed.images)
    labels, strays = _labels(listed, images, known)
    sure = known is not None and bool(known.document)
    if not sure and not (labels and (known is not None or _fit(listed, labels))):
        return None
    source = f" and {known.source.name}" if known and known.source else ""
    files = len(set(labels.values()))
    saw = f"{files} text files of boxes {place_of(labels)}{source}" if labels else source.removeprefix(" and ")
    kept = _Set(listed, known, labels, strays)
    return Found(
        "yolo",
        saw,
        files,
        {split: partial(kept.listing, split, place) for split, place in places(listed, known).items()},
    )


def _labels(listed: Contents, images: Sequence[str], known: Named | None) -> tuple[dict[str, str], list[str]]:
    """Return the file of labels of each image, and the files that belong to no image."""
    pairing = Pairing(images)
    labels: dict[str, str] = {}
    loose: list[str] = []
    for name in listed.of_suffix(".txt"):
        base = name.rpartition("/")[2].lower()
        if base in NAME_LISTS or ("/" not in name and split_of_name(Path(name).stem)):
            continue
        found = pairing.images(name)
        labels |= {image: name for image in found if image not in labels}
        loose += [] if found else [name]
    folders = {name.rpartition("/")[0] for name in labels.values()}
    inside = {name for name in loose if name.rpartition("/")[0] in folders or name.startswith("labels/")}
    sure = {name for name in inside if known is not None and _fit(listed, {"": name})}
    return labels, [name for name in loose if name in sure]


def _fit(listed: Contents, labels: Mapping[str, str]) -> bool:
    """Tell whether files of labels hold rows of numbers, by the first ones that are not empty."""
    some = [name for name in dict.fromkeys(labels.values()) if listed.path(name).stat().st_size > 0]
    return any(_has_numbers(listed.path(name)) for name in some[:LOOKED_AT])


def _has_numbers(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        words = file.readline(2000).replace(",", " ").split()
    try:
        return len([float(word) for word in words]) >= 5
    except ValueError:
        return False


class _Set:
    """The images of a set and their labels."""

    def __init__(self, listed: Contents, known: Named | None, labels: Mapping[str, str], strays: Sequence[str]) -> None:
        self._listed = listed
        self._labels = labels
        self._strays = strays
        self._known = known
        points = known.document.get("kpt_shape") if known else None
        self._keypoints = points is not None

    def listing(self, split: str, place: "partial[Place]") -> Listing:
        """List the images of a split."""
        found = place()
        classes = list(self._known.classes) if self._known else None
        root = self._known.source if self._known and self._known.source else self._listed.root
        problems = list(found.problems)
        if not found.images and not found.missing:
            broken(root, f"{split or 'the set'} holds no images", code="no-images")
        if classes is None:
            what = "no data.yaml or classes.txt names the classes: they are called by their numbers"
            problems.append(Problem(self._listed.root, None, what, "class-unnamed"))
        kept = {name.rpartition("/")[0] for name in (self._labels.get(image, "") for image in found.images)}
        mine = [name for name in self._strays if name.rpartition("/")[0] in kept or not kept - {""}]
        what = "belongs to no image"
        problems += [Problem(self._listed.path(name), None, what, "labels-without-image") for name in mine]
        reads = [partial(self._read, name, classes) for name in found.images]
        reads += [partial(_missing, problem) for problem in found.missing]
        return Listing(classes, reads, problems=problems)

    def _read(self, image: str, classes: Sequence[str] | None) -> RawImage:
        path = self._listed.path(image)
        size = size_of(path)
        name = self._labels.get(image)
        if name is None:  # the layout's way to say that an image shows no object, if it was meant so
            what = "has no file of labels: it is taken to show no object"
            return RawImage(path, size, path, (), problems=[Problem(path, None, what, "image-without-labels")])
        labels = self._listed.path(name)
        rows = [
            (Row(labels, line), partial(_box, line, text, size, classes, self._keypoints))
            for line, text in enumerate(read_text(labels, limit=MAX_BYTES).splitlines(), start=1)
            if text.strip()
        ]
        boxes, problems = read_rows(rows)
        if not rows:
            problems = [Problem(labels, None, "is empty: the image shows no object", "labels-empty")]
        scored = next((row.line for row, read in rows if len(_words(read.args[1])) == 6), None)
        if scored is not None:
            problems.append(Problem(labels, scored, "the sixth number, a confidence, is not used", "score-ignored"))
        return RawImage(path, size, labels, boxes, problems=problems)


def _missing(problem: Problem) -> RawImage:
    broken(problem.path, problem.what, line=problem.line, code=problem.code)


def _words(text: str) -> list[str]:
    return text.replace(",", " ").replace(";", " ").split()


def _box(line: int, text: str, size: Size, classes: Sequence[str] | None, keypoints: bool) -> RawBox:
    words = _words(text)
    try:
        number, numbers = float(words[0]), [float(word) for word in words[1:]]
        if not number.is_integer():
            raise ValueError(words[0])
        raw = _shape(numbers[:4] if keypoints else numbers, size)._replace(line=line)
        if not any(map(_LONG.search, words)):
            raw = on_whole_pixels(raw, size)
    except (ValueError, IndexError, OverflowError):
        expected = "class, centre x, centre y, width, height, or class and three corners x, y at least"
        raise BadRowError(f"the line must be {expected}, got {text.strip()[:60]!r}") from None
    name = int(number)
    if classes is None:
        return raw._replace(name=str(name))
    if not 0 <= name < len(classes):
        return raw._replace(fault=f"has class {name}, and there are {len(classes)} from 0", code="class-number")
    return raw._replace(name=classes[name])


def _shape(numbers: Sequence[float], size: Size) -> RawBox:
    """Return a box, or a polygon with the box around it, without a class; ValueError where it is neither."""
    height, width = size
    if len(numbers) in (4, 5):
        x, y, across, down = numbers[:4]
        left, top, right, bottom = x - across / 2, y - down / 2, x + across / 2, y + down / 2
        return RawBox("", (left * width, top * height, right * width, bottom * height))
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(len(numbers))
    return outlined("", [(x * width, y * height) for x, y in zip(numbers[::2], numbers[1::2], strict=True)])


# Writing


def write_yolo(folder: Path | str, data: DetectionData) -> None:
    """Write ``labels/<split>/*.txt``, and the split into ``data.yaml``; no images are copied.

    The images belong in images/<split>/. YOLO knows neither difficult boxes nor crowds.

    Raises:
        DataError: two images of the same name, or a data.yaml with other classes.
    """
    folder, classes = Path(folder), list(data.classes)
    file = folder / "data.yaml"
    document = read_yaml(file) if file.is_file() else {}
    if document and classes_in(file, document) != classes:
        raise DataError(f"{file}: names must be {', '.join(classes)}. Write to another folder.")
    labels = folder / "labels" / data.name
    for stem, sample in zip(unique_stems(data), data.samples, strict=True):
        write_file(labels / f"{stem}.txt", "".join(_lines(sample)))
    document = {**document, "names": classes, data.name: f"images/{data.name}"}
    write_file(file, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def _lines(sample: Sample) -> list[str]:
    height, width = sample.size
    sides = sample.boxes / (width, height, width, height)
    centres, extents = (sides[:, :2] + sides[:, 2:]) / 2, sides[:, 2:] - sides[:, :2]
    rows = zip(sample.labels.tolist(), centres.tolist(), extents.tolist(), strict=True)
    return [f"{label} {centre[0]!r} {centre[1]!r} {extent[0]!r} {extent[1]!r}\n" for label, centre, extent in rows]
