"""How the documentation is built: ``make docs``, warnings as errors."""

import os
from typing import Any

os.environ["OMP_WAIT_POLICY"] = "passive"

import sppnet

project = "sppnet"
copyright = "the sppnet contributors"  # noqa: A001 (Sphinx's name)
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "sppnet"
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_numpy_docstring = False
# Type aliases of numpy and torch have no page of their own here.
nitpicky = False
suppress_warnings = ["ref.python"]  # one word names the same thing in several classes: no link there

# The reference is made of the one list of public names, room by room.
EVERY_NAME = "<!-- every public name -->"
ROOMS = {
    "detection": "Detection",
    "classification": "Classification",
    "features": "Features",
    "ops": "Pooling",
    "proposals": "Proposals",
    "data": "Data sets",
    "evaluation": "Evaluation",
    "backbones": "Networks",
    "training": "Training whole networks",
    "images": "Images",
    "models": "Model files",
    "export": "Export",
    "storage": "The cache",
    "errors": "Errors",
}


def every_public_name() -> str:
    """Return the reference of all public names, as MyST."""
    parts = []
    for room, title in ROOMS.items():
        names = [name for name, home in sppnet._HOMES.items() if home.split(".")[0] == room]
        directives = [f".. {_directive(getattr(sppnet, name))}:: sppnet.{name}" for name in names]
        if names:
            parts.append("\n".join([f"## {title}", "", "```{eval-rst}", *directives, "```"]))
    return "\n\n".join(parts)


def _directive(value: Any) -> str:
    if isinstance(value, type):
        return "autoclass"
    return "autofunction" if callable(value) else "autodata"


def _fill_in(_: Any, page: str, source: list[str]) -> None:
    if page == "reference":
        source[0] = source[0].replace(EVERY_NAME, every_public_name())


def setup(app: Any) -> None:
    """Have the reference filled in as it is read."""
    app.connect("source-read", _fill_in)
