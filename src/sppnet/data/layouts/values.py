"""Files of labels as text and JSON, and the values in them: read under limits, or named with what they should be."""

import codecs
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from sppnet.data.gathering import BadRowError, RawBox
from sppnet.data.problems import broken, unreadable
from sppnet.geometry import Size
from sppnet.storage import POINTER, PointerError, open_file, read_file

MAX_JSON_BYTES: Final = 2_000_000_000
GLANCE: Final = 200_000  # bytes at both ends of a file that its kind is told by
SHARE_STEP: Final = 1e-6  # that parts of an image are usually written to


def glance(path: Path) -> str:
    """Return both ends of a file as text, to tell its kind by; empty if it cannot be read."""
    try:
        with open_file(path) as file:
            head = file.read(GLANCE)
            size = file.seek(0, 2)
            file.seek(max(len(head), size - GLANCE))
            return decoded(head + file.read(GLANCE), "replace").lstrip("\ufeff \r\n\t")
    except PointerError:
        return POINTER.decode()
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
        unreadable(path, error)
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


def angle_in(value: object, what: str) -> float:
    """Return an angle, which may be written as a text; BadRowError where it is no finite number."""
    angle = number_in(value, what)
    if not math.isfinite(angle):
        raise BadRowError(f"{what} must be finite, got {value!r:.40}")
    return angle


def turned(edges: Sequence[float], turn: float) -> list[tuple[float, float]]:
    """Return the corners of a box [left, top, right, bottom] that is turned around its middle by radians."""
    left, top, right, bottom = edges
    x, y = (left + right) / 2, (top + bottom) / 2
    corners = [(left - x, top - y), (right - x, top - y), (right - x, bottom - y), (left - x, bottom - y)]
    cos, sin = math.cos(turn), math.sin(turn)
    return [(x + across * cos - down * sin, y + across * sin + down * cos) for across, down in corners]


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
