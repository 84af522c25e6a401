"""Matching chirplets: the rate of their AM and the speed of their FM, wherever they are in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from multipath import PathTable
from multipath._internal.settings import positive, several, whole
from multipath.applications.matching.presets import (
    PAPER_ENCODER,
    PAPER_OBJECTIVE,
    PAPER_SCATTERING,
    QUICK_ENCODER,
    QUICK_SCATTERING,
    QUICK_TRAINING,
)
from multipath.applications.matching.settings import TrainingSettings
from multipath.applications.matching.testing import TaskTests
from multipath.applications.synths.chirplet import CHIRPLETS, ChirpletRanges, ChirpletSynth
from multipath.errors import ConfigurationError

from .base import Preset, RenderedTask

ROUNDING = 1e-9
"""Filters on an edge of the rectangle are inside, whatever rounding does to them."""


@dataclass(frozen=True, kw_only=True)
class ChirpletTask(RenderedTask):
    """Targets and reconstructions are shifted in time, each by its own number of samples.

    Args:
        synth: Ranges of AM and FM: ``slow-slow``, ``slow-moderate``, ``fast-moderate`` or
            ``fast-fast``.
        fast_am: Range of the AM of the ``fast`` synthesizers, in Hz.
        f0: Frequency in the middle of a chirplet, in Hz.
        detach_window: Cut the gradient through the length of the window, as the reference
            implementation does.
        max_shift: Largest delay of a sound, either way, in samples.
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
        positive("f0", self.f0, "Hz")
        for frequency in several("fast_am", self.fast_am):
            positive("fast_am", frequency, "Hz")
        if self.synth not in CHIRPLETS:
            raise ConfigurationError(
                f"unknown chirplet synthesizer {self.synth!r}; choose one of {', '.join(CHIRPLETS)}"
            )
        if not 0 <= whole("max_shift", self.max_shift) < self.n_samples:
            raise ConfigurationError(
                f"max_shift must lie in [0, n_samples = {self.n_samples}), got {self.max_shift}"
            )

    @classmethod
    def presets(cls) -> dict[str, Preset]:
        """A minute on one CPU core, and the settings of the paper (table 11), for a GPU.

        The signals of ``quick`` last 2 s at 2048 Hz. Its :math:`f_0` is the paper's 512 Hz: the
        chirplet's two octaves end at the Nyquist frequency, where its window has fallen by 108 dB.
        The fast AM range is the one octave of the authors' released configuration: over a chirplet
        this short, slower AM is less than one cycle. All losses share one learning rate and
        schedule.
        """
        return {
            "quick": Preset(
                task=cls(
                    sample_rate=2048.0,
                    n_samples=4096,
                    n_targets=1600,
                    fast_am=(3.96, 7.92),
                    max_shift=256,
                    scattering=QUICK_SCATTERING,
                ),
                encoder=QUICK_ENCODER,
                training=QUICK_TRAINING,
            ),
            "paper": Preset(
                task=cls(
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
            ),
        }

    @classmethod
    def choices(cls) -> Mapping[str, str]:
        """The synthesizers, named after their AM and FM, with what these span."""
        return {
            name: "AM {:g} to {:g} Hz, FM {:g} to {:g} octaves/s".format(*ranges.am, *ranges.fm)
            for name, ranges in CHIRPLETS.items()
        }

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

    def inside(self, paths: PathTable, spacings: float = 0.0) -> Tensor:
        """Which paths look at what the synthesizer does: its rectangle of AM and FM.

        A chirplet of AM a Hz and FM f octaves/s excites the path whose rate is a Hz and whose scale
        is a / f cycles/octave, so a path is inside if its rate lies in the range of AM, and its
        rate / scale, rising or falling, in that of FM. Paths of scale 0 are outside.

        Wavelets have a bandwidth, and a chirplet between two of them excites both, so that nearly
        as many of a narrow rectangle's paths lie just outside of it. ``spacings`` widens both
        ranges, on either side, by so many distances between neighbouring wavelets: 1/Q2 octave for
        AM, 1/Q_fr octave for FM. With 0.5 the wavelet nearest to any AM, or FM at a given rate, is
        inside.

        Args:
            paths: With ``rate`` and ``scale``.
            spacings: 0 for centre frequencies strictly inside, as the paper draws the rectangle.

        Returns:
            One truth value for each path.

        Raises:
            ConfigurationError: If the paths have no rate or no scale.

        Example:
            >>> from multipath.applications.matching.objectives import scattering_loss
            >>> from multipath.applications.matching.presets import preset
            >>> task = preset("paper", synth="slow-slow").task
            >>> paths = scattering_loss(task).paths
            >>> int(task.inside(paths).sum()), int(task.inside(paths, 0.5).sum())
            (10, 16)
        """
        if not {"rate", "scale"} <= set(paths.columns):
            raise ConfigurationError(
                f"the paths must have a rate and a scale, theirs are {', '.join(paths.columns)}"
            )
        rates = torch.tensor(paths.column("rate"), dtype=torch.float64)
        scales = torch.tensor(paths.column("scale"), dtype=torch.float64).abs()
        am = _within(rates, self.ranges.am, spacings / self.scattering.Q[1])
        return am & _within(rates / scales, self.ranges.fm, spacings / self.scattering.Q_fr)


def _within(values: Tensor, range_: tuple[float, float], octaves: float) -> Tensor:
    wider = 2**octaves * (1 + ROUNDING)
    return (values >= range_[0] / wider) & (values <= range_[1] * wider)


class ChirpletTests(TaskTests):
    """Conformance tests of chirplets, with the quick preset."""

    task = ChirpletTask
