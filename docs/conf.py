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
    "prose_colons",  # and sentences with colons
    "sphinx.ext.mathjax",
    "sphinx.ext.doctest",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",  # runs examples/gallery and shows its pictures
    "pipe_table",  # shows result tables as they were written
    "public_names",  # fails the build on an undocumented public name
]
exclude_patterns = ["_build"]
html_theme = "furo"
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

# A reference into the package must lead somewhere; those to other projects need the network.
nitpicky = True
nitpick_ignore_regex = [(r".*", r"(?!multipath(\.|$)).*")]

# `make links`, which needs the network: links that lead nowhere, anchors included.
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_allow_unauthorized = False

# What the reference has to cover.
public_modules = [
    "multipath",
    "multipath.compat",
    "multipath.diagnostics",
    "multipath.errors",
    "multipath.importance",
    "multipath.jets",
    "multipath.integrations.lightning",
    "multipath.integrations.sklearn",
    "multipath.optim",
    "multipath.plugins",
    "multipath.samplers",
    "multipath.testing",
    "multipath.transforms",
    "multipath.applications.application",
    "multipath.applications.audio",
    "multipath.applications.audio_metrics",
    "multipath.applications.biquad",
    "multipath.applications.callbacks",
    "multipath.applications.checkpoints",
    "multipath.applications.chirplet",
    "multipath.applications.chirplet_matching",
    "multipath.applications.comparison",
    "multipath.applications.comparison_page",
    "multipath.applications.configuration",
    "multipath.applications.cqt",
    "multipath.applications.data",
    "multipath.applications.distance",
    "multipath.applications.draw_counts",
    "multipath.applications.draws",
    "multipath.applications.drum_distances",
    "multipath.applications.drum_types",
    "multipath.applications.embedding",
    "multipath.applications.encoder",
    "multipath.applications.evaluation",
    "multipath.applications.files",
    "multipath.applications.folders",
    "multipath.applications.frechet",
    "multipath.applications.granular",
    "multipath.applications.granular_matching",
    "multipath.applications.importance_run",
    "multipath.applications.matching",
    "multipath.applications.objectives",
    "multipath.applications.presets",
    "multipath.applications.random_resolutions",
    "multipath.applications.recipes.clap",
    "multipath.applications.recipes.panns",
    "multipath.applications.recordings",
    "multipath.applications.reproduction.cost",
    "multipath.applications.reproduction.figures",
    "multipath.applications.reproduction.grid",
    "multipath.applications.reproduction.plan",
    "multipath.applications.reproduction.published",
    "multipath.applications.reproduction.queue",
    "multipath.applications.reproduction.results",
    "multipath.applications.reproduction.work",
    "multipath.applications.resampling",
    "multipath.applications.resynthesis",
    "multipath.applications.resynthesis_run",
    "multipath.applications.resynthesis_settings",
    "multipath.applications.run",
    "multipath.applications.schedules",
    "multipath.applications.settings",
    "multipath.applications.spectral_losses",
    "multipath.applications.synthesizers",
    "multipath.applications.timbre",
    "multipath.applications.tr808",
    "multipath.applications.tr808_matching",
]
