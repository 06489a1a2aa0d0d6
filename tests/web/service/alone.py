"""A service that can import nothing but this package and what the group ``served`` of pyproject.toml installs."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
GROUP = {Requirement(each).name: Requirement(each) for each in PROJECT["dependency-groups"]["served"]}

# Runs in each process before anything else: hides what is not installed beside the service, and writes down what is
# asked for, hidden or not.
HIDE = """
import os, sys
from importlib.machinery import PathFinder

SHOWN, ASKED = set({shown!r}), {asked!r}

class Shown(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target)
        places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or ())]
        if path is None and any("site-packages" in str(place) for place in places):
            with open(ASKED, "a") as file:
                file.write(name + "\\n")
            return spec if name in SHOWN else None
        return spec

sys.meta_path[sys.meta_path.index(PathFinder)] = Shown
"""


def plain(name: str) -> str:
    """Return a package's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_with(names: set[str]) -> set[str]:
    """Return packages, and all that are installed because of them."""
    found: set[str] = set()
    left = {plain(name) for name in names}
    while left:
        found.add(name := left.pop())
        try:
            needed = [Requirement(each) for each in requires(name) or ()]
        except PackageNotFoundError:  # of another system
            continue
        left |= {plain(each.name) for each in needed if not each.marker or each.marker.evaluate({"extra": ""})} - found
    return found


def modules_of(packages: set[str]) -> list[str]:
    """Return the names under which packages are imported."""
    homes = packages_distributions()
    return sorted(name for name, owners in homes.items() if {plain(owner) for owner in owners} & packages)


@contextmanager
def alone(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run ``sppnet serve`` with nothing else installed; yield the process, and the file of what it asked for."""
    asked = folder / "asked"
    shown = [*modules_of(installed_with(set(GROUP))), "sppnet"]
    (folder / "sitecustomize.py").write_text(HIDE.format(shown=shown, asked=str(asked)))
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "sppnet.cli", "serve", *words, "--port", "0", "--workers", "1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=os.environ | {"PYTHONPATH": path}, **pipes) as process:
        try:
            yield process, asked
        finally:
            process.terminate()
            process.wait(timeout=60)
