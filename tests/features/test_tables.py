"""Features in files: whatever the form, what is read back is what was written."""

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sppnet.errors import ArgumentError, MissingExtraError
from sppnet.features.tables import EDGES, FORMS, PARQUET, check_form, write_features
from sppnet.pipeline.parts import check_pyarrow
from sppnet.proposals.files import FileProposals
from sppnet.storage import read_tensors

Table = tuple[list[str], Any, Any]  # the image's name of each region, regions (R, 4), features (R, D)


def _from_safetensors(file: Path) -> Table:
    tensors, metadata = read_tensors(file)
    assert metadata["layer"] == "stride16"
    names = [metadata["images"][index] for index in tensors["image"].tolist()]
    return names, tensors["regions"].numpy(), tensors["features"].numpy()


def _from_npz(file: Path) -> Table:
    with np.load(file, allow_pickle=False) as arrays:
        return arrays["images"][arrays["image"]].tolist(), arrays["regions"], arrays["features"]


def _from_csv(file: Path) -> Table:
    with file.open(encoding="utf-8", newline="") as lines:
        header, *rows = csv.reader(lines)
    width = len(header) - 5
    assert header == ["image", *EDGES, *(f"f{column}" for column in range(width))]
    values = np.array([row[1:] for row in rows], dtype=np.float64).reshape(len(rows), 4 + width)
    return [row[0] for row in rows], values[:, :4], values[:, 4:].astype(np.float32)


READERS: dict[str, Callable[[Path], Table]] = {
    ".safetensors": _from_safetensors,
    ".npz": _from_npz,
    ".csv": _from_csv,
}


@pytest.mark.parametrize("form", READERS)
@given(counts=st.lists(st.integers(0, 3), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_what_was_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, form: str, counts: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    images = [f'b,{place} "x"\u00e9.png' for place in reversed(range(len(counts)))]  # neither sorted nor plain
    boxes = [rng.uniform(0, 500, (count, 4)) for count in counts]
    vectors = rng.normal(size=(sum(counts), 3)).astype(np.float32)
    file = tmp_path_factory.mktemp("tables") / f"rows{form}"
    write_features(file, images, boxes, vectors, {"layer": "stride16"})
    names, regions, features = READERS[form](file)
    assert names == [name for name, count in zip(images, counts, strict=True) for _ in range(count)]
    np.testing.assert_array_equal(regions, np.concatenate(boxes))
    if sum(counts):
        np.testing.assert_array_equal(features, vectors)


@pytest.mark.parametrize("form", [".npz", ".safetensors"])
def test_images_without_a_region_stay_and_in_their_order(tmp_path: Path, form: str) -> None:
    file, none = tmp_path / f"rows{form}", np.zeros((0, 4))
    write_features(file, ["c", "b", "a"], [none, np.ones((1, 4)), none], np.ones((1, 2), np.float32), {"layer": "x"})
    if form == ".npz":
        with np.load(file) as arrays:
            names, index = arrays["images"].tolist(), arrays["image"].tolist()
    else:
        tensors, metadata = read_tensors(file)
        names, index = metadata["images"], tensors["image"].tolist()
    assert (names, index) == (["c", "b", "a"], [1])


def test_a_table_runs_no_name_as_a_formula_and_is_read_as_regions(tmp_path: Path) -> None:
    name, boxes = "=1+1.png", np.array([[1.0, 2.0, 30.0, 40.0]])
    write_features(tmp_path / "rows.csv", [name], [boxes], np.ones((1, 2), np.float32), {})
    assert (tmp_path / "rows.csv").read_text().splitlines()[1].startswith("'=1+1.png,")
    np.testing.assert_array_equal(FileProposals(tmp_path / "rows.csv").of(name, (100, 100)), boxes)


def test_npy_holds_the_features_alone(tmp_path: Path) -> None:
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_features(tmp_path / "rows.npy", ["a.png"], [np.zeros((2, 4))], vectors, {})
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy", allow_pickle=False), vectors)


def test_every_form_but_parts_is_read_here() -> None:
    assert {*READERS, ".npy", PARQUET} == set(FORMS)


def test_another_suffix_is_refused() -> None:
    with pytest.raises(ArgumentError) as refused:
        check_form(Path("rows.xlsx"))
    expected = "a file .safetensors, .npz, .npy, .csv, .parquet, got rows.xlsx. Name the file features.safetensors"
    assert str(refused.value) == f"features: out must be {expected}, for one."


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sppnet\[parquet\]'"):
        check_pyarrow()
