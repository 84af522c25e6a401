"""The presets of each task: ``quick`` for a CPU, and ``paper``."""

from __future__ import annotations

from typing import Any

from multipath.applications.matching.tasks.base import ScatteringSettings
from multipath.errors import ConfigurationError

from .config import MatchConfig
from .settings import EncoderSettings, ObjectiveSettings, TrainingSettings
from .tasks.chirplet import ChirpletTask
from .tasks.granular import GranularTask
from .tasks.tr808 import TR808Task

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
QUICK_SCATTERING = ScatteringSettings(J=10, Q=(8, 2), J_fr=3, Q_fr=2, T=1024, F=8)
PAPER_SCATTERING = ScatteringSettings(J=12, Q=(8, 2), J_fr=3, Q_fr=2, T=4096, F=8)
PAPER_OBJECTIVE = ObjectiveSettings(energy_targets=64, fft_sizes=(64, 128, 256, 512, 1024, 2048))

QUICK_CHIRPLET = MatchConfig(
    preset="quick",
    seed=0,
    task=ChirpletTask(
        sample_rate=2048.0,
        n_samples=4096,
        n_targets=1600,
        fast_am=(3.96, 7.92),
        max_shift=256,
        scattering=QUICK_SCATTERING,
    ),
    objective=ObjectiveSettings(),
    encoder=QUICK_ENCODER,
    training=TrainingSettings(
        steps=600, batch_size=4, learning_rate=1e-3, schedule="cosine", validate_every=100
    ),
)
"""A minute or less on one CPU core. The signals last 2 s at 2048 Hz, and :math:`f_0` is the paper's
512 Hz: the chirplet's two octaves end at the Nyquist frequency, where its window has fallen by
108 dB. The fast AM range is the one octave of the authors' released configuration: over a chirplet
this short, slower AM is less than one cycle. All losses share one learning rate and schedule."""

PAPER_CHIRPLET = MatchConfig(
    preset="paper",
    seed=0,
    task=ChirpletTask(
        sample_rate=8192.0,
        n_samples=32768,
        n_targets=5120,
        max_shift=2048,
        scattering=PAPER_SCATTERING,
    ),
    objective=PAPER_OBJECTIVE,
    encoder=PAPER_ENCODER,
    training=TrainingSettings(
        steps=50 * 96,  # epochs of 3072 training targets in batches of 32
        batch_size=32,
        learning_rate=1e-4,
        validate_every=96,
    ),
)
"""The settings of the paper (table 11), meant for a GPU."""

QUICK_GRANULAR = MatchConfig(
    preset="quick",
    seed=0,
    task=GranularTask(
        sample_rate=2048.0,
        n_samples=4096,
        n_targets=1600,
        n_grains=16,
        grain_samples=512,
        f_min=64.0,
        f_max=512.0,
        steepest=0.75,
        softness=1.0,
        pitches="spread",
        scattering=ScatteringSettings(
            J=10, Q=(8, 2), J_fr=3, Q_fr=2, T=1024, F=8, sampling="reduced"
        ),
    ),
    objective=ObjectiveSettings(),
    encoder=QUICK_ENCODER,
    training=TrainingSettings(
        steps=1800, batch_size=4, learning_rate=1e-3, schedule="cosine", validate_every=200
    ),
)
"""A minute or so on one CPU core: few, short grains with a soft gate and the same pitches in every
texture, because density is slow to learn; it takes three times the steps of the chirplets."""

PAPER_GRANULAR = MatchConfig(
    preset="paper",
    seed=0,
    task=GranularTask(
        sample_rate=8192.0, n_samples=32768, n_targets=5120, scattering=PAPER_SCATTERING
    ),
    objective=PAPER_OBJECTIVE,
    encoder=PAPER_ENCODER,
    training=TrainingSettings(steps=200 * 96, batch_size=32, learning_rate=1e-5, validate_every=96),
)
"""The settings of the paper (table 11), meant for a GPU."""

QUICK_TR808 = MatchConfig(
    preset="quick",
    seed=0,
    task=TR808Task(
        sample_rate=12000.0,
        n_samples=8192,
        onset=512,
        scattering=ScatteringSettings(
            J=10, Q=(8, 2), J_fr=3, Q_fr=2, T=1024, F=4, sampling="reduced", eps=1e-3
        ),
    ),
    objective=ObjectiveSettings(loss="kpaths"),
    encoder=EncoderSettings(
        cqt_octaves=7,
        cqt_hop=128,
        channels=(16, 32, 48, 64),
        embedding=64,
        dropout=0.0,
        initialization="he",
    ),
    training=TrainingSettings(
        steps=600,
        batch_size=4,
        learning_rate=2e-3,
        schedule="linear",
        validate_every=100,
        threshold=None,
    ),
)
"""A minute or two on one CPU core for 80 recordings. The sines may reach 6 kHz, so the sample rate
cannot be lower. All losses share one learning rate and schedule."""

PAPER_TR808 = MatchConfig(
    preset="paper",
    seed=0,
    task=TR808Task(
        sample_rate=44100.0,
        n_samples=44100,
        n_targets=681,
        onset=2048,
        noise="fixed",
        scattering=ScatteringSettings(J=12, Q=(8, 2), J_fr=5, Q_fr=2, T=2048, F=1, eps=1e-3),
    ),
    objective=PAPER_OBJECTIVE,
    encoder=EncoderSettings(
        cqt_octaves=9,
        cqt_hop=256,
        channels=(128,) * 5,
        embedding=128,
        dropout=0.25,
        pools=((2, 2), (2, 2), (2, 3), (3, 3), (3, 3)),
    ),
    training=TrainingSettings(
        steps=50 * 53,  # epochs of 425 training recordings in batches of 8
        batch_size=8,
        learning_rate=1e-4,
        schedule="linear",
        validate_every=53,
        threshold=None,
    ),
)
"""The settings of the paper (table 11), meant for a GPU; its 681 recordings are not public. The
epochs are counted in its steps: fewer recordings are seen more often."""

PRESETS: dict[str, dict[str, MatchConfig]] = {
    "chirplet": {"quick": QUICK_CHIRPLET, "paper": PAPER_CHIRPLET},
    "granular": {"quick": QUICK_GRANULAR, "paper": PAPER_GRANULAR},
    "tr808": {"quick": QUICK_TR808, "paper": PAPER_TR808},
}
"""The presets of each task, by names."""


def preset(name: str, task: str = "chirplet", **changes: Any) -> MatchConfig:
    """A preset with some of its settings replaced; None keeps the preset's value.

    Args:
        name: ``"quick"`` or ``"paper"``.
        task: Name of an entry of ``PRESETS``.
        **changes: As for :meth:`MatchConfig.changed
            <multipath.applications.matching.config.MatchConfig.changed>`.

    Raises:
        ConfigurationError: If there is no such preset or setting, or a value does not fit.

    Example:
        >>> preset("paper", synth="slow-slow").task.ranges.fm
        (0.5, 1.0)
        >>> preset("paper", "granular").training.steps
        19200
    """
    if task not in PRESETS:
        raise ConfigurationError(f"unknown task {task!r}; choose one of {', '.join(PRESETS)}")
    presets = PRESETS[task]
    if name not in presets:
        raise ConfigurationError(f"unknown preset {name!r}; choose one of {', '.join(presets)}")
    given = {key: value for key, value in changes.items() if value is not None}
    return presets[name].changed(**given)
