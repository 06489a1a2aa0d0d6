"""The studio's page, opened in a browser and asked what it knows."""

import re
import time
from collections.abc import Callable
from typing import Any

from benchmarks.driving import WINDOW
from benchmarks.driving import asked as asked
from playwright.sync_api import Browser, Page, Route

ANSWERS = re.compile(r"/api/(images/\d+|changes|undo|redo)$")  # which tell what an image shows
LATER = 1000  # rounds of learning: what was asked for before, and is answered after, is outdated for the page
SLOW = 90_000  # milliseconds: learning on a machine that does much else


def opened(browser: Browser, address: str, **options: Any) -> tuple[Page, list[str]]:
    """Open a page; return it, and the list that its errors and its requests to other hosts go to."""
    page = browser.new_context(**{"viewport": WINDOW, "accept_downloads": True} | options).new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    page.on("request", lambda asked: None if asked.url.startswith((address, "blob:")) else wrong.append(asked.url))
    page.goto(address)
    return page, wrong


def until(holds: Callable[[], Any]) -> Any:
    """Wait until something holds, and return it."""
    end = time.monotonic() + SLOW / 1000
    while not (value := holds()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return value


def known(page: Page, expression: str) -> Any:
    """Return something of what the page knows."""
    return page.evaluate(f"import('/static/model.js').then(({{ model }}) => {expression})")


def suggest(page: Page, *suggestions: dict[str, Any]) -> None:
    """Show suggestions in the open image as if the detector had made them, also in what the studio answers later.

    As the studio does, those are left out that a box of a person stands for.
    """
    shown = list(suggestions)

    def answered(route: Route) -> None:
        answer = route.fetch()
        if "application/json" not in answer.headers.get("content-type", ""):
            route.fulfill(response=answer)
            return
        content = answer.json()
        opened = content.get("opened", content) if isinstance(content, dict) else {}
        if "suggestions" in opened:
            said = [box["edges"] for box in opened["boxes"]]
            opened["suggestions"] = [each for each in shown if each["edges"] not in said]
            opened["round"] += LATER
        route.fulfill(response=answer, json=content)

    page.unroute(ANSWERS)
    page.route(ANSWERS, answered)
    page.evaluate("import('/static/actions.js').then(({ lookAgain }) => lookAgain())")


def edges_of(page: Page) -> list[list[float]]:
    """Return the boxes of the open image, as the studio has them."""
    return [box["edges"] for box in asked(page, f"/api/images/{known(page, 'model.open')}")["boxes"]]
