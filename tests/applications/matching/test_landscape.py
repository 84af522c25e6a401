"""Landscapes of sound matching losses: what is looked at, and the command."""

import pytest
import torch

from multipath.applications.matching.landscape import look
from multipath.applications.matching.module import SoundMatching
from multipath.applications.matching.tasks.data import Targets
from multipath.errors import ConfigurationError
from tests.applications.command import call, refused
from tests.applications.tiny import TASKS, TINY, TINY_TR808, use_tiny_presets


@pytest.mark.parametrize(
    "loss", ["kpaths", "scrapl", "mss", pytest.param("embedding", marks=pytest.mark.slow)]
)
def test_it_is_the_full_loss_of_the_run_on_test_targets(loss):
    name = f"{loss}:tests.applications.tiny:make_embedding" if loss == "embedding" else loss
    config = TASKS["granular"].changed(loss=name)
    found = look(config, examples=3, points=3)
    model = SoundMatching(config).eval()
    batch = next(model.batches.all_of("test", size=3))
    theta, nuisance, target = batch.targets.theta, batch.nuisance, model.sounds(batch.targets)
    for place, guess in enumerate([0.0, 0.5, 1.0]):
        guessed = torch.stack([theta[:, 0], torch.full((3,), guess)], dim=1)
        with torch.no_grad():
            expected = model.criterion(model.synth(guessed, nuisance), target)
        torch.testing.assert_close(
            found.curves[1, place].mean(), expected.double(), rtol=1e-4, atol=1e-12
        )
    assert found.parameters == ("density", "slope")


def test_pairs_are_all_of_the_parameters():
    assert list(look(TINY.changed(loss="mss"), examples=2, points=3, pairs=True).planes) == [
        ("AM", "FM")
    ]


def test_it_leaves_the_random_stream_alone():
    state = torch.get_rng_state()
    look(TINY.changed(loss="mss"), examples=2, points=3)
    assert torch.get_rng_state().equal(state)


def test_what_has_no_landscape_is_refused(monkeypatch):
    with pytest.raises(ConfigurationError, match="loss ploss compares parameters"):
        look(TINY)
    with pytest.raises(ConfigurationError, match="examples must be a positive integer"):
        look(TINY.changed(loss="mss"), examples=0)
    targets = TINY_TR808.task.targets(0)
    sounds = torch.randn(targets["test"].size, TINY_TR808.task.n_samples)
    recorded = {**targets, "test": Targets(sounds=sounds)}
    monkeypatch.setattr(type(TINY_TR808.task), "targets", lambda *_: recorded)
    with pytest.raises(ConfigurationError, match="true parameters of these targets are unknown"):
        look(TINY_TR808.changed(loss="mss"))


def test_the_command_draws_and_prints(capsys, monkeypatch, tmp_path):
    use_tiny_presets(monkeypatch)
    out = tmp_path / "new" / "landscape.png"
    options = ["--loss", "kpaths", "--compressed", "0.5", "--scattering.distance", "l2"]
    options += ["--examples", "3", "--points", "4", "--pairs", "--out", out]
    code, printed, _ = call(capsys, "landscape", "granular", *options)
    assert code == 0
    for words in ("mean loss of 3 targets", "density", "slope", "density and slope", str(out)):
        assert words in printed
    assert out.read_bytes().startswith(b"\x89PNG")
    before = out.read_bytes()
    again = ["--loss", "mss", "--examples", "2", "--points", "3", "--out", out]
    assert "landscape.png exists; choose another file (--out), or replace it with" in refused(
        capsys, "landscape", "granular", *again
    )
    assert out.read_bytes() == before
    assert call(capsys, "landscape", "granular", *again, "--overwrite")[0] == 0
    assert out.read_bytes() != before
    monkeypatch.chdir(tmp_path)
    for wrong, message in [
        (
            ["--loss", "mss", "--out", tmp_path / "plot.xyz"],
            "expected a plot with one of the suffixes",
        ),
        (["--loss", "ploss"], "compares parameters"),
        (["--loss", "mss", "--points", "2"], "points must be at least 3"),
        (["--loss", "mss", "--examples", "0"], "examples must be a positive integer"),
        (["--loss", "mss", "--out", tmp_path], "is a folder; name a file (--out)"),
        (["--loss", "mss", "--out", out / "a.png"], "landscape.png is a file"),
    ]:
        assert message in refused(capsys, "landscape", "chirplet", *wrong)
    assert list(tmp_path.iterdir()) == [out.parent]  # no empty folder of runs
