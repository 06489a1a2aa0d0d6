"""ILSVRC's development kit, DET and CLS-LOC, written small: synsets, splits, blacklist."""

from pathlib import Path

import pytest
from tests.data.drawing import image, text, voc

from sppnet.data import load_detection, load_folders, recognise, splits

CRANE, BIRD, DOG = "n03126707", "n02012849", "n02084071"


def kit(root: Path, task: str, maps: str) -> None:
    text(root / "devkit/data" / f"map_{task.replace('-', '').lower()}.txt", maps)
    prefix = "ILSVRC2013_train/" if task == "DET" else ""
    for place, synset in enumerate((CRANE, BIRD, DOG)):
        for k in range(2):
            name = f"train/{prefix}{synset}/{synset}_{k}"
            made = image(root / f"ILSVRC/Data/{task}/{name}.JPEG", 2 * place + k)
            if k == 0:
                text(root / f"ILSVRC/Annotations/{task}/{name}.xml", voc(made, "x", (synset, DOG)))
    for k in (1, 2, 3):
        name = f"val/ILSVRC2012_val_{k:08}"
        made = image(root / f"ILSVRC/Data/{task}/{name}.JPEG", 10 + k)
        text(root / f"ILSVRC/Annotations/{task}/{name}.xml", voc(made, "x", (BIRD, DOG)))
    lines = "".join(f"ILSVRC2012_val_{k:08} {k}\n" for k in (1, 2, 3))
    text(root / f"ILSVRC/ImageSets/{task}/val.txt", lines)
    text(root / f"devkit/data/ILSVRC2014_{task.replace('-', '').lower()}_validation_blacklist.txt", "2\n")


@pytest.mark.parametrize("task", ["DET", "CLS-LOC"])
def test_the_kit_is_read_with_names_splits_and_blacklist(tmp_path: Path, task: str) -> None:
    kit(tmp_path, task, f"{CRANE} 1 crane\n{BIRD} 2 crane\n{DOG} 3 dog\n")
    assert (recognise(tmp_path), splits(tmp_path)) == ("ilsvrc", ("train", "val"))
    train, val = load_detection(tmp_path), load_detection(tmp_path, split="val")
    assert train.classes == (f"crane {BIRD}", f"crane {CRANE}", "dog")
    assert (len(train), len(val)) == (3, 2)
    assert [problem.code for problem in train.problems] == ["image-without-labels"] * 3
    assert [sample.path.stem[-1] for sample in val] == ["1", "3"]
    folders = load_folders(tmp_path)
    assert (len(folders), folders.classes) == (6, train.classes)
    held = load_folders(tmp_path, split="val", classes=folders.classes)
    assert [held.classes[label] for label in held.labels] == [f"crane {BIRD}"] * 2


def test_synsets_without_a_map_keep_their_numbers(tmp_path: Path) -> None:
    kit(tmp_path, "DET", "")
    assert load_detection(tmp_path).classes == tuple(sorted((CRANE, BIRD, DOG)))
