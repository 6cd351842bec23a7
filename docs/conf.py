"""Sphinx configuration, used by ``make docs``; MIXEXP_GALLERY=0 does not run the examples."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "mixexp"
author = "the mixexp developers"
copyright = "2026, the mixexp developers"
release = version = installed_version("mixexp")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "mixexp_tables",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
templates_path = ["_templates"]
exclude_patterns = ["_build", "auto_examples/**.ipynb", "auto_examples/**.py", "Thumbs.db"]
suppress_warnings = ["config.cache"]  # sphinx-gallery's settings hold objects
default_role = "code"  # single backquotes in docstrings are code

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autosummary_imported_members = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"  # numpydoc's sections say the types
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the class template lists them

html_theme = "pydata_sphinx_theme"
html_title = "mixexp"
html_static_path = ["_static"]
html_show_sourcelink = False
leaves = "quickstart model em choosing_k adding_a_family design"
html_sidebars = {page: [] for page in leaves.split()}  # nothing to navigate there
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
}

sphinx_gallery_conf = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["auto_examples"],
    "plot_gallery": os.environ.get("MIXEXP_GALLERY", "1") != "0",
    "filename_pattern": r"\.py$",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("mixexp",),
    "reference_url": {"mixexp": None},
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
}


def skip_described_elsewhere(app, what, name, obj, skip, options):
    """Leave out what scikit-learn and PyTorch generate: their own manuals describe it."""
    if re.fullmatch(r"set_\w+_request|get_metadata_routing", name):
        return True
    if (getattr(obj, "__module__", None) or "").startswith("torch."):
        return True  # what every module of PyTorch has
    return None


def unlink_inherited(app, what, name, obj, options, lines):
    """Keep the words of links into scikit-learn's manual: their labels do not exist here."""
    if (getattr(obj, "__module__", None) or "").startswith("sklearn."):
        lines[:] = [re.sub(r":(?:ref|term):`([^`<]*?) *(?:<[^>]*>)?`", r"\1", x) for x in lines]


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-skip-member", skip_described_elsewhere)
    app.connect("autodoc-process-docstring", unlink_inherited)
