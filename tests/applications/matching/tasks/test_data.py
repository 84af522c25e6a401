"""Targets, nuisance and the order of batches."""

from __future__ import annotations

import pytest
import torch

from multipath.applications.matching.module import SoundMatching
from multipath.applications.matching.tasks.data import Batches, Targets, split_targets
from multipath.errors import ConfigurationError, InputError
from tests.applications.tiny import TASKS, TINY, TINY_GRANULAR


def make_batches(config) -> Batches:
    task = config.task
    targets = task.targets(config.seed)
    size = config.training.batch_size
    return Batches(targets, task.draw_nuisance, seed=config.seed, size=size)


@pytest.mark.parametrize("config", TASKS.values(), ids=TASKS)
def test_training_passes_over_every_target_once(config):
    batches = make_batches(config)
    train = batches.splits["train"]
    per_pass = train.size // batches.size
    for start in (0, per_pass):
        taken = [batches.training_batch(start + step).targets for step in range(per_pass)]
        seen = torch.cat([targets.theta for targets in taken])
        assert {tuple(row) for row in seen.tolist()} == {tuple(row) for row in train.theta.tolist()}
    first, second = batches.training_batch(0), batches.training_batch(per_pass)
    assert not first.targets.theta.equal(second.targets.theta)


def test_splits_are_disjoint_and_shifts_cover_their_range():
    config = TINY.changed(n_targets=2000, max_shift=3)
    batches = make_batches(config)
    assert [targets.size for targets in batches.splits.values()] == [1200, 400, 400]
    rows = torch.cat([targets.theta for targets in batches.splits.values()]).tolist()
    assert len({tuple(row) for row in rows}) == 2000
    assert set(batches.splits["train"].nuisance.tolist()) == set(range(-3, 4))
    batch, again = batches.training_batch(0), make_batches(config).training_batch(0)
    assert batch.nuisance.equal(again.nuisance)
    assert batch.targets.theta.equal(again.targets.theta)
    assert batch.targets.nuisance.equal(again.targets.nuisance)
    shifts = torch.stack([batches.training_batch(k).nuisance for k in range(100)])
    assert len({tuple(row) for row in shifts.tolist()}) > 90


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_grains_of_targets_and_reconstructions_have_nothing_in_common(split):
    batches = make_batches(TINY_GRANULAR.changed(n_targets=500))
    everything = batches.splits[split].nuisance.tolist()
    reconstructions = torch.cat([batch.nuisance for batch in batches.all_of(split)]).tolist()
    if split == "train":
        for step in range(100):
            reconstructions += batches.training_batch(step).nuisance.tolist()
    together = everything + reconstructions
    assert len(set(together)) == len(together)


def test_reconstructions_are_rendered_with_their_own_grains():
    model = SoundMatching(TINY_GRANULAR.changed(loss="jtfs", dropout=0.0))
    batch = model.batches.training_batch(0)
    rendered = []
    synth, forward = model.synth, model.synth.forward

    def watch(theta, seeds):
        rendered.append((theta, seeds))
        return forward(theta, seeds)

    synth.forward = watch
    model.training_step(batch, 0)
    (theta, seeds), (_, others) = rendered
    assert theta.equal(batch.targets.theta)
    assert seeds.equal(batch.targets.nuisance)
    assert others.equal(batch.nuisance)


def test_recordings_are_taken_as_they_are():
    model = SoundMatching(TINY)
    sounds = torch.randn(20, 1024, generator=torch.Generator().manual_seed(0))
    splits = split_targets(Targets(sounds=sounds))
    assert model.sounds(splits["validation"]).equal(sounds[12:16])
    batches = Batches(splits, TINY.task.draw_nuisance, seed=0, size=12)
    seen = batches.training_batch(0).targets
    assert seen.theta is None
    assert sorted(seen.sounds[:, 0].tolist()) == sorted(sounds[:12, 0].tolist())
    with pytest.raises(InputError, match="targets need sounds, or theta and nuisance"):
        model.sounds(Targets(theta=torch.zeros(2, 2)))
    with pytest.raises(InputError, match="needs targets with known parameters"):
        model.evaluation(batches.training_batch(0), torch.zeros(12, 2))


@pytest.mark.parametrize(("n_targets", "size"), [(5, 8), (2, 1)])
def test_too_few_targets_are_refused(n_targets, size):
    with pytest.raises(
        ConfigurationError, match=f"fill a training batch of {size} and leave no split"
    ):
        make_batches(TINY.changed(n_targets=n_targets, batch_size=size))
