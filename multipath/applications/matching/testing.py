"""Tests that a task of your own inherits.

The classes are plain: no pytest, no fixtures. pytest runs any subclass whose name begins with
``Test``; ``multipath check NAME`` runs the one that is announced beside the task.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields

import torch
from torch import Tensor

from .config import MatchConfig
from .presets import preset
from .tasks.base import Preset, Task
from .tasks.data import Batch, Targets, seeded

SOUNDS = 3  # rendered at a time


class TaskTests:
    """Inherit, name the subclass ``Test...``, and say what to test.

    Attributes:
        task: The class of the task, which is installed. Its first preset is tested.

    Example:
        >>> from multipath.applications.matching.tasks.chirplet import ChirpletTask
        >>> class TestChirplets(TaskTests):
        ...     task = ChirpletTask
        >>> TestChirplets().test_targets_are_a_function_of_the_seed()  # pytest calls them all
    """

    task: type[Task]

    def make_task(self) -> Task:
        """The task to test: by default that of the first preset."""
        return next(iter(self._presets().values())).task

    def test_presets_are_configurations_that_survive_json(self) -> None:
        """Each is of this task, found by its name, and the same when read from its JSON."""
        presets = self._presets()
        _require(bool(presets), f"{self.task.__name__}.presets() must have a preset, got none")
        for name, chosen in presets.items():
            _require(
                type(chosen.task) is self.task,
                f"the preset {name!r} must be of a {self.task.__name__}, got {chosen.task!r}",
            )
            config = preset(name, self.task.name)
            restored = MatchConfig.from_dict(json.loads(json.dumps(config.to_dict())))
            _require(
                restored == config,
                f"the preset {name!r} must be restored from JSON as it was: settings are plain "
                f"values and tuples of them; expected {config}, got {restored}",
            )

    def test_names_of_settings_are_unique(self) -> None:
        """No setting of the task is called like one of the objective, encoder or training."""
        groups = [getattr(next(iter(self._presets().values())), f.name) for f in fields(Preset)]
        names = [field.name for group in groups for field in fields(group)]
        names += [field.name for field in fields(MatchConfig)]
        twice = sorted({name for name in names if names.count(name) > 1})
        _require(not twice, f"settings must have names of their own, got {', '.join(twice)} twice")

    def test_settings_are_documented(self) -> None:
        """Every setting has a line under ``Args:``, which is the help of its option."""
        documented = "\n".join(kind.__doc__ or "" for kind in self.task.__mro__)
        for field in fields(self.task):
            _require(
                re.search(rf"^ +{field.name}: ", documented, re.MULTILINE) is not None,
                f"the docstring of {self.task.__name__} must say under Args: what {field.name} is",
            )

    def test_targets_are_a_function_of_the_seed(self) -> None:
        """All splits have targets: sounds of the right length, or what to render them from."""
        task = self.make_task()
        first, again, other = (task.targets(seed) for seed in (0, 0, 1))
        _require(
            first.keys() == {"train", "validation", "test"},
            f"targets must be split into train, validation and test, got {', '.join(first)}",
        )
        for split, targets in first.items():
            _require(targets.size > 0, f"the split {split} must have targets, got none")
            _require(_equal(targets, again[split]), f"targets of {split} must follow from the seed")
            _require(
                targets.sounds is not None
                or (targets.theta is not None and targets.nuisance is not None),
                f"targets of {split} must have sounds, or theta and nuisance to render them from",
            )
            _require(
                (targets.theta is not None) == task.knows_theta,
                f"targets must have theta exactly if knows_theta, which is {task.knows_theta}",
            )
        _require(
            not all(_equal(first[split], other[split]) for split in first),
            "targets of another seed must be others (or in other splits), got the same",
        )

    def test_nuisance_is_a_function_of_its_generator(self) -> None:
        """Integers, one row for each sound, in training and in evaluation."""
        task = self.make_task()
        for draw in (task.draw_nuisance, task.evaluation_nuisance):
            drawn, again = (draw(SOUNDS, seeded(0, "nuisance")) for _ in range(2))
            _require(
                len(drawn) == SOUNDS and not drawn.is_floating_point(),
                f"{draw.__name__} must draw one row of integers for each of {SOUNDS} sounds, got "
                f"{drawn.dtype} of shape {tuple(drawn.shape)}",
            )
            _require(drawn.equal(again), f"{draw.__name__} must draw from its generator alone")

    def test_sounds_are_finite_and_differentiable_in_theta(self) -> None:
        """Sounds have shape (batch, n_samples), and a finite gradient that is not zero."""
        task, theta = self.make_task(), self._theta().requires_grad_()
        synth = task.build_synth()
        sounds = synth(theta, task.draw_nuisance(SOUNDS, seeded(0, "nuisance")))
        _require(
            sounds.shape == (SOUNDS, task.n_samples),
            f"sounds must have shape ({SOUNDS}, {task.n_samples}), got {tuple(sounds.shape)}",
        )
        _require(bool(sounds.isfinite().all()), "sounds must be finite, got NaN or infinity")
        (gradient,) = torch.autograd.grad(sounds.square().mean() + sounds.mean(), theta)
        _require(bool(gradient.isfinite().all()), "the gradient of theta must be finite")
        _require(bool(gradient.any()), "the gradient of theta must not be zero everywhere")

    def test_sounds_do_not_depend_on_what_is_rendered_beside_them(self) -> None:
        """A batch holds the sounds that are rendered one by one."""
        task, theta = self.make_task(), self._theta()
        synth, nuisance = task.build_synth(), task.draw_nuisance(SOUNDS, seeded(0, "nuisance"))
        with torch.no_grad():
            together = synth(theta, nuisance)
            alone = torch.cat([synth(theta[i : i + 1], nuisance[i : i + 1]) for i in range(SOUNDS)])
        worst = float((together - alone).abs().max() / together.abs().max().clamp_min(1e-9))
        _require(worst < 1e-4, f"a sound must not depend on its batch, got a change of {worst:.2g}")

    def test_parameters_have_names_and_units(self) -> None:
        """There are as many as ``physical`` has columns."""
        synth = self.make_task().build_synth()
        counts = {
            "parameter_names": len(synth.parameter_names),
            "parameter_units": len(synth.parameter_units),
            "columns of physical(theta)": synth.physical(self._theta()).shape[1],
        }
        _require(len(set(counts.values())) == 1, f"expected as many of each, got {counts}")

    def test_evaluation_has_its_headline_and_likes_the_truth(self) -> None:
        """Numbers of each sound; known parameters are judged no worse than wrong ones."""
        task = self.make_task()
        evaluation = task.build_evaluation(task.build_synth())
        _require(
            isinstance(evaluation, task.judged_by),
            f"build_evaluation must return a {task.judged_by.__name__}, as judged_by says, got "
            f"{type(evaluation).__name__}",
        )
        batch = self._batch(task)
        wrong = 1 - self._theta() if batch.targets.theta is None else 1 - batch.targets.theta
        for judge in (evaluation, evaluation.validate):
            numbers: Mapping[str, Tensor] = judge(batch, wrong)
            found = numbers.get(evaluation.headline)
            _require(
                found is not None and found.shape == (SOUNDS,),
                f"an evaluation must give its headline {evaluation.headline!r} for each sound, got "
                f"{', '.join(numbers)}",
            )
            if found is not None and batch.targets.theta is not None:
                best = judge(batch, batch.targets.theta)[evaluation.headline]
                _require(
                    bool(best.mean() <= found.mean()),
                    f"{evaluation.headline} of the true parameters must be no higher than of wrong "
                    f"ones, got {float(best.mean()):.3g} and {float(found.mean()):.3g}",
                )

    def _presets(self) -> Mapping[str, Preset]:
        return self.task.presets()

    def _theta(self) -> Tensor:
        count = len(self.make_task().build_synth().parameter_names)
        return torch.rand(SOUNDS, count, generator=seeded(0, "theta"))

    def _batch(self, task: Task) -> Batch:
        targets = task.targets(0)["train"].take(slice(SOUNDS))
        nuisance = task.evaluation_nuisance(SOUNDS, seeded(0, "nuisance"))
        return Batch(targets, nuisance)


def _equal(some: Targets, others: Targets) -> bool:
    pairs = [(a, b) for a, b in zip(some, others, strict=True) if isinstance(a, Tensor)]
    return all(isinstance(b, Tensor) and a.equal(b) for a, b in pairs)


def _require(condition: bool, message: str) -> None:
    """Fail with a message; unlike ``assert`` also under ``python -O``."""
    __tracebackhide__ = True  # pytest then shows the line of the check
    if not condition:
        raise AssertionError(message)
