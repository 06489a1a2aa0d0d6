"""CSV: a row a box, with columns as TensorFlow's tutorials, Kaggle, Open Images, keras-retinanet and sppnet name them.

Boxes are taken as they are: pixels from 0, ends excluded; parts of the image where every number is at most 1. A row
without a box says that the image shows no object.
"""

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from sppnet.data.contents import contents
from sppnet.data.gathering import BadRowError, RawBox, Row
from sppnet.data.layouts.records import Parsed, Reader, Record, SetFiles
from sppnet.data.layouts.values import GLANCE, are_shares, decoded, number_in, on_whole_pixels, read_text, size_in
from sppnet.data.layouts.yolo_places import check_from_zero, named
from sppnet.data.misreading import CENTRES, CORNERS, SIDES
from sppnet.data.problems import Problem, broken
from sppnet.data.samples import DetectionData
from sppnet.geometry import Size
from sppnet.storage import open_file, safe_text, spreadsheet_safe, write_file

SHAPE: Final = "CSV (a row a box: image, left, top, right, bottom, class, or columns like these)"
MAX_BYTES: Final = 2_000_000_000
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "image": (
        "image",
        "filename",
        "image_id",
        "imageid",
        "image_path",
        "path",
        "file",
        "file_name",
        "image_name",
        "imagename",
        "img",
        "img_path",
        "file_path",
        "filepath",
        "name",
        "frame",
        "picture",
        "photo",
        "image_filename",
        "image_file",
        "img_name",
        "img_file",
        "patientid",
    ),
    "left": ("left", "xmin", "x_min", "x1", "bbox_xmin", "xtl"),
    "top": ("top", "ymin", "y_min", "y1", "bbox_ymin", "ytl"),
    "right": ("right", "xmax", "x_max", "x2", "bbox_xmax", "xbr"),
    "bottom": ("bottom", "ymax", "y_max", "y2", "bbox_ymax", "ybr"),
    "x": ("x", "bbox_x", "left", "xmin"),
    "y": ("y", "bbox_y", "top", "ymin"),
    "cx": ("cx", "x_center", "xcenter", "center_x", "x_centre", "centre_x", "xc"),
    "cy": ("cy", "y_center", "ycenter", "center_y", "y_centre", "centre_y", "yc"),
    "w": ("w", "bbox_w", "bbox_width", "box_width", "width"),
    "h": ("h", "bbox_h", "bbox_height", "box_height", "height"),
    "box": ("bbox", "box", "bounding_box"),
    "class": (
        "class",
        "label",
        "classname",
        "class_name",
        "labelname",
        "label_name",
        "category",
        "category_name",
        "name",
        "object",
        "class_id",
        "target",
    ),
}
CORNER_COLUMNS: Final = ("left", "top", "right", "bottom")
SIDE_COLUMNS: Final = ("x", "y", "w", "h")
CENTRE_COLUMNS: Final = ("cx", "cy", "w", "h")
BARE: Final = ("image", *CORNER_COLUMNS, "class")  # keras-retinanet's rows, which have no header
Cells = Sequence[str]
_NUMBER: Final = re.compile(r"\d{1,9}(?:\.0+)?", re.ASCII)  # of a class


class _Columns(NamedTuple):
    """Which column holds what; -1 where none does.

    Args:
        box: four columns, or one that holds a list.
        corners: whether these are left, top, right, bottom, and not left, top, width, height.
        centred: whether these are the middle's x and y, width, height.
    """

    image: int
    box: tuple[int, ...]
    corners: bool
    label: int
    difficult: int
    crowd: int
    split: int
    size: tuple[int, int]
    centred: bool = False


def _fits(path: Path) -> bool:
    try:
        with open_file(path) as file:
            text = decoded(file.read(GLANCE), "replace")
        return _columns(next(iter(_cells(text)), (0, []))[1]) is not None
    except (OSError, csv.Error):
        return False


def _cells(text: str) -> Iterator[tuple[int, Cells]]:
    """Yield the rows that hold anything, with their lines; parted by whatever parts the first one most."""
    reader = csv.reader(io.StringIO(text), delimiter=_delimiter(text))
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _delimiter(text: str) -> str:
    return max(",;\t", key=text.lstrip("\r\n").partition("\n")[0].count)


def _columns(first: Cells) -> _Columns | None:
    names = [re.sub(r"[\s\-]+", "_", cell.strip().lower()) for cell in first]
    place = {key: next((names.index(name) for name in known if name in names), -1) for key, known in NAMES.items()}
    if place["class"] == place["image"]:
        place["class"] = -1
    sizes = (names.index("height"), names.index("width")) if {"height", "width"} <= set(names) else (-1, -1)
    difficult, crowd, split = (
        next((names.index(name) for name in known if name in names), -1)
        for known in (("difficult",), ("crowd", "iscrowd", "isgroupof"), ("split", "subset", "set"))
    )
    for keys in (CORNER_COLUMNS, ("box",), SIDE_COLUMNS, CENTRE_COLUMNS):
        at = tuple(place[key] for key in keys)
        if place["image"] >= 0 and min(at) >= 0:
            told = sizes if keys in (CORNER_COLUMNS, ("box",)) else (-1, -1)
            columns = _Columns(
                place["image"], at, keys == CORNER_COLUMNS, place["class"], difficult, crowd, split, told
            )
            return columns._replace(centred=keys == CENTRE_COLUMNS)
    numbers = sum(_is_number(cell) for cell in first[1:5])
    if len(first) == len(BARE) and (numbers == 4 or not any(first[1:])) and re.search(r"\.\w{3,4}$", first[0].strip()):
        return _Columns(0, (1, 2, 3, 4), True, 5, -1, -1, -1, (-1, -1))
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parse(path: Path) -> Parsed:
    text = read_text(path, limit=MAX_BYTES)
    try:
        rows = list(_cells(text))
    except csv.Error as error:
        broken(path, f"is not CSV: {error}")
    columns = _columns(rows[0][1]) if rows else None
    if columns is None:
        broken(path, "must have columns for the image and its box", line=1)
    rows = rows if _is_bare(rows[0][1]) else rows[1:]
    if _delimiter(text) != ",":
        rows = [(line, _with_points(cells, columns.box)) for line, cells in rows]
    titles, problems = _titles(path, columns, [cells for _, cells in rows])
    share = _are_shares(columns, [cells for _, cells in rows])
    grouped: dict[str, list[tuple[int, Cells]]] = defaultdict(list)
    strays = []
    for line, cells in rows:
        name = safe_text(cells[columns.image]).strip() if len(cells) > columns.image else ""
        if name:
            grouped[name].append((line, cells))
        else:
            strays.append(Problem(path, line, "names no image", "row-unreadable"))
    read = partial(_box, columns=columns, share=share, titles=titles)
    records = [_record(path, name, mine, columns, read) for name, mine in grouped.items()]
    written = CORNERS if columns.corners else CENTRES if columns.centred else SIDES
    return Parsed(records, strays=strays, problems=problems, written=written)


def _with_points(cells: Cells, box: Sequence[int]) -> Cells:
    """Return cells whose numbers of the box have points where they had decimal commas."""
    return [cell.replace(",", ".") if k in box and len(box) > 1 else cell for k, cell in enumerate(cells)]


def _is_bare(first: Cells) -> bool:
    return any(map(_is_number, first[1:5])) or not any(first[1:])


def _are_shares(columns: _Columns, rows: Sequence[Cells]) -> bool:
    """Tell whether boxes are parts of their images: not one number is above 1, and some are no whole ones."""
    texts = [cells[k] for cells in rows for k in columns.box if k < len(cells)] if len(columns.box) == 4 else []
    numbers = [float(text) for text in texts if _is_number(text)]
    return are_shares(numbers)


def _titles(path: Path, columns: _Columns, rows: Sequence[Cells]) -> tuple[dict[str, str], list[Problem]]:
    """Return the names that files beside give to what the table calls its classes, and what is wrong with these.

    Open Images has a table of names: /m/011k07,Tortoise. Where all classes are numbers, the names are those that YOLO's
    data.yaml or classes.txt list from 0.

    Raises:
        BrokenSampleError: numbers that count these names from 1.
    """
    if columns.label < 0:
        return {}, [Problem(path, 1, "no column names the class: every object is called 'object'", "class-unnamed")]
    files = sorted(path.parent.glob("*class*descriptions*.csv"))
    pairs = [row for file in files for _, row in _cells(read_text(file, limit=MAX_BYTES)) if len(row) == 2]
    used = {cells[columns.label].strip() for cells in rows if columns.label < len(cells)} - {""}
    if not used or not all(map(_NUMBER.fullmatch, used)):
        titles = {key.strip(): title.strip() for key, title in pairs if key.startswith("/m/")}
        bare = min((text for text in used if text.startswith("/m/") and text not in titles), default=None)
        what = f"no file beside names the class {bare}: fetch Open Images' class-descriptions-boxable.csv"
        return titles, [] if bare is None else [Problem(path, None, what, "class-unnamed")]
    known = named(contents(path.parent))
    if known is None:
        what = f"classes are numbers, as {min(used)}: these are their names. A classes.txt beside would name them"
        return {}, [Problem(path, None, what, "class-numbers")]
    numbers = {text: int(float(text)) for text in used}
    check_from_zero(path, known.classes, numbers.values())
    bare = min((text for text, number in numbers.items() if number not in known.classes), default=None)
    what = f"class {bare} is used, and names are told for {min(known.classes)} to {max(known.classes)}: it has none"
    problems = [] if bare is None else [Problem(path, None, what, "class-unnamed")]
    return {text: known.classes[number] for text, number in numbers.items() if number in known.classes}, problems


def _record(
    path: Path, name: str, rows: Sequence[tuple[int, Cells]], columns: _Columns, read: Callable[..., RawBox | None]
) -> Record:
    first = rows[0][1]
    height, width = (first[k] if 0 <= k < len(first) else None for k in columns.size)
    readers: list[tuple[Row, Reader]] = [(Row(path, line), partial(_call, read, line, cells)) for line, cells in rows]
    split = first[columns.split].strip() if 0 <= columns.split < len(first) else ""
    return Record(name, readers, size_in(height, width), line=rows[0][0], split=split.lower())


def _call(read: Callable[..., RawBox | None], line: int, cells: Cells, size: Size) -> RawBox | None:
    return read(line, cells, size)


def _box(
    line: int, cells: Cells, size: Size, *, columns: _Columns, share: bool, titles: Mapping[str, str]
) -> RawBox | None:
    texts = [cells[k].strip() if k < len(cells) else "" for k in columns.box]
    if not any(texts):
        return None
    if len(texts) == 1:
        texts = re.sub(r"[\[\](),;]+", " ", texts[0]).split()
    if len(texts) != 4:
        raise BadRowError(f"the box must be 4 numbers, got {' '.join(texts)[:60]!r}", "row-without-box")
    left, top, right, bottom = (number_in(text, "each edge of a box") for text in texts)
    if not columns.corners:
        left, top = (left - right / 2, top - bottom / 2) if columns.centred else (left, top)
        right, bottom = left + right, top + bottom
    if share:
        left, top, right, bottom = left * size[1], top * size[0], right * size[1], bottom * size[0]
    name = safe_text(cells[columns.label]).strip() if 0 <= columns.label < len(cells) else ""
    name = name if columns.label >= 0 else "object"
    flags = [
        0 <= k < len(cells) and cells[k].strip().lower() in ("1", "true") for k in (columns.difficult, columns.crowd)
    ]
    box = RawBox(titles.get(name, name), (left, top, right, bottom), line, difficult=flags[0], crowd=flags[1])
    return on_whole_pixels(box, size) if share else box


FILES: Final = SetFiles("csv", (".csv", ".tsv"), "CSV", _fits, _parse, inner=True)
look = FILES.look


# Writing

HEADER: Final = ("image", *CORNER_COLUMNS, "class", "difficult", "crowd")


def write_csv(file: Path | str, data: DetectionData) -> None:
    """Write one row a box, and one without a box for an image that shows nothing; no images are copied.

    Images are named by their place under ``data.root``.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for sample in data.samples:
        name = spreadsheet_safe(sample.path.relative_to(data.root).as_posix())
        flags = zip(sample.difficult.tolist(), sample.crowd.tolist(), strict=True)
        rows = zip(sample.boxes.tolist(), sample.labels.tolist(), flags, strict=True)
        for box, label, (difficult, crowd) in rows:
            edges = [json.dumps(edge) for edge in box]
            writer.writerow((name, *edges, spreadsheet_safe(data.classes[label]), int(difficult), int(crowd)))
        if not len(sample.boxes):
            writer.writerow((name, *[""] * (len(HEADER) - 1)))
    write_file(Path(file), text.getvalue().encode("utf-8", "surrogateescape"))
