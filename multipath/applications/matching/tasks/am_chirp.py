"""Matching AM chirps: their carrier, the rate of their AM and the speed of their FM."""

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
from multipath.applications.synths.am_chirp import AMChirpRanges, AMChirpSynth
from multipath.errors import ConfigurationError

from .base import Preset, RenderedTask


@dataclass(frozen=True, kw_only=True)
class AMChirpTask(RenderedTask):
    """Targets and reconstructions are shifted in time, each by its own number of samples.

    Args:
        carrier_range: Lowest and highest carrier, in Hz.
        am_range: Slowest and fastest modulator, in Hz.
        fm_range: Slowest and fastest FM, in octaves/s.
        max_shift: Largest delay of a sound, either way, in samples.
    """

    name = "amchirp"
    heading = "AM chirp sound matching"

    carrier_range: tuple[float, float] = AMChirpRanges.carrier
    am_range: tuple[float, float] = AMChirpRanges.am
    fm_range: tuple[float, float] = AMChirpRanges.fm
    max_shift: int = 0

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        super().__post_init__()
        if not 0 <= whole("max_shift", self.max_shift) < self.n_samples:
            raise ConfigurationError(
                f"max_shift must lie in [0, n_samples = {self.n_samples}), got {self.max_shift}"
            )

    @classmethod
    def presets(cls) -> dict[str, Preset]:
        """A minute or two on one CPU core, and the settings of the paper, for a GPU."""
        return {
            "quick": Preset(
                task=cls(
                    sample_rate=2048.0,
                    n_samples=4096,
                    n_targets=1600,
                    carrier_range=(256.0, 512.0),
                    am_range=(4.0, 12.0),
                    fm_range=(1.0, 3.0),
                    max_shift=256,
                    scattering=replace(QUICK_SCATTERING, sampling="reduced"),
                ),
                encoder=replace(QUICK_ENCODER, cqt_octaves=3),
                training=QUICK_TRAINING,
            ),
            "paper": Preset(
                task=cls(
                    sample_rate=8192.0,
                    n_samples=32768,
                    n_targets=27000,
                    scattering=PNP_SCATTERING,
                ),
                objective=PAPER_OBJECTIVE,
                encoder=PAPER_ENCODER,
                training=TrainingSettings(
                    steps=70 * 63, batch_size=256, learning_rate=1e-3, validate_every=63
                ),
            ),
        }

    def build_synth(self) -> AMChirpSynth:
        """The synthesizer, for a carrier and AM in Hz and FM in octaves/s."""
        return AMChirpSynth(
            AMChirpRanges(self.carrier_range, self.am_range, self.fm_range),
            n_samples=self.n_samples,
            sample_rate=self.sample_rate,
        )

    def draw_nuisance(self, count: int, generator: torch.Generator) -> Tensor:
        """Time shifts in samples."""
        return torch.randint(-self.max_shift, self.max_shift + 1, (count,), generator=generator)


class AMChirpTests(TaskTests):
    """Conformance tests of AM chirps, with the quick preset."""

    task = AMChirpTask
