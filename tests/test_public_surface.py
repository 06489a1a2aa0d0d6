"""The public names: one list, what README and the pages use of it, documented."""

import ast
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import sppnet

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = list(sppnet.__all__)


def _imports(page: Path) -> list[ast.ImportFrom]:
    code = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [
        node
        for block in code
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sppnet"
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_takes_all_it_uses_from_the_top(page: Path) -> None:
    assert [node.module for node in _imports(page) if node.module != "sppnet"] == []
    used = {alias.name for node in _imports(page) for alias in node.names}
    assert used <= set(NAMES)


def test_every_public_name_is_told_of_in_the_pages() -> None:
    words = set(re.findall(r"\w+", " ".join(page.read_text(encoding="utf-8") for page in PAGES)))
    assert [name for name in NAMES if name not in words] == []


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(sppnet.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name  # otherwise it is not exported to strict ones
            seen[alias.name] = str(node.module).removeprefix("sppnet.")
    assert seen == sppnet._HOMES


def test_the_reference_has_every_public_name() -> None:
    spec = importlib.util.spec_from_file_location("conf", ROOT / "docs" / "conf.py")
    assert spec is not None
    assert spec.loader is not None
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8").count(conf.EVERY_NAME) == 1
    assert sorted(re.findall(r":: sppnet\.(\w+)$", conf.every_public_name(), flags=re.MULTILINE)) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_documented(name: str) -> None:
    value = getattr(sppnet, name)
    documentation = inspect.getdoc(value if callable(value) else type(value))
    assert documentation is not None
    assert len(documentation) > 40
    assert name in dir(sppnet)


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(AttributeError, match="module 'sppnet' has no attribute 'Pooler'"):
        sppnet.Pooler  # noqa: B018


NAMED = re.findall(r"^\.\. auto\w+:: (\S+)", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", NAMED)
def test_what_the_reference_names_is_there(name: str) -> None:
    assert pkgutil.resolve_name(name) is not None
