"""Pascal VOC and labelImg: one XML file an image, wherever it lies, and ImageSets/Main/<split>.txt if there are lists.

Its corners count from 1 and both are part of the box; they are converted here and nowhere else.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from sppnet.data.contents import Contents, normal
from sppnet.data.gathering import (
    BadRowError,
    Listing,
    RawBox,
    RawImage,
    Row,
    answer_rows,
    check_found,
    unique_stems,
)
from sppnet.data.layouts.records import Found, ImageFiles, LabelFiles, Record, labels_of, list_unread, shared
from sppnet.data.layouts.values import angle_in, outlined, read_text, size_in, turned
from sppnet.data.layouts.xml_files import Node, read_xml
from sppnet.data.misreading import CORNERS, check_written
from sppnet.data.names import split_lists, split_of_name, stem_of
from sppnet.data.problems import Problem, broken
from sppnet.data.samples import DetectionData, Sample
from sppnet.errors import DataError, check_that
from sppnet.geometry import ScoredBoxes, Size
from sppnet.storage import open_file, write_file

SHAPE: Final = "Pascal VOC (an XML file an image: Annotations/ and JPEGImages/, or beside the images)"
MAX_SET_BYTES: Final = 100_000_000
# Beside the splits, VOC lists who shows a class: "2008_000008 -1", "2008_000015  1".
_CLASS_LINE: Final = re.compile(r"\s(-1|0|1)\s*$")
_LISTS: Final = re.compile(r"(?:^|/)ImageSets/(?:Main/)?[^/]+\.txt$", re.IGNORECASE)


def look(listed: Contents) -> Found | None:
    """Tell what speaks for this layout."""
    found = FILES.look(listed)
    files = labels_of(listed, FILES.suffix, FILES.fits) if found else None
    if found is None or files is None:
        return None
    stems = {stem_of(name) for name in (*files.images.values(), *files.loose)}
    lists = _splits_of([name for name in listed.of_suffix(".txt") if _LISTS.search(name)], files, stems)
    root = split_lists(listed)
    read = [] if lists else [name for name in root if _stem(_first_line(listed.path(name)), stems) in stems]
    why = "lies beside ImageSets, whose lists are read" if lists else "names no image in its first line"
    unread = [list_unread(listed, name, why) for name in root if name not in read]
    lists = lists or {split_of_name(Path(name).stem): [name] for name in read}
    told = {split: partial(_of_lists, files, mine, stems) for split, mine in sorted(lists.items())}
    return found._replace(
        splits={split: partial(_with, each, unread) for split, each in (told or found.splits).items()}
    )


def _with(listing: Callable[[], Listing], problems: Sequence[Problem]) -> Listing:
    made = listing()
    return made._replace(problems=[*made.problems, *problems])


def _splits_of(names: Sequence[str], files: LabelFiles, stems: Collection[str]) -> dict[str, list[str]]:
    """Return the lists of each split; those of each class, a_train.txt, only where no list is of the whole split."""
    whole: dict[str, list[str]] = defaultdict(list)
    of_classes: dict[str, list[str]] = defaultdict(list)
    for name in names:
        stem = Path(name).stem
        if _is_of_class(files.listed.path(name), stems):
            of_classes[split_of_name(stem.rpartition("_")[2])].append(name)
        else:
            whole[split_of_name(stem) if split_of_name(stem) == stem.lower() else stem].append(name)
    of_classes.pop("", None)
    return {**of_classes, **whole}


def _fits(path: Path) -> bool:
    try:
        with open_file(path) as file:
            first = re.search(rb"<annotations?[\s>]", file.read(4096).replace(b"\0", b""))  # zeros: of UTF-16
            return first is not None and not first[0].startswith(b"<annotations")
    except OSError:
        return False


def _first_line(path: Path) -> str:
    with open_file(path) as file:
        return file.readline(1000).decode("utf-8-sig", errors="replace").strip()


def _is_of_class(path: Path, stems: Collection[str]) -> bool:
    """Tell whether a list says of each image if it shows a class; "photo 1" may be an image's own name, too."""
    text = _first_line(path)
    return _CLASS_LINE.search(text) is not None and normal(text) not in stems


def _stem(name: str, stems: Collection[str]) -> str:
    """Return the stem that a list names, as it is or by a path; one that leads out of the set as it is written."""
    if normal(name) in stems or ("/" in name and ".." in name.split("/")):
        return normal(name)
    return stem_of(name.replace("\\", "/"))


def _of_lists(files: LabelFiles, lists: Sequence[str], stems: Collection[str]) -> Listing:
    """List the images that lists of names hold; behind a name may stand whether the image shows a class."""
    loose = {stem_of(name): name for name in files.loose}
    reads: list[partial[RawImage]] = []
    problems: list[Problem] = []
    named: set[tuple[str, str]] = set()
    for listed in lists:
        base = listed[: max(0, listed.lower().rfind("imagesets/"))]  # of several sets in one folder, each list has one
        near = {image: name for image, name in files.images.items() if name.startswith(base)} or files.images
        by_stem = {stem_of(name): (image, name) for image, name in near.items()}
        file, wanted = files.listed.path(listed), set()
        of_class = _is_of_class(file, stems)
        for line, text in enumerate(read_text(file, limit=MAX_SET_BYTES).splitlines(), start=1):
            name = _CLASS_LINE.sub("", text).strip() if of_class else text.strip()
            stem = _stem(name, stems)
            if name and (base, stem) not in named:
                reads.append(partial(_named, files, by_stem.get(stem), loose.get(stem), (file, line, name)))
                named.add((base, stem))
            wanted.add(stem)
        problems += shared(files.listed, {image: name for image, name in near.items() if stem_of(name) in wanted})
    return Listing(None, reads, problems=problems, check=partial(check_written, CORNERS))


def _named(
    files: LabelFiles, pair: tuple[str, str] | None, loose: str | None, where: tuple[Path, int, str]
) -> RawImage:
    if pair is not None:
        return FILES.read(files.listed.path(pair[1]), files.listed.path(pair[0]))
    if loose is None:
        file, line, name = where
        broken(file, f"the annotation of {name!r} is missing", line=line)
    return FILES.search(files, loose, "")


# Reading


def _parse(annotation: Path) -> Record:
    tree = read_xml(annotation)
    if tree.tag != "annotation":
        broken(annotation, f"must hold an <annotation>, got <{tree.tag}>", line=tree.line)
    # The tag often names another file than the one it came with: the annotation's own name goes first.
    tag, size = tree.find("filename"), tree.find("size")
    told = size_in(size.text_of("height"), size.text_of("width")) if size else None
    rows = [(Row(annotation, node.line), partial(_box, node)) for node in tree.children if node.tag == "object"]
    name = tag.text.strip() if tag else ""
    return Record(name, rows, told, line=tag.line if tag else None)


def _box(node: Node, _: Size) -> RawBox | None:
    if node.text_of("deleted") == "1":  # LabelMe's old XML keeps what was taken back
        return None
    name = " ".join(_child(node, "name").text.split())
    difficult, crowd = (node.text_of(flag) == "1" for flag in ("difficult", "crowd"))
    polygon, inner = node.find("polygon"), node.find("segm")
    points = _points(polygon) if polygon is not None else []
    box = node.find("bndbox") or (inner.find("box") if inner is not None else None)
    slanted = node.find("robndbox")  # roLabelImg's
    if box is None and slanted is not None:
        x, y, across, down, turn = (_number(slanted, key) for key in ("cx", "cy", "w", "h", "angle"))
        edges = (x - across / 2, y - down / 2, x + across / 2, y + down / 2)
        points = turned(edges, angle_in(turn, "<angle>"))
    if points and box is None:
        return outlined(name, points, line=node.line)._replace(difficult=difficult, crowd=crowd)
    box = box or _child(node, "bndbox")
    left, top, right, bottom = (_number(box, edge) for edge in ("xmin", "ymin", "xmax", "ymax"))
    outline = [points] if points else ()
    return RawBox(name, (left - 1, top - 1, right, bottom), box.line, difficult=difficult, crowd=crowd, outline=outline)


def _points(polygon: Node) -> list[tuple[float, float]]:
    """Return the points of a polygon, each in an element of its own, or named as Roboflow does: x1, y1, x2, ..."""
    inner = [node for node in polygon.children if node.tag in ("pt", "point")]
    if inner:
        return [(_number(node, "x"), _number(node, "y")) for node in inner]
    numbers = [node.tag[1:] for node in polygon.children if re.fullmatch(r"x\d+", node.tag)]
    return [(_number(polygon, f"x{number}"), _number(polygon, f"y{number}")) for number in numbers]


def _child(node: Node, tag: str) -> Node:
    child = node.find(tag)
    if child is None:
        raise BadRowError(f"<{node.tag}> must hold <{tag}>", "row-without-box")
    return child


def _number(box: Node, tag: str) -> float:
    node = _child(box, tag)
    try:
        return float(node.text)
    except ValueError:
        raise BadRowError(f"<{tag}> must be a number, got {node.text.strip()[:40]!r}") from None


FILES: Final = ImageFiles("voc", ".xml", "XML files of Pascal VOC", _fits, _parse)


# Writing


def write_voc(folder: Path | str, data: DetectionData) -> None:
    """Write ``Annotations/*.xml`` and ``ImageSets/Main/<split>.txt``; no images are copied.

    Corners that are no whole pixels are written with decimals. VOC knows no crowds: they get a tag of their own.

    Raises:
        DataError: two images of the same name, or a class whose name XML cannot hold.
    """
    write_voc_samples(folder, data.samples, data.classes, unique_stems(data), data.name)


def write_voc_samples(
    folder: Path | str, samples: Iterable[Sample], classes: tuple[str, ...], stems: Sequence[str], name: str
) -> None:
    """Write ``write_voc``'s files of samples that come one after the other, called ``stems``, of split ``name``."""
    folder = Path(folder)
    for stem, sample in zip(stems, samples, strict=True):
        document = _document(sample, classes)
        indent(document)
        write_file(folder / "Annotations" / f"{stem}.xml", tostring(document, encoding="utf-8"))
    write_file(folder / "ImageSets" / "Main" / f"{name}.txt", "".join(f"{stem}\n" for stem in stems))


def _document(sample: Sample, classes: tuple[str, ...]) -> Element:
    document = Element("annotation")
    SubElement(document, "filename").text = sample.path.name
    size = SubElement(document, "size")
    for tag, pixels in zip(("width", "height", "depth"), (sample.size[1], sample.size[0], 3), strict=True):
        SubElement(size, tag).text = str(pixels)
    rows = zip(
        sample.boxes.tolist(), sample.labels.tolist(), sample.difficult.tolist(), sample.crowd.tolist(), strict=True
    )
    for (left, top, right, bottom), label, difficult, crowd in rows:
        found = SubElement(document, "object")
        SubElement(found, "name").text = classes[label]
        SubElement(found, "difficult").text = str(int(difficult))
        if crowd:
            SubElement(found, "crowd").text = "1"
        box = SubElement(found, "bndbox")
        for tag, edge in zip(("xmin", "ymin", "xmax", "ymax"), (left + 1, top + 1, right, bottom), strict=True):
            SubElement(box, tag).text = f"{edge:.4f}".rstrip("0").rstrip(".")
    return document


def result_names(data: DetectionData) -> list[str]:
    """Return what VOC's result files call the images, which can be asked before anything is found.

    Raises:
        DataError: two images of the same name, an image's name with a space, or a class's with a slash.
    """
    stems = unique_stems(data)
    for name, allowed in [*((stem, r"\S+") for stem in stems), *((name, r"[^/\\\0]+") for name in data.classes)]:
        if not re.fullmatch(allowed, name):
            advice = "Rename it, or write COCO's: 'sppnet convert --to coco' makes a set that has these alone"
            raise DataError(f"{data.root}: VOC's result files have no place for the name {name!r}. {advice}.")
    return stems


def write_voc_results(
    folder: Path | str,
    data: DetectionData,
    found: Sequence[ScoredBoxes],
    *,
    competition: Literal["comp3", "comp4"] = "comp4",
) -> None:
    """Write detections as VOC's development kit reads them: ``<competition>_det_<split>_<class>.txt``, one a class.

    A line is ``<image> <score> <left> <top> <right> <bottom>``. Boxes are not rounded: VOC's evaluation takes
    parts of pixels as they are.

    Args:
        folder: to write to; made where it is missing. data: the images. found: one an image; labels are indices
            into ``data.classes``.
        competition: "comp4", or "comp3" for what learnt from VOC's own images only: no network that has seen
            ImageNet did.
    Raises:
        ArgumentError: another number of answers than images, or another competition.
        DataError: as ``result_names``.
    """
    known = competition in ("comp3", "comp4")
    advice = "Name one of these"
    check_that(known, "write_voc_results", "competition", "comp3 or comp4", repr(competition), advice=advice)
    check_found("write_voc_results", found, data)
    stems = result_names(data)
    lines: dict[str, list[str]] = {name: [] for name in data.classes}
    for stem, answer in zip(stems, found, strict=True):
        for name, (left, top, right, bottom), score in answer_rows(answer, data.classes):
            lines[name].append(f"{stem} {score} {left + 1} {top + 1} {right} {bottom}\n")
    for name, mine in lines.items():
        write_file(Path(folder) / f"{competition}_det_{data.name}_{name}.txt", "".join(mine))
