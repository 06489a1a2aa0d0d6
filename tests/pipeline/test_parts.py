"""Tables in parts: names tell what they are made of, files are whole or not there."""

from pathlib import Path

import pytest

from sppnet.errors import CorruptFileError
from sppnet.pipeline import Bad
from sppnet.pipeline.parts import ImageFile, PartFiles, Table, write_part

parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'sppnet[parquet]'")

TABLE = Table({"image": "text", "left": "number", "row": "vector"}, lambda name, answer: [(name, answer, [answer] * 2)])


def _files(folder: Path, versions: str, run: str = "a") -> PartFiles:
    images = [ImageFile(f"{number}.png", version) for number, version in enumerate(versions)]
    return PartFiles(folder, images, {"model": run}, size=2)


def test_what_is_missing_is_what_was_not_written(tmp_path: Path) -> None:
    files = _files(tmp_path, "xxxxx")
    assert [part.images for part in files.missing()] == [("0.png", "1.png"), ("2.png", "3.png"), ("4.png",)]
    write_part(tmp_path, TABLE, files.parts[1], [2.0, None])
    assert _files(tmp_path, "xxxxx").missing() == [files.parts[0], files.parts[2]]
    assert len(_files(tmp_path, "xxxyx").missing()) == 3  # an image of that part changed
    assert len(_files(tmp_path, "xxxxx", "b").missing()) == 3


def test_others_are_removed_and_foreign_files_stay(tmp_path: Path) -> None:
    for part in _files(tmp_path, "xxxxx").parts:
        write_part(tmp_path, TABLE, part, [1.0] * len(part.images))
    (tmp_path / "mine.parquet").write_bytes(b"")
    files = _files(tmp_path, "xx")
    write_part(tmp_path, TABLE, files.parts[0], [1.0, 2.0])
    files.remove_others()
    assert {path.name for path in tmp_path.iterdir()} == {files.parts[0].name, "mine.parquet"}


def test_rows_keep_their_types_and_bad_images_are_told(tmp_path: Path) -> None:
    (part,) = _files(tmp_path, "xx").parts
    assert write_part(tmp_path, TABLE, part, [Bad("0.png", "no image"), None]) == [Bad("0.png", "no image")]
    table = parquet.read_table(tmp_path / part.name)
    assert [str(kind) for kind in table.schema.types] == ["string", "double", "list<element: float>"]
    assert table.column("image").to_pylist() == ["1.png"]
    first = (tmp_path / part.name).read_bytes()
    write_part(tmp_path, TABLE, part, [Bad("0.png", "no image"), None])
    assert (tmp_path / part.name).read_bytes() == first


def test_a_part_tells_what_could_not_be_read(tmp_path: Path) -> None:
    files, bad = _files(tmp_path, "xxx"), Bad("0 \udcff.png", "no image")
    assert files.unread() == []
    write_part(tmp_path, TABLE, files.parts[1], [None])
    assert write_part(tmp_path, TABLE, files.parts[0], [bad, 1.0], skip=False) == [bad]
    assert files.missing() == [files.parts[0]]
    write_part(tmp_path, TABLE, files.parts[0], [bad, 1.0])
    assert _files(tmp_path, "xxx").unread() == [bad]
    assert _files(tmp_path, "yxx").unread() == []  # what it was is no longer asked for


def test_parts_in_object_storage_tell_it_too() -> None:
    pytest.importorskip("fsspec")
    files = PartFiles("memory://unread", [ImageFile("0.png", "")], {})
    write_part(files.folder, TABLE, files.parts[0], [Bad("0.png", "no image")])
    assert files.unread() == [Bad("0.png", "no image")]


def test_a_part_that_is_not_whole_is_named(tmp_path: Path) -> None:
    files = _files(tmp_path, "x")
    (tmp_path / files.parts[0].name).write_bytes(b"no table")
    with pytest.raises(CorruptFileError, match=rf"{files.parts[0].name}: must be a whole Parquet file, got .* Remove"):
        files.unread()
