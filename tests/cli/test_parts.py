"""``predict --shard``: parts that, put together, are what the whole is; a part without images is one too."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.conftest import Run
from tests.data.drawing import image, text

from sppnet import Classifier, Detector, FileProposals


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of four images: in each half two of one folder, and the first two are called the same."""
    root = tmp_path_factory.mktemp("cameras")
    for number, name in enumerate(("cam1/1.jpg", "cam2/1.jpg", "cam1/2.jpg", "cam2/3.jpg")):
        image(root / name, number)
    return root


@pytest.fixture(scope="module")
def given(cameras: Path) -> list[Path]:
    """Return the four, and one that cannot be read, in another folder: every second one is of one folder."""
    bad = text(cameras / "cam3/bad.jpg", "no image")
    return [*(cameras / name for name in ("cam1/1.jpg", "cam2/1.jpg", "cam1/2.jpg", "cam2/3.jpg")), bad]


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("kind", ["detector", "classifier"])
def test_tables_of_parts_are_joined_to_that_of_the_whole(
    run: Run, model: Path, given: list[Path], tmp_path: Path, kind: str
) -> None:
    if kind == "classifier":
        model = tmp_path / "classifier.safetensors"
        Classifier.imagenet(short_side=64).save(model)
    command = ["predict", model, *given, "--format", "csv", "--cache", tmp_path / "cache", "--out"]
    for out, options in (("whole", []), ("parts", ["--shard", "1/2"]), ("parts", ["--shard", "2/2"])):
        assert run(*command, tmp_path / out, *options).returncode == 0
    for name in ("detections.csv", "counts.csv") if kind == "detector" else ("classes.csv",):
        whole = _rows(tmp_path / "whole" / name)
        parts = [row for part in (1, 2) for row in _rows(tmp_path / f"parts/part-{part}-of-2" / name)]
        assert sorted(parts, key=lambda row: row["image"]) == sorted(whole, key=lambda row: row["image"])
        assert {row["image"] for row in whole} == {"cam1/1.jpg", "cam2/1.jpg", "cam1/2.jpg", "cam2/3.jpg"}


def test_coco_and_drawings_of_parts_have_the_names_of_the_whole(
    run: Run, model: Path, given: list[Path], tmp_path: Path
) -> None:
    command = ["predict", model, *given, "--format", "coco", "--draw", "--cache", tmp_path / "cache", "--out", tmp_path]
    drawn, named = set(), set()
    for part in (1, 2):
        assert run(*command, "--shard", f"{part}/2").returncode == 0
        out = tmp_path / f"part-{part}-of-2"
        drawn |= {path.name for path in out.glob("*.jpg")}
        named |= {each["file_name"] for each in json.loads((out / "detections.coco.json").read_text())["images"]}
    names = {"cam1/1.jpg", "cam2/1.jpg", "cam1/2.jpg", "cam2/3.jpg"}
    assert named == names
    assert drawn == {f"{name.replace('/', '_')}.detections.jpg" for name in names}


def test_rows_of_features_are_named_from_all_that_were_given(run: Run, given: list[Path], tmp_path: Path) -> None:
    some = [given[0], given[-1]]  # of which the second cannot be read
    words = ["--out", tmp_path / "rows.csv", "--short-side", "64", "--cache", tmp_path / "cache"]
    assert run("features", *some, *words).returncode == 0
    assert [row["image"] for row in _rows(tmp_path / "rows.csv")] == ["cam1/1.jpg"]


def test_what_may_be_confused_among_all_images_is_refused_of_every_part(
    run: Run, model: Path, given: list[Path], tmp_path: Path
) -> None:
    regions = text(tmp_path / "regions.csv", "image,left,top,right,bottom\n1.jpg,0,0,40,40\n")
    detector = Detector.load(model)
    detector._model = replace(detector.model_, proposals=FileProposals(regions))
    detector.save(tmp_path / "regions.safetensors")
    command = ["--out", tmp_path / "out", "--cache", tmp_path / "cache", "--shard", "2/2"]
    voc = run("predict", model, *given, "--format", "voc", *command)
    assert (voc.returncode, "got 2 images named '1'. Choose another" in voc.stderr) == (2, True)
    for form in ("json", "parquet"):
        done = run("predict", tmp_path / "regions.safetensors", *given[:2], "--format", form, *command)
        assert f"'1.jpg' may mean {given[0]} and {given[1]}. Write their paths." in done.stderr
        assert done.returncode == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["json", "jsonl", "coco", "voc", "csv"])
def test_a_part_without_images_writes_files_without_rows(run: Run, model: Path, tmp_path: Path, form: str) -> None:
    image(tmp_path / "1.jpg")
    command = ["predict", model, tmp_path / "1.jpg", "--format", form, "--draw", "--out", tmp_path / "out"]
    done = run(*command, "--shard", "2/3", "--json")
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    assert "The part 2/3 has no images: 1 image for 3 parts. Its files are empty." in done.stderr
    out = tmp_path / "out/part-2-of-3"
    assert (out / "counts.csv").read_text() == "image,total\n"
    contents = {
        "detections.json": "[]\n",
        "detections.jsonl": "",
        "detections.coco.json": '{\n "images": [],\n "annotations": [],\n "categories": []\n}\n',
        "ImageSets/Main/predictions.txt": "",
        "detections.csv": "image,left,top,right,bottom,class,confidence\n",
    }
    (file,) = (name for name in contents if (out / name).is_file())
    assert (out / file).read_text() == contents[file]
    assert not list(out.glob("*.partial.*"))


def test_a_classifiers_part_without_images_writes_a_table_without_rows(run: Run, tmp_path: Path) -> None:
    image(tmp_path / "1.jpg")
    Classifier.imagenet(short_side=64).save(tmp_path / "model")
    command = ["predict", tmp_path / "model", tmp_path / "1.jpg", "--format", "csv", "--out", tmp_path / "out"]
    assert run(*command, "--shard", "2/2", "--workers", "2").returncode == 0
    assert (tmp_path / "out/part-2-of-2/classes.csv").read_text() == "image,class,confidence\n"


def test_parquet_without_images_is_a_table_without_rows(run: Run, model: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'sppnet[parquet]'")
    image(tmp_path / "1.jpg")
    command = ["predict", model, tmp_path / "1.jpg", "--format", "parquet", "--out", tmp_path / "out"]
    for _ in range(2):
        done = run(*command, "--shard", "3/3")
        assert done.returncode == 0, done.stderr
        assert "The part 3/3 has no images: 1 image for 3 parts." in done.stderr
        assert done.stdout.endswith("detections.parquet: 0 images in 1 part\n")
    table = parquet.read_table(tmp_path / "out/part-3-of-3/detections.parquet")
    assert (table.num_rows, table.column_names[0]) == (0, "image")
