"""theta-importance of the paths of a sound matching run, before it is trained."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from typing import cast

import torch

from multipath import PathDecomposedLoss
from multipath.errors import ConfigurationError
from multipath.importance import ThetaImportance, theta_importance
from multipath.importance.theta import Method

from .config import MatchConfig
from .module import SoundMatching
from .tasks.data import seeded

QUICK_EXAMPLES = 16
"""Training targets that pi is measured on with the quick presets: about a minute."""


def measure(
    config: MatchConfig,
    *,
    examples: int | None = None,
    batch: int | None = None,
    loss: PathDecomposedLoss | None = None,
    method: Method = "eigenvalue",
    tolerance: float | None = None,
    journal: str | PathLike[str] | None = None,
    progress: bool = False,
) -> ThetaImportance:
    """Theta-importance for the full scattering loss of a run, with the encoder it begins with.

    The encoder has the weights that a run with the same seed starts from, without dropout. It looks
    at the first batches of that run: training targets, and reconstructions with time shifts or
    grains of their own.

    Args:
        config: The run; its loss does not matter, since paths are those of the full one.
        examples: Targets to measure on. Default: the ``importance_examples`` of the task, or 16
            with the quick presets.
        batch: Targets in a batch, over whose gradient the curvature is taken; C is the mean over
            the batches. Default: the batch size of the training.
        loss: Another loss of the same sounds, whose paths are measured. Default: the full
            scattering loss of the task.
        method: How paths are measured, see :func:`~multipath.importance.theta_importance`.
        tolerance: Largest relative residual of an eigenvalue.
        journal: File that keeps what is done, so that an interrupted measurement goes on.
        progress: Show progress bars.

    Raises:
        ConfigurationError: If there are fewer than one example, or fewer targets than in a batch.

    Example:
        >>> from multipath.applications.matching.presets import preset
        >>> from multipath.applications.matching.tasks.base import ScatteringSettings
        >>> short = ScatteringSettings(J=6, Q=(4, 1), J_fr=2, Q_fr=1, T=256, F=4)
        >>> small = preset("quick", n_samples=1024, scattering=short, channels=(4, 4))
        >>> result = measure(small, examples=2, method="gradient")
        >>> result.parameters, result.settings["examples"], result.settings["task"]
        (('AM', 'FM'), 2, 'chirplet fast-moderate')
    """
    count = published_examples(config) if examples is None else examples
    size = config.training.batch_size if batch is None else batch
    if min(count, size) < 1:
        raise ConfigurationError(f"examples and batch must be at least 1, got {count} and {size}")
    size = min(size, count)
    task = config.task
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seeded(config.seed, "weights").initial_seed())
        # the criterion of this objective is the loss whose paths are measured
        plain = config.changed(loss="jtfs", probabilities=None, reweight=False, batch_size=size)
        model = SoundMatching(plain).eval()
    batches = []
    for start in range(0, count, size):
        given, few = model.batches.training_batch(start // size), slice(count - start)
        targets, nuisance = given.targets.take(few), given.nuisance[few]
        sounds = model.sounds(targets)
        with torch.no_grad():
            batches.append((model.features(sounds), sounds, nuisance))
    result = theta_importance(
        cast(PathDecomposedLoss, model.criterion) if loss is None else loss,
        model.encoder,
        model.synth,
        batches,
        method=method,
        tolerance=tolerance,
        seed=config.seed,
        journal=journal,
        progress=progress,
    )
    made = {"task": task.title, "preset": config.preset}
    return replace(result, settings={**result.settings, **made})


def published_examples(config: MatchConfig) -> int:
    """How many targets pi is measured on by default."""
    return QUICK_EXAMPLES if config.preset == "quick" else config.task.importance_examples
