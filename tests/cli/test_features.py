"""``features`` from regions of a file: what is not used of them is said, and rows are named as those of ``predict``."""

import csv
from pathlib import Path

from tests.cli.conftest import Run
from tests.data.drawing import image, text


def test_regions_that_are_lost_or_cut_are_told_with_their_line(run: Run, tmp_path: Path) -> None:
    for number in range(2):
        image(tmp_path / f"in/{number}.jpg", number)
    rows = ("0.jpg,0,0,9,9", "0.jpg,100,90,200.5,150", "8.jpg,0,0,9,9", "1.jpg,-7,0,9,9", "9.jpg,0,0,9,9")
    regions = text(tmp_path / "regions.csv", "image,left,top,right,bottom\n" + "\n".join(rows))
    words = ["--regions", regions, "--short-side", "64", "--cache", tmp_path / "cache"]
    done = run("features", tmp_path / "in", "--out", tmp_path / "rows.csv", *words)
    assert done.returncode == 0, done.stderr
    lost = f"{regions}:4: the image '8.jpg' is not among those given (1 more like this): its regions are left out."
    cut = f"{regions}:3: the region reaches out of 0.jpg, of 160 x 120 pixels (1 more like this): what is"
    assert f"Warning: {lost}" in done.stderr
    assert f"Warning: {cut} outside is cut off." in done.stderr
    text(regions, "image,left,top,right,bottom\n0.jpg,0,0,9,9\n1.jpg,0,0,160.5,120\n")
    quiet = run("features", tmp_path / "in", "--out", tmp_path / "rows.csv", *words)
    assert "Warning" not in quiet.stderr


def test_rows_are_named_as_those_of_predict(run: Run, model: Path, tmp_path: Path) -> None:
    for number, place in enumerate(("a/1.jpg", "b/=2.jpg")):
        image(tmp_path / "in" / place, number)
    cache = ("--cache", tmp_path / "cache")
    words = ["--out", tmp_path / "out", "--format", "csv", *cache]
    assert run("predict", model, tmp_path / "in", *words).returncode == 0
    assert (
        run("features", tmp_path / "in", "--out", tmp_path / "rows.csv", "--short-side", "64", *cache).returncode == 0
    )
    names = []
    for file in (tmp_path / "out/counts.csv", tmp_path / "rows.csv"):
        with file.open(encoding="utf-8", newline="") as lines:
            names.append([row["image"] for row in csv.DictReader(lines)])
    assert names[0] == names[1] == ["a/1.jpg", "b/=2.jpg"]
