"""Matching drums: the pitch, decay, damping, dispersion and shape of a rectangular membrane."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from multipath._internal.settings import whole
from multipath.applications.matching.presets import (
    PAPER_ENCODER,
    PAPER_OBJECTIVE,
    PNP_SCATTERING,
    QUICK_ENCODER,
    QUICK_SCATTERING,
    QUICK_TRAINING,
)
from multipath.applications.matching.settings import TrainingSettings
from multipath.applications.matching.testing import TaskTests
from multipath.applications.synths.drum import DrumRanges, DrumSynth
from multipath.errors import ConfigurationError

from .base import Preset, RenderedTask


@dataclass(frozen=True, kw_only=True)
class DrumTask(RenderedTask):
    """Targets and reconstructions begin a little later, each by its own number of samples.

    Args:
        omega_range: Pitch of the first mode, in rad/s.
        tau_range: Decay time of the first mode, in s.
        modes: How many modes there are along each side.
        max_delay: Largest delay of a sound, in samples.
    """

    name = "drum"
    heading = "Drum sound matching"

    omega_range: tuple[float, float] = DrumRanges.omega
    tau_range: tuple[float, float] = DrumRanges.tau
    modes: tuple[int, int] = (10, 10)
    max_delay: int = 0

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        super().__post_init__()
        if not 0 <= whole("max_delay", self.max_delay) < self.n_samples:
            raise ConfigurationError(
                f"max_delay must lie in [0, n_samples = {self.n_samples}), got {self.max_delay}"
            )

    @classmethod
    def presets(cls) -> dict[str, Preset]:
        """A minute or two on one CPU core, and the settings of the papers, for a GPU.

        ``quick`` has 2 s at 2048 Hz, the pitches and decays that fit there, and 5 x 5 modes.
        """
        return {
            "quick": Preset(
                task=cls(
                    sample_rate=2048.0,
                    n_samples=4096,
                    n_targets=1600,
                    omega_range=(10**2.4, 10**3.2),
                    tau_range=(0.1, 0.8),
                    modes=(5, 5),
                    max_delay=256,
                    scattering=replace(QUICK_SCATTERING, sampling="reduced", eps=1e-3),
                ),
                encoder=replace(QUICK_ENCODER, cqt_octaves=4),
                training=QUICK_TRAINING,
            ),
            "paper": Preset(
                task=cls(
                    sample_rate=22050.0,
                    n_samples=65536,
                    n_targets=100_000,
                    scattering=PNP_SCATTERING,
                ),
                objective=PAPER_OBJECTIVE,
                encoder=replace(PAPER_ENCODER, cqt_octaves=8),
                training=TrainingSettings(
                    steps=70 * 235, batch_size=256, learning_rate=1e-3, validate_every=235
                ),
            ),
        }

    def build_synth(self) -> DrumSynth:
        """The synthesizer."""
        return DrumSynth(
            DrumRanges(omega=self.omega_range, tau=self.tau_range),
            n_samples=self.n_samples,
            sample_rate=self.sample_rate,
            modes=self.modes,
        )

    def draw_nuisance(self, count: int, generator: torch.Generator) -> Tensor:
        """Delays in samples."""
        return torch.randint(0, self.max_delay + 1, (count,), generator=generator)


class DrumTests(TaskTests):
    """Conformance tests of drums, with the quick preset."""

    task = DrumTask
