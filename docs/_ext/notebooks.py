"""Notebooks: examples of the gallery, converted, executed and offered for download.

A build executes them into ``docs/notebooks``, once for each change; an error in a cell is a warning
of the build. ``examples/notebooks`` holds them as they are before that, for services that open a
notebook out of a repository. ``python docs/_ext/notebooks.py`` writes those anew.
"""

import json
import logging
import re
from importlib.metadata import metadata
from pathlib import Path

NOTEBOOKS = {
    "first_loss": "plot_first_loss.py",
    "comparing_samplers": "plot_variance.py",
    "sound_matching": "plot_sound_matching.py",
}
EXAMPLES = Path(__file__).parents[2] / "examples"
TIMEOUT = 600  # seconds a cell may take


def repository():
    """The ``owner/name`` of the project on GitHub, if its metadata name one."""
    urls = " ".join(metadata("multipath-loss").get_all("Project-URL") or [])
    found = re.search(r"https://github\.com/([\w.-]+/[\w.-]+)", urls)
    return found and found[1].removesuffix(".git")


def convert(source, hosted=None):
    """Make a notebook of an example.

    Args:
        source: The file of the example.
        hosted: A repository from which its first cell installs multipath, if any.
    """
    import nbformat
    from sphinx_gallery.gen_gallery import DEFAULT_GALLERY_CONF
    from sphinx_gallery.notebook import jupyter_notebook
    from sphinx_gallery.py_source_parser import remove_config_comments, split_code_and_text_blocks

    address = f"multipath-loss[applications] @ git+https://github.com/{hosted}"
    first = f'%pip install -q "{address}"' if hosted else None
    _, blocks = split_code_and_text_blocks(source)
    blocks = [block._replace(content=remove_config_comments(block.content)) for block in blocks]
    settings = DEFAULT_GALLERY_CONF | {"first_notebook_cell": first}
    made = jupyter_notebook(blocks, settings, source.parent)
    made["metadata"]["language_info"] = {"name": "python"}  # the rest is of whoever builds
    return nbformat.reads(json.dumps(made), as_version=4)


def execute(notebook, folder):
    """Run all cells in a folder, and keep what they show.

    Raises:
        CellExecutionError: If a cell fails.
    """
    from nbclient import NotebookClient

    logging.getLogger("traitlets").setLevel(logging.WARNING)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--log-level=ERROR"],  # it warns that it listens on this machine
    )
    client.execute()


def sources(notebook):
    return [cell.source for cell in notebook.cells]


def has_run(notebook):
    return all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


def build(app):
    """Execute the notebooks that have changed, after the gallery was built."""
    import nbformat
    from nbclient.exceptions import CellExecutionError
    from sphinx.util import logging

    folder = Path(app.srcdir, "notebooks")
    folder.mkdir(exist_ok=True)
    in_full = app.config.sphinx_gallery_conf["plot_gallery"]
    for name, example in NOTEBOOKS.items():
        file = folder / f"{name}.ipynb"
        notebook = convert(Path(app.srcdir).parent / "examples" / "gallery" / example)
        if file.exists():
            known = nbformat.read(file, as_version=4)
            if sources(known) == sources(notebook) and (has_run(known) or not in_full):
                continue
        if in_full:
            try:
                execute(notebook, folder)
            except CellExecutionError as error:
                logging.getLogger(__name__).warning("notebook %s: %s", name, error)
        nbformat.write(notebook, file)


class FirstThingsFirst:
    """Sorts the gallery: examples that are notebooks first, in their order."""

    def __init__(self, folder):
        self.order = [*NOTEBOOKS.values()]

    def __call__(self, name):
        return (self.order.index(name) if name in self.order else len(self.order), name)


def setup(app):
    app.connect("builder-inited", build, priority=900)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    import nbformat

    for name, example in NOTEBOOKS.items():
        notebook = convert(EXAMPLES / "gallery" / example, repository())
        nbformat.write(notebook, EXAMPLES / "notebooks" / f"{name}.ipynb")
