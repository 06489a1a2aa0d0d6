"""The command line as a user meets it: in processes of its own, where that matters."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from tests.cli.conftest import Run
from tests.cli.stopping import stopping
from typer.main import get_command
from typer.testing import CliRunner

from sppnet import storage
from sppnet.classification.prediction import NONE, Prediction
from sppnet.cli.commands import app, in_options
from sppnet.data import load_detection, load_folders
from sppnet.detection.detector import Detector
from sppnet.models import load
from sppnet.storage import TensorCache

PROGRAM = [sys.executable, "-m", "sppnet.cli"]


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False)


def _invoked(*arguments: str | Path, code: int = 0) -> str:
    """Run a command in this process, which is quicker, and return what it printed to stdout."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def model(shapes: Path, folder: Path) -> Path:
    path = folder / "shapes.safetensors"
    printed = _invoked("train", "detector", shapes, "--out", path, "--cache", folder / "cache", "--json")
    summary = json.loads(printed)
    assert summary.pop("seconds") > 0
    assert summary == {"model": str(path), "images": 8, "classes": ["disc", "square"], "untrained": []}
    return path


@pytest.mark.parametrize(
    "command", [[], ["train"], ["predict"], ["train", "detector"], ["check"], ["demo"], ["bench", "detector"]]
)
def test_help_says_what_a_command_is_for(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], env={"TERM": "dumb", "COLUMNS": "120"})
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_evaluate_prints_a_table_and_json(model: Path, shapes: Path, folder: Path) -> None:
    printed = _invoked("evaluate", model, shapes, "--cache", folder / "cache")
    assert "Mean average precision at IoU 0.5 on 'val'" in printed
    report = json.loads(_invoked("evaluate", model, shapes, "--cache", folder / "cache", "--json"))
    known = Detector.load(model, cache=TensorCache(folder / "cache"))
    assert report == json.loads(json.dumps(known.evaluate(load_detection(shapes, split="val")).as_dict()))
    assert report["classes"]["disc"]["positives"] == 4


@pytest.mark.parametrize("form", ["json", "coco", "voc", "csv"])
def test_predictions_are_written_in_every_format(model: Path, shapes: Path, folder: Path, form: str) -> None:
    out = folder / form
    images = shapes / "JPEGImages"
    printed = _invoked("predict", model, images, "--out", out, "--format", form, "--cache", folder / "cache", "--json")
    told = json.loads(printed)
    assert len(told) == 12
    boxes = [each["box"] for each in told[0]["detections"]]
    assert _boxes_written(out, form) == [pytest.approx(box, abs=1) for box in boxes]


def _boxes_written(out: Path, form: str) -> list[list[float]]:
    """Return the boxes of the first image, left, top, right, bottom, as another program would read them."""
    if form == "json":
        return [each["box"] for each in json.loads((out / "detections.json").read_text())[0]["detections"]]
    if form == "csv":
        rows = list(csv.DictReader((out / "detections.csv").read_text().splitlines()))
        sides = ("left", "top", "right", "bottom")
        return [[float(row[side]) for side in sides] for row in rows if row["image"] == "00.png"]
    if form == "coco":
        content = json.loads((out / "detections.coco.json").read_text())
        first = content["images"][0]["id"]
        rows = [each["bbox"] for each in content["annotations"] if each["image_id"] == first]
        assert all("score" in each for each in content["annotations"])
        return [[x, y, x + width, y + height] for x, y, width, height in rows]
    text = (out / "Annotations" / "00.xml").read_text()
    corners = [
        [float(part.split("<")[0]) for part in text.split(f"<{tag}>")[1:]] for tag in ("xmin", "ymin", "xmax", "ymax")
    ]
    return [[left - 1, top - 1, right, bottom] for left, top, right, bottom in zip(*corners, strict=True)]


def test_drawings_show_the_boxes(model: Path, shapes: Path, folder: Path) -> None:
    image = shapes / "JPEGImages" / "00.png"
    _invoked("predict", model, image, "--out", folder / "drawn", "--draw", "--cache", folder / "cache")
    drawn = np.asarray(Image.open(folder / "drawn" / "00.detections.jpg")).astype(int)
    plain = np.asarray(Image.open(image)).astype(int)
    assert drawn.shape == plain.shape
    assert (np.abs(drawn - plain).max(axis=2) > 60).sum() > 100


def test_a_full_disk_ends_the_drawing_with_the_files_name_and_what_to_do(
    run: Run, model: Path, shapes: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = storage.write_file

    def full(path: Path, content: bytes, *, durable: bool = True) -> None:
        if path.suffix == ".jpg":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))  # as a library would raise it
        write(path, content, durable=durable)

    monkeypatch.setattr(storage, "write_file", full)
    image = shapes / "JPEGImages" / "00.png"
    done = run("predict", model, image, "--out", tmp_path / "drawn", "--draw", "--cache", folder / "cache")
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert "00.detections.jpg: cannot be written: No space left on device. Free some space there, or name" in said
    assert "Errno" not in said


def test_a_bad_image_is_named_skipped_and_counted(
    run: Run, model: Path, shapes: Path, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff not an image")
    good = shapes / "JPEGImages" / "00.png"
    done = run("predict", model, good, tmp_path / "broken.jpg", "--out", tmp_path / "out", "--json")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)) == 1
    assert f"Skipped: {tmp_path / 'broken.jpg'}: the image cannot be read" in done.stderr
    assert "1 of 2 images could not be read." in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["predict", "{model}", "nowhere.jpg"], 2, "nowhere.jpg: no such file or folder. Name images"),
        (["predict", "{model}", "{broken}", "--on-bad", "fail"], 1, "broken.jpg: the image cannot be read"),
        (["predict", "{model}", "{broken}"], 1, "none of 1 image could be read"),
        (["predict", "nowhere", "{good}"], 2, "nowhere: no such model file. Give one that 'sppnet train' wrote."),
        (["predict", "{good}", "{model}"], 2, "MODEL must be a file that 'sppnet train' wrote, got the image"),
        (["predict", "{model}", "{model}"], 2, "is a model, not an image. Give the model first, then images."),
        (["evaluate", "{shapes}", "{model}"], 2, "MODEL must be a file that 'sppnet train' wrote, got the folder"),
        (["train", "detector", "{empty}", "--out", "x"], 1, "DATA must be images with labels, got no files in"),
        (
            ["train", "classifier", "{shapes}", "--out", "x"],
            1,
            "These are for 'sppnet train detector', in Python load_det",
        ),
        (["train", "detector", "{shapes}", "--out", "x", "--proposals", "selectve-serch"], 2, "you mean 'selective-"),
        (["train", "detector", "{shapes}", "--out", "x", "--settings", "papre"], 2, "--settings must be one of ours,"),
        (["train", "classifier", "x", "--out", "x", "--views", "tilted"], 2, "--views must be one of whole, mirrored"),
        (["train", "detector", "{shapes}", "--out", "{empty}"], 2, "--out must be a file, got the folder"),
        (["train", "detector", "{shapes}", "--out", "{good}/model"], 2, "cannot be written: not a directory. Name"),
        (["evaluate", "{model}", "{shapes}", "--split", "winter"], 2, "--split must be one of train, val, all, got"),
        (["check", "nowhere"], 2, "DATA must be a folder, got nowhere, which is not there"),
        (["check", "{shapes}", "--layout", "vox"], 2, "--layout must be one of voc, coco"),
        (["features", "{good}", "--out", "x.npy", "--layer", "conv5"], 2, "--layer must be one of stride8"),
        (["features", "{good}", "--out", "x"], 2, "--out must be a file .safetensors, .npz, .npy, .csv, .parquet"),
        (["features", "{good}", "--out", "x.npy", "--regions", "nowhere.csv"], 1, "regions cannot be read: No such f"),
        (["features", "{good}", "{twin}", "--out", "x.npy", "--regions", "{regions}"], 1, "for 2 of 2 images, the fir"),
        (["train", "network", "{empty}", "--out", "x", "--seed", "-1"], 2, "--seed must be at least 0, got -1."),
        (["reproduce", "table9", "--data", "x", "--seed", "-1"], 2, "--seed must be at least 0, got -1."),
        (["features", "{good}", "--out", "x.npy", "--cache", "{broken}"], 2, "--cache must be a folder, got the file"),
        (["serve", "nowhere"], 2, "nowhere: no such model. Give a file that 'sppnet train' wrote, or a folder that"),
        (["serve", "{empty}"], 2, "empty: no model was exported into this folder. Give a file that 'sppnet train' wr"),
        (["serve", "{model}", "--port", "99999"], 2, "--port must be at most 65535, got 99999."),
        (["split", "{shapes}", "--replace", "--val", "0"], 2, "--val must be above 0 and below 1, got 0.0. Give 0.2"),
        (["predict", "{broken}.txt", "{good}"], 1, "is no file of sppnet: it does not begin as one. Give one that"),
        (["predict", "{void}", "{good}"], 1, "void: is no file of sppnet: it is empty. Give one that sppnet wrote"),
        (["reproduce", "table99", "--data", "x"], 2, "TABLE must be one of table2, table3, "),
        (["predict", "{model}", "{good}", "--threshold", "nan"], 2, "--threshold must be a confidence from 0 to 1"),
        (["predict", "{model}", "{good}", "{twin}", "--format", "voc"], 2, "--format must be another than voc"),
        (
            ["evaluate", "{model}", "{shapes}", "--split", "trian"],
            2,
            "got 'trian'. {shapes} has train, val. Did you mean",
        ),
        (
            ["train", "detector", "{shapes}", "--out", "x", "--settings", "papre"],
            2,
            "got 'papre'. Did you mean 'paper'?",
        ),
        (["train", "detector", "{shapes}", "--out", "x", "--val", "2"], 2, "--val must be at most 1, got 2. '"),
        (["train", "detector", "{shapes}", "--out", "x", "--seed", "-1"], 2, "--seed must be at least 0, got -1. '"),
        (["train", "detector", "{shapes}", "--out", "x", "--epochs", "few"], 2, "--epochs must be a whole number, got"),
        (["train", "detector", "{shapes}", "--out", "x", "--minutes", "-"], 2, "--minutes must be a number, got '-'."),
        (["train", "detector", "{shapes}", "--out", "x", "--epochs"], 2, "--epochs must be given a value, got none."),
        (["train", "detector", "{shapes}"], 2, "--out must be given, got none. '"),
        (
            ["train", "detector", "{shapes}", "--out", "x", "--epochs", "3"],
            2,
            "--epochs must come with --deep, got none.",
        ),
        (
            ["train", "detector", "{shapes}", "--out", "x", "--groups", "v"],
            2,
            "--groups must come with --val, got none.",
        ),
        (
            ["predict", "{model}", "{good}", "--profile", "--draw", "--format", "csv"],
            2,
            "--format, --draw: the model is",
        ),
        (["train", "detectr", "{shapes}"], 2, "No such command 'detectr'. Did you mean 'detector'?"),
        (
            ["convert", "{shapes}", "--out", "x", "--to", "cooc"],
            2,
            "--to must be one of coco, voc, yolo, csv, labelstu",
        ),
        (["convert", "{shapes}", "--out", "x", "--to", "cooc"], 2, "got 'cooc'. Did you mean 'coco'?"),
        (["check", "{shapes}", "--layout", "vcc"], 2, "got 'vcc'. Did you mean 'voc'?"),
        (["check", "{shapes}", "--strct"], 2, "check' has no option --strct. Did you mean '--strict'?"),
        (["predict", "m", "i", "--conf", "0.3"], 2, "predict' has no option --conf. Did you mean '--threshold'?"),
        (["check", "--fast", "{shapes}"], 2, "check' has no option --fast. '"),
        (["check", "{shapes}", "{empty}"], 2, "check' must be given DATA only, got {empty} too. '"),
        (["check"], 2, "DATA must be given, got none. '"),
        (["predict", "{model}"], 2, "IMAGES must be given, got none. '"),
        (["evaluate", "{model}", "{shapes}", "--iou", "nan"], 2, "--iou must be above 0 and at most 1, got nan"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(
    run: Run,
    model: Path,
    shapes: Path,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    (tmp_path / "empty").mkdir()
    shutil.copy(shapes / "JPEGImages/00.png", tmp_path / "00.png")
    known = {
        "model": model,
        "shapes": shapes,
        "good": shapes / "JPEGImages/00.png",
        "broken": tmp_path / "broken.jpg",
        "empty": tmp_path / "empty",
        "twin": tmp_path / "00.png",
        "regions": tmp_path / "regions.csv",
        "void": tmp_path / "void",
    }
    (tmp_path / "regions.csv").write_text("image,left,top,right,bottom\nother.png,1,2,3,4\n")
    (tmp_path / "void").write_bytes(b"")
    (tmp_path / "broken.jpg.txt").write_text("no model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = run(*(argument.format(**known) for argument in arguments))
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("Error: "))
    assert said.format(**known) in line


def test_a_command_that_is_given_nothing_shows_its_help(run: Run) -> None:
    for words in ([], ["train"]):
        done = run(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.lstrip().startswith("Usage:")


def test_features_of_regions_are_those_of_the_library(shapes: Path, folder: Path) -> None:
    from sppnet.features.encoder import Encoder

    image = shapes / "JPEGImages" / "00.png"
    regions = np.array([[5.0, 6.0, 60.0, 70.0], [0.0, 0.0, 30.5, 40.0]])
    rows = "\n".join(f"00.png,{','.join(map(str, region))}" for region in regions)
    (folder / "regions.csv").write_text(f"image,left,top,right,bottom\n{rows}\n")
    out = folder / "features.safetensors"
    options = ["--regions", folder / "regions.csv", "--short-side", "128", "--layer", "stride16"]
    printed = _invoked("features", image, "--out", out, *options, "--cache", folder / "cache")
    assert f"features 2 x {14 * 672} of 1 image\n" in printed
    written = load_file(out)
    expected = Encoder("stride16", 128)(image).pool(regions, (3, 2, 1))
    np.testing.assert_array_equal(written["features"], expected.numpy())
    np.testing.assert_array_equal(written["regions"], regions)
    assert written["image"].tolist() == [0, 0]


def test_check_tells_what_is_there_and_what_is_wrong(shapes: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", shapes, copy], check=True)
    (copy / "JPEGImages" / "08.png").write_bytes((copy / "JPEGImages" / "00.png").read_bytes())  # train in val
    (copy / "JPEGImages" / "09.png").write_bytes((copy / "JPEGImages" / "09.png").read_bytes()[:3000])
    bad = "<bndbox><xmin>9</xmin><ymin>9</ymin><xmax>8</xmax><ymax>20</ymax></bndbox>"
    text = (
        (copy / "Annotations/01.xml")
        .read_text()
        .replace("</annotation>", f"\n<object><name>disc</name>{bad}</object></annotation>")
    )
    (copy / "Annotations/01.xml").write_text(text)
    found = json.loads(_invoked("check", copy, "--json", "--html", tmp_path / "page.html", code=1))
    assert found["layout"] == "voc"
    assert found["images"] == {"train": 8, "val": 4}
    assert found["objects"] == {"disc": {"train": 8, "val": 4}, "square": {"train": 8, "val": 4}}
    assert len(found["duplicates"]) == 1
    problems = [(each["level"], each["code"], Path(each["file"]).name, each["line"]) for each in found["problems"]]
    assert problems == [
        ("error", "image-unreadable", "09.png", None),
        ("warning", "box-dropped", "01.xml", 2),
        ("warning", "in-two-splits", "08.png", None),
    ]
    assert found["counts"] == {"error": 1, "warning": 2, "note": 0}
    assert found["proposal_recall"]["disc"]["0.5"] == 1.0
    printed = _invoked("check", copy, code=1)
    assert "layout voc (12 XML files of Pascal VOC in Annotations/); images: 8 train, 4 val." in printed
    assert "1 x error (image-unreadable): an image cannot be decoded\n  " in printed
    assert "1 error, 2 warnings, 0 notes." in printed
    shown = (tmp_path / "page.html").read_text()
    assert shown.count("<figure>") == 12
    assert shown.count("<rect ") == 22  # the image that cannot be read is named, without boxes
    assert "1 x warning: one image is in two splits" in shown
    (copy / "JPEGImages" / "09.png").write_bytes((shapes / "JPEGImages" / "09.png").read_bytes())
    _invoked("check", copy)
    _invoked("check", copy, "--strict", code=1)
    _invoked("check", shapes, "--strict")


def test_a_classifier_from_folders(run: Run, tmp_path: Path) -> None:
    for name, value in (("dark", 30), ("light", 220)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(3):
            pixels = np.full((40 + 9 * index, 60, 3), value + index, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{index}.png")
    model, cache = tmp_path / "model", ["--cache", tmp_path / "cache"]
    assert "knows dark, light" in _invoked("train", "classifier", tmp_path / "data", "--out", model, *cache)
    image = tmp_path / "data" / "dark" / "0.png"
    (told,) = json.loads(_invoked("predict", model, image, "--out", tmp_path / "out", "--json", *cache))
    assert told["class"] == "dark"
    assert json.loads(_invoked("evaluate", model, tmp_path / "data", "--json", *cache))["accuracy"] == 1.0
    both = tmp_path / "both"
    _invoked("train", "classifier", tmp_path / "data", "--out", both, "--views", "mirrored", *cache)
    assert [load(each).views for each in (model, both)] == ["whole", "mirrored"]
    (told,) = json.loads(_invoked("predict", both, image, "--out", tmp_path / "both_out", "--json", *cache))
    assert told["class"] == "dark"
    done = run("predict", model, image, "--out", tmp_path / "out", "--format", "voc", *cache)
    assert done.returncode == 2
    assert "--format must be json, jsonl, csv or parquet for a classifier, got 'voc'" in done.stderr
    done = run("evaluate", model, tmp_path / "data", "--results", tmp_path / "out", *cache)
    assert done.returncode == 2
    assert "--results: the model is a classifier, which has no use for this. Leave it out." in done.stderr


def test_what_is_none_of_the_classes_is_called_so_on_the_terminal_and_in_tables(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    for name, value in (("dark", 30), ("light", 220)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(2):
            pixels = np.full((40, 60, 3), value + index, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{index}.png")
    cache = ("--cache", tmp_path / "cache")
    run("train", "classifier", tmp_path / "data", "--out", model, *cache)
    monkeypatch.setattr(Prediction, "label", property(lambda self: NONE if self.scores[0] > 0.5 else self.classes[1]))
    done = run("predict", model, tmp_path / "data", "--out", tmp_path / "out", "--format", "csv", *cache)
    dark, _, light, _ = done.stdout.splitlines()
    assert f"0.png: {NONE}; dark " in dark
    assert "0.png: light " in light
    rows = list(csv.reader((tmp_path / "out/classes.csv").read_text().splitlines()))
    assert rows[0] == ["image", "class", "confidence"]
    assert rows[1] == ["dark/0.png", NONE, ""]  # by the path from the folder that all lie in, as detections.csv has it
    assert rows[3][:2] == ["light/0.png", "light"]
    assert float(rows[3][2]) > 0.5


def test_bad_images_among_those_kept_to_validate_on_are_named_and_not_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, value in (("dark", 30), ("light", 190)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(5):
            pixels = rng.integers(value, value + 60, (64, 64, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{index}.png")
    _, kept = load_folders(tmp_path / "data").split(0.4)
    kept.paths[0].write_bytes(kept.paths[0].read_bytes()[:3000])
    command = ["train", "classifier", tmp_path / "data", "--out", tmp_path / "model", "--val", "0.4", "--json"]
    command += ["--on-bad", "skip", "--cache", tmp_path / "cache"]
    result = CliRunner().invoke(app, [str(part) for part in command], catch_exceptions=False)
    summary = json.loads(result.stdout)
    assert (summary["images"], summary["validated_on"], summary["accuracy"]) == (6, 3, 1.0)
    assert f"{kept.paths[0].name}: " in result.stderr
    assert "1 of 4 images could not be read and are skipped." in result.stderr


@pytest.mark.slow
def test_what_keeps_nothing_does_not_say_so_when_it_is_interrupted(shapes: Path) -> None:
    command = stopping("sppnet.data.contents:Contents.path", 1, signal.SIGINT, "check", shapes)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr.strip().endswith("Interrupted.")


STOPPED_WHILE_IMPORTING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have what runs in the background ignore it
module = sys.argv.pop()
class Stop:
    def find_spec(self, name, *_):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Stop())
from sppnet.cli import main
sys.argv += ["check", "nowhere"]
main()
"""


@pytest.mark.parametrize("module", ["sppnet.cli.commands", "typer", "rich.console", "sppnet.cli.train", "numpy", "PIL"])
def test_ctrl_c_while_modules_are_imported_is_one_line(module: str) -> None:
    command = [sys.executable, "-c", STOPPED_WHILE_IMPORTING, module]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


STORED = "sppnet.storage:TensorCache.put"


@pytest.mark.slow
def test_an_interrupted_training_goes_on_and_ends_with_the_same_bits(model: Path, shapes: Path, tmp_path: Path) -> None:
    out, cache = tmp_path / "model", tmp_path / "cache"
    command = ["train", "detector", shapes, "--out", out, "--cache", cache]
    done = subprocess.run(stopping(STORED, 1, signal.SIGINT, *command), capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "Interrupted. What was computed is kept: the same command goes on from there." in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()
    assert _run(*command).returncode == 0
    assert out.read_bytes() == model.read_bytes()


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_with_the_same_bits(model: Path, shapes: Path, tmp_path: Path) -> None:
    out, cache = tmp_path / "model", tmp_path / "cache"
    command = ["train", "detector", shapes, "--out", out, "--cache", cache]
    kept = [0]
    for further in (1, 3):
        done = subprocess.run(stopping(STORED, further, signal.SIGKILL, *command), capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL
        kept.append(len(list(cache.rglob("*.safetensors"))))
    assert kept[0] < kept[1] < kept[2] < 8
    assert _run(*command).returncode == 0
    assert out.read_bytes() == model.read_bytes()


def test_regions_of_the_data_cover_its_objects(shapes: Path) -> None:
    from sppnet.data.inspection import proposal_recall

    assert proposal_recall(load_detection(shapes, split="train"))["square"][0] == 1.0


def test_pages_that_are_not_looked_at_are_told(run: Run, model: Path, tmp_path: Path) -> None:
    frames = [Image.new("L", (60, 40), 40 * k) for k in range(3)]
    for name in ("a.tif", "b.gif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    done = run("predict", model, tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 0
    told = (
        f"{tmp_path / 'a.tif'}: of 3 pages or frames the first is read (1 more like this: 'sppnet check' names them)."
    )
    assert told in done.stderr.splitlines()


@pytest.mark.parametrize(
    ("shell", "asked"),
    [
        ("bash", {"COMP_WORDS": "sppnet train de", "COMP_CWORD": "2"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "sppnet train de"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "sppnet train de", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
@pytest.mark.slow
def test_shells_are_told_how_a_command_goes_on(shell: str, asked: dict[str, str]) -> None:
    program = "import sys; sys.argv[0] = 'sppnet'; from sppnet.cli import main; main()"
    environment = {**os.environ, **asked, "_SPPNET_COMPLETE": f"complete_{shell}"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0
    assert "detector" in done.stdout
    assert "classifier" not in done.stdout


def _every_command() -> Iterator[tuple[list[str], Any]]:
    """Yield the words and the command of each, also of those below others."""
    below = [([], get_command(app))]
    while below:
        words, command = below.pop()
        yield words, command
        below += [([*words, name], each) for name, each in getattr(command, "commands", {}).items()]


def test_each_help_has_an_example_that_can_be_run_and_no_line_of_a_list_is_cut() -> None:
    for words, command in _every_command():
        text = CliRunner().invoke(app, [*words, "--help"], env={"TERM": "dumb", "COLUMNS": "80"}).output
        assert "..." not in text.partition("Commands:")[2], words
        example = command.epilog.removeprefix("Example: sppnet ").split()
        assert example[: len(words)] == words
        if "--help" not in example:
            assert command.make_context("sppnet", example[len(words) :], resilient_parsing=False)


def test_what_is_printed_of_a_table_of_the_paper_has_no_marks_of_a_page(run: Run) -> None:
    done = run("reproduce", "table7")
    assert "'sppnet reproduce table7 --data CALTECH" in done.stdout
    assert "`" not in done.stdout


def test_messages_of_the_library_name_an_option_only_where_there_is_one() -> None:
    options = {name for _, command in _every_command() for each in command.params for name in each.opts}
    assert "--split" in options
    for argument in ("matplotlib", "password", "levels"):
        text = f"library: {argument} must be another, got this. Change it."
        assert f"--{argument}" not in options
        assert in_options(text) == text
    assert in_options("split: share must be below 1, got 1.0. Give 0.2.") == "--val must be below 1, got 1.0. Give 0.2."
    assert in_options("reproduce: table must be one of a, got b. Name one.").startswith("TABLE must be")
    told = "backbone: weights must be FILE or download=True, got 'seed=True'. Give weights=FILE (or levels=NUMBER)."
    expected = "--weights must be FILE or --download, got 'seed=True'. Give --weights FILE (or levels=NUMBER)."
    assert in_options(told) == expected


@pytest.mark.parametrize(
    ("opened", "code", "said"), [(True, 0, "Stopped. Everything is saved."), (False, 130, "Interr")]
)
def test_ctrl_c_ends_an_open_studio_as_announced(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: bool, code: int, said: str
) -> None:
    def serve(*_: object, ready: Callable[[str], object], **__: object) -> None:
        if opened:
            ready("http://127.0.0.1:1")
        raise KeyboardInterrupt

    monkeypatch.setattr("sppnet.web.studio.serve_studio", serve)
    done = run("studio", tmp_path, "--no-browser")
    assert done.returncode == code
    assert said in done.stderr


def test_an_error_of_the_system_is_told_as_a_person_says_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "labels/a.txt")

    monkeypatch.setattr("sppnet.data.inspection.inspect", denied)
    done = run("check", ".")
    assert (done.returncode, done.stderr) == (1, "Error: labels/a.txt: permission denied.\n")
