"""Everything that defines a sound matching run, and the two presets: ``quick`` and ``paper``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..errors import ConfigurationError, InputError
from .synthesizers import CHIRPLETS, ChirpletRanges

LOSSES = {
    "scrapl": "SCRAPL as published: one uniform path a step, P-Adam and P-SAGA",
    "kpaths": "8 energy draws a step (StochasticLoss.for_training), AdamW",
    "jtfs": "the full joint time-frequency scattering loss, AdamW",
    "mss": "multi-scale spectral loss (log + linear), AdamW",
    "ploss": "supervised: distance between the parameters themselves, AdamW",
}
"""The losses a run can be trained with, by name."""


@dataclass(frozen=True)
class JTFSSettings:
    """Arguments of :class:`~multipath.transforms.JTFS`, named as there."""

    J: int
    Q: tuple[int, int]
    J_fr: int
    Q_fr: int
    T: int
    F: int


@dataclass(frozen=True)
class MatchConfig:
    """One sound matching run; frozen, and saved as ``config.json`` in its folder.

    Args:
        preset: Name of the preset it started from.
        synth: Name of the synthesizer.
        loss: One of ``LOSSES``.
        seed: Seed of everything random: data, weights, dropout, shifts and draws.
        steps: Optimizer steps.
        am: AM range of the chirplets, in Hz.
        fm: FM range of the chirplets, in octaves/s.
        sample_rate: In Hz.
        n_samples: Length of a signal.
        f0: Frequency in the middle of a chirplet, in Hz.
        detach_window: See :class:`~multipath.applications.chirplet.ChirpletSynth`.
        max_shift: Signals are delayed by up to this many samples, either way.
        n_targets: Number of sounds; 60 % train, 20 % validate, 20 % test.
        batch_size: Targets in a step.
        cqt_octaves: Range of the encoder's picture.
        cqt_hop: Its hop, in samples.
        channels: Convolution channels of the encoder.
        embedding: Width of the encoder's dense layer.
        dropout: Of the encoder.
        initialization: Of the encoder.
        jtfs: The scattering transform of ``scrapl``, ``kpaths`` and ``jtfs``.
        fft_sizes: The scales of ``mss``; the hops are a quarter of them.
        n_draws: Paths a step of ``kpaths``.
        energy_targets: Training targets on which ``kpaths`` measures how loud paths are.
        energy_floor: Share of its draws spread evenly over all paths.
        learning_rate: At the start.
        schedule: ``"constant"``, or ``"cosine"`` down to zero.
        weight_decay: Decoupled.
        validate_every: Steps between two validations; checkpoints are saved as often.

    Example:
        >>> config = preset("quick", loss="mss", steps=100)
        >>> config.loss, config.steps, config.n_samples
        ('mss', 100, 4096)
        >>> MatchConfig.from_dict(config.to_dict()) == config
        True
    """

    preset: str
    synth: str
    loss: str
    seed: int
    steps: int
    am: tuple[float, float]
    fm: tuple[float, float]
    sample_rate: float
    n_samples: int
    f0: float
    detach_window: bool
    max_shift: int
    n_targets: int
    batch_size: int
    cqt_octaves: int
    cqt_hop: int
    channels: tuple[int, ...]
    embedding: int
    dropout: float
    initialization: str
    jtfs: JTFSSettings
    fft_sizes: tuple[int, ...]
    n_draws: int
    energy_targets: int
    energy_floor: float
    learning_rate: float
    schedule: str
    weight_decay: float
    validate_every: int

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        if self.loss not in LOSSES:
            raise ConfigurationError(
                f"unknown loss {self.loss!r}; choose one of {', '.join(LOSSES)}"
            )
        if self.schedule not in ("constant", "cosine"):
            raise ConfigurationError(
                f"schedule must be 'constant' or 'cosine', got {self.schedule!r}"
            )
        for name in ("steps", "batch_size", "validate_every", "n_draws", "energy_targets"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.seed < 2**63:
            raise ConfigurationError(f"seed must lie in [0, 2**63), got {self.seed}")
        if not 0 <= self.max_shift < self.n_samples:
            raise ConfigurationError(
                f"max_shift must lie in [0, n_samples = {self.n_samples}), got {self.max_shift}"
            )
        if self.n_targets < max(5, 5 * self.batch_size // 3):
            raise ConfigurationError(
                f"n_targets = {self.n_targets} is too small: 60 % of it must fill a batch of "
                f"{self.batch_size}"
            )
        if not (0 < self.learning_rate < float("inf") and 0 <= self.weight_decay < float("inf")):
            raise ConfigurationError(
                "learning_rate must be positive and weight_decay not negative, got "
                f"{self.learning_rate} and {self.weight_decay}"
            )

    @property
    def ranges(self) -> ChirpletRanges:
        """What the parameters span."""
        return ChirpletRanges(am=self.am, fm=self.fm)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MatchConfig:
        """The inverse of :meth:`to_dict`; lists become tuples again.

        Raises:
            InputError: If a setting is missing or unknown.
        """
        names = {field.name for field in fields(cls)}
        if names != set(values):
            raise InputError(
                "this is not the configuration of a sound matching run of this version: missing "
                f"{sorted(names - set(values))}, unknown {sorted(set(values) - names)}"
            )
        restored: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        jtfs = dict(values["jtfs"])
        restored["jtfs"] = JTFSSettings(**{**jtfs, "Q": tuple(jtfs["Q"])})
        return cls(**restored)


QUICK = MatchConfig(
    preset="quick",
    synth="fast-moderate",
    loss="scrapl",
    seed=0,
    steps=600,
    am=(3.96, 7.92),
    fm=(2.0, 4.0),
    sample_rate=2048.0,
    n_samples=4096,
    f0=512.0,
    detach_window=False,
    max_shift=256,
    n_targets=1600,
    batch_size=4,
    cqt_octaves=2,
    cqt_hop=32,
    channels=(16, 32, 48, 64),
    embedding=64,
    dropout=0.0,
    initialization="he",
    jtfs=JTFSSettings(J=10, Q=(8, 2), J_fr=3, Q_fr=2, T=1024, F=8),
    fft_sizes=(64, 128, 256, 512, 1024),
    n_draws=8,
    energy_targets=16,
    energy_floor=0.1,
    learning_rate=1e-3,
    schedule="cosine",
    weight_decay=0.01,
    validate_every=100,
)
"""A minute or less on one CPU core. The signals last 2 s at 2048 Hz, and :math:`f_0` is the paper's
512 Hz: the chirplet's two octaves end at the Nyquist frequency, where its window has fallen by
108 dB. The fast AM range is the one octave of the authors' released configuration: over a chirplet
this short, slower AM is less than one cycle. All losses share one learning rate and schedule."""

PAPER = replace(
    QUICK,
    preset="paper",
    steps=4800,  # 50 epochs of 3072 training targets in batches of 32
    am=CHIRPLETS["fast-moderate"].am,
    fm=CHIRPLETS["fast-moderate"].fm,
    sample_rate=8192.0,
    n_samples=32768,
    max_shift=2048,
    n_targets=5120,
    batch_size=32,
    cqt_octaves=5,
    cqt_hop=256,
    channels=(128,) * 5,
    embedding=64,
    dropout=0.5,
    initialization="torch",
    jtfs=JTFSSettings(J=12, Q=(8, 2), J_fr=3, Q_fr=2, T=4096, F=8),
    fft_sizes=(64, 128, 256, 512, 1024, 2048),
    energy_targets=64,
    learning_rate=1e-4,
    schedule="constant",
    validate_every=96,
)
"""The settings of the paper (table 11), meant for a GPU."""

PRESETS = {"quick": QUICK, "paper": PAPER}


def preset(name: str, synth: str = "fast-moderate", **changes: Any) -> MatchConfig:
    """A preset with some of its settings replaced; None keeps the preset's value.

    Args:
        name: ``"quick"`` or ``"paper"``.
        synth: One of ``CHIRPLETS``; sets the ranges ``am`` and ``fm``.
        **changes: Fields of :class:`MatchConfig`.

    Raises:
        ConfigurationError: If the preset or the synthesizer is unknown, or a value does not fit.

    Example:
        >>> preset("paper", "slow-slow").fm
        (0.5, 1.0)
    """
    if name not in PRESETS:
        raise ConfigurationError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}")
    if synth not in CHIRPLETS:
        raise ConfigurationError(
            f"unknown chirplet synthesizer {synth!r}; choose one of {', '.join(CHIRPLETS)}"
        )
    base, ranges = PRESETS[name], CHIRPLETS[synth]
    am = QUICK.am if name == "quick" and synth.startswith("fast") else ranges.am
    given = {key: value for key, value in changes.items() if value is not None}
    return replace(base, **{"synth": synth, "am": am, "fm": ranges.fm, **given})
