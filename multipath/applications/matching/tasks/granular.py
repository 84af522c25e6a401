"""Matching textures of grains: how dense they are and how steep, wherever the grains are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from multipath._internal.settings import choice
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
from multipath.applications.synths.granular import GranularSynth, PublishedGranularSynth
from multipath.errors import ConfigurationError

from .base import Preset, RenderedTask


@dataclass(frozen=True, kw_only=True)
class GranularTask(RenderedTask):
    """Targets and reconstructions have grains of their own: one seed places those of each sound.

    Args:
        n_grains: Grains at the highest density.
        grain_samples: Length of a grain, in samples.
        f_min: Lowest frequency of a grain in its middle, in Hz.
        f_max: Highest frequency of a grain in its middle, in Hz.
        steepest: How far from level to vertical the slope may go, from 0 to 1.
        softness: Width of the gate that lets grains sound, in grains.
        pitches: ``"random"``, or ``"spread"`` evenly over the range of frequencies.
        synth: ``"gated"``, or ``"published"`` for the one of the authors of SCRAPL, which has
            neither gate nor spread pitches.
    """

    name = "granular"
    heading = "Granular sound matching"
    importance_examples = 320

    n_grains: int = 64
    grain_samples: int = 4096
    f_min: float = 256.0
    f_max: float = 2048.0
    steepest: float = 0.95
    softness: float = 0.5
    pitches: Literal["random", "spread"] = "random"
    synth: Literal["gated", "published"] = "gated"

    def __post_init__(self) -> None:
        """Check what no other constructor would notice, or notice too late."""
        super().__post_init__()
        choice("synth", self.synth, "gated", "published")
        if self.synth == "published" and (self.softness, self.pitches) != (0.5, "random"):
            raise ConfigurationError(
                "the published synthesizer has no softness and random pitches; expected the preset "
                f"paper, or softness 0.5 and pitches random, got {self.softness} and "
                f"{self.pitches!r}"
            )

    @classmethod
    def presets(cls) -> dict[str, Preset]:
        """A minute or two on one CPU core, and the settings of the paper (table 11), for a GPU.

        ``quick`` has few, short grains with a soft gate and the same pitches in every texture,
        because density is slow to learn; it takes three times the steps of the chirplets.
        """
        return {
            "quick": Preset(
                task=cls(
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
                    scattering=replace(QUICK_SCATTERING, sampling="reduced"),
                ),
                encoder=QUICK_ENCODER,
                training=replace(QUICK_TRAINING, steps=1800, validate_every=200),
            ),
            "paper": Preset(
                task=cls(
                    sample_rate=8192.0, n_samples=32768, n_targets=5120, scattering=PAPER_SCATTERING
                ),
                objective=PAPER_OBJECTIVE,
                encoder=PAPER_ENCODER,
                training=TrainingSettings(
                    steps=200 * 96, batch_size=32, learning_rate=1e-5, validate_every=96
                ),
            ),
        }

    def build_synth(self) -> GranularSynth:
        """The synthesizer, for density in grains and slope in octaves/s."""
        shared: dict[str, Any] = {
            "n_samples": self.n_samples,
            "sample_rate": self.sample_rate,
            "n_grains": self.n_grains,
            "grain_samples": self.grain_samples,
            "f_min": self.f_min,
            "f_max": self.f_max,
            "steepest": self.steepest,
        }
        if self.synth == "published":
            return PublishedGranularSynth(**shared)
        return GranularSynth(softness=self.softness, pitches=self.pitches, **shared)

    def draw_nuisance(self, count: int, generator: torch.Generator) -> Tensor:
        """Seeds of the grains' onsets and pitches; so many that two are hardly ever equal."""
        return torch.randint(2**40, (count,), generator=generator)


class GranularTests(TaskTests):
    """Conformance tests of textures, with the quick preset."""

    task = GranularTask
