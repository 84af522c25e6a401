"""Configuration of Sphinx; `make docs` builds with warnings as errors."""

import sys
from importlib.metadata import version as distribution_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "multipath"
author = "multipath contributors"
copyright = f"2026, {author}"
release = version = distribution_version("multipath-loss")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",  # Google style docstrings
    "prose_colons",  # keeps sentences with colons together
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # MathJax itself, so that formulas need no network
    "sphinx.ext.doctest",
    "myst_parser",  # tables of the README and of results
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",  # runs examples/gallery and shows its plots
    "public_names",  # fails the build on an undocumented public name
    "listening",  # writes pages with sounds beside the others
]
exclude_patterns = ["_build"]
suppress_warnings = ["myst.header"]  # parts of Markdown files begin below their first heading
html_theme = "furo"
highlight_language = "none"  # plain literal blocks are mostly command lines
html_title = f"multipath {release}"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autoclass_content = "class"
napoleon_use_rtype = False

# pytest runs the examples of docstrings; this builder runs those of the pages.
doctest_test_doctest_blocks = ""
doctest_global_setup = "import torch; torch.set_num_threads(1)"

# Gallery pages are written to docs/gallery; an example that did not change is not run again.
sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 3600,  # seconds differ from one build to the next
    "thumbnail_size": (400, 280),
}

# References into the package have to resolve; those to other projects would need the network.
nitpicky = True
nitpick_ignore_regex = [(r".*", r"(?!multipath(\.|$)).*")]

# `make links` needs the network and finds broken links, anchors included.
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_allow_unauthorized = False

# The reference has to cover all modules except those of the command line (see docs/commands).
public_package = "multipath"
public_package_exceptions = r"multipath\.applications\.(cli\..*|(.*\.)?console)"
