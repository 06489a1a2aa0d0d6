"""A set labelled through in a real browser: never a word missing, nothing lost where two label at once."""

import re
from pathlib import Path
from typing import Any

import pytest
from benchmarks.driving import Studio, begin, draw
from playwright.sync_api import Browser, Page, expect
from tests.web.studio.paging import SLOW, asked, known, opened, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# Notes each state of the page in which an image is open that shows neither suggestions nor a word why not.
LISTEN = """async () => {
  const { model, on, openImage, shownSuggestions } = await import("/static/model.js");
  const hint = document.getElementById("hint");
  window.states = 0;
  window.silent = [];
  on("open images classes status chosen", () => {
    window.states++;
    if (!model.classes.length || !openImage() || shownSuggestions().length) return;
    if (hint.hidden || !hint.textContent) window.silent.push({ status: model.status, image: openImage() });
  });
}"""

# Labels image after image as fast as the studio answers; every fifth box is taken back. Keeps what shall be there.
LABEL = """async ([mine, both, aside, boxes]) => {
  const { addBox, turn } = await import("/static/actions.js");
  const kept = [];
  for (let number = 0; number < boxes; number++) {
    const image = number % 3 ? mine[number % mine.length] : both;
    const [left, top] = [aside + (number % 9) * 10, Math.floor(number / 9) * 10];
    const edges = [left, top, left + 9, top + 9];
    await addBox(edges, { image });
    if (number % 5 === 4) await turn("undo");
    else kept.push([image, ...edges]);
  }
  return kept;
}"""
START = f"(given) => {{ window.labelled = ({LABEL})(given); }}"
BOXES = 60  # of each of the two


def test_every_step_shows_suggestions_or_says_why_not(browser: Browser, small: Studio) -> None:
    page, wrong = opened(browser, small.address)
    page.evaluate(LISTEN)
    begin(page, "thing")
    images = asked(page, "/api/state")["images"]
    for step in range(len(images)):
        image = known(page, "model.open")
        size = next((each["height"], each["width"]) for each in images if each["id"] == image)
        if step < 2:
            draw(page, size, (size[1] * 0.2, size[0] * 0.2, size[1] * 0.6, size[0] * 0.7))
            expect(page.locator("#boxes .object")).to_have_count(1)
        _settle(page)
        page.keyboard.press("Escape")
        if page.locator("#boxes .suggested").count():
            page.keyboard.press("j")
            page.keyboard.press("a" if step % 2 else "r")
            _settle(page)
        page.keyboard.press("d")
        if page.locator("#ask-dialog").is_visible():
            page.get_by_role("button", name="wrong").click()
        until(lambda image=image: known(page, f"model.images.get({image}).complete"))
        if step + 1 < len(images):
            until(lambda image=image: known(page, "model.open") != image)
    _settle(page)
    page.keyboard.press("t")  # whatever is told last, it says that there is nothing left to do
    expect(page.locator("#said")).to_have_text(re.compile(r"Learnt from .* Every image is complete\."), timeout=SLOW)
    assert page.evaluate("() => window.states") > len(images)
    assert page.evaluate("() => window.silent") == []
    assert wrong == []


def _settle(page: Page) -> None:
    """Wait until the detector has learnt what it was told."""
    until(lambda: not ((now := asked(page, "/api/state")["status"])["behind"] or now["learning"]))


def test_two_who_label_at_once_lose_nothing_and_undo_their_own(browser: Browser, small: Studio) -> None:
    pages = [opened(browser, small.address)[0] for _ in range(2)]
    begin(pages[0], "thing")
    pages[1].locator("#classes", has_text="thing").wait_for()
    images = [each["id"] for each in asked(pages[0], "/api/state")["images"]]
    both, halves = images[0], (images[1:6], images[6:11])
    _label(pages, both, halves, boxes=5)  # what is opened once is open
    held = _held(small)
    kept = _label(pages, both, halves, boxes=BOXES)
    boxes = [[image, *box["edges"]] for image in images for box in asked(pages[0], f"/api/images/{image}")["boxes"]]
    assert sorted(boxes) == sorted(kept)
    until(lambda: _held(small) <= held)
    for page in pages:
        expect(page.locator("#lost")).to_be_hidden()


def _label(pages: list[Page], both: int, halves: tuple[list[int], ...], *, boxes: int) -> list[Any]:
    """Let both pages label at the same time; return image and edges of what they keep."""
    for page, own, aside in zip(pages, halves, (0, 5), strict=True):
        page.evaluate(START, [own, both, aside, boxes])
    return [each for page in pages for each in page.evaluate("() => window.labelled")]


def _held(studio: Studio) -> int:
    """Return how many files and connections the studio's process holds open."""
    return len(list(Path(f"/proc/{studio.process.pid}/fd").iterdir()))
