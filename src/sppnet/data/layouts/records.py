"""What all layouts are read through: records of what a file says of an image, and how images are found for them."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from sppnet.data.contents import Contents
from sppnet.data.gathering import Listing, RawBox, RawImage, Row, header_of, read_rows, unsure_of_turn
from sppnet.data.misreading import CORNERS, check_written
from sppnet.data.names import Finder, Pairing, leads_out, split_of, split_of_name
from sppnet.data.parting import FILE as SPLITS
from sppnet.data.problems import BrokenSampleError, Problem, broken
from sppnet.geometry import SIDEWAYS, Size, upright_boxes, upright_points

LOOKED_AT: Final = 3  # files of labels that are looked into to tell their kind
SIDE_FOLDERS: Final = frozenset(
    (  # noqa: SIM905
        "segmentationclass segmentationobject segmentationclassaug masks mask segmentation segmentations "
        "trimaps depth thumbnails thumbs visualization visualizations"
    ).split()
)

Reader = Callable[[Size], RawBox | None]  # makes a box, knowing the image's size; None: the row is meant to hold none


class Record(NamedTuple):
    """What a file of labels says of one image.

    Args:
        name: of the image, as it is written there; empty where only the file's own name tells.
        rows: where each stands, and what reads it.
        size: (height, width) that the file says, if it does.
        number: of the image in the file. line: where the image is named. split: that the file says.
        problems: of the record itself.
        inside: how to write out the image, where the file of labels holds it too; otherwise empty.
    """

    name: str
    rows: Sequence[tuple[Row, Reader]]
    size: Size | None = None
    number: int | None = None
    line: int | None = None
    split: str = ""
    problems: tuple[Problem, ...] = ()
    inside: str = ""


class Parsed(NamedTuple):
    """What a file of labels holds.

    Args:
        records: one an image. classes: if it lists them. numbers: of these.
        strays: rows that belong to no image, and images that cannot be told. problems: of the file as a whole.
        written: how boxes are read, one of those of ``misreading``; empty where they cannot be read otherwise.
    """

    records: Sequence[Record]
    classes: Sequence[str] | None = None
    numbers: Mapping[str, int] = MappingProxyType({})
    strays: Sequence[Problem] = ()
    problems: Sequence[Problem] = ()
    written: str = ""


class Found(NamedTuple):
    """What a layout found in a folder.

    Args:
        layout: its name. saw: what speaks for it, as a person would say it.
        images: how many it has labels for, as far as can be told at a glance.
        splits: what lists the images of each; one named "" where there are no splits.
    """

    layout: str
    saw: str
    images: int
    splits: Mapping[str, Callable[[], Listing]]


def read_record(record: Record, image: Path, source: Path) -> RawImage:
    """Read what a record says of an image that was found; one made before EXIF data turned the image is turned too."""
    size, orientation = header_of(image)
    stored = orientation in SIDEWAYS and record.size == size[::-1] != size
    of_labels = size[::-1] if stored else size
    boxes, problems = read_rows((row, partial(read, of_labels)) for row, read in record.rows)
    if not record.rows:
        what = f"the image {image.name!r} has no boxes: it shows no object"
        problems.append(Problem(source, record.line, what, "labels-empty"))
    elif stored:
        boxes = [_turned(box, of_labels, orientation) for box in boxes]
        what = f"the labels of {image.name} are of the image before its EXIF data turns it: their boxes are turned too"
        problems.append(Problem(source, record.line, what, "labels-turned"))
    elif record.size in (None, size):
        problems += unsure_of_turn(image, orientation, size, record.size)
    problems = [*record.problems, *([] if stored else _of_size(record, image, size, source)), *problems]
    return RawImage(image, size, source, boxes, record.number, problems)


def _turned(box: RawBox, size: Size, orientation: int) -> RawBox:
    """Return a box and its outline, of an image of a size as it is stored, in the image as it is seen."""
    left, top, right, bottom = upright_boxes(np.array([box.edges]), size, orientation)[0].tolist()
    outlines = [np.array(points, dtype=np.float64).reshape(-1, 2) for points in box.outline]
    turned = [upright_points(points, size, orientation).tolist() for points in outlines]
    return box._replace(edges=(left, top, right, bottom), outline=turned)


def _of_size(record: Record, image: Path, size: Size, source: Path) -> list[Problem]:
    told = record.size
    if told is None or told == size or 0 in told:
        return []
    what = f"the labels of {image.name} are of {told[1]} x {told[0]} pixels, and the image has {size[1]} x {size[0]}"
    return [Problem(source, record.line, what, "size-differs")]


def missing(listed: Contents, name: str) -> str:
    """Say why an image that labels name is none of the set's: it lies there and is not read, leads out, is missing."""
    unread = {problem.path.name for problem in listed.problems if problem.code == "format-unread"}
    if name.replace("\\", "/").rpartition("/")[2] in unread:
        return f"the image {name!r} is of a format that is not read. Convert it to JPEG or PNG, of the same name"
    return f"the image {name!r} {'leads out of the data set' if leads_out(name) else 'is missing'}"


def list_unread(listed: Contents, name: str, why: str) -> Problem:
    """Return the problem of a file that is called as a list of a split's images is, and that is not read as one."""
    what = f"{why}: its images are in whatever split they are without it. 'sppnet split' writes splits of your own"
    return Problem(listed.path(name), None, what, "list-unread")


def counted(images: Iterable[str]) -> list[str]:
    """Return images without those that show something else of the same scene, such as masks."""
    return [name for name in images if not {part.lower() for part in name.split("/")[:-1]} & SIDE_FOLDERS]


def by_split(images: Iterable[str]) -> dict[str, list[str]]:
    """Group images by the split that their folders say; all in one group "" where none says any."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in images:
        groups[split_of(name)].append(name)
    if len(groups) > 1:
        groups.pop("", None)  # what lies beside splits is in none of them
    return dict(groups)


# Layouts with one file of labels for an image


@dataclass(frozen=True)
class ImageFiles:
    """A layout whose labels lie in one file an image.

    Args:
        layout: its name. suffix: of its files. kind: what they are called: "12 LabelMe JSON files ...".
        fits: tells by a glance whether a file is of this kind.
        parse: reads one.
    """

    layout: str
    suffix: str
    kind: str
    fits: Callable[[Path], bool]
    parse: Callable[[Path], Record]

    def look(self, listed: Contents) -> Found | None:
        """Tell what speaks for this layout."""
        files = labels_of(listed, self.suffix, self.fits)
        if files.count == 0:
            return None
        groups = by_split([*files.images, *files.loose])
        saw = f"{files.count} {self.kind} {files.place()}"
        return Found(self.layout, saw, files.count, {split: partial(self.listing, files, split) for split in groups})

    def listing(self, files: "LabelFiles", split: str) -> Listing:
        """List the images of a split."""
        listed = files.listed
        mine = {name: labels for name, labels in files.images.items() if split in ("", split_of(name))}
        reads = [partial(self.read, listed.path(labels), listed.path(name)) for name, labels in mine.items()]
        loose = [name for name in files.loose if split in ("", split_of(name))]
        reads += [partial(self.search, files, name, split) for name in loose]
        scope = [listed.path(name) for name in counted(listed.images) if split in ("", split_of(name))]
        return Listing(None, reads, scope=scope, problems=shared(listed, mine), check=partial(check_written, CORNERS))

    def read(self, labels: Path, image: Path) -> RawImage:
        """Read the labels of an image."""
        return read_record(self.parse(labels), image, labels)

    def search(self, files: "LabelFiles", labels: str, split: str) -> RawImage:
        """Read labels whose image goes by another name, which only they know."""
        source = files.listed.path(labels)
        record = self.parse(source)
        image = files.finder.find(record.name, files.folders, split=split) if record.name else None
        if image is None:
            name = record.name or Path(labels).stem
            what, code = missing(files.listed, name), "image-inside" if record.inside else "image-missing"
            broken(source, f"{what}{record.inside}", line=record.line, code=code)
        return read_record(record, files.listed.path(image), source)


@dataclass(frozen=True)
class LabelFiles:
    """Files of labels of one kind and the images that belong to them.

    Args:
        listed: the data set. images: the file of labels of each image that has one.
        loose: files that no image belongs to by its name.
    """

    listed: Contents
    images: Mapping[str, str]
    loose: Sequence[str]

    @property
    def count(self) -> int:
        """How many files there are."""
        return len(set(self.images.values())) + len(self.loose)

    @cached_property
    def finder(self) -> Finder:
        """What finds images by the names in the files."""
        return Finder(self.listed)

    @cached_property
    def folders(self) -> list[str]:
        """Where images lie, those first that have labels."""
        names = [*self.images, *self.listed.images]
        return list(dict.fromkeys(name.rpartition("/")[0] for name in names))

    def place(self) -> str:
        """Say where the files lie."""
        return place_of(self.images) if self.images else f"in {place_name(self.loose)}"


def shared(listed: Contents, images: Mapping[str, str]) -> list[Problem]:
    """Return a problem of each file of labels that several images have, given that of each image."""
    owners: dict[str, list[str]] = defaultdict(list)
    for image, labels in images.items():
        owners[labels].append(image)
    told = "is taken for each of {}: give each image a name of its own"
    return [
        Problem(listed.path(labels), None, told.format(" and ".join(sorted(names))), "labels-shared")
        for labels, names in owners.items()
        if len(names) > 1
    ]


def place_of(images: Mapping[str, str]) -> str:
    """Say where files of labels lie, given those of each image."""
    image, labels = next(iter(images.items()))
    folder = labels.rpartition("/")[0]
    beside = folder == image.rpartition("/")[0]
    return "beside the images" if beside else f"in {folder or 'the folder itself'}/"


def place_name(names: Sequence[str]) -> str:
    """Return the folder of the first of some files."""
    return f"{names[0].rpartition('/')[0] or '.'}/"


def labels_of(listed: Contents, suffix: str, fits: Callable[[Path], bool]) -> LabelFiles:
    """Pair files of a suffix with images; none where those that are looked into are of another kind."""
    pairing = Pairing(counted(listed.images))
    images: dict[str, str] = {}
    loose: list[str] = []
    for name in listed.of_suffix(suffix):
        found = pairing.images(name)
        images |= {image: name for image in found if image not in images}
        loose += [] if found else [name]
    some = list(dict.fromkeys(images.values()))
    some = some[:: max(1, len(some) // LOOKED_AT)][:LOOKED_AT]
    if some and not any(fits(listed.path(name)) for name in some):
        images = {}
    folders = {name.rpartition("/")[0] for name in images.values()}
    loose = [name for name in loose if name.rpartition("/")[0] in folders or fits(listed.path(name))]
    return LabelFiles(listed, images, loose)


# Layouts with one file of labels for many images


@dataclass(frozen=True)
class SetFiles:
    """A layout whose labels lie in one file for a whole set or split.

    Args:
        layout: its name. suffixes: of its files. kind: what they are called: "COCO JSON: train.json".
        fits: tells by a glance whether a file is of this kind.
        parse: reads one.
        prefer: of several files of a split, which to read; by default all.
        inner: whether a file may say itself which split an image is in; otherwise their folders may.
    """

    layout: str
    suffixes: tuple[str, ...]
    kind: str
    fits: Callable[[Path], bool]
    parse: Callable[[Path], Parsed]
    prefer: Callable[[Sequence[str]], Sequence[str]] = list
    inner: bool = False

    def look(self, listed: Contents) -> Found | None:
        """Tell what speaks for this layout."""
        files = [name for name in listed.of_suffix(*self.suffixes) if self.fits(listed.path(name))]
        files = list(self.prefer(files))
        if not files:
            return None
        groups: dict[str, list[str]] = defaultdict(list)
        told = SPLITS in listed.others  # which tells every image's split, whatever files and folders are called
        for name in files:
            groups["" if told else split_of_file(name)].append(name)
        if len(groups) > 1:
            groups.pop("", None)  # a file of everything beside those of the splits
        saw = f"{self.kind}: {', '.join(files[:3])}{', ...' if len(files) > 3 else ''}"
        finder = Finder(listed)
        reads = {split: partial(self._listing, listed, finder, names, split) for split, names in groups.items()}
        if set(groups) == {""} and not told and (self.inner or any(map(split_of, counted(listed.images)))):
            inner = self._inner_splits(listed, finder, files)
            reads = {split: partial(self._listing, listed, finder, files, split) for split in inner}
        return Found(self.layout, saw, max(1, len(counted(listed.images))), reads)

    def _inner_splits(self, listed: Contents, finder: Finder, files: Sequence[str]) -> list[str]:
        """Return the splits that records say, or their images' folders; [""] where none or only some say any."""
        try:
            records = [(name, record) for name in files for record in self.parse(listed.path(name)).records]
        except BrokenSampleError:  # which reading the split will name
            return [""]
        found = {_split_of_record(record, listed, finder, name) for name, record in records}
        return sorted(found - {""}) if found - {""} else [""]

    def _listing(self, listed: Contents, finder: Finder, files: Sequence[str], split: str) -> Listing:
        parts = [self._part(listed, finder, name, split) for name in files]
        if len(parts) == 1:
            return parts[0]
        classes = [name for part in parts for name in part.classes or ()]
        images = [partial(_unnumbered, image) for part in parts for image in part.images]
        scope = list(dict.fromkeys(path for part in parts for path in part.scope))
        problems = [each for part in parts for each in part.problems]
        return Listing(classes or None, images, scope=scope, problems=problems, check=partial(_check_each, parts))

    def _part(self, listed: Contents, finder: Finder, file: str, split: str) -> Listing:
        source = listed.path(file)
        parsed = self.parse(source)
        folders = _likely_folders(listed, file, split)
        records = parsed.records
        if split and not split_of_file(file):
            records = [each for each in records if _split_of_record(each, listed, finder, file) == split]
        images = [partial(_find, record, source, listed, finder, folders, split) for record in records]
        images += [partial(_stray, problem) for problem in parsed.strays]
        inside = [listed.path(name) for name in counted(listed.images) if _in_scope(name, file, split)]
        listing = Listing(parsed.classes, images, parsed.numbers, inside, parsed.problems)
        check = partial(check_written, parsed.written, source=source)
        return listing._replace(check=check) if parsed.written else listing


def _check_each(parts: Sequence[Listing], raws: Sequence[RawImage]) -> list[Problem]:
    return [problem for part in parts for problem in part.check(raws)]


def _split_of_record(record: Record, listed: Contents, finder: Finder, file: str) -> str:
    said = split_of_name(record.split) or record.split
    image = finder.find(record.name, _likely_folders(listed, file, ""))
    return said or split_of(image or record.name.replace("\\", "/"))


def _in_scope(image: str, file: str, split: str) -> bool:
    """Tell whether a file of labels for a split would name an image that lies there."""
    if split:
        return split_of(image) == split
    folder = file.rpartition("/")[0]
    return not folder or image.startswith(f"{folder}/") or "/" not in folder


def _find(
    record: Record, source: Path, listed: Contents, finder: Finder, folders: Sequence[str], split: str
) -> RawImage:
    name = finder.find(record.name, folders, split=split)
    if name is None:
        several = finder.several(record.name)[:2]
        what = f"the image {record.name!r} may be {' or '.join(several)}. Write its folder too"
        told = what if len(several) > 1 else missing(listed, record.name)
        broken(source, told, line=record.line, code="image-missing")
    return read_record(record, listed.path(name), source)


def _stray(problem: Problem) -> RawImage:
    broken(problem.path, problem.what, line=problem.line, code=problem.code)


def _unnumbered(image: Callable[[], RawImage]) -> RawImage:
    return image()._replace(number=None)


def split_of_file(name: str) -> str:
    """Return the split that a file's own name says, or its folders do."""
    words = re.split(r"[_\-. ]+", Path(name).stem)
    said = [split for split in map(split_of_name, words) if split]
    return split_of_name(Path(name).stem) or (said[0] if len(said) == 1 else split_of(name))


def _likely_folders(listed: Contents, file: str, split: str) -> list[str]:
    """Return the folders that images of a file may lie in, the likeliest first."""
    beside = file.rpartition("/")[0]
    stem = Path(file).stem.removeprefix("instances_")
    named = [f"{base}{name}" for base in ("images/", "") for name in (stem, split) if name]
    of_split = sorted(name for name in listed.folders if split and split_of(f"{name}/x") == split)
    near = [beside, f"{beside}/images" if beside else "images", "images", "", beside.rpartition("/")[0]]
    return [name for name in dict.fromkeys([*named, *near, *of_split]) if name in listed.folders]
