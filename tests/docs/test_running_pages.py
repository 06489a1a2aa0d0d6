"""What the pages on scale and on replicas say is so: simulations are right, alerts watch what is counted."""

import json
import re

import pytest

from benchmarks import records, scale

ROOT = records.ROOT


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
    names = [name for name, _ in dockerfile]
    last = len(names) - 1 - names[::-1].index("FROM")
    told = dict(dockerfile[last:])  # what lies in the image: the stage before only builds
    assert re.fullmatch(r"python:3\.\d+-slim", told["FROM"])
    assert int(told["USER"]) >= 10_000
    assert names.index("USER") < names.index("ENTRYPOINT")
    installed = [words.split() for words in told["RUN"].split("&&")]
    assert installed[0] == ["pip", "install", "--no-cache-dir", "--group", "/opt/served/pyproject.toml:served"]
    assert installed[1] == ["pip", "install", "--no-cache-dir", "--no-deps", "/opt/served/wheels/*.whl"]
    assert "ADD" not in names


def test_the_image_serves_what_is_copied_into_it(dockerfile: list[tuple[str, str]]) -> None:
    told = dict(dockerfile)
    program, command, model, *options = json.loads(told["ENTRYPOINT"])
    assert (program, command) == ("sppnet", "serve")
    assert ("COPY", f"--chown={told['USER']}:{told['USER']} {model} {told['WORKDIR']}/{model}") in dockerfile
    assert options == ["--host", "0.0.0.0"]  # of its own network
    assert told["EXPOSE"] == "8080"
