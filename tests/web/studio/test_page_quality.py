"""Errors and similar objects, in a real browser."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from benchmarks.driving import draw
from playwright.sync_api import Page, Route, expect
from tests.web.studio.paging import SLOW, asked, edges_of, known, until

pytestmark = pytest.mark.browser


def test_errors_are_counted_class_by_class_chosen_by_their_number_and_opened(page: Page) -> None:
    page.get_by_label("Name of another class").fill("square")
    page.keyboard.press("Enter")
    page.locator("#classes", has_text="square").wait_for()
    disc, square = (each["id"] for each in known(page, "model.classes"))
    images = known(page, "[...model.images.images.keys()]")
    errors: list[dict[str, Any]] = [
        {"kind": "missed", "label": disc, "edges": [10, 10, 30, 30], "sure": 0.9, "image": images[2], "name": "a"},
        {"kind": "confused", "label": disc, "other": square, "edges": [20, 20, 60, 60], "sure": 0.8},
        {"kind": "false", "label": square, "edges": [5, 5, 40, 40], "sure": 0.7},
    ]
    errors = [{"image": images[3], "name": "b"} | each for each in errors]
    counts = [{"label": each["label"], "kind": each["kind"], "number": 1} for each in errors]

    def answer(route: Route) -> None:
        wanted = {name: value[0] for name, value in parse_qs(urlsplit(route.request.url).query).items()}
        rows = [each for each in errors if all(str(each[name]) == value for name, value in wanted.items())]
        route.fulfill(json={"counts": counts, "images": images[2:4], "rows": rows})

    page.route("**/api/review*", answer)
    page.get_by_role("tab", name="Quality").click()
    page.unroute("**/api/review*")
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#review-text")).to_have_text("The detector has looked at no complete image yet.")
    page.route("**/api/review*", answer)
    page.get_by_role("button", name="Check").click()
    numbers = page.locator("#errors tbody tr")
    expect(numbers).to_have_text(["disc10102", "square01001", "All11103"])
    expect(page.locator("#disagreements .where")).to_have_text(
        ["boxed, but not found", "boxed as square", "found, but not boxed"]
    )
    assert page.locator("#errors").evaluate("table => table.scrollWidth <= table.parentElement.clientWidth")
    page.get_by_role("button", name="2 disc, all errors").click()
    expect(page.locator("#disagreements .where")).to_have_text(["boxed, but not found", "boxed as square"])
    expect(page.locator("#review-text")).to_contain_text("Listed: disc, all, 2, the surest first.")
    page.get_by_role("button", name="1 All, false").click()
    expect(page.locator("#disagreements .where")).to_have_text(["found, but not boxed"])
    page.locator("#disagreements .pick").click()
    expect(page.locator("#image-name")).to_have_text(known(page, f"model.images.get({images[3]}).name"))


@pytest.mark.parametrize(
    ("kind", "sign", "becomes"),
    [
        ("missed", "Remove the box", []),
        ("false", "Box it as square", [("disc", [20, 20, 60, 60]), ("square", [5, 5, 40, 40])]),
        ("confused", "Make it square", [("square", [20, 20, 60, 60])]),
        ("misplaced", "Move the box there", [("disc", [5, 5, 40, 40])]),
    ],
)
def test_where_the_detector_is_right_a_click_mends_the_label_that_is_shown(
    page: Page, kind: str, sign: str, becomes: list[Any]
) -> None:
    page.get_by_label("Name of another class").fill("square")
    page.keyboard.press("Enter")
    page.locator("#classes", has_text="square").wait_for()
    disc, square = (each["id"] for each in known(page, "model.classes"))
    image = known(page, "[...model.images.images.keys()]")[3]  # not the one that is open
    box = page.evaluate(
        "([image, label]) => import('/static/actions.js').then(({ change }) =>"
        " change('Draw', [{ do: 'add', image, label, edges: [20, 20, 60, 60] }], image))",
        [image, disc],
    )["added"][0]
    row = {"kind": kind, "image": image, "name": "b", "label": square, "edges": [5, 5, 40, 40], "sure": 0.7, "box": box}
    counts = [{"label": square, "kind": kind, "number": 1}]
    answers = [{"counts": counts, "images": [image], "rows": [row]}, {"counts": [], "images": [], "rows": []}]
    there = {"looked_at": 1, "held_out": 1}
    page.route("**/api/review*", lambda route: route.fulfill(json=answers.pop(0) | there))
    page.get_by_role("tab", name="Quality").click()
    page.get_by_role("button", name="Check").click()
    mending = page.locator("#disagreements").get_by_role("button", name=sign)
    mending.click()  # which only shows it: it was not looked at yet
    until(lambda: known(page, "model.open") == image and len(edges_of(page)) == 1)
    mending.click()
    expect(page.locator("#said")).to_have_text(f"Done: {sign}. Z takes it back.")
    expect(page.locator("#review-text")).to_contain_text("No disagreement in complete images.")
    names = {disc: "disc", square: "square"}
    boxes = asked(page, f"/api/images/{image}")["boxes"]
    assert [(names[each["label"]], each["edges"]) for each in boxes] == becomes


def test_the_histogram_says_what_its_bars_count(page: Page) -> None:
    page.get_by_role("tab", name="Quality").click()
    expect(page.locator("#histogram")).to_contain_text("nothing found yet")
    counts = {str(known(page, "model.classes")[0]["id"]): [3132, *[0] * 38, 7]}

    def answer(route: Route) -> None:
        content = route.fetch().json()
        content["histogram"]["counts"] = counts
        route.fulfill(json=content)

    page.route("**/api/quality", answer)
    page.get_by_role("tab", name="Objects").click()
    page.get_by_role("tab", name="Quality").click()
    chart = page.locator("#histogram")
    expect(chart).to_contain_text("highest bar: 3132 found; a bar of half its height: 55")
    # All at once, as what goes on draws it anew: the bars, the line of the threshold and what is said above them.
    low, high, line, said = chart.evaluate("""(chart) => {
      const bars = chart.querySelectorAll("rect");
      const said = [...chart.querySelectorAll("text")].find((text) => text.textContent.startsWith("highest bar"));
      const shown = [bars[39], bars[0], chart.querySelector("rect[width='2']"), said];
      return shown.map((each) => each.getBoundingClientRect());
    }""")
    assert low["height"] > 0.2 * high["height"]
    assert said["bottom"] <= min(high["y"], line["y"])


@pytest.mark.slow
def test_the_like_of_a_box_is_found_opened_and_suggested(page: Page) -> None:
    size = tuple(map(int, page.locator("#image-facts").inner_text().split()[:3:2]))[::-1]
    until(lambda: asked(page, "/api/state")["status"]["ready"] == 12)
    page.locator("#stage").focus()
    page.keyboard.press("f")
    expect(page.locator("#said")).to_have_text("Choose a box first: what looks like it is then found in all images.")
    draw(page, size, (20, 20, 60, 60))
    expect(page.locator("#boxes .box.chosen")).to_have_count(1)
    page.keyboard.press("f")
    expect(page.get_by_role("tab", name="Alike")).to_have_attribute("aria-selected", "true")
    text = page.locator("#alike-text")
    expect(text).to_contain_text("Looked at 12 images", timeout=SLOW)
    assert 11 <= page.locator("#alike-rows li").count() <= 60
    page.locator("#alike-0").click()
    name = page.locator("#alike-rows .name").first.inner_text()
    expect(page.locator("#image-name")).to_have_text(name)
    page.locator("#alike-take-0").click()
    expect(page.locator("#undo")).to_have_attribute("title", "Undo: Suggest 1 of disc")
    expect(page.locator("#alike-take-0")).to_be_disabled()
    page.get_by_role("button", name="Suggest the first 20").click()
    expect(page.locator("#undo")).to_have_attribute("title", "Undo: Suggest 20 of disc")
    until(lambda: sum(sum(each["found"].values()) for each in asked(page, "/api/state")["images"]) > 5)
    page.get_by_role("button", name="Like this image").click()
    expect(page.locator("#alike-text")).to_contain_text("Looked at 12 images: the 11 most like")
    expect(page.locator("#alike-rows .take")).to_have_count(0)
