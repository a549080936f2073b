"""Sphinx: the pages of this repository as they stand, and the reference from the docstrings. `make docs` runs it."""

from __future__ import annotations

from importlib.metadata import version as installed

project = "temporal-fanout"
copyright = "the temporal-fanout authors"
release = version = installed("temporal-fanout")

# The repository's root is the source, so that the links between its pages are those that its readers follow.
extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "chart/README.md", "deploy/**.md", "examples/**.md", "monitoring/README.md"]
exclude_patterns = [".*", "**/.*", "build"]

html_theme = "furo"
html_title = f"temporal-fanout {release}"

myst_heading_anchors = 3

default_role = "code"  # a name between single backticks is code, as in Markdown
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": True}
python_use_unqualified_type_names = True

# Every reference must lead somewhere. What other packages define is not a page here.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!temporal_fanout).*"),
    (r"py:(class|obj)", r".*\.(T|P|W|ItemT)"),  # type variables have no entry
]
# Python's `type` in a signature is taken for the attributes of that name, and there are several.
suppress_warnings = ["ref.python"]
