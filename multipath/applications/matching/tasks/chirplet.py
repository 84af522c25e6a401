"""Matching chirplets: the rate of their AM and the speed of their FM, wherever they are in time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from multipath.applications.synths.chirplet import CHIRPLETS, ChirpletRanges, ChirpletSynth
from multipath.errors import ConfigurationError

from .base import RenderedTask


@dataclass(frozen=True, kw_only=True)
class ChirpletTask(RenderedTask):
    """Targets and reconstructions are shifted in time, each by its own number of samples.

    Args:
        synth: One of ``CHIRPLETS``.
        fast_am: What the AM of the ``fast`` ones spans, in Hz.
        f0: Frequency in the middle of a chirplet, in Hz.
        detach_window: See :class:`~multipath.applications.synths.chirplet.ChirpletSynth`.
        max_shift: Signals are delayed by up to this many samples, either way.
    """

    name = "chirplet"
    heading = "Chirplet sound matching"

    synth: str = "fast-moderate"
    fast_am: tuple[float, float] = CHIRPLETS["fast-moderate"].am
    f0: float = 512.0
    detach_window: bool = False
    max_shift: int

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        super().__post_init__()
        if self.synth not in CHIRPLETS:
            raise ConfigurationError(
                f"unknown chirplet synthesizer {self.synth!r}; choose one of {', '.join(CHIRPLETS)}"
            )
        if not 0 <= self.max_shift < self.n_samples:
            raise ConfigurationError(
                f"max_shift must lie in [0, n_samples = {self.n_samples}), got {self.max_shift}"
            )

    @property
    def variant(self) -> str:
        """The synthesizer."""
        return self.synth

    @property
    def ranges(self) -> ChirpletRanges:
        """What the parameters span."""
        ranges = CHIRPLETS[self.synth]
        return replace(ranges, am=self.fast_am) if self.synth.startswith("fast") else ranges

    def build_synth(self) -> ChirpletSynth:
        """The synthesizer, for AM in Hz and FM in octaves/s."""
        return ChirpletSynth(
            self.ranges,
            n_samples=self.n_samples,
            sample_rate=self.sample_rate,
            f0=self.f0,
            detach_window=self.detach_window,
        )

    def draw_nuisance(self, count: int, generator: torch.Generator) -> Tensor:
        """Time shifts in samples."""
        return torch.randint(-self.max_shift, self.max_shift + 1, (count,), generator=generator)
