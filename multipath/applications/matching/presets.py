"""The presets of the installed tasks, and the settings that several of them share."""

from __future__ import annotations

from typing import Any

from multipath.errors import ConfigurationError

from .config import MatchConfig
from .settings import EncoderSettings, ObjectiveSettings, TrainingSettings
from .tasks.base import ScatteringSettings
from .tasks.find import find_task

QUICK_ENCODER = EncoderSettings(
    cqt_octaves=2,
    cqt_hop=32,
    channels=(16, 32, 48, 64),
    embedding=64,
    dropout=0.0,
    initialization="he",
)
PAPER_ENCODER = EncoderSettings(
    cqt_octaves=5, cqt_hop=256, channels=(128,) * 5, embedding=64, dropout=0.5
)
QUICK_TRAINING = TrainingSettings(
    steps=600, batch_size=4, learning_rate=1e-3, schedule="cosine", validate_every=100
)
QUICK_SCATTERING = ScatteringSettings(J=10, Q=(8, 2), J_fr=3, Q_fr=2, T=1024, F=8)
PAPER_SCATTERING = ScatteringSettings(J=12, Q=(8, 2), J_fr=3, Q_fr=2, T=4096, F=8)
PNP_SCATTERING = ScatteringSettings(
    J=13, Q=(12, 1), J_fr=5, Q_fr=1, T=8192, F=2, sampling="reduced", eps=1e-3
)
"""The transform of the PNP papers, for 32768 samples or more."""
PAPER_OBJECTIVE = ObjectiveSettings(energy_targets=64, fft_sizes=(64, 128, 256, 512, 1024, 2048))


def preset(name: str, task: str = "chirplet", **changes: Any) -> MatchConfig:
    """The run of a preset, with some of its settings replaced; None keeps the preset's value.

    Args:
        name: Name of the preset: ``"quick"`` or ``"paper"`` for the tasks of multipath.
        task: Name of the task, as ``multipath list`` prints it.
        **changes: As for :meth:`MatchConfig.changed
            <multipath.applications.matching.config.MatchConfig.changed>`.

    Raises:
        ConfigurationError: If there is no such task, preset or setting, or a value does not fit.

    Example:
        >>> preset("paper", synth="slow-slow").task.ranges.fm
        (0.5, 1.0)
        >>> preset("paper", "granular").training.steps
        19200
    """
    presets = find_task(task).presets()
    if name not in presets:
        raise ConfigurationError(f"unknown preset {name!r}; choose one of {', '.join(presets)}")
    config = MatchConfig(preset=name, seed=0, **vars(presets[name]))
    return config.changed(**{key: value for key, value in changes.items() if value is not None})
