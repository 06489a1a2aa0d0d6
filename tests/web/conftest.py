"""The browser that the pages' tests drive."""

from collections.abc import Iterator

import pytest
from benchmarks.driving import chromium
from playwright.sync_api import Browser


@pytest.fixture(scope="module")  # not the session: Playwright's event loop is in the way of other tests' loops
def browser() -> Iterator[Browser]:
    """Run Chromium, or leave the test out and say how to get it."""
    try:
        with chromium() as started:
            yield started
    except FileNotFoundError as error:
        pytest.skip(str(error))
