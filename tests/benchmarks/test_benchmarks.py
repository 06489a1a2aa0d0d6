"""The page and the plot of the pooling's measurement show what was measured."""

import json
import re
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import pytest
from benchmarks.__main__ import MEASUREMENTS

from benchmarks import plots, records, render


@pytest.mark.parametrize("name", sorted(path.stem for path in Path(records.__file__).parent.glob("[a-z]*.py")))
def test_the_imports_of_a_measurement_hold(name: str) -> None:
    import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("place", MEASUREMENTS.values())
def test_a_measurement_can_be_started(place: str) -> None:
    module, function = place.split(".")
    assert callable(getattr(import_module(f"benchmarks.{module}"), function))


@pytest.mark.parametrize("name", render.PAGES)
def test_the_tables_of_a_page_are_the_measured_ones(name: str) -> None:
    page = (records.ROOT / name).read_text(encoding="utf-8")
    assert render.rendered(name, page) == page


@pytest.mark.parametrize(
    ("name", "row", "times"),
    [
        ("benchmarks/README.md", "| 2000, 600, 1 |", 2),
        ("docs/backbones.md", "| cards |", 2),
        ("docs/detection.md", "| as published |", 2),
        ("docs/export.md", "| bccd | outside | 13 of 13 |", 1),
        ("docs/proposals.md", "| learnt |", 2),
        ("docs/scale.md", "| 40,000 images |", 1),
    ],
)
def test_a_table_has_its_rows(name: str, row: str, times: int) -> None:
    assert (records.ROOT / name).read_text(encoding="utf-8").count(row) == times


def test_the_plot_has_every_measured_row_and_is_drawn_the_same_again(tmp_path: Path) -> None:
    record = records.read("pooling")
    assert record is not None
    drawn = []
    for name in ("first.svg", "second.svg"):
        plots.draw_pooling(record["figures"], tmp_path / name)
        drawn.append((tmp_path / name).read_bytes())
    assert drawn[0] == drawn[1]
    written = re.sub(r"\s+", " ", " ".join(ElementTree.fromstring(drawn[0]).itertext()))
    published = ElementTree.parse(records.ROOT / "docs" / "pooling.svg").getroot()
    for label in [*plots.COLOURS, "2000 windows, 600, 1 thr.", "32 maps, channels last, with gradient, 1 thr."]:
        assert label in written
        assert label in re.sub(r"\s+", " ", " ".join(published.itertext()))


def test_the_plot_of_the_proposals_has_every_method_and_is_drawn_the_same_again(tmp_path: Path) -> None:
    record = records.read("proposals")
    assert record is not None
    drawn = []
    for name in ("first.svg", "second.svg"):
        plots.draw_proposals(record["figures"], tmp_path / name)
        drawn.append((tmp_path / name).read_bytes())
    assert drawn[0] == drawn[1]
    published = ElementTree.parse(records.ROOT / "docs" / "proposals.svg").getroot()
    for root in (ElementTree.fromstring(drawn[0]), published):
        written = " ".join(root.itertext())
        assert all(f"{method}, IoU {overlap}" in written for method in plots.METHODS for overlap in (0.5, 0.7))


def test_a_measurement_is_the_last_of_its_name_and_a_line_of_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    for seconds in (3, 2):
        records.write("walk", seed=0, figures={"seconds": seconds})
    last = records.read("walk")
    assert last is not None
    lines = [json.loads(line) for line in (tmp_path / records.HISTORY).read_text().splitlines()]
    assert [line["figures"]["seconds"] for line in lines] == [3, 2]
    assert last["figures"] == {"seconds": 2}
    assert lines[1].items() >= last.items()
    assert {"date", "commit", "machine", "command"} <= lines[1].keys()


@pytest.mark.parametrize("looks", [1, 2, 7])
def test_growth_is_told_after_however_few_looks(looks: int) -> None:
    from benchmarks.torture_soak import Program

    program = Program("http://127.0.0.1:1", 0)
    program.seen = [(60.0 * moment, 10_000_000 + 2_000_000 * moment, 20, 5) for moment in range(looks)]
    program.rested = [each[:2] for each in program.seen]
    slope, descriptors, threads = program.growth()
    assert slope == pytest.approx(2.0 if looks > 2 else 0.0)
    assert (descriptors, threads) == (0, 0)
