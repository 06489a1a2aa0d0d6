"""The studio with 20,000 small images: how soon it is usable, what an event costs the page, how it scrolls, its memory.

The images are photographs of raccoons at 160 pixels, each of another brightness. The first opening draws boxes until a
detector has learnt; what is measured is a second opening, after a kill, while features are computed in the background.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image, ImageEnhance
from playwright.sync_api import Page

from benchmarks import driving, records
from sppnet import load_detection

IMAGES, SIDE = 20_000, 160
LISTENING = 20  # seconds, in which events are counted
BOXES = 8
EDGES = ((20, 20), (90, 80))  # of the box that is drawn in each image

# Counts what the page is told of. `api.js` sets this property once.
COUNT = """
window.told = 0;
Object.defineProperty(MessagePort.prototype, "onmessage", {
  set(hear) { this.addEventListener("message", (event) => { window.told++; hear(event); }); this.start(); },
});
"""
# Scrolls through all images in three seconds; resolves with the milliseconds between frames.
SCROLL = """() => new Promise((resolve) => {
  const list = [...document.querySelectorAll("#gallery, #gallery *")].find(
    (each) => each.scrollHeight > 10 * each.clientHeight && getComputedStyle(each).overflowY !== "visible");
  const times = [], start = performance.now();
  const frame = (now) => {
    times.push(now);
    list.scrollTop = ((now - start) / 3000) * (list.scrollHeight - list.clientHeight);
    if (now - start < 3000) requestAnimationFrame(frame);
    else resolve(times.slice(1).map((each, place) => each - times[place]));
  };
  requestAnimationFrame(frame);
})"""


def measure() -> None:
    """Open the folder twice, and write what the second opening is like."""
    with tempfile.TemporaryDirectory() as name, driving.chromium() as browser:
        size = _images(Path(name))
        studio = driving.Studio(Path(name))
        page = browser.new_context(viewport=driving.WINDOW).new_page()
        page.goto(studio.address)
        driving.begin(page, "raccoon")
        _learnt(page, size)
        studio.kill()
        page = browser.new_context(viewport=driving.WINDOW).new_page()
        page.add_init_script(COUNT)
        start = time.perf_counter()
        studio.start()
        page.goto(studio.address)
        page.locator("#image-name").filter(has_text=".jpg").wait_for(timeout=1000 * driving.ANSWERING)
        page.locator("#gallery").get_by_text(".jpg").first.wait_for(timeout=1000 * driving.ANSWERING)
        figures: dict[str, Any] = {"images": IMAGES, "seconds_to_a_usable_page": round(time.perf_counter() - start, 2)}
        driving.until(lambda: _state(page)["status"]["taught"])
        figures["script_milliseconds_an_event"], figures["events"] = _event_cost(page)
        figures["nodes"] = page.evaluate("() => document.getElementsByTagName('*').length")
        frames = page.evaluate(SCROLL)
        figures["frames_a_second_while_scrolling"] = round(1000 / statistics.mean(frames), 1)
        figures["slowest_frame_milliseconds"] = round(max(frames))
        answers = [_answer(page, size) for _ in range(BOXES)]
        figures["milliseconds_from_a_box_to_detections"] = round(statistics.median(answers))
        figures["server_megabytes"] = _resident(studio, "VmRSS")
        figures["server_own_megabytes"] = _resident(studio, "RssAnon")  # without what the system holds of files anyway
        studio.kill()
    records.write("studio_many", seed=0, figures=figures)
    print(json.dumps(figures, indent=1))


def _images(folder: Path) -> tuple[int, int]:
    data = load_detection(records.data_folder("raccoon"), split="train")
    small = [Image.open(sample.path).convert("RGB").resize((SIDE, 120)) for sample in data.samples]
    for number in range(IMAGES):
        brighter = ImageEnhance.Brightness(small[number % len(small)]).enhance(0.7 + number / IMAGES)
        brighter.save(folder / f"{number:05}.jpg", quality=80)
    return 120, SIDE


def _learnt(page: Page, size: tuple[int, int]) -> None:
    for _ in range(3):
        _draw(page, size)
        page.keyboard.press("PageDown")
    driving.until(lambda: _state(page)["status"]["taught"])


def _draw(page: Page, size: tuple[int, int]) -> None:
    page.keyboard.press("Escape")
    driving.draw(page, size, [*EDGES[0], *EDGES[1]])


def _answer(page: Page, size: tuple[int, int]) -> float:
    """Open the next image, look at it for a while, draw a box, and return the milliseconds until it was learnt from."""
    page.keyboard.press("PageDown")
    page.wait_for_timeout(1500)
    page.evaluate(driving.WATCH)
    _draw(page, size)
    answer: float = page.evaluate("() => window.answer")
    return answer


def _event_cost(page: Page) -> tuple[float, int]:
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def spent() -> tuple[float, int]:
        metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        return 1000 * metrics["ScriptDuration"], page.evaluate("() => window.told")

    before = spent()
    page.wait_for_timeout(1000 * LISTENING)
    script, events = (after - earlier for after, earlier in zip(spent(), before, strict=True))
    return round(script / max(events, 1), 2), int(events)


def _resident(studio: driving.Studio, kind: str) -> int:
    lines = Path(f"/proc/{studio.process.pid}/status").read_text(encoding="utf-8").splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith(kind))
    return round(kilobytes / 1024)


def _state(page: Page) -> Any:
    return driving.asked(page, "/api/state")
