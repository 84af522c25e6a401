"""Configuration of Sphinx; `make docs` builds with warnings as errors."""

import sys
from importlib.metadata import version as distribution_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import notebooks

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
    "sphinx.ext.extlinks",
    "myst_parser",  # tables of the README and of results
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",  # runs examples/gallery and shows its plots
    "notebooks",  # executes some of its examples as notebooks
    "public_names",  # fails the build on an undocumented public name
    "listening",  # writes pages with sounds beside the others
]
exclude_patterns = ["_build"]
suppress_warnings = ["myst.header"]  # parts of Markdown files begin below their first heading
html_theme = "furo"
highlight_language = "none"  # plain literal blocks are mostly command lines
html_title = f"multipath {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_js_files = ["tables.js"]

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
    "within_subsection_order": "notebooks.FirstThingsFirst",
    "filename_pattern": r"/plot_",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 3600,  # seconds differ from one build to the next
    "thumbnail_size": (400, 280),
}

# Links to notebooks that run elsewhere are there once `[project.urls]` names a repository.
hosted = notebooks.repository()
if hosted:
    tags.add("hosted")  # noqa: F821
kept = f"https://colab.research.google.com/github/{hosted}/blob/main/examples/notebooks"
extlinks = {"colab": (f"{kept}/%s.ipynb", "Open in Colab: %s")}

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
