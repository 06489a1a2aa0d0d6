"""Names of classes and lists of splits that lie where tools and people put them: read, or said why not."""

from pathlib import Path

import pytest
from tests.data.drawing import image, text, yolo

from sppnet.data import BrokenSampleError, load_detection, open_dataset


def images_in(root: Path, folder: str = "images", count: int = 3) -> None:
    for number in range(1, count + 1):
        boxes = image(root / folder / f"{number}.jpg", number)
        labels = folder.replace("images", "labels") if "images" in folder else folder
        text(root / labels / f"{number}.txt", yolo(boxes))


@pytest.mark.parametrize(("place", "images"), [("cfg/dataset.yaml", "images"), ("data/data.yaml", "data/images")])
def test_a_data_yaml_that_lies_deeper_is_used_and_named(tmp_path: Path, place: str, images: str) -> None:
    images_in(tmp_path, images)
    image(tmp_path / "extra/x.jpg")
    text(tmp_path / place, "train: images\nnames: [zebra, ant]\n")
    dataset = open_dataset(tmp_path)
    assert (dataset.splits, dataset.found.saw.endswith(f" and {place}")) == (("train",), True)
    data = load_detection(tmp_path)
    assert (data.classes, len(data), data.problems) == (("ant", "zebra"), 3, ())


def test_sets_below_one_folder_must_agree_on_the_classes(tmp_path: Path) -> None:
    for name, order in (("one", "[a, b]"), ("two", "[b, a]")):
        images_in(tmp_path, f"{name}/images")
        text(tmp_path / name / "data.yaml", f"train: images\nnames: {order}\n")
    with pytest.raises(
        BrokenSampleError, match=r"two/data\.yaml: class 0 is 'b', and 'a' in one/data\.yaml\. Read each"
    ):
        load_detection(tmp_path)
    text(tmp_path / "two/data.yaml", "train: images\nnames: [a, b, c]\n")
    data = load_detection(tmp_path)
    assert (data.classes, len(data), data.problems) == (("a", "b", "c"), 6, ())


def test_a_list_in_the_root_goes_before_a_data_yaml_of_something_else(tmp_path: Path) -> None:
    images_in(tmp_path)
    text(tmp_path / "classes.txt", "a\nb\n")
    text(tmp_path / "yolov5/data/data.yaml", "names: [person, bicycle]\n")
    assert load_detection(tmp_path).classes == ("a", "b")
