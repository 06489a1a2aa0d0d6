"""What all layouts are read through: records of what a file says of an image, and how images are found for them."""

import codecs
import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

from sppnet.data.contents import Contents
from sppnet.data.gathering import BadRowError, Listing, RawBox, RawImage, Row, read_rows, size_of
from sppnet.data.names import Finder, Pairing, leads_out, split_of, split_of_name
from sppnet.data.problems import BrokenSampleError, Problem, broken
from sppnet.geometry import Size
from sppnet.storage import open_file, read_file

MAX_JSON_BYTES: Final = 2_000_000_000
GLANCE: Final = 200_000  # bytes at both ends of a file that its kind is told by
SHARE_STEP: Final = 1e-6  # that parts of an image are usually written to
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
    """

    name: str
    rows: Sequence[tuple[Row, Reader]]
    size: Size | None = None
    number: int | None = None
    line: int | None = None
    split: str = ""
    problems: tuple[Problem, ...] = ()


class Parsed(NamedTuple):
    """What a file of labels holds: a record an image, its classes if it lists them, and what is wrong with the rest."""

    records: Sequence[Record]
    classes: Sequence[str] | None = None
    numbers: Mapping[str, int] = MappingProxyType({})
    strays: Sequence[Problem] = ()


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
    """Read what a record says of an image that was found."""
    size = size_of(image)
    boxes, problems = read_rows((row, partial(read, size)) for row, read in record.rows)
    if not record.rows:
        what = f"the image {image.name!r} has no boxes: it shows no object"
        problems.append(Problem(source, record.line, what, "labels-empty"))
    problems = [*record.problems, *_of_size(record, size, source), *problems]
    return RawImage(image, size, source, boxes, record.number, problems)


def _of_size(record: Record, size: Size, source: Path) -> list[Problem]:
    told = record.size
    if told is None or told == size or 0 in told:
        return []
    turned = ": its EXIF data turns it" if told == size[::-1] else ""
    what = f"was made for an image of {told[1]} x {told[0]} pixels, which has {size[1]} x {size[0]}{turned}"
    return [Problem(source, record.line, what, "size-differs")]


def missing(source: Path, name: str, line: int | None = None) -> Problem:
    """Return the problem of an image that a file names and that is not there."""
    fault = "leads out of the data set" if leads_out(name) else "is missing"
    return Problem(source, line, f"the image {name!r} {fault}", "image-missing")


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
        return Listing(None, reads, scope=scope)

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
            broken(source, missing(source, name).what, line=record.line, code="image-missing")
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
        inner: whether one file may hold several splits, by what it says or by its images' folders.
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
        for name in files:
            groups[split_of_file(name)].append(name)
        if len(groups) > 1:
            groups.pop("", None)  # a file of everything beside those of the splits
        saw = f"{self.kind}: {', '.join(files[:3])}{', ...' if len(files) > 3 else ''}"
        finder = Finder(listed)
        reads = {split: partial(self._listing, listed, finder, names, split) for split, names in groups.items()}
        if self.inner and set(groups) == {""}:
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
        return Listing(
            classes or None, images, scope=scope, problems=[each for part in parts for each in part.problems]
        )

    def _part(self, listed: Contents, finder: Finder, file: str, split: str) -> Listing:
        source = listed.path(file)
        parsed = self.parse(source)
        folders = _likely_folders(listed, file, split)
        records = parsed.records
        if self.inner and split and not split_of_file(file):
            records = [each for each in records if _split_of_record(each, listed, finder, file) == split]
        images = [partial(_find, record, source, listed, finder, folders, split) for record in records]
        images += [partial(_stray, problem) for problem in parsed.strays]
        inside = [listed.path(name) for name in counted(listed.images) if _in_scope(name, file, split)]
        return Listing(parsed.classes, images, parsed.numbers, inside)


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
        told = what if len(several) > 1 else missing(source, record.name).what
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


# JSON


def glance(path: Path) -> str:
    """Return both ends of a file as text, to tell its kind by; empty if it cannot be read."""
    try:
        with open_file(path) as file:
            head = file.read(GLANCE)
            size = file.seek(0, 2)
            file.seek(max(len(head), size - GLANCE))
            return decoded(head + file.read(GLANCE), "replace").lstrip("\ufeff \r\n\t")
    except OSError:
        return ""


def has_keys(text: str, *keys: str) -> bool:
    """Tell whether a piece of JSON has all of these keys."""
    return all(re.search(rf'"{key}"\s*:', text) for key in keys)


def decoded(content: bytes, errors: str = "strict") -> str:
    """Return a text: UTF-16 where it begins with that mark, otherwise UTF-8, with a mark or without."""
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if marked else "utf-8-sig", errors)


def read_text(path: Path, *, limit: int) -> str:
    """Return a text file of the data set.

    Raises:
        BrokenSampleError: unreadable, larger than ``limit`` bytes, or not UTF-8.
    """
    try:
        if path.stat().st_size > limit:
            broken(path, f"is larger than {limit:,} bytes")
        return decoded(read_file(path, most=limit)).replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        broken(path, f"cannot be read: {(error.strerror or str(error)).lower()}")
    except UnicodeDecodeError as error:
        broken(path, f"is not {error.encoding.upper()} text: {error.reason} at byte {error.start}. Save it as UTF-8")


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        BrokenSampleError: naming the line, if it is no JSON.
    """
    try:
        return json.loads(read_text(path, limit=MAX_JSON_BYTES))
    except json.JSONDecodeError as error:
        broken(path, f"is not JSON: {error.msg}", line=error.lineno)
    except (ValueError, RecursionError) as error:
        broken(path, f"is not usable JSON: {error}")


def number_in(value: object, what: str, code: str = "row-unreadable") -> float:
    """Return a number, be it written as one or as a text; BadRowError names what it should be."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise BadRowError(f"{what} must be a number, got {value!r:.40}", code)


def around(points: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    """Return the box [left, top, right, bottom] around points (x, y); NaN where one of them is not finite."""
    across, down = [x for x, _ in points], [y for _, y in points]
    if not all(map(math.isfinite, (*across, *down))):
        return math.nan, math.nan, math.nan, math.nan
    return min(across), min(down), max(across), max(down)


def outlined(name: str, *polygons: Sequence[tuple[float, float]], line: int | None = None) -> RawBox:
    """Return the box around polygons, which keeps them as its outline."""
    return RawBox(name, around([point for points in polygons for point in points]), line, outline=polygons)


def are_shares(numbers: Sequence[float]) -> bool:
    """Tell whether boxes are parts of their images: not one number is above 1, and some are no whole ones."""
    return bool(numbers) and max(numbers) <= 1 and any(number % 1 for number in numbers)


def on_whole_pixels(box: RawBox, size: Size) -> RawBox:
    """Return a box that was written in parts of its image, to six decimals, with the whole pixels that it was made of.

    An edge that the rounding of the file may have moved off a whole pixel lies on it.
    """
    sides = (size[1], size[0], size[1], size[0])
    edges = tuple(_on_whole(edge, side) for edge, side in zip(box.edges, sides, strict=True))
    return box._replace(edges=cast(tuple[float, float, float, float], edges))


def _on_whole(edge: float, side: int) -> float:
    whole = float(round(edge)) if math.isfinite(edge) else edge
    return whole if abs(edge - whole) <= side * SHARE_STEP else edge


def pairs_in(value: object, what: str) -> list[tuple[float, float]]:
    """Return a list of points, [[x, y], ...]; BadRowError where it is none."""
    if not isinstance(value, list) or not value or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise BadRowError(f"{what} must be a list of points x, y, got {value!r:.60}")
    return [(number_in(x, what), number_in(y, what)) for x, y in value]


def text_in(record: Mapping[str, Any], key: str, default: str = "") -> str:
    """Return a text of a record; the default where there is none or it is no text or number."""
    value = record.get(key, default)
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else default


def size_in(height: object, width: object) -> Size | None:
    """Return (height, width) if both are whole numbers, as files of labels say sizes."""
    try:
        sides = int(float(height)), int(float(width))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return sides if min(sides) > 0 else None
