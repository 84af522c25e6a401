"""The examples run and show what they claim; those of the gallery draw readable plots."""

import re
import runpy

import pytest

from tests import ROOT

EXAMPLES = ROOT / "examples"
GALLERY = sorted(EXAMPLES.glob("gallery/*.py"))


def example(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


def test_scattering_distinguishes_chirps_and_the_mean_spectrogram_does_not():
    pytest.importorskip("sklearn")
    results = example("scattering_classification")()
    assert results["scattering"] >= 0.95
    assert results["mean spectrogram"] <= 0.7


@pytest.mark.filterwarnings("ignore::DeprecationWarning:accelerate.*")
@pytest.mark.filterwarnings("ignore::FutureWarning")  # accelerate's own, of torch.load and treespec
@pytest.mark.parametrize("optimizer", ["adamw", "psaga"])
def test_training_with_accelerate(optimizer, capsys):
    pytest.importorskip("accelerate")
    before, after, draws, resumed = example("accelerate_training")(["--optimizer", optimizer])
    assert after < 0.2 * before
    assert draws[0::2] == draws[1::2]  # one draw per step, for both micro-batches
    assert len({tuple(draw) for draw in draws}) > 4
    assert resumed
    assert "error" in capsys.readouterr().out


@pytest.fixture
def plt():
    plt = pytest.importorskip("matplotlib.pyplot")
    backend = plt.get_backend()
    plt.switch_backend("Agg")
    yield plt
    plt.close("all")
    plt.switch_backend(backend)


# tests/project/test_notebooks.py executes the first loss as a notebook.
@pytest.mark.parametrize(
    "example",
    [path for path in GALLERY if path.stem != "plot_first_loss"],
    ids=lambda path: path.stem,
)
def test_the_gallery_runs_and_draws(example, plt, capsys):
    assert example.stem.startswith("plot_")  # or the documentation would not execute it
    source = example.read_text(encoding="utf-8")
    fewer = re.sub(r"^(n_steps|budget|points) = \d+", r"\1 = 3", source, flags=re.MULTILINE)
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


def test_the_gallery_has_examples():
    assert len(GALLERY) >= 5
