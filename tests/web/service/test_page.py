"""The page in a real browser: an image goes in, boxes come out, and what made a score adds up to it."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.driving import PATIENCE
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, expect
from tests.web.service.calling import Served

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """Open the page; whatever it complains of, or asks of another host, fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    opened.set_default_timeout(PATIENCE)
    complaints: list[str] = []

    def heard(said: ConsoleMessage) -> None:
        if "422" not in said.text:  # a refusal that the test asks for
            complaints.append(said.text)

    opened.on("console", heard)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: complaints.append(request.url) if not _own(request.url, served) else None)
    opened.goto(served.address)
    yield opened
    opened.close()
    assert complaints == []


def _own(url: str, served: Served) -> bool:
    return url.startswith((f"{served.address}/", f"blob:{served.address}/"))


def _number(text: str) -> float:
    return float(text.replace("−", "-"))


def test_a_box_is_explained_with_the_keyboard_alone(page: Page, shapes: Path) -> None:
    page.set_input_files("#file", shapes / "JPEGImages/10.png")
    first = page.locator("#list button").first
    expect(first).to_be_visible()
    assert page.locator("#overlay .box").count() == page.locator("#list button").count() >= 2
    page.keyboard.press("Tab")
    first.focus()
    page.keyboard.press("Enter")
    expect(first).to_have_attribute("aria-pressed", "true")
    expect(first).to_be_focused()
    assert 0 < _number(first.locator(".number").inner_text()) <= 1
    (scored,) = re.findall(r"was scored ([−+][0-9.]+) in a window", page.locator("#why-text").inner_text())
    score = _number(scored)
    sums = [_number(text) for text in page.locator("#sum td.number").all_inner_texts()]
    assert sums[-1] == pytest.approx(score, abs=0.006)
    assert sum(sums[:-1]) == pytest.approx(score, abs=0.03)  # each is rounded to two digits
    assert page.locator("#overlay .bin").count() == 9
    second = page.locator("#levels button").nth(1)
    second.focus()
    page.keyboard.press("Space")
    assert page.locator("#overlay .bin").count() == 4
    expect(second).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#why")).to_be_hidden()


def test_the_image_is_clicked_and_the_least_confidence_hides_boxes(page: Page, shapes: Path) -> None:
    page.set_input_files("#file", shapes / "JPEGImages/11.png")
    box = page.locator("#overlay .box").last
    box.click()
    expect(page.locator("#list button[aria-pressed=true]")).to_have_count(1)
    expect(page.locator("#summary")).to_contain_text("1 disc")
    expect(page.locator("#threshold-value")).to_have_text("as learnt")
    shown = page.locator("#overlay .box").count()
    page.locator("#threshold").fill("0")
    expect(page.locator("#threshold-value")).to_have_text("0.00")
    assert page.locator("#overlay .box").count() > shown
    page.locator("#threshold").fill("1")
    expect(page.locator("#summary")).to_contain_text("Nothing that it is so sure of")
    expect(page.locator("#overlay .box")).to_have_count(0)
    page.get_by_role("button", name="As learnt").click()
    expect(page.locator("#overlay .box")).to_have_count(shown)
    expect(page.get_by_role("button", name="As learnt")).to_be_hidden()


def test_a_classifier_is_explained_over_the_whole_image(page: Page, shapes: Path) -> None:
    page.select_option("#model", "kinds")
    page.set_input_files("#file", shapes / "JPEGImages/10.png")
    expect(page.locator("#found-title")).to_have_text("Best classes")
    expect(page.locator("#list button")).to_have_count(2)
    expect(page.locator("#summary")).to_contain_text(page.locator("#list button").first.inner_text().split()[0])
    sums, odds = [], []
    for rank in range(2):
        page.locator("#list button").nth(rank).click()
        sums.append(_number(page.locator("#sum td.number").last.inner_text()))
        odds.append(_number(page.locator("#list button .number").nth(rank).inner_text()))
    # What the bins sum to is the logit: a difference of two is the logarithm of the ratio of their probabilities.
    assert sums[0] - sums[1] == pytest.approx(math.log(odds[0] / odds[1]), abs=0.05)
    assert page.locator("#overlay .bin").count() == 9
    expect(page.locator("#time-table")).to_contain_text("network")
    expect(page.locator("#threshold-choice")).to_be_hidden()


def test_a_refusal_is_read_out_and_the_page_goes_on(page: Page, shapes: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    page.set_input_files("#file", broken)
    expect(page.get_by_role("alert")).to_contain_text("image must be a whole JPEG, PNG, WebP, BMP, GIF or TIFF")
    page.set_input_files("#file", shapes / "JPEGImages/10.png")
    expect(page.locator("#list button").first).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_several_images_are_looked_at_and_their_results_saved(page: Page, shapes: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    page.set_input_files("#file", [shapes / "JPEGImages/10.png", broken, shapes / "JPEGImages/11.png"])
    expect(page.locator("#batch-count")).to_have_text("3")
    expect(page.locator("#batch-list button").nth(1)).to_contain_text("cannot be read")
    for name in page.locator("#batch-list .name").all():
        assert name.evaluate("name => name.scrollWidth <= name.clientWidth")  # a short one is read as a whole
    with page.expect_download() as saving:
        page.get_by_role("button", name="Results as a table").click()
    rows = Path(saving.value.path()).read_text().splitlines()
    assert rows[0] == "image,class,sure,left,top,right,bottom,problem"
    assert {row.split(",")[0] for row in rows[1:]} == {"10.png", "broken.png", "11.png"}
    page.locator("#batch-list button").nth(2).click()
    expect(page.locator("#image")).to_have_attribute("alt", "11.png")
    expect(page.locator("#list button").first).to_be_visible()


def test_the_description_for_programs_names_every_question(page: Page, served: Served) -> None:
    page.get_by_role("link", name="For programs").click()
    for path in ("/v1/detect", "/v1/classify", "/v1/features", "/v1/model"):
        expect(page.get_by_role("heading", name=path)).to_be_visible()
    expect(page.locator("#operations")).to_contain_text("threshold")
    expect(page.locator("#schemas")).to_contain_text("The probability that the detection is right.")


def test_an_image_that_is_given_before_the_models_are_known_is_looked_at(
    browser: Browser, served: Served, shapes: Path
) -> None:
    opened, held = browser.new_page(), list[Route]()
    opened.route("**/v1/model", lambda route: held.append(route))
    with opened.expect_request("**/v1/model"):
        opened.goto(served.address)
    opened.set_input_files("#file", shapes / "JPEGImages/11.png")
    held[0].continue_()
    expect(opened.locator("#overlay .box").last).to_be_visible()
    opened.close()


def test_of_an_export_boxes_are_shown_and_nothing_is_explained(
    browser: Browser, exported: Served, shapes: Path
) -> None:
    opened, refused = browser.new_page(), list[int]()
    opened.on("response", lambda response: refused.append(response.status) if response.status >= 400 else None)
    opened.goto(exported.address)
    expect(opened.locator("#facts")).to_contain_text("It is an export: it does not explain")
    opened.set_input_files("#file", shapes / "JPEGImages/11.png")
    opened.locator("#overlay .box").last.click()
    expect(opened.locator("#list button[aria-pressed=true]")).to_have_count(1)
    expect(opened.locator("#why")).to_be_hidden()
    facts = exported.ask("GET", "/v1/model").json()["models"][0]
    assert float(opened.locator("#threshold").get_attribute("min") or 0) >= max(facts["thresholds"])
    opened.select_option("#model", "kinds")
    expect(opened.locator("#found-title")).to_have_text("Best classes")
    expect(opened.locator("#list button")).to_have_count(2)
    opened.close()
    assert refused == []
