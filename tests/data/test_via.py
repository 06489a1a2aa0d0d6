"""VGG Image Annotator: which attribute of a region names the class, and that it is said."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.data.drawing import NAMES, dump, image

from sppnet.data import DetectionData, load_detection


def via(
    root: Path, attributes: Callable[[str], Mapping[str, Any]], kinds: Mapping[str, str] | None = None
) -> DetectionData:
    rows = {}
    for number in range(2):
        boxes = image(root / f"{number}.jpg", number)
        regions = [
            {
                "shape_attributes": {
                    "name": "rect",
                    "x": left,
                    "y": top,
                    "width": right - left,
                    "height": bottom - top,
                },
                "region_attributes": attributes(NAMES[kind]),
            }
            for kind, left, top, right, bottom in boxes
        ]
        rows[f"{number}.jpg1"] = {"filename": f"{number}.jpg", "size": 1, "regions": regions}
    project = {"region": {name: {"type": kind} for name, kind in (kinds or {}).items()}, "file": {}}
    dump(root / "via.json", {"_via_settings": {}, "_via_img_metadata": rows, "_via_attributes": project})
    return load_detection(root)


@pytest.mark.parametrize("usual", ["class", "Label", "category", "species", "type", "object", "name"])
def test_a_usual_name_goes_before_what_comes_first(tmp_path: Path, usual: str) -> None:
    data = via(tmp_path, lambda kind: {"occluded": "no", usual: kind}, {"occluded": "radio"})
    assert data.classes == NAMES
    ((problem,), what) = data.problems, f"the attribute '{usual}' of the regions is taken for the class, and not "
    assert (str(problem), problem.level) == (f"{tmp_path}/via.json: {what}'occluded'", "note")


@pytest.mark.parametrize("kind_of", ["dropdown", "radio", "checkbox"])
def test_what_is_chosen_from_a_list_goes_before_what_is_typed(tmp_path: Path, kind_of: str) -> None:
    def attributes(kind: str) -> dict[str, Any]:
        return {"comment": "blurry at top", "breed": {kind: True, "c": False} if kind_of == "checkbox" else kind}

    data = via(tmp_path, attributes, {"comment": "text", "breed": kind_of})
    assert data.classes == NAMES
    assert [problem.code for problem in data.problems] == ["class-attribute"]


def test_what_nothing_tells_is_a_warning(tmp_path: Path) -> None:
    data = via(tmp_path, lambda kind: {"breed": kind, "coat": "red"})
    assert data.classes == NAMES
    told = "the attribute 'breed' of the regions is taken for the class, and not 'coat'"
    advice = "If that is wrong, rename the right one to 'class'"
    assert [(problem.what, problem.level) for problem in data.problems] == [(f"{told}. {advice}", "warning")]


def test_several_choices_of_one_region_are_told_of(tmp_path: Path) -> None:
    data = via(tmp_path, lambda kind: {"type": {kind: True, "red": True}}, {"type": "checkbox"})
    assert data.classes == NAMES
    told = "4 regions with several choices of 'type': the first is taken for the class"
    assert [problem.what for problem in data.problems] == [told]


def test_one_attribute_is_taken_without_a_word_and_its_gaps_are_named(tmp_path: Path) -> None:
    data = via(tmp_path, lambda kind: {"breed": kind if kind == "b" else "", "note": ""})
    assert data.classes == ("b",)
    assert {problem.code for problem in data.problems} == {"class-name"}
    numbered = via(tmp_path / "numbers", lambda kind: {"type": NAMES.index(kind)})
    assert (numbered.classes, numbered.problems) == (("0", "1"), ())
