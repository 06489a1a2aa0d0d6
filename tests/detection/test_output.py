"""What is written of any number of images: the layout of the whole, with one image in memory."""

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from sppnet.classification.prediction import Prediction
from sppnet.detection.detections import Detections
from sppnet.detection.journal import Journal
from sppnet.detection.output import (
    ImageDetections,
    as_dict,
    classified,
    from_dict,
    write_classes,
    write_detections,
)
from sppnet.errors import CorruptFileError
from sppnet.pipeline import Lazy


def _answer(path: Path) -> dict:
    rng = np.random.default_rng(int(path.stem))
    corners = rng.uniform(0, 100, (20, 2))
    boxes = np.hstack([corners, corners + rng.uniform(1, 50, (20, 2))])
    found = Detections(boxes, rng.integers(0, 2, 20), rng.random(20), ("cell", "=ünusual"))
    return as_dict(path, (200, 200), found)


def _recorded(folder: Path, count: int) -> tuple[Journal, list[Path]]:
    journal, paths = Journal(folder, {"model": "a"}), [Path(f"images/{number:05}.png") for number in range(count)]
    for path in paths:
        journal.add(path, _answer(path))
    return journal, paths


def test_json_and_its_lines_are_laid_out_as_one_dump_is(tmp_path: Path) -> None:
    for count in (0, 1, 3):
        journal, paths = _recorded(tmp_path / str(count), count)
        found = Lazy(paths, lambda path, journal=journal: from_dict(path, journal.answer(path)))
        answers = [_answer(path) for path in paths]
        written = write_detections(tmp_path, "json", found).read_text(encoding="utf-8")
        assert written == json.dumps(answers, indent=1, ensure_ascii=False) + "\n"
        lines = write_detections(tmp_path, "jsonl", found).read_text(encoding="utf-8").splitlines()
        assert list(map(json.loads, lines)) == answers
        coco = write_detections(tmp_path, "coco", found).read_text(encoding="utf-8")
        assert coco == json.dumps(json.loads(coco), indent=1, ensure_ascii=False) + "\n"
        assert [each["id"] for each in json.loads(coco)["annotations"]] == list(range(1, 20 * count + 1))


@pytest.mark.parametrize("form", ["json", "jsonl", "coco", "csv"])
@pytest.mark.slow
def test_memory_is_flat(tmp_path: Path, form: str) -> None:
    few, many = (_peak_alone(tmp_path / str(count), form, count) for count in (50, 550))
    assert many - few < 500_000  # for 500 images more; all their answers would be several times that


def _peak_alone(folder: Path, form: str, count: int) -> int:
    """Return the most bytes that writing takes, in a process without the threads of other tests."""
    code = "import sys; from tests.detection.test_output import _peak; print(_peak(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, str(folder), form, str(count)]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    return int(ended.stdout)


def _peak(folder: str, form: str, count: str) -> int:
    tracemalloc.start()
    journal, paths = _recorded(Path(folder), int(count))
    write_detections(Path(folder), form, Lazy(paths, lambda path: from_dict(path, journal.answer(path))))
    return tracemalloc.get_traced_memory()[1]


def test_a_part_of_a_line_costs_its_image_alone(tmp_path: Path) -> None:
    journal, paths = _recorded(tmp_path, 3)
    content = journal.file.read_bytes()
    journal.file.write_bytes(content[:-7])
    again = Journal(tmp_path, {"model": "a"})
    assert [again.knows(path) for path in paths] == [True, True, False]
    again.add(paths[2], _answer(paths[2]))
    assert journal.file.read_bytes() == content
    assert Journal(tmp_path, {"model": "a"}).answer(paths[2]) == _answer(paths[2])


def test_a_journal_that_another_program_changed_is_told(tmp_path: Path) -> None:
    journal, paths = _recorded(tmp_path, 2)
    journal.file.write_bytes(b"x" * journal.file.stat().st_size)
    with pytest.raises(
        CorruptFileError, match=r"predictions\.partial\.jsonl: was changed by another program\. Remove it"
    ):
        journal.answer(paths[1])


@pytest.mark.parametrize("form", ["json", "jsonl", "coco", "voc", "csv"])
def test_a_name_that_is_not_utf8_is_spelt_out_in_every_form(tmp_path: Path, form: str) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))  # written nowhere: no file is looked for
    nothing = Detections(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, np.float32), ("a",))
    write_detections(tmp_path, form, [ImageDetections(path, (30, 40), nothing)])
    texts = [each.name + each.read_text("utf-8") for each in tmp_path.rglob("*") if each.is_file()]
    assert any("caf\\" in text and "xe9" in text for text in texts)


def test_classes_in_a_folder_whose_name_is_not_utf8_are_named_from_there(tmp_path: Path) -> None:
    base = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    answer = classified(base / "a/1.jpg", Prediction(("no", "yes"), np.array([0.25, 0.75], np.float32)))
    written = write_classes(tmp_path, "csv", [answer], base=base)
    assert written.read_text("utf-8").splitlines()[1] == "a/1.jpg,yes,0.75"
