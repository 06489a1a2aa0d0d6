"""``python -m benchmarks.studio_views``: the images of the studio's page in docs/, taken anew from a real session."""

import io
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page

from benchmarks import driving, records
from sppnet.data import DetectionData, load_detection

NAMES = {"Platelets": "platelet", "RBC": "red cell", "WBC": "white cell"}
LABELLED, AT_ONCE, IMAGES, IMPORTED = 12, 4, 30, 8
QUALITY = 82  # of WebP
STATE = "() => fetch('/api/state').then((answer) => answer.json())"
QUIET = 4.0  # seconds without any change after which nothing goes on any more


def main() -> None:
    """Label a few images of BCCD, let the detector learn, and take every view."""
    data = load_detection(records.data_folder("bccd"), split="train")
    with tempfile.TemporaryDirectory() as folder, driving.chromium() as browser:
        images = Path(folder) / "blood smears"
        images.mkdir()
        for sample in data.samples[:IMAGES]:
            shutil.copy(sample.path, images)
        studio = driving.Studio(images)
        page = _page(browser, studio, 1280, 800, "light")
        page.wait_for_timeout(2000)
        _keep(page, "begin")
        _label(page, data)
        page.locator("#images .image").first.click()
        page.locator("#boxes .suggested").nth(2).wait_for()
        page.keyboard.press("j")
        _keep(page, "teach")
        page.click("#tab-quality")
        page.locator("#curve-place").wait_for()
        _keep(page, "quality")
        page = _page(browser, studio, 820, 1100, "light")
        page.locator("#boxes .suggested").nth(2).wait_for(state="attached")
        _keep(page, "tablet")
        page = _page(browser, studio, 1280, 800, "light")
        page.click("#export")
        _keep(page, "export")
        page = _page(browser, studio, 1280, 800, "light")
        page.click("#import")
        page.fill("#import-path", str(_others(data, Path(folder) / "Annotations")))
        page.press("#import-path", "Enter")
        page.click("#import-images summary")
        page.fill("#import-path", "")  # where it lay is nobody's business
        _keep(page, "import")
        studio.kill()


def _others(data: DetectionData, folder: Path) -> Path:
    """Write what somebody else labelled: VOC's files of images that nobody told of, by the names that are used here."""
    folder.mkdir()
    for sample in data.samples[LABELLED : LABELLED + IMPORTED]:
        written = sample.path.parent.parent / "Annotations" / f"{sample.path.stem}.xml"
        text = written.read_text(encoding="utf-8")
        for name, own in NAMES.items():
            text = text.replace(f"<name>{name}</name>", f"<name>{own}</name>")
        (folder / written.name).write_text(text, encoding="utf-8")
    return folder


def _page(browser: Browser, studio: driving.Studio, width: int, height: int, scheme: Any) -> Page:
    page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
    page.goto(studio.address)
    page.locator("#images .image").first.wait_for(state="attached")
    return page


def _label(page: Page, data: DetectionData) -> None:
    """Tell of the first images what their labels say, as the page itself would; a few at a time, each measured."""
    added = _change(page, [{"do": "add class", "name": NAMES[name]} for name in data.classes])["added"]
    for image, sample in enumerate(data.samples[:LABELLED], start=1):
        rows = zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True)
        boxes = [{"do": "add", "image": image, "label": added[label], "edges": edges} for edges, label in rows]
        _change(page, [*boxes, {"do": "complete", "image": image, "complete": True}])
        if image % AT_ONCE == 0:
            _wait(page, image)


def _wait(page: Page, labelled: int) -> None:
    """Wait until so many images were learnt from and measured, and nothing changes any more."""
    before, now = None, page.evaluate(STATE)
    while now != before or now["quality"]["curve"][-1:] == [] or now["quality"]["curve"][-1][0] != labelled:
        time.sleep(QUIET)
        before, now = now, page.evaluate(STATE)


def _change(page: Page, changes: list[dict[str, Any]]) -> Any:
    ask = "(content) => import('/static/api.js').then(({ post }) => post('/api/changes', content))"
    return page.evaluate(ask, {"what": "Label", "changes": changes})


def _keep(page: Page, name: str) -> None:
    page.wait_for_timeout(600)
    image = Image.open(io.BytesIO(page.screenshot()))
    image.save(records.ROOT / "docs" / "images" / f"studio-{name}.webp", quality=QUALITY)


if __name__ == "__main__":
    main()
