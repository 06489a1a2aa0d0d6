"""The folder changes under the open page: it goes away as a whole, or the image that is looked at does."""

import shutil
from pathlib import Path

import pytest
from benchmarks.driving import Studio, begin, draw
from playwright.sync_api import Browser, Page, expect
from tests.web.studio.paging import SLOW, edges_of, known, opened, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def _open(page: Page) -> str:
    name: str = known(page, "model.images.get(model.open).name")
    return name


def _size(page: Page) -> tuple[int, int]:
    height, width = known(page, "[model.images.get(model.open).height, model.images.get(model.open).width]")
    return height, width


def test_a_folder_that_is_renamed_while_it_is_open_is_said_and_goes_on_when_it_is_back(
    page: Page, small: Studio
) -> None:
    draw(page, _size(page), (10, 10, 30, 30))
    boxes = until(lambda: edges_of(page))
    until(lambda: known(page, "model.status.ready === model.status.total"))
    elsewhere = small.folder.with_name("renamed")
    small.folder.rename(elsewhere)
    expect(page.locator("#lost")).to_contain_text("is not there any more", timeout=SLOW)
    expect(page.locator("#lost")).to_contain_text("start the studio with its new place")
    assert (page.locator("#gallery-count").inner_text(), edges_of(page)) == ("1 of 12 labelled", boxes)
    draw(page, _size(page), (40, 40, 55, 55))  # what could be lost is not taken
    expect(page.locator("#said")).to_contain_text("is not there any more")
    assert (edges_of(page), small.folder.exists()) == (boxes, False)
    elsewhere.rename(small.folder)
    expect(page.locator("#lost")).to_be_hidden(timeout=SLOW)
    draw(page, _size(page), (40, 40, 55, 55))
    until(lambda: len(edges_of(page)) == 2)


def test_an_open_image_that_is_removed_is_said_to_be_and_comes_back_with_its_labels(page: Page, small: Studio) -> None:
    draw(page, _size(page), (10, 10, 30, 30))
    boxes, name = until(lambda: edges_of(page)), _open(page)
    shutil.move(small.folder / name, small.folder.with_name(name))
    expect(page.locator("#said")).to_have_text(
        f"{name} is no longer in the folder. Its labels come back with it.", timeout=SLOW
    )
    until(lambda: known(page, "model.open") and _open(page) != name)  # another one is open instead
    shutil.move(small.folder.with_name(name), small.folder / name)
    expect(page.locator("#gallery-count")).to_have_text("1 of 12 labelled", timeout=SLOW)
    page.locator(f"#gallery [title='{name}']").first.click()
    until(lambda: _open(page) == name and edges_of(page) == boxes)


def test_an_empty_folder_asks_for_images_and_begins_with_the_first(
    browser: Browser, shapes: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    studio = Studio(tmp_path / "empty")
    page, wrong = opened(browser, studio.address)
    expect(page.locator("#hint")).to_have_text(
        "This folder holds no images yet: drop images, videos or folders of them here"
    )
    expect(page.locator("#first-class")).to_be_hidden()
    page.locator("#add-files").set_input_files(shapes / "JPEGImages" / "00.png")
    begin(page, "disc")
    expect(page.locator("#image-name")).to_have_text("00.png")
    draw(page, _size(page), (10, 10, 30, 30))
    until(lambda: len(edges_of(page)) == 1)
    expect(page.locator("#said")).to_contain_text("Learnt from 1 image", timeout=SLOW)
    assert wrong == []
    page.context.close()
    studio.kill()
