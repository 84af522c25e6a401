"""Sound matching end to end on a tiny task: learning, resuming, run folders, data."""

from __future__ import annotations

import json
import logging
import math
import signal
from dataclasses import replace

import pytest
import torch
from lightning.pytorch import Callback

from multipath import StochasticLoss
from multipath.applications.cqt import LogCQT
from multipath.applications.data import Targets
from multipath.applications.encoder import Encoder
from multipath.applications.matching import SoundMatching, theta_errors
from multipath.applications.objectives import build_criterion, linear_and_log, mean_absolute
from multipath.applications.presets import LOSSES, MatchConfig, preset
from multipath.applications.report import read_metrics
from multipath.applications.run import run
from multipath.errors import ConfigurationError, InputError
from tests.applications.tiny import TINY


@pytest.fixture(autouse=True)
def without_report(monkeypatch):
    """Plots take longer than these runs; the report has tests of its own."""
    monkeypatch.setattr("multipath.applications.run.write_report", lambda *_: None)


class StopAt(Callback):
    """Ctrl-C after some steps; counts the steps it saw."""

    def __init__(self, step: int | None = None) -> None:
        self.step = step
        self.seen: list[int] = []

    def on_train_batch_end(self, trainer, *_) -> None:
        self.seen.append(trainer.global_step)
        if trainer.global_step == self.step:
            raise KeyboardInterrupt


def test_supervised_training_learns(tmp_path):
    config = replace(
        TINY, n_targets=200, steps=150, validate_every=75, channels=(8, 16, 16), dropout=0.0
    )
    summary = run(config, tmp_path)
    assert summary["theta_error"]["FM"] < 0.5 * summary["untrained_error"]["FM"]


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_moves_every_weight_of_the_encoder_and_nothing_else(loss):
    torch.manual_seed(0)
    model = SoundMatching(replace(TINY, loss=loss, dropout=0.0))
    model.training_step(model.targets.training_batch(0), 0).backward()
    gradients = {
        name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None
    }
    assert set(gradients) == {f"encoder.{name}" for name, _ in model.encoder.named_parameters()}
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    assert sum(float(gradient.abs().sum()) for gradient in gradients.values()) > 0


def test_only_the_supervised_loss_sees_true_parameters():
    for loss in LOSSES:
        torch.manual_seed(0)
        model = SoundMatching(replace(TINY, loss=loss, dropout=0.0))
        model.synth.forward = lambda theta, shift=None: (  # type: ignore[method-assign]
            theta.sum() * 0 + torch.linspace(-1, 1, 1024).sin().expand(len(theta), -1)
        )
        value = model.training_step(model.targets.training_batch(0), 0)
        assert (value.item() > 0) == (loss == "ploss")  # equal sounds, different parameters


@pytest.mark.parametrize("loss", ["ploss", "kpaths", "scrapl"])
def test_an_interrupted_run_resumes_to_the_same_result(loss, tmp_path):
    config = replace(TINY, loss=loss)
    whole = run(config, tmp_path / "whole")
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "parts", callbacks=[StopAt(6)])
    assert signal.getsignal(signal.SIGINT) is handler
    assert not (tmp_path / "parts" / "summary.json").exists()
    rest = StopAt()
    resumed = run(config, tmp_path / "parts", resume=True, callbacks=[rest])
    assert rest.seen == [5, 6, 7, 8, 9, 10]  # from the checkpoint at step 4, not from the start
    assert resumed["theta_error"] == whole["theta_error"]
    metrics = [read_metrics(tmp_path / name / "metrics.csv") for name in ("whole", "parts")]
    assert metrics[0] == metrics[1]
    weights = [torch.load(tmp_path / name / "encoder.pt") for name in ("whole", "parts")]
    assert all(weights[0][key].equal(weights[1][key]) for key in weights[0])
    assert not list((tmp_path / "parts" / "checkpoints").iterdir())


def test_the_summary_says_what_the_saved_encoder_scores(tmp_path):
    summary = run(TINY, tmp_path)
    model = SoundMatching(TINY)
    model.encoder.load_state_dict(torch.load(tmp_path / "encoder.pt"))
    theta, estimate = model.estimate("test")
    distance = (estimate - theta).abs().mean(dim=0)
    assert summary["theta_error"] == theta_errors(distance, ("AM", "FM"))
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    saved = MatchConfig.from_dict(json.loads((tmp_path / "config.json").read_text()))
    assert saved == TINY


def test_metrics_have_a_row_for_each_validation(tmp_path):
    run(TINY, tmp_path)
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["step"] for row in rows] == [4, 8]
    assert rows[0]["theta"] == pytest.approx((rows[0]["AM"] + rows[0]["FM"]) / 2)


def test_a_run_leaves_global_state_as_it_was(tmp_path):
    logger = logging.getLogger("lightning.pytorch")
    before = torch.get_rng_state(), torch.get_num_threads(), logger.level
    run(TINY, tmp_path)
    assert torch.get_rng_state().equal(before[0])
    assert (torch.get_num_threads(), logger.level) == before[1:]


def test_a_run_depends_on_its_seed_alone(tmp_path):
    torch.manual_seed(1)
    first = run(TINY, tmp_path / "first")
    torch.manual_seed(2)
    second = run(TINY, tmp_path / "second")
    other = run(replace(TINY, seed=1), tmp_path / "other")
    assert first["theta_error"] == second["theta_error"] != other["theta_error"]


def test_a_run_prints_nothing(tmp_path, capfd):
    run(TINY, tmp_path)
    assert capfd.readouterr() == ("", "")


def test_progress_reports_every_step(tmp_path):
    seen: list[tuple[int, float | None]] = []
    run(TINY, tmp_path, progress=lambda step, error: seen.append((step, error)))
    assert [step for step, _ in seen] == list(range(1, 11))
    rows = read_metrics(tmp_path / "metrics.csv")
    assert seen[2][1] is None
    assert seen[6][1] == rows[0]["theta"]


def test_folders_with_a_run_are_not_overwritten_silently(tmp_path):
    run(TINY, tmp_path / "done")
    with pytest.raises(ConfigurationError, match="holds a finished run; choose another folder"):
        run(TINY, tmp_path / "done")
    with pytest.raises(ConfigurationError, match="holds a finished run"):
        run(TINY, tmp_path / "done", resume=True)
    again = run(replace(TINY, seed=3), tmp_path / "done", overwrite=True)
    assert again["seed"] == 3
    with pytest.raises(KeyboardInterrupt):
        run(TINY, tmp_path / "half", callbacks=[StopAt(5)])
    with pytest.raises(ConfigurationError, match="holds an unfinished run; go on with --resume"):
        run(TINY, tmp_path / "half")
    changed = replace(TINY, learning_rate=0.5)
    with pytest.raises(ConfigurationError, match=r"other settings: learning_rate was .*, is 0\.5"):
        run(changed, tmp_path / "half", resume=True)
    with pytest.raises(ConfigurationError, match="nothing to resume"):
        run(TINY, tmp_path / "none", resume=True)
    with pytest.raises(ConfigurationError, match="exclude each other"):
        run(TINY, tmp_path / "half", resume=True, overwrite=True)


def test_resuming_before_the_first_checkpoint_starts_over(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(TINY, tmp_path, callbacks=[StopAt(2)])
    steps = StopAt()
    run(TINY, tmp_path, resume=True, callbacks=[steps])
    assert steps.seen[0] == 1


def test_training_passes_over_every_target_once():
    targets = Targets(TINY, n_parameters=2)
    per_pass = len(targets.theta["train"]) // TINY.batch_size
    for start in (0, per_pass):
        batches = [targets.training_batch(start + step) for step in range(per_pass)]
        seen = torch.cat([batch.theta for batch in batches])
        assert {tuple(row) for row in seen.tolist()} == {
            tuple(row) for row in targets.theta["train"].tolist()
        }
    first, second = targets.training_batch(0), targets.training_batch(per_pass)
    assert not first.theta.equal(second.theta)


def test_the_trainer_takes_one_batch_after_the_other_across_epochs(tmp_path):
    seen: list[torch.Tensor] = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, module, batch, index) -> None:
            seen.append(batch.theta)

    run(TINY, tmp_path, callbacks=[Watch()])
    targets = Targets(TINY, n_parameters=2)
    assert len(seen) == TINY.steps
    assert all(theta.equal(targets.training_batch(k).theta) for k, theta in enumerate(seen))


def test_splits_are_disjoint_and_shifts_cover_their_range():
    targets = Targets(replace(TINY, n_targets=2000, max_shift=3), n_parameters=2)
    assert [len(theta) for theta in targets.theta.values()] == [1200, 400, 400]
    rows = torch.cat(list(targets.theta.values())).tolist()
    assert len({tuple(row) for row in rows}) == 2000
    assert set(targets.shift["train"].tolist()) == set(range(-3, 4))
    batch = targets.training_batch(0)
    again = Targets(replace(TINY, n_targets=2000, max_shift=3), 2).training_batch(0)
    assert all(a.equal(b) for a, b in zip(batch, again, strict=True))
    shifts = torch.stack([targets.training_batch(k).reconstruction_shift for k in range(100)])
    assert len({tuple(row) for row in shifts.tolist()}) > 90


def test_kpaths_draws_by_the_energy_of_training_targets():
    model = SoundMatching(replace(TINY, loss="kpaths"))
    criterion = model.criterion
    assert isinstance(criterion, StochasticLoss)
    assert criterion.n_draws == TINY.n_draws
    sounds = torch.cat(list(model._energy_sounds()))
    assert len(sounds) == TINY.energy_targets
    norms = criterion.loss.target_norms(sounds, range(len(criterion.loss.paths))).double()
    share = norms.mean(dim=1) / norms.mean(dim=1).sum()
    wanted = 0.9 * share + 0.1 / len(share)
    torch.testing.assert_close(criterion.sampler.probabilities, wanted, rtol=1e-5, atol=0)


def test_spectral_loss_is_linear_plus_logarithmic():
    criterion = build_criterion(replace(TINY, loss="mss", fft_sizes=(64,)), [])
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 1, 1024, generator=generator)
    window = torch.hann_window(64)
    a, b = (torch.stft(s, 64, 16, window=window, return_complex=True).abs() for s in (x, y))
    linear, log = (a - b).abs().mean(), ((a + 1e-4).log() - (b + 1e-4).log()).abs().mean()
    torch.testing.assert_close(criterion(x, y), (linear + log) / 2, rtol=1e-4, atol=0)
    assert mean_absolute(linear_and_log(torch.ones(2, 3, 4))).shape == (2,)


def test_the_learning_rate_follows_its_schedule(tmp_path):
    rates: list[float] = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, *_) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    run(replace(TINY, schedule="cosine"), tmp_path / "a", callbacks=[Watch()])
    wanted = [0.5e-3 * (1 + math.cos(math.pi * k / 10)) for k in range(10)]
    assert rates == pytest.approx(wanted, rel=1e-5)
    rates.clear()
    run(replace(TINY, schedule="constant"), tmp_path / "b", callbacks=[Watch()])
    assert set(rates) == {1e-3}


def test_the_picture_is_not_trained_and_finds_the_pitch():
    picture = LogCQT(sample_rate=2048.0, octaves=2, hop=32)
    assert not list(picture.parameters())
    time = torch.arange(4096) / 2048.0
    lowest = 0.4 * 2048.0 / 4
    for bin_ in (3, 12, 20):
        tone = torch.sin(2 * torch.pi * lowest * 2 ** (bin_ / 12) * time)
        assert int(picture(tone[None])[0, :, 64].argmax()) == bin_
    with pytest.raises(InputError, match=r"signals must have shape \(batch, n_samples\)"):
        picture(torch.zeros(4096))
    with pytest.raises(ConfigurationError, match="octaves must be positive, got 0"):
        LogCQT(sample_rate=2048.0, octaves=0)


def test_encoder_sizes_are_those_of_the_paper_and_the_quick_preset():
    paper = preset("paper")
    sizes = []
    for config in (paper, preset("quick")):
        encoder = Encoder(2, channels=config.channels, embedding=config.embedding)
        sizes.append(sum(weight.numel() for weight in encoder.parameters()))
    assert sizes[0] == 604_106
    assert 50_000 < sizes[1] < 60_000


def test_encoder_heads_are_separate_and_bounded():
    encoder = Encoder(3, channels=(4,), embedding=4, dropout=0.0, initialization="he")
    pictures = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    theta = encoder(pictures)
    assert ((theta > 0) & (theta < 1)).all()
    theta[:, 1].sum().backward()
    moved = [bool(head[0].weight.grad.abs().sum() > 0) for head in encoder.heads]
    assert moved == [False, True, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": (0,)}, "at least one parameter"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1.0"),
        ({"initialization": "zeros"}, "initialization must be 'torch' or 'he'"),
    ],
)
def test_impossible_encoders_are_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        Encoder(2, **changes)


def test_pictures_too_small_for_the_encoder_are_refused():
    with pytest.raises(InputError, match=r"at least 32 bins and frames, got .* use more octaves"):
        Encoder(2)(torch.zeros(1, 24, 129))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "mse"}, "unknown loss 'mse'; choose one of scrapl"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"seed": -1}, "seed must lie in"),
        ({"schedule": "linear"}, "schedule must be 'constant' or 'cosine'"),
        ({"max_shift": 4096}, "max_shift must lie in"),
        ({"n_targets": 5, "batch_size": 8}, "n_targets = 5 is too small"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"synth": "slow"}, "unknown chirplet synthesizer 'slow'"),
        ({"name": "huge"}, "unknown preset 'huge'; choose one of quick, paper"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        preset(**{"name": "quick", **changes})


def test_a_foreign_configuration_is_refused():
    values = preset("quick").to_dict()
    del values["synth"]
    with pytest.raises(InputError, match=r"missing \['synth'\], unknown \['colour'\]"):
        MatchConfig.from_dict({**values, "colour": 1})


@pytest.mark.parametrize("damaged", ["config.json", "checkpoints/last.ckpt"])
def test_damaged_runs_are_not_resumed(damaged, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(TINY, tmp_path, callbacks=[StopAt(6)])
    file = tmp_path / damaged
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match=f"{file.name} is damaged.*start again with --overwrite"):
        run(TINY, tmp_path, resume=True)


def test_training_that_diverges_stops_with_a_reason(tmp_path):
    with pytest.raises(InputError, match="training has diverged; lower the learning rate"):
        run(replace(TINY, loss="mss", learning_rate=1e30), tmp_path)
    with pytest.raises(ConfigurationError, match="learning_rate must be positive"):
        replace(TINY, learning_rate=float("nan"))
