"""An exported model is served by ONNX Runtime alone: what the model answers, and no more than the export can tell."""

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from packaging.requirements import Requirement
from PIL import Image
from tests.web.service.alone import GROUP, PROJECT, ROOT, alone, modules_of, plain
from tests.web.service.calling import LIMITS, Served

from sppnet import Classifier, Detector
from sppnet.errors import ArgumentError, CorruptFileError
from sppnet.web.service.answers import answer, describe, load
from sppnet.web.service.exported import ExportedModel
from sppnet.web.service.schemas import ClassifyAnswer, DetectAnswer, ModelAnswer


@pytest.fixture(scope="module")
def detector(models: dict[str, Path]) -> Detector:
    return Detector.load(models["shapes"])


@pytest.fixture
def folder(exports: dict[str, Path], tmp_path: Path) -> Path:
    """Return a copy of an export to do harm to."""
    return Path(shutil.copytree(exports["shapes"], tmp_path / "copy"))


def test_detections_are_the_librarys(exported: Served, detector: Detector, image: bytes) -> None:
    found = DetectAnswer.model_validate(exported.post("/v1/detect", image).json())
    expected = detector.detect(image)
    assert len(expected) >= 2
    assert (found.height, found.width) == detector.encode(image).size
    np.testing.assert_allclose([each.box for each in found.detections], expected.boxes, atol=0.06)
    np.testing.assert_allclose([each.confidence for each in found.detections], expected.confidence, atol=1e-3)
    assert [each.class_ for each in found.detections] == [expected.classes[label] for label in expected.labels]
    assert found.counts == expected.counts()
    assert list(found.seconds)[:4] == ["upload", "waiting", "reading", "network"]
    assert all(each.score is None for each in found.detections)


def test_more_than_its_thresholds_can_be_asked_for_and_fewer(exported: Served, image: bytes) -> None:
    every = exported.post("/v1/detect", image).json()["detections"]
    assert exported.post("/v1/detect?most=1", image).json()["detections"] == every[:1]
    middle = every[0]["confidence"] - 1e-4
    answer = exported.post(f"/v1/detect?threshold={middle}", image).json()
    assert answer["detections"] == [each for each in every if each["confidence"] >= middle]
    assert sum(answer["counts"].values()) == len(answer["detections"]) > 0


def test_classes_are_the_librarys(exported: Served, models: dict[str, Path], image: bytes) -> None:
    found = ClassifyAnswer.model_validate(exported.post("/v1/classify", image).json())
    expected = Classifier.load(models["kinds"]).predict(image)
    assert [each.class_ for each in found.best] == [name for name, _ in expected.top(2)]  # "never" is untrained
    np.testing.assert_allclose([each.score for each in found.best], [sure for _, sure in expected.top(2)], atol=1e-3)
    assert found.label == expected.label
    assert len(exported.post("/v1/classify?top=1", image).json()["best"]) == 1


def test_what_is_less_probable_than_its_threshold_is_none_of_these(exports: dict[str, Path], image: bytes) -> None:
    session, labels = _parts(load([exports["kinds"]])["kinds"])
    sure = ExportedModel(Path("a"), session, labels.model_copy(update={"thresholds": [0.9999]}))
    question = {"model": "a", "verb": "classify", "before": {}, "top": 1}
    assert json.loads(answer({"a": sure}, LIMITS, question, image).content)["label"] == "none of these"


def _parts(model: Any) -> tuple[Any, Any]:
    return model._session, model._labels


def test_it_tells_of_the_model_what_the_model_tells(exported: Served, models: dict[str, Path]) -> None:
    told = ModelAnswer.model_validate(exported.ask("GET", "/v1/model").json()).models
    for facts, (name, path) in zip(told, models.items(), strict=True):
        expected = describe(name, load([path])[name])
        own = {"exported": True, "sha256": facts.sha256, "date": facts.date}
        assert facts.model_dump() == expected | own
        assert facts.sha256 != expected["sha256"]


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        (
            "/v1/detect?explain=true",
            422,
            "explain must be false for shapes, which is an export, got true. Leave it out, or serve the file that "
            "'sppnet train' wrote.",
        ),
        (
            "/v1/classify?explain=true",
            422,
            "explain must be false for kinds, which is an export, got true. Leave it out, or serve the file that "
            "'sppnet train' wrote.",
        ),
        (
            "/v1/features",
            404,
            "model must be a file that 'sppnet train' wrote, which this service has none of, got none. See /v1/model.",
        ),
        (
            "/v1/features?model=shapes",
            404,
            "model must be a file that 'sppnet train' wrote, which this service has none of, got 'shapes'. "
            "See /v1/model.",
        ),
    ],
)
def test_what_needs_maps_is_refused(exported: Served, image: bytes, path: str, status: int, told: str) -> None:
    reply = exported.post(path, image)
    assert (reply.status, reply.detail) == (status, told)


def test_less_than_the_graph_finds_is_refused(exported: Served, detector: Detector, image: bytes) -> None:
    least = detector.thresholds_.max()
    assert exported.post(f"/v1/detect?threshold={least}", image).status == 200
    reply = exported.post(f"/v1/detect?threshold={least / 2}", image)
    assert (reply.status, reply.detail) == (
        422,
        f"threshold must be at least {least} for shapes, an export that leaves out what is below its own thresholds, "
        f"got {least / 2}. Leave it out, or serve the file that 'sppnet train' wrote.",
    )


def test_images_are_decoded_within_the_services_limits(exported: Served) -> None:
    assert exported.post("/v1/detect", b"no image").detail.startswith("image must be a whole JPEG, PNG, WebP, BMP, GIF")
    large = io.BytesIO()
    Image.new("RGB", (2100, 2000), "white").save(large, "WEBP")  # which torchvision reads where there is one
    assert exported.post("/v1/detect", large.getvalue(), "image/webp").status == 200


def test_what_the_model_would_look_at_in_tiles_is_refused(exports: dict[str, Path], tmp_path: Path) -> None:
    session, labels = _parts(load([exports["shapes"]])["shapes"])
    large = ExportedModel(Path("a"), session, labels.model_copy(update={"short_sides": [900]}))
    file = io.BytesIO()
    Image.new("RGB", (400, 100)).save(file, "PNG")
    question = {"model": "a", "verb": "detect", "before": {}, "threshold": None, "most": 1, "explain": False}
    reply = answer({"a": large}, LIMITS, question, file.getvalue())
    assert (reply.status, json.loads(reply.content)["detail"]) == (
        422,
        "service: image must be at most 3.0 times as long as wide for an export, which has no tiles, got 100 x 400 "
        "pixels (height x width). Cut it into parts, or serve the file that 'sppnet train' wrote.",
    )


def test_no_process_asks_for_pytorch_and_each_package_of_the_group_is_used(
    exported: Served, asked: Path, image: bytes
) -> None:
    for path in ("/v1/detect", "/v1/classify", "/metrics", "/docs"):
        exported.ask("GET" if path.startswith(("/m", "/d")) else "POST", path, image, {"Content-Type": "image/png"})
    names = set((asked / "asked").read_text().split())
    assert not names & {"torch", "torchvision", "numba", "llvmlite", "onnx"}
    assert [name for name in GROUP if not names & set(modules_of({plain(name)}))] == []


def test_the_group_has_the_bounds_of_the_package() -> None:
    lists = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    bounds = {Requirement(each).name: Requirement(each).specifier for one in lists for each in one}
    assert {name: each.specifier for name, each in GROUP.items()} == {name: bounds[name] for name in GROUP}


def test_the_images_check_of_its_health_is_passed(exported: Served) -> None:
    (line,) = re.findall(r"^HEALTHCHECK .*CMD (.*)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    _, *words = json.loads(line)
    words = [word.replace(":8080/", f":{exported.port}/") for word in words]
    assert subprocess.run([sys.executable, *words], check=False).returncode == 0


def test_a_model_of_pytorch_says_what_is_missing(models: dict[str, Path], tmp_path: Path) -> None:
    with alone(tmp_path, str(models["shapes"])) as (process, _):
        _, said = process.communicate(timeout=600)
    assert process.returncode == 1
    told = (
        "Error: serve: needs torch. Install it with: pip install 'sppnet[web,export]', or serve a folder that 'sppnet "
    )
    assert f"{told}export' wrote: it needs no PyTorch." in " ".join(said.split())


def test_models_and_exports_are_served_together(
    models: dict[str, Path], exports: dict[str, Path], image: bytes
) -> None:
    both = load([models["kinds"], exports["shapes"]], "torch")
    question = {"model": "shapes", "verb": "detect", "before": {}, "threshold": None, "most": 9, "explain": False}
    assert json.loads(answer(both, LIMITS, question, image).content)["detections"]
    assert [model.facts()["exported"] for model in both.values()] == [False, True]


@pytest.mark.parametrize("name", ["labels.json", "model.onnx"])
def test_a_folder_that_lacks_a_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    told = f"{folder}: must hold model.onnx and labels.json, as 'sppnet export' writes them, got {name}: No such file"
    with pytest.raises(CorruptFileError, match=re.escape(told)):
        load([folder])


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ({"thresholds": None}, "thresholds: field required, got none"),
        ({"kind": "boxes"}, "kind: input should be 'detector' or 'classifier', got 'boxes'"),
        ({"sha256": "0" * 64}, None),
    ],
)
def test_labels_of_something_else_are_refused(folder: Path, harm: dict[str, Any], told: str | None) -> None:
    labels = json.loads((folder / "labels.json").read_text()) | harm
    content = {name: value for name, value in labels.items() if value is not None}
    (folder / "labels.json").write_text(json.dumps(content))
    again = ". Write it again: sppnet export MODEL --out FOLDER."
    expected = f"{folder}/labels.json: {told}{again}"
    if told is None:
        expected = f"{folder}: model.onnx must be the one that labels.json tells of, got another{again}"
    with pytest.raises(CorruptFileError, match=f"^{re.escape(expected)}$"):
        load([folder])


def test_a_graph_that_onnxruntime_cannot_run_is_refused(folder: Path) -> None:
    graph = onnx.load(folder / "model.onnx")
    graph.opset_import[0].version = 1000  # of years to come
    onnx.save(graph, folder / "model.onnx")
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    labels = json.loads((folder / "labels.json").read_text()) | {"sha256": digest}
    (folder / "labels.json").write_text(json.dumps(labels))
    told = r"model\.onnx cannot be run by ONNX Runtime [\d.]+: .* opset \d+\. Install a newer one\.$"
    with pytest.raises(CorruptFileError, match=told):
        load([folder])


def test_an_engine_that_does_not_run_it_is_refused(folder: Path) -> None:
    told = r"serve: engine must be onnxruntime for the export copy, got openvino\. Leave it out\."
    with pytest.raises(ArgumentError, match=told):
        load([folder], "openvino")
    assert load([folder], "onnxruntime").keys() == {"copy"}


def test_an_export_whose_images_would_all_be_in_tiles_is_refused(folder: Path) -> None:
    labels = json.loads((folder / "labels.json").read_text()) | {"short_sides": [2000]}
    (folder / "labels.json").write_text(json.dumps(labels))
    told = (
        "serve: models must be exports of at most 1581 pixels of the shorter side, got copy of 2000. Serve the file "
        "that 'sppnet train' wrote, which has tiles."
    )
    with pytest.raises(ArgumentError, match=re.escape(told)):
        load([folder])


def test_two_of_one_name_are_refused(models: dict[str, Path], exports: dict[str, Path]) -> None:
    told = r"serve: models must be of different names, got shapes\. Rename one of them\."
    with pytest.raises(ArgumentError, match=told):
        load([models["shapes"], exports["shapes"]])
