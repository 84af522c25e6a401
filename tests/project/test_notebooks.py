"""Notebooks: made from the gallery, executed, and the same as those that are kept."""

import re
import shutil
import sys
from types import SimpleNamespace

import pytest

from tests import ROOT

nbformat = pytest.importorskip("nbformat")
CellExecutionError = pytest.importorskip("nbclient.exceptions").CellExecutionError
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


def test_a_build_executes_what_has_changed_and_says_what_fails(tmp_path, monkeypatch, caplog):
    shutil.copytree(ROOT / "examples" / "gallery", tmp_path / "examples" / "gallery")
    (tmp_path / "docs").mkdir()
    settings = {"plot_gallery": True}
    config = SimpleNamespace(sphinx_gallery_conf=settings)
    app = SimpleNamespace(srcdir=str(tmp_path / "docs"), config=config)
    executed = []

    def execute(notebook, folder):
        executed.append(notebook)
        if "fails" in notebook.cells[1].source:
            raise CellExecutionError("a traceback", "ZeroDivisionError", "division by zero")
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.execution_count = 1

    def build():
        executed.clear()
        notebooks.build(app)
        return len(executed)

    monkeypatch.setattr(notebooks, "execute", execute)
    settings["plot_gallery"] = False
    assert build() == 0
    assert len(list(tmp_path.glob("docs/notebooks/*.ipynb"))) == 3  # the pages link to them
    settings["plot_gallery"] = True
    assert [build(), build()] == [3, 0]
    example = tmp_path / "examples" / "gallery" / notebooks.NOTEBOOKS[EXECUTED]
    example.write_text(example.read_text().replace("import torch\n", "import torch  # fails\n", 1))
    assert [build(), build()] == [1, 1]
    assert f"notebook {EXECUTED}: a traceback" in caplog.text


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
