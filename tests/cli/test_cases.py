"""What befell users of neighbouring tools at the command line, and what must come of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.drawing import coco, dump, image, text, voc
from typer.testing import CliRunner

from sppnet import Detector, FileProposals, load_detection
from sppnet.cli.commands import app
from sppnet.errors import ArgumentError

LONG = "x" * 246 + ".jpg"


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sppnet.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def here(*arguments: str | Path) -> str:
    """Run a command in this process, and return all that it printed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cases")


@pytest.fixture(scope="module")
def model(shapes: Path, cache: Path) -> Path:
    here("train", "detector", shapes, "--out", cache / "shapes.safetensors", "--cache", cache)
    return cache / "shapes.safetensors"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.slow
def test_a_terminal_that_lacks_letters_gets_their_numbers(tmp_path: Path, encoding: str) -> None:
    for k in range(2):
        text(tmp_path / f"{k}.xml", voc(image(tmp_path / f"{k}.jpg", k), "x", ("細胞", "[red]x")))
    done = run("check", tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "\\u7d30\\u80de" in done.stdout
    assert "[red]x" in done.stdout


@pytest.mark.slow
def test_a_narrow_terminal_cuts_no_number_off(shapes: Path) -> None:
    done = run("check", shapes, COLUMNS="40", TERM="dumb")
    lines = done.stdout.splitlines()
    assert lines[lines.index("disc") + 1 : lines.index("square")] == [
        "  train: 8",
        "  val: 4",
        "  recall 0.5: 100.0%",
        *[line for line in lines if line.startswith("  recall 0.7: ")][:1],
    ]


def test_images_of_one_name_and_of_a_long_one_lose_nothing(model: Path, cache: Path, tmp_path: Path) -> None:
    for name in ("a/1.jpg", "b/1.jpg", "b/1.png", LONG):
        image(tmp_path / "in" / name, len(name))
    out = tmp_path / "out"
    printed = here("predict", model, tmp_path / "in", "--out", out, "--draw", "--format", "csv", "--cache", cache)
    assert "Not drawn: " in printed
    assert "file name too long" in printed
    drawn = sorted(path.name for path in out.glob("*.detections.jpg"))
    assert len(drawn) == 3
    rows = (out / "counts.csv").read_text().splitlines()[1:]
    assert len({row.partition(",")[0] for row in rows}) == 4


def test_what_was_learnt_from_is_told(model: Path, shapes: Path, cache: Path) -> None:
    told = "Warning: the model learnt from 8 of these {} images; on others it will be worse."
    assert told.format(8) in here("evaluate", model, shapes, "--split", "train", "--cache", cache)
    assert told.format(12) in here("evaluate", model, shapes, "--split", "all", "--cache", cache)
    assert "learnt from" not in here("evaluate", model, shapes, "--cache", cache)


def test_more_objects_than_coco_counts_are_told(model: Path, cache: Path, tmp_path: Path) -> None:
    image(tmp_path / "images/0.jpg")
    boxes = [(0, 10 * (k % 15), 10 * (k // 15), 10 * (k % 15) + 8, 10 * (k // 15) + 8) for k in range(101)]
    dump(tmp_path / "labels.json", coco({"0.jpg": boxes}, names=("disc", "square")))
    printed = here("evaluate", model, tmp_path, "--metric", "coco", "--cache", cache)
    assert "the 100 surest detections of an image; of 1 image with more objects, up to 101, a perfect" in printed
    assert "surest detections" not in here("evaluate", model, tmp_path, "--cache", cache)
    report = json.loads(here("evaluate", model, tmp_path, "--cache", cache, "--json").splitlines()[-1])
    assert report["classes"]["square"]["average_precision"] is None  # not NaN, which is no JSON


@pytest.mark.slow
def test_predict_takes_each_images_own_regions_from_a_file(shapes: Path, cache: Path, tmp_path: Path) -> None:
    copies = [tmp_path / "images" / folder / "00.png" for folder in ("a", "b")]
    for copy in copies:
        copy.parent.mkdir(parents=True)
        copy.write_bytes((shapes / "JPEGImages/00.png").read_bytes())
    data = load_detection(shapes, split="train")
    rows = [(sample.path.name, *box) for sample in data for box in (*sample.boxes, *sample.boxes * 0.5)]
    rows += [("b/00.png", *row[1:]) for row in rows if row[0] == "00.png"][:1]
    header = "image,left,top,right,bottom\n"
    regions = text(tmp_path / "regions.csv", header + "\n".join(",".join(map(str, row)) for row in rows))
    made = tmp_path / "model.safetensors"
    Detector(proposals=FileProposals(regions), short_side=96).fit(data).save(made)
    found = tmp_path / "found"
    predict = ("predict", made, *copies, "--out", found, "--threshold", "0", "--cache", cache, "--json")
    first, second = json.loads(here(*predict).splitlines()[-1])
    assert len(first["detections"]) > len(second["detections"]) > 0
    text(regions, regions.read_text().replace("b/00.png", "00.png"))
    with pytest.raises(ArgumentError, match=f"'00.png' may mean {copies[0]} and {copies[1]}. Write their paths."):
        here(*predict)
    text(tmp_path / "data.yaml", "val: images\nnames: [disc, square]\n")
    for folder in ("a", "b"):
        text(tmp_path / "labels" / folder / "00.txt", "0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(ArgumentError, match=f"'00.png' may mean {copies[0]} and {copies[1]}. Write their paths."):
        here("evaluate", made, tmp_path, "--layout", "yolo", "--cache", cache)  # no figures of another image's regions


@pytest.mark.slow
def test_one_file_of_regions_for_two_images_of_one_name_is_refused(cache: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        image(tmp_path / folder / "1.jpg")
    regions = text(tmp_path / "regions.csv", "image,left,top,right,bottom\n1.jpg,0,0,9,9\n")
    done = run("features", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "f.npz", "--regions", regions)
    assert done.returncode == 2
    assert f"may mean {tmp_path}/a/1.jpg and {tmp_path}/b/1.jpg. Write their paths." in done.stderr
    text(regions, "image,left,top,right,bottom\na/1.jpg,0,0,9,9\nb/1.jpg,0,0,9,9\nb/1.jpg,5,5,20,20\n")
    here(
        "features", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "f.npz", "--regions", regions, "--cache", cache
    )
    with np.load(tmp_path / "f.npz") as written:
        assert written["image"].tolist() == [0, 1, 1]


def test_a_folder_with_two_kinds_of_images_has_no_litter(model: Path, cache: Path, tmp_path: Path) -> None:
    for name in ("0.jpg", ".sppnet/thumbnails/0.jpg", "@eaDir/0.jpg", "__MACOSX/0.jpg", "0.detections.jpg"):
        image(tmp_path / name)
    Image.new("RGB", (40, 30)).save(tmp_path / "1.jfif", format="JPEG")
    text(tmp_path / "2.psd", b"8BPS")
    printed = here("predict", model, tmp_path, "--out", tmp_path / "out", "--cache", cache, "--json")
    assert "2.psd: is of a format that is not read. Convert it to JPEG or PNG" in printed
    (line,) = (line for line in printed.splitlines() if line.startswith("[{"))
    assert [Path(each["image"]).name for each in json.loads(line)] == ["0.jpg", "1.jfif"]
