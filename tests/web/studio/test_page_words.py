"""What the page says: the line of news, questions, files that come, images that cannot be read; in a real browser."""

import io
import re
import shutil
from typing import Any

import pytest
from benchmarks.driving import Studio, drag, draw
from PIL import Image
from playwright.sync_api import APIResponse, Browser, Page, Route, expect
from tests.web.studio.paging import SLOW, edges_of, known, opened, suggest, until

pytestmark = pytest.mark.browser

# Keeps each text of the line of news with the milliseconds at which it came.
LISTEN = """() => {
  window.news = [];
  const line = document.getElementById("said");
  new MutationObserver(() => window.news.push([line.textContent, performance.now()]))
    .observe(line, { childList: true, characterData: true, subtree: true });
}"""


def _size(page: Page) -> tuple[int, int]:
    facts = page.locator("#image-facts").inner_text().split()
    return int(facts[2]), int(facts[0])


def _box(page: Page, left: int = 20) -> None:
    count = page.locator("#boxes .object").count()
    draw(page, _size(page), (left, 20, left + 30, 50))
    expect(page.locator("#boxes .object")).to_have_count(count + 1)


def _suggestion(page: Page, score: float, left: int, place: int = 0) -> dict[str, Any]:
    return {
        "label": known(page, "model.classes")[place]["id"],
        "score": score,
        "edges": [left, 10, left + 30, 40],
    }


def _upload(page: Page, *files: tuple[str, bytes]) -> None:
    page.locator("#add-files").set_input_files(
        [{"name": name, "mimeType": "image/png", "buffer": content} for name, content in files]
    )


def _half(side: int = 200) -> bytes:
    """Return an image whose end is missing; its size can be told."""
    whole = io.BytesIO()
    Image.effect_noise((side, side), 80).save(whole, "PNG")
    return whole.getvalue()[: side * side // 2]


# The line of news


def test_what_was_undone_stays_to_be_read_before_the_machine_tells_what_it_does(page: Page) -> None:
    _box(page)
    page.evaluate(LISTEN)
    page.keyboard.press("z")
    expect(page.locator("#said")).to_have_text("Undone: Draw a disc.")
    page.keyboard.press("y")
    expect(page.locator("#said")).to_have_text("Done again: Draw a disc.")
    page.keyboard.press("t")
    expect(page.locator("#said")).to_contain_text("Learnt from 1 image", timeout=SLOW)
    news = page.evaluate("window.news")
    here = next(place for place, (text, _) in enumerate(news) if text.startswith("Done again"))
    assert news[here + 1][1] - news[here][1] > 2900


def test_keys_that_find_nothing_to_do_and_what_is_hidden_are_said(page: Page) -> None:
    page.keyboard.press("y")
    expect(page.locator("#said")).to_have_text("There is nothing to do again.")
    _box(page)
    expect(page.locator("#reject")).to_have_text("Remove R")
    page.keyboard.press("Escape")
    expect(page.locator("#reject")).to_have_text("Reject R")
    page.keyboard.press("b")
    expect(page.locator("#hint")).to_have_text("Boxes are hidden: B shows them")
    page.keyboard.press("b")
    expect(page.locator("#hint")).not_to_contain_text("hidden")


def test_who_is_at_work_is_told_and_may_sign_out(page: Page) -> None:
    signed_in = {"me": "Ada", "people": [{"name": "Ada", "image": 1}, {"name": "Bob", "image": 2}]}
    page.route("**/api/state", lambda route: route.fulfill(json=route.fetch().json() | signed_in))
    page.reload()
    page.get_by_role("button", name="Ada · 2 at work").click()
    expect(page.locator("#ask-title")).to_have_text("You are Ada")
    expect(page.locator("#ask-text")).to_have_text("At work: Ada, Bob.")
    page.route("**/api/logout", lambda route: (page.unroute("**/api/state"), route.fulfill(json={})))
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#people")).to_be_hidden()  # the page anew, as the studio has it


def test_undoing_elsewhere_says_where(page: Page) -> None:
    _box(page)
    name = page.locator("#image-name").inner_text()
    page.keyboard.press("PageDown")
    expect(page.locator("#image-name")).not_to_have_text(name)
    page.keyboard.press("z")
    expect(page.locator("#said")).to_have_text(f"Undone: Draw a disc. In {name}, which is open now.")


@pytest.mark.parametrize("width", [1280, 834, 700, 360])
def test_what_went_wrong_is_readable_as_a_whole_and_ends_with_what_works(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    added = "import('/static/actions.js').then(({ addClass }) => addClass('disc'))"
    page.evaluate(added)
    said = page.locator("#said")
    expect(said).to_have_text("There is a class named disc already. Choose another name.")
    assert said.evaluate(
        """line => {
            const { left, right, top, bottom } = line.getBoundingClientRect();
            const inside = left >= 0 && right <= innerWidth && top >= 0 && bottom <= innerHeight;
            return inside && line.scrollWidth <= line.clientWidth && line.scrollHeight <= line.clientHeight
                && document.elementFromPoint(left + 5, (top + bottom) / 2) === line;
        }"""
    )
    expect(said).to_have_class(re.compile(r"\bno\b"))
    _box(page)
    expect(said).not_to_have_class(re.compile(r"\bno\b"))
    expect(said).not_to_contain_text("already")


# Has the page take in the studio's state, and tells at once, before an event changes it, how the head is laid out.
LAID_OUT = """async () => {
  const { refresh } = await import("/static/actions.js");
  await refresh();
  const byId = (id) => document.getElementById(id);
  const head = document.querySelector(".top");
  const right = (id) => byId(id).getBoundingClientRect().right;
  return {
    texts: [byId("progress-text").textContent, byId("people").textContent],
    shown: byId("progress").checkVisibility() && byId("people").checkVisibility(),
    fits: head.scrollWidth <= head.clientWidth,
    inside: ["help", "export", "progress", "people", "said"].every((id) => right(id) <= innerWidth),
  };
}"""


def test_the_head_has_room_for_all_that_goes_on(page: Page) -> None:
    def busy(route: Route) -> None:
        content = route.fetch().json()
        content["status"] |= {"ready": 1234, "total": 20000}
        content["people"] = [{"name": "Ada", "image": 1}, {"name": "Bo", "image": 2}]
        route.fulfill(json=content)

    page.route("**/api/state", busy)
    for width in (720, 760, 834, 890, 960, 1200):
        page.set_viewport_size({"width": width, "height": 700})
        assert page.evaluate(LAID_OUT) == {
            "texts": ["Computing features: 1234 of 20000", "2 at work"],
            "shown": True,
            "fits": True,
            "inside": True,
        }, width


# Questions


def test_what_is_accepted_at_the_end_is_what_was_asked_about(page: Page) -> None:
    suggest(page, _suggestion(page, 0.9, 10), _suggestion(page, 0.8, 60))
    expect(page.locator("#boxes .suggested")).to_have_count(2)
    page.locator("#stage").focus()
    page.keyboard.press("c")
    expect(page.get_by_role("button", name="Go back")).to_be_focused()
    suggest(page, _suggestion(page, 0.95, 15), _suggestion(page, 0.9, 50), _suggestion(page, 0.9, 90))
    expect(page.locator("#ask-dialog")).to_contain_text("2 suggestions are not answered")
    expect(page.locator("#boxes .suggested")).to_have_count(2)
    page.get_by_role("button", name="Accept all 2, reject the rest").click()
    expect(page.locator("#complete")).to_have_attribute("aria-pressed", "true")
    assert sorted(edges_of(page)) == [[10, 10, 40, 40], [60, 10, 90, 40]]


def test_a_choice_for_all_that_follows_is_taken_back_in_the_menu(page: Page) -> None:
    suggest(page, _suggestion(page, 0.9, 10))
    expect(page.locator("#boxes .suggested")).to_have_count(1)
    page.locator("#stage").focus()
    page.keyboard.press("c")
    page.get_by_label("Do the same from now on").check()
    page.get_by_role("button", name="It is wrong").click()
    expect(page.locator("#complete")).to_have_attribute("aria-pressed", "true")
    for dialog in (False, True):
        page.keyboard.press("c")
        expect(page.locator("#complete")).to_have_attribute("aria-pressed", "false")
        expect(page.locator("#boxes .suggested")).to_have_count(1)
        page.keyboard.press("c")
        expect(page.locator("#ask-dialog")).to_be_visible(visible=dialog)
        if not dialog:
            expect(page.locator("#complete")).to_have_attribute("aria-pressed", "true")
            page.locator(".shown summary").click()
            page.get_by_label("Ask again at Done: now open suggestions are wrong without a question").click()
            expect(page.locator("#asks")).to_be_hidden()
            page.locator("#stage").focus()


def test_one_object_is_not_accepted_twice_as_two_classes(page: Page) -> None:
    page.get_by_label("Name of another class").fill("square")
    page.keyboard.press("Enter")
    expect(page.locator("#classes .choose")).to_have_count(2)
    suggest(page, _suggestion(page, 0.9, 10), _suggestion(page, 0.7, 11, 1), _suggestion(page, 0.6, 90, 1))
    expect(page.locator("#accept-all")).to_have_text("Accept all 2")
    page.locator("#accept-all").click()
    expect(page.locator("#said")).to_have_text(
        "2 accepted. One more lay on the same object as another class: the surer counts."
    )
    assert sorted(edges_of(page)) == [[10, 10, 40, 40], [90, 10, 120, 40]]


# Fields


def test_a_class_chosen_while_the_studio_takes_a_new_one_stays_chosen(page: Page) -> None:
    held: list[tuple[Route, APIResponse]] = []
    page.route(
        "**/api/changes", lambda route: held.append((route, route.fetch()))
    )  # done, and the page is not told yet
    page.get_by_label("Name of another class").fill("square")
    page.keyboard.press("Enter")
    expect(page.locator("#classes .choose")).to_have_count(2)
    page.keyboard.press("1")
    until(lambda: page.evaluate("1") and held)
    route, answer = held[0]
    with page.expect_response("**/api/changes"):
        route.fulfill(response=answer)
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 100)))")
    expect(page.locator("#classes .choose[aria-pressed=true]")).to_contain_text("disc")


def test_right_after_a_name_a_digit_means_a_class_and_enter_the_last_name(page: Page) -> None:
    field, stage = page.get_by_label("Name of another class"), page.locator("#stage")
    field.focus()
    page.keyboard.type("square")
    page.keyboard.press("Enter")
    expect(page.locator("#classes .choose")).to_have_count(2)
    expect(field).to_be_focused()
    page.keyboard.press("1")
    expect(stage).to_be_focused()
    expect(page.locator("#classes .choose[aria-pressed=true]")).to_contain_text("disc")
    field.focus()
    page.keyboard.type("3 o'clock")  # a name that begins with a digit
    page.keyboard.press("Enter")
    expect(page.locator("#classes .choose")).to_have_count(3)
    page.keyboard.press("Enter")
    expect(stage).to_be_focused()
    field.focus()
    page.keyboard.type("ring")
    page.keyboard.press("Enter")
    expect(page.locator("#classes .choose")).to_have_count(4)
    _box(page)
    expect(stage).to_be_focused()


def test_enter_ends_a_note(page: Page) -> None:
    page.locator("#note").fill("blurred")
    page.keyboard.press("Enter")
    expect(page.locator("#stage")).to_be_focused()
    expect(page.locator("#undo")).to_have_attribute("title", "Undo: Write a note")


# Lists


def test_rejections_come_last_and_a_long_list_hides_neither_the_classes_nor_the_note(page: Page) -> None:
    suggest(page, _suggestion(page, 0.9, 90), _suggestion(page, 0.8, 60))
    page.locator("#stage").focus()
    page.keyboard.press("Shift+R")
    expect(page.locator("#boxes .rejected")).to_have_count(2)
    _box(page, 20)
    expect(page.locator("#boxes .box").first).to_have_class(re.compile("object"))
    suggest(page, *(_suggestion(page, 0.9 - place / 100, 2 * place) for place in range(20)))
    page.locator("#stage").focus()
    for _ in range(20):
        page.keyboard.press("j")
    expect(page.locator("#boxes .chosen")).to_be_in_viewport()
    expect(page.locator("#classes .choose")).to_be_in_viewport()
    expect(page.locator("#note")).to_be_in_viewport()


def test_a_search_that_finds_nothing_says_so_where_the_images_would_be(page: Page) -> None:
    page.locator("#search").fill("zebra")
    none, sort = page.locator("#none-pass").bounding_box(), page.locator("#sort").bounding_box()
    assert none is not None
    assert sort is not None
    assert 0 <= none["y"] - (sort["y"] + sort["height"]) < 40
    page.locator("#search").fill("01")  # of 00.png to 11.png
    listed = page.locator("#gallery .image").count()
    expect(page.locator("#gallery-count")).to_have_text(f"0 of 12 labelled, {listed} listed")
    page.locator("#search").fill("")
    expect(page.locator("#gallery-count")).to_have_text("0 of 12 labelled")


# Files


def test_added_files_are_said_to_be_new_here_already_or_not_to_be_read(page: Page, small: Studio) -> None:
    known_one = next(small.folder.glob("*.png"))
    fresh = io.BytesIO()
    Image.new("RGB", (50, 40), "red").save(fresh, "PNG")
    said = page.locator("#said")
    _upload(page, ("new.png", fresh.getvalue()))
    expect(said).to_have_text("One image is added.")
    _upload(page, ("new.png", fresh.getvalue()), (known_one.name, known_one.read_bytes()))
    expect(said).to_have_text("2 are here already.")
    _upload(page, ("half.png", _half()), ("new.png", fresh.getvalue()))
    expect(said).to_have_text(
        re.compile(r"^new\.png is here already\. half\.png cannot be read: .*Choose another file\.$")
    )
    expect(page.locator("#gallery-count")).to_have_text("0 of 13 labelled")


@pytest.mark.slow
def test_an_image_that_cannot_be_read_is_not_drawn_in_and_done_goes_on(page: Page, small: Studio) -> None:
    (small.folder / "half.png").write_bytes(_half())
    page.locator("#images .image").filter(has_text="half.png").click(timeout=SLOW)
    expect(page.locator("#image-facts")).to_have_text("cannot be read", timeout=SLOW)
    expect(page.locator("#hint")).to_have_text(
        re.compile(r"^The image cannot be read: .* D goes on to the next image\.$")
    )
    drag(page, (200, 200), (20, 20), (90, 90))
    expect(page.locator("#said")).to_have_text("This image cannot be read: no box can be drawn in it.")
    page.keyboard.press("n")
    assert edges_of(page) == []
    page.keyboard.press("d")
    expect(page.locator("#image-name")).not_to_have_text("half.png")
    expect(page.locator("#gallery-count")).to_have_text("0 of 13 labelled")


def test_labels_say_how_many_images_are_not_complete_and_leave_them_out_if_asked(page: Page) -> None:
    _box(page)
    page.get_by_role("button", name="Export").click()
    expect(page.locator("#export-open")).to_contain_text("1 of these 1 is not complete: what has no box there may be")
    page.get_by_label("Complete images only").check()
    page.get_by_role("link", name="CSV", exact=True).click()
    expect(page.locator("#export-said")).to_have_text(
        "There must be a complete image, got none. Press Done in one first."
    )
    page.get_by_label("Complete images only").uncheck()
    with page.expect_download():
        page.get_by_role("link", name="CSV", exact=True).click()
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    page.get_by_role("button", name="Export").click()
    expect(page.locator("#export-open")).to_be_hidden()


def test_the_report_names_the_folder_and_counts_whole_objects(browser: Browser, small: Studio) -> None:
    (small.folder / "deep").mkdir()
    shutil.copy(next(small.folder.glob("*.png")), small.folder / "deep" / "other.png")
    page, wrong = opened(browser, small.address)
    expect(page.locator("#gallery-count")).to_have_text("0 of 13 labelled", timeout=SLOW)

    def answered(route: Route) -> None:
        content = route.fetch().json()
        content["classes"] = [{"id": 1, "name": "disc", "colour": "#336699"}]
        for group in content["groups"]:
            group["classes"] = {"1": {"boxed": 2, "expected": 14.8, "low": 12.2, "high": 17.4}}
        route.fulfill(json=content | {"unseen": 1})

    page.route("**/api/report*", answered)
    page.goto(f"{small.address}/report")
    rows = [f"{name}15 (12 to 17)" for name in ("All13", "deep1", "small12")]
    expect(page.locator("#counts tbody tr")).to_have_text(rows)
    expect(page.locator("#limits")).to_have_text(
        "The detector has not looked at 1 image yet: only boxes of a person count there."
    )
    assert wrong == []
    page.context.close()
