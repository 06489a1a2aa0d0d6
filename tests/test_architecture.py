"""The rules of the house that a reader relies on, read from the source itself."""

import ast
import functools
import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "sppnet"
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"


def _levels(page: str) -> dict[str, int]:
    """Read the table of rooms: one row a level, the lowest first; rooms in backquotes."""
    rows = [line for line in page.splitlines() if re.match(r"\| \d+ \|", line)]
    return {room: int(row.split("|")[1]) for row in rows for room in re.findall(r"`(\w+)`", row.split("|")[2])}


LEVEL_OF = _levels(PAGE.read_text(encoding="utf-8"))
MAX_LINES = 500
NAMES_THAT_SAY_NOTHING = {"utils", "helpers", "common", "manager", "base"}
# The field's words, one for an idea; docs/architecture.md and CONTRIBUTING.md say what they mean.
WORDS = {
    "picture": "image",
    "pictures": "images",
    "tap": "layer",
    "taps": "layers",
    "procedure": "settings",
    "taught": "learnt, fitted",
    "teacher": "learner",
    "truth": "ground_truth",
    "truths": "ground_truth",
    "reach": "recall",
    "distinct": "unique",
    "snap": "align_to_cells",
    "cuts": "relu",
}
HEAVY = {"torch", "torchvision", "numpy", "numba", "PIL", "cv2", "sklearn", "skimage", "typer", "rich"}

FILES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))
every_file = pytest.mark.parametrize("file", FILES, ids=str)
every_module = pytest.mark.parametrize("file", [file for file in FILES if file != Path("__init__.py")], ids=str)


@functools.cache
def _tree(file: Path) -> ast.Module:
    return ast.parse((SOURCE / file).read_text(encoding="utf-8"))


def _module(file: Path) -> str:
    """Return the name directly below sppnet: a package counts as one module."""
    return file.parts[0].removesuffix(".py")


def _imports(tree: ast.AST) -> Iterator[str]:
    """Yield every imported name in full, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ("." * node.level + f"{node.module or ''}.{alias.name}" for alias in node.names)


def _used_modules(tree: ast.AST) -> set[str]:
    """Return the modules below sppnet that are imported; "" for the package itself or a relative import."""
    used = set()
    for name in _imports(tree):
        first, *rest = name.split(".")
        if first in ("sppnet", ""):
            used.add(rest[0] if first and rest else "")
    return used


def _other_words(tree: ast.AST) -> set[str]:
    """Return the names that say with another word what one of ``WORDS`` means; ``ground_truth`` is one of them."""
    names = set()
    for node in ast.walk(tree):
        names |= {getattr(node, place) for place in ("name", "arg", "id", "attr") if hasattr(node, place)}
    parts = {name: re.findall(r"[A-Z]?[a-z]+", name.replace("ground_truth", "")) for name in names if name}
    return {name for name, found in parts.items() if WORDS.keys() & {part.lower() for part in found}}


def _misplaced(module: str, used: set[str]) -> set[str]:
    """Return the modules that may not be imported from ``module``: those of its own level and of higher ones."""
    level = LEVEL_OF.get(module, 0)
    return {other for other in used - {module} if LEVEL_OF.get(other, len(LEVEL_OF)) >= level}


def _touches_library(tree: ast.AST) -> bool:
    imported = any(name == "torch.library" or name.startswith("torch.library.") for name in _imports(tree))
    return imported or any(
        isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.library" for node in ast.walk(tree)
    )


@every_module
def test_each_module_has_a_level(file: Path) -> None:
    assert _module(file) in LEVEL_OF, f"{_module(file)} has no level yet: place it in the table of docs/architecture.md"


@every_module
def test_a_module_imports_lower_levels_only(file: Path) -> None:
    wrong = _misplaced(_module(file), _used_modules(_tree(file)))
    arrows = [
        f"{file} ({_module(file)}, level {LEVEL_OF[_module(file)]}) -> {other} ({LEVEL_OF.get(other)})"
        for other in wrong
    ]
    assert not wrong, f"arrows that run up, see docs/architecture.md: {arrows}"


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("geometry", "from sppnet.errors import BoxError", set()),
        ("geometry", "from sppnet.images import resize", {"images"}),
        ("geometry", "import sppnet.detection", {"detection"}),
        ("geometry", "def f():\n    from sppnet import cli", {"cli"}),
        ("geometry", "import sppnet", {""}),
        ("geometry", "from . import errors", {""}),
        ("geometry", "from sppnet.novelty import thing", {"novelty"}),
        ("ops", "from sppnet.ops.reference import pool_reference", set()),
        ("ops", "from sppnet.data import samples", {"data"}),
        ("cli", "import numpy, sppnet.data.inspection", set()),
    ],
)
def test_a_misplaced_import_is_seen(module: str, source: str, wrong: set[str]) -> None:
    assert _misplaced(module, _used_modules(ast.parse(source))) == wrong


def test_only_the_definition_touches_the_library_of_operators() -> None:
    assert [file for file in FILES if _touches_library(_tree(file))] == [Path("ops/definition.py")]


@pytest.mark.parametrize(
    ("source", "touches"),
    [
        ("import torch.library", True),
        ("from torch import library", True),
        ("from torch.library import custom_op", True),
        ("import torch\n@torch.library.custom_op('a::b')\ndef f(): ...", True),
        ("import torch\nlibrary = torch.ops.sppnet", False),
    ],
)
def test_a_use_of_the_library_is_seen(source: str, touches: bool) -> None:
    assert _touches_library(ast.parse(source)) is touches


def test_what_the_page_says_where_to_look_for_is_there() -> None:
    rows = re.findall(r"^\|[^|]+\| `([\w/]+\.py)`[^|]*\| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 15
    for file, names in rows:
        source = (SOURCE / file).read_text(encoding="utf-8")
        for name in re.findall(r"`(?:\w+\.)?(\w+)`", names):
            assert re.search(rf"\b(def|class) {name}\b|^ *{name}\b.*[:=]", source, re.MULTILINE), (file, name)


def test_no_two_classes_have_one_name() -> None:
    places: dict[str, list[str]] = {}
    for file in FILES:
        for node in _tree(file).body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(file))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


@every_file
def test_nothing_is_checked_by_assert(file: Path) -> None:
    lines = [node.lineno for node in ast.walk(_tree(file)) if isinstance(node, ast.Assert)]
    assert not lines, f"{file}: python -O removes the assert statements of lines {lines}; raise an error instead"


@every_file
def test_names_say_what_a_module_is_for(file: Path) -> None:
    assert not NAMES_THAT_SAY_NOTHING & {part.removesuffix(".py").strip("_") for part in file.parts}


def test_what_the_page_says_to_look_for_is_there() -> None:
    rows = re.findall(
        r"^\| [^|`]+ \| `([\w/]+\.py)`[^|]*\| (`[^|]+`) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(rows) > 8
    for file, names in rows:
        source = (SOURCE / file).read_text(encoding="utf-8")
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^ *(?:def |class )?{name}\b", source, re.MULTILINE), f"{file} has no {name}"


@every_file
def test_one_word_stands_for_an_idea(file: Path) -> None:
    found = _other_words(_tree(file))
    assert not found, f"{file}: {found}; say instead {WORDS}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def picture_size(): ...", {"picture_size"}),
        ("class TapLayer: ...", {"TapLayer"}),
        ("def f(truths): ...", {"truths"}),
        ("model.taught = 1", {"taught"}),
        ("def staples(ground_truth, image, tapered): ...", set()),
    ],
)
def test_another_word_is_seen(source: str, found: set[str]) -> None:
    assert _other_words(ast.parse(source)) == found


@pytest.mark.parametrize(
    "page", sorted([*PAGE.parent.glob("*.md"), PAGE.parents[1] / "README.md"]), ids=lambda page: page.name
)
def test_pages_use_the_same_words(page: Path) -> None:
    text = page.read_text(encoding="utf-8").lower()
    found = re.findall(r"\b(?:pictures?|taps?|procedures?|taught|teacher|least score)\b", text)
    assert not found, f"{page}: {found}; say instead {WORDS}"


@every_file
def test_no_file_is_too_long(file: Path) -> None:
    assert len((SOURCE / file).read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def imported_by(code: str) -> set[str]:
    """Return the modules that a process holds which ran the code."""
    code = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_does_no_work() -> None:
    roots = {name.split(".")[0] for name in imported_by("import sppnet")}
    assert "sppnet" in roots
    assert not HEAVY & roots


def test_data_sets_and_the_studios_page_do_without_torch() -> None:
    held = imported_by("import sppnet.data.converting, sppnet.web.studio.app")
    assert "sppnet.web.studio.learner" in held
    assert not {"torch", "torchvision", "numba"} & held


@pytest.mark.slow
def test_pooling_and_suppression_import_neither_torchs_compiler_nor_torchvision() -> None:
    code = """
import numpy as np, torch
from sppnet.geometry import nms
from sppnet.ops import pool_image
assert pool_image(torch.ones(2, 5, 5)).shape == (2, 50)
assert nms(np.array([[0.0, 0, 9, 9], [1, 0, 9, 9], [20, 0, 30, 9]]), np.array([1.0, 2, 3]), 0.5).tolist() == [2, 1]
"""
    assert not {"torch._dynamo", "torchvision"} & imported_by(code)


def test_the_files_on_an_images_way_exist() -> None:
    page = (SOURCE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`([a-z_/]+\.py)`", page)
    assert len(named) > 6
    assert [name for name in named if not (SOURCE / name).is_file()] == []


def _missing(source: str) -> list[str]:
    """Return what a source takes from a module of ours that has no such thing, wherever the import stands."""
    ours = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in {"sppnet", "benchmarks", "tests"}
    ]
    pairs = [(node.module, name.name) for node in ours for name in node.names]
    return [f"{module}.{name}" for module, name in pairs if not _is_there(module, name)]


def _is_there(module: str | None, name: str) -> bool:
    found = importlib.import_module(str(module))
    return hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}") is not None


@pytest.mark.parametrize("folder", ["src/sppnet", "benchmarks", "tests"])
def test_what_a_file_takes_from_another_is_there(folder: str) -> None:
    files = sorted((SOURCE.parents[1] / folder).rglob("*.py"))
    missing = {str(file): _missing(file.read_text(encoding="utf-8")) for file in files}
    assert len(files) > 20
    assert {file: names for file, names in missing.items() if names} == {}


def test_an_import_of_what_is_gone_is_seen() -> None:
    assert _missing("def late():\n    from sppnet.storage import read_file, gone") == ["sppnet.storage.gone"]
