"""theta-importance of the paths of a sound matching run, before it is trained."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from typing import cast

import torch
from torch import Tensor

from multipath import PathDecomposedLoss, PathTable
from multipath.errors import ConfigurationError
from multipath.importance import ThetaImportance, theta_importance
from multipath.importance.theta import Method

from .config import MatchConfig
from .module import SoundMatching
from .tasks.chirplet import ChirpletTask
from .tasks.data import seeded

EXAMPLES = {"granular": 320, "chirplet": 32, "tr808": 16}
"""Training targets that pi is measured on, as published; 32 for other tasks."""
QUICK_EXAMPLES = 16
"""The same with the quick presets: about a minute."""
ROUNDING = 1e-9
"""Filters on an edge of the rectangle are inside, whatever rounding does to them."""


def measure(
    config: MatchConfig,
    *,
    examples: int | None = None,
    batch: int | None = None,
    method: Method = "eigenvalue",
    tolerance: float | None = None,
    items_at_once: int = 4,
    journal: str | PathLike[str] | None = None,
    progress: bool = False,
) -> ThetaImportance:
    """Theta-importance for the full scattering loss of a run, with the encoder it begins with.

    The encoder has the weights that a run with the same seed starts from, without dropout. It looks
    at the first batches of that run: training targets, and reconstructions with time shifts or
    grains of their own.

    Args:
        config: Of the run; its loss does not matter, since paths are those of the full one.
        examples: Targets to measure on. Default: as published (:data:`EXAMPLES`), or 16 with the
            quick presets.
        batch: Targets in a batch, over whose gradient the curvature is taken; C is the mean over
            the batches. Default: the batch size of the training.
        method: See :func:`~multipath.importance.theta_importance`, as for all below.
        tolerance: Likewise.
        items_at_once: Likewise.
        journal: Likewise.
        progress: Likewise.

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
    size = min(config.training.batch_size if batch is None else batch, count)
    if size < 1:
        raise ConfigurationError(
            f"examples and batch must be at least 1, got {count} and "
            f"{config.training.batch_size if batch is None else batch}"
        )
    task = config.task
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seeded(config.seed, "weights").initial_seed())
        # the criterion of this objective is the loss whose paths are measured
        plain = config.changed(loss="jtfs", probabilities=None, reweight=False, batch_size=size)
        model = SoundMatching(plain).eval()
    batches = []
    for start in range(0, count, size):
        targets, nuisance = model.batches.training_batch(start // size)
        targets, nuisance = targets.take(slice(count - start)), nuisance[: count - start]
        sounds = model.sounds(targets)
        with torch.no_grad():
            batches.append((model.features(sounds), sounds, nuisance))
    result = theta_importance(
        cast(PathDecomposedLoss, model.criterion),
        model.encoder,
        model.synth,
        batches,
        method=method,
        tolerance=tolerance,
        items_at_once=items_at_once,
        seed=config.seed,
        journal=journal,
        progress=progress,
    )
    made = {"task": task.title, "preset": config.preset}
    return replace(result, settings={**result.settings, **made})


def published_examples(config: MatchConfig) -> int:
    """How many targets pi is measured on by default."""
    return QUICK_EXAMPLES if config.preset == "quick" else EXAMPLES.get(config.task.name, 32)


def inside(config: MatchConfig, paths: PathTable, spacings: float = 0.0) -> Tensor:
    """Which paths look at what a chirplet synthesizer does: its rectangle of AM and FM.

    A chirplet of AM a Hz and FM f octaves/s excites the path whose rate is a Hz and whose scale is
    a / f cycles/octave, so a path is inside if its rate lies in the range of AM, and its rate /
    scale, rising or falling, in that of FM. Paths of scale 0 are outside.

    Wavelets have a bandwidth, and a chirplet between two of them excites both, so that nearly as
    many of a narrow rectangle's paths lie just outside of it. ``spacings`` widens both ranges, on
    either side, by so many distances between neighbouring wavelets: 1/Q2 octave for AM, 1/Q_fr
    octave for FM. With 0.5 the wavelet nearest to any AM, or FM at a given rate, is inside.

    Args:
        config: Of a chirplet run.
        paths: With ``rate`` and ``scale``.
        spacings: 0 for centre frequencies strictly inside, as the paper draws the rectangle.

    Returns:
        One truth value for each path.

    Raises:
        ConfigurationError: If the task has no such rectangle, or the paths no such numbers.

    Example:
        >>> from multipath.applications.matching.objectives import scattering_loss
        >>> from multipath.applications.matching.presets import preset
        >>> config = preset("paper", synth="slow-slow")
        >>> paths = scattering_loss(config).paths
        >>> int(inside(config, paths).sum()), int(inside(config, paths, 0.5).sum())
        (10, 16)
    """
    task = config.task
    if not isinstance(task, ChirpletTask):
        raise ConfigurationError(
            f"only chirplets have a rectangle of AM and FM, the task is {task.name!r}"
        )
    if not {"rate", "scale"} <= set(paths.columns):
        raise ConfigurationError(
            f"the paths must have a rate and a scale, theirs are {', '.join(paths.columns)}"
        )
    rates = torch.tensor(paths.column("rate"), dtype=torch.float64)
    scales = torch.tensor(paths.column("scale"), dtype=torch.float64).abs()
    am = _within(rates, task.ranges.am, spacings / task.scattering.Q[1])
    return am & _within(rates / scales, task.ranges.fm, spacings / task.scattering.Q_fr)


def _within(values: Tensor, range_: tuple[float, float], octaves: float) -> Tensor:
    wider = 2**octaves * (1 + ROUNDING)
    return (values >= range_[0] / wider) & (values <= range_[1] * wider)
