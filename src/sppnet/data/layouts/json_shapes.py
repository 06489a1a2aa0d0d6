"""JSON that labelling tools write: LabelMe, Supervisely, CreateML (Roboflow, Apple), VGG Image Annotator.

Boxes are taken as they are, in pixels from 0; of a polygon or circle the box around it is taken, and a polygon is kept
as the outline. Points and lines are no objects: they are left out and named.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from sppnet.data.gathering import BadRowError, RawBox, Row
from sppnet.data.layouts.records import ImageFiles, Parsed, Reader, Record, SetFiles
from sppnet.data.layouts.values import (
    around,
    glance,
    has_keys,
    number_in,
    outlined,
    pairs_in,
    read_json,
    size_in,
    text_in,
)
from sppnet.data.misreading import CENTRES
from sppnet.data.problems import Problem, broken
from sppnet.errors import counted
from sppnet.geometry import Size

Json = dict[str, Any]
NO_BOX: Final = "is no box or polygon; it is left out"


def _rows(source: Path, shapes: object, what: str, read: Any) -> list[tuple[Row, Reader]]:
    """Return a row for each shape of a list; BrokenSampleError where it is no list."""
    if not isinstance(shapes, list):
        broken(source, f"must hold a list named {what}")
    return [(Row(source, where=f"{what} {k}"), partial(_read, read, shape)) for k, shape in enumerate(shapes, start=1)]


def _read(read: Any, shape: object, size: Size) -> RawBox | None:
    if not isinstance(shape, dict):
        raise BadRowError(f"must be a record, got {shape!r:.60}")
    box: RawBox | None = read(shape, size)
    return box


def _boxed(name: str, edges: Sequence[float]) -> RawBox:
    left, top, right, bottom = edges
    return RawBox(name, (left, top, right, bottom))


# LabelMe


def _labelme(path: Path) -> Record:
    document = read_json(path)
    if not isinstance(document, dict):
        broken(path, "must hold shapes")
    rows = _rows(path, document.get("shapes"), "shapes", _labelme_box)
    size = size_in(document.get("imageHeight"), document.get("imageWidth"))
    held = f"; the file itself holds it: jq -r .imageData '{path.name}' | base64 -d > '{path.stem}.jpg' writes it out"
    return Record(text_in(document, "imagePath"), rows, size, inside=held if document.get("imageData") else "")


def _labelme_box(shape: Json, _: Size) -> RawBox:
    kind = shape.get("shape_type", "polygon")
    points = pairs_in(shape.get("points"), "points")
    name = text_in(shape, "label")
    if kind == "circle" and len(points) == 2:
        (x, y), (on_x, on_y) = points
        radius = math.hypot(on_x - x, on_y - y)
        points = [(x - radius, y - radius), (x + radius, y + radius)]
    elif kind in ("polygon", "rotation", "rotated_rectangle", "oriented_rectangle"):
        return outlined(name, points)
    elif kind not in ("rectangle", "mask"):
        raise BadRowError(f"a {kind!r:.30} {NO_BOX}", "shape-left-out")
    return _boxed(name, around(points))


LABELME: Final = ImageFiles(
    "labelme", ".json", "LabelMe JSON files", lambda path: has_keys(glance(path), "shapes"), _labelme
)


# Supervisely: ann/<image's name>.json


def _supervisely(path: Path) -> Record:
    document = read_json(path)
    if not isinstance(document, dict):
        broken(path, "must hold objects")
    size = document.get("size")
    told = size_in(size.get("height"), size.get("width")) if isinstance(size, dict) else None
    return Record(path.stem, _rows(path, document.get("objects"), "objects", _supervisely_box), told)


def _supervisely_box(shape: Json, _: Size) -> RawBox:
    points = shape.get("points")
    if shape.get("geometryType", "rectangle") not in ("rectangle", "polygon") or not isinstance(points, dict):
        raise BadRowError(f"a {text_in(shape, 'geometryType')!r} {NO_BOX}", "shape-left-out")
    exterior, name = pairs_in(points.get("exterior"), "exterior"), text_in(shape, "classTitle")
    return outlined(name, exterior) if shape.get("geometryType") == "polygon" else _boxed(name, around(exterior))


SUPERVISELY: Final = ImageFiles(
    "supervisely",
    ".json",
    "Supervisely JSON files",
    lambda path: has_keys(glance(path), "objects", "size") and not has_keys(glance(path), "images"),
    _supervisely,
)


# CreateML: centres and sides in pixels


def _createml(path: Path) -> Parsed:
    document = read_json(path)
    if not isinstance(document, list) or not all(isinstance(row, dict) for row in document):
        broken(path, "must hold a list of images")
    records, strays = [], []
    for place, row in enumerate(document, start=1):
        name = text_in(row, "image") or text_in(row, "imagefilename") or text_in(row, "filename")
        shapes = row.get("annotations", row.get("annotation", []))
        if not name or not isinstance(shapes, list):
            strays.append(
                Problem(path, None, f"image {place}: must have a name and a list of annotations", "labels-unreadable")
            )
            continue
        records.append(Record(name, _rows(path, shapes, f"image {name!r:.60}: annotations", _createml_box)))
    return Parsed(records, strays=strays, written=CENTRES)


def _createml_box(shape: Json, _: Size) -> RawBox:
    sides = shape.get("coordinates")
    if not isinstance(sides, dict):
        raise BadRowError(f"coordinates must be x, y, width, height, got {sides!r:.60}", "row-without-box")
    x, y, width, height = (number_in(sides.get(key), key) for key in ("x", "y", "width", "height"))
    return _boxed(text_in(shape, "label"), (x - width / 2, y - height / 2, x + width / 2, y + height / 2))


CREATEML: Final = SetFiles(
    "createml",
    (".json",),
    "CreateML JSON",
    lambda path: glance(path).startswith("[") and has_keys(glance(path), "coordinates", "label"),
    _createml,
)


# VGG Image Annotator

CLASS_ATTRIBUTES: Final = ("class", "label", "category", "species", "type", "object", "name")  # the likeliest first
CHOSEN_FROM: Final = ("dropdown", "radio", "checkbox")  # kinds of attributes that a class is usually chosen from


def _via(path: Path) -> Parsed:
    document = read_json(path)
    inner = document.get("_via_img_metadata", document) if isinstance(document, dict) else None
    if not isinstance(inner, dict):
        broken(path, "must hold images with regions")
    regions = [_regions(row) for row in inner.values() if isinstance(row, dict)]
    shapes = [shape for each in regions if isinstance(each, list) for shape in each]
    attribute, problems = _class_attribute(path, document, shapes)
    read = partial(_via_box, attribute=attribute)
    records = []
    for key, row in inner.items():
        if isinstance(row, dict) and text_in(row, "filename"):
            name = text_in(row, "filename")
            records.append(Record(name, _rows(path, _regions(row), f"image {name!r:.60}: regions", read)))
        elif isinstance(row, dict) and "regions" in row:
            broken(path, f"{key!r:.40}: filename must be a name")
    return Parsed(records, problems=problems)


def _regions(row: Json) -> Any:
    regions = row.get("regions", [])
    return list(regions.values()) if isinstance(regions, dict) else regions


def _class_attribute(path: Path, document: Json, shapes: Sequence[object]) -> tuple[str | None, list[Problem]]:
    """Return which attribute of the regions names the class, None where none names anything, and what to say of it.

    Of several that hold texts, the name tells, then whether it is one of the project's that are chosen from a list.
    """
    told = [shape["region_attributes"] for shape in shapes if isinstance(shape, dict) and "region_attributes" in shape]
    told = [attributes for attributes in told if isinstance(attributes, dict)]
    names = list(dict.fromkeys(name for attributes in told for name, value in attributes.items() if _choices(value)))
    if not names:
        return None, []
    kinds = document.get("_via_attributes")
    kinds = kinds.get("region") if isinstance(kinds, dict) else None
    ranks = {name: _rank(name, kinds.get(name) if isinstance(kinds, dict) else None) for name in names}
    chosen = min(names, key=lambda name: ranks[name])
    others = ", ".join(repr(name)[:60] for name in names if name != chosen)
    unsure = sum(rank == ranks[chosen] for rank in ranks.values()) > 1
    what = f"the attribute {chosen!r:.60} of the regions is taken for the class, and not {others}"
    advice = ". If that is wrong, rename the right one to 'class'" if unsure else ""
    code = "class-attribute-unsure" if unsure else "class-attribute"
    problems = [Problem(path, None, what + advice, code)] if others else []
    several = sum(len(_choices(attributes.get(chosen))) > 1 for attributes in told)
    what = f"{counted(several, 'region')} with several choices of {chosen!r:.60}: the first is taken for the class"
    return chosen, [*problems, *([Problem(path, None, what, "class-attribute-unsure")] if several else [])]


def _rank(name: str, kind: object) -> tuple[int, bool]:
    plain = name.strip().lower()
    usual = CLASS_ATTRIBUTES.index(plain) if plain in CLASS_ATTRIBUTES else len(CLASS_ATTRIBUTES)
    return usual, not (isinstance(kind, dict) and kind.get("type") in CHOSEN_FROM)


def _via_box(shape: Json, _: Size, *, attribute: str | None) -> RawBox:
    form, told = shape.get("shape_attributes"), shape.get("region_attributes")
    if not isinstance(form, dict) or not isinstance(told, dict):
        raise BadRowError("must have shape_attributes and region_attributes", "row-without-box")
    unnamed = "object" if attribute is None and not told else ""
    name = next(iter(_choices(told.get(attribute))), unnamed)
    kind = form.get("name")
    if kind == "rect":
        x, y, width, height = (number_in(form.get(key), key) for key in ("x", "y", "width", "height"))
        return _boxed(name, (x, y, x + width, y + height))
    if kind in ("circle", "ellipse"):
        x, y = number_in(form.get("cx"), "cx"), number_in(form.get("cy"), "cy")
        across = number_in(form.get("r", form.get("rx")), "r")
        down = number_in(form.get("r", form.get("ry")), "r")
        return _boxed(name, (x - across, y - down, x + across, y + down))
    across_points, down_points = form.get("all_points_x"), form.get("all_points_y")
    if kind != "polygon" or not isinstance(across_points, list) or not isinstance(down_points, list):
        raise BadRowError(f"a {kind!r:.30} {NO_BOX}", "shape-left-out")
    points = [[x, y] for x, y in zip(across_points, down_points, strict=False)]
    return outlined(name, pairs_in(points, "all_points"))


def _choices(value: object) -> list[str]:
    """Return what the value of an attribute names: a text or number, or of several choices those that are made."""
    if isinstance(value, Mapping):
        return [str(key) for key, chosen in value.items() if chosen is True]
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return [text] if text else []


VIA: Final = SetFiles(
    "via",
    (".json",),
    "VGG Image Annotator's JSON",
    lambda path: has_keys(glance(path), "shape_attributes", "filename"),
    _via,
)
