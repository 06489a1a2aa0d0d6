"""Labels that come into an open folder, and files that are replaced, as a person meets them on the page."""

import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from benchmarks.driving import Studio
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from tests.web.studio.paging import SLOW, edges_of, known, opened, until
from tests.web.studio.test_page_faults import AXE

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Browser, small: Studio) -> Iterator[Page]:
    page, wrong = opened(browser, small.address, bypass_csp=True)  # axe is a script of its own
    yield page
    assert wrong == []
    page.context.close()


def _zipped(shapes: Path, file: Path) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted((shapes / "Annotations").iterdir()):
            archive.write(path, f"Annotations/{path.name}")
        archive.writestr("Annotations/elsewhere.xml", "<annotation><filename>elsewhere.png</filename></annotation>")
    return file


def test_labels_are_looked_at_taken_in_and_taken_back(page: Page, shapes: Path, tmp_path: Path) -> None:
    page.get_by_role("button", name="Import").click()
    page.locator("#import-files").set_input_files(_zipped(shapes, tmp_path / "labels.zip"))
    expect(page.locator("#import-facts")).to_contain_text("12 images of this folder: 24 new boxes", timeout=SLOW)
    expect(page.locator("#import-classes")).to_have_text("New classes: disc, square.")
    expect(page.locator("#import-unmatched summary")).to_have_text("1 not for images of this folder")
    page.locator("#import-unmatched summary").click()
    expect(page.locator("#import-unmatched li")).to_contain_text("elsewhere.png")
    assert edges_of(page) == []
    if AXE.is_file():
        page.add_script_tag(path=AXE)
        assert page.evaluate("axe.run('#import-dialog').then(found => found.violations.map(each => each.id))") == []
    page.locator("#import-take").click()
    expect(page.locator("#gallery-count")).to_have_text("12 of 12 labelled", timeout=SLOW)
    expect(page.locator("#boxes .object")).to_have_count(2)
    page.keyboard.press("z")
    expect(page.locator("#gallery-count")).to_have_text("0 of 12 labelled", timeout=SLOW)


def test_a_file_of_labels_that_is_dropped_is_imported_and_a_broken_one_is_said(page: Page) -> None:
    dropped = """(name, text) => {
        const data = new DataTransfer();
        data.items.add(new File([text], name));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    }"""
    page.evaluate(f"([name, text]) => ({dropped})(name, text)", ["notes.csv", "nothing of use"])
    expect(page.locator("#import-said")).to_contain_text("laid out in a way that is known", timeout=SLOW)
    page.keyboard.press("Escape")
    rows = "image,left,top,right,bottom,class\n00.png,10,10,50,40,disc\n"
    page.evaluate(f"([name, text]) => ({dropped})(name, text)", ["boxes.csv", rows])
    expect(page.locator("#import-facts")).to_contain_text("1 image of this folder: 1 new box,", timeout=SLOW)
    late = "() => document.getElementById('import-dialog').dispatchEvent(new Event('close'))"
    page.evaluate(late)  # of the dialog before: it takes nothing of this one
    page.get_by_label("as suggestions").check()
    expect(page.locator("#import-complete-place")).to_be_hidden()
    page.locator("#import-take").click()
    expect(page.locator("#classes")).to_contain_text("disc")
    page.locator("#search").fill("00")
    page.locator("#images li.image").first.click()
    expect(page.locator("#boxes .suggested")).to_have_count(1)
    page.locator("#stage").focus()
    page.keyboard.press("a")
    page.keyboard.press("a")
    expect(page.locator("#boxes .object")).to_have_count(1)
    until(lambda: edges_of(page) == [[10, 10, 50, 40]])


def _drop(page: Page, *folders: Path) -> None:
    data = {"items": [], "files": list(map(str, folders)), "dragOperationsMask": 1}
    browser = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.send("Input.dispatchDragEvent", {"type": kind, "x": 600, "y": 400, "data": data})


def test_a_folder_that_is_dropped_brings_its_images_and_then_their_labels(
    page: Page, shapes: Path, tmp_path: Path
) -> None:
    (tmp_path / "set" / "labels").mkdir(parents=True)
    for file in sorted((shapes / "JPEGImages").glob("*.png"))[:2]:
        named = f"new {file.stem}"
        shutil.copy(file, tmp_path / "set" / f"{named}{file.suffix}")
        label = (shapes / "Annotations" / f"{file.stem}.xml").read_text()
        (tmp_path / "set" / "labels" / f"{named}.xml").write_text(label.replace(file.name, f"{named}{file.suffix}"))
    (tmp_path / "set" / "paper.pdf").write_text("no image")
    (tmp_path / "none").mkdir()
    _drop(page, tmp_path / "none")
    expect(page.locator("#said")).to_have_text("No image, video or file of labels was dropped.")
    _drop(page, tmp_path / "set")
    expect(page.locator("#import-facts")).to_contain_text("2 images of this folder: ", timeout=SLOW)
    expect(page.locator("#gallery-count")).to_contain_text("of 14 labelled")
    expect(page.locator("#import-facts")).to_contain_text("2 XML files")


def test_labels_of_one_name_in_dropped_folders_go_each_to_the_image_beside_them(page: Page, tmp_path: Path) -> None:
    for plate, colour in (("plate1", "red"), ("plate2", "blue")):
        (tmp_path / plate).mkdir()
        Image.new("RGB", (100, 100), colour).save(tmp_path / plate / "00.png")  # a name that the studio's folder has
        (tmp_path / plate / "00.txt").write_text(f"{'01'[plate == 'plate2']} 0.5 0.5 0.2 0.4\n")
        (tmp_path / plate / "classes.txt").write_text("disc\nsquare\n")
    (tmp_path / "plate2" / "01.png").write_text("no image")
    (tmp_path / "plate2" / "01.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    _drop(page, tmp_path / "plate1", tmp_path / "plate2")
    expect(page.locator("#import-facts")).to_contain_text("2 images of this folder: 2 new boxes", timeout=SLOW)
    page.locator("#import-images summary").click()
    expect(page.locator("#import-images li")).to_have_text(["00 2.png: 1 new", "00 3.png: 1 new"])
    page.locator("#import-problems summary").click()
    expect(page.locator("#import-problems li").first).to_contain_text(
        "plate2/01.txt is not taken: its image plate2/01.png"
    )
    page.locator("#import-take").click()
    expect(page.locator("#gallery-count")).to_have_text("2 of 14 labelled", timeout=SLOW)


def test_a_replaced_file_asks_what_becomes_of_its_labels(page: Page, small: Studio, shapes: Path) -> None:
    page.get_by_role("button", name="Import").click()
    page.locator("#import-path").fill(str(shapes / "Annotations"))
    page.get_by_role("button", name="Read").click()
    expect(page.locator("#import-preview")).to_be_visible(timeout=SLOW)
    page.locator("#import-take").click()
    expect(page.locator("#boxes .object")).to_have_count(2, timeout=SLOW)
    before, name = until(lambda: edges_of(page)), known(page, "model.images.get(model.open).name")
    file = small.folder / name
    with Image.open(file) as image:
        wide, high = image.size
        image.rotate(180).resize((2 * wide, 2 * high)).save(file.with_suffix(".new"), "PNG")
    shutil.move(file.with_suffix(".new"), file)
    later = file.stat().st_mtime_ns + 10**10
    os.utime(file, ns=(later, later))
    # The watch notices it; the image of that name stays open, and the labels of the one before are kept aside.
    expect(page.locator("#image-facts")).to_contain_text(f"{2 * wide} × {2 * high}", timeout=SLOW)
    expect(page.locator("#replaced-text")).to_contain_text(f"{wide} × {high} pixels: 2 boxes, complete")
    page.get_by_role("button", name="Keep it here, scaled").click()
    expect(page.locator("#replaced")).to_be_hidden()
    until(lambda: edges_of(page) == [[2 * edge for edge in edges] for edges in before])


def test_a_video_asks_how_many_of_its_frames_and_they_become_images(page: Page, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    writer = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(11):
        writer.write(np.full((48, 64, 3), number * 20, dtype=np.uint8))
    writer.release()
    page.locator("#image-name").filter(has_text="00.png").wait_for()
    page.locator("#add-files").set_input_files(tmp_path / "film.avi")
    expect(page.locator("#ask-title")).to_have_text("Frames of film.avi")
    page.get_by_role("button", name="Cancel").click()
    assert known(page, "model.images.size") == 12
    page.locator("#add-files").set_input_files(tmp_path / "film.avi")
    page.get_by_role("button", name="Five a second").click()
    expect(page.locator("#said")).to_have_text("6 images are added.", timeout=SLOW)
    expect(page.locator("#image-name")).to_have_text("film/frame_0000000.jpg")
    until(lambda: known(page, "model.images.size") == 18)
