"""Matching textures of grains: how dense they are and how steep, wherever the grains are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from multipath.applications.synths.granular import GranularSynth

from .base import RenderedTask


@dataclass(frozen=True, kw_only=True)
class GranularTask(RenderedTask):
    """Targets and reconstructions have grains of their own: one seed places those of each sound.

    Args:
        n_grains: Passed to :class:`~multipath.applications.synths.granular.GranularSynth`, like all
            below.
        grain_samples: Likewise.
        f_min: Likewise.
        f_max: Likewise.
        steepest: Likewise.
        softness: Likewise.
        pitches: Likewise.
    """

    name = "granular"
    heading = "Granular sound matching"

    n_grains: int = 64
    grain_samples: int = 4096
    f_min: float = 256.0
    f_max: float = 2048.0
    steepest: float = 0.95
    softness: float = 0.5
    pitches: Literal["random", "spread"] = "random"

    def build_synth(self) -> GranularSynth:
        """The synthesizer, for density in grains and slope in octaves/s."""
        return GranularSynth(
            n_samples=self.n_samples,
            sample_rate=self.sample_rate,
            n_grains=self.n_grains,
            grain_samples=self.grain_samples,
            f_min=self.f_min,
            f_max=self.f_max,
            steepest=self.steepest,
            softness=self.softness,
            pitches=self.pitches,
        )

    def draw_nuisance(self, count: int, generator: torch.Generator) -> Tensor:
        """Seeds of the grains' onsets and pitches; so many that two are hardly ever equal."""
        return torch.randint(2**40, (count,), generator=generator)
