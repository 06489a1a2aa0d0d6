"""How fast the studio answers: from a drawn box to new detections on the open image, measured in the page.

100 images of BCCD, 640 x 480, features computed, two classes. Five images get four boxes each; the clock runs from
the mouse button's release to the drawing of the detections that came of it, the server's other work going on as it does
for a person. Also: from the command to detections in a second image, three boxes drawn, on 30 images never seen.
"""

import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from benchmarks import driving, records
from sppnet.data import DetectionData, Sample, load_detection

CLASSES = {"RBC": "1", "WBC": "2"}  # and their keys
IMAGES, UNSEEN = 100, 30
BOXES, CHANGES = 4, 20


def measure() -> None:
    """Run both measurements and write them."""
    data = load_detection(records.data_folder("bccd"), split="train")
    samples = [sample for sample in data.samples if sample.size == (480, 640)]
    with tempfile.TemporaryDirectory() as folder, driving.chromium() as browser:
        page = browser.new_context(viewport=driving.WINDOW).new_page()
        first = _first_detections(page, _copied(samples[:UNSEEN], Path(folder) / "unseen"), data)
        answers = _answers(page, _copied(samples[:IMAGES], Path(folder) / "known"), data)
    figures = {
        "milliseconds_from_a_box_to_detections": round(statistics.median(answers)),
        "slowest": round(max(answers)),
        "each": [round(each) for each in answers],
        "seconds_to_first_detections_on_unseen_images": round(first, 2),
        "images": IMAGES,
        "unseen_images": UNSEEN,
    }
    records.write("studio", seed=0, figures=figures)
    print(json.dumps(figures, indent=1))


def _copied(samples: list[Sample], folder: Path) -> Path:
    folder.mkdir()
    for sample in samples:
        shutil.copy(sample.path, folder)
    return folder


def _first_detections(page: Page, folder: Path, data: DetectionData) -> float:
    """Return the seconds from the command to detections in another image than the one with the three boxes."""
    start = time.perf_counter()
    studio = driving.Studio(folder)
    page.goto(studio.address)
    driving.begin(page, "cell")
    for skip in range(3):
        _draw(page, data, skip=skip)
    driving.until(lambda: len(driving.asked(page, "/api/images/2")["suggestions"]) > 0)
    seconds = time.perf_counter() - start
    studio.kill()
    return seconds


def _answers(page: Page, folder: Path, data: DetectionData) -> list[float]:
    """Return the milliseconds of each of ``CHANGES`` boxes."""
    studio = driving.Studio(folder)
    page.goto(studio.address)
    driving.begin(page, "RBC")
    page.get_by_label("Name of another class").fill("WBC")
    page.keyboard.press("Enter")
    page.locator("#classes .choose").nth(1).wait_for()
    driving.until(lambda: _state(page)["status"]["ready"] == IMAGES)
    _draw(page, data, skip=0)  # compiles what is compiled once on a machine
    driving.until(lambda: _state(page)["status"]["taught"])
    answers = []
    for number in range(CHANGES):
        if number % BOXES == 0:
            page.keyboard.press("PageDown")
            page.wait_for_timeout(1500)  # a person looks at the image first
        page.evaluate(driving.WATCH)
        _draw(page, data, skip=number % BOXES)
        answers.append(page.evaluate("() => window.answer"))
    studio.kill()
    return answers


def _draw(page: Page, data: DetectionData, *, skip: int) -> None:
    """Draw the box after ``skip`` others of the open image: white cells, of which there are few, come first."""
    name = page.locator("#image-name").inner_text()
    sample = next(each for each in data.samples if each.path.name == name)
    rows = zip(sample.boxes.tolist(), (data.classes[label] for label in sample.labels), strict=True)
    edges, kind = sorted((row for row in rows if row[1] in CLASSES), key=lambda row: row[1] != "WBC")[skip]
    page.keyboard.press("Escape")
    page.keyboard.press(CLASSES[kind])
    driving.draw(page, sample.size, edges)


def _state(page: Page) -> Any:
    return driving.asked(page, "/api/state")
