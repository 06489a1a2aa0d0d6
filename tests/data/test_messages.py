"""What is said of names that tools alter, of videos and of addresses."""

from pathlib import Path

import pytest
from tests.data.drawing import coco, dump, image, text, voc

from sppnet.cli.many import only_paths
from sppnet.data import BrokenSampleError, load_detection
from sppnet.data.contents import contents
from sppnet.data.problems import NotThereError
from sppnet.errors import ArgumentError


def tasks(root: Path, name: str) -> None:
    value = {"x": 1, "y": 1, "width": 10, "height": 10, "rotation": 0, "rectanglelabels": ["a"]}
    result = {"id": "x", "type": "rectanglelabels", "original_width": 160, "original_height": 120, "value": value}
    uploaded = {"image": f"/data/upload/1/{name}"}
    annotations = [{"id": 1, "was_cancelled": False, "result": [result]}]
    dump(root / "project.json", [{"id": 1, "data": uploaded, "annotations": annotations}])


def test_names_as_label_studio_alters_them(tmp_path: Path) -> None:
    image(tmp_path / "images/my photo (1).jpg")
    image(tmp_path / "images/other.jpg", 1)
    tasks(tmp_path, "0a1b2c3d-my_photo_1.jpg")
    assert [each.path.name for each in load_detection(tmp_path)] == ["my photo (1).jpg"]
    image(tmp_path / "images/my photo 1.jpg", 2)  # is called the same there
    with pytest.raises(BrokenSampleError, match=r"/data/upload/1/0a1b2c3d-my_photo_1\.jpg' is missing"):
        load_detection(tmp_path)


def test_a_video_goes_to_the_studio(tmp_path: Path) -> None:
    text(tmp_path / "a.mp4", "x")
    text(tmp_path / "b.psd", "x")
    text(tmp_path / "a.webm", "x")
    told = [problem.what for problem in contents(tmp_path).problems]
    assert told == [
        *["is a video that is not read. 'sppnet studio' takes its frames as images"] * 2,
        "is of a format that is not read. Convert it to JPEG or PNG",
    ]


def test_an_address_of_the_web_is_to_be_downloaded() -> None:
    with pytest.raises(ArgumentError, match=r"got https://x\.org/a\.jpg\. Download it\."):
        only_paths(["https://x.org/a.jpg"])


def test_a_file_of_a_set_is_told_to_be_in_its_folder(tmp_path: Path) -> None:
    file = text(tmp_path / "set/data.yaml", "names: [a]\n")
    with pytest.raises(NotThereError, match=rf"data\.yaml, which is a file\. Give its folder, {tmp_path}/set\."):
        load_detection(file)


@pytest.mark.parametrize("suffix", [".PNG", ".jpg"])
def test_frames_of_cvats_videos_have_either_suffix(tmp_path: Path, suffix: str) -> None:
    box = '<box frame="{}" outside="0" occluded="0" keyframe="1" xtl="10" ytl="10" xbr="50" ybr="50"/>'
    track = f'<track id="0" label="car">{box.format(0)}{box.format(1)}</track>'
    text(tmp_path / "annotations.xml", f"<annotations><version>1.1</version>{track}</annotations>")
    for number in range(2):
        image(tmp_path / f"some/where/frame_{number:06d}{suffix}", number)
    assert [len(each.boxes) for each in load_detection(tmp_path)] == [1, 1]


@pytest.mark.parametrize("layout", ["coco", "voc"])
def test_an_image_that_is_not_read_is_not_called_missing(tmp_path: Path, layout: str) -> None:
    boxes = image(tmp_path / "images/0.jpg")
    image(tmp_path / "images/1.jpg", 1)
    (tmp_path / "images/1.jpg").rename(tmp_path / "images/1.jp2")
    if layout == "coco":
        dump(tmp_path / "labels.json", coco({"0.jpg": boxes, "1.jp2": boxes}))
    else:
        for name in ("0.jpg", "1.jp2"):
            text(tmp_path / f"labels/{name[0]}.xml", voc(boxes, name))
    with pytest.raises(BrokenSampleError, match=r"the image '1\.jp2' is of a format that is not read\. Convert it to"):
        load_detection(tmp_path)
