"""The documentation builds without a warning, and the code on its pages runs."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests import ROOT

pytest.importorskip("sphinx")

PAGES = sorted(
    page for page in ROOT.glob("docs/**/*.rst") if not {"gallery", "_build"} & set(page.parts)
)

# Python that is shown but not run: how each block begins, and the reason.
NOT_RUN = {
    "from scrapl import SCRAPLLoss": "another package",
    "from kymatio.torch import Scattering1D": "another package",
    "executor = submitit.AutoExecutor": "needs submitit and a cluster",
    "import torch.distributed as dist": "needs torchrun; tests/importance/test_theta.py does it",
}


def blocks(page, directive):
    """Yield the contents of a directive wherever it is used on a page."""
    text = page.read_text(encoding="utf-8")
    pattern = rf"^( *)\.\. {directive}\n((?:\1 .*\n|\n)*)"
    for _, block in re.findall(pattern, text, re.MULTILINE):
        lines = [line for line in block.splitlines() if line.strip()]
        indent = len(lines[0]) - len(lines[0].lstrip())
        yield "\n".join(line[indent:] for line in lines)


def run_sphinx(source, *options):
    """Run Sphinx in a separate process, since it changes global state."""
    folders = [str(source / "docs"), str(source / "built")]
    return subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "--keep-going", *options, *folders],
        capture_output=True,
        text=True,
        cwd=source,  # code on a page may write files
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture
def source(tmp_path):
    """Copy what Sphinx reads, since the gallery writes next to its pages."""
    unwanted = shutil.ignore_patterns("_build", "gallery", "notebooks", "__pycache__", ".*")
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=unwanted)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for name in ["CHANGELOG.md", "README.md"]:
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_every_reference_leads_somewhere_and_every_public_name_is_documented(source):
    # The plots of the gallery take a minute; tests/project/test_examples.py runs its examples.
    done = run_sphinx(source, "-W", "-b", "dummy", "-D", "plot_gallery=0")
    assert done.returncode == 0, done.stderr


def test_the_code_on_the_pages_runs(source):
    # pytest runs the docstrings itself, so autodoc is off and its directives are unknown.
    done = run_sphinx(source, "-b", "doctest", "-D", "extensions=sphinx.ext.doctest,myst_parser")
    assert done.returncode == 0, done.stdout + done.stderr
    results = (source / "built" / "output.txt").read_text(encoding="utf-8")
    n_pages = sum(bool(re.search(r"\.\. (testcode|doctest)::", page.read_text())) for page in PAGES)
    assert len(re.findall("^Document: ", results, re.MULTILINE)) == n_pages >= 15


def test_python_that_is_only_shown_has_a_reason_and_could_be_parsed():
    shown = [block for page in PAGES for block in blocks(page, "code-block:: python")]
    for block in shown:
        compile(block, "page", "exec")
        assert any(block.startswith(beginning) for beginning in NOT_RUN), block
    for beginning in NOT_RUN:
        assert any(block.startswith(beginning) for block in shown), f"{beginning} is gone"
