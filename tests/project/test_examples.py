"""The examples run and show what they claim."""

import runpy

import pytest

from tests import ROOT

EXAMPLES = ROOT / "examples"


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
