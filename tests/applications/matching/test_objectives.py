"""The table of losses: criteria, optimizers, probabilities from files."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from multipath import CombinedLoss, StochasticLoss, TransformLoss
from multipath.applications.matching.module import SoundMatching
from multipath.applications.matching.objectives import (
    LOSSES,
    LossContext,
    Objective,
    find_objective,
    loss_names,
    scattering_loss,
)
from multipath.applications.matching.presets import preset
from multipath.applications.matching.train import run
from multipath.errors import ConfigurationError, InputError
from multipath.importance import ThetaImportance
from multipath.optim import PSAGA, PAdam
from multipath.samplers import Importance, Uniform
from multipath.transforms import Scattering1D
from tests.applications.tiny import TASKS, TINY, StopAt

pytestmark = pytest.mark.usefixtures("without_report")

SCRAPL = {"scrapl": PSAGA, "scrapl-padam": PAdam, "scrapl-adam": torch.optim.AdamW}


ARGUMENTS = {"embedding": "tests.applications.tiny:make_embedding", "plugin": "WaveletPacket"}


def with_argument(loss):
    return f"{loss}:{ARGUMENTS[loss]}" if loss in ARGUMENTS else loss


def some_probabilities(count: int) -> torch.Tensor:
    values = torch.rand(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return values / values.sum()


def n_paths() -> int:
    task = TINY.task
    return len(task.scattering.build(task.n_samples, task.sample_rate).paths)


FEW = "amchirp", "drum"
"""Tasks that are like others to all losses but those that look into the synthesizer."""


@pytest.mark.parametrize(
    ("loss", "task"),
    [
        (with_argument(name), task)
        for name, row in LOSSES.items()
        for task in TASKS
        if row.metric or task not in FEW
    ],
)
@pytest.mark.slow
def test_every_loss_moves_every_weight_of_the_encoder_and_nothing_else(loss, task):
    torch.manual_seed(0)
    model = SoundMatching(TASKS[task].changed(loss=loss, dropout=0.0, n_targets=8))
    model.training_step(model.batches.training_batch(0), 0).backward()
    gradients = {
        name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None
    }
    assert set(gradients) == {f"encoder.{name}" for name, _ in model.encoder.named_parameters()}
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    assert sum(float(gradient.abs().sum()) for gradient in gradients.values()) > 0


@pytest.mark.slow
def test_only_the_supervised_loss_sees_true_parameters():
    for loss in map(with_argument, LOSSES):
        torch.manual_seed(0)
        model = SoundMatching(TINY.changed(loss=loss, dropout=0.0, n_targets=8))
        model.measure()
        model.synth.forward = lambda theta, shift=None: (  # type: ignore[method-assign]
            theta.sum() * 0 + torch.linspace(-1, 1, 1024).sin().expand(len(theta), -1)
        )
        value = model.training_step(model.batches.training_batch(0), 0)
        supervised = loss in ("ploss", "pnp")
        assert (value.item() > 0) == supervised  # equal sounds, different parameters


@pytest.mark.parametrize("loss", SCRAPL)
def test_ablations_differ_in_their_optimizer_alone(loss):
    model = SoundMatching(TINY.changed(loss=loss, weight_decay=0.02))
    criterion = model.criterion
    assert isinstance(criterion, StochasticLoss)
    assert isinstance(criterion.sampler, Uniform)
    assert criterion.n_draws == 1
    optimizer = model.configure_optimizers()["optimizer"]
    assert type(optimizer) is SCRAPL[loss]
    assert optimizer.defaults["lr"] == 1e-3
    assert optimizer.defaults["weight_decay"] == 0.02
    batch = model.batches.training_batch(0)
    model.training_step(batch, 0)
    first = criterion.last_draw
    model.training_step(batch, 0)
    assert criterion.last_draw is first  # linked: one draw until the optimizer has stepped


@pytest.mark.parametrize("loss", SCRAPL)
@pytest.mark.parametrize("reweight", [False, True])
def test_scrapl_draws_from_the_probabilities_given(loss, reweight):
    probabilities = some_probabilities(n_paths())
    config = TINY.changed(loss=loss, probabilities="p.pt", reweight=reweight)
    criterion = SoundMatching(config, probabilities).criterion
    assert isinstance(criterion.sampler, Importance)
    assert criterion.sampler.probabilities.equal(probabilities)
    assert criterion.reweight is reweight


def test_probabilities_of_another_loss_are_refused(tmp_path):
    file = tmp_path / "p.pt"
    torch.save(some_probabilities(7), file)
    config = TINY.changed(loss="scrapl", probabilities=str(file))
    expected = rf"p\.pt holds probabilities of 7 paths, but the loss has {n_paths()}; use a file"
    with pytest.raises(ConfigurationError, match=expected):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_keeps_its_probabilities_and_resumes_without_the_file(tmp_path):
    file, probabilities = tmp_path / "p.pt", some_probabilities(n_paths())
    torch.save(probabilities, file)
    config = TINY.changed(loss="scrapl", probabilities=str(file))
    whole = run(config, tmp_path / "whole")
    assert whole["probabilities"] == str(file)
    assert whole["reweight"] is False
    assert torch.load(tmp_path / "whole" / "probabilities.pt").equal(probabilities)
    uniform = run(config.changed(probabilities=None), tmp_path / "uniform")
    assert uniform["theta_error"] != whole["theta_error"]
    assert not (tmp_path / "uniform" / "probabilities.pt").exists()

    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "parts", callbacks=[StopAt(6)])
    file.unlink()
    with pytest.raises(ConfigurationError, match=r"objective\.probabilities was .*p\.pt, is None"):
        run(config.changed(probabilities=None), tmp_path / "parts", resume=True)
    assert run(config, tmp_path / "parts", resume=True)["theta_error"] == whole["theta_error"]
    with pytest.raises(InputError, match=r"there is no file .*p\.pt"):
        run(config, tmp_path / "parts", overwrite=True)
    assert (tmp_path / "parts" / "summary.json").exists()  # nothing was discarded for it


@pytest.mark.slow
def test_a_run_may_be_repeated_with_its_own_copy(tmp_path):
    torch.save(some_probabilities(n_paths()), tmp_path / "p.pt")
    run(TINY.changed(loss="scrapl", probabilities=str(tmp_path / "p.pt")), tmp_path / "run")
    copy = tmp_path / "run" / "probabilities.pt"
    run(TINY.changed(loss="scrapl", probabilities=str(copy)), tmp_path / "run", overwrite=True)
    assert torch.load(copy).equal(some_probabilities(n_paths()))


def test_a_loss_may_take_an_argument(monkeypatch):
    row = Objective("of one's own", lambda context: Named(context), argument="MODULE:FUNCTION")
    monkeypatch.setitem(LOSSES, "embedding", row)
    config = TINY.changed(loss="embedding:torch:sin")
    assert find_objective(config.objective.loss) is row
    assert SoundMatching(config).criterion.name == "torch:sin"
    assert "embedding:MODULE:FUNCTION" in loss_names()
    for name in ("embedding", "embedding:"):
        with pytest.raises(
            ConfigurationError, match="'embedding' needs an argument: embedding:MODULE:FUNCTION"
        ):
            preset("quick", loss=name)


class Named(nn.Module):
    def __init__(self, context: LossContext) -> None:
        super().__init__()
        self.name = context.argument


def test_coefficients_are_compressed_where_the_application_says_so():
    plain = SoundMatching(TINY.changed(loss="jtfs")).criterion
    scattering = dataclasses.replace(TINY.task.scattering, eps=0.5)
    compressed = SoundMatching(TINY.changed(loss="jtfs", scattering=scattering)).criterion
    x, y = torch.randn(2, 1, 1024, generator=torch.Generator().manual_seed(0))
    path, transform = [3], plain.transform
    (a,), (b,) = transform.coefficients(x, path), transform.coefficients(y, path)
    factor = len(plain.paths)
    wanted = factor * ((1 + a / 0.5).log() - (1 + b / 0.5).log()).square().sum()
    torch.testing.assert_close(compressed.path_losses(x, y, path)[0, 0], wanted)
    torch.testing.assert_close(plain.path_losses(x, y, path)[0, 0], factor * (a - b).square().sum())


def test_windows_longer_than_the_signals_are_left_out():
    short, long = (
        SoundMatching(TINY.changed(loss="mss-revisited", n_samples=n)).criterion
        for n in (1024, 4096)
    )
    assert (len(short.paths), len(long.paths)) == (5, 6)
    assert short.paths[4].key == long.paths[4].key


def test_signals_shorter_than_every_window_are_refused():
    scattering = dataclasses.replace(TINY.task.scattering, J=3, T=8)
    config = TINY.changed(loss="mss-revisited", n_samples=32, max_shift=1, scattering=scattering)
    with pytest.raises(ConfigurationError, match="32 samples are too short for a scale of 67"):
        LOSSES["mss-revisited"].build(LossContext(config.task, config.objective, lambda: []))


def test_kpaths_draws_by_the_energy_of_training_targets():
    model = SoundMatching(TINY.changed(loss="kpaths"))
    criterion = model.criterion
    assert isinstance(criterion, StochasticLoss)
    assert criterion.n_draws == TINY.objective.n_draws
    sounds = torch.cat(list(model._training_sounds()))
    assert len(sounds) == TINY.objective.energy_targets
    loss = CombinedLoss.with_compression(scattering_loss(TINY.task), sounds, 0.3)
    assert criterion.loss.loss.sizes == pytest.approx(loss.sizes)
    assert criterion.loss.loss.shares == {"plain": 0.7, "compressed": 0.3}
    loss = loss.grouped("path")
    assert criterion.loss.paths == loss.paths
    assert criterion.loss.paths.keys == scattering_loss(TINY.task).paths.keys
    norms = loss.target_norms(sounds, range(len(loss.paths))).double()
    share = loss.path_weights * norms.mean(dim=1)
    wanted = 0.9 * share / share.sum() + 0.1 / len(share)
    torch.testing.assert_close(criterion.sampler.probabilities, wanted, rtol=1e-5, atol=0)


def test_kpaths_without_compression_is_the_plain_loss():
    plain = SoundMatching(TINY.changed(loss="kpaths", compressed=0.0)).criterion
    assert isinstance(plain.loss, TransformLoss)
    assert plain.loss.rho is None
    compressing = dataclasses.replace(TINY.task.scattering, eps=0.01, distance="l2")
    loss = SoundMatching(TINY.changed(loss="kpaths", scattering=compressing)).criterion.loss
    assert (loss.rho.eps, loss.distance) == (0.01, "l2")  # compressed already


def test_probabilities_measured_for_another_synthesizer_are_pointed_out(tmp_path, caplog):
    paths = scattering_loss(TINY.task).paths
    curvature = torch.rand(2, len(paths), generator=torch.Generator().manual_seed(0))
    made_for = {"task": "chirplet slow-slow"}
    result = ThetaImportance(
        scattering_loss(TINY.task).paths, ("AM", "FM"), curvature, None, made_for
    )
    result.save(tmp_path / "pi.pt")
    config = TINY.changed(loss="scrapl", probabilities=str(tmp_path / "pi.pt"), steps=1)
    run(config, tmp_path / "run")
    assert "pi.pt was measured for chirplet slow-slow, but this run matches chirplet" in caplog.text


def test_a_plugin_of_few_paths_is_evaluated_whole():
    for n_draws, drawn in ((15, True), (16, False)):
        config = TINY.changed(loss="plugin:WaveletPacket", n_draws=n_draws)  # 16 paths
        assert isinstance(SoundMatching(config).criterion, StochasticLoss) == drawn


@pytest.mark.parametrize("sampling", ["exact", "reduced"])
def test_scattering_over_time_has_the_settings_of_the_task(sampling):
    settings = dataclasses.replace(TINY.task.scattering, sampling=sampling)
    config = TINY.changed(loss="scattering1d", scattering=settings)
    transform, task = SoundMatching(config).criterion.transform, config.task
    by_hand = Scattering1D(
        task.n_samples,
        settings.J,
        settings.Q,
        settings.T,
        sampling=sampling,
        sample_rate=task.sample_rate,
    )
    assert transform.paths.column("frequency") == by_hand.paths.column("frequency")
    sound = torch.randn(1, task.n_samples, generator=torch.Generator().manual_seed(0))
    paths = range(len(by_hand.paths))
    for ours, theirs in zip(
        transform.coefficients(sound, paths), by_hand.coefficients(sound, paths), strict=True
    ):
        assert ours.equal(theirs)
