"""The exported folder, and the script in it that needs no PyTorch."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.export.conftest import CLASSES, LEVELS, SIZES, assert_same, drawn_model, image_of, scaled_inputs
from typer.testing import CliRunner

from sppnet import Classifier, Detector
from sppnet.classification.views import Views
from sppnet.cli.commands import app
from sppnet.detection.settings import PAPER
from sppnet.errors import ArgumentError
from sppnet.export.folder import export_classifier, export_detector
from sppnet.export.run import scaled
from sppnet.images import read_image
from sppnet.proposals.grid import GridProposals

UNEVEN = GridProposals(((40.3, 30.7), (24.1, 23.3), (19.7, 50.9)), 96, 0.37)  # no side ends where cells do


@pytest.fixture(scope="module")
def detector() -> Detector:
    """Return a detector of drawn weights."""
    model = drawn_model(("stride8",))
    detector = Detector(levels=LEVELS, encoder=model.encoder)
    detector._model = model
    return detector


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return a file with an image that lies on its side, in EXIF's words."""
    pixels = np.random.default_rng(0).integers(0, 256, (10, 14, 3)).astype(np.uint8)
    picture = Image.fromarray(pixels).resize((170, 120), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "sideways.png", exif=exif)
    return tmp_path / "sideways.png"


def _run(folder: Path, image: Path) -> dict:
    """Run the script with everything of PyTorch and of this package out of reach."""
    code = "import sys, runpy; sys.modules.update(torch=None, torchvision=None, sppnet=None);"
    code += f"sys.argv = ['run.py', {str(image)!r}]; runpy.run_path({str(folder / 'run.py')!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("scaling", ["inside", "outside"])
def test_the_script_finds_what_the_detector_finds(
    tmp_path: Path, detector: Detector, image: Path, scaling: str
) -> None:
    export_detector(detector, tmp_path / "out", scaling=scaling)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"README.md", "labels.json", "model.onnx", "run.py"}
    found, expected = _run(tmp_path / "out", image)["found"], detector.detect(image)
    assert len(found) > 3
    assert sorted(each["class"] for each in found) == sorted(CLASSES[label] for label in expected.labels)
    if scaling == "outside":
        np.testing.assert_allclose([each["box"] for each in found], expected.boxes, atol=0.05)


def test_the_script_names_what_the_classifier_names(tmp_path: Path, image: Path) -> None:
    classifier = Classifier.imagenet(short_side=64)
    export_classifier(classifier, tmp_path / "out", scaling="outside")
    named, expected = _run(tmp_path / "out", image), classifier.predict(image).top(3)
    assert [each["class"] for each in named["best"][:3]] == [name for name, _ in expected]


def test_the_script_scales_to_each_of_several_scales(tmp_path: Path, image: Path) -> None:
    model = drawn_model(("stride8",), scales=(64, 112))
    several = Detector(levels=LEVELS, encoder=model.encoder)
    several._model = model
    export_detector(several, tmp_path / "out", scaling="outside")
    assert "| `image112` | (h, w, 3) uint8 |" in (tmp_path / "out" / "README.md").read_text()
    found, expected = _run(tmp_path / "out", image)["found"], several.detect(image)
    assert len(found) > 3
    np.testing.assert_allclose([each["box"] for each in found], expected.boxes, atol=0.05)


def test_of_given_boxes_there_is_no_script(tmp_path: Path, detector: Detector) -> None:
    export_detector(detector, tmp_path, boxes=True)
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", "labels.json", "model.onnx"}
    assert "| `boxes` | (R, 4) float32 |" in (tmp_path / "README.md").read_text()


def test_the_command_tells_what_it_wrote(tmp_path: Path, detector: Detector) -> None:
    detector.save(tmp_path / "model.safetensors")
    command = ["export", str(tmp_path / "model.safetensors"), "--json", "--out", str(tmp_path / "out")]
    told = json.loads(CliRunner().invoke(app, command).stdout)
    assert told["files"] == ["README.md", "labels.json", "model.onnx", "run.py"]
    assert told["bytes"] == (tmp_path / "out" / "model.onnx").stat().st_size


@pytest.mark.slow
def test_the_command_writes_a_program_of_pytorch(tmp_path: Path, detector: Detector, image: Path) -> None:
    detector.save(tmp_path / "model.safetensors")
    command = ["export", str(tmp_path / "model.safetensors"), "--format", "pt2", "--scaling", "outside", "--json"]
    command += ["--out", str(tmp_path / "x")]
    told = json.loads(CliRunner().invoke(app, command, catch_exceptions=False).stdout)
    assert told["files"] == ["README.md", "labels.json", "model.pt2"]
    assert 'torch.export.load("model.pt2").module()' in (tmp_path / "x" / "README.md").read_text()
    with torch.no_grad():
        program = torch.export.load(tmp_path / "x" / "model.pt2").module()
        given = scaled_inputs(detector.model_, read_image(image)).values()
        found = [each.numpy() for each in program(*(torch.from_numpy(np.array(each)) for each in given))]
    assert_same(*found, detector.detect(image))


@pytest.mark.parametrize("views", ["whole", "mirrored"])
@pytest.mark.slow
def test_openvino_scores_as_the_classifier_does(tmp_path: Path, views: Views) -> None:
    openvino = pytest.importorskip("openvino", reason="needs openvino: pip install 'sppnet[openvino]'")
    classifier = Classifier.imagenet(short_side=96, views=views)
    export_classifier(classifier, tmp_path, scaling="outside", form="openvino")
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", "labels.json", "model.bin", "model.xml"}
    model = openvino.compile_model(tmp_path / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for size in [(1, 1), (97, 101), (30, 400)]:
        pixels = image_of(*size)
        (scores,) = model({"image": scaled(pixels, 96, 32)}).values()
        np.testing.assert_allclose(scores, classifier.predict(pixels).scores, atol=1e-3)


@pytest.mark.parametrize("scaling", ["inside", "outside"])
@pytest.mark.slow
def test_openvino_finds_what_the_detector_finds(tmp_path: Path, scaling: str) -> None:
    openvino = pytest.importorskip("openvino", reason="needs openvino: pip install 'sppnet[openvino]'")
    # No votes: of weights that nobody had to learn they tie, and 32 bits break ties otherwise.
    model, found_any = replace(drawn_model(("stride8", "stride16"), settings=PAPER), proposals=UNEVEN), 0
    detector = Detector(levels=LEVELS, encoder=model.encoder)
    detector._model = model
    export_detector(detector, tmp_path, scaling=scaling, form="openvino")
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", "labels.json", "model.bin", "model.xml"}
    compiled = openvino.compile_model(tmp_path / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for size in SIZES:
        image = image_of(*size)
        found = compiled(scaled_inputs(model, image) if scaling == "outside" else {"image": image})
        expected = detector.detect(image)
        assert_same(*(found[name] for name in ("boxes", "labels", "confidence")), expected, where=size)
        found_any += len(expected)
    assert found_any > 30


def test_openvino_is_refused_where_regions_fall_on_other_cells(tmp_path: Path, detector: Detector) -> None:
    pytest.importorskip("openvino", reason="needs openvino: pip install 'sppnet[openvino]'")
    told = (
        r"must be one whose regions fall on the same cells in 32 bits, got others in 333 x 500 pixels\. Export it with"
    )
    with pytest.raises(ArgumentError, match=told):
        export_detector(detector, tmp_path, form="openvino")
    assert not list(tmp_path.iterdir())


def test_a_page_is_not_asked_of_another_format(tmp_path: Path, detector: Detector) -> None:
    detector.save(tmp_path / "model.safetensors")
    command = ["export", str(tmp_path / "model.safetensors"), "--web", "--format", "pt2", "--out", str(tmp_path / "x")]
    done = CliRunner().invoke(app, command)
    assert str(done.exception) == "export: --web must be asked with --format onnx, got pt2. Leave one out."


def test_boxes_are_not_asked_of_a_classifier(tmp_path: Path) -> None:
    Classifier.imagenet(short_side=64).save(tmp_path / "model.safetensors")
    command = ["export", str(tmp_path / "model.safetensors"), "--boxes", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, command)
    assert str(done.exception) == "export: --boxes must be asked of a detector, got classifier. Leave it out."


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "export.md", "exec"), {})
    assert (tmp_path / "imagenet" / "model.onnx").is_file()
