"""The exported page in Chromium, from a static server: it finds what Python finds, and asks nobody else."""

import http.server
import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect
from tests.export.conftest import CLASSES, LEVELS, drawn_model

from sppnet import Classifier, Detector
from sppnet.errors import DataError
from sppnet.export.folder import export_classifier, export_detector
from sppnet.export.web import FILES, VERSION, runtime_files, write_page

ROOT = Path(__file__).parents[2]
SIZES = [(120, 170), (97, 101), (300, 200)]


@pytest.fixture(scope="module")
def runtime() -> dict[str, bytes]:
    """Return onnxruntime-web's files, or leave the test out and say how to get them."""
    try:
        return runtime_files(Path(os.environ.get("SPPNET_NODE_MODULES", ROOT / "node_modules")))
    except DataError:
        pytest.skip("needs onnxruntime-web: npm ci --ignore-scripts")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Serve a folder as a static server does."""
    folder = tmp_path / "page"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def _image(path: Path, height: int, width: int) -> Path:
    rng = np.random.default_rng(height)
    coarse = rng.integers(0, 256, (height // 12, width // 12, 3)).astype(np.uint8)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_finds_what_python_finds(
    browser: Browser, runtime: dict[str, bytes], served: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = served
    model = drawn_model(("stride8",))
    detector = Detector(levels=LEVELS, encoder=model.encoder)
    detector._model = model
    export_detector(detector, folder)
    write_page(folder, runtime)
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    expect(page.get_by_role("status")).to_contain_text("Ready", timeout=120_000)
    for size in SIZES:
        image = _image(tmp_path / f"{size[0]}.png", *size)
        expected = detector.detect(image)
        page.locator("#file").set_input_files(image)
        expect(page.get_by_role("status")).to_contain_text(f"{len(expected)} found", timeout=120_000)
        rows = [row.locator("td").all_inner_texts() for row in page.locator("tbody tr").all()]
        assert sorted(row[0] for row in rows) == sorted(CLASSES[label] for label in expected.labels)
        boxes = np.array([[float(edge) for edge in row[2].split(", ")] for row in rows])
        apart = np.abs(boxes[None] - expected.boxes[:, None]).max(axis=2).min(axis=1)
        assert (apart < 0.5).mean() > 0.9
    assert all(each.startswith((address, "blob:", "data:")) for each in asked)
    page.close()


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_names_what_the_classifier_names(
    browser: Browser, runtime: dict[str, bytes], served: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = served
    classifier = Classifier.imagenet(short_side=96)
    export_classifier(classifier, folder)
    write_page(folder, runtime)
    page, image = browser.new_page(), _image(tmp_path / "image.png", 120, 170)
    page.goto(address)
    expect(page.get_by_role("status")).to_contain_text("Ready", timeout=120_000)
    page.locator("#file").set_input_files(image)
    expect(page.get_by_role("status")).to_contain_text("5 found", timeout=120_000)
    assert page.locator("tbody tr td").first.inner_text() == classifier.predict(image).label
    labels = json.loads((folder / "labels.json").read_text())
    (folder / "labels.json").write_text(json.dumps(labels | {"thresholds": [1.1]}))
    page.goto(address)
    expect(page.get_by_role("status")).to_contain_text("Ready", timeout=120_000)
    page.locator("#file").set_input_files(image)
    expect(page.get_by_role("status")).to_contain_text("None of these in", timeout=120_000)
    page.close()


def test_a_runtime_that_is_not_there_or_another_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"must hold onnxruntime-web {VERSION}, got .*npm install onnxruntime-web@"):
        runtime_files(tmp_path)
    (tmp_path / "onnxruntime-web" / "dist").mkdir(parents=True)
    (tmp_path / "onnxruntime-web" / "package.json").write_text(json.dumps({"version": "1.2.3"}))
    for name in FILES:
        (tmp_path / "onnxruntime-web" / "dist" / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"must hold onnxruntime-web .*, got 1\.2\.3\. Install it"):
        runtime_files(tmp_path)
