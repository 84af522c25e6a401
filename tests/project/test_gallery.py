"""The examples of the gallery run with few steps and draw readable plots."""

import re

import pytest

from tests import ROOT

plt = pytest.importorskip("matplotlib.pyplot")

EXAMPLES = sorted((ROOT / "examples" / "gallery").glob("*.py"))


@pytest.fixture(autouse=True)
def headless():
    backend = plt.get_backend()
    plt.switch_backend("Agg")
    yield
    plt.close("all")
    plt.switch_backend(backend)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs_and_draws(example, capsys):
    assert example.stem.startswith("plot_")  # or the documentation would not execute it
    source = example.read_text(encoding="utf-8")
    fewer = re.sub(r"^(n_steps|budget) = \d+", r"\1 = 3", source, flags=re.MULTILINE)
    exec(compile(fewer, str(example), "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert re.search(r"\d", printed)
    assert not re.search(r"\b(nan|inf)\b", printed)
    figures = [plt.figure(number) for number in plt.get_fignums()]
    assert figures
    for figure in figures:
        assert any(axes.get_title() or axes.get_xlabel() for axes in figure.axes)
        for axes in filter(lambda axes: axes.axison, figure.axes):
            assert axes.lines or axes.images or axes.collections
            assert axes.get_xlabel() or axes.get_ylabel()


def test_there_are_examples():
    assert len(EXAMPLES) >= 5
