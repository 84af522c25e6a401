"""Everything that defines a resynthesis, with defaults from the recording's length and rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import log2
from typing import Any, Literal

from multipath._internal.settings import real, several, whole
from multipath.applications.audio.files import check_rate
from multipath.applications.distance.compare import check_length, default_octaves
from multipath.applications.runs.settings import Settings, check_positive, check_seed
from multipath.errors import ConfigurationError
from multipath.transforms import JTFS, Scattering1D, Transform

__all__ = ["STARTS", "ResynthesisSettings"]

STARTS: Mapping[str, str] = {
    "noise": "white noise as loud as the recording",
    "spectrum": "noise with the spectrum of the recording (its phases are replaced)",
    "colour": "noise as loud as the recording in each third of an octave",
}
"""What a resynthesis may start from."""

OWN = "jtfs", "scattering1d"

ADAM: Mapping[str, float] = {"steps": 600, "interval": 25, "learning_rate": 0.1}
"""The settings of a search by Adam, unless others are given."""
FLOOR = 0.2


@dataclass(frozen=True, kw_only=True)
class ResynthesisSettings(Settings):
    """A resynthesis; frozen, and saved as ``config.json`` in its folder.

    Args:
        transform: The transform that compares the sounds: ``jtfs`` or ``scattering1d``.
        n_samples: Length of the recording in samples.
        sample_rate: Sample rate, a whole number of Hz up to 1 MHz.
        J: Octaves of the filter banks over time.
        Q: Wavelets per octave of the first and the second filter bank over time.
        T: Averaging in samples: the longer, the more the details are left free.
        J_fr: Octaves of the filter bank over log-frequency (``jtfs``).
        Q_fr: Wavelets per octave of that filter bank (``jtfs``).
        F: Averaging over log-frequency, in wavelets (``jtfs``).
        start: What the search starts from: ``noise``, ``spectrum`` or ``colour``.
        steps: Number of optimizer steps: 100 by L-BFGS, 600 by Adam.
        interval: Steps between two evaluations of the full distance: 10 by L-BFGS, 25 by Adam.
        draws: Paths drawn per step, for Adam; 0 for all of them.
        floor: Share of the draws that is spread evenly over all paths: 0.2 with draws. Settings
            that are restored may have one without draws, where it has no effect.
        learning_rate: First learning rate of Adam, relative to the loudness (root mean square) of
            the recording: 0.1 with draws. Without draws or a learning rate the search is by L-BFGS.
        seed: Seed of the start and the draws.

    Example:
        >>> settings = ResynthesisSettings.for_recording(44100, 44100, interval=5)
        >>> settings.J, settings.T, settings.steps, settings.interval
        (12, 2048, 100, 5)
        >>> ResynthesisSettings.for_recording(44100, 44100, draws=32).steps
        600
        >>> by_adam = ResynthesisSettings.for_recording(44100, 44100, learning_rate=0.05)
        >>> by_adam.steps, by_adam.interval, by_adam.draws
        (600, 25, 0)
        >>> ResynthesisSettings.from_dict(settings.to_dict()) == settings
        True
    """

    transform: Literal["jtfs", "scattering1d"]
    n_samples: int
    sample_rate: int
    J: int
    Q: tuple[int, int] = (8, 2)
    T: int
    J_fr: int
    Q_fr: int = 2
    F: int = 1
    start: str = "noise"
    steps: int = 100
    interval: int = 10
    draws: int = 0
    floor: float | None = None
    learning_rate: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        if self.transform not in OWN:
            raise ConfigurationError(
                f"transform must be one of {', '.join(OWN)}, got {self.transform!r}"
            )
        check_rate(self.sample_rate, "sample_rate", ConfigurationError)
        if self.start not in tuple(STARTS):
            raise ConfigurationError(f"start must be one of {', '.join(STARTS)}, got {self.start}")
        check_positive(self, "n_samples", "J", "Q", "T", "J_fr", "Q_fr", "F", "steps", "interval")
        if whole("draws", self.draws) < 0:
            raise ConfigurationError(f"draws must be at least 0, got {self.draws}")
        check_seed(self.seed)
        if self.adam and not 0 < real(self.learning_rate) <= 1e6:
            raise ConfigurationError(
                f"the learning rate must be positive and at most 1e6, got {self.learning_rate!r}"
            )
        if (self.draws or self.floor is not None) and not 0 < real(self.floor) <= 1:
            raise ConfigurationError(f"floor must lie in (0, 1], got {self.floor!r}")

    @property
    def adam(self) -> bool:
        """Whether the search is by Adam, which draws or a learning rate ask for."""
        return bool(self.draws) or self.learning_rate is not None

    @classmethod
    def for_recording(
        cls, n_samples: int, sample_rate: int, transform: str = "jtfs", **changes: Any
    ) -> ResynthesisSettings:
        """Choose the settings that suit a recording, with some replaced; None keeps the default.

        The transform is that of :func:`~multipath.applications.distance.compare.default_transform`.

        Args:
            n_samples: Length of the recording.
            sample_rate: Sample rate in Hz.
            transform: ``"jtfs"`` or ``"scattering1d"``.
            **changes: Fields of :class:`ResynthesisSettings`.

        Raises:
            InputError: If the recording is too short.
            ConfigurationError: If a setting is unknown or out of range.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        unknown = set(given) - {field.name for field in fields(cls)}
        if unknown:
            raise ConfigurationError(f"unknown settings {', '.join(sorted(unknown))}")
        check_length(whole("n_samples", n_samples), transform)
        check_rate(sample_rate, "sample_rate", ConfigurationError)
        J = whole("J", given.get("J", default_octaves(n_samples, sample_rate)))
        Q = [whole("Q", each) for each in several("Q", given.get("Q", cls.Q))]
        if len(Q) != len(cls.Q):
            raise ConfigurationError(f"Q must be {len(cls.Q)} whole numbers, got {given['Q']!r}")
        sizes = {"J": J, "T": 2 ** max(0, J - 1), "J_fr": min(5, int(log2(max(4, J * Q[0]))) - 1)}
        signal = {"transform": transform, "n_samples": n_samples, "sample_rate": sample_rate}
        search: dict[str, float] = {}
        if given.get("draws") or "learning_rate" in given:
            search.update(ADAM)
        if given.get("draws"):
            search["floor"] = FLOOR
        elif "floor" in given:
            raise ConfigurationError(
                f"floor is a share of the draws, and there are none: set draws, or leave out "
                f"floor, got {given['floor']}"
            )
        return cls(**{**sizes, **search, **given, **signal})

    def make_transform(self) -> Transform:
        """Make the transform, at reduced sampling rates: twice as fast, with errors of 1e-4.

        Raises:
            ConfigurationError: If the recording is too short for J or T, or J_fr and F do not fit.
        """
        N, J, Q, T = self.n_samples, self.J, self.Q, self.T
        rates: dict[str, Any] = {"sampling": "reduced", "sample_rate": self.sample_rate}
        if self.transform == "jtfs":
            return JTFS(N, J, Q, self.J_fr, self.Q_fr, T=T, F=self.F, **rates)
        return Scattering1D(N, J, Q, T=T, **rates)
