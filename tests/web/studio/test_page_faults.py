"""What went wrong in the page once, each in a real browser."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from benchmarks.driving import Studio, begin, draw, place_of
from playwright.sync_api import Browser, Page, expect
from tests.web.studio.paging import SLOW, asked, edges_of, known, opened, suggest, until

AXE = Path(__file__).parents[3] / "node_modules" / "axe-core" / "axe.min.js"
LAYOUTS = (
    {"width": 1280, "height": 800},
    {"width": 800, "height": 600},
    {"width": 640, "height": 400},
    {"width": 360, "height": 640},
)

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def _size(page: Page) -> tuple[int, int]:
    facts = page.locator("#image-facts").inner_text().split()
    return int(facts[2]), int(facts[0])


def _suggestion(score: float, left: int = 10, label: str = "disc") -> dict[str, object]:
    return {"label": label, "score": score, "edges": [left, 10, left + 30, 40]}


def _label(page: Page, name: str = "disc") -> int:
    return next(each["id"] for each in known(page, "model.classes") if each["name"] == name)


def _kinds(page: Page) -> list[str]:
    return sorted(box["kind"] for box in asked(page, f"/api/images/{known(page, 'model.open')}")["boxes"])


def test_names_typed_one_after_the_other_are_classes_and_nothing_else(page: Page) -> None:
    page.get_by_label("Name of another class").focus()
    for name in ("cat", "nut", "crab"):
        page.keyboard.type(name)
        page.keyboard.press("Enter")
    page.keyboard.type("typed on")
    expect(page.locator("#classes .choose")).to_have_count(4)
    expect(page.get_by_label("Name of another class")).to_have_value("typed on")
    expect(page.locator("#complete")).to_have_attribute("aria-pressed", "false")
    assert edges_of(page) == []


def test_completing_asks_what_becomes_of_suggestions(page: Page) -> None:
    label = _label(page)
    suggest(page, _suggestion(0.9, 10, label), _suggestion(0.8, 60, label), _suggestion(0.1, 110, label))
    first = page.locator("#boxes .suggested .pick").first
    expect(first).to_have_text("disc90 % sure")
    expect(first).to_have_attribute("title", "30 × 30 at 10, 10")
    page.locator("#stage").focus()
    page.keyboard.press("c")
    expect(page.locator("#ask-dialog")).to_contain_text("2 suggestions are not answered")
    page.get_by_role("button", name="Go back").click()
    expect(page.locator("#complete")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("c")
    page.keyboard.press("Enter")  # without reading: nothing changes
    expect(page.locator("#ask-dialog")).to_be_hidden()
    expect(page.locator("#complete")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("c")
    page.get_by_role("button", name="Accept all 2, reject the rest").click()
    expect(page.locator("#complete")).to_have_attribute("aria-pressed", "true")
    assert _kinds(page) == ["object", "object"]
    page.keyboard.press("z")  # one step
    expect(page.locator("#complete")).to_have_attribute("aria-pressed", "false")
    assert _kinds(page) == []


def test_the_news_forgets_a_count_that_holds_no_more(page: Page) -> None:
    draw(page, _size(page), (20, 20, 60, 60))
    page.get_by_role("button", name="Teach", exact=True).click()
    expect(page.locator("#said")).to_contain_text(" in this image.", timeout=SLOW)
    suggest(page, *(_suggestion(0.9, left, _label(page)) for left in (10, 60, 110)))
    expect(page.locator("#answer-text")).to_contain_text("disc")  # the drawn box is chosen
    expect(page.locator("#said")).to_have_text(re.compile(r"^Learnt from 1 image in [\d.]+ s\.$"))


def test_one_key_completes_and_opens_what_is_not_done(page: Page) -> None:
    seen = [page.locator("#image-name").inner_text()]
    page.locator("#stage").focus()
    for _ in range(11):
        page.keyboard.press("d")
        expect(page.locator("#image-name")).not_to_have_text(seen[-1])
        seen.append(page.locator("#image-name").inner_text())
    assert len(set(seen)) == 12
    page.keyboard.press("d")
    expect(page.locator("#said")).to_have_text("Every image is complete.")
    page.keyboard.press("PageDown")  # through what is done, too
    expect(page.locator("#image-name")).not_to_have_text(seen[-1])
    page.keyboard.press("PageUp")
    expect(page.locator("#image-name")).to_have_text(seen[-1])
    page.keyboard.press("c")
    open_again = seen[-1]
    page.keyboard.press("PageUp")
    expect(page.locator("#image-name")).to_have_text(seen[-2])
    page.keyboard.press("PageDown")  # the only one that is not done
    expect(page.locator("#image-name")).to_have_text(open_again)


def test_a_digit_gives_a_suggestion_another_class_and_accepts_it(page: Page) -> None:
    page.get_by_label("Name of another class").fill("square")
    page.keyboard.press("Enter")
    expect(page.locator("#classes .choose")).to_have_count(2)
    suggest(page, _suggestion(0.9, 10, _label(page)))
    page.locator("#stage").focus()
    page.keyboard.press("j")
    page.keyboard.press("2")
    expect(page.locator("#undo")).to_have_attribute("title", "Undo: Accept a square")
    (box,) = asked(page, f"/api/images/{known(page, 'model.open')}")["boxes"]
    assert (box["label"], box["kind"]) == (_label(page, "square"), "object")


def test_rejected_guesses_are_not_replaced_by_worse_ones(page: Page) -> None:
    label = _label(page)
    suggest(page, *(_suggestion(0.4 - place / 100, 5 + 33 * place, label) for place in range(5)))
    page.locator("#stage").focus()
    expect(page.locator("#boxes .suggested")).to_have_count(2)
    page.keyboard.press("j")
    page.keyboard.press("r")
    expect(page.locator("#undo")).to_have_attribute("title", "Undo: Reject a disc")

    expect(page.locator("#boxes .suggested")).to_have_count(1)


def test_the_rest_is_rejected_by_one_key(page: Page) -> None:
    label = _label(page)
    suggest(page, _suggestion(0.9, 10, label), _suggestion(0.8, 60, label))
    page.locator("#stage").focus()
    page.keyboard.press("Shift+R")
    expect(page.locator("#undo")).to_have_attribute("title", "Undo: Reject 2 suggestions")
    assert _kinds(page) == ["rejected", "rejected"]


def test_caps_lock_and_other_alphabets(page: Page) -> None:
    label = _label(page)
    suggest(page, _suggestion(0.9, 10, label), _suggestion(0.8, 60, label))
    press = "([key, code]) => document.dispatchEvent(new KeyboardEvent('keydown', { key, code, bubbles: true }))"
    page.locator("#stage").focus()
    stage = press.replace("document.dispatch", "document.activeElement.dispatch")
    page.evaluate(stage, ["A", "KeyA"])  # Caps Lock: chooses the best one, accepts none
    expect(page.locator("#boxes .chosen")).to_have_count(1)
    assert edges_of(page) == []
    page.evaluate(stage, ["ф", "KeyA"])  # and accepts it
    expect(page.locator("#boxes .object")).to_have_count(1)
    page.evaluate(stage, ["C", "KeyC"])
    expect(page.locator("#ask-dialog")).to_be_visible()


def test_a_drag_ends_in_the_image_where_it_began(page: Page) -> None:
    name, size = page.locator("#image-name").inner_text(), _size(page)
    page.mouse.move(*place_of(page, size, (20, 20)))
    page.mouse.down()
    page.mouse.move(*place_of(page, size, (60, 60)), steps=3)
    page.keyboard.press("PageDown")
    page.mouse.up()
    expect(page.locator("#image-name")).to_have_text(name)
    expect(page.locator("#boxes .object")).to_have_count(1)


def test_the_same_box_is_drawn_once(page: Page) -> None:
    for _ in range(2):
        draw(page, _size(page), [20, 20, 60, 60])
        expect(page.locator("#boxes .object")).to_have_count(1)
    expect(page.locator("#said")).to_have_text("There is such a box already.")
    until(lambda: len(edges_of(page)) == 1)


def test_a_box_that_was_drawn_is_not_drawn_again_on_the_next_images(page: Page) -> None:
    for _ in range(2):
        name = page.locator("#image-name").inner_text()
        draw(page, _size(page), (20, 20, 60, 60))
        expect(page.locator("#boxes .box")).to_have_count(1)
        page.keyboard.press("PageDown")
        expect(page.locator("#image-name")).not_to_have_text(name)
        assert known(page, "model.drawn") == []


def test_several_boxes_are_copied_moved_and_removed(page: Page) -> None:
    for left in (10, 60):
        draw(page, _size(page), [left, 20, left + 30, 50])
    expect(page.locator("#boxes .object")).to_have_count(2)
    until(lambda: len(edges_of(page)) == 2)
    first = edges_of(page)
    page.keyboard.press("Control+a")
    page.keyboard.press("Control+c")
    page.keyboard.press("ArrowDown")
    until(lambda: np.allclose(np.subtract(edges_of(page), first), [0, 1, 0, 1], atol=0.01))
    name = page.locator("#image-name").inner_text()
    page.keyboard.press("PageDown")
    expect(page.locator("#image-name")).not_to_have_text(name)
    page.keyboard.press("Control+v")
    expect(page.locator("#boxes .object.chosen")).to_have_count(2)
    page.keyboard.press("x")
    expect(page.locator("#boxes")).to_contain_text("difficult")
    page.keyboard.press("Delete")
    expect(page.locator("#boxes .object")).to_have_count(0)


def test_copies_keep_their_flags_and_lie_aside_where_they_lie_already(page: Page) -> None:
    draw(page, _size(page), [10, 20, 40, 50])
    expect(page.locator("#boxes .object.chosen")).to_have_count(1)
    page.keyboard.press("x")
    expect(page.locator("#boxes")).to_contain_text("difficult")
    page.keyboard.press("Control+c")
    for number, keys in enumerate(("Control+v", "Control+v", "Control+d"), start=2):
        page.keyboard.press(keys)
        until(lambda wanted=number: len(edges_of(page)) == wanted)
        expect(page.locator("#boxes .object")).to_have_count(number)
    first, *copies = edges_of(page)
    assert np.allclose(np.subtract(copies, first), np.array([[8], [16], [24]]), atol=0.11)
    assert known(page, "model.boxes.map((box) => Boolean(box.difficult))") == [True] * 4


def test_removing_a_class_asks_and_counts(page: Page) -> None:
    for left in (10, 60):
        draw(page, _size(page), [left, 20, left + 30, 50])
    expect(page.locator("#boxes .object")).to_have_count(2)
    page.get_by_role("button", name="Change disc").click()
    page.get_by_role("button", name="Remove…").click()
    expect(page.locator("#ask-dialog")).to_contain_text("Its 2 boxes in 1 image are removed too.")
    page.get_by_role("button", name="Cancel").last.click()
    until(lambda: len(edges_of(page)) == 2)
    page.get_by_role("button", name="Change disc").click()
    page.get_by_role("button", name="Remove…").click()
    page.get_by_role("button", name="Remove it and 2 boxes").click()
    expect(page.locator("#first-class")).to_be_visible()


def test_a_reload_keeps_the_open_image_and_the_order(page: Page) -> None:
    page.locator("#sort").select_option("name")
    page.locator("#image-5").click()
    name = page.locator("#image-name").inner_text()
    page.reload()
    expect(page.locator("#image-name")).to_have_text(name)
    expect(page.locator("#sort")).to_have_value("name")


def test_images_dropped_onto_the_page_are_added(page: Page, shapes: Path) -> None:
    content = (shapes / "JPEGImages" / "00.png").read_bytes()
    transfer = page.evaluate_handle(
        """(bytes) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], 'dropped.png', { type: 'image/png' }));
            return transfer;
        }""",
        list(content),
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    expect(page.locator("#image-name")).to_have_text("dropped.png")
    expect(page.locator("#gallery-count")).to_have_text("0 of 13 labelled")


def test_images_are_noticed_while_it_runs(page: Page, small: Studio) -> None:
    shutil.copy(next(small.folder.glob("*.png")), small.folder / "new one.png")
    expect(page.locator("#gallery-count")).to_have_text("0 of 13 labelled", timeout=15_000)
    (small.folder / "new one.png").unlink()
    expect(page.locator("#gallery-count")).to_have_text("0 of 12 labelled", timeout=15_000)


def test_an_image_opened_while_the_studio_was_away_is_shown_when_it_is_back(page: Page, small: Studio) -> None:
    small.kill()
    expect(page.locator("#lost")).to_be_visible(timeout=15_000)
    page.locator("#image-7").click()
    small.start()
    expect(page.locator("#lost")).to_be_hidden(timeout=30_000)
    centre = """() => { const stage = document.getElementById('stage');
        return [...stage.getContext('2d').getImageData(stage.width / 2 - 20, stage.height / 2 - 20, 40, 40).data]; }"""
    until(lambda: np.ptp(np.array(page.evaluate(centre)).reshape(-1, 4)[:, :3]) > 30)  # noise, not one grey


def test_eight_tabs_work_at_once(page: Page, small: Studio) -> None:
    tabs = [page.context.new_page() for _ in range(7)]
    for tab in tabs:
        tab.goto(small.address)
        expect(tab.locator("#image-name")).to_contain_text(".png")
    draw(page, _size(page), [20, 20, 60, 60])
    for tab in tabs:
        expect(tab.locator("#gallery-count")).to_have_text("1 of 12 labelled")


def test_two_browsers_undo_each_their_own(browser: Browser, page: Page, small: Studio) -> None:
    other, _ = opened(browser, small.address)
    expect(other.locator("#image-name")).to_contain_text(".png")
    draw(page, _size(page), [20, 20, 60, 60])
    expect(page.locator("#boxes .object")).to_have_count(1)
    other.locator("#stage").focus()
    other.keyboard.press("d")
    expect(other.locator("#gallery-count")).to_have_text("2 of 12 labelled")
    other.keyboard.press("z")
    expect(page.locator("#gallery-count")).to_have_text("1 of 12 labelled")
    page.keyboard.press("z")
    expect(page.locator("#gallery-count")).to_have_text("0 of 12 labelled")
    other.context.close()


def test_refusals_are_said_in_words(page: Page) -> None:
    page.get_by_label("Name of another class").fill("disc")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("Choose another name")
    page.get_by_role("button", name="Export").click()
    page.get_by_role("link", name="VOC").click()
    expect(page.locator("#export-said")).to_contain_text("There must be a labelled image")


@pytest.mark.parametrize("size", LAYOUTS, ids=lambda size: f"{size['width']}x{size['height']}")
def test_the_image_has_room_and_axe_finds_nothing(browser: Browser, small: Studio, size: dict[str, int]) -> None:
    if not AXE.is_file():
        pytest.skip("needs axe-core: npm ci")
    for scheme in ("light", "dark"):
        page, wrong = opened(browser, small.address, color_scheme=scheme, viewport=size, bypass_csp=True)
        if page.locator("#first-class").is_visible():
            begin(page, "disc")
        expect(page.locator("#image-name")).to_contain_text(".png")
        stage = page.locator("#stage").bounding_box()
        assert stage is not None
        assert stage["height"] >= 0.5 * size["height"], stage
        assert stage["width"] >= 0.5 * size["width"], stage
        tools = page.locator(".tools").bounding_box()
        assert tools is not None
        assert tools["height"] < 48, tools  # one line of buttons
        page.locator("#help").click()
        expect(page.locator("#keys").get_by_text("A, Enter")).to_be_visible()
        page.keyboard.press("Escape")
        page.add_script_tag(path=AXE)
        for toggle in ("", "#toggle-panel", "#toggle-images"):
            if toggle and page.locator(toggle).is_visible():
                page.locator(toggle).click()
            found = page.evaluate(
                "axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'],"
                " rules: { 'label-content-name-mismatch': { enabled: true } } })"
            )
            assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]] == []
        assert wrong == []
        page.context.close()


def test_a_file_name_that_is_no_text_opens(browser: Browser, shapes: Path, tmp_path: Path) -> None:
    shutil.copy(shapes / "JPEGImages" / "00.png", tmp_path / "caf\udce9.png")
    studio = Studio(tmp_path)
    page, wrong = opened(browser, studio.address)
    expect(page.locator("#image-name")).to_have_text(r"caf\xe9.png")
    begin(page, "disc")
    draw(page, _size(page), [20, 20, 60, 60])
    expect(page.locator("#boxes .object")).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
        page.get_by_role("link", name="COCO").click()
    assert Path(download.value.path()).stat().st_size > 1000
    assert wrong == []
    page.context.close()
    studio.kill()
