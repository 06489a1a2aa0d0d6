"""The studio in a real browser, and its process killed."""

import io
import shutil
import signal
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.driving import Studio, begin, drag, draw
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect
from tests.web.studio.paging import SLOW, asked, edges_of, opened, until

from sppnet.data import Sample, load_detection

PAIRS = (
    ("--ink", "--surface"),
    ("--ink-soft", "--surface"),
    ("--ink-soft", "--ground"),
    ("--accent", "--surface"),
    ("--on-accent", "--accent"),
    ("--bad", "--bad-soft"),
    ("--good", "--surface"),
)

pytestmark = pytest.mark.browser


def _labels(page: Page) -> dict[str, Any]:
    """Return all that a person said, as the studio has it."""
    state = asked(page, "/api/state")
    boxes = {
        each["name"]: asked(page, f"/api/images/{each['id']}")["boxes"]
        for each in state["images"]
        if each["objects"] or each["rejected"]
    }
    complete = [each["name"] for each in state["images"] if each["complete"]]
    return {"classes": state["classes"], "boxes": boxes, "complete": complete, "undo": state["undo"]}


def _taught(page: Page) -> None:
    """Wait until the detector has learnt all, and its suggestions for the open image are shown."""
    until(lambda: (now := asked(page, "/api/state")["status"])["taught"] and not now["behind"] and not now["learning"])
    expect(page.locator("#said")).to_contain_text("Learnt from", timeout=SLOW)
    expect(page.locator("#said")).not_to_contain_text("Learning", timeout=SLOW)


@pytest.mark.slow
def test_thirty_images_taught_killed_and_exported(browser: Browser, shared_data: Path, tmp_path: Path) -> None:
    data = load_detection(shared_data / "bccd", split="train")
    truth = {sample.path.name: sample for sample in data.samples[:30]}
    folder = tmp_path / "slides"
    folder.mkdir()
    for sample in truth.values():
        shutil.copy(sample.path, folder)
    studio = Studio(folder)
    page, wrong = opened(browser, studio.address)
    begin(page, "red cell")

    for number in range(3):
        sample = truth[page.locator("#image-name").inner_text()]
        _draw_cells(page, sample, data.classes.index("RBC"))
        if number < 2:
            page.keyboard.press("PageDown")
            expect(page.locator("#image-name")).not_to_have_text(sample.path.name)
    _taught(page)

    # Accept one suggestion, reject another, each by one key.
    page.locator("#stage").focus()
    until(lambda: page.locator("#boxes .suggested").count() >= 2)
    page.keyboard.press("j")
    before = page.locator("#boxes .suggested").count()
    page.keyboard.press("a")
    expect(page.locator("#undo")).to_have_attribute("title", "Undo: Accept a red cell")
    page.keyboard.press("r")
    expect(page.locator("#undo")).to_have_attribute("title", "Undo: Reject a red cell")
    expect(page.locator("#boxes .rejected")).to_have_count(1)
    assert before >= 2
    _taught(page)

    said = _labels(page)
    assert sum(len(boxes) for boxes in said["boxes"].values()) == 3 * 3 + 2
    studio.kill()
    expect(page.get_by_text("The studio does not answer.")).to_be_visible(timeout=SLOW)
    studio.start()
    expect(page.get_by_text("The studio does not answer.")).to_be_hidden(timeout=SLOW)
    page.reload()
    expect(page.locator("#gallery-count")).to_have_text("3 of 30 labelled")
    assert _labels(page) == said
    _taught(page)

    page.get_by_role("button", name="Export").click()
    exported = _read_back(page, tmp_path)
    expected = {
        name: [box["edges"] for box in boxes if box["kind"] == "object"] for name, boxes in said["boxes"].items()
    }
    assert {sample.path.name: len(sample.boxes) for sample in exported} == {
        name: len(rows) for name, rows in expected.items()
    }
    for sample in exported:
        assert np.abs(np.array(expected[sample.path.name]) - sample.boxes).max() < 1  # VOC counts whole pixels
    assert wrong == []
    page.close()
    assert studio.interrupt() in (0, 130, -signal.SIGINT)


def _draw_cells(page: Page, sample: Sample, label: int) -> None:
    """Draw boxes around the image's first three cells, and check where they came to lie."""
    drawn = sample.boxes[sample.labels == label][:3].tolist()
    for number, edges in enumerate(drawn, start=1):
        draw(page, sample.size, edges)
        expect(page.locator("#boxes .object")).to_have_count(number)
    image = next(each for each in asked(page, "/api/state")["images"] if each["name"] == sample.path.name)
    boxes = [box["edges"] for box in asked(page, f"/api/images/{image['id']}")["boxes"]]
    assert np.abs(np.array(boxes) - drawn).max() < 1.5  # the mouse stands on whole pixels of the screen


def _read_back(page: Page, folder: Path) -> tuple[Sample, ...]:
    with page.expect_download() as download:
        page.get_by_role("link", name="VOC").click()
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        archive.extractall(folder / "export")
    return load_detection(folder / "export", split="train").samples


def test_everything_by_keys_alone(browser: Browser, small: Studio) -> None:
    page, wrong = opened(browser, small.address)
    expect(page.locator("#first-class-name")).to_be_focused()
    page.keyboard.type("disc")
    page.keyboard.press("Enter")
    page.keyboard.type("square")  # typed on: another name, not commands
    page.keyboard.press("Enter")
    expect(page.locator("#classes .choose")).to_have_count(2)
    page.keyboard.press("a")  # still in the field: the next name
    expect(page.locator("#new-class-name")).to_have_value("a")
    page.keyboard.press("Backspace")
    page.keyboard.press("Escape")
    expect(page.locator("#stage")).to_be_focused()
    page.keyboard.press("n")
    expect(page.locator("#boxes .object")).to_have_count(1)
    (before,) = until(lambda: edges_of(page))
    for key in ("ArrowLeft", "ArrowLeft", "Control+ArrowUp", "Shift+ArrowRight"):
        page.keyboard.press(key)
    after = [before[0] - 2, before[1] - 10, before[2] - 2 + 1, before[3] - 10]
    until(lambda: np.abs(np.subtract(edges_of(page)[0], after)).max() < 0.11)
    page.keyboard.press("z")
    until(lambda: edges_of(page) == [before])  # all the arrows were one step
    page.keyboard.press("Control+Shift+Z")
    until(lambda: np.abs(np.subtract(edges_of(page)[0], after)).max() < 0.11)

    page.keyboard.press("Escape")
    page.keyboard.press("k")  # the last there is, after all guesses: the box
    page.keyboard.press("1")
    expect(page.locator("#boxes .object")).to_contain_text("disc")
    page.keyboard.press("c")
    expect(page.locator("#complete")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Delete")
    expect(page.locator("#boxes .object")).to_have_count(0)
    name = page.locator("#image-name").inner_text()
    page.keyboard.press("PageDown")
    expect(page.locator("#image-name")).not_to_have_text(name)
    page.keyboard.press("z")  # goes back to where it happened
    expect(page.locator("#image-name")).to_have_text(name)
    expect(page.locator("#boxes .object")).to_have_count(1)
    assert wrong == []
    page.close()


def _with_a_box(browser: Browser, small: Studio) -> tuple[Page, list[str], tuple[int, int]]:
    """Open a page and draw a box from (20, 20) to (60, 50); return what ``opened`` does, and the image's size."""
    page, wrong = opened(browser, small.address)
    begin(page, "disc")
    facts = page.locator("#image-facts").inner_text().split()
    size = int(facts[2]), int(facts[0])
    draw(page, size, [20, 20, 60, 50])
    expect(page.locator("#boxes .object")).to_have_count(1)
    return page, wrong, size


def test_a_box_is_moved_and_resized_by_mouse(browser: Browser, small: Studio) -> None:
    page, wrong, size = _with_a_box(browser, small)
    drag(page, size, (40, 35), (50, 45))  # from inside: moves
    until(lambda: np.abs(np.subtract(edges_of(page)[0], [30, 30, 70, 60])).max() < 1)
    drag(page, size, (70, 60), (90, 80))  # its corner
    until(lambda: np.abs(np.subtract(edges_of(page)[0], [30, 30, 90, 80])).max() < 1)
    drag(page, size, (30, 55), (500, 55))  # its left side, farther than the box reaches
    until(lambda: edges_of(page)[0][2] - edges_of(page)[0][0] < 4)
    assert wrong == []
    page.close()


def test_a_box_is_dragged_again_from_where_it_lies_before_the_studio_has_answered(
    browser: Browser, small: Studio
) -> None:
    page, wrong, size = _with_a_box(browser, small)
    held: list[Route] = []
    page.route("**/api/changes", lambda route: route.continue_() if held else held.append(route))  # the first one waits
    drag(page, size, (40, 35), (50, 45))
    until(lambda: page.evaluate("1") and held)
    drag(page, size, (70, 60), (90, 80))
    held[0].continue_()
    until(lambda: np.abs(np.subtract(edges_of(page)[0], [30, 30, 90, 80])).max() < 1)
    assert wrong == []
    page.close()


def test_what_flies_past_in_the_gallery_is_asked_for_where_it_comes_to_rest(browser: Browser, tmp_path: Path) -> None:
    for number in range(600):
        Image.new("RGB", (40, 30), (number % 256, 0, 0)).save(tmp_path / f"{number:03}.png")
    studio = Studio(tmp_path)
    page, wrong = opened(browser, studio.address)
    page.locator("#sort").select_option("name")
    expect(page.locator("#images .image").first).to_be_visible()
    loaded = """() => {
        const items = [...document.querySelectorAll("#images .image")];
        const whole = items.every((item) => {
            const image = item.querySelector("img");
            return image.complete && image.naturalWidth && image.src.includes(`images/${item.id.slice(6)}/thumbnail`);
        });
        return whole && items.map((item) => item.querySelector(".name").innerText).sort();
    }"""
    assert "000.png" in until(lambda: page.evaluate(loaded))
    asked_for: list[str] = []
    page.on("request", lambda request: asked_for.append(request.url) if "thumbnail" in request.url else None)
    page.evaluate(
        """() => new Promise((resolve) => {
            const list = document.getElementById("images"), end = list.scrollHeight - list.clientHeight;
            const step = (share) => {
                list.scrollTop = share * end;
                if (share < 1) requestAnimationFrame(() => step(Math.min(share + 0.1, 1)));
                else resolve();
            };
            step(0.1);
        })"""
    )
    names = until(lambda: "599.png" in (shown := page.evaluate(loaded) or []) and shown)
    assert len(names) == len(set(names)) < 100
    assert len(asked_for) <= 2 * len(names)  # of 600; the last step may be seen in two frames
    page.locator("#images .image").filter(has_text="599.png").click()
    expect(page.locator("#image-name")).to_have_text("599.png")
    assert wrong == []
    page.close()
    studio.kill()


def test_every_control_has_a_name_and_both_themes_have_contrast(browser: Browser, small: Studio) -> None:
    for scheme in ("light", "dark"):
        page, wrong = opened(browser, small.address, color_scheme=scheme)
        expect(page.locator("#images .image")).to_have_count(12)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("button, input, select, a, [role=option], [role=tab], canvas")]
                .filter((each) => each.checkVisibility())
                .filter((each) => !(each.innerText?.trim() || each.getAttribute("aria-label") || each.labels?.length))
                .map((each) => each.outerHTML)"""
        )
        assert nameless == []
        for text, ground in PAIRS:
            assert _contrast(page, text, ground) >= 4.5, (scheme, text, ground)
        assert wrong == []
        page.close()


def _contrast(page: Page, text: str, ground: str) -> float:
    def light(name: str) -> float:
        colour = page.evaluate(
            """(name) => { const each = document.createElement("i"); each.style.color = `var(${name})`;
                document.body.append(each); const is = getComputedStyle(each).color; each.remove(); return is; }""",
            name,
        )
        parts = np.array([int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]) / 255
        return float(
            np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
        )

    bright, dark = sorted((light(text), light(ground)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)
