"""The page of ``check --html``: each image once, classes in colours that a legend names, outlines."""

from pathlib import Path

import pytest
from tests.data.drawing import dump, image, text, voc
from tests.data.test_outlines import FLAT, coco_of

from sppnet.data import report_page
from sppnet.data.inspection import inspect


def test_images_of_overlapping_splits_count_once(tmp_path: Path) -> None:
    for k in range(2):
        text(tmp_path / f"Annotations/{k}.xml", voc(image(tmp_path / f"JPEGImages/{k}.jpg", k), f"{k}.jpg"))
    for split, names in {"train": "0\n", "val": "1\n", "trainval": "0\n1\n"}.items():
        text(tmp_path / f"ImageSets/Main/{split}.txt", names)
    page = report_page.report_page("x", inspect(tmp_path))
    assert page.count("<figure>") == 2
    assert "<td>16 to 32 pixels</td><td>4</td>" in page
    assert "512 and more" in page


def test_classes_have_colours_and_outlines_are_drawn(tmp_path: Path) -> None:
    image(tmp_path / "0.jpg")
    coco_of({"bbox": [10, 12, 50, 58], "segmentation": [FLAT]}, {"bbox": [1, 2, 30, 40], "category_id": 2})(tmp_path)
    page = report_page.report_page("x", inspect(tmp_path))
    for name, colour in zip("ab", report_page.COLOURS, strict=False):
        assert f'<b style="background: {colour}"></b>{name}</span>' in page
        assert f'stroke="{colour}" stroke-width="1"><title>{name}</title></rect>' in page
    assert f'<polygon points="10,20 50.5,12.25 60,70 30,40" stroke="{report_page.COLOURS[0]}"' in page
    assert "0.jpg: 2 boxes" in page


def test_a_page_of_some_images_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_page, "SHOWN", 2)
    for k in range(4):
        dump(
            tmp_path / f"{k}.json",
            {"shapes": [{"label": "<b>", "shape_type": "rectangle", "points": [[1, 2], [9, 9]]}]},
        )
        image(tmp_path / f"{k}.jpg", k)
    text(tmp_path / "3.json", '{"shapes": [{"label": "", "shape_type": "rectangle", "points": [[1, 2], [9, 9]]}]}')
    page = report_page.report_page("x", inspect(tmp_path))
    assert "2 of 4 images, those with problems first." in page
    assert "&lt;b&gt;" in page
    assert "0.jpg: 1 box<" in page
