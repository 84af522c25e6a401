"""Configurations of sound matching: presets, changes, JSON, impossible settings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multipath.applications.matching.config import MatchConfig
from multipath.applications.matching.presets import preset
from multipath.applications.matching.tasks.evaluation import steps_to_converge, total_variation
from multipath.applications.runs.settings import differences
from multipath.errors import ConfigurationError, InputError


def test_the_paper_presets_are_those_of_the_paper():
    chirplet, granular = preset("paper"), preset("paper", "granular")
    for config, epochs, rate in ((chirplet, 50, 1e-4), (granular, 200, 1e-5)):
        training, task = config.training, config.task
        train = task.targets(0)["train"]
        assert training.steps == epochs * train.size // training.batch_size
        assert (training.learning_rate, training.schedule) == (rate, "constant")
        assert (task.n_samples, task.sample_rate) == (32768, 8192.0)
    synth = granular.task.build_synth()
    assert (synth.n_grains, synth.grain_samples, synth.pitches) == (64, 4096, "random")
    assert (synth.f_min, synth.f_max) == (256.0, 2048.0)
    assert len(granular.task.scattering.build(32768, 8192.0).paths) == 315


def test_the_synthesizer_chooses_what_the_parameters_span():
    spans = {
        (name, synth): preset(name, synth=synth).task.ranges
        for name in ("quick", "paper")
        for synth in ("slow-slow", "fast-fast")
    }
    assert spans["quick", "slow-slow"] == spans["paper", "slow-slow"]
    assert spans["quick", "fast-fast"].am == (3.96, 7.92)
    assert spans["paper", "fast-fast"].am == (2.8, 8.4)
    assert {span.fm for (_, synth), span in spans.items() if synth == "fast-fast"} == {(4.0, 12.0)}


def test_changes_reach_their_group_and_nothing_else():
    before = preset("quick")
    after = before.changed(steps=7, max_shift=3, loss="jtfs", seed=5, cqt_hop=16)
    assert list(differences(before.to_dict(), after.to_dict())) == [
        "seed was 0, is 5",
        "task.max_shift was 256, is 3",
        "objective.loss was scrapl, is jtfs",
        "encoder.cqt_hop was 32, is 16",
        "training.steps was 600, is 7",
    ]
    assert preset("quick", steps=None) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "mse"}, "unknown loss 'mse'; choose one of scrapl"),
        ({"loss": "jtfs:x"}, "unknown loss 'jtfs:x'; choose one of scrapl"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"n_draws": 0}, "n_draws must be at least 1, got 0"),
        ({"n_targets": 0}, "n_targets must be at least 1, got 0"),
        ({"seed": -1}, "seed must lie in"),
        ({"schedule": "wavy"}, "schedule must be one of constant, cosine"),
        ({"max_shift": 4096}, "max_shift must lie in"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"synth": "slow"}, "unknown chirplet synthesizer 'slow'"),
        ({"colour": 1}, "chirplet has no settings named colour"),
        (
            {"task": "granular", "detach_window": True},
            "granular has no settings named detach_window",
        ),
        ({"task": "bells"}, "announces tasks called 'bells'; there are amchirp, chirplet, drum"),
        ({"name": "huge"}, "unknown preset 'huge'; choose one of quick, paper"),
        ({"reweight": True}, "reweight changes nothing without probabilities"),
        ({"loss": "kpaths", "probabilities": "p.pt"}, "'kpaths' does not draw from probabilities"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        preset(**{"name": "quick", **changes})


def test_a_foreign_configuration_is_refused():
    values = preset("quick").to_dict()
    training = dict(values["training"])
    del training["steps"]
    with pytest.raises(InputError, match=r"TrainingSettings .*missing .'steps'., unknown .'x'."):
        MatchConfig.from_dict({**values, "training": {**training, "x": 1}})
    with pytest.raises(InputError, match=r"MatchConfig .*missing \[\], unknown \['colour'\]"):
        MatchConfig.from_dict({**values, "colour": 1})
    for task in ("resynthesis", {}, {"name": 3}):
        with pytest.raises(InputError, match="it names no task"):
            MatchConfig.from_dict({**values, "task": task})
    with pytest.raises(ConfigurationError, match="announces tasks called 'chirp'; did you mean"):
        MatchConfig.from_dict({**values, "task": {"name": "chirp"}})


def test_supervision_needs_known_parameters(monkeypatch):
    config = preset("quick")
    monkeypatch.setattr(type(config.task), "knows_theta", False)
    config.changed(loss="jtfs")
    with pytest.raises(ConfigurationError, match="'ploss' compares parameters, but the true"):
        config.changed(loss="ploss")


def test_convergence_is_the_first_validation_below_the_threshold():
    assert steps_to_converge([5, 10, 15], [100.0, 99.0, 10.0], 100.0) == 10
    assert steps_to_converge([5, 10], [200.0, 100.0], 100.0) is None
    assert steps_to_converge([], [], 100.0) is None


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=20), st.floats(0.1, 10))
def test_total_variation_is_that_of_the_ends_where_the_curve_is_monotonic(errors, scale):
    count, falling = len(errors), sorted(errors, reverse=True)
    steady = (falling[0] - falling[-1]) / count
    assert total_variation(falling) == pytest.approx(steady, abs=1e-9)
    assert total_variation(errors) >= (max(errors) - min(errors)) / count - 1e-9
    scaled = [scale * error for error in errors]
    assert total_variation(scaled) == pytest.approx(scale * total_variation(errors), abs=1e-9)


def test_total_variation_of_few_validations():
    assert total_variation([]) == total_variation([3.0]) == 0.0
    assert total_variation([1.0, 4.0]) == 1.5
