"""What torture counts is what happened: trials can be done again, losses are seen, what is published holds no fault."""

import random
from itertools import islice

import pytest
from benchmarks.tally import Tally, added
from benchmarks.torture import SECTIONS, merged
from benchmarks.torture_images import hostile_image

from benchmarks import records, torture
from sppnet.errors import DataError, ImageDecodeError
from sppnet.images import read_image, read_size


def test_every_result_is_of_a_section_there_is() -> None:
    record = records.read("torture")
    assert record is not None
    assert set(record["figures"]) <= set(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_published_holds_no_fault(section: str) -> None:
    record = records.read("torture")
    assert record is not None
    assert not torture.bad({section: record["figures"][section]})


def test_outcomes_are_told_apart() -> None:
    tally = Tally()

    def refuse() -> None:
        raise DataError("no")

    def break_down() -> None:
        raise KeyError("oh")

    for work in (lambda: None, refuse, break_down):
        tally.trial("a trial", work, DataError)
    tally.lose("a file")
    figures = tally.figures()
    assert figures["counts"] == {"done": 1, "refused": 1, "foreign exceptions": 1, "losses": 1}
    assert figures["faults"] == ["a trial: KeyError: 'oh'", "a file"]


@pytest.mark.slow
def test_a_section_that_dies_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    figures = torture.in_a_process("none of them", 0, 1)
    assert figures["counts"] == {"crashes": 1}
    assert "none of them ended with 1" in figures["faults"][0]


def test_runs_with_other_seeds_add_up_and_with_the_same_are_refused() -> None:
    one = {"counts": {"done": 3}, "most": {"s": 0.5, "MB": 9}, "faults": []}
    two = {"counts": {"done": 4, "refused": 1}, "most": {"s": 0.25}, "faults": ["oh"]}
    assert added(one, two) == {"counts": {"done": 7, "refused": 1}, "most": {"s": 0.5, "MB": 9}, "faults": ["oh"]}
    known = merged({}, {"images": one}, 0)
    together = merged(known, {"images": two, "labels": one}, 1)
    assert together["images"] == {**added(one, two), "seeds": [0, 1]}
    assert together["labels"] == {**one, "seeds": [1]}
    with pytest.raises(ValueError, match=r"images was run with seed 1 already\. Give another seed\."):
        merged(together, {"images": one}, 1)


def test_hostile_images_are_the_same_for_the_same_number_and_are_read_or_refused() -> None:
    files = [hostile_image(random.Random(number)) for number in range(150)]
    assert files[:20] == [hostile_image(random.Random(number)) for number in range(20)]
    read = 0
    for content in islice(files, 150):
        for look in (read_image, read_size):
            try:
                look(content)
                read += 1
            except ImageDecodeError:
                pass
    assert 0 < read < 300


def test_what_is_published_of_mutated_labels_holds_no_fault() -> None:
    record = records.read("mutations")
    assert record is None or not any(each["faults"] for each in record["figures"].values())
