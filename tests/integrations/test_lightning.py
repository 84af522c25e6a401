"""What a training logs about its draws is what was drawn."""

import importlib
import logging
import sys

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from multipath import Path, PathTable, SpectralLoss, StochasticLoss
from multipath.applications.runs.files import read_csv
from multipath.diagnostics import estimate_variance
from multipath.errors import ConfigurationError
from multipath.integrations.lightning import DrawLogger
from multipath.samplers import Importance
from multipath.testing import QuadraticLoss
from multipath.transforms import MultiResolutionSTFT

# Lightning's, about its own code
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

PROBABILITIES = torch.tensor([0.7, 0.1, 0.1, 0.1])


def loss_with_rates():
    loss = QuadraticLoss(4)
    loss.paths = PathTable([Path(p, metadata={"rate": 2.0 ** (p // 2)}) for p in range(4)])
    return loss


class Module(LightningModule):
    def __init__(self, criterion=None, data=None):
        super().__init__()
        self.criterion = criterion or StochasticLoss(
            loss_with_rates(), Importance(PROBABILITIES), n_draws=2, generator=0
        )
        self.data = torch.linspace(-1, 1, 24).view(8, 3) if data is None else data
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.drawn = []

    def training_step(self, batch, index):
        loss = self.criterion(batch * self.weight, target=torch.zeros_like(batch))
        self.drawn.append(self.criterion.last_draw)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
        self.criterion.redraw_after(optimizer)
        return optimizer

    def train_dataloader(self):
        return torch.utils.data.DataLoader(self.data, batch_size=2)


def train(folder, callback, module=None, *, loggers=None, **options):
    module = module or Module()
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[callback],
        logger=[CSVLogger(folder, name="", version="")] if loggers is None else loggers,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
        max_epochs=10,
        **options,
    )
    trainer.fit(module)
    return module, trainer


def logged(folder, column):
    rows = [row for row in read_csv(folder / "metrics.csv") if row.get(column)]
    return {int(row["step"]): float(row[column]) for row in rows}


def test_logs_are_those_of_the_draws(tmp_path):
    module, _ = train(tmp_path, DrawLogger(every=5, by="rate"), max_steps=10)
    drawn = torch.cat([draw.indices for draw in module.drawn])
    assert len(drawn) == 20
    for step in (5, 10):
        shares = torch.bincount(drawn[: 2 * step], minlength=4).double() / (2 * step)
        entropy = -sum(float(q) * float(q.log()) for q in shares if q > 0)
        expected = {
            "draws/coverage": (shares > 0).double().mean(),
            "draws/effective_paths": torch.tensor(entropy).exp(),
            "draws/largest_weight": module.drawn[step - 1].merged()[1].max() * 4,
            "draws/share/rate=1": shares[:2].sum(),
            "draws/share/rate=2": shares[2:].sum(),
        }
        for column, value in expected.items():
            assert logged(tmp_path, column)[step] == pytest.approx(float(value), rel=1e-6)
    assert set(logged(tmp_path, "draws/coverage")) == {5, 10}


def test_values_are_logged_by_the_names_of_the_paths(tmp_path):
    data = torch.randn(6, 256, generator=torch.Generator().manual_seed(0))
    loss = SpectralLoss(MultiResolutionSTFT([32, 64]))
    module = Module(StochasticLoss(loss, n_draws=3, generator=0), data)
    module.weight = torch.nn.Parameter(torch.ones(256))
    seen = []
    module.criterion.register_forward_hook(lambda made, *_: seen.append(made.last_values))
    train(tmp_path, DrawLogger(every=1), module, max_steps=3)
    for step, values in enumerate(seen, start=1):
        assert len(values) == len(module.drawn[step - 1].indices.unique())
        for name, value in values.items():
            assert logged(tmp_path, f"paths/{name}")[step] == pytest.approx(float(value), rel=1e-6)


def test_micro_batches_of_a_step_count_once(tmp_path):
    callback = DrawLogger(every=1)
    _, trainer = train(tmp_path, callback, max_steps=4, accumulate_grad_batches=2)
    assert trainer.global_step == 4
    assert int(callback.draws.counts.sum()) == 4 * 2
    assert set(logged(tmp_path, "draws/coverage")) == {1, 2, 3, 4}


def test_variance_is_that_of_the_batch_just_trained_on(tmp_path):
    callback = DrawLogger(every=100, variance_every=3, items=1)
    module, _ = train(tmp_path, callback, max_steps=3)
    with torch.no_grad():
        module.weight.fill_(1.0)  # train again, by hand, up to the third batch
    optimizer = torch.optim.SGD([module.weight], lr=0.01)
    for draw, batch in zip(module.drawn, module.data.split(2), strict=False):
        x = batch * module.weight
        optimizer.zero_grad()
        module.criterion.estimate(x, torch.zeros_like(x), draw).backward()
        optimizer.step()
    report = estimate_variance(
        module.criterion.loss, x[:1].detach(), torch.zeros(1, 3), Importance(PROBABILITIES), 2
    )
    row = report.rows[0]
    for name in ("relative_variance", "efficiency"):
        assert logged(tmp_path, f"estimator/{name}") == {
            3: pytest.approx(getattr(row, name), rel=1e-5)
        }
    assert not module.criterion._forward_pre_hooks


def test_a_criterion_may_call_its_arguments_otherwise(tmp_path):
    class Renamed(StochasticLoss):
        def forward(self, x, x_target, seed=None):
            return super().forward(x, x_target)

    class Passing(StochasticLoss):
        def forward(self, *arguments, **named):
            return super().forward(*arguments, **named)

    class Caller(Module):
        def training_step(self, batch, index):
            return self.criterion(x_target=torch.zeros_like(batch), x=batch * self.weight)

    found = []
    kinds = (("a", StochasticLoss, Module), ("b", Renamed, Caller), ("c", Passing, Module))
    for name, kind, module in kinds:
        criterion = kind(loss_with_rates(), Importance(PROBABILITIES), n_draws=2, generator=0)
        train(tmp_path / name, DrawLogger(variance_every=1), module(criterion), max_steps=2)
        found.append(logged(tmp_path / name, "estimator/relative_variance"))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 2


def test_measuring_does_not_change_the_training(tmp_path):
    weights = []
    for options in ({}, {"variance_every": 1}):
        module, _ = train(tmp_path / str(len(weights)), DrawLogger(**options), max_steps=6)
        weights.append(module.weight.detach())
    assert torch.equal(*weights)


def test_tensorboard_gets_a_histogram_of_paths(tmp_path):
    callback = DrawLogger(every=4)
    train(tmp_path, callback, max_steps=4, loggers=TensorBoardLogger(tmp_path, name="", version=""))
    events = EventAccumulator(str(tmp_path)).Reload()
    (event,) = events.Histograms("draws/paths")
    value = event.histogram_value
    drawn = torch.arange(4).repeat_interleave(callback.draws.counts).double()
    assert (event.step, value.num) == (4, 8)
    assert (value.min, value.max, value.sum) == (drawn.min(), drawn.max(), drawn.sum())


def test_a_batch_that_cannot_be_measured_is_told_and_survived(tmp_path, caplog):
    callback = DrawLogger(variance_every=1)
    module = Module(data=torch.full((2, 3), torch.nan))
    with caplog.at_level(logging.WARNING):
        _, trainer = train(tmp_path, callback, module, max_steps=1)
    assert trainer.global_step == 1
    assert "no variance of the estimator at step 1: the gradient of path 0 is not finite" in (
        caplog.text
    )


def test_counts_are_part_of_the_checkpoint(tmp_path):
    callback = DrawLogger()
    train(tmp_path, callback, max_steps=3)
    other = DrawLogger()
    other.load_state_dict(callback.state_dict())
    train(tmp_path / "other", other, max_steps=2)
    assert int(other.draws.counts.sum()) == (3 + 2) * 2


def test_leaves_the_criterion_when_training_fails(tmp_path):
    class Failing(Module):
        def training_step(self, batch, index):
            super().training_step(batch, index)
            raise RuntimeError("out of memory")

    module = Failing()
    with pytest.raises(RuntimeError, match="out of memory"):
        train(tmp_path, DrawLogger(variance_every=1), module, max_steps=1)
    assert not module.criterion._forward_pre_hooks


@pytest.mark.parametrize("name", ["every", "variance_every", "items"])
@pytest.mark.parametrize("value", [0, 2.5])
def test_refuses_intervals_that_are_none(name, value):
    with pytest.raises(ConfigurationError, match=f"{name} must be a positive integer, got {value}"):
        DrawLogger(**{name: value})


def test_refuses_a_module_without_a_criterion_or_a_column(tmp_path):
    with pytest.raises(ConfigurationError, match=r"Module.loss to be a StochasticLoss, got NoneT"):
        train(tmp_path, DrawLogger(criterion="loss"), max_steps=1)
    with pytest.raises(ConfigurationError, match=r"no column 'scale' to log shares by.*: rate"):
        train(tmp_path / "other", DrawLogger(by="scale"), max_steps=1)


def test_without_lightning_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.delitem(sys.modules, "multipath.integrations.lightning")
    with pytest.raises(ModuleNotFoundError, match=r"needs lightning.*: pip install lightning"):
        importlib.import_module("multipath.integrations.lightning")
