"""Notebooks: made from the gallery, executed, and the same as those that are kept."""

import re
import sys

import pytest

from tests import ROOT

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("sphinx_gallery")
pytest.importorskip("ipykernel")
sys.path.append(str(ROOT / "docs" / "_ext"))

import notebooks  # noqa: E402

EXECUTED = "first_loss"  # the fastest; `make docs` executes all


@pytest.mark.parametrize("name", notebooks.NOTEBOOKS)
def test_kept_notebooks_are_what_the_gallery_gives(name):
    example = ROOT / "examples" / "gallery" / notebooks.NOTEBOOKS[name]
    kept = nbformat.read(ROOT / "examples" / "notebooks" / f"{name}.ipynb", as_version=4)
    made = notebooks.convert(example, notebooks.repository())
    assert notebooks.sources(kept) == notebooks.sources(made), "python docs/_ext/notebooks.py"
    assert not any(cell.outputs for cell in kept.cells if cell.cell_type == "code")
    for cell in kept.cells:
        assert cell.cell_type == "code" or not re.search(r":\w+:`|\.\. ", cell.source), cell.source


def test_a_notebook_runs_and_shows_tables_players_and_plots(tmp_path):
    notebook = notebooks.convert(ROOT / "examples" / "gallery" / notebooks.NOTEBOOKS[EXECUTED])
    for cell in notebook.cells:
        cell.source = re.sub(r"^n_steps = \d+", "n_steps = 2", cell.source, flags=re.MULTILINE)
    assert not notebooks.has_run(notebook)
    notebooks.execute(notebook, tmp_path)
    assert notebooks.has_run(notebook)
    outputs = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    pages = [output.data.get("text/html", "") for output in outputs if "data" in output]
    assert sum("<table>" in page for page in pages) == 2  # the paths and a draw
    assert sum("<audio " in page for page in pages) == 2
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    printed = "".join(output.get("text", "") for output in outputs)
    assert re.search(r"\d", printed)
    assert not re.search(r"\b(nan|inf)\b", printed)


@pytest.mark.parametrize(
    ("urls", "found"),
    [
        (None, None),
        (["Documentation, https://example.org/docs"], None),
        (["Issues, https://github.com/a-b/c.d/issues"], "a-b/c.d"),
        (["Source, https://github.com/a/b.git"], "a/b"),
    ],
)
def test_the_repository_is_that_of_the_metadata(urls, found, monkeypatch):
    class Metadata:
        def get_all(self, name):
            assert name == "Project-URL"
            return urls

    monkeypatch.setattr(notebooks, "metadata", lambda name: Metadata())
    assert notebooks.repository() == found


def test_hosted_notebooks_install_multipath_first():
    example = ROOT / "examples" / "gallery" / notebooks.NOTEBOOKS[EXECUTED]
    first, *rest = notebooks.sources(notebooks.convert(example, "a/b"))
    address = "multipath-loss[applications] @ git+https://github.com/a/b"
    assert first == f'%pip install -q "{address}"'
    assert rest == notebooks.sources(notebooks.convert(example))
