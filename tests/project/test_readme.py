"""The code in the README runs, and links between files of the repository resolve."""

import re
import runpy
import sys

import pytest
from matplotlib.image import imread

from tests import ROOT

README = ROOT / "README.md"
FILES = sorted([*ROOT.glob("*.md"), *ROOT.glob("benchmarks/**/*.md")])


def test_the_examples_run_in_order(capsys):
    examples = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    assert len(examples[0].splitlines()) <= 26
    namespace = {}
    for example in examples:
        exec(example, namespace)
    printed = re.findall(r"(\S+) octaves/s", capsys.readouterr().out)
    assert [float(rate) for rate in printed] == pytest.approx([0.75, 1.85, 2.04, 2, 2], abs=0.06)
    assert ", ".join(printed[:2]) in examples[0]  # what the comment says


@pytest.mark.slow
def test_the_picture_is_drawn_by_its_script(tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["readme_picture", "--steps", "2", "--out", f"{tmp_path}/a.png"]
    )
    runpy.run_path(str(ROOT / "docs" / "readme_picture.py"), run_name="__main__")
    drawn, shown = imread(tmp_path / "a.png"), imread(ROOT / "docs" / "plots" / "readme.png")
    assert drawn.shape == shown.shape
    assert drawn.std() > 0.1


def anchors(text):
    """Yield the anchors of the headings: lower case, with a hyphen for each space."""
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        yield re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def broken_links(file):
    for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue  # an external link
        path, _, anchor = target.partition("#")
        goal = file.parent / path if path else file
        if not goal.exists() or (anchor and anchor not in anchors(goal.read_text("utf-8"))):
            yield target


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_between_files(file):
    assert not list(broken_links(file))


def test_broken_links_are_found(tmp_path):
    file = tmp_path / "page.md"
    file.write_text(
        "# A title!\n[a](gone.md) [b](page.md#a-title) [c](#no-title) [d](https://e.org)"
    )
    assert list(broken_links(file)) == ["gone.md", "#no-title"]
