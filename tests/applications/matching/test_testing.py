"""The tests that tasks inherit pass for the tasks of multipath, and catch what is broken."""

from dataclasses import dataclass, replace

import pytest
import torch

from multipath.applications.matching.tasks import granular, tr808
from multipath.applications.matching.tasks.base import Preset
from multipath.applications.matching.tasks.chirplet import ChirpletTask, ChirpletTests
from multipath.applications.matching.tasks.evaluation import Evaluation, ThetaError
from multipath.applications.matching.testing import TaskTests


class TestChirplet(ChirpletTests):
    pass


class TestGranular(granular.GranularTests):
    pass


class TestTR808(tr808.TR808Tests):
    pass


def check(name, **methods):
    """Run one test on chirplets of which some methods are others."""
    kind = dataclass(frozen=True, kw_only=True)(type("Broken", (ChirpletTask,), methods))
    quick = ChirpletTask.presets()["quick"]
    settings = vars(quick.task)
    if "presets" not in methods:
        kind.presets = lambda: {"quick": replace(quick, task=kind(**settings))}
    tests = type("Tests", (TaskTests,), {"task": kind})()
    getattr(tests, name)()


class Sloppy:
    """A synthesizer with something changed."""

    def __init__(self, task, render=None, **names):
        self.synth = ChirpletTask.build_synth(task)
        self.render = render or (lambda sounds, theta: sounds)
        for name in ("parameter_names", "parameter_units", "physical"):
            setattr(self, name, names.get(name, getattr(self.synth, name)))

    def __call__(self, theta, nuisance):
        return self.render(self.synth(theta, nuisance), theta)


class Wordless(Evaluation):
    headline, key, unit = "loudness", "loudness", ""

    def forward(self, batch, estimate):
        return {"other": estimate[:, 0]}


class Upside(ThetaError):
    def forward(self, batch, estimate):
        return {name: -values for name, values in super().forward(batch, estimate).items()}


def rendering(render):
    return {"build_synth": lambda self: Sloppy(self, render)}


def unseeded(self, count, generator):
    return torch.randint(2**40, (count,))


BROKEN = {
    "presets_are_configurations_that_survive_json": [
        ({"presets": dict}, "must have a preset, got none"),
        ({"presets": ChirpletTask.presets}, "must be of a Broken, got ChirpletTask"),
    ],
    "settings_are_documented": [
        (
            {"__annotations__": {"colour": str}, "colour": "red"},
            "must say under Args: what colour is",
        ),
    ],
    "names_of_settings_are_unique": [
        ({"__annotations__": {"dropout": float}, "dropout": 0.5}, "got dropout twice"),
    ],
    "targets_are_a_function_of_the_seed": [
        (
            {"targets": lambda self, seed: {"train": None}},
            "split into train, validation and test, got train",
        ),
        ({"draw_nuisance": unseeded}, "targets of train must follow from the seed"),
        (
            {"targets": lambda self, seed: ChirpletTask.targets(self, 0)},
            "targets of another seed must be others",
        ),
        ({"knows_theta": False}, "must have theta exactly if knows_theta, which is False"),
    ],
    "nuisance_is_a_function_of_its_generator": [
        ({"draw_nuisance": unseeded}, "must draw from its generator alone"),
        (
            {"draw_nuisance": lambda self, count, generator: torch.zeros(count)},
            "one row of integers for each of 3 sounds, got torch.float32",
        ),
    ],
    "sounds_are_finite_and_differentiable_in_theta": [
        (
            rendering(lambda sounds, theta: sounds[:, :-1]),
            r"must have shape \(3, 4096\), got \(3, 4095\)",
        ),
        (rendering(lambda sounds, theta: sounds / 0), "must be finite, got NaN"),
        (
            rendering(lambda sounds, theta: sounds.detach() + 0 * theta[:, :1]),
            "must not be zero everywhere",
        ),
    ],
    "sounds_do_not_depend_on_what_is_rendered_beside_them": [
        (rendering(lambda sounds, theta: sounds / sounds.norm()), "must not depend on its batch"),
    ],
    "parameters_have_names_and_units": [
        (
            {"build_synth": lambda self: Sloppy(self, parameter_units=("Hz",))},
            "'parameter_units': 1",
        ),
    ],
    "evaluation_has_its_headline_and_likes_the_truth": [
        (
            {"build_evaluation": lambda self, synth: Wordless()},
            "must return a ThetaError, as judged_by says, got Wordless",
        ),
        (
            {"build_evaluation": lambda self, synth: Wordless(), "judged_by": Wordless},
            "must give its headline 'loudness' for each sound, got other",
        ),
        (
            {"build_evaluation": lambda self, synth: Upside(synth.parameter_names)},
            "must be no higher than of wrong",
        ),
    ],
}
"""Methods of a task that each test has to refuse, and what it says."""


@pytest.mark.parametrize(
    ("name", "methods", "message"),
    [(name, *case) for name, cases in BROKEN.items() for case in cases],
)
def test_what_is_broken_is_caught(name, methods, message):
    with pytest.raises(AssertionError, match=message):
        check(f"test_{name}", **methods)


def test_presets_that_change_in_json_are_caught(monkeypatch):
    quick = ChirpletTask.presets()["quick"]
    listed = replace(quick.task, fast_am=[3.96, 7.92])  # a list, where JSON gives a tuple
    monkeypatch.setattr(ChirpletTask, "presets", lambda: {"quick": replace(quick, task=listed)})
    with pytest.raises(AssertionError, match="must be restored from JSON as it was"):
        ChirpletTests().test_presets_are_configurations_that_survive_json()
    assert isinstance(quick, Preset)
