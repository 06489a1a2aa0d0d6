"""What the pages on scale and on replicas say is so: tables are the measured ones, alerts watch what is counted."""

import re

import pytest

from benchmarks import records, scale

ROOT = records.ROOT


def test_the_tables_on_scale_are_the_measured_ones() -> None:
    page = scale.PAGE.read_text(encoding="utf-8")
    assert scale.rendered(page) == page
    assert "| 40,000 images |" in page


def test_the_simulation_is_right_where_it_can_be_reckoned() -> None:
    assert scale.simulated([1.0] * 10, 2) == 5.0
    assert scale.simulated([3.0, 1.0, 1.0, 1.0], 2) == 3.0
    assert scale.simulated([1.0] * 4, 8, start=2.0) == 3.0
    assert scale.simulated([5.0, 1.0, 1.0, 1.0], 2, waiting=2) == 6.0  # nothing is begun before the first is taken


def test_alerts_watch_what_the_service_counts() -> None:
    page = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
    measures = (ROOT / "src/sppnet/web/service/measures.py").read_text(encoding="utf-8")
    watched = set(re.findall(r"sppnet_\w+", page.partition("- name: sppnet")[2].partition("```")[0]))
    assert len(watched) == 5
    assert {name.removesuffix("_total") for name in watched} <= set(re.findall(r'"(sppnet_\w+)"', measures))


@pytest.fixture
def dockerfile() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile with their arguments."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(first, rest) for first, _, rest in (line.partition(" ") for line in lines)]


def test_the_image_is_small_and_nobody_in_it_is_root(dockerfile: list[tuple[str, str]]) -> None:
    told = dict(dockerfile)
    assert re.fullmatch(r"python:3\.\d+-slim", told["FROM"])
    assert int(told["USER"]) >= 10_000
    assert [name for name, _ in dockerfile].index("USER") < [name for name, _ in dockerfile].index("ENTRYPOINT")
    installed = re.findall(r'"(\w+)[<>=]', told["RUN"])
    assert installed == ["numpy", "onnxruntime", "pillow"]
    assert "--no-cache-dir" in told["RUN"]
    assert "ADD" not in told
