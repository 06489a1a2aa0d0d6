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
LABELLED, IMAGES = 4, 30
QUALITY = 82  # of WebP


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
        _wait(page)
        page.reload()
        page.locator("#boxes .suggested").nth(2).wait_for()
        page.keyboard.press("j")
        _keep(page, "teach")
        page = _page(browser, studio, 1280, 800, "dark")
        page.click("#tab-quality")
        page.click("#measure")
        page.locator("#measured tbody tr").nth(2).wait_for(timeout=120_000)
        _keep(page, "quality")
        page = _page(browser, studio, 820, 1180, "light")
        page.locator("#boxes .suggested").nth(2).wait_for()
        _keep(page, "tablet")
        page = _page(browser, studio, 1280, 800, "light")
        page.click("#export")
        _keep(page, "export")
        studio.kill()


def _page(browser: Browser, studio: driving.Studio, width: int, height: int, scheme: Any) -> Page:
    page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
    page.goto(studio.address)
    page.locator("#images .image").nth(IMAGES - 1).wait_for(state="attached")
    return page


def _label(page: Page, data: DetectionData) -> None:
    """Tell of the first images what their labels say, as the page itself would."""
    added = _change(page, [{"do": "add class", "name": NAMES[name]} for name in data.classes])["added"]
    for image, sample in enumerate(data.samples[:LABELLED], start=1):
        rows = zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True)
        boxes = [{"do": "add", "image": image, "label": added[label], "edges": edges} for edges, label in rows]
        _change(page, [*boxes, {"do": "complete", "image": image, "complete": True}])


def _change(page: Page, changes: list[dict[str, Any]]) -> Any:
    ask = "(content) => import('/static/api.js').then(({ post }) => post('/api/changes', content))"
    return page.evaluate(ask, {"what": "Label", "changes": changes})


def _wait(page: Page) -> None:
    """Wait until the detector that learnt all has looked at every image."""
    while len(page.evaluate("() => fetch('/api/state').then((answer) => answer.json())")["order"]) < IMAGES - LABELLED:
        time.sleep(0.2)


def _keep(page: Page, name: str) -> None:
    page.wait_for_timeout(600)
    image = Image.open(io.BytesIO(page.screenshot()))
    image.save(records.ROOT / "docs" / "images" / f"studio-{name}.webp", quality=QUALITY)


if __name__ == "__main__":
    main()
