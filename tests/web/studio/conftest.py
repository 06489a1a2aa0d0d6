"""Studios for the page's tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.driving import Studio, begin
from playwright.sync_api import Browser, Page
from tests.web.studio.paging import opened


@pytest.fixture
def small(shapes: Path, tmp_path: Path) -> Iterator[Studio]:
    """Run the studio on twelve small images without labels."""
    folder = tmp_path / "small"
    shutil.copytree(shapes / "JPEGImages", folder)
    studio = Studio(folder)
    yield studio
    studio.kill()


@pytest.fixture
def page(browser: Browser, small: Studio) -> Iterator[Page]:
    """Open the page of a studio that learns only when asked, with one class, "disc"."""
    page, wrong = opened(browser, small.address)
    begin(page, "disc")
    page.evaluate("import('/static/actions.js').then(({ keep }) => keep({ by_itself: false }))")
    yield page
    assert wrong == []
    page.unroute_all(behavior="ignoreErrors")
    page.context.close()
