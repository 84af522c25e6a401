"""Matching with the PNP loss: metrics once, damping in the checkpoint, resumed bit for bit."""

from __future__ import annotations

import csv

import pytest
import torch
from lightning.pytorch import Trainer

from multipath.applications.matching.metric import target_metrics
from multipath.applications.matching.module import SoundMatching
from multipath.applications.matching.train import run
from multipath.errors import ConfigurationError
from multipath.metric import PNPLoss, parameter, parameter_metric
from tests.applications.tiny import TINY, StopAt

pytestmark = pytest.mark.usefixtures("without_report")

CONFIG = TINY.changed(loss="pnp", n_targets=20, validate_every=2, test_sounds=2)


def rows(folder):
    return list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))


def assert_same(folder, other):
    assert rows(folder) == rows(other)
    one, two = (torch.load(each / "encoder.pt") for each in (folder, other))
    assert all(one[name].equal(two[name]) for name in one)
    assert (folder / "metric.journal").read_bytes() == (other / "metric.journal").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("multipath.applications.matching.train.write_report", lambda *_: None)
        folder = tmp_path_factory.mktemp("pnp") / "whole"
        return folder, run(CONFIG, folder)


def test_a_run_shrinks_the_damping_and_tells_of_it(whole):
    folder, summary = whole
    assert summary["scattering_distance"] > 0
    start, *found = rows(folder)
    assert (start["step"], start["damping"]) == ("0", found[0]["damping"])
    damping = [float(row["damping"]) for row in found]
    best = float("inf")
    for before, now, row in zip(damping, damping[1:], found, strict=False):
        better = float(row["pnp"]) < best
        best = min(best, float(row["pnp"]))
        assert now == pytest.approx(0.2 * before if better else min(damping[0], 2 * before), 1e-5)


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # lightning, with new torch
def test_any_trainer_measures_the_metrics_and_moves_the_damping():
    torch.manual_seed(0)
    model = SoundMatching(CONFIG)
    Trainer(
        max_steps=4,
        accelerator="cpu",
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(model)
    assert isinstance(model.criterion, PNPLoss)
    assert model.criterion.damping.best < float("inf")


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2, 5, 8])
def test_an_interrupted_run_ends_as_one_that_was_left_alone(whole, tmp_path, step):
    with pytest.raises(KeyboardInterrupt):
        run(CONFIG, tmp_path / "run", callbacks=[StopAt(step)])
    run(CONFIG, tmp_path / "run", resume=True)
    assert_same(tmp_path / "run", whole[0])


@pytest.mark.slow
def test_metrics_go_on_where_they_stopped(whole, tmp_path, monkeypatch):
    calls, original = [], parameter.path_metrics

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(parameter, "path_metrics", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(CONFIG, tmp_path / "run")
    assert len((tmp_path / "run" / "metric.journal").read_text().splitlines()) == 2
    assert not (tmp_path / "run" / "checkpoints").exists()
    run(CONFIG, tmp_path / "run", resume=True)
    assert_same(tmp_path / "run", whole[0])


def test_metrics_are_those_of_the_targets_with_their_own_nuisance():
    torch.manual_seed(0)
    model = SoundMatching(CONFIG)
    model.measure()
    loss = SoundMatching(CONFIG.changed(loss="jtfs")).criterion
    criteria = {"train": model.criterion, "validation": model.validation_criterion}
    for split, criterion in criteria.items():
        targets = model.batches.splits[split]
        wanted = parameter_metric(loss, model.synth, targets.theta, context=targets.nuisance)
        assert isinstance(criterion, PNPLoss)
        torch.testing.assert_close(criterion.metric[0], wanted)
    batch = model.batches.training_batch(3)
    assert batch.targets.theta.equal(model.batches.splits["train"].theta[batch.rows])


def test_unknown_parameters_have_no_metric():
    model = SoundMatching(CONFIG)
    sounds = model.batches.splits["train"]._replace(theta=None)
    with pytest.raises(ConfigurationError, match="need targets with known parameters"):
        target_metrics(CONFIG.task, model.synth, {"train": sounds}, 0)
