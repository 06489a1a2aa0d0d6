"""Many images: by several processes, by part, by another engine, always the same answers in the same order."""

import errno
import json
import os
import re
import subprocess
from pathlib import Path
from signal import SIGKILL
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Run
from tests.cli.stopping import stopping
from typer.testing import CliRunner

from sppnet import Classifier
from sppnet.cli import predict
from sppnet.cli.commands import app
from sppnet.detection import output
from sppnet.detection.journal import Journal
from sppnet.features.files import encoder_of


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of seven images, of which one cannot be read."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(7):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 256, (8, 6 + number, 3)).astype(np.uint8)
        Image.fromarray(coarse).resize((110 + 9 * number, 100), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    content = (folder / "3.png").read_bytes()
    (folder / "3.png").write_bytes(content[: len(content) // 2])
    return folder


def _predict(model: Path, images: Path, out: Path, *options: str) -> list[dict]:
    command = ["predict", str(model), str(images), "--out", str(out), "--cache", str(out.parent / "cache")]
    done = CliRunner().invoke(app, [*command, "--json", *options], catch_exceptions=False)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_several_processes_write_the_same_bytes(model: Path, images: Path, tmp_path: Path) -> None:
    alone = _predict(model, images, tmp_path / "alone", "--format", "csv")
    several = _predict(model, images, tmp_path / "several", "--format", "csv", "--workers", "2")
    assert several == alone
    assert [Path(each["image"]).name for each in alone] == [f"{number}.png" for number in (0, 1, 2, 4, 5, 6)]
    for name in ("detections.csv", "counts.csv"):
        assert (tmp_path / "several" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_killed_again_and_again_it_ends_with_the_same_bytes(
    model: Path, images: Path, tmp_path: Path, workers: str
) -> None:
    _predict(model, images, tmp_path / "whole", "--format", "coco")
    command = ["predict", model, images, "--out", tmp_path / "killed", "--cache", tmp_path / "cache"]
    command += ["--format", "coco", "--workers", workers]
    for _ in range(5):
        ended = stopping("sppnet.detection.journal:Journal.add", 1, SIGKILL, *command)
        # Returns when nothing holds its outputs any more: no process outlives the one that was killed.
        assert subprocess.run(ended, capture_output=True).returncode == -SIGKILL
    lines = (tmp_path / "killed" / "predictions.partial.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 5
    _predict(model, images, tmp_path / "killed", "--format", "coco", "--workers", workers)
    name = "detections.coco.json"
    assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("names", [["0.png", "1.png"], ["0.png", "1.png", "3.png"]], ids=["all good", "one bad"])
def test_what_ended_when_all_was_answered_goes_on(
    run: Run, model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "detections.csv")

    command = ["predict", model, *(images / name for name in names), "--format", "csv", "--cache", tmp_path / "cache"]
    with monkeypatch.context() as patch:
        patch.setattr(output, "write_detections", full)
        assert run(*command, "--out", tmp_path / "ended").returncode == 1
    for out in ("ended", "whole"):
        done = run(*command, "--out", tmp_path / out)
        assert done.returncode == 0, done.stderr
    ended, whole = ({path.name: path.read_bytes() for path in (tmp_path / out).iterdir()} for out in ("ended", "whole"))
    assert ended == whole
    assert "detections.csv" in ended


@pytest.mark.slow
def test_a_bad_image_in_another_process_stops_it_all_where_that_is_asked(
    model: Path, images: Path, tmp_path: Path
) -> None:
    command = ["predict", str(model), str(images), "--out", str(tmp_path / "out"), "--workers", "2", "--on-bad", "fail"]
    done = CliRunner().invoke(app, command)
    assert "3.png: the image cannot be read: " in str(done.exception)
    assert (tmp_path / "out" / "predictions.partial.jsonl").is_file()
    assert len(_predict(model, images, tmp_path / "out", "--workers", "2")) == 6


@pytest.mark.slow
def test_parts_lie_beside_each_other_and_hold_each_image_once(model: Path, images: Path, tmp_path: Path) -> None:
    whole = _predict(model, images, tmp_path / "whole")
    parts = [_predict(model, images, tmp_path / "parts", "--shard", f"{part}/3") for part in (1, 2, 3)]
    found = sorted((each for part in parts for each in part), key=lambda each: each["image"])
    assert found == whole
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {f"part-{part}-of-3" for part in (1, 2, 3)}


@pytest.mark.parametrize("part", ["0/3", "4/3", "3", "a/b", "1/"])
def test_what_is_no_part_is_refused(model: Path, images: Path, tmp_path: Path, part: str) -> None:
    command = ["predict", str(model), str(images), "--out", str(tmp_path), "--shard", part]
    expected = f"--shard must be a part of all images such as 3/10, got '{part}'. Count parts from 1."
    assert str(CliRunner().invoke(app, command).exception) == expected


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.slow
def test_the_engines_answer_alike(model: Path, images: Path, tmp_path: Path, engine: str) -> None:
    pytest.importorskip(engine, reason=f"needs {engine}")
    torch, other = (_predict(model, images, tmp_path / name, "--engine", name) for name in ("torch", engine))
    assert [each["counts"] for each in other] == [each["counts"] for each in torch]
    for one, another in zip(other, torch, strict=True):
        boxes = [np.array([each["box"] for each in answer["detections"]]) for answer in (one, another)]
        np.testing.assert_allclose(*boxes, atol=0.06)  # written to a hundredth of a pixel
    cached = {path.parent.parent.name for path in (tmp_path / "cache").rglob("*.safetensors")}
    assert cached == {"cache", engine}  # maps of one engine are not taken for another's


@pytest.mark.slow
def test_other_processes_run_the_engine_too(model: Path, images: Path, tmp_path: Path) -> None:
    alone, several = (
        _predict(model, images, tmp_path / workers, "--engine", "onnxruntime", "--workers", workers)
        for workers in ("1", "2")
    )
    assert several == alone


def test_a_classifier_is_run_by_the_engine_too(images: Path, tmp_path: Path) -> None:
    Classifier.imagenet(short_side=64).save(tmp_path / "model.safetensors")
    torch, onnx = (
        _predict(tmp_path / "model.safetensors", images, tmp_path / engine, "--engine", engine)
        for engine in ("torch", "onnxruntime")
    )
    assert [each["class"] for each in onnx] == [each["class"] for each in torch]


def test_parquet_comes_in_parts_that_a_second_run_leaves_as_they_are(model: Path, images: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'sppnet[parquet]'")
    told = _predict(model, images, tmp_path / "parts", "--format", "parquet")
    folder = tmp_path / "parts" / "detections.parquet"
    assert told == {"written": str(folder), "parts": 1, "images": 7, "skipped": 1}
    (part,) = folder.iterdir()
    rows = parquet.read_table(folder).to_pylist()
    expected = [
        {"image": each["image"], "class": one["class"], "confidence": one["confidence"]}
        for each in _predict(model, images, tmp_path / "json")
        for one in each["detections"]
    ]
    assert [{name: row[name] for name in ("image", "class", "confidence")} for row in rows if row["class"]] == expected
    written, time = part.read_bytes(), part.stat().st_mtime_ns
    assert _predict(model, images, tmp_path / "parts", "--format", "parquet") == told
    assert part.stat().st_mtime_ns == time
    part.unlink()
    _predict(model, images, tmp_path / "parts", "--format", "parquet")
    assert part.read_bytes() == written
    _predict(model, images, tmp_path / "parts", "--format", "parquet", "--threshold", "0.9")
    assert [path.name for path in folder.iterdir()] != [part.name]  # of another threshold, in place of the first


def test_of_parquet_a_bad_image_is_told_by_every_run(run: Run, model: Path, images: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'sppnet[parquet]'")
    command = ["predict", model, images, "--out", tmp_path, "--format", "parquet"]
    for _ in range(2):
        failed = run(*command, "--on-bad", "fail")
        assert failed.returncode == 1
        assert "3.png: the image cannot be read: " in failed.stderr
        assert not list(tmp_path.rglob("*.parquet/*"))
    for _ in range(2):
        skipped = run(*command, "--on-bad", "skip")
        assert skipped.stdout.endswith("detections.parquet: 6 images in 1 part\n")
        assert "Skipped: " in skipped.stderr
        assert "1 of 7 images could not be read." in skipped.stderr
    again = run(*command, "--on-bad", "fail")
    assert (again.returncode, "3.png: the image cannot be read: " in again.stderr) == (1, True)


def test_where_no_image_of_a_part_can_be_read_every_run_says_so(run: Run, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'sppnet[parquet]'")
    (tmp_path / "no.png").write_bytes(b"no image")
    for _ in range(2):
        done = run("predict", model, tmp_path / "no.png", "--out", tmp_path / "out", "--format", "parquet")
        assert (done.returncode, "none of 1 image could be read. Name other ones." in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--on", "ray", "--format", "csv"], "--format must be parquet with --on ray, got 'csv'. Many machines cannot"),
        (["--gpus", "1"], "--address and --gpus must come with --on ray, got none. Add it, or leave them out."),
    ],
)
def test_what_a_cluster_cannot_do_is_refused(model: Path, images: Path, options: list[str], expected: str) -> None:
    done = CliRunner().invoke(app, ["predict", str(model), str(images), *options])
    assert str(done.exception).startswith(expected)


def test_object_storage_is_read_into_parts_and_nothing_else(model: Path, images: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'sppnet[parquet]'")
    fsspec = pytest.importorskip("fsspec")
    storage = fsspec.filesystem("memory")
    for path in images.iterdir():
        storage.pipe_file(f"/bucket/{path.name}", path.read_bytes())
    command = ["predict", str(model), "memory://bucket", "--cache", "memory://cache"]
    refused = CliRunner().invoke(app, command)
    assert str(refused.exception).startswith(
        "IMAGES must be on this machine's disks, got memory://bucket. Add --format"
    )
    out = ["--out", "memory://out", "--format", "parquet", "--json"]
    told = json.loads(CliRunner().invoke(app, [*command, *out], catch_exceptions=False).stdout)
    assert (told["images"], told["skipped"]) == (7, 1)
    (part,) = storage.find("/out/detections.parquet")
    with storage.open(part) as file:
        names = parquet.read_table(file).column("image").to_pylist()
    assert {Path(name).name for name in names} == {f"{number}.png" for number in (0, 1, 2, 4, 5, 6)}
    assert len(storage.find("/cache")) == 6
    storage.rm("/", recursive=True)


def test_the_profile_offers_the_fastest_engine(model: Path, images: Path) -> None:
    done = CliRunner().invoke(app, ["predict", str(model), str(images / "0.png"), "--profile"], catch_exceptions=False)
    told = " ".join(done.output.split())
    assert re.search(
        r"The network by engine: torch \d+ ms, onnxruntime \d+ ms.*\. Take the fastest with --engine", told
    )


def test_the_profile_offers_no_engine_where_the_network_is_not_on_the_processor(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = encoder_of(("stride16",), (64,))
    encoder.backbone.to("meta")  # type: ignore[attr-defined]
    model = SimpleNamespace(kind="detector", model_=SimpleNamespace(encoder=encoder))
    predict._offer_engine(model, images / "0.png")
    assert capsys.readouterr() == ("", "")


def test_an_engine_runs_on_the_processor_alone(model: Path, images: Path, tmp_path: Path) -> None:
    command = ["predict", str(model), str(images), "--out", str(tmp_path), "--engine", "onnxruntime"]
    done = CliRunner().invoke(app, [*command, "--device", "auto"])
    assert str(done.exception) == "--engine onnxruntime: runs on the processor, got --device auto. Leave one out."


def test_features_are_made_by_the_engine(images: Path, tmp_path: Path) -> None:
    rows = {}
    for engine in ("torch", "onnxruntime"):
        out = tmp_path / f"{engine}.npy"
        command = ["features", str(images), "--out", str(out), "--short-side", "64", "--engine", engine]
        CliRunner().invoke(app, [*command, "--cache", str(tmp_path / "cache")], catch_exceptions=False)
        rows[engine] = np.load(out)
    np.testing.assert_allclose(rows["onnxruntime"], rows["torch"], atol=5e-3)
    assert not np.array_equal(rows["onnxruntime"], rows["torch"])  # another engine rounds otherwise


def test_an_answer_is_of_a_file_as_it_was(tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(b"one")
    journal = Journal(tmp_path / "out", {"model": "a"})
    journal.add(image, {"class": "cell"})
    again = Journal(tmp_path / "out", {"model": "a"})
    assert again.knows(image)
    assert again.answer(image) == {"class": "cell"}
    assert not again.knows(tmp_path / "other.png")
    image.write_bytes(b"another")
    assert not again.knows(image)
    assert not Journal(tmp_path / "out", {"model": "b"}).knows(image)
