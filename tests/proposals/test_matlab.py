"""MATLAB files: what scipy writes is read, what is damaged is refused, and nothing crashes."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sppnet.errors import CorruptFileError, DataError
from sppnet.proposals import matlab
from sppnet.proposals.files import FileProposals, read_regions
from sppnet.proposals.matlab import read_cells

savemat = pytest.importorskip("scipy.io").savemat  # it comes with scikit-learn
NAMES = ("boxes", "images")


def _cells(*values: Any) -> np.ndarray[Any, Any]:
    cells = np.empty((1, len(values)), dtype=object)
    cells[0] = values
    return cells


def _written(path: Path, *, compressed: bool = True, **others: Any) -> Path:
    boxes = _cells(np.array([[2.0, 1, 40, 30], [6, 5, 8, 7]]), np.array([[4, 3, 9, 9]], dtype=np.uint16))
    variables = {"boxes": boxes, "images": _cells("000005", "é7").T, "note": "x", "number": 3.0} | others
    savemat(path, variables, do_compression=compressed)
    return path


@pytest.mark.parametrize("compressed", [True, False])
def test_cells_are_read(tmp_path: Path, compressed: bool) -> None:
    cells = read_cells(_written(tmp_path / "a.mat", compressed=compressed), NAMES)
    assert cells["images"] == ["000005", "é7"]
    np.testing.assert_array_equal(cells["boxes"][0], [[2, 1, 40, 30], [6, 5, 8, 7]])
    np.testing.assert_array_equal(cells["boxes"][1], [[4, 3, 9, 9]])


@pytest.mark.parametrize("kind", ["f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_every_kind_of_number_is_read(tmp_path: Path, kind: str) -> None:
    matrix = np.arange(12).reshape(3, 4).astype(kind)
    cells = read_cells(_written(tmp_path / "a.mat", boxes=_cells(matrix, np.zeros((0, 4)))), ("boxes",))
    np.testing.assert_array_equal(cells["boxes"][0], matrix)
    assert cells["boxes"][1].size == 0


def test_the_other_byte_order_is_read(tmp_path: Path) -> None:
    """The same words turned round, of a file with nothing but 8-byte numbers and one name of 5 letters."""
    savemat(tmp_path / "a.mat", {"boxes": _cells(np.array([[1.5, 2]]))})
    content = (tmp_path / "a.mat").read_bytes()

    def turned(start: int, end: int, word: int) -> bytes:
        return b"".join(content[place : place + word][::-1] for place in range(start, end, word))

    header = content[:124] + turned(124, 126, 2) + b"MI"
    outer = turned(128, 152, 4) + turned(152, 168, 4) + turned(168, 176, 4) + content[176:184]
    rest = content[184:]
    inner = b"".join(rest[place : place + 4][::-1] for place in range(0, len(rest) - 16, 4))
    numbers = b"".join(rest[place : place + 8][::-1] for place in range(len(rest) - 16, len(rest), 8))
    (tmp_path / "b.mat").write_bytes(header + outer + inner + numbers)
    np.testing.assert_array_equal(read_cells(tmp_path / "b.mat", ("boxes",))["boxes"][0], [[1.5, 2]])


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.slow
def test_damaged_files_are_refused_or_read(tmp_path: Path, compressed: bool) -> None:
    content = _written(tmp_path / "a.mat", compressed=compressed).read_bytes()
    rng, broken = np.random.default_rng(0), tmp_path / "broken.mat"
    refused = 0
    for turn in range(1500):
        damaged = bytearray(content)
        for place in rng.integers(124, len(content), rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        broken.write_bytes(damaged[: rng.integers(len(content))] if turn % 3 == 0 else damaged)
        try:
            read_cells(broken, NAMES)
        except (CorruptFileError, DataError):
            refused += 1
    assert refused > 700


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _written(tmp_path / "a.mat", boxes=_cells(np.zeros((4000, 4))))
    monkeypatch.setattr(matlab, "MAX_UNPACKED", 10_000)
    with pytest.raises(CorruptFileError, match="holds more than 10000 bytes"):
        read_cells(path, NAMES)


def test_a_bomb_of_a_megabyte_is_refused_by_its_ratio_and_skipped_where_nobody_asked(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.mat", boxes=_cells(np.zeros((4_000_000, 4))))  # 128 MB in 128 KB
    assert path.stat().st_size < 1_000_000
    with pytest.raises(CorruptFileError, match=f"holds more than {matlab.SMALL} bytes"):
        read_cells(path, NAMES)
    assert read_cells(path, ("images",))["images"]


def test_messages(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.mat: No such file or directory\. Give a MATLAB file\."):
        read_cells(tmp_path / "none.mat", NAMES)
    with pytest.raises(DataError, match=r"holds no variable regions\. Save it with these\."):
        read_cells(_written(tmp_path / "a.mat"), ("regions",))
    with pytest.raises(CorruptFileError, match=r"must be a MATLAB level 5 file, got a problem: the variable"):
        read_cells(tmp_path / "a.mat", ("number",))
    (tmp_path / "text.mat").write_text("x" * 200)
    with pytest.raises(CorruptFileError, match=r"no mark of the byte order\. Save it again with: save\("):
        read_cells(tmp_path / "text.mat", NAMES)


def test_regions_of_the_authors_files(tmp_path: Path) -> None:
    """Rows are top, left, bottom, right from 1 with ends included; names go without suffix."""
    proposals = FileProposals(_written(tmp_path / "regions.mat"))
    found = proposals.of("000005.jpg", (50, 50))
    np.testing.assert_array_equal(found, [[0, 1, 30, 40], [4, 5, 7, 8]])


def test_regions_that_are_none_are_refused(tmp_path: Path) -> None:
    upside_down = _cells(np.array([[40.0, 1, 2, 30]]), np.zeros((0, 4)))
    with pytest.raises(DataError, match=r"\[0\.0, 39\.0, 30\.0, 2\.0\], of the image '000005', is no box"):
        read_regions(_written(tmp_path / "a.mat", boxes=upside_down))
    with pytest.raises(DataError, match=r"holds 2 names for 1 lists of boxes\. Save one list a name\."):
        read_regions(_written(tmp_path / "a.mat", boxes=_cells(np.zeros((1, 4)))))
    with pytest.raises(DataError, match=r"images must hold names, and boxes rows of 4 numbers"):
        read_regions(_written(tmp_path / "a.mat", boxes=_cells(np.zeros((1, 3)), np.zeros((0, 4)))))


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '[{"image_id": 1, "bbox": [0, 0, 1, ' + "9" * 400 + "]}]",
        '[{"image_id": 1, "bbox": [0, 0, 1, ' + "9" * 5000 + "]}]",
        '[{"image_id": [], "bbox": [0, 0, 1, 1]}]',
        '{"images": 3, "annotations": []}',
    ],
)
def test_hostile_json_is_one_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=r"a\.json: must be COCO results"):
        read_regions(tmp_path / "a.json")


@pytest.mark.parametrize("suffix", [".csv", ".json", ".mat"])
def test_a_pipe_is_no_file_of_regions(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"a{suffix}")
    with pytest.raises(DataError, match="it is a pipe or a device, not a regular file"):
        read_regions(tmp_path / f"a{suffix}")
