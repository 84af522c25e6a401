"""Metrics of the parameters of a sound matching task: of a run's targets, or for a report."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

import torch
from torch import Tensor

from multipath.errors import ConfigurationError
from multipath.metric import ParameterMetric, parameter_metric

from .config import MatchConfig
from .objectives import scattering_loss
from .tasks.base import Synthesizer, Task
from .tasks.data import Targets, seeded

QUICK_EXAMPLES = 16
"""Parameters that a report looks at with the quick presets."""


def target_metrics(
    task: Task,
    synth: Synthesizer,
    targets: Mapping[str, Targets],
    seed: int,
    *,
    journal: str | PathLike[str] | None = None,
    progress: bool = False,
) -> dict[str, Tensor]:
    """The metrics of the scattering loss at the targets of some splits, each (n, U, U).

    Target and neighbours have a nuisance in common: that of the target, or the one that its
    reconstruction is judged with.

    Args:
        task: What is matched.
        synth: Its synthesizer.
        targets: By split.
        seed: That of the run.
        journal: File that keeps what is done, so that interrupted work goes on.
        progress: Show a progress bar.

    Raises:
        ConfigurationError: If the true parameters of the targets are unknown.
    """
    theta, nuisance = [], []
    for name, split in targets.items():
        if split.theta is None:
            raise ConfigurationError(
                f"the metrics of {task.name} need targets with known parameters"
            )
        theta.append(split.theta)
        own = split.nuisance
        nuisance.append(
            task.evaluation_nuisance(split.size, seeded(seed, name)) if own is None else own
        )
    found = parameter_metric(
        scattering_loss(task),
        synth,
        torch.cat(theta),
        context=torch.cat(nuisance),
        journal=journal,
        progress=progress,
    )
    parts = found.split([len(part) for part in theta])
    return dict(zip(targets, parts, strict=True))


def measure_metric(
    config: MatchConfig,
    *,
    examples: int | None = None,
    journal: str | PathLike[str] | None = None,
    progress: bool = False,
) -> ParameterMetric:
    """The metrics of a task's scattering loss, path by path, at uniform parameters.

    Args:
        config: The run; only its task, preset and seed matter.
        examples: How many parameters are looked at. Default: the ``importance_examples`` of the
            task, or 16 with the quick presets.
        journal: File that keeps what is done, so that interrupted work goes on.
        progress: Show a progress bar.

    Raises:
        ConfigurationError: If there is less than one example.

    Example:
        >>> from multipath.applications.matching.presets import preset
        >>> from multipath.applications.matching.tasks.base import ScatteringSettings
        >>> short = ScatteringSettings(J=6, Q=(4, 1), J_fr=2, Q_fr=1, T=256, F=4)
        >>> found = measure_metric(preset("quick", n_samples=1024, scattering=short), examples=2)
        >>> found.parameters, found.metric.shape, found.settings["task"]
        (('AM', 'FM'), torch.Size([2, 2, 2]), 'chirplet fast-moderate')
    """
    task = config.task
    quick = QUICK_EXAMPLES if config.preset == "quick" else task.importance_examples
    count = quick if examples is None else examples
    if count < 1:
        raise ConfigurationError(f"examples must be at least 1, got {count}")
    synth, loss = task.build_synth(), scattering_loss(task)
    generator = seeded(config.seed, "metric")
    theta = torch.rand(count, len(synth.parameter_names), generator=generator)
    found = parameter_metric(
        loss,
        synth,
        theta,
        range(len(loss.paths)),
        context=task.draw_nuisance(count, generator),
        journal=journal,
        progress=progress,
    )
    weighted = loss.path_weights[:, None, None, None] * found.double()
    settings = {"task": task.title, "preset": config.preset, "seed": config.seed, "examples": count}
    return ParameterMetric(
        loss.paths,
        synth.parameter_names,
        theta,
        weighted.sum(dim=0),
        weighted.mean(dim=1),
        settings,
    )
