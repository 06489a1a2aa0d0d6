"""How the documentation is built: ``make docs``, warnings as errors."""

import os

os.environ["OMP_WAIT_POLICY"] = "passive"

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
