"""Classes and their keys, in a real browser."""

import pytest
from benchmarks.driving import Studio, draw
from playwright.sync_api import Browser, Page, expect
from tests.web.studio.paging import edges_of, known, opened, until

pytestmark = pytest.mark.browser
PRESS = """([key, code]) =>
  document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, code, bubbles: true }))"""


def _add(page: Page, *names: str) -> None:
    page.get_by_label("Name of another class").focus()
    for name in names:
        page.keyboard.type(name)
        page.keyboard.press("Enter")
        page.locator("#classes", has_text=name).wait_for()
    page.locator("#stage").focus()


def _keys(page: Page) -> list[str]:
    return page.locator("#classes kbd").all_inner_texts()


def _dialog(page: Page, name: str) -> None:
    page.get_by_role("button", name=f"Change {name}", exact=True).click()
    page.get_by_label("Own key").focus()


def test_the_tenth_class_and_those_after_it_have_a_letter(page: Page) -> None:
    _add(page, *(f"kind{number}" for number in range(2, 13)))
    assert _keys(page) == [*"123456789", "E", "G", "I"]
    page.keyboard.press("e")
    expect(page.locator("#classes .choose[aria-pressed=true]")).to_contain_text("kind10")
    page.evaluate(PRESS, ["I", "KeyI"])  # Caps Lock
    expect(page.locator("#classes .choose[aria-pressed=true]")).to_contain_text("kind12")
    page.evaluate(PRESS, ["п", "KeyG"])  # Russian
    expect(page.locator("#classes .choose[aria-pressed=true]")).to_contain_text("kind11")


def test_merged_classes_keep_one_box_of_each_object_and_come_apart_again(page: Page) -> None:
    size = known(page, "[model.images.get(model.open).height, model.images.get(model.open).width]")
    _add(page, "square")
    for key, left in (("1", 10), ("2", 10), ("2", 60)):  # the first two are on one object
        page.keyboard.press("Escape")
        page.keyboard.press(key)
        draw(page, size, (left, 20, left + 30, 50))
        expect(page.locator("#boxes .chosen")).to_have_count(1)
    until(lambda: len(edges_of(page)) == 3)
    page.get_by_role("button", name="Change square", exact=True).click()
    page.get_by_label("Merge into another class").select_option(label="disc")
    expect(page.locator("#ask-text")).to_have_text("All 2 boxes of square become disc.")
    page.get_by_role("button", name="Merge", exact=True).click()
    expect(page.locator("#classes .choose")).to_have_count(1)
    expect(page.locator("#classes")).to_contain_text("disc2")
    assert len(edges_of(page)) == 2
    page.locator("#undo").click()
    expect(page.locator("#classes .choose")).to_have_count(2)
    assert len(edges_of(page)) == 3


def test_a_class_gets_a_key_of_its_own_and_one_that_is_taken_is_refused_in_words(
    page: Page, browser: Browser, small: Studio
) -> None:
    _add(page, "ace", "king")
    _dialog(page, "ace")
    page.keyboard.press("d")
    said = page.locator("#rename-said")
    expect(said).to_contain_text("D is taken: it already means “done”. Free are E, G, I")
    page.keyboard.press("q")
    expect(said).to_be_hidden()
    page.keyboard.press("Enter")
    expect(page.locator("#undo")).to_have_attribute("title", "Undo: Change the class ace")
    assert _keys(page) == ["1", "Q", "3"]
    _dialog(page, "king")
    page.keyboard.press("Shift+Q")  # as with Caps Lock
    expect(said).to_contain_text("Q is taken: it is the key of ace.")
    page.keyboard.press("7")
    expect(said).to_contain_text("digits choose classes by their place")
    page.evaluate(PRESS, ["ц", "KeyW"])  # Russian: by its place
    expect(page.get_by_label("Own key")).to_have_value("w")
    page.keyboard.press("Enter")
    expect(page.locator("#undo")).to_have_attribute("title", "Undo: Change the class king")
    page.locator("#stage").focus()
    page.keyboard.press("q")
    expect(page.locator("#classes .choose[aria-pressed=true]")).to_contain_text("ace")
    page.keyboard.press("3")  # the digit of its place still leads to it
    expect(page.locator("#classes .choose[aria-pressed=true]")).to_contain_text("king")
    again, wrong = opened(browser, small.address)  # another browser: the keys lie in the project
    again.locator("#classes", has_text="king").wait_for()
    assert (_keys(again), wrong) == (["1", "Q", "W"], [])
    again.context.close()


def test_a_key_is_taken_away_and_kept_from_two_classes_by_the_studio_too(page: Page) -> None:
    _add(page, "ace")
    _dialog(page, "ace")
    page.keyboard.press("u")
    page.keyboard.press("Enter")
    expect(page.locator("#classes kbd").nth(1)).to_have_text("U")
    label = known(page, "model.classes[0].id")
    page.evaluate(f"import('/static/actions.js').then(({{ editClass }}) => editClass({label}, {{ key: 'u' }}))")
    expect(page.locator("#said")).to_contain_text("Key must be one that no other class has, got 'u', the key of ace")
    _dialog(page, "ace")
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    expect(page.locator("#classes kbd").nth(1)).to_have_text("2")
