"""Boxes out of MATLAB files, strictly: level 5 files whose variables are cell arrays of numbers and of names.

Written for the regions that came with R-CNN and SPP-net. Every length is checked before it is used, compressed
parts are unpacked under a limit, and what is not understood is refused: readers that trust a file's lengths crash
on a damaged one.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sppnet.errors import CorruptFileError, DataError
from sppnet.storage import read_file

MAX_BYTES: Final = 1 << 30  # of a file: two thousand regions of each of 15,000 images
MAX_UNPACKED: Final = 1 << 30  # bytes of one variable that is asked for
RATIO: Final = 100  # of unpacked to packed bytes, above 16 MB: numbers of boxes come to less than 10
SMALL: Final = 1 << 24
NAMED_WITHIN: Final = 4096  # bytes of a variable, within which its name stands
HEADER: Final = 128
MATRIX, COMPRESSED = 14, 15
CELL, CHAR = 1, 4
NUMERIC_CLASSES: Final = range(6, 16)
NUMBERS: Final = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
TEXTS: Final = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}


class _Element(NamedTuple):
    kind: int
    content: memoryview


class _Array(NamedTuple):
    kind: int
    dims: tuple[int, ...]
    name: str
    parts: tuple[_Element, ...]


def read_cells(path: Path, names: tuple[str, ...]) -> dict[str, list[NDArray[np.float64] | str]]:
    """Read cell arrays of numeric matrices or of texts.

    Args:
        path: of a level 5 file, compressed or not, of either byte order.
        names: of the variables to read; other ones are skipped.
    Returns:
        By name, the cells in MATLAB's order (down the columns): (rows, columns) float64, or a text.
    Raises:
        DataError: it cannot be opened, or lacks one of the variables. CorruptFileError: anything else about it.
    """
    try:
        content = read_file(path, most=MAX_BYTES)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Give a MATLAB file.") from error
    try:
        found = _variables(memoryview(content), names)
    except (ValueError, zlib.error) as error:
        advice = "Save it again with: save('FILE', 'boxes', 'images', '-v7')"
        raise CorruptFileError(f"{path}: must be a MATLAB level 5 file, got a problem: {error}. {advice}.") from error
    missing = sorted(set(names) - set(found))
    if missing:
        raise DataError(f"{path}: holds no variable {', '.join(missing)}. Save it with these.")
    return found


def _variables(content: memoryview, names: tuple[str, ...]) -> dict[str, list[NDArray[np.float64] | str]]:
    mark = bytes(content[126:HEADER])
    if mark not in (b"IM", b"MI") or len(content) < HEADER:
        raise ValueError("its header has no mark of the byte order")
    order = "<" if mark == b"IM" else ">"
    found: dict[str, list[NDArray[np.float64] | str]] = {}
    for element in _elements(content[HEADER:], order, padded=False):
        whole = element
        if element.kind == COMPRESSED:
            if _name_in(element.content, order) not in names:
                continue
            (whole,) = _elements(_unpacked(element.content), order)
        if whole.kind != MATRIX:
            raise ValueError(f"an element of type {whole.kind} where a variable should be")
        array = _array(whole.content, order)
        if array.name in names:
            if array.kind != CELL:
                raise ValueError(f"the variable {array.name!r} is no cell array")
            found[array.name] = [_cell(part, order) for part in array.parts]
    return found


def _name_in(content: memoryview, order: str) -> str:
    """Return the name of a compressed variable, of which the beginning alone is unpacked."""
    head = memoryview(zlib.decompressobj().decompress(content, NAMED_WITHIN))[8:]
    parts: list[_Element] = []
    place = 0
    while len(parts) < 3 and place < len(head):  # the element of the array itself does not end here
        part, place = _element(head, place, order)
        parts.append(part)
    return bytes(parts[-1].content).decode("ascii", errors="strict") if len(parts) == 3 else ""


def _unpacked(content: memoryview) -> memoryview:
    unpacker = zlib.decompressobj()
    most = min(MAX_UNPACKED, max(SMALL, RATIO * len(content)))
    unpacked = unpacker.decompress(content, most)
    if not unpacker.eof:
        raise ValueError(f"a compressed part is cut off, or holds more than {most} bytes")
    return memoryview(unpacked)


def _elements(content: memoryview, order: str, *, padded: bool = True) -> Iterator[_Element]:
    """Yield the elements that lie one after the other, each checked to lie inside."""
    place = 0
    while place < len(content):
        element, place = _element(content, place, order, padded=padded)
        yield element


def _element(content: memoryview, place: int, order: str, *, padded: bool = True) -> tuple[_Element, int]:
    """Return the element at a place, and the place of the next one."""
    if place + 8 > len(content):
        raise ValueError("an element's tag is cut off")
    kind, size = (int(word) for word in np.frombuffer(content[place : place + 8], dtype=f"{order}u4"))
    start = place + 8
    if kind >> 16:  # the small form: type and size share a word, and at most 4 bytes follow
        kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
        if size > 4:
            raise ValueError("a small element claims more than 4 bytes")
        end, following = start + size, place + 8
    else:
        end = start + size
        following = end if kind == COMPRESSED or not padded else end + -size % 8
    if end > len(content):
        raise ValueError(f"an element claims {size} bytes where {len(content) - start} are left")
    return _Element(kind, content[start:end]), following


def _array(content: memoryview, order: str) -> _Array:
    parts = tuple(_elements(content, order))
    if len(parts) < 3 or len(parts[0].content) != 8:
        raise ValueError("an array lacks its flags, its size or its name")
    kind = int(np.frombuffer(parts[0].content, dtype=f"{order}u4")[0]) & 0xFF
    dims = tuple(int(side) for side in _numbers(parts[1], order))
    if len(dims) != 2 or min(dims) < 0:
        raise ValueError(f"an array of the size {dims}, which should be two numbers")
    if kind == CELL and len(parts) - 3 != dims[0] * dims[1]:
        raise ValueError(f"a cell array of {dims[0]} x {dims[1]} holds {len(parts) - 3} cells")
    return _Array(kind, dims, bytes(parts[2].content).decode("ascii", errors="strict"), parts[3:])


def _cell(element: _Element, order: str) -> NDArray[np.float64] | str:
    if element.kind != MATRIX:
        raise ValueError(f"an element of type {element.kind} in a cell")
    if not len(element.content):  # how MATLAB writes an empty cell
        return np.zeros((0, 0))
    array = _array(element.content, order)
    if len(array.parts) != 1:
        raise ValueError(f"a cell of {len(array.parts)} parts, which should be one: complex numbers are no boxes")
    if array.kind == CHAR:
        return _text(array.parts[0], order)
    if array.kind not in NUMERIC_CLASSES:
        raise ValueError(f"a cell of class {array.kind}, neither numbers nor text")
    values = _numbers(array.parts[0], order)
    rows, columns = array.dims
    if rows * columns != len(values):
        raise ValueError(f"a matrix of {rows} x {columns} holds {len(values)} numbers")
    return values.astype(np.float64).reshape(columns, rows).T


def _numbers(element: _Element, order: str) -> NDArray[np.generic]:
    if element.kind not in NUMBERS:
        raise ValueError(f"numbers of the unknown type {element.kind}")
    kind = np.dtype(order + NUMBERS[element.kind])
    if len(element.content) % kind.itemsize:
        raise ValueError("a number is cut off")
    return np.frombuffer(element.content, dtype=kind)


def _text(element: _Element, order: str) -> str:
    if element.kind not in TEXTS:
        raise ValueError(f"a text of the unknown type {element.kind}")
    encoding = TEXTS[element.kind]
    return bytes(element.content).decode(encoding + ({"<": "-le", ">": "-be"}[order] if encoding == "utf-16" else ""))
