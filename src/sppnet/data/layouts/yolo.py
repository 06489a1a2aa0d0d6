"""YOLO: a text file an image, in labels/ beside images/ or beside the images; data.yaml, classes.txt or obj.names.

Its boxes are centre and size relative to the image, or the corners of a polygon, of which the box around them
is taken and the polygon kept; they are converted here and nowhere else.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import yaml

from sppnet.data.contents import Contents
from sppnet.data.gathering import (
    BadRowError,
    Listing,
    RawBox,
    RawImage,
    Row,
    classes_twice,
    header_of,
    read_rows,
    unique_stems,
    unsure_of_turn,
)
from sppnet.data.layouts.records import LOOKED_AT, Found, counted, place_of, shared
from sppnet.data.layouts.values import on_whole_pixels, outlined, read_text
from sppnet.data.layouts.yolo_places import (
    MAX_BYTES,
    NAME_LISTS,
    NamedClasses,
    Place,
    check_from_zero,
    classes_in,
    count_differs,
    named,
    places,
    read_yaml,
)
from sppnet.data.misreading import CENTRES, check_written
from sppnet.data.names import Pairing, split_lists
from sppnet.data.problems import Problem, broken
from sppnet.data.samples import DetectionData, Sample
from sppnet.errors import DataError
from sppnet.geometry import Size
from sppnet.storage import write_file

SHAPE: Final = "YOLO (a text file an image: images/ and labels/, or beside the images; data.yaml or classes.txt)"

NO_PART: Final = 2  # numbers from this on are no parts of an image, but pixels or what keypoints have
_DECIMAL: Final = re.compile(r"\d+,\d+")
_LONG: Final = re.compile(r"\.\d{7}|e", re.IGNORECASE)  # a number of more than the usual six decimals


def look(listed: Contents) -> Found | None:
    """Tell what speaks for this layout.

    Raises:
        BrokenSampleError: a data.yaml that cannot be read.
    """
    known = named(listed)
    images = counted(listed.images)
    labels, strays = _labels(listed, images)
    source = known.source.relative_to(listed.root).as_posix() if known and known.source else ""
    sure = known is not None and bool(known.document) and "/" not in source
    if not sure and not (labels and (known is not None or _fit(listed, labels))):
        return None
    files = len(set(labels.values()))
    seen = [f"{files} text files of boxes {place_of(labels)}"] if labels else []
    saw = " and ".join([*seen, *([source] if source else [])])
    kept = _Set(listed, known, labels, strays)
    return Found(
        "yolo",
        saw,
        files,
        {split: partial(kept.listing, split, place) for split, place in places(listed, known).items()},
    )


def _labels(listed: Contents, images: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the file of labels of each image, and the files that belong to no image."""
    pairing = Pairing(images)
    labels: dict[str, str] = {}
    loose: list[str] = []
    lists = split_lists(listed)
    for name in listed.of_suffix(".txt"):
        base = name.rpartition("/")[2].lower()
        if base in NAME_LISTS or name in lists:
            continue
        found = pairing.images(name)
        labels |= {image: name for image in found if image not in labels}
        loose += [] if found else [name]
    folders = {name.rpartition("/")[0] for name in labels.values()}
    inside = {name for name in loose if name.rpartition("/")[0] in folders or name.startswith("labels/")}
    sure = {name for name in inside if _fit(listed, {"": name})}
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

    def __init__(
        self, listed: Contents, known: NamedClasses | None, labels: Mapping[str, str], strays: Sequence[str]
    ) -> None:
        self._listed = listed
        self._labels = labels
        self._strays = strays
        self._known = known
        points = known.document.get("kpt_shape") if known else None
        self._keypoints = points is not None

    def listing(self, split: str, place: Callable[[], Place]) -> Listing:
        """List the images of a split."""
        found = place()
        classes = self._known.classes if self._known else None
        root = self._known.source if self._known and self._known.source else self._listed.root
        problems = [*found.problems, *(_of_names(self._known) if self._known else ())]
        if not found.images and not found.missing:
            broken(root, f"{split or 'the set'} holds no images", code="no-images")
        if classes is None:
            what = "no data.yaml or classes.txt names the classes: they are called by their numbers"
            problems.append(Problem(self._listed.root, None, what, "class-unnamed"))
        kept = {name.rpartition("/")[0] for name in (self._labels.get(image, "") for image in found.images)}
        mine = [name for name in self._strays if name.rpartition("/")[0] in kept or not kept - {""}]
        what = "belongs to no image"
        problems += [Problem(self._listed.path(name), None, what, "labels-without-image") for name in mine]
        labelled = {image: self._labels[image] for image in found.images if image in self._labels}
        problems += shared(self._listed, labelled)
        reads = [partial(self._read, name, classes) for name in found.images]
        reads += [partial(_missing, problem) for problem in found.missing]
        names = None if classes is None else list(classes.values())
        return Listing(names, reads, problems=problems, check=partial(_check, classes))

    def _read(self, image: str, classes: Mapping[int, str] | None) -> RawImage:
        path = self._listed.path(image)
        size, orientation = header_of(path)
        name = self._labels.get(image)
        if name is None:  # the layout's way to say that an image shows no object, if it was meant so
            what = "has no file of labels: it is taken to show no object"
            return RawImage(path, size, path, (), problems=[Problem(path, None, what, "image-without-labels")])
        labels = self._listed.path(name)
        rows = [
            (Row(labels, line), partial(_box, line, text, size, classes, self._keypoints))
            for line, text in enumerate(read_text(labels, limit=MAX_BYTES).splitlines(), start=1)
            if text.strip() and not text.lstrip().startswith("#")
        ]
        boxes, problems = read_rows(rows)
        if not rows:
            problems = [Problem(labels, None, "is empty: the image shows no object", "labels-empty")]
        for fits, what, code in UNUSED:
            keypoints = self._keypoints and fits is _has_keypoints
            line = next((row.line for row, read in rows if keypoints or fits(_numbers(read.args[1]))), None)
            if line is not None and (keypoints or not self._keypoints):
                problems.append(Problem(labels, line, what, code))
        turned = unsure_of_turn(path, orientation, size, None) if rows else []
        return RawImage(path, size, labels, boxes, problems=[*problems, *turned])


def _missing(problem: Problem) -> RawImage:
    broken(problem.path, problem.what, line=problem.line, code=problem.code)


def _of_names(known: NamedClasses) -> list[Problem]:
    """Return what is wrong with the names of the classes."""
    source = known.source
    return [] if source is None else [*classes_twice(source, list(known.classes.values())), *count_differs(known)]


def _check(classes: Mapping[int, str] | None, raws: Sequence[RawImage]) -> list[Problem]:
    """Return what ``check_written`` does; BrokenSampleError too where labels count classes from 1."""
    over = [(raw, box) for raw in raws for box in raw.boxes if box.code == "class-number"]
    if classes is not None and over and all(box.fault == _no_name(max(classes) + 1, classes) for _, box in over):
        raw, box = over[0]
        names = {box.name for raw in raws for box in raw.boxes}
        used = {number for number, name in classes.items() if name in names} | {max(classes) + 1}
        check_from_zero(raw.source, classes, used, box.line)
    return check_written(CENTRES, raws)


def _no_name(number: int, classes: Mapping[int, str]) -> str:
    return f"has class {number}, and names are told for {min(classes)} to {max(classes)}"


def _words(text: str) -> list[str]:
    """Return the words of a row; a comma is one of a number where spaces part five words or more."""
    words = text.split()
    decimal = len(words) > 4 and any(map(_DECIMAL.fullmatch, words))
    return text.replace(",", ".").split() if decimal else text.replace(",", " ").replace(";", " ").split()


def _numbers(text: str) -> list[float]:
    """Return the numbers of a row behind its class; none where it cannot be read."""
    try:
        return [float(word) for word in _words(text)[1:]]
    except ValueError:
        return []


def _box(line: int, text: str, size: Size, classes: Mapping[int, str] | None, keypoints: bool) -> RawBox:
    words = _words(text)
    try:
        number, numbers = float(words[0]), [float(word) for word in words[1:]]
        if not number.is_integer():
            raise ValueError(words[0])
        raw = _shape(numbers[:4] if keypoints or _has_keypoints(numbers) else numbers, size)._replace(line=line)
        if not any(map(_LONG.search, words)):
            raw = on_whole_pixels(raw, size)
    except (ValueError, IndexError, OverflowError):
        expected = "class, centre x, centre y, width, height, or class and three corners x, y at least"
        raise BadRowError(f"the line must be {expected}, got {text.strip()[:60]!r}") from None
    if not keypoints and not _has_keypoints(numbers) and max(numbers) >= NO_PART:
        raise BadRowError(f"the numbers must be parts of the image, 0 to 1, got {text.strip()[:60]!r}")
    name = int(number)
    if classes is None:
        return raw._replace(name=str(name))
    if name not in classes:
        return raw._replace(fault=_no_name(name, classes), code="class-number")
    return raw._replace(name=classes[name])


def _has_score(numbers: Sequence[float]) -> bool:
    return len(numbers) == 5


def _has_keypoints(numbers: Sequence[float]) -> bool:
    """Tell whether a box and keypoints [x, y, 0 to 2] are meant, not a polygon: all that are seen lie in the box."""
    x, y, across, down = numbers[:4] if len(numbers) > 6 and len(numbers) % 3 == 1 else (0.0, 0.0, 0.0, 0.0)
    points = list(zip(numbers[4::3], numbers[5::3], numbers[6::3], strict=False))
    return across > 0 and all(
        seen in (0, 1, 2) and (seen == 0 or (abs(left - x) <= across / 2 and abs(top - y) <= down / 2))
        for left, top, seen in points
    )


UNUSED: Final = (
    (_has_score, "the sixth number, a confidence, is not used", "score-ignored"),
    (_has_keypoints, "the keypoints behind the box are not used", "points-left-out"),
)


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
    if document and classes_in(file, document) != dict(enumerate(classes)):
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
