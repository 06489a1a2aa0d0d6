"""The button that tunes the network, in a real browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.driving import Studio
from playwright.sync_api import Browser, Page, expect
from tests.web.studio.paging import SLOW, opened

AXE = Path(__file__).parents[3] / "node_modules" / "axe-core" / "axe.min.js"

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def root(shapes: Path, tmp_path: Path) -> Path:
    """Return a folder of twelve images, all complete, whose tuning waits at its first image."""
    shutil.copytree(shapes, tmp_path / "shapes")
    _does(tmp_path / "shapes", "waits")
    return tmp_path / "shapes"


@pytest.fixture
def studio(root: Path) -> Iterator[Studio]:
    """Run a studio on it that tunes in a moment."""
    started = Studio(root, program=[str(Path(__file__).with_name("quick_studio.py"))])
    yield started
    started.kill()


def _does(root: Path, what: str) -> None:
    (root / ".sppnet").mkdir(exist_ok=True)
    (root / ".sppnet" / "quick.txt").write_text(what)


def _quality(browser: Browser, studio: Studio) -> Page:
    page, _ = opened(browser, studio.address, bypass_csp=True)  # axe is a script of its own
    page.get_by_role("tab", name="Quality").click()
    return page


def _barriers(page: Page) -> list[str]:
    if not AXE.is_file():
        return []
    if not page.evaluate("'axe' in window"):
        page.add_script_tag(path=AXE)
    found: list[str] = page.evaluate("axe.run('#quality').then(found => found.violations.map(each => each.id))")
    return found


def test_it_is_begun_by_one_watched_by_all_stopped_gone_on_with_and_taken_back(
    browser: Browser, studio: Studio, root: Path
) -> None:
    one, other = _quality(browser, studio), _quality(browser, studio)
    expect(one.locator("#tuning-about")).to_contain_text("in the background, in about 15 minutes")
    assert _barriers(one) == []
    one.get_by_role("button", name="Tune the network").click()
    for page in (one, other):
        expect(page.locator("#tuning-now")).to_have_text("Tuning, round 1 of 2", timeout=SLOW)
        expect(page.get_by_role("button", name="Tune the network")).to_be_hidden()
    assert _barriers(other) == []
    other.get_by_role("button", name="Stop").click()
    expect(one.locator("#tuning-about")).to_contain_text("A tuning was interrupted.")
    expect(one.get_by_role("button", name="Begin anew")).to_be_visible()
    assert _barriers(one) == []

    _does(root, "better")
    one.get_by_role("button", name="Go on").click()
    expect(other.locator("#said")).to_contain_text("The tuned network is better, and in use now.", timeout=SLOW)
    for page in (one, other):
        expect(page.locator("#tuning-about")).to_contain_text("The tuned network is in use.")
        expect(page.locator("#tuning-report")).to_contain_text(
            "90.0 % before, 95.0 % after; where boxes must fit closely: 60.0 %"
        )
        expect(page.locator("#tuning-said")).to_be_hidden()
    assert _barriers(one) == []

    _does(root, "worse")
    one.get_by_role("button", name="Tune it again").click()
    expect(other.locator("#tuning-said")).to_contain_text(
        "The tuned network is not better, so nothing has changed.", timeout=SLOW
    )
    expect(other.locator("#tuning-about")).to_contain_text("The tuned network is in use.")

    one.get_by_role("button", name="Use the network as it came").click()
    one.get_by_role("button", name="Cancel").click()
    expect(one.locator("#tuning-report")).to_be_visible()
    one.get_by_role("button", name="Use the network as it came").click()
    one.get_by_role("button", name="Use it as it came").click()
    expect(other.locator("#tuning-said")).to_have_text("The network as it came is in use again.", timeout=SLOW)
    expect(other.get_by_role("button", name="Tune the network")).to_be_enabled()


def test_it_says_what_is_missing_and_why_it_failed(browser: Browser, studio: Studio, root: Path) -> None:
    page = _quality(browser, studio)
    _does(root, "killed")
    page.get_by_role("button", name="Tune the network").click()
    expect(page.locator("#tuning-said")).to_contain_text(
        "it was killed, as happens where memory runs out", timeout=SLOW
    )
    assert _barriers(page) == []
    changes = [{"do": "complete", "image": image, "complete": False} for image in (1, 2, 3)]
    page.evaluate(
        "changes => import('/static/api.js').then(({ post }) => post('api/changes', { what: 'Change', changes }))",
        changes,
    )
    expect(page.locator("#tuning-about")).to_contain_text("For this 10 images with objects must be complete: 9 are.")
    expect(page.get_by_role("button", name="Begin anew")).to_be_disabled()
    assert _barriers(page) == []
