"""What the command line says of a fault holds the names that it was given: no folder of this machine, no pixel."""

from pathlib import Path

import pytest
from PIL import Image
from tests.cli.conftest import Run

from sppnet.cli.printing import show_warning

BYTES = b"canary-among-the-pixels"


def _prepare(folder: Path, shapes: Path, model: Path) -> None:
    """Put into a folder what goes wrong: images, labels, models, regions, caches."""
    images = folder / "images"
    images.mkdir()
    (images / "broken.jpg").write_bytes(b"\xff\xd8" + BYTES * 40)
    whole = (shapes / "JPEGImages" / "00.png").read_bytes()
    (images / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "model").write_bytes(model.read_bytes())
    (folder / "damaged").write_bytes(model.read_bytes()[:-40] + BYTES + BYTES[:17])
    (folder / "regions.csv").write_text("image,left,top,right,bottom\nbroken.jpg,1,none,3,4\n")
    Image.new("RGB", (40, 40)).save(images / "sound.png")
    labels = folder / "labels"
    labels.mkdir()
    (labels / "a.png").write_bytes(whole)
    (labels / "a.xml").write_text("<annotation>")
    coco = folder / "coco"
    coco.mkdir()
    (coco / "a.json").write_text('{"images": [], "annotations": [{"bbox": "none"}], "categories": []}')
    for name in ("a", "b"):
        (folder / "kinds" / name).mkdir(parents=True)
        (folder / "kinds" / name / "broken.jpg").write_bytes(b"\xff\xd8" + BYTES)
    (folder / "file").write_bytes(b"")


@pytest.mark.parametrize("word", ["--quiet", "--verbose"])
@pytest.mark.parametrize(
    "command",
    [
        "train detector labels --out out",
        "train detector coco --out out",
        "train detector nothing --out out",
        "train detector images --out file/out",
        "train classifier kinds --out out",
        "train network kinds --out out --batch 2",
        "predict model images/broken.jpg --on-bad fail",
        "predict model images --on-bad fail --format parquet",
        "predict model images/broken.jpg images/cut.png --format parquet",
        "predict damaged images",
        "predict images model",
        "predict model nothing",
        "predict model images/sound.png --out file",
        "predict model images/sound.png --out file/out",
        "features images/broken.jpg --out out.npy",
        "features images/broken.jpg images/cut.png --out out.parquet",
        "features images --regions regions.csv --out out.npy",
        "features images/sound.png --out file/out.npy",
        "cache images/broken.jpg",
        "evaluate model labels",
        "evaluate damaged labels",
        "convert labels --to voc --out converted",
        "convert coco --to voc --out file",
        "split labels",
        "check labels --strict",
        "check coco",
        "export damaged --out out",
        "export model --out file",
        "serve damaged",
        "studio nothing",
    ],
)
def test_no_folder_of_this_machine_and_no_byte_is_said(
    run: Run, model: Path, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, word: str
) -> None:
    (folder := tmp_path / "home of a person").mkdir()
    _prepare(folder, shapes, model)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = run(word, *command.split())
    said = done.stdout + done.stderr
    assert done.returncode in (1, 2), said
    assert "home of a person" not in said
    assert BYTES.decode() not in said
    assert __file__.partition("tests")[0] not in said  # where the program lies, which --verbose tells of


def test_a_warning_is_one_line_that_names_no_folder_of_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for place in (tmp_path / "home/.cache/maps", tmp_path / "here/maps"):
        show_warning(RuntimeWarning(f"{place}: No space left on device."), RuntimeWarning, __file__, 3)
    said = capsys.readouterr().err
    assert said == "".join(f"Warning: {place}maps: No space left on device.\n" for place in ("~/.cache/", ""))
