"""Names of classes and lists of splits that lie where tools and people put them: read, or said why not."""

from pathlib import Path

import pytest
from tests.data.drawing import dump, image, text, voc, yolo

from sppnet.data import BrokenSampleError, load_detection, load_folders, open_dataset, splits
from sppnet.data.inspection import inspect


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


def voc_in(root: Path, *stems: str) -> None:
    for number, stem in enumerate(stems):
        text(root / f"Annotations/{stem}.xml", voc(image(root / f"JPEGImages/{stem}.jpg", number), f"{stem}.jpg"))


def stems_of(root: Path) -> dict[str, list[str]]:
    return {name: [each.path.stem for each in load_detection(root, split=name)] for name in splits(root)}


@pytest.mark.parametrize("rows", ["{}\n", "{}.jpg\n", "images/{}.jpg\n", "D:\\work\\set\\images\\{}.jpg\r\n"])
def test_lists_beside_yolo_images_hold_paths_or_bare_names(tmp_path: Path, rows: str) -> None:
    images_in(tmp_path)
    text(tmp_path / "classes.txt", "a\nb\n")
    text(tmp_path / "train.txt", rows.format(1) + rows.format(2))
    text(tmp_path / "test.txt", rows.format(3))
    assert stems_of(tmp_path) == {"train": ["1", "2"], "test": ["3"]}


def test_a_bare_name_that_may_be_two_images_or_none_is_told_with_its_line(tmp_path: Path) -> None:
    images_in(tmp_path)
    images_in(tmp_path, "images/more", 2)
    text(tmp_path / "classes.txt", "a\nb\n")
    text(tmp_path / "train.txt", "3\n1\n9\n")
    with pytest.raises(BrokenSampleError, match=r"train\.txt:2: the image '1' is missing"):
        load_detection(tmp_path)
    assert [each.path.stem for each in load_detection(tmp_path, on_bad="skip")] == ["3"]


@pytest.mark.parametrize("layout", ["voc", "yolo", "labelme"])
def test_a_list_that_names_no_image_is_told_of(tmp_path: Path, layout: str) -> None:
    if layout == "voc":
        voc_in(tmp_path, "1", "2")
    else:
        images_in(tmp_path)
        text(tmp_path / "classes.txt", "a\nb\n")
    if layout == "labelme":
        shapes = [{"label": "a", "shape_type": "rectangle", "points": [[1, 2], [30, 40]]}]
        for number in range(1, 4):
            (tmp_path / f"labels/{number}.txt").unlink()
            dump(tmp_path / f"images/{number}.json", {"shapes": shapes, "imagePath": f"{number}.jpg"})
    text(tmp_path / "test.txt", "the test images are the last ones\n")
    (problem,) = load_detection(tmp_path).problems
    why = (
        "is not read, as labelme has no lists of splits" if layout == "labelme" else "names no image in its first line"
    )
    told = f"{why}: its images are in whatever split they are without it. 'sppnet split' writes splits of your own"
    assert (str(problem), problem.level) == (f"{tmp_path}/test.txt: {told}", "warning")


def test_a_list_that_data_yaml_does_not_name_is_told_of(tmp_path: Path) -> None:
    images_in(tmp_path)
    text(tmp_path / "data.yaml", "train: train.txt\nnames: [a, b]\n")
    text(tmp_path / "train.txt", "images/1.jpg\n")
    text(tmp_path / "test.txt", "images/1.jpg\n")
    (problem,) = load_detection(tmp_path).problems
    told = f"{tmp_path}/test.txt: is named neither by data.yaml nor by obj.data: its images are in"
    assert str(problem).startswith(told)


def test_lists_beside_voc_labels_are_read(tmp_path: Path) -> None:
    voc_in(tmp_path, "1", "2", "3")
    text(tmp_path / "train.txt", "1\n2\n")
    text(tmp_path / "test.txt", "JPEGImages/3.jpg\n")
    assert stems_of(tmp_path) == {"train": ["1", "2"], "test": ["3"]}
    text(tmp_path / "ImageSets/Main/train.txt", "1\n")
    assert stems_of(tmp_path) == {"train": ["1"]}
    codes = [problem.code for problem in load_detection(tmp_path).problems]
    assert codes == ["list-unread", "list-unread"]


def test_voc_lists_of_classes_tell_the_splits_where_no_others_do(tmp_path: Path) -> None:
    voc_in(tmp_path, "1", "2", "3", "4")
    for kind, flags in (("a", ("-1", " 1", "-1")), ("b", (" 1", " 0", " 1"))):
        text(tmp_path / f"ImageSets/Main/{kind}_train.txt", f"1 {flags[0]}\n2 {flags[1]}\n")
        text(tmp_path / f"ImageSets/Main/{kind}_val.txt", f"3 {flags[2]}\n")
    assert stems_of(tmp_path) == {"train": ["1", "2"], "val": ["3"]}
    text(tmp_path / "ImageSets/Main/train.txt", "4\n")
    assert stems_of(tmp_path) == {"train": ["4"], "val": ["3"]}


def test_names_that_end_in_a_number_make_no_list_of_a_class(tmp_path: Path) -> None:
    voc_in(tmp_path, "photo 1", "photo 0", "photo 2")
    text(tmp_path / "ImageSets/Main/train.txt", "photo 1\nphoto 0\n")
    assert stems_of(tmp_path) == {"train": ["photo 0", "photo 1"]}


def test_splits_behind_a_word_that_all_folders_have(tmp_path: Path) -> None:
    for number, place in enumerate(("train/cat", "train/dog", "test/cat", "test/dog", "pred")):
        top, _, kind = place.partition("/")
        image(tmp_path / f"seg_{top}/seg_{top}" / kind / f"{number}.jpg", number)
    found = inspect(tmp_path)
    assert found.images == {"test": 2, "train": 2}
    assert found.objects == {"cat": {"test": 1, "train": 1}, "dog": {"test": 1, "train": 1}}
    (problem,) = found.problems
    assert (problem.code, problem.path) == ("in-no-split", tmp_path / "seg_pred/seg_pred/4.jpg")


def test_classes_whose_names_share_a_word_are_no_splits(tmp_path: Path) -> None:
    for number, name in enumerate(("toy_train", "toy_car")):
        image(tmp_path / name / f"{number}.jpg", number)
    assert (splits(tmp_path), load_folders(tmp_path).classes) == (("all",), ("toy_car", "toy_train"))
