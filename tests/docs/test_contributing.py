"""What CONTRIBUTING sends people to is there: its files, its modules and their names, its commands."""

import json
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
HOW_TO = PAGE[: PAGE.index("## Dependencies")]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([.\w]+/[\w/.]*)`", HOW_TO))))
def test_a_named_file_exists(path: str) -> None:
    assert path.startswith("results/") or (ROOT / path).exists()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(sppnet[.\w]+)`", HOW_TO))))
def test_a_named_module_or_what_is_in_it_exists(name: str) -> None:
    try:
        import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute)


@pytest.mark.parametrize(("name", "module"), re.findall(r"`(\w+)`\s+(?:of|in)\s+`(sppnet[.\w]+)`", HOW_TO))
def test_a_named_part_of_a_module_exists(name: str, module: str) -> None:
    assert hasattr(import_module(module), name)


def test_every_target_of_make_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {target for line in re.findall(r"make ([a-z -]+)", HOW_TO) for target in line.split()}
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    assert {"quick", "test", "test-all", "check", "docs", "bench", "lowest"} <= named & targets


def test_every_dependency_has_a_row_with_its_licence_and_its_reason() -> None:
    rows = [row.split("|") for row in PAGE[PAGE.index("## Dependencies") :].splitlines() if row.startswith("|")]
    listed = {name for row in rows for name in re.findall(r"[\w-]+", row[1])}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    used = {re.split(r"[\[<>=!~]", each)[0] for one in lists for each in one}
    pages = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    used |= {name.rpartition("/")[2] for name in pages}
    assert used - {"sppnet"} <= listed, used - listed
